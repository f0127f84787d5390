#!/usr/bin/env bash
# Score of frozen shipped weights and of the SVM on pixels, by the side of the crop (bash score.sh ROOT OUT).
set -euo pipefail
for side in 224 160 128 112; do
    mer train experiment=ready_weights data=synthetic data.preset=megc2019 data.root="$1" paths.cache="$2/cache" \
        prepare.size=$side run.dir="$2/$side" trainer.enable_progress_bar=false logger=none
done
