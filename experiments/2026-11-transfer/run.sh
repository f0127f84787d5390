#!/usr/bin/env bash
# Ways of transfer on the synthetic demo corpora, three seeds each; about half an hour of one core.
# Type it again to go on: finished folds stay. What is given goes to every run (paths.cache=..., trainer.folds_at_once=1).
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/transfer

train() { # folder, then what differs from the others
    local folder=$1
    shift
    mer train experiment=demo trainer.accelerator=cpu run.dir="$runs/$folder" "$@"
}

for seed in 0 1 2; do
    common=(seed="$seed" "$@")
    train "seed$seed/none" macro.enabled=false "${common[@]}"
    for insertion in random gate residual; do
        train "seed$seed/mobilenetv2+$insertion" macro.network=mobilenetv2 model.transfer.insertion=$insertion "${common[@]}"
    done
    train "seed$seed/whole+random" macro.network=whole model.transfer.insertion=random "${common[@]}"
    train "seed$seed/whole+all" macro.network=whole model.transfer.blocks=all "${common[@]}"
    # A macro training that moves nothing: the blocks as initialised, joined by blocks that start as nothing.
    train "seed$seed/untrained+gate" macro.network=mobilenetv2 model.transfer.insertion=gate \
        macro.epochs=1 macro.optimizer.lr=1.0e-12 "${common[@]}"
done
python "$here/collect.py" synthetic "$runs"
