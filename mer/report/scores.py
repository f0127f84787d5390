"""Sections about the scores: headline, confusion, persons, calibration."""

from typing import Any

import numpy as np

from mer import metrics
from mer.report import drawing, html, numbers
from mer.report.drawing import Drawing
from mer.report.html import Raw
from mer.report.material import Material
from mer.results import HEADS

#: Scores in the order of the tables; those that a run's `metrics.json` lacks are left out.
NAMES = {
    "uf1": "UF1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "kappa": "kappa",
}


def guesses(matrix: list[list[int]]) -> dict[str, dict[str, float]]:
    """What guessing gives on the true labels of a confusion matrix, see `metrics.chance`."""
    true = np.asarray(matrix).sum(axis=1)
    return metrics.chance(true.tolist(), len(true))


def headline(material: Material) -> str:
    """The table of all heads on all parts, with chance beside them."""
    heads = material.metrics["heads"]
    names = [name for name in NAMES if name in heads["majority"]["pooled"]]
    rows: list[list[Any]] = []
    kinds = []
    for part in material.parts:
        values = heads["majority"][part]
        rows.append([f"{part}: {values['samples']} samples of {values['persons']} persons"])
        kinds.append("part")
        for head, parts in heads.items():
            rows.append([HEADS.get(head, head), *(_cell(parts[part], name) for name in names)])
            kinds.append("main" if head == material.heads[0] else "")
            if head == "majority":
                kinds[-1] = "aside"
        chance = guesses(values["confusion"])["prior"]
        rows.append(["chance", *(_cell(chance, name) for name in names)])
        kinds.append("aside")
    table = html.table(["head", *(NAMES[name] for name in names)], rows, kinds)
    note = (
        "Each score is computed once, from one confusion matrix over all "
        f"{material.metrics['folds']} folds. Brackets: 95 % interval when persons are drawn again "
        "(bootstrap); the spread over seeds is not in it. Chance: expected scores of guessing each "
        "class as often as it is true."
    )
    return table + html.paragraph(note, "why")


def _cell(values: dict[str, Any], name: str) -> Raw:
    if values.get(name) is None:
        return Raw("<b>–</b>")
    interval = values.get("intervals", {}).get(name)
    bounds = f"<small>[{interval[0]:.2f}, {interval[1]:.2f}]</small>" if interval else ""
    return Raw(f"<b>{values[name]:.3f}</b>{bounds}")


def confusions(material: Material) -> tuple[str, list[Drawing]]:
    """Confusion matrices of every head and part, and scores per class."""
    drawings: list[Drawing] = []
    parts = []
    for head in material.heads:
        own = []
        for part in material.parts:
            matrix = np.asarray(material.metrics["heads"][head][part]["confusion"])
            name = f"confusion-{head}-{part}".replace("/", "-")
            own.append(drawing.confusion(name, f"{part}, {HEADS[head]}", matrix, material.classes))
        drawings += own
        content = figures(own) + _per_class(material, head)
        if head == material.heads[0]:
            parts.append(content)
        else:
            parts.append(html.details(f"The same for the {HEADS[head]}", content))
    return "".join(parts), drawings


def _per_class(material: Material, head: str) -> str:
    rows = []
    for part in material.parts:
        matrix = np.asarray(material.metrics["heads"][head][part]["confusion"])
        values = metrics.per_class_from_confusion(matrix)
        for place, name in enumerate(material.classes):
            cells = [values[key][place] for key in ("precision", "recall", "f1")]
            said = ["–" if np.isnan(value) else f"{value:.3f}" for value in cells]
            rows.append([part, name, int(matrix[place].sum()), *said])
    header = ["data", "class", "samples", "precision", "recall", "F1"]
    return html.details(f"Scores per class, {HEADS[head]}", html.table(header, rows))


def persons(material: Material) -> tuple[str, list[Drawing]]:
    """Accuracy of each tested person."""
    table = numbers.per_person(material.predictions, material.heads)
    named = {head: HEADS[head] for head in material.heads}
    majority = material.metrics["heads"]["majority"]["pooled"]["accuracy"]
    picture = drawing.persons(table, named, majority)
    rows = [
        [row["dataset"], row["person"], row["samples"], *(f"{row[h]:.2f}" for h in named)]
        for _, row in table.iterrows()
    ]
    header = ["dataset", "person", "samples", *(f"accuracy, {said}" for said in named.values())]
    first = table[material.heads[0]]
    none, every = int((first == 0).sum()), int((first == 1).sum())
    sentence = (
        f"{len(table)} persons; {none} without a sample right, {every} with all right "
        f"({named[material.heads[0]]}). Most have too few samples for a UF1 of their own."
    )
    listing = html.details(f"All {len(table)} persons", html.table(header, rows))
    return html.paragraph(sentence) + figures([picture]) + listing, [picture]


def calibration(material: Material) -> tuple[str, list[Drawing]]:
    """Reliability of the softmax."""
    frame = material.predictions
    columns = [f"softmax_{name}" for name in material.classes]
    confidence = frame[columns].max(axis=1)
    table, error = numbers.reliability(confidence, frame["softmax_correct"])
    sentence = (
        f"Mean confidence {confidence.mean():.3f}, accuracy {frame['softmax_correct'].mean():.3f}, "
        f"expected calibration error {error:.3f} (10 bins of equal width). This is the softmax"
        + (
            "; the scores of the SVM are distances to its boundaries, not probabilities, and have "
            "no calibration."
            if "svm" in material.heads
            else "."
        )
    )
    picture = drawing.calibration(table, error)
    return html.paragraph(sentence) + figures([picture]), [picture]


def figures(drawings: list[Drawing]) -> str:
    """Drawings side by side."""
    return html.figures(
        html.figure(drawing.data_uri(d), d.alternative, d.caption) for d in drawings
    )
