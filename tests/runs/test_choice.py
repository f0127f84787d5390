"""Which runs are candidates, whose test scores nobody sees before the choice."""

import logging
from typing import Any

import pytest

from mer.cli.multirun import Summary
from mer.config.composition import compose, typed
from mer.runs.choice import candidates, choosing


def test_choosing() -> None:
    assert not choosing(typed(compose([])))
    assert choosing(typed(compose(["trial.number=0"])))
    assert choosing(typed(compose(["trial.varied=[backbone]"])))
    assert not choosing(typed(compose(["trial.number=3", "trial.test=true"])))
    assert choosing(compose(["trial.varied=[model.dropout]"]))
    assert choosing({"trial": {"number": 2}})  # a run stored by an earlier version
    assert not choosing({"trial": {"number": None}}) and not choosing({})


def test_candidates() -> None:
    keys = ["seed", "protocol", "protocol.folds", "data", "data.preset", "labels", "logger"]
    assert candidates([*keys, "trainer.devices"]) == []
    keys = ["backbone", "callbacks.svm_head.C", "protocol.inner.choose", "protocol.validation"]
    assert candidates([*keys, "seed"]) == keys


def _start(*words: str, **nodes: Any) -> list[str]:
    """The words of a sweep's jobs."""
    config = compose([word.partition("=")[0] + "=0.1" for word in words if "validation" in word])
    hydra = {"sweeper": nodes, "overrides": {"task": [*words]}, "sweep": {"dir": "sweep"}}
    config = type(config)({**config, "hydra": hydra})
    Summary().on_multirun_start(config)
    return list(config.hydra.overrides.task)


def test_a_sweep_tells_its_runs_what_it_compares(caplog: pytest.LogCaptureFixture) -> None:
    assert _start("seed=1,2", "input=apex") == ["seed=1,2", "input=apex"]
    found = _start("backbone=tiny,resnet18", "seed=1,2", "+model.x=choice(1,2)")
    assert found[3:] == ['trial.varied=["backbone","model.x"]']
    assert "there are none; set protocol.validation=0.2" in caplog.text
    caplog.clear()
    caplog.set_level(logging.WARNING)
    found = _start("protocol.validation=0.1", params={"model.dropout": "0.1,0.2"})
    assert found[1:] == ['trial.varied=["model.dropout"]'] and not caplog.text
