"""Pictures of a prediction: onset, apex, motion, where the network looked; a clip's timeline."""

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mer.config.settings import Input
from mer.data import inputs
from mer.deploy import occlusion
from mer.pages.plots import COLOURS, GREY, Picture, Plot, axes, heat_over, styled
from mer.prepare.sample import Sample
from mer.prepare.sheet import wheel

if TYPE_CHECKING:
    from mer.deploy.prediction import ClipPrediction, FoundExpression
    from mer.deploy.predictor import Predictor

#: Pixels of one picture.
SIDE = 224

#: Pixels of motion that are shown in full colour at least, so that noise stays pale.
LEAST_MOTION = 0.5


def pictures(predictor: "Predictor", expression: "FoundExpression") -> list[Picture]:
    """Draw onset, apex, motion and the reasons for the label, as far as there are any."""
    sample = expression.sample
    if sample is None:
        return []
    shown: list[Picture] = []
    if sample.frames is not None:
        names = (("onset", expression.onset), ("apex", expression.apex))
        for frame, (name, moment) in zip(sample.frames, names, strict=True):
            when = "" if moment is None else f" {moment.seconds:.2f} s"
            shown.append(Picture(_large(frame), f"The face at the {name}", f"{name}{when}"))
    if sample.flow is not None:
        motion, longest = _motion(sample, predictor.facts.input)
        caption = f"motion, up to {longest:.1f} px"
        shown.append(Picture(motion, "Motion from onset to apex as colour", caption))
    if not shown:
        return []
    ground = shown[min(1, len(shown) - 1)].pixels
    for heat, caption in (
        (predictor.activation(sample), "where the network looked"),
        (occlusion.explain(predictor, sample), "what the label rests on"),
    ):
        if heat is not None:
            shown.append(Picture(heat_over(ground, heat), f"{caption}, over the apex", caption))
    return shown


def strip(shown: list[Picture], title: str) -> NDArray[np.uint8]:
    """Set pictures side by side with their captions, below a title. (H, W, 3) RGB."""
    from PIL import Image, ImageDraw, ImageFont

    gap, line = 6, 20
    width = len(shown) * (SIDE + gap) + gap
    sheet = Image.new("RGB", (width, SIDE + 2 * line + 3 * gap), "white")
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(14)
    pen.text((gap, gap), title, (30, 30, 30), font=font)
    for number, picture in enumerate(shown):
        left = gap + number * (SIDE + gap)
        sheet.paste(Image.fromarray(picture.pixels), (left, line + 2 * gap))
        text = picture.caption
        pen.text((left, line + SIDE + 2 * gap), text, (90, 90, 90), font=ImageFont.load_default(12))
    return np.asarray(sheet)


@styled
def timeline(clip: "ClipPrediction") -> Plot | None:
    """Draw the motion of each face over time, and the intervals that were spotted in it."""
    if clip.seconds is None:
        return None
    figure, (axis,) = axes(2.0, width=7.0)
    timed = [one for one in clip.expressions if one.onset is not None and one.apex is not None]
    for face, curve in enumerate(clip.curves):
        if curve:
            times, motion = zip(*curve, strict=True)
            axis.plot(times, motion, linewidth=0.8, color=GREY if face == 0 else COLOURS[face % 8])
    labels = list(dict.fromkeys(one.prediction.label for one in timed))
    for one in timed:
        assert one.onset is not None and one.apex is not None
        end = (one.offset or one.apex).seconds
        colour = COLOURS[labels.index(one.prediction.label) % len(COLOURS)]
        axis.axvspan(one.onset.seconds, end, color=colour, alpha=0.3, linewidth=0)
        axis.axvline(one.apex.seconds, color=colour, linewidth=1)
    handles = [
        (axis.axvspan(0, 0, color=COLOURS[number % len(COLOURS)], alpha=0.5), name or "no label")
        for number, name in enumerate(labels)
    ]
    if handles:
        axis.legend(*zip(*handles, strict=True), loc="lower left", bbox_to_anchor=(0, 1), ncols=4)
    axis.set_xlim(0, max(clip.seconds, 1e-3))
    axis.set_ylim(bottom=0)
    axis.set_xlabel("seconds")
    axis.set_ylabel("motion / rest")
    words = f"{len(timed)} intervals in {clip.seconds:.1f} s"
    return Plot(f"{clip.source}-timeline", figure, f"Timeline: {words}", words)


def _motion(sample: Sample, options: Input) -> tuple[NDArray[np.uint8], float]:
    """Motion as colour, head motion out as in the input, and its length in full colour."""
    made = inputs.make(Input("flow", size=SIDE, center=options.center))
    flow = made.build(sample)
    longest = float(np.quantile(np.hypot(flow[..., 0], flow[..., 1]), 0.98))
    longest = max(longest, LEAST_MOTION)
    return wheel(flow[..., 0], flow[..., 1], longest), longest


def _large(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    from PIL import Image

    return np.asarray(Image.fromarray(frame).resize((SIDE, SIDE)))
