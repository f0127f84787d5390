"""Contact sheet: a look at what was prepared, before anyone trains on it.

One scale serves the whole sheet: stretched one by one, noise and a smile would look alike.
"""

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

    from mer.prepare.store import Store

SIDE = 112  # px of one picture
WIDTH = 1420  # px of the sheet: three samples with all four pictures
GAP = 4
CAPTION = 32
HEADER = 84
INK, FAINT = (30, 30, 30), (110, 110, 110)


def draw(store: "Store", path: Path, count: int = 24) -> None:
    """Write a PNG with onset, apex, flow and strain of up to `count` samples.

    Flow is shown as colour: the hue is the direction, the saturation the length, white is still.
    """
    from PIL import Image, ImageDraw

    chosen = spread(store.index, count)
    rows = chosen["row"].to_list()
    flow = None if store.flow is None else store.flow[rows].astype(np.float32)
    motion_scale, strain_scale = _scales(flow)
    pictures = [_pictures(store, row, motion_scale, strain_scale) for row in rows]
    # A caption needs the width of two pictures.
    tile = max(len(pictures[0]), 2) * (SIDE + GAP) + 2 * GAP
    columns = WIDTH // tile
    lines = -(-len(rows) // columns)
    sheet = Image.new("RGB", (WIDTH + GAP, HEADER + lines * (SIDE + CAPTION + 2 * GAP)), "white")
    pen = ImageDraw.Draw(sheet)
    _header(sheet, pen, store, len(rows), motion_scale, strain_scale)
    for place, (sample, shown) in enumerate(zip(chosen.itertuples(), pictures, strict=True)):
        x = GAP + place % columns * tile
        y = HEADER + place // columns * (SIDE + CAPTION + 2 * GAP)
        for i, picture in enumerate(shown):
            image = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
            sheet.paste(image, (x + i * (SIDE + GAP), y))
        note = "  onset = apex" if sample.still else ""
        if store.frames is not None and flow is not None and not sample.still:
            note = f"  moves {np.quantile(np.hypot(*flow[place, :2]), 0.99):.2f} px"
        _text(pen, (x, y + SIDE + 1), str(sample.sample_id), tile - 2 * GAP, INK)
        _text(pen, (x, y + SIDE + 15), f"{sample.emotion}{note}", tile - 2 * GAP, FAINT)
    sheet.save(path, compress_level=1)  # the default takes half a second for a quarter less


def spread(index: pd.DataFrame, count: int) -> pd.DataFrame:
    """Choose samples in turn from every emotion, each time of a subject that was shown least.

    Among equals the choice is random with a fixed seed: two sheets of a store are the same.
    """
    index = index.sample(frac=1, random_state=0)
    shown: dict[str, int] = {}
    left = {emotion: group for emotion, group in index.groupby("emotion", sort=True)}
    chosen: list[int] = []
    while len(chosen) < min(count, len(index)):
        for emotion, group in list(left.items()):
            times = group["subject"].map(lambda subject: shown.get(subject, 0))
            best = times.idxmin()
            subject = group.at[best, "subject"]
            shown[subject] = shown.get(subject, 0) + 1
            chosen.append(best)
            left[emotion] = group.drop(best)
            if left[emotion].empty:
                del left[emotion]
            if len(chosen) == count:
                break
    return index.loc[chosen].sort_values("sample_id")


def wheel(u: np.ndarray, v: np.ndarray, scale: float) -> np.ndarray:
    """Colour a flow field: uint8 (H, W, 3) RGB from u and v (H, W); full colour from `scale` up.

    Right is red, down yellow-green, left cyan, up violet; no motion is white.
    """
    from PIL import Image

    hue = np.mod(np.arctan2(v, u) / (2 * np.pi), 1) * 255
    length = np.clip(np.hypot(u, v) / scale, 0, 1) * 255
    hsv = np.stack([hue, length, np.full_like(hue, 255)], axis=-1).round().astype(np.uint8)
    return np.asarray(Image.fromarray(hsv, "HSV").convert("RGB"))


def _scales(flow: np.ndarray | None) -> tuple[float, float]:
    """The motion and the strain that show at full strength: the longest 2 % are beyond."""
    if flow is None:
        return 1.0, 1.0
    motion = float(np.quantile(np.hypot(flow[:, 0], flow[:, 1]), 0.98))
    return max(motion, 1e-3), max(float(np.quantile(flow[:, 2], 0.98)), 1e-4)


def _pictures(store: "Store", row: int, motion: float, strain: float) -> list[np.ndarray]:
    shown = [] if store.frames is None else list(store.frames[row])
    if shown and not store.index["has_onset"].any():
        del shown[0]
    if store.flow is not None:
        u, v, magnitude = store.flow[row].astype(np.float32)
        dark = np.clip(magnitude / strain, 0, 1) * 255
        shown += [wheel(u, v, motion), np.repeat(dark.astype(np.uint8)[..., None], 3, axis=2)]
    return shown


def _header(
    sheet: "Image.Image",
    pen: "ImageDraw.ImageDraw",
    store: "Store",
    shown: int,
    motion: float,
    strain: float,
) -> None:
    from PIL import Image

    index, name = store.index, store.path.name.removeprefix(".").removesuffix(".partial")
    _text(pen, (GAP, 6), name, 700, INK, 18)
    facts = f"{shown} of {len(index)} samples, {index['subject'].nunique()} subjects, "
    facts += f"{len(store.drops)} dropped, {store.size} x {store.size} px"
    _text(pen, (GAP, 32), facts, 700, FAINT)
    parts = []
    if store.frames is not None:
        parts = ["onset, apex" if index["has_onset"].any() else "apex"]
    if store.flow is not None:
        chosen = store.settings.get("flow", {})
        method = chosen.get("_target_") or chosen.get("method", "precomputed")
        # Precomputed flow comes without pictures and without a known unit.
        unit = "" if store.frames is None else " px"
        parts += [f"flow ({method}; full colour = {motion:.2f}{unit})"]
        parts += [f"strain (white = {strain:.3f})"]
        axis = np.linspace(-1, 1, HEADER - 20, dtype=np.float32)
        disc = wheel(*np.meshgrid(axis, axis), 1.0).copy()
        disc[np.hypot(*np.meshgrid(axis, axis)) > 1] = 255
        sheet.paste(Image.fromarray(disc), (sheet.width - HEADER + 10, 6))
        _text(pen, (sheet.width - HEADER - 92, 30), "direction of motion", 110, FAINT, 10)
    _text(pen, (GAP, 50), "from left to right: " + ", ".join(parts), 760, FAINT)


def _text(
    pen: "ImageDraw.ImageDraw",
    place: tuple[int, int],
    text: str,
    width: int,
    colour: tuple[int, int, int],
    size: int = 12,
) -> None:
    """Write one line, cut in the middle where it is too long: ids differ at both ends."""
    from PIL import ImageFont

    font = ImageFont.load_default(size)
    kept = text
    while pen.textlength(kept, font=font) > width and len(text) > 8:
        text = text[: len(text) // 2 - 1] + text[len(text) // 2 + 1 :]
        kept = text[: len(text) // 2] + "…" + text[len(text) // 2 :]
    pen.text(place, kept, colour, font=font)
