#!/usr/bin/env bash
# Repeats the study; some ten minutes on two cores.
set -euo pipefail
mer train data.preset=megc2019 protocol=group_kfold protocol.n_splits=5 macro.enabled=false backbone.weights=mer:motion-xxs \
    input.size=32 input.scale=channel input.blur=0.7 model.epochs=12 trainer.accelerator=cpu run.dir=runs/judged
python experiments/2026-11-export/measure.py runs/judged experiments/2026-11-export/results.csv
