"""Draw the pictures of the documentation from synthetic faces: `python docs/draw_pictures.py`.

Writes docs/pictures/{sample.png,stages.svg,folds.svg}. No real person is in them.
"""

import tempfile
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from mer import datasets
from mer.config.settings import Prepare
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import prepare_sample, read_picture
from mer.prepare.sheet import wheel
from mer.synthetic import generate

FOLDER = Path(__file__).parent / "pictures"
INK, BLUE, GREEN, GREY = "#263238", "#90caf9", "#a5d6a7", "#eceff1"
EMOTION = "surprise"

matplotlib.rcParams.update(
    {"font.size": 9, "text.color": INK, "svg.hashsalt": "mer", "savefig.facecolor": "white"}
)


def box(axes, x, y, width, height, text, colour=GREY):
    """Draw a rounded box with a text in it."""
    style = "round,pad=0.02,rounding_size=0.08"
    axes.add_patch(FancyBboxPatch((x, y), width, height, style, facecolor=colour, edgecolor=INK))
    axes.text(x + width / 2, y + height / 2, text, ha="center", va="center")


def arrow(axes, start, end, **kwargs):
    """Draw an arrow between two points."""
    axes.add_patch(
        FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, **kwargs)
    )


def canvas(width, height, scale=1.0):
    """Make an empty figure whose units are inches."""
    figure, axes = plt.subplots(figsize=(width * scale, height * scale))
    axes.set(xlim=(0, width), ylim=(0, height), aspect="equal")
    axes.axis("off")
    figure.subplots_adjust(0, 0, 1, 1)
    return figure, axes


def save(figure, name):
    """Write a figure without the date."""
    kind = {"metadata": {"Date": None}} if name.endswith("svg") else {"dpi": 110}
    figure.savefig(FOLDER / name, **kind)
    plt.close(figure)


def strongest():
    """Return pictures, crops, flow and strain of the synthetic clip that moves most."""
    with tempfile.TemporaryDirectory() as folder:
        root = generate("tiny", Path(folder) / "tiny")["casme2"]
        table = datasets.read("casme2", root).table
        rows = table[table["emotion"] == EMOTION].astype(object).where(table.notna(), None)
        best = None
        with FaceFinder() as finder:
            for row in rows.to_dict("records"):
                sample = prepare_sample(row, Prepare(size=224), finder)
                length = np.quantile(np.hypot(*sample.flow[:2].astype(np.float32)), 0.98)
                if best is None or length > best[0]:
                    pictures = [
                        read_picture(Path(row[f"{name}_path"])) for name in ("onset", "apex")
                    ]
                    best = (length, pictures, sample)
    return best


def draw_sample():
    """Draw the way of one sample: pictures, crops, flow and strain, network, heads."""
    length, pictures, sample = strongest()
    flow = sample.flow.astype(np.float32)
    strain = np.clip(flow[2] / np.quantile(flow[2], 0.98), 0, 1)
    figure, axes = canvas(12, 3.1)

    def show(picture, x, y, width, height, title, **kwargs):
        axes.imshow(picture, extent=(x, x + width, y, y + height), **kwargs)
        axes.text(x, y + height + 0.06, title)

    for picture, y, name in zip(pictures, (1.7, 0.2), ("onset", "apex"), strict=True):
        tall = picture.shape[0] / picture.shape[1]
        width = min(1.5, 1.15 / tall)
        show(
            picture,
            0.15 + (1.5 - width) / 2,
            y,
            width,
            width * tall,
            f"{name}: first frame" if name == "onset" else "apex: strongest frame",
        )
    for crop, y, name in zip(sample.frames, (1.7, 0.2), ("onset", "apex"), strict=True):
        show(crop, 2.55, y, 1.15, 1.15, f"{name}, aligned")
    show(wheel(*flow[:2], length), 4.65, 1.7, 1.15, 1.15, "flow (u, v)")
    show(strain, 4.65, 0.2, 1.15, 1.15, "strain", cmap="gray")
    axes.set(xlim=(0, 12), ylim=(0, 3.1))
    box(axes, 6.6, 1.0, 1.5, 1.1, "network\nMobileViT", BLUE)
    box(axes, 8.75, 1.8, 1.25, 0.7, "SVM head", GREEN)
    box(axes, 8.75, 0.6, 1.25, 0.7, "softmax", GREEN)
    box(axes, 10.6, 1.1, 1.25, 0.9, "label with\nscores", GREY)
    for start, end, text in (
        ((1.8, 1.55), (2.45, 1.55), "prepare"),
        ((3.85, 1.55), (4.55, 1.55), "DIS"),
        ((5.95, 1.55), (6.5, 1.55), "input"),
    ):
        arrow(axes, start, end)
        axes.text((start[0] + end[0]) / 2, start[1] + 0.1, text, ha="center", fontsize=8)
    arrow(axes, (8.2, 1.65), (8.65, 2.1))
    arrow(axes, (8.2, 1.45), (8.65, 1.0))
    axes.text(8.42, 2.25, "embed-\nding", ha="center", fontsize=7)
    arrow(axes, (10.1, 2.1), (10.5, 1.7))
    arrow(axes, (10.1, 1.0), (10.5, 1.4))
    save(figure, "sample.png")


def draw_stages():
    """Draw the two trainings and what one hands to the other."""
    figure, axes = canvas(8.2, 3.5)
    axes.text(0.1, 3.2, "1  macro-pretraining, once", weight="bold")
    axes.text(0.1, 0.08, "2  micro fine-tuning, one network per fold", weight="bold")
    names = ("stem", "MV2", "MV2", "T", "MV2", "T", "MV2", "T")
    for y, used in ((2.15, False), (0.5, True)):
        for place, name in enumerate(names):
            colour = BLUE if name != "T" else (GREEN if used else "white")
            box(axes, 1.45 + place * 0.6, y, 0.45, 0.8, name, colour)
        arrow(axes, (1.05, y + 0.4), (1.4, y + 0.4))
        arrow(axes, (6.2, y + 0.4), (6.5, y + 0.4))
    box(axes, 6.6, 2.15, 1.1, 0.8, "classes")
    box(axes, 6.6, 0.98, 1.1, 0.32, "classes")
    box(axes, 6.6, 0.5, 1.1, 0.32, "SVM")
    axes.text(0.1, 2.55, "macro\nsamples", va="center", fontsize=8)
    axes.text(0.1, 0.9, "micro training\nsamples", va="center", fontsize=8)
    for place, name in enumerate(names):
        if name != "T":
            x = 1.675 + place * 0.6
            arrow(axes, (x, 2.1), (x, 1.36), linestyle="dotted")
    axes.text(
        3.05, 1.7, "weights of the MobileNetV2 blocks (MV2)", fontsize=8, backgroundcolor="white"
    )
    note = "T: transformer block, passed over in 1, starts as nothing in 2"
    axes.text(3.05, 3.2, note, fontsize=8)
    save(figure, "stages.svg")


def draw_folds():
    """Draw who trains and who is tested under leave-one-subject-out."""
    figure, axes = canvas(8, 3.1)
    persons = ["casme2/sub01", "casme2/sub02", "samm/006", "samm/007", "smic/s01", "smic/s02"]
    for row, person in enumerate(persons):
        axes.text(1.35, 2.6 - row * 0.4, person, ha="right", va="center", fontsize=8)
        for fold in range(len(persons)):
            colour = "#ef9a9a" if fold == row else BLUE
            axes.add_patch(
                plt.Rectangle((1.5 + fold * 0.6, 2.43 - row * 0.4), 0.54, 0.34, facecolor=colour)
            )
    for fold in range(len(persons)):
        axes.text(1.77 + fold * 0.6, 2.92, f"fold {fold + 1}", ha="center", fontsize=8)
    axes.text(5.3, 2.45, "trains", backgroundcolor=BLUE)
    axes.text(5.3, 2.05, "is tested", backgroundcolor="#ef9a9a")
    box(axes, 5.3, 0.55, 2.5, 1.1, "all tested samples\nin one table:\nUF1, UAR, accuracy", GREY)
    arrow(axes, (5.1, 1.1), (5.25, 1.1))
    save(figure, "folds.svg")


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    draw_sample()
    draw_stages()
    draw_folds()
