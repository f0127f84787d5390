#!/usr/bin/env bash
# Published baselines on published flow pictures, and training options. MER_DATA must hold megc2019_flow.npz (see
# conf/data/htnet_flow.yaml). Ten folds by person and the options take an hour of one core, leave-one-subject-out seven times as long.
#
#   run.sh [ten] [options] [loso] [oracle]     all four, if none is named; what is finished is not repeated
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

for part in "${@:-ten options loso oracle}"; do
    for what in $part; do
        case $what in
        options)
            all=(model.mixup=0.4 model.ema=0.99 model.class_weights=0.5)
            for seed in 0 1 2; do
                train "options/none-$seed" ststnet "${ten[@]}" seed=$seed
                train "options/all-$seed" ststnet "${ten[@]}" seed=$seed "${all[@]}"
                for option in "${all[@]}"; do
                    key=${option%%=*}
                    train "options/${key#model.}-$seed" ststnet "${ten[@]}" seed=$seed "$option"
                done
            done
            ;;
        *)
            for name in "${baselines[@]}"; do
                case $what in
                ten) train "$name/ten" "$name" "${ten[@]}" ;;
                loso) train "$name/loso" "$name" ;;
                oracle) [ "$name" = bi_woof ] || train "$name/oracle" "$name" selection=oracle ;;
                *) echo "$what is no part of the study" && exit 2 ;;
                esac
            done
            ;;
        esac
    done
done
python "$here/collect.py" "$runs"
