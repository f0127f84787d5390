"""Checks of predictions: rows agree with labels, folds and stored scores."""

from collections import Counter, defaultdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check
from mer.runs.head_columns import BASELINE, MAJORITY, REFERENCES, heads


@check(
    "predictions",
    "rows that do not belong to their labels, or were changed, make any score possible",
)
def check_predictions(run: Artefacts, findings: Findings) -> str:
    """Pooled rows equal the folds', labels the manifest's, classes the scores, scores the rows."""
    pooled = run.predictions.drop_duplicates("sample_id").set_index("sample_id")
    manifest = run.manifest.drop_duplicates("sample_id").set_index("sample_id")
    frames = []
    for name in run.done:
        with findings.attempt():
            frames.append(run.fold_predictions(name))
    if frames:
        folds = pd.concat(frames).drop_duplicates("sample_id").set_index("sample_id")
        _differences(pooled, folds, list(folds.columns), "their fold's file", findings)
        _differences(folds, manifest, ["dataset", "subject", "person"], "the manifest", findings)
    _differences(pooled, manifest, list(manifest.columns), "the manifest", findings)
    classes = [str(name) for name in run.config["labels"]["classes"]]
    names = heads(pooled)
    for head in names:
        offsets = _offsets(run, pooled, head, len(classes), findings)
        _highest(pooled, head, classes, offsets, findings)
    rows = pooled.assign(label=manifest["label"]).reset_index()
    _recompute(run, rows, classes, names, findings)
    names += _check_baseline(run, manifest, classes, findings)
    return (
        f"the pooled rows equal the folds', the labels the manifest's, the classes the highest "
        f"scores ({' and '.join(names)}), and the scores follow from the rows."
    )


def _highest(
    table: pd.DataFrame,
    head: str,
    classes: list[str],
    offsets: NDArray[np.float64] | float,
    findings: Findings,
) -> None:
    """The predicted class of each row has the highest score, offsets added."""
    shown = table[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
    label = table[head].map({name: number for number, name in enumerate(classes)})
    if head == "softmax" and np.any(offsets):  # those are added to log-probabilities
        shown = np.log(np.maximum(shown, np.finfo(np.float64).tiny))
    shown = shown + offsets
    chosen = shown[np.arange(len(shown)), label.fillna(0).astype(int)]
    wrong = label.isna() | ~(chosen == shown.max(axis=1))  # also a score that is no number
    text = f"{{}} samples have a {head} class without the highest score"
    findings.add(text, table.index[wrong])


def _check_baseline(
    run: Artefacts, manifest: pd.DataFrame, classes: list[str], findings: Findings
) -> list[str]:
    """The SVM on the input itself predicts each sample once, by its fold; its scores follow.

    Returns:
        Its name, in a run that has it.
    """
    table, stored = run.baseline, run.metrics["heads"].get(BASELINE)
    if table is None or stored is None:
        if table is not None or stored is not None:
            findings.problems.append("of the baseline there are scores or predictions, not both")
        return []
    ids = table["sample_id"]
    findings.add("{} samples stand more than once in the baseline", ids[ids.duplicated()])
    findings.add("{} samples are lost from the baseline", set(manifest.index) - set(ids))
    findings.add("{} samples of the baseline were not expected", set(ids) - set(manifest.index))
    rows = table.drop_duplicates("sample_id").set_index("sample_id")
    _differences(rows, manifest, ["fold", "person", "dataset"], "the manifest", findings)
    _highest(rows, BASELINE, classes, 0.0, findings)
    labelled = rows.join(manifest[["label"]], how="inner").reset_index()
    parts = {"pooled": labelled, **dict(list(labelled.groupby("dataset")))}
    for part, values in stored.items():
        _same(f"baseline {part}", values, rows_of(parts, part), BASELINE, classes, findings)
    return [BASELINE]


def _offsets(
    run: Artefacts, pooled: pd.DataFrame, head: str, n_classes: int, findings: Findings
) -> NDArray[np.float64] | float:
    """What `protocol.inner` adds to the scores of each row.

    Returns:
        Shape: (N, K), or 0 where no thresholds were chosen.
    """
    node = run.config["protocol"].get("inner") or {}
    if not node.get("n_splits") or "thresholds" not in node["choose"]:
        return 0.0
    of_fold = {}
    for name in run.done:
        with findings.attempt():
            chosen = run.weights(name).provenance["inner"]["thresholds"]
            if head in chosen:  # none are chosen for zero-shot scores
                of_fold[name] = np.array(chosen[head], np.float64)
    nothing = np.zeros(n_classes)
    return np.stack([of_fold.get(str(name), nothing) for name in pooled["fold"]])


def _differences(
    first: pd.DataFrame, second: pd.DataFrame, columns: list[str], what: str, findings: Findings
) -> None:
    ids = first.index.intersection(second.index)
    for name in columns:
        if name in first and name in second:
            left, right = first.loc[ids, name], second.loc[ids, name]
            if name in ("emotion", "apex_source"):
                left, right = left.fillna(""), right.fillna("")
            same = (left == right) | (left.isna() & right.isna())
            findings.add(f"`{name}` of {{}} samples differs from {what}", ids[~same])


def _recompute(
    run: Artefacts, rows: pd.DataFrame, classes: list[str], names: list[str], findings: Findings
) -> None:
    """Compute the stored scores again, independently of `mer.metrics`."""
    stored = run.metrics["heads"]
    findings.add("{} heads with predictions have no score", set(names) - set(stored))
    findings.add("{} heads with a score have no predictions", set(stored) - {*REFERENCES, *names})
    parts = {"pooled": rows, **dict(list(rows.groupby("dataset")))}
    for head in names:
        for part, values in stored.get(head, {}).items():
            _same(f"{head} {part}", values, rows_of(parts, part), head, classes, findings)
    frames = [run.fold_validation(name) for name in run.done]
    if run.metrics.get("validation") and all(frame is not None for frame in frames):
        labels_of = run.manifest.drop_duplicates("sample_id").set_index("sample_id")["label"]
        table = pd.concat(frames)
        table["label"] = table["sample_id"].map(labels_of)
        for head, validated in run.metrics["validation"].items():
            if head == MAJORITY:
                continue
            values = validated["pooled"]
            _same(f"{head} validation", values, table, head, classes, findings)


def rows_of(parts: dict[str, pd.DataFrame], part: str) -> pd.DataFrame:
    """Rows of a part of the predictions; none for a part that does not exist."""
    return parts.get(part, parts["pooled"].iloc[:0])


def _same(
    what: str,
    stored: dict[str, object],
    rows: pd.DataFrame,
    head: str,
    classes: list[str],
    findings: Findings,
) -> None:
    matrix = count(rows, head, classes)
    counts = {"samples": rows["sample_id"].nunique(), "persons": rows["person"].nunique()}
    again = {**scores(matrix), **counts}
    for name, value in again.items():
        if not np.isclose(float(stored[name]), value, rtol=0, atol=1e-9):  # type: ignore[arg-type]
            findings.problems.append(
                f"{what}: {name} is {stored[name]:.6g} in metrics.json, {value:.6g} from the rows"
            )
    confusion = np.array(stored.get("confusion", matrix), np.float64)
    if confusion.shape != matrix.shape or not np.allclose(matrix, confusion, rtol=0, atol=1e-6):
        findings.problems.append(f"{what}: the confusion matrix is not that of the rows")


def count(rows: pd.DataFrame, head: str, classes: list[str]) -> NDArray[np.float64]:
    """Count the samples of predictions per (true, predicted) pair.

    Args:
        rows: Predictions with `sample_id` and `label`; a sample that comes n times counts 1/n each.
        head: Column of the predicted classes.
        classes: Class names in order.

    Returns:
        Counts, rows true. Shape: (K, K).
    """
    times = Counter(rows["sample_id"])
    pairs: dict[tuple[str, str], float] = defaultdict(float)
    for sample, true, predicted in zip(rows["sample_id"], rows["label"], rows[head], strict=True):
        pairs[true, predicted] += 1 / times[sample]
    return np.array([[pairs[row, column] for column in classes] for row in classes])


def scores(matrix: NDArray[np.float64]) -> dict[str, float]:
    """UF1, UAR and accuracy, over the classes that have a true sample."""
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    present = true > 0
    if not present.any():
        return dict.fromkeys(("uf1", "uar", "accuracy"), float("nan"))
    return {
        "uf1": float(np.mean(2 * hits[present] / (true + predicted)[present])),
        "uar": float(np.mean(hits[present] / true[present])),
        "accuracy": float(hits.sum() / matrix.sum()),
    }
