"""The audit's checks of weights and statistics: who trained, who was fitted on."""

import shutil
from pathlib import Path

import torch

from mer.audit import audit
from mer.files import fingerprint
from tests.audit.tampering import failures, first_fold, in_fold, manifest, say


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


def test_a_scaler_fitted_on_all_samples_is_seen_in_network_and_head(run_dir: Path) -> None:
    everyone = fingerprint(manifest(run_dir)["sample_id"])
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(fitted_on=everyone))
    path = in_fold(run_dir, "heads.pt")
    heads = torch.load(path, weights_only=True)
    heads["svm"]["fitted_on"] = everyone
    torch.save(heads, path)
    evidence = failures(run_dir)
    assert list(evidence) == ["statistics"]
    fold = first_fold(run_dir)
    for what in ("the normalisation", "svm"):
        expected = f"fold {fold}: {what} was fitted on all samples, the test side included"
        assert expected in evidence["statistics"]


def test_weights_that_do_not_say_whom_they_were_fitted_on_leave_it_open(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.pop("fitted_on"))
    found = audit(run_dir)
    assert found.verdict == "unknown"
    assert "1 check could not be made: statistics." in found.sentence
