#!/usr/bin/env bash
# Four searches on the synthetic demo corpus, one thread each; about an hour and a half of one core in all.
# The CPU seconds of a search are `user` of its `time`; the rest is in the trials.csv of its directory.
set -euo pipefail
export OMP_NUM_THREADS=1
search() {
    local folder=$1
    shift
    time mer train -m experiment=demo search.dir="runs/study/$folder" "$@"
}
# Stores and macro weights that the first three share, so that no search pays for them alone.
mer train experiment=demo protocol.validation=0.2 run.dir=runs/study/first paths.cache=runs/study/cache

shared=paths.cache=runs/study/cache
early=hydra.sweeper.pruner.n_startup_trials=4
search pruned search=mobilevit_tpe search.n_trials=16 $shared $early
search full search=mobilevit_tpe search.n_trials=16 $shared hydra.sweeper.pruner=null
search grid search=paper_grid $shared
search own search=mobilevit_tpe search.n_trials=16 'paths.cache=runs/study/own/${trial.number}' hydra.sweeper.pruner=null
search pruned search=mobilevit_tpe search.n_trials=32 $shared $early
