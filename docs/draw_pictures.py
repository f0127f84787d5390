"""Draw the pictures of the documentation from synthetic faces: `python docs/draw_pictures.py`.

Writes docs/pictures/{sample.png,sample-narrow.png,stages.svg,folds.svg}, with tmux wandb.svg, and
with Chromium and the report of `make demo` report.png and report-narrow.png. No real person is in
them.
"""

import io
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from PIL import Image
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.text import Text

from mer import datasets
from mer.config.settings import Prepare
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import prepare_sample, read_picture
from mer.prepare.sheet import wheel
from mer.synthetic import generate

FOLDER = Path(__file__).parent / "pictures"
INK, BLUE, GREEN, GREY, RED = "#263238", "#90caf9", "#a5d6a7", "#eceff1", "#ef9a9a"
EMOTION = "surprise"

matplotlib.rcParams.update(
    {"font.size": 9.5, "text.color": INK, "svg.hashsalt": "mer", "savefig.facecolor": "white"}
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


def draw_sample(name, length, pictures, sample, narrow=False):
    """Draw the way of one sample: pictures, crops, flow and strain, network, heads.

    Args:
        name: File to write.
        length: Length of motion, in pixels, that has full colour.
        pictures: Onset and apex as they were read.
        sample: The prepared sample.
        narrow: Whether the network stands below the pictures, for a phone.
    """
    flow = sample.flow.astype(np.float32)
    strain = np.clip(flow[2] / np.quantile(flow[2], 0.98), 0, 1)
    width, height = (6.0, 5.5) if narrow else (12, 3.1)
    figure, axes = canvas(width, height)
    up = height - 3.1  # of the pictures
    x, y = (-6.45, -0.5) if narrow else (0, 0)  # of the network

    def show(picture, x, y, width, height, title, **kwargs):
        axes.imshow(picture, extent=(x, x + width, y + up, y + up + height), **kwargs)
        axes.text(x, y + up + height + 0.06, title)

    for picture, bottom, title in zip(
        pictures, (1.7, 0.2), ("onset: at rest", "apex: strongest"), strict=True
    ):
        tall = picture.shape[0] / picture.shape[1]
        wide = min(1.5, 1.15 / tall)
        show(picture, 0.15 + (1.5 - wide) / 2, bottom, wide, wide * tall, title)
    for crop, bottom, title in zip(sample.frames, (1.7, 0.2), ("onset", "apex"), strict=True):
        show(crop, 2.55, bottom, 1.15, 1.15, f"{title}, aligned")
    show(wheel(*flow[:2], length), 4.65, 1.7, 1.15, 1.15, "flow (u, v)")
    show(strain, 4.65, 0.2, 1.15, 1.15, "strain", cmap="gray")
    axes.set(xlim=(0, width), ylim=(0, height))
    box(axes, 6.6 + x, 1.0 + y, 1.5, 1.1, "network\nMobileViT", BLUE)
    box(axes, 8.75 + x, 1.8 + y, 1.25, 0.7, "SVM head", GREEN)
    box(axes, 8.75 + x, 0.6 + y, 1.25, 0.7, "softmax", GREEN)
    box(axes, 10.6 + x, 1.1 + y, 1.25, 0.9, "label with\nscores", GREY)
    for start, end, text in ((1.8, 2.45, "align"), (3.85, 4.55, "flow")):
        arrow(axes, (start, 1.55 + up), (end, 1.55 + up))
        axes.text((start + end) / 2, 1.65 + up, text, ha="center")
    if narrow:
        top = 2.1 + y
        axes.plot([5.22, 5.22, 0.9], [0.15 + up, top + 0.6, top + 0.6], color=INK, linewidth=1)
        arrow(axes, (0.9, top + 0.63), (0.9, top + 0.05))
    else:
        arrow(axes, (5.95, 1.55), (6.5, 1.55))
    for start, end in (
        ((8.2, 1.65), (8.65, 2.1)),
        ((8.2, 1.45), (8.65, 1.0)),
        ((10.1, 2.1), (10.5, 1.7)),
        ((10.1, 1.0), (10.5, 1.4)),
    ):
        arrow(axes, (start[0] + x, start[1] + y), (end[0] + x, end[1] + y))
    save(figure, name)


def draw_stages():
    """Draw the two trainings and what one hands to the other."""
    figure, axes = canvas(5.9, 3.75)
    axes.text(0.1, 3.5, "1  macro-pretraining, once", weight="bold")
    axes.text(0.1, 0.42, "2  micro fine-tuning, one network per fold", weight="bold")
    names = ("stem", "MV2", "MV2", "T", "MV2", "T", "MV2", "T")
    for y, used in ((2.5, False), (0.8, True)):
        for place, name in enumerate(names):
            colour = BLUE if name != "T" else (GREEN if used else "white")
            box(axes, 1.12 + place * 0.46, y, 0.36, 0.8, name, colour)
        arrow(axes, (0.82, y + 0.4), (1.1, y + 0.4))
        arrow(axes, (4.74, y + 0.4), (4.98, y + 0.4))
    box(axes, 5.03, 2.5, 0.75, 0.8, "classes")
    box(axes, 5.03, 1.28, 0.75, 0.32, "classes")
    box(axes, 5.03, 0.8, 0.75, 0.32, "SVM")
    axes.text(0.1, 2.9, "macro\nsamples", va="center")
    axes.text(0.1, 1.2, "micro\nsamples", va="center")
    for place, name in enumerate(names):
        if name != "T":
            x = 1.3 + place * 0.46
            arrow(axes, (x, 2.45), (x, 1.66), linestyle="dotted")
    axes.text(1.25, 2.02, "weights of stem and MobileNetV2 blocks (MV2)", backgroundcolor="white")
    note = "T: transformer block, bypassed in 1; adds nothing when 2 begins"
    axes.text(0.1, 0.1, note)
    save(figure, "stages.svg")


def draw_folds():
    """Draw who trains and who is tested under leave-one-subject-out."""
    figure, axes = canvas(5.3, 3.75)
    persons = ["casme2/sub01", "casme2/sub02", "samm/006", "samm/007", "smic/s01", "smic/s02"]
    for row, person in enumerate(persons):
        axes.text(1.35, 3.25 - row * 0.4, person, ha="right", va="center")
        for fold in range(len(persons)):
            colour = RED if fold == row else BLUE
            axes.add_patch(
                plt.Rectangle((1.5 + fold * 0.6, 3.08 - row * 0.4), 0.54, 0.34, facecolor=colour)
            )
    for fold in range(len(persons)):
        axes.text(1.77 + fold * 0.6, 3.53, f"fold {fold + 1}", ha="center")
    axes.text(0.15, 0.6, "trains", backgroundcolor=BLUE)
    axes.text(0.15, 0.25, "is tested", backgroundcolor=RED)
    box(axes, 1.5, 0.12, 3.54, 0.6, "all tested samples in one table:\nUF1, UAR, accuracy", GREY)
    arrow(axes, (3.27, 1.02), (3.27, 0.76))
    save(figure, "folds.svg")


def photograph(page, name, width, height):
    """Write the head of a page as a browser shows it."""
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    size, file = f"--window-size={width},{height}", f"--screenshot={FOLDER / name}"
    subprocess.run(["chromium", *options, size, file, page.resolve().as_uri()], check=True)
    Image.open(FOLDER / name).quantize(64).save(FOLDER / name, optimize=True)


def draw_wandb():
    """Draw what `wandb leet` shows in a terminal (tmux) of a small run that was logged offline."""
    width, height = 140, 34
    words = (
        "data.preset=tiny backbone=tiny input.size=32 prepare.size=96 protocol=group_kfold seed=1 "
        "protocol.n_splits=3 protocol.validation=0.3 macro.enabled=false model.epochs=12 "
        "data.root=data paths.cache=cache run.dir=demo logger=wandb logger.wandb.name=demo"
    )
    mer = [sys.executable, "-m", "mer.cli", "train", *words.split()]
    leet = f"{shlex.quote(sys.executable)} -m wandb leet run demo/wandb/offline-run-*"
    with tempfile.TemporaryDirectory() as folder:
        settings = {**os.environ, "WANDB_CONFIG_DIR": folder}  # panels as they are at first
        subprocess.run(mer, cwd=folder, check=True)
        tmux = ["tmux", "-S", str(Path(folder, "tmux"))]
        size = ["-x", str(width), "-y", str(height)]
        subprocess.run(
            [*tmux, "new-session", "-d", *size, leet], cwd=folder, env=settings, check=True
        )
        # Without figures of the machine; the training loss of each fold, and the running scores.
        for keys in (["]"], ["/"], ["-l", r"fold_curves.*train/loss|val/.*/uf1$"], ["Enter"]):
            time.sleep(5)
            subprocess.run([*tmux, "send-keys", *keys], check=True)
        time.sleep(5)
        shown = subprocess.run([*tmux, "capture-pane", "-e", "-p"], capture_output=True, check=True)
        subprocess.run([*tmux, "kill-server"], check=True)
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(shown.stdout.decode()))
    plain = re.sub(r"@font-face {{.*?}}", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    drawn = console.export_svg(title="wandb leet", code_format=plain, unique_id="leet")
    (FOLDER / "wandb.svg").write_text(drawn)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    clip = strongest()
    draw_sample("sample.png", *clip)
    draw_sample("sample-narrow.png", *clip, narrow=True)
    draw_stages()
    draw_folds()
    report = FOLDER.parents[1] / "runs" / "demo" / "report.html"
    if shutil.which("chromium") and report.is_file():
        photograph(report, "report.png", 1100, 990)
        photograph(report, "report-narrow.png", 400, 760)
    if shutil.which("tmux"):
        draw_wandb()
