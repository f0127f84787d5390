#!/usr/bin/env bash
# MER_DATA must hold megc2019_flow.npz (see conf/data/htnet_flow.yaml for what is in it); about 45 minutes of one core.
# Type it again to go on: finished folds stay.
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
runs=runs/study/leak-inflation

train() { # folder, then what differs from the others
    local folder=$1
    shift
    mer train data=htnet_flow input=flow input.size=32 macro.enabled=false backbone=tiny model.epochs=10 \
        model.batch_size=64 model.augment=null trainer.accelerator=cpu run.dir="$runs/$folder" "$@"
}

ways() { # folder, then the seed, and the data if they are others
    local folder=$1
    shift
    train "$folder/loso" "$@"
    train "$folder/loso-oracle" selection=oracle "$@"
    train "$folder/random" protocol=random_samples protocol.n_splits=10 "$@"
}

python "$here/permute.py" "$MER_DATA/megc2019_flow.npz" "$runs/permuted-0.npz" 0
ways seed0 seed=0
ways null0 seed=0 data.micro.flow.root="$PWD/$runs/permuted-0.npz" data.check_counts=false
ways seed1 seed=1
ways seed2 seed=2

for seed in 0 1 2; do
    mer compare "$runs/seed$seed/loso" "$runs/seed$seed/loso-oracle" --head softmax
done
for way in loso loso-oracle random; do
    mer audit "$runs/seed0/$way" || true # two of the three fail, and should
done
mer audit --null "$runs/seed0/loso"
mer audit --null "$runs/seed0/random" || true
mer audit --null "$runs/seed0/loso-oracle" --repeats 1 || true # ten epochs to choose from: ten times the work
python "$here/collect.py" "$runs"
