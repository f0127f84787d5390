"""Checks of samples: none is lost, doubled or moved, no clip has two ids."""

import re
from collections import defaultdict

import numpy as np
import pandas as pd

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check, some
from mer.datasets import labels
from mer.errors import MerError
from mer.runs import checksums
from mer.runs.head_columns import score_columns
from mer.runs.rundir import COMPLETE, UNTESTED

#: Subjects of the MEGC 2019 composite, 68 in all.
SUBJECTS = {"casme2": 24, "samm": 28, "smic": 16}


@check("files", "who changes files after the run can make any score")
def check_files(run: Artefacts, findings: Findings) -> str:
    """Files and scores have the checksums that were written when the run was finished."""
    if run.metrics.get("status") not in (COMPLETE, UNTESTED):
        findings.gaps.append("the run is not finished, so it has no checksums yet")
    elif not (run.run_dir / checksums.FILE).is_file():
        findings.gaps.append(f"{checksums.FILE} is missing, or the run is of an earlier version")
    findings.problems += checksums.changes(run.run_dir, run.metrics, networks=True)
    return f"files and scores have the checksums of the finished run ({checksums.FILE})."


@check(
    "samples",
    "samples that leave the score, or count twice, move it by more than most published gains",
)
def check_samples(run: Artefacts, findings: Findings) -> str:
    """Each expected sample is predicted exactly once, by the fold that was planned."""
    planned = run.manifest.set_index("sample_id")["fold"]
    findings.add(
        "{} samples stand twice in the manifest", planned.index[planned.index.duplicated()]
    )
    planned = planned[~planned.index.duplicated()]
    complete = run.metrics.get("status") == "complete"
    if not complete:
        findings.gaps.append(f"{len(run.folds) - len(run.done)} folds have no predictions yet")
    frames = [pd.DataFrame(columns=["sample_id", "by"], dtype="str")]
    for name in run.done:
        with findings.attempt():
            frames.append(run.fold_predictions(name).assign(by=name)[["sample_id", "by"]])
    rows = pd.concat(frames, ignore_index=True)
    due = planned if complete else planned[planned.isin(run.done)]
    _compare("the folds' predictions", rows["sample_id"], due, findings)
    elsewhere = rows["sample_id"].map(planned)
    moved = elsewhere.notna() & (elsewhere != rows["by"])
    findings.add("{} samples are predicted by another fold", rows.loc[moved, "sample_id"])
    if complete:
        _compare("the pooled predictions", run.predictions["sample_id"], planned, findings)
    if (seed := run.config["labels"].get("permutation")) is not None:
        findings.problems.append(
            f"labels.permutation={seed}: the labels of each person are permuted, so the score is "
            "that of a null and not of the method"
        )
    if run.config.get("debug"):
        findings.problems.append(
            f"debug={run.config['debug']['name']}: a run on few samples, to find mistakes in the "
            "code and not to score a method"
        )
    counted = f"all {len(planned)} samples of the manifest are predicted once, by their own fold"
    return f"{counted}; {_official(run, findings)}."


def _compare(where: str, ids: pd.Series, planned: pd.Series, findings: Findings) -> None:
    findings.add(f"{{}} samples are lost from {where}", set(planned.index) - set(ids))
    findings.add(f"{{}} samples stand more than once in {where}", ids[ids.duplicated()])
    known = set(planned.index)
    findings.add(f"{{}} samples of {where} were not expected", set(ids) - known)


def _official(run: Artefacts, findings: Findings) -> str:
    """Compare the counts with those of the label scheme, as this version of `mer` knows it."""
    name = str(run.config["labels"]["name"])
    try:
        scheme = labels.load_scheme(name)
    except MerError:
        return f"there is no official count for the label scheme {name}"
    table = run.manifest
    known = [name for name in sorted(table["dataset"].unique()) if name in scheme["expected"]]
    if not known:
        return f"the label scheme {name} has no official count for these datasets"
    if not run.config["data"].get("check_counts", True):
        return "there is no official count for these data (data.check_counts=false)"
    findings.problems += labels.check_counts(table, scheme, known)
    if name != "megc2019" or set(SUBJECTS) - set(known):
        return f"the counts are those of {name}"
    subjects = table.groupby("dataset")["subject"].nunique()
    for dataset, expected in SUBJECTS.items():
        if subjects[dataset] != expected:
            findings.problems.append(f"{dataset}: {subjects[dataset]} subjects, not {expected}")
    counts = table["label"].value_counts()
    classes = "/".join(str(counts.get(label, 0)) for label in scheme["classes"])
    return f"the counts are MEGC 2019's: {len(table)} = 164+145+133, {classes}, 68 subjects"


@check(
    "duplicates",
    "a clip that trains and is tested under another id is recognised, not classified",
)
def check_duplicates(run: Artefacts, findings: Findings) -> str:
    """No clip has two ids, as its name and the scores of a network tell."""
    fold_of = dict(zip(run.manifest["sample_id"], run.manifest["fold"], strict=True))
    named: dict[str, set[str]] = defaultdict(set)
    for sample in fold_of:
        named[re.sub(r"(?<!\d)0+(?=\d)", "", sample.lower())].add(sample)
    doubts = {
        "names that differ in case or zeros alone": [ids for ids in named.values() if len(ids) > 1]
    }
    rows = 0
    doubts["identical inputs"] = []
    for name in run.done:
        with findings.attempt():
            frames = [run.fold_predictions(name), run.fold_validation(name)]
            table = pd.concat([frame for frame in frames if frame is not None])
            rows += len(table)
            doubts["identical inputs"] += _identical(table)
    suspicions: list[str] = []
    for what, groups in doubts.items():
        for ids in groups:
            text = f"{what}: {some(sorted(ids))}"
            across = len({fold_of.get(sample) for sample in ids}) > 1
            (findings.problems if across else suspicions).append(
                f"{text}, tested by different folds, so that one trains where the other is tested"
                if across
                else text
            )
    if suspicions:
        return f"suspicion, inside one side each: {some(dict.fromkeys(suspicions), '; ')}."
    return (
        f"no two ids differ in case or zeros alone, and in {rows} predictions no network gives two "
        "samples the same scores to the last bit."
    )


def _identical(table: pd.DataFrame) -> list[set[str]]:
    """Groups of ids to which one network gives the same scores to the last bit.

    A collapsed network gives most samples the same scores, which proves nothing.
    """
    columns = score_columns(table)
    same: dict[bytes, set[str]] = defaultdict(set)
    for sample, row in zip(table["sample_id"], table[columns].to_numpy(np.float64), strict=True):
        same[row.tobytes()].add(sample)
    groups = [ids for ids in same.values() if len(ids) > 1]
    return groups if 2 * len(same) > table["sample_id"].nunique() else []
