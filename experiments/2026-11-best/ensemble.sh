#!/usr/bin/env bash
# The mean of three runs on the same ten folds by person; about a quarter of an hour of one core. MER_DATA as for run.sh. Type it
# again to go on. What is given goes to every training.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/ensemble
ten=(data=htnet_flow protocol=group_kfold protocol.n_splits=10 seed=1)

mer train experiment=best "${ten[@]}" run.dir="$runs/best" "$@"
mer train experiment=ready_weights "${ten[@]}" run.dir="$runs/ready" "$@"
mer train macro=synthetic_motion macro.network=whole model.transfer.blocks=all input=flow input.size=32 input.scale=channel \
    input.blur=0.7 model.epochs=15 trainer.accelerator=cpu "${ten[@]}" run.dir="$runs/mobilevit" "$@"
rm -rf "$runs"/mean3 "$runs"/mean5
mer ensemble "$runs"/{best,mobilevit,ready} --name "$runs/mean3"
mer ensemble "$runs"/{best,mobilevit,mobilevit:softmax,ready,ready:softmax} --name "$runs/mean5"
mer audit "$runs/mean3"
python "$here/collect.py" ensemble.csv "$runs"/{best,mobilevit,mobilevit:softmax,ready,ready:softmax,mean3:ensemble,mean5:ensemble}
