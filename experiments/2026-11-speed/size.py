"""What a fold costs as samples, folds, input size and parameters grow: size.csv and size.svg.

Flow of noise, one thread, one fold at a time, no macro weights.
"""

import json
import logging
import sys
import tempfile
from pathlib import Path

import matplotlib.pyplot as plt
import noise
import pandas as pd

from mer.config.composition import compose
from mer.training import runner

HERE = Path(__file__).parent
SAMPLES = (110, 221, 442, 884)
SIZES = (32, 48, 64, 96, 128)
FOLDS = (1, 2, 4, 8)
BACKBONES = (
    "mobilevitv2_050", "mobilevit_xxs", "mobilevit_xs", "mobilevit_s", "mobilenetv3_small_100",
    "efficientvit_b0", "resnet18",
)  # fmt: skip
REPEATS = 1


def seconds(
    samples: int = 442, folds: int = 1, epochs: int = 1, words: tuple[str, ...] = ()
) -> tuple[list[float], int]:
    """Return the seconds of each fold, and the parameters of the network."""
    with tempfile.TemporaryDirectory() as name:
        own = [*noise.write(Path(name), samples), noise.folds(folds), f"model.epochs={epochs}"]
        run_dir = Path(name, "run")
        runner.run(compose([*own, "run.dir=unused", *words, *sys.argv[1:]]), run_dir)
        records = sorted(run_dir.glob("folds/*/fold.json"))
        parameters = json.loads((run_dir / "cost.json").read_text())["parameters"]
        return [json.loads(record.read_text())["seconds"] for record in records], parameters


def epoch(words: tuple[str, ...] = (), samples: int = 442) -> tuple[float, float, int]:
    """Seconds of an epoch, seconds of a fold without its epochs, parameters."""
    long, parameters = seconds(samples, 1, 2, words)  # also pays for what is made once
    short, _ = seconds(samples, 1, 1, words)
    one = long[0] - short[0]
    return one, short[0] - one, parameters


def measure() -> pd.DataFrame:
    """Measure every axis; one row per point and repeat."""
    rows = []
    for name in BACKBONES:  # loads what is loaded once
        seconds(110, words=(f"backbone={name}", "input.size=32"))
    for repeat in range(REPEATS):
        axes = (
            ("samples", SAMPLES, lambda count: epoch(samples=count)),
            ("input size", SIZES, lambda side: epoch((f"input.size={side}",))),
            ("parameters", BACKBONES, lambda name: epoch((f"backbone={name}",))),
        )
        for axis, points, action in axes:
            for point in points:
                one, constant, parameters = action(point)
                rows.append((axis, point, repeat, one, constant, parameters))
                print(*rows[-1], flush=True)
        for count in FOLDS:
            found, parameters = seconds(folds=count)
            rows.append(("folds", count, repeat, sum(found), 0.0, parameters))
            print(*rows[-1], flush=True)
    names = ["axis", "point", "repeat", "seconds", "without_epochs", "parameters"]
    return pd.DataFrame(rows, columns=names)


def draw(table: pd.DataFrame) -> None:
    """Draw seconds against each axis."""
    figure, panels = plt.subplots(2, 2, figsize=(6.4, 5.6), layout="constrained")
    titles = {
        "samples": ("samples", "seconds of an epoch"),
        "folds": ("folds of one epoch", "seconds of all folds"),
        "input size": ("side of the input (px)", "seconds of an epoch"),
        "parameters": ("parameters (millions)", "seconds of an epoch"),
    }
    for panel, (axis, (across, up)) in zip(panels.flat, titles.items(), strict=True):
        part = table[table["axis"] == axis]
        middle = part.groupby("point", sort=False).median(numeric_only=True)
        points = middle["parameters"] / 1e6 if axis == "parameters" else middle.index.astype(float)
        line = "o" if axis == "parameters" else "o-"
        panel.plot(points, middle["seconds"], line)
        if axis == "parameters":
            for x, y, name in zip(points, middle["seconds"], middle.index, strict=True):
                panel.annotate(name, (x, y), fontsize=6, xytext=(3, 3), textcoords="offset points")
        panel.set(xlabel=across, ylabel=up, xscale="log", yscale="log")
        ticks = (1, 2, 5, 10) if axis == "parameters" else list(points)
        panel.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        panel.set_yticks([0.5, 1, 2, 5, 10, 20], ["0.5", "1", "2", "5", "10", "20"])
        panel.minorticks_off()
        panel.margins(x=0.25 if axis == "parameters" else 0.1, y=0.15)
        panel.grid(alpha=0.3, linewidth=0.5)
    figure.savefig(HERE / "size.svg", metadata={"Date": None})


if __name__ == "__main__":
    logging.getLogger("mer").setLevel(logging.WARNING)
    table = measure()
    table.to_csv(HERE / "size.csv", index=False, float_format="%.4g")
    draw(table)
