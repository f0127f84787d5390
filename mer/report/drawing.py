"""Figures of a report, drawn with matplotlib: the same for the page and for a paper.

All are narrow enough to be read on a phone without zooming.
"""

import base64
import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: Okabe and Ito's colours, which people with colour blindness tell apart too.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999933", "#555555")

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
    """Write each figure as PNG (300 dots an inch) and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    with matplotlib.rc_context(SETTINGS):
        for drawing in drawings:
            for ending, about in (("png", {}), ("pdf", {"CreationDate": None})):
                path = folder / f"{drawing.name}.{ending}"
                drawing.figure.savefig(path, dpi=300, metadata=about)


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


def persons(table: pd.DataFrame, heads: Mapping[str, str], majority: float) -> Drawing:
    """Accuracy of each person, a dot each, its area growing with the samples; a line per dataset.

    Args:
        table: As `numbers.per_person` gives it.
        heads: Head that is drawn -> its name.
        majority: Accuracy of always saying the most frequent class.
    """
    head, said = next(iter(heads.items()))
    with matplotlib.rc_context(SETTINGS):
        datasets = list(dict.fromkeys(table["dataset"]))
        width = max(WIDTH, min(8.0, 1.2 + 0.13 * len(table)))
        figure, (ax,) = axes(3.0, width)
        for place, name in enumerate(datasets):
            part = table[table["dataset"] == name]
            colour = COLOURS[place % len(COLOURS)]
            ax.vlines(part.index, 0, part[head], color=colour, lw=1, alpha=0.5)
            size = 10 + 5 * part["samples"]
            ax.scatter(part.index, part[head], s=size, color=colour, label=name, alpha=0.85, lw=0)
        ax.axhline(majority, color="#777777", lw=1, ls="--", zorder=0)
        ax.set(ylim=(-0.05, 1.08), ylabel=f"accuracy, {said}", xticks=[])
        ax.set_xlabel("persons; larger dots have more samples")
        legend = ax.legend(ncols=3, loc="lower center", bbox_to_anchor=(0.5, 1.0))
        for handle in legend.legend_handles:
            handle.set_sizes([30])
    return Drawing(
        "subjects",
        figure,
        f"{said} accuracy of {len(table)} persons: "
        f"{table[head].min():.2f} to {table[head].max():.2f}",
        f"The dashed line is the accuracy of always saying the majority class ({majority:.3f}).",
    )


def curves(mean: pd.DataFrame, folds: int) -> list[Drawing]:
    """Mean loss and UF1 per epoch, with plus and minus one standard deviation over folds.

    Args:
        mean: As `mer.loggers.curves.mean` gives it.
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
        ax.plot([0, 1], [0, 1], color="#777777", lw=1, ls="--")
        ax.plot(table["confidence"], table["accuracy"], color=COLOURS[0], marker="o", ms=5)
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
        words = f"{name} map of {len(places)} samples coloured by {kind}"
        drawings.append(Drawing(f"map-{name.lower()}-{kind}", figure, words))
    return drawings


def regions(table: pd.DataFrame, area: pd.Series) -> Drawing:
    """Shares of class activation per region, a group of bars per class.

    Args:
        table: Rows classes, columns regions, values shares in [0, 1].
        area: Share of the picture that each region takes.
    """
    with matplotlib.rc_context(SETTINGS):
        figure, (ax,) = axes(3.2)
        height = 0.8 / len(table)
        middle = np.arange(len(table.columns))
        for place, (name, row) in enumerate(table.iterrows()):
            at = middle + (place - (len(table) - 1) / 2) * height
            colour = COLOURS[place % len(COLOURS)]
            ax.barh(at, row, height, color=colour, label=str(name))
        _ticks(ax, middle, area.reindex(table.columns), list(table.columns))
        ax.set_xlabel("share of the activation; black line: share of the area")
        ax.legend(title="predicted class", title_fontsize=8)
    said = "; ".join(
        f"{name}: " + ", ".join(f"{region} {value:.2f}" for region, value in row.items())
        for name, row in table.iterrows()
    )
    return Drawing("regions", figure, f"Class activation by facial region. {said}")


def _ticks(ax: Axes, middle: NDArray, area: pd.Series, names: list[str]) -> None:
    ax.vlines(area, middle - 0.42, middle + 0.42, color="#222222", lw=1.6)
    ax.set_yticks(middle, names)
    ax.invert_yaxis()


def _many(place: int) -> Any:
    """Colours of many values: neighbours in the list differ by the golden section of the hues."""
    hsv = (place * 0.618034) % 1, 0.55 + 0.4 * (place % 3) / 2, 0.55 + 0.4 * (place % 2)
    return matplotlib.colors.hsv_to_rgb(hsv)
