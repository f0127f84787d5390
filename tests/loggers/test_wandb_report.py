"""Reports at W&B: which runs, which scores, which axes; nothing is sent without a login."""

import json
from pathlib import Path
from typing import Any

import pytest

from mer import cli
from mer.config.composition import compose, typed
from mer.errors import MerError
from mer.loggers import wandb_panels, wandb_report
from mer.runs import claims
from tests.loggers.written_logs import home as home

pytest.importorskip("wandb_workspaces")

CLASSES = ("negative", "positive", "surprise")


def heads(value: float) -> dict[str, Any]:
    """Scores of an SVM and of the majority, whose interval is 0.1 to each side."""
    names = ("uf1", "uar", "accuracy")
    scores: dict[str, Any] = dict.fromkeys((*names, "weighted_f1"), value)
    scores |= {"kappa": None, "intervals": {n: [value - 0.1, value + 0.1] for n in names}}
    return {"svm": {"pooled": scores}, "majority": {"pooled": scores}}


def logged(folder: Path, name: str, *words: str, project: str = "mer", score: float = 0.5) -> Path:
    """A run directory as far as a report reads it."""
    run_dir = folder / name
    run_dir.mkdir(parents=True)
    claims.write_config(run_dir / "config.yaml", typed(compose(["logger=wandb", *words])))
    known = {"id": f"id-{name}", "project": project, "name": f"run {name}", "group": None}
    (run_dir / "wandb.json").write_text(json.dumps(known))
    metrics = {"status": "complete", "heads": heads(score), "validation": heads(score / 2)}
    (run_dir / "metrics.json").write_text(json.dumps(metrics))
    return run_dir


def panels(report: Any) -> list[dict[str, Any]]:
    spec = json.loads(report._to_model().spec.model_dump_json(by_alias=True, exclude_none=True))
    grid = next(block for block in spec["blocks"] if block["type"] == "panel-grid")
    return [p["config"] for p in grid["metadata"]["panelBankSectionConfig"]["panels"]]


def test_candidates_show_validation_scores_and_what_differs(tmp_path: Path) -> None:
    for number, rate in enumerate((0.001, 0.003)):
        logged(tmp_path / "rates", str(number), f"model.optimizer.lr={rate}", "trial.varied=[lr]")
    runs = wandb_report.read([tmp_path / "rates"])
    assert [run.known["id"] for run in runs] == ["id-0", "id-1"]
    assert wandb_panels.differing(runs) == ["model.optimizer.lr"]
    report = wandb_report.make(runs)
    shown = json.dumps(panels(report))
    assert "test/" not in shown and "tables/predictions" not in shown
    (parallel,) = [config for config in panels(report) if "columns" in config]
    accessors = [column["accessor"] for column in parallel["columns"]]
    assert accessors == ["config:settings.value.model.optimizer.lr", "summary:val/svm/uf1"]
    table = wandb_panels.score_table(runs, "val")
    assert "| run 0 | SVM on embeddings | 0.250 [0.150, 0.350] |" in table
    assert "majority" not in table


def test_other_runs_show_test_scores(tmp_path: Path) -> None:
    runs = wandb_report.read([logged(tmp_path, "one"), logged(tmp_path, "two", "seed=1")])
    report = wandb_report.make(runs, "Two seeds")
    assert report.title == "Two seeds"
    assert panels(report)[0]["metrics"] == [f"test/svm/uf1{end}" for end in ("_low", "", "_high")]
    assert wandb_panels.differing(runs) == ["seed"]
    recall = [f"test/svm/recall/{name}" for name in CLASSES]
    assert any(config.get("metrics") == recall for config in panels(report))


def test_what_is_no_logged_run_is_said(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(MerError, match="empty: it holds no run that was logged to W&B; train with"):
        wandb_report.read([tmp_path / "empty"])
    paths = [logged(tmp_path, "a"), logged(tmp_path, "b", project="other")]
    with pytest.raises(MerError, match="several projects at W&B: mer, other"):
        wandb_report.read(paths)


def test_nothing_is_sent_without_a_login(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = logged(tmp_path, "a")
    assert cli.main(["wandb", "report", str(path), "--send"]) == 2
    assert "--send needs a W&B login" in capsys.readouterr().err
    assert (path / "report-wandb.json").exists()  # the file is there all the same
    assert cli.main(["wandb", "report", str(path)]) == 0  # and is no run of its own


def test_a_report_is_sent_to_the_user_of_the_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    sent = []
    monkeypatch.setattr(wandb_report, "send", lambda report: sent.append(report) or "the address")
    path = logged(tmp_path, "a", "logger.wandb.entity=lab")
    assert cli.main(["wandb", "report", str(path), "--send"]) == 0
    assert (sent[0].entity, sent[0].project) == ("lab", "mer")
    assert capsys.readouterr().out.splitlines()[-1] == "the address"
