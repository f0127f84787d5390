#!/usr/bin/env bash
# The single-dataset tasks: five classes of CASME II and of SAMM, leave-one-subject-out; about ten minutes of one core. MER_DATA
# must hold casme2_5class_flow.npz and samm_5class_flow.npz, onset-to-apex flow pictures as in conf/data/htnet_flow.yaml with a column
# `emotion`. What is given goes to every run. Type it again to go on.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/five
scaled=(input.scale=channel input.blur=0.7)

for set in casme2 samm; do
    common=(data=htnet_flow labels=$set-5 data.micro.flow.root=${set}_5class_flow.npz data.micro.flow.classes=null
        trainer.accelerator=cpu trainer.folds_at_once=1 "$@")
    mer train experiment=pixels "${common[@]}" run.dir="$runs/$set/raw"
    mer train experiment=pixels "${scaled[@]}" "${common[@]}" run.dir="$runs/$set/scaled"
    mer train experiment=best "${common[@]}" run.dir="$runs/$set/chosen"
    mer train experiment=ready_weights "${common[@]}" run.dir="$runs/$set/frozen"
    mer train backbone=mobilevit_xxs backbone.weights=mer:motion-xxs macro.enabled=false input=flow input.size=32 "${scaled[@]}" \
        model.epochs=10 "${common[@]}" run.dir="$runs/$set/mobilevit"
    python "$here/collect.py" five-$set.csv "$runs/$set"/{raw,scaled,chosen,frozen,frozen:softmax,mobilevit,mobilevit:softmax}
done
