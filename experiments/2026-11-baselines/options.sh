#!/usr/bin/env bash
# Training options that did not pay, with STSTNet in ten folds by person. They are no part of mer any more: run this with the code of
# commit fbb5978, the last that has them. MER_DATA as for run.sh; about 10 minutes of one core.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/baselines

train() { # folder, then what differs
    local folder=$1
    shift
    mer train experiment=baseline_ststnet protocol=group_kfold protocol.n_splits=10 trainer.accelerator=cpu \
        trainer.folds_at_once=1 baseline=null run.dir="$runs/options/$folder" "$@"
}

for seed in 0 1; do
    train "none-$seed" seed=$seed
    train "all-$seed" seed=$seed model.mixup=0.4 model.ema=0.99 model.class_weights=0.5
done
python "$here/collect.py" "$runs"
