"""Samples of synthetic motion a second, on one core: fields alone, and as a network's input."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from mer.config.composition import compose, typed
from mer.data.synthetic_motion import MotionSamples

BATCH, TIMES = 128, 40


def rate(take: Callable[[int, int], Any]) -> int:
    """Samples a second of this process's own time, median over batches."""
    seconds = []
    for number in range(TIMES):
        started = time.process_time()
        take(BATCH * number, BATCH)
        seconds.append(time.process_time() - started)
    return round(BATCH / float(np.median(seconds)))


words = ["macro=synthetic_motion", "input=flow", "input.scale=channel", "input.blur=0.7"]
for layout in ("aligned", "megc2019"):
    for size in (32, 64):
        more = [f"input.size={size}", f"macro.motion.layout={layout}", "run.dir=unused"]
        motion = MotionSamples(typed(compose([*words, *more])), seed=0)
        print(
            f"{layout}, {size} px: fields {rate(motion.fields[0].take)}, input {rate(motion.take)}"
        )
