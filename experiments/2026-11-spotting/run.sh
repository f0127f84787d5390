#!/usr/bin/env bash
# Scores with annotated, spotted and midpoint apexes on look-alikes of the MEGC 2019 composite, leave-one-subject-out.
# What is given goes to every run (data.root=..., paths.cache=...); what is finished is not repeated. Half an hour of one core.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/spotting

for apex in annotated missing spotted midpoint; do
    common=(data=synthetic data.preset=megc2019 prepare.apex=$apex trainer.accelerator=cpu trainer.folds_at_once=1 baseline=null)
    mer train experiment=pixels "${common[@]}" run.dir="$runs/pixels/$apex" "$@"
    mer train experiment=ready_weights "${common[@]}" run.dir="$runs/motion/$apex" "$@"
done
python "$here/collect.py" "$runs"
