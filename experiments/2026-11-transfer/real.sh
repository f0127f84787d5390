#!/usr/bin/env bash
# What macro-pretraining is worth on real faces: nothing, CK+ motion, synthetic motion, and CK+ after synthetic motion, by network and
# insertion. Ten folds by person, on the 442 published flow pictures of MEGC 2019; about two hours of one core.
# Needs megc2019_flow.npz and ckplus_motion_flow.npz under MER_DATA. Type it again to go on.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/transfer-real
ck='+data.macro.ckplus={reader: table, root: ckplus_motion_flow.npz, array_key: flow_bgr, array_kind: flow, role: macro}'

train() { # folder, then what differs from the others
    local folder=$1
    shift
    mer train data=htnet_flow input=flow input.size=32 input.scale=channel input.blur=0.7 protocol=group_kfold protocol.n_splits=10 \
        model.epochs=15 trainer.accelerator=cpu trainer.folds_at_once=1 run.dir="$runs/$folder" "$@"
}

for seed in ${SEEDS:-0 1}; do
    common=(seed="$seed" "$@")
    train "seed$seed/none" macro.enabled=false "${common[@]}"
    for source in ck motion both; do
        case $source in
            ck) macro=("$ck") ;;
            motion) macro=(macro=synthetic_motion) ;;
            both) macro=(macro=synthetic_motion macro.motion.real=after "$ck") ;;
        esac
        train "seed$seed/$source+gate" "${macro[@]}" macro.network=mobilenetv2 model.transfer.insertion=gate "${common[@]}"
        train "seed$seed/$source+all" "${macro[@]}" macro.network=whole model.transfer.blocks=all "${common[@]}"
        [ $source = both ] || train "seed$seed/$source+random" "${macro[@]}" macro.network=mobilenetv2 \
            model.transfer.insertion=random "${common[@]}"
    done
done
python "$here/collect.py" real "$runs"
