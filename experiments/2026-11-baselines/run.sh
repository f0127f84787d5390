#!/usr/bin/env bash
# Published baselines on published flow pictures. MER_DATA must hold megc2019_flow.npz (see
# conf/data/htnet_flow.yaml). Ten folds by person take an hour of one core, leave-one-subject-out seven times as long.
#
#   run.sh [ten] [loso] [oracle]     all three, if none is named; what is finished is not repeated
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/baselines
baselines=(bi_woof perceptron ststnet off_apexnet region_transformer rcn_a dual_inception)
ten=(protocol=group_kfold protocol.n_splits=10)

train() { # folder, baseline, then what differs
    local folder=$1 name=$2
    shift 2
    mer train "experiment=baseline_$name" trainer.accelerator=cpu trainer.folds_at_once=1 baseline=null \
        run.dir="$runs/$folder" "$@"
}

for part in ${@:-ten loso oracle}; do
    for name in "${baselines[@]}"; do
        case $part in
        ten) train "$name/ten" "$name" "${ten[@]}" ;;
        loso) train "$name/loso" "$name" ;;
        oracle) [ "$name" = bi_woof ] || train "$name/oracle" "$name" selection=oracle ;;
        *) echo "$part is no part of the study" && exit 2 ;;
        esac
    done
done
python "$here/collect.py" "$runs"
