"""Plots of a run, the same for the page and for a paper."""

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.pages.plots import COLOURS, DATASET_COLOURS, GREY, HEAD_LINES, WIDTH, Plot, axes, styled

MOST_NAMES = 9  # persons that have room for their names


@styled
def confusion(name: str, title: str, matrix: NDArray[np.int64], classes: Sequence[str]) -> Plot:
    """Counts and shares of the true class; rows true, columns predicted."""
    share = matrix / np.maximum(matrix.sum(axis=1, keepdims=True), 1)
    count = len(classes)
    figure, (ax,) = axes(0.75 + 0.6 * count, 0.85 + 0.6 * count)
    ax.imshow(share, cmap="Blues", vmin=0, vmax=1)
    for (row, column), value in np.ndenumerate(matrix):
        colour = "white" if share[row, column] > 0.66 else "#222222"
        words = f"{value}\n{100 * share[row, column]:.0f} %"
        ax.text(column, row, words, ha="center", va="center", color=colour, fontsize=9)
    tilt = 0 if max(map(len, classes)) < 9 else 30
    ax.set_xticks(range(count), classes, rotation=tilt, fontsize=8)
    ax.set_yticks(range(count), classes, rotation=90 - tilt, va="center", fontsize=8)
    ax.set(xlabel="predicted", ylabel="true", title=title)
    ax.tick_params(length=0)
    ax.spines[:].set_visible(False)
    rows = (
        f"{true}: " + ", ".join(f"{n} as {p}" for n, p in zip(counts, classes, strict=True))
        for true, counts in zip(classes, matrix.tolist(), strict=True)
    )
    return Plot(name, figure, f"Confusion matrix, {title}. {'; '.join(rows)}")


@styled
def persons(
    table: pd.DataFrame, head: str, title: str, majority: Mapping[str, float]
) -> list[Plot]:
    """Accuracy of each person, a dot each, its area growing with the samples; one per dataset."""
    plots = []
    for number, (name, part) in enumerate(table.groupby("dataset", sort=False)):
        colour = DATASET_COLOURS[number % len(DATASET_COLOURS)]
        figure, (ax,) = axes(2.6)
        places = np.arange(len(part))
        ax.vlines(places, 0, part[head], color=colour, lw=1, alpha=0.5)
        ax.scatter(places, part[head], s=10 + 4 * part["samples"], color=colour, lw=0)
        ax.axhline(majority[name], color=GREY, lw=1, ls="--", zorder=0)
        ax.set(ylim=(-0.06, 1.08), xlim=(-0.8, len(part) - 0.2), title=name, ylabel="accuracy")
        few = len(part) <= MOST_NAMES
        names = [str(person).removeprefix(f"{name}/") for person in part["person"]] if few else []
        ax.set_xticks(places if few else [], names, fontsize=7)
        ax.set_xlabel("person" if few else f"{len(part)} persons, the best first")
        low, high = part[head].min(), part[head].max()
        words = f"Accuracy of {len(part)} persons of {name}, {title}: {low:.2f} to {high:.2f}"
        plots.append(Plot(f"persons-{name}", figure, words))
    return plots


@styled
def curves(mean: pd.DataFrame, folds: int) -> list[Plot]:
    """Mean loss and UF1 per epoch, with plus and minus one standard deviation over folds."""
    plots = []
    for kind, label in (("loss", "loss"), ("uf1", "UF1")):
        sides = [side for side in ("train", "val") if f"{side}/{kind}" in mean]
        if not sides:
            continue
        figure, (ax,) = axes(2.6)
        for side in sides:
            key = f"{side}/{kind}"
            values = mean[[key, f"{key}_low", f"{key}_high"]].dropna()
            epochs, colour = values.index + 1, COLOURS[side == "val"]
            name = "validation" if side == "val" else "training"
            ax.plot(epochs, values[key], color=colour, label=name, marker=".", ms=4, lw=1.4)
            low, high = values[f"{key}_low"], values[f"{key}_high"]
            ax.fill_between(epochs, low, high, color=colour, alpha=0.18, lw=0)
        ax.set(ylabel=label, xlabel="epoch")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.legend()
        ends = ", ".join(f"{side} {mean[f'{side}/{kind}'].iloc[-1]:.2f}" for side in sides)
        words = f"{label} per epoch, mean of {folds} folds; at the end {ends}"
        plots.append(Plot(f"curves-{kind}", figure, words))
    return plots


@styled
def person_curve(table: pd.DataFrame) -> Plot:
    """UF1 over the mean number of training persons, with the range of the draws."""
    figure, (ax,) = axes(2.6)
    ax.fill_between(table["persons"], table["low"], table["high"], color=COLOURS[0], alpha=0.18)
    ax.plot(table["persons"], table["uf1"], color=COLOURS[0], marker="o", ms=4, lw=1.4)
    ax.set(xlabel="training persons of a fold", ylabel="UF1", xlim=(0, None))
    points = ", ".join(f"{row.persons:.0f}: {row.uf1:.2f}" for row in table.itertuples())
    words = f"UF1 of an SVM on the input itself over the number of training persons: {points}"
    return Plot("persons-learning", figure, words)


@styled
def coverage(curves: Mapping[str, NDArray[np.float64]]) -> Plot:
    """Accuracy of the samples of which each head is surest, over their share.

    Args:
        curves: Heading of a head -> accuracy of its first 1, 2, ... N samples.
    """
    figure, (ax,) = axes(3.2)
    for number, (title, curve) in enumerate(curves.items()):
        share = np.arange(1, len(curve) + 1) / len(curve)
        shown = share >= 0.05  # the first few samples say nothing
        colour, line = HEAD_LINES[number % len(HEAD_LINES)]
        ax.plot(share[shown], curve[shown], color=colour, ls=line, label=title, lw=1.4)
    ax.set(xlabel="share of the samples, the surest first", ylabel="accuracy", xlim=(0, 1))
    figure.legend(loc="outside upper center", ncols=1)
    ends = "; ".join(
        f"{title} {curve[len(curve) // 2]:.2f} at half, {curve[-1]:.2f} at all samples"
        for title, curve in curves.items()
    )
    return Plot("coverage", figure, f"Accuracy of the surest samples of each head: {ends}")


@styled
def calibration(name: str, title: str, tables: Mapping[str, pd.DataFrame]) -> Plot:
    """Reliability of a head: confidence against accuracy, the samples of each bin as area."""
    figure, (ax, below) = axes(4.2, rows=2)
    below.sharex(ax)
    ax.tick_params(labelbottom=False)
    ax.plot([0, 1], [0, 1], color=GREY, lw=1, ls="--")
    most = max(table["samples"].max() for table in tables.values())
    for number, (heading, table) in enumerate(tables.items()):
        counts = number == len(tables) - 1
        sizes = 6 + 180 * table["samples"] / most
        dots = ax.scatter(table["confidence"], table["accuracy"], s=sizes, label=heading, zorder=3)
        dots.set(color=COLOURS[0] if counts else GREY, alpha=0.85, lw=0, clip_on=False)
        if not counts:
            dots.set(facecolor="none", lw=1)
    last = list(tables.values())[-1]
    ax.set(ylim=(0, 1), xlim=(0, 1), ylabel="accuracy", title=title)
    legend = ax.legend(loc="upper left")
    for handle in legend.legend_handles:
        handle.set_sizes([30])
    widths = 0.96 * (last["high"] - last["low"])
    below.bar(last["low"], last["samples"], widths, align="edge", fc=COLOURS[0])
    below.set(ylabel="samples", xlabel="confidence (probability of its class)")
    ax.get_gridspec().set_height_ratios([3, 1])
    bins = "; ".join(
        f"{row['samples']:.0f} of confidence {row['confidence']:.2f}: {row['accuracy']:.2f} right"
        for _, row in last.iterrows()
    )
    return Plot(name, figure, f"Reliability, {title}, {list(tables)[-1]}. {bins}")


@styled
def regions(table: pd.DataFrame) -> Plot:
    """Density of class activation per region, a group of bars per region."""
    figure, (ax,) = axes(3.4, 1.3 * WIDTH)
    height = 0.8 / len(table)
    middle = np.arange(len(table.columns))
    for number, (name, row) in enumerate(table.iterrows()):
        at = middle + (number - (len(table) - 1) / 2) * height
        ax.barh(at, row, 0.94 * height, color=COLOURS[number % len(COLOURS)], label=str(name))
    ax.axvline(1, color=GREY, lw=1)
    ax.set_yticks(middle, list(table.columns))
    ax.invert_yaxis()
    ax.set_xlabel("activation per area, 1 is the mean")
    figure.legend(title="predicted class", title_fontsize=8, loc="outside upper center", ncols=3)
    rows = "; ".join(
        f"{name}: " + ", ".join(f"{region} {value:.2f}" for region, value in row.items())
        for name, row in table.iterrows()
    )
    return Plot("regions", figure, f"Class activation per area by facial region. {rows}")
