"""Opens trained models: the networks of a run's folds, and the weights of the package."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer.config.composition import typed
from mer.config.conversion import updated
from mer.config.settings import Input, Prepare
from mer.deploy.facts import Facts
from mer.deploy.networks import FoldNetwork, Mean, Network, ZeroShotNetwork
from mer.deploy.shipped_calibration import CALIBRATIONS
from mer.errors import MerError
from mer.models import ready_weights
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.models.motion_module import MotionPretrainModule
from mer.runs import calibration, run_files, rundir
from mer.runs.calibration import Calibration
from mer.runs.head_columns import SOFTMAX, ZERO_SHOT, read_states
from mer.runs.standard_scores import Form, form_of
from mer.training import zero_shot
from mer.training.evaluate import fold_config, load_config
from mer.training.heads import heads_of, make_callbacks


class Model(NamedTuple):
    """A model that is ready to score, and what is known of it."""

    score: Mean
    facts: Facts


def shipped(name: str) -> Model:
    """Open weights that come with the package."""
    name = name.removeprefix(ready_weights.PREFIX)
    if name not in ready_weights.READY:
        raise MerError(
            f"There is no model {name}: name a run directory, an .onnx file of `mer export`, or "
            f"shipped weights ({', '.join(ready_weights.READY)})"
        )
    path = ready_weights.checkpoint(ready_weights.PREFIX + name)
    module = load_module(MotionPretrainModule, path)
    options = updated(Input(), module.provenance["input"], "input")
    judge = zero_shot.Judge(module, module.classes, options)
    facts = Facts(
        name=path.stem,
        classes=tuple(module.classes),
        heads=(ZERO_SHOT,),
        prepare=Prepare(),
        input=options,
        calibration={ZERO_SHOT: CALIBRATIONS[name]} if name in CALIBRATIONS else {},
        units=judge.units,
        provenance=module.provenance,
    )
    return Model(Mean([ZeroShotNetwork(judge)], facts), facts)


def of_run(run_dir: Path, fold: str | None = None, trust: Iterable[str] = ()) -> Model:
    """Open the networks of a run's finished folds, whose scores are averaged, or that of one.

    Raises:
        MerError: If there is no such fold, or the run names code that is not trusted.
    """
    trust = tuple(trust)
    cfg = load_config(run_dir, trust=trust)
    done = rundir.require_finished(run_dir)
    if fold is not None and fold not in done:
        raise MerError(f"{run_dir} has no finished fold `{fold}`; there are: {', '.join(done)}.")
    names = done if fold is None else [fold]
    opened = [_fold(run_dir, name, cfg, trust) for name in names]
    first, warnings = opened[0].network, list(dict.fromkeys(w for o in opened for w in o.warnings))
    if len({repr(one.network.settings.input) for one in opened}) > 1:
        raise MerError(
            f"{run_dir}: its folds have chosen different inputs, so no mean of them can be taken; "
            f"name one fold: {', '.join(done[:5])}"
        )
    settings = first.settings
    heads = [head.name for head in first.heads]
    networks: list[Network] = [one.network for one in opened]
    units: tuple[int, ...] = ()
    classes, last = tuple(first.module.classes), [SOFTMAX]
    judge = zero_shot.judge(settings, zero_shot.network(settings, run_dir), classes)
    if judge is not None:
        networks.append(ZeroShotNetwork(judge))
        units, last = judge.units, [SOFTMAX, ZERO_SHOT]
    if len(names) > 1:
        warnings.append(
            f"Scores are the mean of {len(names)} networks, one per fold, none of which was "
            "trained on everybody"
        )
    forms = {head: form_of(head, settings.callbacks) for head in (*heads, *last)}
    fitted = _calibration(run_dir, forms, several=len(names) > 1)
    if not fitted:
        warnings.append(
            "There is no confidence: the run has no predictions for persons who did not train"
        )
    facts = Facts(
        name=f"{run_dir}" if fold is None else f"{run_dir}, fold {fold}",
        classes=classes,
        heads=(*heads, *last),
        prepare=settings.prepare,
        input=settings.input,
        offsets=_mean_offsets([one.offsets for one in opened]),
        calibration=fitted,
        units=units,
        warnings=tuple(warnings),
        provenance=first.module.provenance if len(names) == 1 else {"folds": names},
    )
    votes = [head for head, form in forms.items() if form == "votes"]
    return Model(Mean(networks, facts, votes), facts)


def _calibration(run_dir: Path, forms: dict[str, Form], several: bool) -> dict[str, Calibration]:
    """Calibration of the heads, for scores of one network or for means of several."""
    stored = calibration.read(run_dir)
    return {
        head: stored[head]._replace(form="margins" if several and form == "votes" else form)
        for head, form in forms.items()
        if head in stored
    }


class _Opened(NamedTuple):
    network: FoldNetwork
    offsets: dict[str, list[float]]
    warnings: list[str]


def _fold(run_dir: Path, name: str, cfg: Any, trust: tuple[str, ...]) -> _Opened:
    settings = typed(fold_config(run_dir, cfg, name, trust=trust))
    folder = rundir.fold_folder(run_dir, name)
    module = load_module(MicroFinetuneModule, folder / "model.ckpt", trust)
    chosen = dict(module.provenance.get("inner") or {})
    states = run_files.read(folder / "heads.pt", read_states, dict)
    heads, warnings = [], []
    for head in heads_of(make_callbacks(settings.callbacks, chosen.get("svm"))):
        if states.get(head.name):
            head.load_state_dict(states[head.name])
            heads.append(head)
        else:
            warnings.append(
                f"The head {head.name} is left out: {type(head).__name__} has no `state_dict`"
            )
    network = FoldNetwork(module.eval(), heads, settings)
    return _Opened(network, chosen.get("thresholds", {}), warnings)


def _mean_offsets(each: Sequence[dict[str, list[float]]]) -> dict[str, tuple[float, ...]]:
    """Mean offsets of each head over folds; a fold that chose none counts as zeros."""
    found: dict[str, tuple[float, ...]] = {}
    for head in dict.fromkeys(key for one in each for key in one):
        length = next(len(one[head]) for one in each if head in one)
        rows = [one.get(head, [0.0] * length) for one in each]
        found[head] = tuple(np.mean(rows, axis=0).tolist())
    return found
