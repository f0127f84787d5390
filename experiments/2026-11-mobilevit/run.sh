#!/usr/bin/env bash
# MobileViT pretrained on synthetic motion, on the 442 published flow pictures, three seeds; about an hour of one core.
# Needs megc2019_flow.npz under MER_DATA. Type it again to go on. What is given goes to every run (paths.cache=...).
set -euo pipefail
export OMP_NUM_THREADS=1
here=$(cd "$(dirname "$0")" && pwd)
for seed in 0 1 2; do
    mer train experiment=mobilevit_motion seed=$seed trainer.accelerator=cpu "$@"
    mer audit "runs/mobilevit-motion/seed$seed"
done
python "$here/collect.py" runs/mobilevit-motion
