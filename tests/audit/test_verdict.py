"""The audit of a run: a clean run passes, no artefact can be lost, runs compare."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch

from mer.audit import Audit, audit
from mer.cli import main
from tests.audit.tampering import failures, first_fold, in_fold


def test_a_clean_run_passes_every_check_and_says_so(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(run_dir)]) == 0
    out = capsys.readouterr().out
    assert "Nothing in the files of this run speaks against its score: 12 checks passed." in out
    assert "They cannot see a seed or a setting that was chosen among runs in other folders" in out
    stored = json.loads((run_dir / "audit.json").read_text())
    assert stored["verdict"] == "pass"
    evidence = {check["name"]: check["evidence"] for check in stored["checks"]}
    assert "there is no official count" in evidence["samples"]
    assert "in 3 of 3 folds" in evidence["selection"]


def test_changed_files_are_named(run_dir: Path) -> None:
    in_fold(run_dir, "model.ckpt").write_bytes(b"other weights")
    in_fold(run_dir, "transfer.txt").unlink()
    text = failures(run_dir, forged=False)["files"]
    fold = f"folds/{first_fold(run_dir)}"
    assert f"{fold}/model.ckpt is changed since the run was finished" in text
    assert f"{fold}/transfer.txt is missing since the run was finished" in text


SLOW = [pytest.mark.slow]
FILES = [
    "config.yaml",
    "environment.json",
    "manifest.parquet",
    "signatures.parquet",
    "splits.parquet",
    "label_access.json",
    "predictions.parquet",
    "metrics.json",
    "folds/*/model.ckpt",
    "folds/*/heads.pt",
    "folds/*/fold.json",
    "folds/*/evidence.json",
    "folds/*/metrics.csv",
    "folds/*/validation.parquet",
    "folds/*/predictions.parquet",
]


def said(found: Audit) -> str:
    assert found.verdict != "pass"
    return " ".join(check.evidence for check in found.checks if check.verdict != "pass")


@pytest.mark.parametrize("name", FILES)
def test_no_artefact_can_be_lost_or_cut_without_the_audit_saying_which(
    run_dir: Path, name: str
) -> None:
    path = min(run_dir.glob(name))
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name not in ("config.yaml", "folds/*/metrics.csv"):  # half of a text may still be one
        assert f"{path.relative_to(run_dir)} cannot be read" in said(audit(run_dir))
    path.unlink()
    text = said(audit(run_dir))
    lost = "are lost from the folds' predictions"
    assert f"{path.relative_to(run_dir)} is missing" in text or lost in text


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name in ("metrics.json", "splits.parquet") else SLOW)
        for name in FILES
    ],
)
def test_no_artefact_can_be_emptied_without_the_audit_saying_so(run_dir: Path, name: str) -> None:
    path = min(run_dir.glob(name))
    for content in [b"", b"[]"] if path.suffix == ".json" else [b""]:
        path.write_bytes(content)
        assert said(audit(run_dir))


def test_code_in_a_checkpoint_is_not_run(run_dir: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"mer": Trap()}, in_fold(run_dir, "model.ckpt"))
    assert "model.ckpt cannot be read" in failures(run_dir)["weights"]
    assert not (tmp_path / "sprung").exists()


def test_runs_compare_on_the_same_data_and_labels_only(
    run_dir: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(finished, tmp_path / "twin")
    assert main(["audit", "--json", str(run_dir), str(twin)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["verdict"] for entry in printed["runs"]] == ["pass", "pass"]
    assert printed["comparable"]["verdict"] == "pass"
    path = twin / "environment.json"
    path.write_text(json.dumps([{"data_hash": "0" * 12}]))
    assert main(["audit", str(run_dir), str(twin)]) == 1
    assert "Not comparable: the runs have different data (by hash)" in capsys.readouterr().out
    assert not (finished / "audit.json").exists()


def test_a_folder_that_is_no_run_is_an_error_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
