"""W&B's own `wandb sync`, its online client and its agent, with a server on this machine."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from mer.loggers import make_observers
from mer.runs import curves
from mer.training import runner
from tests.builders import Config, OwnCache, fails_after_one_fold
from tests.docs.pages import titled
from tests.loggers.wandb_server import Server, serve
from tests.loggers.written_logs import home as home

pytest.importorskip("wandb")
pytestmark = pytest.mark.slow

KEY = "a" * 40
WORDS = ("protocol.validation=0.3", "logger=wandb", "protocol.n_splits=2")


def command(server_url: str, *words: str, cwd: Path | None = None) -> str:
    """Carry out a command of W&B's; return what it says."""
    environment = {**os.environ, "WANDB_BASE_URL": server_url, "WANDB_API_KEY": KEY}
    done = subprocess.run(
        [sys.executable, "-m", "wandb", *words],
        env=environment,
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def check_curves(server: Server, run: str, run_dir: Path) -> None:
    """Every epoch of every fold has one row, with the values of the fold's history."""
    for folder in (run_dir / "folds").iterdir():
        logged = [
            (row["curves/epoch"], row[f"fold_curves/{folder.name}/train/loss"])
            for row in server.rows(run)
            if f"fold_curves/{folder.name}/train/loss" in row
        ]
        history = curves.by_epoch(folder)
        assert logged == [(epoch, known["train/loss"]) for epoch, known in history]
        assert len(logged) == 2
    steps = [row["_step"] for row in server.rows(run)]
    assert steps == sorted(set(steps))


def test_a_run_in_two_parts_is_one_after_wandb_sync(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    cfg = tiny_config(*WORDS, own_cache(tmp_path / "cache"))
    with fails_after_one_fold(KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        runner.run(cfg, run_dir, make_observers(cfg.logger))
    runner.run(cfg, run_dir, make_observers(cfg.logger))
    parts = sorted(tmp_path.glob("**/wandb/offline-run-*"))
    assert len(parts) == 3  # macro-pretraining and the two parts
    server = Server()
    with serve(server) as url:
        said = command(url, "sync", "--yes", *map(str, parts))
    assert said.count("Finished syncing") == 3
    kept = json.loads((run_dir / "wandb.json").read_text())
    assert set(server.runs) == {kept["id"], kept["macro_run"]}
    check_curves(server, kept["id"], run_dir)
    assert [row["pretrain/epoch"] for row in server.rows(kept["macro_run"])] == [0, 1]
    metrics = json.loads((run_dir / "metrics.json").read_text())
    summary = server.summary(kept["id"])
    assert summary["test/svm/uf1"] == metrics["heads"]["svm"]["pooled"]["uf1"]
    sent = server.runs[kept["id"]]
    assert (sent["displayName"], sent["jobType"], sent["project"]) == (kept["name"], "train", "mer")
    assert {name for name in server.artifacts if name.startswith("macro-")} == set(server.used)
    assert any(name.startswith("media/table/tables/predictions") for name in server.uploads)


def test_an_online_run_is_at_the_server_while_it_goes_on(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import wandb

    wandb.teardown()  # it has read its settings already
    server = Server()
    cfg = tiny_config(*WORDS, "logger.wandb.mode=online", "logger.wandb.entity=lab")
    with serve(server) as url:
        monkeypatch.setenv("WANDB_BASE_URL", url)
        monkeypatch.setenv("WANDB_API_KEY", KEY)
        runner.run(cfg, tmp_path / "run", make_observers(cfg.logger))
        wandb.teardown()
    kept = json.loads((tmp_path / "run" / "wandb.json").read_text())
    assert kept["url"] == f"{url}/lab/mer/runs/{kept['id']}"
    check_curves(server, kept["id"], tmp_path / "run")
    assert server.summary(kept["id"])["status"] == "complete"
    assert server.used == [name for name in server.artifacts if name.startswith("macro-")]


def test_an_agent_of_wandbs_runs_the_sweep_of_the_page(
    tiny_words: list[str], tmp_path: Path
) -> None:
    page = Path(__file__).parents[2] / "docs" / "wandb.md"
    sweep = yaml.safe_load(titled(page)["sweep.yaml"])
    # The page's command, with a run of seconds before what the agent fills in.
    short = ["protocol.n_splits=2", "model.epochs=1", "macro.enabled=false"]
    words = [word for word in tiny_words if not word.startswith("backbone=")]
    sweep["command"][-1:] = [*words, *short, sweep["command"][-1]]
    values = [
        {"model.optimizer.lr": lr, "model.dropout": 0.2, "backbone": "tiny"}
        for lr in (0.002, 0.001)
    ]
    assert set(values[0]) == set(sweep["parameters"])
    commands = [
        {
            "type": "run",
            "run_id": f"agent{number}",
            "program": sweep["program"],
            "args": {key: {"value": value} for key, value in one.items()},
        }
        for number, one in enumerate(values)
    ]
    server = Server(sweep, commands)
    with serve(server) as url:
        command(url, "agent", "lab/mer/swp1", cwd=tmp_path)
    assert set(server.runs) == {"agent0", "agent1"}
    for number, one in enumerate(values):
        run = server.runs[f"agent{number}"]
        assert (run["sweep"], run["groupName"], run["jobType"]) == ("swp1", "swp1", "sweep")
        assert run["displayName"] == f"lr={one['model.optimizer.lr']} dropout=0.2 backbone=tiny"
        config = json.loads(run["config"])
        assert config["settings"]["value"]["model"]["dropout"] == 0.2
        summary = server.summary(f"agent{number}")
        assert 0 <= summary[sweep["metric"]["name"]] <= 1
        assert not [key for key in summary if key.startswith("test/")]
