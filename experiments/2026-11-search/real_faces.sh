#!/usr/bin/env bash
# Nested searches of the SVM on real flow pictures (MER_DATA holds megc2019_flow.npz); about half an hour of one core.
# Validation UF1 of the default (trial 0) and of the best trial of each fold: trials.csv in its folder.
set -euo pipefail
export OMP_NUM_THREADS=1
compare() {
    local name=$1
    shift
    local words=("$@" data=htnet_flow input.scale=channel input.blur=0.7 protocol=group_kfold protocol.n_splits=10)
    mer train "${words[@]}" run.dir="runs/study/$name"
    mer train -m "${words[@]}" search=svm_head search.nested=true search.n_trials=20 search.dir="runs/study/nested-$name"
    mer compare "runs/study/$name" "runs/study/nested-$name/nested"
}
compare pixels experiment=pixels
compare embedding experiment=ready_weights backbone=mobilevit_xxs backbone.weights=mer:motion-xxs
