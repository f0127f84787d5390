"""Networks of PyTorch that score prepared samples: that of a run's fold, and pretrained ones."""

from collections.abc import Collection, Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mer.callbacks.head import EMBEDDING, Head, source_name
from mer.config.settings import Settings
from mer.data import inputs
from mer.deploy.facts import Facts
from mer.deploy.graph import UNITS
from mer.deploy.scores import Scores
from mer.models import grad_cam
from mer.models.modules import MERModule
from mer.prepare.sample import Sample
from mer.runs.head_columns import SOFTMAX, ZERO_SHOT, with_offsets
from mer.runs.standard_scores import sums_of_margins
from mer.training.head_sources import SourceOfSamples, images
from mer.training.zero_shot import Judge

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
        self.networks, self._facts, self._votes = list(networks), facts, votes
        self.needs = {name for one in networks for name in one.needs}

    def __call__(self, samples: Sequence[Sample]) -> Scores:
        """Score prepared samples."""
        with torch.inference_mode():
            each = [network(samples) for network in self.networks]
        given: dict[str, list[Array]] = {}
        for name, values in ((name, values) for one in each for name, values in one.items()):
            given.setdefault(name, []).append(values)
        mean = {name: self._mean(name, values) for name, values in given.items()}
        scores = {head: mean[head] for head in self._facts.heads}
        classes = {
            head: with_offsets(head, values, self._facts.offsets.get(head, 0.0)).argmax(axis=1)
            for head, values in scores.items()
        }
        return Scores(scores, classes, mean.get(UNITS))

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """Mean Grad-CAM of the networks of the first one's kind; see `Network.activation`."""
        kind = type(self.networks[0])
        maps = [one.activation(sample) for one in self.networks if type(one) is kind]
        drawn = [one for one in maps if one is not None]
        return np.mean(drawn, axis=0) if drawn else None

    def _mean(self, name: str, values: Sequence[Array]) -> Array:
        """Mean of scores; votes, which say little of how sure a head is, become margins first."""
        if len(values) > 1 and name in self._votes:
            values = [sums_of_margins(one) for one in values]
        return np.asarray(np.mean(values, axis=0))


class FoldNetwork:
    """The network of a fold with its fitted heads."""

    def __init__(self, module: MERModule, heads: Sequence[Head], settings: Settings) -> None:
        self.module, self.heads, self.settings = module, list(heads), settings
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

    def __init__(self, judge: Judge) -> None:
        self.judge, self.needs = judge, judge.input.kind.needs
        judge.module.eval()

    def __call__(self, samples: Sequence[Sample]) -> dict[str, Array]:
        """See `Network`."""
        embedding = self.judge.embed(images(self.judge.input, samples))
        scores = {ZERO_SHOT: self.judge.logits(embedding).softmax(dim=1).numpy()}
        units = self.judge.intensities(embedding)
        return scores if units is None else {**scores, UNITS: units.double().numpy()}

    def activation(self, sample: Sample) -> NDArray[np.float32] | None:
        """See `Network`."""
        return grad_cam.explain(
            self.judge.module, self.judge.seen(images(self.judge.input, [sample]))
        )
