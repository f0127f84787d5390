"""The audit's checks of duplicates and of official counts."""

from pathlib import Path

import numpy as np
import pandas as pd

from mer.audit import Artefacts
from mer.audit.check_samples import check_duplicates, check_samples
from tests.audit.tampering import change, failures, in_fold, write_manifest


def test_a_clip_under_two_spellings_fails_across_folds_only(tmp_path: Path) -> None:
    rows = [
        ("casme2/sub01/EP02_01f", "casme2/sub01", "negative", "a"),
        ("casme2/sub1/EP02_1f", "casme2/sub1", "negative", "b"),
        ("casme2/sub02/EP02_01f", "casme2/sub02", "negative", "b"),
        ("casme2/sub10/EP02_01f", "casme2/sub10", "negative", "a"),
    ]
    across = check_duplicates(write_manifest(tmp_path / "across", rows))
    assert across.verdict == "fail"
    assert "casme2/sub01/EP02_01f, casme2/sub1/EP02_1f, tested by different" in across.evidence
    rows[1] = (*rows[1][:3], "a")
    inside = check_duplicates(write_manifest(tmp_path / "inside", rows))
    assert inside.verdict == "pass"
    assert inside.evidence.startswith("suspicion, inside one side each: names that differ")


def test_identical_inputs_on_two_sides_are_seen_by_what_the_network_says(run_dir: Path) -> None:
    """A validation sample gives the same scores to the last bit as a test sample."""
    test = pd.read_parquet(in_fold(run_dir, "predictions.parquet"))
    names = [name for name in test if name.startswith(("svm", "softmax"))]

    def copy(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[0, names] = test.loc[0, names]
        return table

    path = in_fold(run_dir, "validation.parquet")
    change(path, copy)
    pair = sorted([pd.read_parquet(path).loc[0, "sample_id"], test.loc[0, "sample_id"]])
    evidence = failures(run_dir)["duplicates"]
    assert f"identical inputs: {', '.join(pair)}, tested by different folds" in evidence


def test_a_network_that_says_the_same_of_everything_is_no_duplicate(run_dir: Path) -> None:
    table = pd.read_parquet(in_fold(run_dir, "validation.parquet"))
    names = [name for name in table if name.startswith(("svm_", "softmax_"))]
    for name in ("validation.parquet", "predictions.parquet"):
        change(in_fold(run_dir, name), lambda frame: frame.assign(**dict.fromkeys(names, 0.5)))
    assert check_duplicates(Artefacts(run_dir)).verdict == "pass"


def composite() -> list[tuple[str, str, str, str]]:
    """Samples with the counts of MEGC 2019 per dataset, class and subject."""
    counts = {"casme2": (24, 88, 32, 25), "samm": (28, 92, 26, 15), "smic": (16, 70, 51, 43)}
    rows = []
    for dataset, (subjects, *classes) in counts.items():
        labels = np.repeat(["negative", "positive", "surprise"], classes)
        for number, label in enumerate(labels):
            subject = f"{dataset}/{number % subjects:03d}"
            rows.append((f"{subject}/{number}", subject, str(label), subject.replace("/", "-")))
    return rows


def test_official_counts_are_asked_for_by_the_name_of_the_label_scheme(tmp_path: Path) -> None:
    rows = composite()
    good = Artefacts(write_manifest(tmp_path / "good", rows).run_dir)
    (good.run_dir / "metrics.json").write_text('{"status": "complete"}')
    for fold, part in good.manifest.groupby("fold"):
        folder = good.run_dir / "folds" / str(fold)
        folder.mkdir(parents=True)
        part.to_parquet(folder / "predictions.parquet")
    good.manifest.to_parquet(good.run_dir / "predictions.parquet")
    check = check_samples(good)
    assert check.verdict == "pass"
    assert "MEGC 2019's: 442 = 164+145+133, 250/109/83, 68 subjects" in check.evidence
    short = check_samples(write_manifest(tmp_path / "short", rows[:-1]))
    assert "smic: 163 (70 negative, 51 positive, 42 surprise) found, 164" in short.evidence
    merged = [(f"samm/000/{place}", *row[1:]) if row[0].startswith("samm/001/") else row
              for place, row in enumerate(rows)]  # fmt: skip
    fewer = check_samples(write_manifest(tmp_path / "fewer", merged))
    assert "samm: 27 subjects, not 28" in fewer.evidence
    unchecked = check_samples(write_manifest(tmp_path / "own", rows[:-1], check_counts=False))
    assert unchecked.verdict == "unknown"  # no fold is done, but no count is asked for
