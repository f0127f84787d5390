#!/usr/bin/env bash
# Weights of the package on the 442 real flow pictures; a quarter of an hour of one core. What is given goes to every run (data.root=..., paths.cache=...).
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/motion

python "$here/speed.py"
python "$here/few_persons.py" "$@"
for seed in 0 1; do # other makings; not as the shipped file, so the status is 1
    mer weights --make motion-mlps --to "$runs/seed$seed" seed=$seed || true
done
python "$here/seeds.py" "$runs" "$@"
mer train experiment=pixels data=htnet_flow input.scale=channel input.blur=0.7 run.dir="$runs/pixels" "$@"
mer train experiment=ready_weights data=htnet_flow run.dir="$runs/motion-mlps" "$@"
mer train experiment=ready_weights backbone=mobilevit_xxs backbone.weights=mer:motion-xxs data=htnet_flow run.dir="$runs/motion-xxs" "$@"
mer compare "$runs"
