"""What a fold costs as samples, folds, input size and parameters grow: size.csv and size.svg.

Flow of noise, one thread, one fold at a time, no macro weights.
"""

import logging
import tempfile
import time
from pathlib import Path

import matplotlib.pyplot as plt
import memory
import pandas as pd
import torch

from mer.config.composition import typed
from mer.data.corpus import Corpus
from mer.data.dataset import UnifiedDataset
from mer.prepare.store import Store
from mer.protocols import make_folds
from mer.runs.observers import RunContext
from mer.training.fold import run_fold

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
    """Seconds of each fold, and parameters of the network."""
    with tempfile.TemporaryDirectory() as name:
        home = Path(name)
        memory.write_store(home / "store", samples)
        cfg = memory.configuration(home, f"model.epochs={epochs}", *words)
        store = Store.open(home / "store")
        label = [memory.CLASSES[number % 3] for number in range(samples)]
        table = store.index.assign(label=label, store=0)
        corpus = Corpus(table, [store], list(memory.CLASSES), [])
        dataset = UnifiedDataset(table, [store], corpus.classes, typed(cfg).input)
        chosen = make_folds(table, cfg.protocol.name, seed=cfg.seed)[:folds]
        run = RunContext(cfg, home / "run", corpus, dataset, chosen, None)
        found = []
        for fold in chosen:
            (home / "run" / "folds" / fold.name).mkdir(parents=True)
            started = time.perf_counter()
            run_fold(run, fold, announce=False)
            found.append(time.perf_counter() - started)
        checkpoint = home / "run" / "folds" / chosen[0].name / "model.ckpt"
        weights = torch.load(checkpoint, weights_only=True)["state_dict"]
        parameters = sum(tensor.numel() for key, tensor in weights.items() if "running" not in key)
    return found, parameters


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
    figure, panels = plt.subplots(1, 4, figsize=(13, 3.4), layout="constrained")
    titles = {
        "samples": ("samples", "seconds of an epoch"),
        "folds": ("folds of one epoch", "seconds of all folds"),
        "input size": ("side of the input (px)", "seconds of an epoch"),
        "parameters": ("parameters (millions)", "seconds of an epoch"),
    }
    for panel, (axis, (across, up)) in zip(panels, titles.items(), strict=True):
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
    torch.set_num_threads(1)
    table = measure()
    table.to_csv(HERE / "size.csv", index=False, float_format="%.4g")
    draw(table)
