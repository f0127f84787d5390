#!/usr/bin/env bash
# MER_DATA must hold megc2019_flow.npz (see conf/data/htnet_flow.yaml); five minutes of one core. What is given goes to every run.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/best

mer train experiment=best run.dir="$runs/chosen" "$@"
mer train experiment=pixels data=htnet_flow run.dir="$runs/raw" "$@"
mer train experiment=pixels data=htnet_flow input.scale=channel input.blur=0.7 run.dir="$runs/fixed" "$@"
mer audit "$runs/chosen"
mer compare "$runs"
python "$here/collect.py" coverage.csv "$runs/fixed" "$runs/chosen"
