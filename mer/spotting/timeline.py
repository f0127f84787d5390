"""Draws a video as a line of time: motion of each face, spotted intervals."""

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mer.pages.plots import COLOURS, GREY, Plot, axes, styled
from mer.spotting.spotter import Face

#: Most points of a curve; of longer ones the greatest value of each stretch is drawn.
MOST_POINTS = 2000


@styled
def timeline(
    name: str,
    faces: Sequence[Face],
    table: pd.DataFrame,
    threshold: float,
) -> Plot:
    """Draw one row per face."""
    rows = max(len(faces), 1)
    figure, places = axes(0.6 + 1.3 * rows, 7.5, rows)
    for place, face in zip(places, faces, strict=False):
        times, levels = thinned(np.array(face.times), np.array(face.levels))
        place.plot(times, np.maximum(levels, 0.1), color=GREY, lw=0.8)
        place.axhline(threshold, color=GREY, lw=0.8, ls="--")
        for row in table[table["face"] == face.number].itertuples():
            colour = COLOURS[4] if row.kind == "micro" else COLOURS[0]
            place.axvspan(row.onset_time, row.offset_time, color=colour, alpha=0.3, lw=0)
            place.axvline(row.apex_time, color=colour, lw=0.8)
        for blink in face.blinks:
            place.plot([blink], [0.1], marker="|", color=COLOURS[2], ms=5)
        place.set(yscale="log", ylabel=f"face {face.number}", ylim=(0.1, None))
    places[-1].set_xlabel("seconds")
    places[0].set_title(name)
    spans = ", ".join(f"{row.kind} at {row.apex_time:.2f} s" for row in table.itertuples())
    return Plot(
        name,
        figure,
        f"Motion of {len(faces)} faces over time in multiples of a face at rest. Spotted: "
        f"{spans or 'nothing'}",
        "orange: micro, blue: macro, green: blinks, dashed: threshold",
    )


def thinned(times: np.ndarray, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Take the greatest value of each stretch of a long curve, so that no peak is lost."""
    step = -(-len(times) // MOST_POINTS) if len(times) else 1
    if step == 1:
        return times, values
    whole = len(times) // step * step
    stretches = values[:whole].reshape(-1, step)
    best = stretches.argmax(axis=1) + np.arange(0, whole, step)
    return times[best], values[best]
