"""`mer.load(MODEL)`: opens a run, a model file or the shipped weights as a `Predictor`."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from mer.deploy.facts import Facts
from mer.deploy.predictor import Predictor
from mer.deploy.scores import Scores
from mer.errors import MerError
from mer.prepare.sample import Sample

#: The model that is opened where none is named.
SHIPPED = "motion-xxs"


def load(
    model: str | Path = SHIPPED, fold: str | None = None, trust: Iterable[str] = ()
) -> Predictor:
    """Open a model that labels new clips.

    Examples:
        >>> import mer, numpy
        >>> with mer.load("motion-mlps") as model:
        ...     flow = numpy.zeros((3, 224, 224))
        ...     model.facts.classes
        ('negative', 'positive', 'surprise')

    Args:
        model: A run directory, an `.onnx` file of `mer export`, or the name of shipped weights
            (`motion-xxs`, the default, or `motion-mlps`).
        fold: Name of the fold of a run whose network is taken; by default the mean of all.
        trust: Packages that a run or a file may name beside the listed objects of mer.

    Raises:
        MerError: If there is no such model, it is damaged, or it names code that is not trusted.
    """
    if not isinstance(model, (str, Path)):
        raise MerError(f"the model is {model!r:.60}; name a run directory, a file or weights")
    path = Path(model).expanduser()
    if fold is not None and not path.is_dir():
        raise MerError(f"{model} is no run directory, so it has no fold {fold}")
    if path.suffix == ".onnx":
        from mer.deploy import model_files

        facts = Facts.from_dict(model_files.read_facts(path), path, trust)
        return Predictor(_OnnxScore(path, facts), facts)
    from mer.deploy import trained_models  # brings torch, which a file does not need

    if path.is_dir():
        return Predictor(*trained_models.of_run(path, fold, trust))
    return Predictor(*trained_models.shipped(str(model)))


class _OnnxScore:
    """Scores of prepared samples by an ONNX file."""

    def __init__(self, path: Path, facts: Facts) -> None:
        from mer.data import inputs
        from mer.deploy.engines import open_engine

        self._input = inputs.make(facts.input)
        self.needs = self._input.kind.needs
        # One sample at a time is scored as fast by one thread, and the faces have the other cores.
        self._engine = open_engine("onnxruntime", path, threads=1)

    def __call__(self, samples: Sequence[Sample]) -> Scores:
        built = np.stack([self._input.build(sample) for sample in samples])
        return self._engine(np.ascontiguousarray(built.transpose(0, 3, 1, 2)))
