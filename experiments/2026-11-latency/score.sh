#!/usr/bin/env bash
# Scores with other crops and with fewer flow iterations: bash score.sh FOLDER_OF_MEGC2019 OUT
set -euo pipefail
for words in prepare.size=224 prepare.size=160 prepare.size=128 prepare=fast; do
    mer train experiment=ready_weights data=synthetic data.preset=megc2019 data.root="$1" paths.cache="$2/cache" \
        $words run.dir="$2/${words#*=}" trainer.enable_progress_bar=false logger=none
done
