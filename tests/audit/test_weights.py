"""The audit's checks of weights and of evidence: who trained, fitted and normalised."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mer.audit import audit
from tests.audit.tampering import failures, first_fold, forge, in_fold, manifest, say


def test_weights_that_a_test_person_trained_are_named_with_the_person(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    person = manifest(run_dir).query("fold == @fold")["person"].iloc[0]
    say(in_fold(run_dir, "model.ckpt"), lambda made: made["persons"].append(person))
    evidence = failures(run_dir)
    assert list(evidence) == ["weights"]
    assert f"fold {fold}: weights trained by 1 tested persons: {person}" in evidence["weights"]


def test_a_macro_pool_with_test_persons_is_told_from_micro_training(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    person = manifest(run_dir).query("fold == @fold")["person"].iloc[0]
    for path in run_dir.glob("folds/*/model.ckpt"):
        say(path, lambda made: made["transfer"]["persons"].append(person))
    evidence = failures(run_dir)
    assert list(evidence) == ["weights"]
    expected = f"fold {fold}: macro weights trained by 1 tested persons: {person}"
    assert evidence["weights"] == f"{expected}."


def test_weights_copied_from_another_fold_are_seen(run_dir: Path) -> None:
    one, other = sorted(run_dir.glob("folds/*/model.ckpt"))[:2]
    shutil.copy(one, other)
    evidence = failures(run_dir)["weights"]
    assert f"holds the weights of fold {one.parent.name}" in evidence
    assert f"the same weights in folds {one.parent.name}, {other.parent.name}" in evidence


def test_weights_of_other_data_are_seen(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(data_hash="0" * 12))
    assert "several data hashes: 000000000000" in failures(run_dir)["weights"]


def test_weights_that_hide_who_trained_them_are_seen(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(persons=[]))
    assert "do not name" in failures(run_dir)["weights"]


def change(run_dir: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change the evidence of the first fold."""
    path = in_fold(run_dir, "evidence.json")
    content = json.loads(path.read_text())
    edit(content)
    path.write_text(json.dumps(content))


def test_evidence_of_samples_on_other_sides_is_seen(run_dir: Path) -> None:
    table, fold = manifest(run_dir), first_fold(run_dir)
    tested = table.loc[table["fold"] == fold, "sample_id"].tolist()

    def leak(content: dict[str, Any]) -> None:
        content["trained"].append(tested[0])
        content["heads"]["svm"] += tested
        content["normalised"] = table["sample_id"].tolist()
        content["validated"] = content["trained"][:1]
        content["tested"].pop(tested[1])

    change(run_dir, leak)
    evidence = failures(run_dir)
    assert list(evidence) == ["evidence"]
    first = f"fold {fold}: 1 samples of the test side trained the network: {tested[0]}"
    assert evidence["evidence"].startswith(first)


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (lambda it: it.update(trained=[]), "no training batch says whose samples it holds"),
        (lambda it: it.update(normalised=[]), "not normalised by the statistics of the training"),
        (lambda it: it["heads"].update(svm=it["heads"]["svm"][1:]), "nothing shows that 1 samples"),
        (lambda it: it["heads"].pop("svm"), "1 heads do not say whom they were fitted on: svm"),
        (lambda it: it["trained"].append("samm/9/9"), "1 samples of no side trained"),
    ],
)
def test_evidence_that_says_too_little_or_too_much_is_seen(
    run_dir: Path, edit: Callable[[dict[str, Any]], Any], expected: str
) -> None:
    change(run_dir, edit)
    assert expected in failures(run_dir)["evidence"]


def test_a_run_without_evidence_is_left_open(run_dir: Path) -> None:
    in_fold(run_dir, "evidence.json").unlink()
    found = audit(forge(run_dir))
    assert found.verdict == "unknown"
    assert "1 check could not be made: evidence." in found.sentence
