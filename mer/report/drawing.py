"""Figures of a report, drawn with matplotlib: the same for the page and for a paper.

All are narrow enough to be read on a phone without zooming.
"""

import base64
import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: Okabe and Ito's colours, which people with colour blindness tell apart too.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999933", "#555555")

MOST_NAMES = 30  # persons that have room for their names

DPI = 300  # of figures for a paper

WIDTH = 3.75  # inches of a narrow figure: 360 CSS pixels

#: Dates and random ids are left out, so that the same run gives the same file.
SETTINGS = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "mer",
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "figure.constrained_layout.use": True,
}


class Drawing(NamedTuple):
    """A figure with its file name, and what it shows in words."""

    name: str
    figure: Figure
    alternative: str
    caption: str = ""


def data_uri(drawing: Drawing) -> str:
    """A figure as SVG for an `img` element."""
    content = io.BytesIO()
    with matplotlib.rc_context(SETTINGS):
        drawing.figure.savefig(content, format="svg", metadata={"Date": None, "Creator": None})
    return "data:image/svg+xml;base64," + base64.b64encode(content.getvalue()).decode()


def picture_uri(picture: NDArray[np.uint8]) -> str:
    """Pixels (H, W, 3) as a PNG for an `img` element."""
    from PIL import Image

    content = io.BytesIO()
    Image.fromarray(picture).save(content, "PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(content.getvalue()).decode()


def save(drawings: Sequence[Drawing], folder: Path) -> None:
    """Write each figure as PNG and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SETTINGS):
        for drawing in drawings:
            for ending, about in (("png", {}), ("pdf", {"CreationDate": None})):
                path = folder / f"{re.sub('[^A-Za-z0-9_-]+', '-', drawing.name)}.{ending}"
                drawing.figure.savefig(path, dpi=DPI, metadata=about)


def axes(
    height: float, width: float = WIDTH, columns: int = 1, rows: int = 1
) -> tuple[Figure, Any]:
    """A new figure and its axes, in the style of the report."""
    with matplotlib.rc_context(SETTINGS):
        figure = Figure(figsize=(width, height))
        return figure, figure.subplots(rows, columns, squeeze=False).ravel()


def confusion(name: str, title: str, matrix: NDArray, classes: Sequence[str]) -> Drawing:
    """Counts and shares of the true class; rows true, columns predicted."""
    matrix = np.asarray(matrix)
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    count = len(classes)
    with matplotlib.rc_context(SETTINGS):
        width = 0.85 + 0.6 * count
        figure, (ax,) = axes(0.75 + 0.6 * count, width)
        ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (row, column), value in np.ndenumerate(matrix):
            colour = "white" if share[row, column] > 0.55 else "#222222"
            words = f"{value}\n{100 * share[row, column]:.0f} %"
            ax.text(column, row, words, ha="center", va="center", color=colour, fontsize=9)
        tilt = 0 if max(map(len, classes)) < 9 else 30
        ax.set_xticks(range(count), classes, rotation=tilt, fontsize=8)
        ax.set_yticks(range(count), classes, rotation=90 - tilt, va="center", fontsize=8)
        ax.set(xlabel="predicted", ylabel="true", title=title)
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
    said = "; ".join(
        f"{true}: " + ", ".join(f"{n} as {p}" for n, p in zip(row, classes, strict=True))
        for true, row in zip(classes, matrix.tolist(), strict=True)
    )
    return Drawing(name, figure, f"Confusion matrix, {title}. {said}")


def persons(
    table: pd.DataFrame, head: str, said: str, majority: Mapping[str, float]
) -> list[Drawing]:
    """Accuracy of each person, a dot each, its area growing with the samples; one per dataset.

    Args:
        table: As `numbers.per_person` gives it.
        head: Head that is drawn.
        said: Its name.
        majority: Dataset -> accuracy of always saying the most frequent class.
    """
    drawings = []
    for name, part in table.groupby("dataset", sort=False):
        with matplotlib.rc_context(SETTINGS):
            figure, (ax,) = axes(2.8)
            places = np.arange(len(part))
            ax.vlines(places, 0, part[head], color=COLOURS[0], lw=1, alpha=0.5)
            ax.scatter(places, part[head], s=10 + 4 * part["samples"], color=COLOURS[0], lw=0)
            ax.axhline(majority[name], color="#777777", lw=1, ls="--", zorder=0)
            ax.set(ylim=(-0.06, 1.08), xlim=(-0.8, len(part) - 0.2))
            ax.set(ylabel=f"accuracy, {said}", title=name)
            own = [str(person).removeprefix(f"{name}/") for person in part["person"]]
            ax.set_xticks(places, own, rotation=90, fontsize=7)
            if len(part) > MOST_NAMES:
                ax.set(xticks=[], xlabel=f"{len(part)} persons")
        low, high = part[head].min(), part[head].max()
        words = f"Accuracy of {len(part)} persons of {name}, {said}: {low:.2f} to {high:.2f}"
        drawings.append(Drawing(f"persons-{name}", figure, words))
    return drawings


def curves(mean: pd.DataFrame, folds: int) -> list[Drawing]:
    """Mean loss and UF1 per epoch, with plus and minus one standard deviation over folds.

    Args:
        mean: As `mer.runs.curves.mean` gives it.
        folds: How many there are.
    """
    drawings = []
    for kind, said in (("loss", "loss"), ("uf1", "UF1")):
        sides = [side for side in ("train", "val") if f"{side}/{kind}" in mean]
        if not sides:
            continue
        with matplotlib.rc_context(SETTINGS):
            figure, (ax,) = axes(2.6)
            for side in sides:
                key = f"{side}/{kind}"
                values = mean[[key, f"{key}_low", f"{key}_high"]].dropna()
                epochs, colour = values.index + 1, COLOURS[side == "val"]
                label = "validation" if side == "val" else "training"
                ax.plot(epochs, values[key], color=colour, label=label, marker=".", ms=4, lw=1.4)
                low, high = values[f"{key}_low"], values[f"{key}_high"]
                ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
            ax.set(ylabel=said, xlabel="epoch")
            ax.xaxis.get_major_locator().set_params(integer=True)
            ax.legend()
        ends = ", ".join(f"{side} {mean[f'{side}/{kind}'].iloc[-1]:.2f}" for side in sides)
        words = f"{said} per epoch, mean of {folds} folds; at the end {ends}"
        drawings.append(Drawing(f"curves-{kind}", figure, words))
    return drawings


def calibration(table: pd.DataFrame, error: float) -> Drawing:
    """Reliability of the softmax: confidence against accuracy, with the samples of each bin."""
    with matplotlib.rc_context(SETTINGS):
        figure, (ax, below) = axes(4.2, rows=2)
        figure.set_size_inches(WIDTH, 4.2)
        below.sharex(ax)
        ax.tick_params(labelbottom=False)
        ax.plot([0, 1], [0, 1], color="#777777", lw=1, ls="--")
        ax.plot(table["confidence"], table["accuracy"], color=COLOURS[0], marker="o", ms=5)
        ax.lines[-1].set_clip_on(False)
        ax.set(ylim=(0, 1), xlim=(0, 1), ylabel="accuracy", title=f"ECE {error:.3f}")
        widths = table["high"] - table["low"]
        below.bar(table["low"], table["samples"], widths, align="edge", ec="white", fc=COLOURS[0])
        below.set(ylabel="samples", xlabel="confidence (largest probability)")
        ax.get_gridspec().set_height_ratios([3, 1])
    return Drawing(
        "calibration",
        figure,
        f"Reliability of the softmax in {len(table)} bins, expected calibration error {error:.3f}",
        "On the dashed line, of the samples with confidence p a share p is right.",
    )


def scatter(
    name: str, places: NDArray[np.floating], kinds: Mapping[str, Sequence[str]]
) -> list[Drawing]:
    """A map of samples, once for each colouring.

    Args:
        name: Of the method, part of the file names.
        places: Shape: (N, 2).
        kinds: Colouring -> value of each sample; beyond eight values there is no legend.
    """
    drawings = []
    for kind, values in kinds.items():
        order = sorted(set(values))
        few = len(order) <= len(COLOURS)
        with matplotlib.rc_context(SETTINGS):
            figure, (ax,) = axes(3.4, 3.4)
            for place, value in enumerate(order):
                chosen = np.array([v == value for v in values])
                colour = COLOURS[place] if few else _many(place)
                marker = "o" if few else "os^vDP*X"[place % 8]
                ax.scatter(
                    *places[chosen].T,
                    s=14,
                    color=colour,
                    label=value,
                    marker=marker,
                    lw=0,
                    alpha=0.8,
                )
            ax.set(xticks=[], yticks=[], title=f"{name}, by {kind}")
            ax.spines[:].set_visible(True)
            ax.spines[:].set_color("#cccccc")
            if few:
                ax.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=3, handletextpad=0.1)
            else:
                ax.set_xlabel(f"{len(order)} {kind}s, a colour and a shape each", fontsize=8)
        words = f"{name} map of {len(places)} samples coloured by {kind}"
        drawings.append(Drawing(f"map-{name.lower()}-{kind}", figure, words))
    return drawings


def regions(table: pd.DataFrame) -> Drawing:
    """Density of class activation per region, a group of bars per region.

    Args:
        table: Rows classes, columns regions, values density; 1 where activation is spread evenly.
    """
    with matplotlib.rc_context(SETTINGS):
        figure, (ax,) = axes(3.4)
        height = 0.8 / len(table)
        middle = np.arange(len(table.columns))
        for place, (name, row) in enumerate(table.iterrows()):
            at = middle + (place - (len(table) - 1) / 2) * height
            ax.barh(at, row, height, color=COLOURS[place % len(COLOURS)], label=str(name))
        ax.axvline(1, color="#222222", lw=1)
        ax.set_yticks(middle, list(table.columns))
        ax.invert_yaxis()
        ax.set_xlabel("activation per area, 1 is the mean")
        figure.legend(
            title="predicted class", title_fontsize=8, loc="outside upper center", ncols=3
        )
    said = "; ".join(
        f"{name}: " + ", ".join(f"{region} {value:.2f}" for region, value in row.items())
        for name, row in table.iterrows()
    )
    return Drawing("regions", figure, f"Class activation per area by facial region. {said}")


def _many(place: int) -> Any:
    """Colours of many values: neighbours in the list differ by the golden section of the hues."""
    hsv = (place * 0.618034) % 1, 0.55 + 0.4 * (place % 3) / 2, 0.55 + 0.4 * (place % 2)
    return matplotlib.colors.hsv_to_rgb(hsv)
