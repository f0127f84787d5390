#!/usr/bin/env bash
# Synthetic faces in the numbers of the real datasets (442 micro clips of 68 persons), ten folds by person: nothing, macro faces by gate,
# and weights of the package, trained on synthetic motion alone. Half an hour of one core, after `mer synth preset=megc2019 out=$MER_SYNTH/megc2019`.
# Type it again to go on. What is given goes to every run (paths.cache=...).
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/transfer-megc2019

train() { # folder, then what differs from the others
    local folder=$1
    shift
    mer train data=synthetic data.preset=megc2019 data.check_counts=true input.size=32 protocol=group_kfold protocol.n_splits=10 \
        model.epochs=10 trainer.accelerator=cpu trainer.folds_at_once=1 run.dir="$runs/$folder" "$@"
}

for seed in ${SEEDS:-0}; do
    common=(seed="$seed" "$@")
    train "seed$seed/none" macro.enabled=false "${common[@]}"
    train "seed$seed/faces+gate" "${common[@]}"
    train "seed$seed/motion+all" macro.enabled=false backbone.weights=mer:motion-xxs "${common[@]}"
done
python "$here/collect.py" megc2019 "$runs"
