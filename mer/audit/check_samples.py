"""Checks of samples and predictions: nothing lost, doubled, moved or changed."""

import re
from collections import Counter, defaultdict

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check, some
from mer.datasets import labels
from mer.errors import MerError
from mer.runs.head_columns import MAJORITY, heads, score_columns

#: Subjects of the MEGC 2019 composite, 68 in all.
SUBJECTS = {"casme2": 24, "samm": 28, "smic": 16}


@check(
    "samples",
    "samples that leave the score, or count twice, move it by more than most published gains",
)
def check_samples(run: Artefacts, found: Findings) -> str:
    """Each expected sample is predicted exactly once, by the fold that was planned."""
    planned = run.manifest.set_index("sample_id")["fold"]
    found.add("{} samples stand twice in the manifest", planned.index[planned.index.duplicated()])
    planned = planned[~planned.index.duplicated()]
    complete = run.metrics.get("status") == "complete"
    if not complete:
        found.gaps.append(f"{len(run.folds) - len(run.done)} folds have no predictions yet")
    frames = [pd.DataFrame(columns=["sample_id", "by"], dtype="str")]
    for name in run.done:
        with found.attempt():
            frames.append(run.fold_predictions(name).assign(by=name)[["sample_id", "by"]])
    rows = pd.concat(frames, ignore_index=True)
    due = planned if complete else planned[planned.isin(run.done)]
    _compare("the folds' predictions", rows["sample_id"], due, found)
    elsewhere = rows["sample_id"].map(planned)
    moved = elsewhere.notna() & (elsewhere != rows["by"])
    found.add("{} samples are predicted by another fold", rows.loc[moved, "sample_id"])
    if complete:
        _compare("the pooled predictions", run.predictions["sample_id"], planned, found)
    if (seed := run.config["labels"].get("permutation")) is not None:
        found.problems.append(
            f"labels.permutation={seed}: the labels of each person are permuted, so the score is "
            "that of a null and not of the method"
        )
    said = f"all {len(planned)} samples of the manifest are predicted once, by their own fold"
    return f"{said}; {_official(run, found)}."


def _compare(where: str, ids: pd.Series, planned: pd.Series, found: Findings) -> None:
    found.add(f"{{}} samples are lost from {where}", set(planned.index) - set(ids))
    found.add(f"{{}} samples stand more than once in {where}", ids[ids.duplicated()])
    known = set(planned.index)
    found.add(f"{{}} samples of {where} were not expected", set(ids) - known)


def _official(run: Artefacts, found: Findings) -> str:
    """Compare the counts with those of the label scheme, as this version of `mer` knows it."""
    name = str(run.config["labels"]["name"])
    try:
        scheme = labels.load_scheme(name)
    except MerError:
        return f"there is no official count for the label scheme {name}"
    table = run.manifest
    known = [one for one in sorted(table["dataset"].unique()) if one in scheme["expected"]]
    if not known:
        return f"the label scheme {name} has no official count for these datasets"
    if not run.config["data"].get("check_counts", True):
        return "there is no official count for these data (data.check_counts=false)"
    found.problems += labels.check_counts(table, scheme, known)
    if name != "megc2019" or set(SUBJECTS) - set(known):
        return f"the counts are those of {name}"
    subjects = table.groupby("dataset")["subject"].nunique()
    for dataset, expected in SUBJECTS.items():
        if subjects[dataset] != expected:
            found.problems.append(f"{dataset}: {subjects[dataset]} subjects, not {expected}")
    counts = table["label"].value_counts()
    classes = "/".join(str(counts.get(label, 0)) for label in scheme["classes"])
    return f"the counts are MEGC 2019's: {len(table)} = 164+145+133, {classes}, 68 subjects"


@check(
    "predictions",
    "rows that do not belong to their labels, or were changed, make any score possible",
)
def check_predictions(run: Artefacts, found: Findings) -> str:
    """Pooled rows equal the folds', labels the manifest's, classes the scores, scores the rows."""
    pooled = run.predictions.drop_duplicates("sample_id").set_index("sample_id")
    manifest = run.manifest.drop_duplicates("sample_id").set_index("sample_id")
    frames = []
    for name in run.done:
        with found.attempt():
            frames.append(run.fold_predictions(name))
    if frames:
        folds = pd.concat(frames).drop_duplicates("sample_id").set_index("sample_id")
        _differences(pooled, folds, list(folds.columns), "their fold's file", found)
        _differences(folds, manifest, ["dataset", "subject", "person"], "the manifest", found)
    _differences(pooled, manifest, list(manifest.columns), "the manifest", found)
    classes = [str(name) for name in run.config["labels"]["classes"]]
    names = heads(pooled)
    for head in names:
        shown = pooled[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
        place = pooled[head].map({name: number for number, name in enumerate(classes)})
        offsets = _offsets(run, pooled, head, len(classes), found)
        if head == "softmax" and np.any(offsets):  # those are added to log-probabilities
            shown = np.log(np.maximum(shown, np.finfo(np.float64).tiny))
        shown = shown + offsets
        own = shown[np.arange(len(shown)), place.fillna(0).astype(int)]
        wrong = place.isna() | ~(own == shown.max(axis=1))  # also a score that is no number
        text = f"{{}} samples have a {head} class without the highest score"
        found.add(text, pooled.index[wrong])
    _recompute(run, pooled.assign(label=manifest["label"]), classes, names, found)
    return (
        f"the pooled rows equal the folds', the labels the manifest's, the classes the highest "
        f"scores ({' and '.join(names)}), and the scores follow from the rows."
    )


def _offsets(
    run: Artefacts, pooled: pd.DataFrame, head: str, n_classes: int, found: Findings
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
        with found.attempt():
            chosen = run.weights(name).provenance["inner"]["thresholds"]
            of_fold[name] = np.array(chosen[head], np.float64)
    nothing = np.zeros(n_classes)
    return np.stack([of_fold.get(str(name), nothing) for name in pooled["fold"]])


def _differences(
    first: pd.DataFrame, second: pd.DataFrame, columns: list[str], what: str, found: Findings
) -> None:
    ids = first.index.intersection(second.index)
    for name in columns:
        if name in first and name in second:
            one, other = first.loc[ids, name], second.loc[ids, name]
            if name in ("emotion", "apex_source"):
                one, other = one.fillna(""), other.fillna("")
            same = (one == other) | (one.isna() & other.isna())
            found.add(f"`{name}` of {{}} samples differs from {what}", ids[~same])


def _recompute(
    run: Artefacts, rows: pd.DataFrame, classes: list[str], names: list[str], found: Findings
) -> None:
    """Compute the stored scores again, by other code than that which wrote them."""
    stored = run.metrics["heads"]
    found.add("{} heads with predictions have no score", set(names) - set(stored))
    found.add("{} heads with a score have no predictions", set(stored) - {MAJORITY, *names})
    parts = {"pooled": rows, **dict(list(rows.groupby("dataset")))}
    for head in names:
        for part, values in stored.get(head, {}).items():
            _same(f"{head} {part}", values, rows_of(parts, part), head, classes, found)
    frames = [run.fold_validation(name) for name in run.done]
    if run.metrics.get("validation") and all(frame is not None for frame in frames):
        labels_of = run.manifest.drop_duplicates("sample_id").set_index("sample_id")["label"]
        table = pd.concat(frames)
        table["label"] = table["sample_id"].map(labels_of)
        for head, parts_of in run.metrics["validation"].items():
            if head == MAJORITY:
                continue
            values = parts_of["pooled"]
            _same(f"{head} validation", values, table, head, classes, found)


def rows_of(parts: dict[str, pd.DataFrame], part: str) -> pd.DataFrame:
    """Rows of a part of the predictions; none for a part that does not exist."""
    return parts.get(part, parts["pooled"].iloc[:0])


def _same(
    what: str,
    stored: dict[str, object],
    rows: pd.DataFrame,
    head: str,
    classes: list[str],
    found: Findings,
) -> None:
    matrix = count(rows["label"], rows[head], classes)
    again = {**scores(matrix), "samples": len(rows), "persons": rows["person"].nunique()}
    for name, value in again.items():
        if not np.isclose(float(stored[name]), value, rtol=0, atol=1e-9):  # type: ignore[arg-type]
            found.problems.append(
                f"{what}: {name} is {stored[name]:.6g} in metrics.json, {value:.6g} from the rows"
            )
    if matrix.tolist() != stored.get("confusion", matrix.tolist()):
        found.problems.append(f"{what}: the confusion matrix is not that of the rows")


def count(true: pd.Series, predicted: pd.Series, classes: list[str]) -> NDArray[np.int64]:
    """Count samples per (true, predicted) pair; rows true. Shape: (K, K)."""
    pairs = Counter(zip(true, predicted, strict=True))
    return np.array([[pairs[one, other] for other in classes] for one in classes], np.int64)


def scores(matrix: NDArray[np.int64]) -> dict[str, float]:
    """UF1, UAR and accuracy, over the classes that have a true sample."""
    hits, true, predicted = np.diag(matrix), matrix.sum(axis=1), matrix.sum(axis=0)
    there = true > 0
    if not there.any():
        return dict.fromkeys(("uf1", "uar", "accuracy"), float("nan"))
    return {
        "uf1": float(np.mean(2 * hits[there] / (true + predicted)[there])),
        "uar": float(np.mean(hits[there] / true[there])),
        "accuracy": float(hits.sum() / matrix.sum()),
    }


@check(
    "duplicates",
    "a clip that trains and is tested under another id is recognised, not classified",
)
def check_duplicates(run: Artefacts, found: Findings) -> str:
    """No clip stands under two ids, by its name or by what a network says of it."""
    fold_of = dict(zip(run.manifest["sample_id"], run.manifest["fold"], strict=True))
    named: dict[str, set[str]] = defaultdict(set)
    for sample in fold_of:
        named[re.sub(r"(?<!\d)0+(?=\d)", "", sample.lower())].add(sample)
    doubts = {"names that say the same": [ids for ids in named.values() if len(ids) > 1]}
    rows = 0
    doubts["identical inputs"] = []
    for name in run.done:
        with found.attempt():
            frames = [run.fold_predictions(name), run.fold_validation(name)]
            table = pd.concat([frame for frame in frames if frame is not None])
            rows += len(table)
            doubts["identical inputs"] += _identical(table)
    suspicions: list[str] = []
    for what, groups in doubts.items():
        for ids in groups:
            text = f"{what}: {some(sorted(ids))}"
            across = len({fold_of.get(sample) for sample in ids}) > 1
            (found.problems if across else suspicions).append(
                f"{text}, tested by different folds, so that one trains where the other is tested"
                if across
                else text
            )
    if suspicions:
        return f"suspicion, inside one side each: {some(dict.fromkeys(suspicions), '; ')}."
    return (
        f"no clip stands under two ids, and in {rows} predictions no network says the same to the "
        "last bit of two samples."
    )


def _identical(table: pd.DataFrame) -> list[set[str]]:
    """Ids of which one network gives the same scores to the last bit.

    A network that has collapsed says the same of most samples, which proves nothing.
    """
    columns = score_columns(table)
    same: dict[bytes, set[str]] = defaultdict(set)
    for sample, row in zip(table["sample_id"], table[columns].to_numpy(np.float64), strict=True):
        same[row.tobytes()].add(sample)
    groups = [ids for ids in same.values() if len(ids) > 1]
    return groups if 2 * len(same) > table["sample_id"].nunique() else []
