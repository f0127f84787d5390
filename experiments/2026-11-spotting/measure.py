"""Scores the spotter on synthetic persons whose seed was not used to choose its settings.

usage: python experiments/2026-11-spotting/measure.py long|clips|recognise SEED [NUMBER]
"""

import sys
from collections.abc import Iterator

import cv2
import numpy as np

import mer
from mer.deploy.recognition import favourite
from mer.prepare.faces import FaceFinder
from mer.spotting.clip import spot_clip
from mer.spotting.frames import open_frames
from mer.spotting.spotted_expression import Expression
from mer.spotting.spotter import Spotter
from mer.spotting.spotting_scores import (
    Counts,
    apex_error,
    count,
    pair,
    pooled,
    recognition_f1,
    strs,
)
from mer.spotting.stream import Frame
from mer.synthetic.camera import film
from mer.synthetic.long_recordings import LongRecording, film_video, plan_video
from mer.synthetic.plan import MICRO, plan

FPS, SECONDS = 30.0, 30.0
CLASSES = ("negative", "positive", "surprise")


def rgb(picture: np.ndarray) -> np.ndarray:
    """A picture of a synthetic camera as RGB."""
    gray = picture.ndim == 2
    return np.asarray(cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB if gray else cv2.COLOR_BGR2RGB))


def spotted(seed: int, number: int) -> Iterator[tuple[LongRecording, list[Expression]]]:
    """Film and spot some persons, one video each; frames count from 1 as in the plan."""
    for person in range(number):
        video = plan_video("casme_sq", f"t{person}", "v", FPS, SECONDS, seed)
        pictures = (rgb(picture) for picture in film_video(video, seed))
        found: list[Expression] = []
        with Spotter(FPS) as spotter:
            for frame in open_frames(pictures, fps=FPS):
                found += spotter.add(frame._replace(number=frame.number + 1))
            found += spotter.close()
        yield video, found


def borders(video: LongRecording, kind: str = "all") -> list[tuple[int, int]]:
    """Annotated intervals of a kind."""
    events = [event for event in video.events if kind in ("all", event.kind)]
    return [(event.clip.onset, event.clip.offset) for event in events]


def long(seed: int, number: int) -> None:
    """Print precision, recall and F1, and the error of the apexes of right intervals."""
    totals = {kind: Counts(0, 0, 0) for kind in ("all", "micro", "macro")}
    errors: list[int] = []
    for video, found in spotted(seed, number):
        for kind in totals:
            mine = [e for e in found if kind == "all" or (e.kind == "micro") == (kind == "micro")]
            totals[kind] = pooled(
                [
                    totals[kind],
                    count([(e.onset.number, e.offset.number) for e in mine], borders(video, kind)),
                ]
            )
        pairs = pair([(e.onset.number, e.offset.number) for e in found], borders(video))
        errors += [abs(found[a].apex.number - video.events[b].clip.apex) for a, b in pairs]
    for kind, counts in totals.items():
        print(kind, {name: round(value, 3) for name, value in counts.as_dict().items()})
    print(f"apex error {np.mean(errors):.2f} frames")


def clips(seed: int, step: int) -> None:
    """Print the apex error on every `step`-th clip of the demo corpora, spotted and midpoint."""
    chosen = [clip for clip in plan("demo", seed) if clip.dataset in MICRO][::step]
    guesses: dict[str, list[int]] = {"spotted": [], "midpoint": []}
    kept = []
    with FaceFinder() as finder:
        for clip in chosen:
            frames = (
                Frame(number, number / 200, rgb(picture))
                for number, picture in zip(clip.frames, film(clip, seed), strict=True)
            )
            interval = spot_clip(frames, finder)
            if interval is None:
                continue
            kept.append(clip)
            guesses["spotted"].append(interval.apex)
            guesses["midpoint"].append((clip.onset + clip.offset) // 2)
    for name, apexes in guesses.items():
        lengths = [(clip.onset, clip.offset) for clip in kept]
        print(name, apex_error(apexes, [clip.apex for clip in kept], lengths))


def recognise(seed: int, number: int) -> None:
    """Print STRS of micro-expressions with the weights that come with the package."""
    total, true, guessed = Counts(0, 0, 0), [], []
    coarse = {"happiness": "positive", "surprise": "surprise"}
    with mer.load("motion-xxs") as model:
        for video, found in spotted(seed, number):
            mine = [one for one in found if one.kind == "micro"]
            events = [event for event in video.events if event.kind == "micro"]
            pairs = pair([(e.onset.number, e.offset.number) for e in mine], borders(video, "micro"))
            total = pooled(
                [total, Counts(len(pairs), len(mine) - len(pairs), len(events) - len(pairs))]
            )
            for a, b in pairs:
                sample = model.prepare(mine[a].onset.picture, mine[a].apex.picture)
                (prediction,) = model.predict_samples([sample], followed=True)
                true.append(coarse.get(events[b].clip.emotion, "negative"))
                guessed.append(favourite(prediction) or "none")
    recognition = recognition_f1(true, guessed, CLASSES)
    right = sum(a == b for a, b in zip(true, guessed, strict=True))
    print(f"spotting {total.as_dict()}; recognised {right} of {len(true)}, F1 {recognition:.3f}")
    print(f"STRS {strs(total, recognition):.3f}")


if __name__ == "__main__":
    cv2.setNumThreads(1)
    size = int(sys.argv[3]) if len(sys.argv) > 3 else 4
    {"long": long, "clips": clips, "recognise": recognise}[sys.argv[1]](int(sys.argv[2]), size)
