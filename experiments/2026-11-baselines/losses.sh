#!/usr/bin/env bash
# Focal loss and logit adjustment against cross entropy: STSTNet in ten folds by person on real flow pictures (MER_DATA as for run.sh),
# and the demo. About a quarter of an hour of one core. What is given goes to every run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
export OMP_NUM_THREADS=1 PYTHONPATH=$here${PYTHONPATH:+:$PYTHONPATH}
runs=runs/study/baselines

train() { # folder, then what differs
    local folder=$1
    shift
    mer train trainer.accelerator=cpu trainer.folds_at_once=1 baseline=null run.dir="$runs/$folder" "$@"
}

focal=('model.loss={_target_: losses.Focal}')
logit=('model.loss={_target_: losses.LogitAdjusted}' model.class_weights=balanced)
ststnet=(experiment=baseline_ststnet protocol=group_kfold protocol.n_splits=10)
for seed in 0 1; do
    train "losses/none-$seed" "${ststnet[@]}" seed=$seed "$@"
    train "losses/focal-$seed" "${ststnet[@]}" "${focal[@]}" seed=$seed "$@"
    train "losses/logit-$seed" "${ststnet[@]}" "${logit[@]}" seed=$seed "$@"
done
for seed in 0 1 2; do
    train "losses-demo/none-$seed" experiment=demo seed=$seed "$@"
    train "losses-demo/focal-$seed" experiment=demo "${focal[@]}" seed=$seed "$@"
    train "losses-demo/logit-$seed" experiment=demo "${logit[@]}" seed=$seed "$@"
done
python "$here/collect.py" "$runs"
