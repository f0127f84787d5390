"""Sections about the scores: headline, confusion, persons, calibration."""

from typing import Any

import numpy as np

from mer import metrics
from mer.report import drawing, html, numbers
from mer.report.drawing import Drawing
from mer.report.html import Number
from mer.report.material import Material
from mer.runs.results import HEADS

#: Scores in the order of the tables; those that a run's `metrics.json` lacks are left out.
NAMES = {
    "uf1": "UF1",
    "uar": "UAR",
    "accuracy": "accuracy",
    "weighted_f1": "weighted F1",
    "kappa": "kappa",
}


def guesses(matrix: list[list[int]]) -> dict[str, float]:
    """Expected scores of guessing each class as often as it is true, see `metrics.chance`.

    Args:
        matrix: Confusion matrix of any head; its rows sum up to the true samples.
    """
    true = np.asarray(matrix).sum(axis=1)
    return metrics.chance(true.tolist(), len(true))["prior"]


def summary(material: Material) -> str:
    """The score that counts, in a sentence."""
    pooled = {head: parts["pooled"] for head, parts in material.metrics["heads"].items()}
    best, majority = pooled[material.heads[0]], pooled["majority"]
    low, high = best["intervals"]["uf1"]
    return (
        f"{HEADS[material.heads[0]]}: UF1 {best['uf1']:.3f}, 95 % interval {low:.2f} to "
        f"{high:.2f}, from {best['samples']} samples of {best['persons']} persons. Always the "
        f"majority class: {majority['uf1']:.3f}; guessing: "
        f"{guesses(majority['confusion'])['uf1']:.3f}."
    )


def headline(material: Material) -> str:
    """The table of all heads on all parts, with what knows nothing beside them."""
    heads = material.metrics["heads"]
    names = [name for name in NAMES if name in heads["majority"]["pooled"]]
    rows: list[list[Any]] = []
    kinds = []
    for part in material.parts:
        counts = heads["majority"][part]
        rows.append([f"{part}: {counts['samples']} samples of {counts['persons']} persons"])
        said = {HEADS[head]: parts[part] for head, parts in heads.items()}
        said["guessing"] = guesses(counts["confusion"])
        rows += [[name, *(_cell(values, key) for key in names)] for name, values in said.items()]
        kinds += ["part", "main", *[""] * (len(material.heads) - 1), "aside", "aside"]
    note = (
        "Each score is computed once, from one confusion matrix over all "
        f"{material.metrics['folds']} folds. Brackets: 95 % interval when persons are drawn again "
        "(bootstrap); the spread over seeds is not in it. Guessing: the expected scores of naming "
        "each class as often as it is true."
    )
    table = html.table(["head", *(NAMES[name] for name in names)], rows, kinds)
    return table + html.paragraph(note, "why")


def _cell(values: dict[str, Any], name: str) -> Number:
    if values.get(name) is None:
        return Number("–")
    interval = values.get("intervals", {}).get(name)
    bounds = f" <small>[{interval[0]:.2f}, {interval[1]:.2f}]</small>" if interval else ""
    return Number(f"<b>{values[name]:.3f}</b>{bounds}")


def confusions(material: Material) -> tuple[str, list[Drawing]]:
    """Confusion matrices of every head and part, and scores per class."""
    drawings: list[Drawing] = []
    parts = []
    for head in material.heads:
        own = []
        for part in material.parts:
            matrix = np.asarray(material.metrics["heads"][head][part]["confusion"])
            title = f"{part}, {HEADS[head]}"
            own.append(
                drawing.confusion(f"confusion-{head}-{part}", title, matrix, material.classes)
            )
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
    head, majority = material.heads[0], material.metrics["heads"]["majority"]
    known = {name: values["accuracy"] for name, values in majority.items()}
    pictures = drawing.persons(table, head, HEADS[head], known)
    rows = [
        [row["dataset"], row["person"], row["samples"], *(f"{row[h]:.2f}" for h in material.heads)]
        for _, row in table.iterrows()
    ]
    header = ["dataset", "person", "samples", *(f"accuracy, {HEADS[h]}" for h in material.heads)]
    none, every = int((table[head] == 0).sum()), int((table[head] == 1).sum())
    sentence = (
        f"{len(table)} persons: no sample right in {none}, all in {every} ({HEADS[head]}). "
        "Larger dots have more samples; the dashed line is always saying the majority class. Most "
        "persons have too few samples for a UF1 of their own."
    )
    listing = html.details(f"All {len(table)} persons", html.table(header, rows))
    return html.paragraph(sentence) + figures(pictures) + listing, pictures


def calibration(material: Material) -> tuple[str, list[Drawing]]:
    """Reliability of the softmax."""
    frame = material.predictions
    columns = [f"softmax_{name}" for name in material.classes]
    confidence = frame[columns].max(axis=1)
    right = material.most_probable == frame["label"]
    table, error = numbers.reliability(confidence, right)
    sentence = (
        f"Mean confidence {confidence.mean():.3f}, accuracy {right.mean():.3f}, "
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
