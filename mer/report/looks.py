"""Sections that need the data or the networks: embedding map, single samples, class activation."""

import warnings

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.report import cam, cards, drawing, html, inside
from mer.report.cards import Painter
from mer.report.drawing import Drawing
from mer.report.inside import Inside
from mer.report.material import Material
from mer.report.networks import Networks
from mer.report.numbers import NEIGHBOURS, Share
from mer.report.scores import figures
from mer.runs.results import HEADS

FORBIDDEN = (
    "Pictures of faces are left out: the licences of most datasets forbid publishing them. "
    "`mer report --pictures RUN` embeds them for your own eyes."
)

OVERLAYS = 4


def embedding(networks: Networks, seen: Inside, seed: int) -> tuple[str, list[Drawing]]:
    """Do the embeddings separate people or emotions? Numbers first, then maps."""
    table = networks.dataset.table
    rows = [
        [f"same {name}", f"{s.found:.3f}", f"{s.chance:.3f}", f"{s.most:.3f}", f"{s.pull:+.2f}"]
        for name, s in seen.shares.items()
    ]
    header = [f"of the {NEIGHBOURS} nearest", "found", "by chance", "possible", "pull"]
    note = (
        f"For each tested sample, its {NEIGHBOURS} nearest neighbours by cosine among the other "
        "tested samples of its fold and "
        + ("all" if seen.others == len(table) else f"{seen.others}")
        + " others, in the space of the network that did not see its person. Pull: 0 at chance, "
        "1 when as many neighbours as possible agree. The others include the samples that the "
        "network was trained on."
    )
    drawings = []
    parts = [
        html.paragraph(verdict(seen.shares)),
        html.table(header, rows),
        html.paragraph(note, "why"),
    ]
    kinds = {
        "class": table["label"].tolist(),
        "dataset": table["dataset"].tolist(),
        "person": table["person"].tolist(),
    }
    for method, places in inside.flatten(seen.embeddings, seed).items():
        own = drawing.scatter(method, places, kinds)
        drawings += own
        parts.append(figures(own) if method == "t-SNE" else html.details(method, figures(own)))
    parts.append(
        html.paragraph(
            "Each sample is embedded by the network that was tested on it; the folds' spaces are "
            "rotated onto the first one's by the samples that neither network was tested on, so "
            "distances between persons are approximate. Neither distances between groups nor their "
            "sizes mean anything in a t-SNE.",
            "why",
        )
    )
    if seen.different:
        parts.insert(
            0,
            html.banner(
                "caution",
                f"{seen.different} of {len(table)} samples get another softmax class than the "
                "stored one; on the same machine and versions all are equal.",
            ),
        )
    return "".join(parts), drawings


def verdict(shares: dict[str, Share]) -> str:
    """Say in a sentence what draws neighbours together most."""
    pulls = {name: shares[name].pull for name in ("class", "person", "dataset")}
    said = ", ".join(f"{name} {value:+.2f}" for name, value in pulls.items())
    people = max(pulls["person"], pulls["dataset"])
    if max(pulls.values()) < 0.1:
        return f"Neighbours hardly agree in anything: the embeddings separate neither ({said})."
    if pulls["class"] > people + 0.05:
        return f"The embeddings separate emotions more than people or datasets ({said})."
    if people > pulls["class"] + 0.05:
        what = "people" if pulls["person"] >= pulls["dataset"] else "datasets"
        return f"The embeddings separate {what} more than emotions ({said})."
    return f"Emotions and people are separated about equally ({said})."


def single(material: Material, networks: Networks | None, reason: str, faces: bool) -> str:
    """The surest wrong samples and the hardest ones, with pictures where there may be some."""
    named = {head: HEADS[head] for head in material.heads}
    chosen = cards.hardest(material.predictions, material.classes, material.heads)
    painter = None if networks is None else Painter(networks.dataset, faces)
    titles = {
        "sure": f"Most confident and wrong, {named[material.heads[0]]}",
        "hard": "Hardest: no head is right, and the true class is the least probable",
    }
    parts = []
    if painter is None:
        parts.append(html.paragraph(reason, "why"))
    else:
        kinds = painter.kinds
        if kinds:
            legend = f"From left to right: {', '.join(kinds)}."
            if "motion" in kinds:
                legend += (
                    " Motion: the hue is the direction (right red, down yellow-green, left cyan, "
                    "up violet), white is still; one scale for all."
                )
            parts.append(html.paragraph(legend, "why"))
        if not faces and any(store.frames is not None for store in networks.corpus.stores):
            parts.append(html.paragraph(FORBIDDEN, "why"))
    for kind, frame in chosen.items():
        parts.append(html.heading(titles[kind], 3))
        parts.append(_cards(frame, named, painter) or html.paragraph("None.", "why"))
    return "".join(parts)


def _cards(frame: pd.DataFrame, named: dict[str, str], painter: Painter | None) -> str:
    pictures, lines = [], []
    for _, row in frame.iterrows():
        words = cards.caption(row, named)
        picture = None
        if painter is not None:
            (position,) = painter.dataset.positions([row["sample_id"]])
            picture = painter.draw(int(position))
        if picture is None:
            lines.append(f"<li>{html.text(words)}</li>")
        else:
            pictures.append(html.figure(drawing.picture_uri(picture), words, words))
    listing = f"<ul>{''.join(lines)}</ul>" if lines else ""
    return (f'<div class="samples">{"".join(pictures)}</div>' if pictures else "") + listing


def activation(
    material: Material, networks: Networks, seen: Inside, faces: bool
) -> tuple[str, list[Drawing]]:
    """Grad-CAM pooled over facial regions, and some samples."""
    if seen.maps is None:
        return html.paragraph(seen.layer, "why"), []
    painter = Painter(networks.dataset, faces)
    table, area, marked = pool(painter, seen, material.classes)
    empty = int(sum(1 for m in seen.maps if not m.any()))
    where = "landmarks of each sample" if marked else "fixed boxes, since there are no landmarks"
    counts = pd.Series(seen.predicted).value_counts()
    rows = [
        [name, int(counts.get(name, 0)), *("–" if np.isnan(v) else f"{v:.2f}" for v in row)]
        for name, row in zip(table.index, table.to_numpy(), strict=True)
    ]
    rows.append(["share of the area", "", *(f"{value:.2f}" for value in area)])
    kinds = [""] * len(table) + ["aside"]
    header = ["predicted class", "samples", *table.columns]
    note = (
        "Where Grad-CAM finds the evidence for the class that the softmax predicts: the mean share "
        "of its mass in a region over the region's share of the picture. It is taken at the step "
        f"`{seen.layer}` of the backbone, the last whose map has {cam.LEAST} x {cam.LEAST} cells "
        f"or more. Regions: {where}. Coarse maps reach over the borders of regions, so small "
        "differences mean nothing."
    )
    if empty:
        note += f" {empty} samples have no positive activation and are left out."
    shown = table.dropna()
    drawings = [drawing.regions(shown / area)] if len(shown) else []
    parts = [
        figures(drawings),
        html.paragraph(note, "why"),
        html.details("Shares as a table", html.table(header, rows, kinds)),
        _overlays(material, painter, seen),
    ]
    return "".join(parts), drawings


def pool(
    painter: Painter, seen: Inside, classes: list[str]
) -> tuple[pd.DataFrame, pd.Series, bool]:
    """Mean shares of activation per predicted class and region.

    Returns:
        Rows classes, columns regions; the mean share of the area; whether there were landmarks.
    """
    shares, areas, marked = [], [], 0
    for position, one in enumerate(seen.maps if seen.maps is not None else []):
        points, size = painter.landmarks(position)
        marked += points is not None
        mask = cam.region_mask(points, size)
        shares.append(cam.region_shares(one, mask))
        areas.append(cam.region_shares(np.ones_like(one), mask))
    table = np.asarray(shares)
    predicted = np.asarray(seen.predicted, dtype=object)
    means = [_mean(table[predicted == name]) for name in classes]
    frame = pd.DataFrame(means, index=classes, columns=list(cam.NAMES))
    area = pd.Series(np.mean(areas, axis=0), index=list(cam.NAMES))
    return frame, area, marked > len(table) / 2


def _mean(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a class that was never predicted
        return np.nanmean(rows, axis=0) if len(rows) else np.full(len(cam.NAMES), np.nan)


def _overlays(material: Material, painter: Painter, seen: Inside) -> str:
    """The surest right sample of each class and the surest wrong one, by the softmax."""
    assert seen.maps is not None
    frame = material.predictions
    columns = [f"softmax_{name}" for name in material.classes]
    ranked = frame.assign(sure=frame[columns].max(axis=1), said=material.most_probable)
    ranked = ranked.sort_values("sure", ascending=False)
    right = ranked["said"] == ranked["label"]
    best = ranked[right].groupby("label", sort=False).head(1)
    chosen = pd.concat([best.head(OVERLAYS - 1), ranked[~right]])
    items = []
    for _, row in chosen.head(OVERLAYS).iterrows():
        (position,) = painter.dataset.positions([row["sample_id"]])
        picture = painter.overlay(int(position), seen.maps[position])
        words = f"{row['sample_id']}: {row['label']}, softmax: {row['said']} ({row['sure']:.2f})"
        items.append(html.figure(drawing.picture_uri(picture), f"Activation of {words}", words))
    title = f"Activation over the {painter.ground}: surest right samples, then a wrong one"
    return html.heading(title, 3) + f'<div class="overlays">{"".join(items)}</div>'
