"""Long videos: a person at rest who shows some micro- and macro-expressions, blinks and moves.

Between the expressions the face is neutral; nobody speaks. All intervals are known.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mer.synthetic.camera import Motion, motion, scene, similarity, sitting
from mer.synthetic.expressions import Drift, Performance, act, course
from mer.synthetic.motion import mouth_gap, wrinkles
from mer.synthetic.persons import points, style
from mer.synthetic.plan import Clip
from mer.synthetic.seeds import generator

EMOTIONS = ("happiness", "surprise", "disgust", "anger", "sadness", "fear")

#: Length of an expression in seconds: micro up to half a second, macro up to four.
SECONDS = {"micro": (0.23, 0.5), "macro": (0.8, 2.5)}

#: Rest between two expressions in seconds.
PAUSE = (1.2, 4.0)


class Event(NamedTuple):
    """One expression of a long video; onset, apex and offset are frames of the video."""

    kind: str  # micro | macro
    clip: Clip


class LongRecording(NamedTuple):
    """What happens in a long video.

    Attributes:
        dataset: `casme_sq` or `samm_long`.
        subject: Folder name of the subject.
        video: Name of the video within the corpus.
        fps: Frames per second.
        frames: Number of frames; they count from 1.
        events: Expressions in order.
        blinks: Frames at which the lids are closed most.
    """

    dataset: str
    subject: str
    video: str
    fps: float
    frames: int
    events: tuple[Event, ...]
    blinks: tuple[int, ...]


def plan_video(
    dataset: str, subject: str, video: str, fps: float, seconds: float, seed: int
) -> LongRecording:
    """Draw what happens in a video; a pure function of the names and the seed."""
    rng = generator(seed, dataset, subject, video, "plan")
    frames = round(seconds * fps)
    events: list[Event] = []
    start = float(rng.uniform(1.0, 2.5))
    while True:
        kind = "micro" if rng.random() < 0.6 else "macro"
        length = float(rng.uniform(*SECONDS[kind]))
        if start + length > seconds - 1.0:
            break
        onset, offset = 1 + round(start * fps), 1 + round((start + length) * fps)
        apex = onset + max(1, round(rng.uniform(0.4, 0.6) * (offset - onset)))
        emotion = str(rng.choice(EMOTIONS))
        name = f"{video}_{len(events) + 1}"
        events.append(Event(kind, Clip(dataset, subject, name, emotion, onset, apex, offset)))
        start += length + float(rng.uniform(*PAUSE))
    moments = np.cumsum(rng.uniform(2.0, 6.0, int(seconds)))
    blinks = tuple(1 + round(moment * fps) for moment in moments if moment < seconds - 0.3)
    return LongRecording(dataset, subject, video, fps, frames, tuple(events), blinks)


def film_video(video: LongRecording, seed: int) -> Iterator[np.ndarray]:
    """Yield the frames of a long video in order, (H, W, 3) BGR or (H, W) gray uint8."""
    rng = generator(seed, video.dataset, video.subject, video.video, "camera")
    stand = sitting(rng)
    stage = scene(video.dataset, video.subject, seed, rng)
    place, scale = stage.portrait.layout, stage.camera.scale
    places, mouth = points(stage.face), stage.face.mouth
    acted = [act(event.clip, seed, event.kind == "micro") for event in video.events]
    levels = [_level(e, p, video) for e, p in zip(video.events, acted, strict=True)]
    restlessness = style(video.dataset, video.subject, seed).restlessness
    drifts = _head(video, restlessness, rng)
    closing = _lids(video, rng)
    exposure = float(rng.uniform(0.92, 1.06))
    ready: dict[int, tuple[Motion, np.ndarray]] = {}
    still = motion(Clip(video.dataset, video.subject, "", "", 1, 1, 1), _neutral(1.0), seed)
    for index in range(video.frames):
        drift = Drift(*(float(value) for value in drifts[index]))
        shift = still.blink * closing[index]
        shift = shift + still.depth[..., None] * np.array([drift.yaw, drift.pitch], "f4") * scale
        folds, gaps = [], []
        for number, (event, performance) in enumerate(zip(video.events, acted, strict=True)):
            strength = float(levels[number][index])
            if strength < 1e-3:
                ready.pop(number, None)
                continue
            if number not in ready:
                fold = wrinkles(performance.units, places, place, performance.peak)
                ready[number] = motion(event.clip, performance, seed), fold
            moves, fold = ready[number]
            shift += moves.expression * np.float32(strength)
            folds.append((fold, strength))
            gap = mouth_gap(performance.units, places, mouth, strength * moves.amount / scale)
            gaps += [] if gap is None else [gap]
        gain = exposure * (1 + 0.003 * float(rng.normal()))
        yield stage.shoot(shift, folds, gaps, similarity(place, stand, drift), gain, rng)


def _neutral(blink: float) -> Performance:
    rest = Drift(0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    return Performance("neutral", "", [], 0.0, 1.0, 0.0, blink, 0.0, rest)


def _level(event: Event, performance: Performance, video: LongRecording) -> np.ndarray:
    """Strength of one expression in each frame of the video; what is left at its offset fades."""
    level = np.zeros(video.frames)
    shown = course(event.clip, performance)
    onset, offset = event.clip.onset - 1, event.clip.offset - 1
    level[onset : offset + 1] = shown
    after = np.arange(1, video.frames - offset)
    level[offset + 1 :] = shown[-1] * np.exp(-after / (0.7 * video.fps))
    return level


def _head(video: LongRecording, restlessness: float, rng: np.random.Generator) -> np.ndarray:
    """Head pose in each frame, (frames, 6) as in `Drift`: some slow waves on each axis."""
    seconds = np.arange(video.frames) / video.fps
    spread = restlessness * np.array([0.03, 0.03, 0.8, 0.008, 0.012, 0.012])
    waves = np.zeros((video.frames, 6))
    for axis in range(6):
        for period in rng.uniform((2.0, 5.0, 12.0), (5.0, 12.0, 30.0)):
            phase = rng.uniform(0, 2 * np.pi)
            size = spread[axis] * rng.normal() * np.sqrt(period / 12)
            waves[:, axis] += size * np.sin(2 * np.pi * seconds / period + phase)
    return waves


def _lids(video: LongRecording, rng: np.random.Generator) -> np.ndarray:
    """Lid closure in each frame, eye distances."""
    seconds = np.arange(video.frames) / video.fps
    closing = np.zeros(video.frames)
    for blink in video.blinks:
        deep, width = rng.uniform(0.12, 0.2), rng.uniform(0.05, 0.08)
        closing += deep * np.exp(-(((seconds - (blink - 1) / video.fps) / width) ** 2))
    return closing.astype(np.float32)
