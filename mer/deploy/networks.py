"""Networks of PyTorch that score prepared samples: those of a run's folds, and shipped ones."""

from collections.abc import Collection, Iterable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mer.callbacks.head import EMBEDDING, Head, source_name
from mer.config.composition import typed
from mer.config.conversion import updated
from mer.config.settings import Input, Prepare, Settings
from mer.data import inputs
from mer.deploy.facts import Facts
from mer.deploy.graph import UNITS
from mer.deploy.scores import Scores
from mer.deploy.shipped_calibration import CALIBRATIONS
from mer.errors import MerError
from mer.models import grad_cam, ready_weights
from mer.models.checkpoints import load_module
from mer.models.modules import MERModule, MicroFinetuneModule
from mer.models.motion_module import MotionPretrainModule
from mer.prepare.sample import Sample
from mer.runs import calibration, run_files, rundir
from mer.runs.calibration import Calibration
from mer.runs.head_columns import SOFTMAX, ZERO_SHOT, read_states
from mer.runs.standard_scores import Form, form_of, sums_of_margins
from mer.runs.stored_run import Run
from mer.training import zero_shot
from mer.training.evaluate import fold_config, load_config
from mer.training.head_sources import SourceOfSamples
from mer.training.heads import heads_of, make_callbacks

Array = NDArray[np.float64]


class Network(Protocol):
    """A network with its heads, from prepared samples to scores."""

    @property
    def needs(self) -> Collection[str]:
        """Arrays of a sample that its inputs read, some of `mer.data.inputs.ARRAYS`."""

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Array]:
        """Score samples: head -> (B, K); and `units` (B, 2 U) where there are any."""

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """Grad-CAM of the class that the network favours (56, 56); None without a feature map."""


class Model(NamedTuple):
    """A model that is ready to score, and what is known of it."""

    score: "Mean"
    facts: Facts


class Mean:
    """Mean of the scores of some networks, and the classes that follow from it.

    Args:
        networks: The networks; each gives the scores of all heads.
        facts: Facts of the model.
        votes: Heads whose scores are votes of an SVM.
    """

    def __init__(
        self, networks: Sequence[Network], facts: Facts, votes: Collection[str] = ()
    ) -> None:
        self._networks, self._facts, self._votes = list(networks), facts, votes
        self.needs = {name for one in networks for name in one.needs}

    def __call__(self, samples: Sequence[Sample]) -> Scores:
        """Score prepared samples."""
        with torch.inference_mode():
            each = [network(samples) for network in self._networks]
        given: dict[str, list[Array]] = {}
        for name, values in ((name, values) for one in each for name, values in one.items()):
            given.setdefault(name, []).append(values)
        mean = {name: self._mean(name, values) for name, values in given.items()}
        scores = {head: mean[head] for head in self._facts.heads}
        classes = {}
        for head, values in scores.items():
            with np.errstate(divide="ignore"):
                added = np.log(values) if head == SOFTMAX else values
            classes[head] = (added + self._facts.offsets.get(head, 0.0)).argmax(axis=1)
        return Scores(scores, classes, mean.get(UNITS))

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """Mean Grad-CAM of the networks of the first one's kind; see `Network.activation`."""
        kind = type(self._networks[0])
        maps = [one.activation(sample) for one in self._networks if type(one) is kind]
        drawn = [one for one in maps if one is not None]
        return np.mean(drawn, axis=0) if drawn else None

    def _mean(self, name: str, values: Sequence[Array]) -> Array:
        """Mean of scores; votes, which say little of how sure a head is, become margins first."""
        if len(values) > 1 and name in self._votes:
            values = [sums_of_margins(one) for one in values]
        return np.asarray(np.mean(values, axis=0))


class FoldNetwork:
    """The network of a fold with its fitted heads.

    Args:
        module: The network, in evaluation mode.
        heads: Its heads, fitted.
        settings: Settings of the fold.
    """

    def __init__(self, module: MERModule, heads: Sequence[Head], settings: Settings) -> None:
        self.module, self.heads = module, list(heads)
        self._input = inputs.make(settings.input)
        sources = [source for head in heads for source in head.sources if source != EMBEDDING]
        self._sources = {source_name(one): SourceOfSamples(one, settings) for one in sources}
        self.needs = {
            name
            for read in (self._input, *(one.input for one in self._sources.values()))
            for name in read.kind.needs
        }

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Array]:
        """See `Network`."""
        image = images(self._input, samples)
        embedding = self.module.embed(image)
        logits = self.module.classifier(embedding).double()
        rows = {name: source(samples) for name, source in self._sources.items()}
        rows[EMBEDDING] = embedding.double().numpy()
        scores = {
            head.name: np.asarray(
                head.scores(np.concatenate([rows[source_name(s)] for s in head.sources], axis=1)),
                np.float64,
            )
            for head in self.heads
        }
        return {**scores, SOFTMAX: logits.softmax(dim=1).numpy()}

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """See `Network`."""
        return grad_cam.explain(self.module, images(self._input, [sample]))


class ZeroShotNetwork:
    """A pretrained network that scores samples by itself, with action units where it has them."""

    def __init__(self, judge: zero_shot.Judge) -> None:
        self._judge, self.needs = judge, judge.input.kind.needs
        judge.module.eval()

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Array]:
        """See `Network`."""
        embedding = self._judge.embed(images(self._judge.input, samples))
        scores = {ZERO_SHOT: self._judge.logits(embedding).softmax(dim=1).numpy()}
        units = self._judge.intensities(embedding)
        return scores if units is None else {**scores, UNITS: units.double().numpy()}

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """See `Network`."""
        return grad_cam.explain(
            self._judge.module, self._judge.seen(images(self._judge.input, [sample]))
        )


def images(made: inputs.SampleInput, samples: Sequence[Sample]) -> torch.Tensor:
    """Build the inputs of samples. Shape: (B, C, S, S), float32."""
    built = np.stack([made.build(sample) for sample in samples])
    return torch.from_numpy(built).permute(0, 3, 1, 2)


def shipped(name: str) -> Model:
    """Open weights that come with the package.

    Args:
        name: Name in `mer.models.ready_weights.READY`, with or without `mer:` before it.

    Raises:
        MerError: If there are no such weights.
    """
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
    """Open the networks of a run's finished folds, whose scores are averaged.

    Args:
        run_dir: Run directory.
        fold: Name of the one fold to take; None takes all that are finished.
        trust: Packages that the run may name beside the listed objects of mer.

    Raises:
        MerError: If there is no such fold, or the run names code that is not trusted.
    """
    trust = tuple(trust)
    cfg = load_config(run_dir, trust=trust)
    settings = typed(cfg)
    done = finished(run_dir)
    if fold is not None and fold not in done:
        raise MerError(f"{run_dir} has no finished fold `{fold}`; there are: {', '.join(done)}.")
    names = done if fold is None else [fold]
    opened = [_fold(run_dir, name, cfg, trust) for name in names]
    first, warnings = opened[0].network, list(dict.fromkeys(w for o in opened for w in o.warnings))
    if len({repr(one.settings.input) for one in opened}) > 1:
        raise MerError(
            f"{run_dir}: its folds have chosen different inputs, so no mean of them can be taken; "
            f"name one fold: {', '.join(done[:5])}"
        )
    settings = opened[0].settings
    heads = [head.name for head in first.heads]
    networks: list[Network] = [one.network for one in opened]
    units: tuple[int, ...] = ()
    classes, last = tuple(first.module.classes), [SOFTMAX]
    judge = zero_shot.of_run(settings, run_dir, classes)
    if judge is not None:
        networks.append(ZeroShotNetwork(judge))
        units, last = judge.units, [SOFTMAX, ZERO_SHOT]
    if len(names) > 1:
        warnings.append(
            f"Scores are the mean of {len(names)} networks, one per fold, none of which was "
            "trained on everybody"
        )
    forms = {head: form_of(head, settings.callbacks) for head in (*heads, *last)}
    fitted = _calibration(run_dir, trust, forms, several=len(names) > 1)
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


def _calibration(
    run_dir: Path, trust: Iterable[str], forms: dict[str, Form], several: bool
) -> dict[str, Calibration]:
    """Calibration of the heads, for the form in which the model gives their scores.

    Args:
        run_dir: Run directory.
        trust: Packages that it may name.
        forms: Head -> form of its scores.
        several: Whether scores are means of several networks.
    """
    stored = calibration.of_run(Run(run_dir, trust))
    return {
        head: stored[head]._replace(form="margins" if several and form == "votes" else form)
        for head, form in forms.items()
        if head in stored
    }


def finished(run_dir: Path) -> list[str]:
    """Names of the finished folds of a run.

    Raises:
        MerError: If there is none.
    """
    folder = run_dir / "folds"
    names = sorted(one.name for one in folder.iterdir()) if folder.is_dir() else []
    done = [name for name in names if rundir.is_done(run_dir, name)]
    if not done:
        raise MerError(f"{run_dir} has no finished fold. Name a run directory, e.g. runs/demo.")
    return done


class _Opened(NamedTuple):
    network: FoldNetwork
    settings: Settings
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
        state = {k: v for k, v in states.get(head.name, {}).items() if k != "fitted_on"}
        if state:
            head.load_state_dict(state)
            heads.append(head)
        else:
            warnings.append(
                f"The head {head.name} is left out: {type(head).__name__} has no `state_dict`"
            )
    network = FoldNetwork(module.eval(), heads, settings)
    return _Opened(network, settings, chosen.get("thresholds", {}), warnings)


def _mean_offsets(each: Sequence[dict[str, list[float]]]) -> dict[str, tuple[float, ...]]:
    """Mean offsets of each head over folds; a fold that chose none counts as zeros."""
    found: dict[str, tuple[float, ...]] = {}
    for head in dict.fromkeys(key for one in each for key in one):
        length = next(len(one[head]) for one in each if head in one)
        rows = [one.get(head, [0.0] * length) for one in each]
        found[head] = tuple(np.mean(rows, axis=0).tolist())
    return found
