"""What all plots share: colours, sizes and the way into a page or a file.

Plots are narrow enough to be read on a phone without zooming, and have no background of their own,
so that a page can show them on light and on dark paper.
"""

import base64
import io
import re
from collections.abc import Callable, Sequence
from functools import wraps
from pathlib import Path
from typing import Any, NamedTuple, ParamSpec, TypeVar

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

#: Colours of classes and of whatever else is told apart: Okabe and Ito's, for the colour-blind.
COLOURS = ("#0072b2", "#e69f00", "#009e73", "#cc79a7", "#d55e00", "#56b4e9", "#999933", "#555555")

#: Colours of datasets, which are none of the classes' (Paul Tol's muted scheme).
DATASET_COLOURS = ("#332288", "#882255", "#117733", "#aa4499", "#ddaa33", "#44aa99")

#: Colours and lines of heads, which are neither the classes' nor the datasets'.
HEAD_LINES = (("#8c510a", "-"), ("#01665e", "--"), ("#6a51a3", ":"), ("#555555", "-."))

GREY = "#777777"

DPI = 300  # of figures for a paper

WIDTH = 3.75  # inches of a narrow figure: 360 CSS pixels

SETTINGS: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "svg.hashsalt": "mer",  # no random ids, so that the same run gives the same file
    "text.parse_math": False,  # a dollar sign in a name is a dollar sign
    "figure.constrained_layout.use": True,
}

P = ParamSpec("P")
R = TypeVar("R")


def styled(draw: Callable[P, R]) -> Callable[P, R]:
    """Let a function draw with `SETTINGS`."""

    @wraps(draw)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        with matplotlib.rc_context(SETTINGS):
            return draw(*args, **kwargs)

    return wrapped


class Plot(NamedTuple):
    """A figure with its file name, what it shows in words, and what helps to read it."""

    name: str
    figure: Figure
    alternative: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The figure as SVG, for an `img` element."""
        content = io.BytesIO()
        self._save(content, format="svg", transparent=True, metadata={"Date": None})
        return _uri("svg+xml", content)

    def write(self, folder: Path) -> None:
        """Write the figure as PNG and PDF for a paper."""
        stem = re.sub("[^A-Za-z0-9_-]+", "-", self.name)
        self._save(folder / f"{stem}.png", dpi=DPI)
        self._save(folder / f"{stem}.pdf", metadata={"CreationDate": None})

    @styled
    def _save(self, target: Any, **options: Any) -> None:
        self.figure.savefig(target, **options)


class Picture(NamedTuple):
    """Pixels (H, W, 3), and what they show in words."""

    pixels: NDArray[np.uint8]
    alternative: str
    caption: str = ""

    @property
    def source(self) -> str:
        """The pixels as PNG, for an `img` element."""
        from PIL import Image

        content = io.BytesIO()
        Image.fromarray(self.pixels).save(content, "PNG", optimize=True)
        return _uri("png", content)


def heat_over(ground: NDArray[np.uint8], heat: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Lay a map of heat, 0 or more and of any size, over a picture that turns gray. (H, W, 3)."""
    from matplotlib import colormaps
    from PIL import Image

    large = Image.fromarray(heat.astype(np.float32)).resize(ground.shape[1::-1])
    share = np.asarray(large)[..., None]
    share = 0.65 * share / max(float(share.max()), 1e-12)
    colour = colormaps["inferno"](share[..., 0] / 0.65)[..., :3] * 255
    mixed = ground.mean(axis=2, keepdims=True) * (1 - share) + colour * share
    return np.asarray(mixed, np.uint8)


def axes(height: float, width: float = WIDTH, rows: int = 1) -> tuple[Figure, Any]:
    """Make a figure and its axes, one below the other; sizes in inches."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, 1, squeeze=False).ravel()


def save(plots: Sequence[Plot], folder: Path) -> None:
    """Write each plot as PNG and PDF."""
    folder.mkdir(parents=True, exist_ok=True)
    for plot in plots:
        plot.write(folder)


def _uri(kind: str, content: io.BytesIO) -> str:
    return f"data:image/{kind};base64," + base64.b64encode(content.getvalue()).decode()
