"""Names, job types, tags and first columns of W&B runs say what was typed."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import OmegaConf

from mer.config.composition import compose, typed
from mer.config.settings import Backbone, Protocol, Settings, Trial
from mer.loggers import identity, run_columns, typed_words
from mer.loggers.typed_words import Typed
from tests.docs.pages import titled

STAMP = "20261128-041103-615065"


@pytest.fixture
def settings() -> Settings:
    return typed(compose(["protocol=group_kfold", "backbone=tiny", "macro.enabled=false"]))


def hydra(monkeypatch: pytest.MonkeyPatch, words: list[str], **more: Any) -> None:
    """Pretend that Hydra has started a run with these words."""
    keys = {
        "mode": RunMode.RUN,
        "overrides": {"task": words, "hydra": []},
        "runtime": {"cwd": "/", "choices": {"experiment": None}, "config_sources": []},
        **more,
    }
    monkeypatch.setattr(HydraConfig.instance(), "cfg", OmegaConf.create({"hydra": keys}))


def test_a_run_is_named_by_what_was_typed(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = ["backbone=resnet18", "model.optimizer.lr=0.003", "run.dir=x", "paths.cache=y"]
    hydra(monkeypatch, [*words, "logger=wandb"])
    said = typed_words.read()
    assert said.command == f"mer train {' '.join(words)} logger=wandb"
    assert identity.names(settings, Path(STAMP), said) == ("backbone=resnet18 lr=0.003", None)
    named = identity.names(settings, Path("first"), said)
    assert named == ("first backbone=resnet18 lr=0.003", None)
    assert identity.names(settings, Path(STAMP), Typed()) == (STAMP, None)
    demo = Typed(experiment="demo", words={"experiment": "demo", "seed": "1"})
    assert identity.names(settings, Path(STAMP), demo) == ("demo seed=1", None)
    assert identity.names(settings, Path("demo"), demo) == ("demo seed=1", None)


def test_a_job_is_named_by_what_its_sweep_varies(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = tmp_path / "rates"
    folder.mkdir()
    swept = ["backbone=tiny", "model.optimizer.lr=0.1,0.2", "trial.varied=[model.optimizer.lr]"]
    own = ["backbone=tiny", "model.optimizer.lr=0.2", "trial.varied=[model.optimizer.lr]"]
    sources = [{"path": "/my conf", "provider": "command-line"}]
    runtime = {"cwd": str(tmp_path), "choices": {}, "config_sources": sources}
    asked = {"mode": "MULTIRUN", "runtime": runtime, "sweeper": {"params": None}}
    storage = "hydra.sweeper.storage=postgresql://me:secret@host/all"
    overrides = {"task": swept, "hydra": ["hydra.mode=MULTIRUN", storage]}
    OmegaConf.save({"hydra": {**asked, "overrides": overrides}}, folder / "multirun.yaml")
    more = {"sweep": {"dir": "rates"}, "job": {"num": 1}}
    hydra(monkeypatch, own, **{**asked, "mode": RunMode.MULTIRUN}, **more)
    said = typed_words.read()
    assert said.command == (
        "mer train -m --config-dir '/my conf' "
        "hydra.sweeper.storage=postgresql://me:...@host/all backbone=tiny "
        "model.optimizer.lr=0.1,0.2"
    )
    assert identity.names(settings, folder / "1", said) == ("lr=0.2", "rates")
    assert identity.job_type(settings, said) == "sweep"
    settings = replace(settings, trial=Trial(12))
    assert identity.names(settings, folder / "1", said) == ("trial 12 lr=0.2", "rates")
    assert identity.job_type(settings, said) == "trial"
    again = replace(settings, seed=2, search={"name": "rates", "seeds": 3})
    assert identity.names(again, folder / "1", said)[0] == "trial 12 lr=0.2 seed=2"
    settings = replace(settings, protocol=replace(settings.protocol, folds="sub01"))
    assert identity.names(settings, folder / "1", said)[0] == "fold sub01 trial 12 lr=0.2"
    assert identity.job_type(settings, said) == "nested"
    settings = replace(settings, trial=Trial())
    assert identity.names(settings, folder / "big", said) == ("big folds sub01", "big")
    columns = run_columns.columns(settings, folder / "1", said)
    assert columns["settings"]["model"]["optimizer"]["lr"] == settings.model.optimizer.lr
    assert columns["overrides"] == "lr=0.2"
    assert (columns["sweep"], columns["run_dir"]) == ("rates", str(folder / "1"))


def test_tags_and_first_columns_are_what_people_filter_by(settings: Settings) -> None:
    said = Typed(words={"backbone": "tiny", "data.root": "/secret/place"})
    expected = ["synthetic", "megc2019", "group_kfold", "flow", "tiny", "macro none"]
    assert identity.tags(settings, said) == expected
    leaky = replace(settings.protocol, name="random_samples")
    wrong = replace(settings, protocol=leaky, selection="oracle")
    assert identity.tags(wrong, said)[-2:] == ["ORACLE", "LEAKY"]
    columns = run_columns.columns(settings, Path("runs/x"), said)
    assert (columns["backbone"], columns["macro"], columns["seed"]) == ("tiny", "none", 0)
    assert columns["overrides"] == "backbone=tiny"
    renamed = Typed(words={"backbone": "tiny", "backbone.name": "resnet18"})
    other = replace(settings, backbone=Backbone("resnet18"))
    assert run_columns.groups(other, renamed)["backbone"] == "resnet18"


def test_job_types_of_other_runs(settings: Settings) -> None:
    assert identity.job_type(settings, Typed()) == "train"
    everybody = replace(settings, protocol=Protocol("all"))
    assert identity.job_type(everybody, Typed()) == "final"
    null = replace(settings, labels={**settings.labels, "permutation": 3})
    assert identity.job_type(null, Typed()) == "null"


def test_a_run_of_an_agent_takes_the_agents_id(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("WANDB_SWEEP_ID", "swp1")
    monkeypatch.setenv("WANDB_RUN_ID", "abc123")
    hydra(monkeypatch, ["logger=wandb", "model.optimizer.lr=0.2", "backbone=tiny"])
    said = typed_words.read()
    kept, _ = identity.keep(settings, tmp_path, "mer", said)
    assert kept["id"] == "abc123"
    assert (kept["group"], kept["job_type"]) == ("swp1", "sweep")
    assert kept["name"] == "lr=0.2 backbone=tiny"


def test_the_sweep_file_of_the_page_types_a_run_that_works(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    page = Path(__file__).parents[2] / "docs" / "wandb.md"
    asked = yaml.safe_load(titled(page)["sweep.yaml"])
    values = {"model.optimizer.lr": 0.0012, "model.dropout": 0.2, "backbone": "mobilevit_xs"}
    assert set(values) == set(asked["parameters"])
    args = {key: {"value": value} for key, value in values.items()}
    typed_by_agent = utils.create_sweep_command_args({"args": args})["args_no_hyphens"]
    place = asked["command"].index("${args_no_hyphens}")
    words = [*asked["command"][2:place], *typed_by_agent]
    cfg = compose(words)
    settings = typed(cfg)
    assert (settings.model.optimizer.lr, settings.model.dropout) == (0.0012, 0.2)
    assert settings.backbone.name == "mobilevit_xs"
    hydra(monkeypatch, words)
    monkeypatch.setenv("WANDB_SWEEP_ID", "swp1")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"wandb_version": 1, **args}))
    monkeypatch.setenv("WANDB_SWEEP_PARAM_PATH", str(tmp_path / "params.yaml"))
    named = identity.names(settings, Path(STAMP), typed_words.read())
    assert named == ("lr=0.0012 dropout=0.2 backbone=mobilevit_xs", "swp1")
    metric = asked["metric"]["name"].split("/")
    assert metric[0] == "val" and settings.protocol.validation > 0


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("48.498544783421536", "48.5"),
        ("0.00012345678", "0.0001235"),
        ("1.23456789e-05", "1.235e-05"),
        ("0.0012", "0.0012"),
        ("20261129", "20261129"),
        ("resnet18.a1_in1k", "resnet18.a1_in1k"),
    ],
)
def test_a_drawn_number_is_short_in_a_name(value: str, shown: str) -> None:
    assert typed_words.short(value) == shown


def test_a_run_that_python_has_started_was_not_typed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(HydraConfig.instance(), "cfg", None)
    assert typed_words.read() == Typed()
