"""Studies in memory whose trials are made by hand, and what searches by a formula share."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import optuna
from omegaconf import DictConfig
from optuna.distributions import CategoricalDistribution, FloatDistribution
from optuna.trial import FrozenTrial, TrialState, create_trial

#: A range, and a formula of its values that stands for training.
LR = "model.optimizer.lr=interval(0.001, 0.1)"

FIXED = ["data=synthetic", "search=mobilevit_tpe", "model.epochs=3"]
BOLD = "'<b>bold</b>'"
SPACE = {
    "model.optimizer.lr": FloatDistribution(1e-4, 1e-1, log=True),
    "model.loss": CategoricalDistribution(["ce", BOLD]),
}
STARTED = datetime(2026, 1, 1)


class Made:
    """A study in memory whose trials are made by hand."""

    def __init__(self, folder: Path, *directions: str, objective: Any = "uf1") -> None:
        self.folder = folder
        self.study = optuna.create_study(
            study_name="mobilevit_tpe",
            directions=directions or ["maximize"],
            sampler=optuna.samplers.TPESampler(seed=0),
            pruner=optuna.pruners.NopPruner(),
        )
        noted = {
            "space": dict.fromkeys(SPACE, ""),
            "settings": {"objective": objective, "data.name": "megc2019"},
        }
        self.study.set_user_attr("mer", json.dumps(noted))

    def add(
        self,
        values: list[float] | None = None,
        state: TrialState = TrialState.COMPLETE,
        lr: float = 0.01,
        loss: str = "ce",
        folds: list[float] | None = None,
        **attrs: Any,
    ) -> None:
        number = len(self.study.trials)
        waiting = state == TrialState.WAITING
        trial = create_trial(
            state=state,
            values=values,
            params={} if waiting else {"model.optimizer.lr": lr, "model.loss": loss},
            distributions={} if waiting else SPACE,
            intermediate_values=dict(enumerate(folds or [], start=1)),
            user_attrs=attrs if waiting else {"directory": str(self.folder / str(number)), **attrs},
        )
        if not waiting:
            trial.datetime_start = STARTED
        if state.is_finished():
            trial.datetime_complete = STARTED + timedelta(seconds=90 + number)
        self.study.add_trial(trial)


def one_of_each(folder: Path) -> Made:
    """One trial of each fate; the best is number 2."""
    made = Made(folder)
    made.add([0.5], lr=0.001, folds=[0.4, 0.5])
    made.add([0.25], TrialState.PRUNED, folds=[0.25], outcome="pruned after 1 of 2 folds")
    made.add([0.75], lr=0.02, loss=BOLD, folds=[0.7, 0.75])
    made.add(None, TrialState.FAIL, outcome="raised MerError: no <i>such</i> file")
    made.add(None, TrialState.FAIL, outcome="not a number")
    made.add(None, TrialState.FAIL, outcome="killed 3 times")
    made.add(None, TrialState.FAIL, outcome="surplus")
    made.add(None, TrialState.FAIL)
    made.add(None, TrialState.RUNNING, folds=[0.6])
    made.add(None, TrialState.WAITING)
    return made


def with_a_front(folder: Path) -> Made:
    """UF1 up, latency down: 0, 2 and 3 are the front; 1 is beaten by 2, and 4 by all of them."""
    made = Made(folder, "maximize", "minimize", objective=["uf1", "latency_ms"])
    made.add([0.50, 5.0])
    made.add([0.55, 9.0], lr=0.02)
    made.add([0.60, 8.0], lr=0.03)
    made.add([0.70, 20.0], lr=0.04)
    made.add([0.40, 30.0], lr=0.05)
    return made


def lr(cfg: DictConfig) -> float:
    """The learning rate, as the value of a trial."""
    return float(cfg.model.optimizer.lr)


def stored_trials(home: Path) -> list[FrozenTrial]:
    """The trials of the one study in the folder of a search."""
    address = f"sqlite:///{home / 'study.db'}"
    (name,) = optuna.get_all_study_names(address)
    return optuna.load_study(study_name=name, storage=address).trials
