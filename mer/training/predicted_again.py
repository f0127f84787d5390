"""Some samples of a finished fold are predicted once more, from the prepared samples, one by one.

No loader, cache or engine has a part in it, and no sample another one, so rows that were swapped,
inputs and activations of other samples, settings or weights, and scores that depend on who else is
tested, show.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng

from mer.callbacks.head import EMBEDDING, SCORES, Head, scores_of, source_name
from mer.models.backbones import evaluation_mode
from mer.models.modules import MERModule
from mer.runs import evidence
from mer.training import head_sources
from mer.training.devices import fold_device

if TYPE_CHECKING:
    from mer.training.fold_network import Job

#: Folds of a run, at most, whose samples are predicted once more from their inputs, by another way;
#: and how many samples of either side in all these folds together.
FOLDS_AGAIN, SAMPLES_AGAIN = 16, 64

#: By how much embeddings and logits, relative to the largest one, may differ then: on a CPU in
#: float32; on other devices; in half precision. Probabilities could not be compared so: a steep
#: softmax enlarges what rounding does.
TOLERANCES = (1e-3, 1e-1, 5e-1)


def is_one(job: Job) -> bool:
    """Whether the fold is one of those whose samples are predicted once more."""
    names = [fold.name for fold in job.run.folds]
    return names.index(job.fold.name) % _step(len(names)) == 0


def _step(folds: int) -> int:
    return -(-folds // FOLDS_AGAIN)


def problems(
    job: Job, module: MERModule, outputs: Sequence[Mapping[str, torch.Tensor]]
) -> list[str]:
    """Predict some samples of a fold once more; say what differs. Of other folds nothing."""
    if not (outputs and is_one(job)):
        return []
    folds, close = len(job.run.folds), _tolerance(job)
    count = SAMPLES_AGAIN // -(-folds // _step(folds))
    batches = {
        key: torch.cat([batch[key].detach().cpu() for batch in outputs]).numpy()
        for key in ("index", "logits", "embedding", *(f"{head.name}{SCORES}" for head in job.heads))
    }
    rows = _spread(np.arange(len(batches["index"])), count)
    tested = {key: values[rows] for key, values in batches.items()}
    index = tested["index"]
    embeddings, logits = _from_stores(job, module, index)
    same = _alike(logits, tested["logits"], close) & _alike(embeddings, tested["embedding"], close)
    sentences = _sentence(job, index, same, "predictions are not what the network gives for these")
    for head in job.heads:
        pairs = zip(tested["embedding"].astype(np.float64), index, strict=True)
        alone = [scores_of(head, row[None], np.array([at]))[0] for row, at in pairs]
        scores = tested[f"{head.name}{SCORES}"]
        # An infinite score, of a class without a vote, must come again and allows nothing else.
        size = np.abs(scores[np.isfinite(scores)]).max(initial=0)
        same = np.isclose(alone, scores, rtol=1e-6, atol=1e-6 * size).all(axis=1)
        what = f"scores of the head {head.name} are not what it gives when it is asked for one of"
        sentences += _sentence(job, index, same, f"{what} these")
    for head in job.heads:
        sentences += _wrong_rows(job, module, head, count)
    return sentences


def _wrong_rows(job: Job, module: MERModule, head: Head, count: int) -> list[str]:
    """Rows that fitted a head and are not what network and inputs give for their samples."""
    fitted, sentences = head.fitted_on, list[str]()
    if fitted is None:
        return []
    rows = _spread(np.flatnonzero(fitted.positions >= 0), count)
    index, dataset = fitted.positions[rows], job.run.dataset
    for source in head.sources:
        name = source_name(source)
        if name == EMBEDDING:
            again: NDArray[np.floating] = _from_stores(job, module, index)[0]
            what = "rows that fitted the heads are not what the network gives"
        else:
            again = head_sources.from_stores(source, job.run.settings, dataset, index)
            what = f"rows of {name} that fitted the head {head.name} are not what the inputs give"
        same = _alike(again, fitted.arrays[name][rows], _tolerance(job))
        sentences += _sentence(job, index, same, f"{what} for these")
    return sentences


def _alike(
    again: NDArray[np.floating], before: NDArray[np.floating], close: float
) -> NDArray[np.bool_]:
    """Whether embeddings or logits are the same ones, but for rounding, row by row."""
    most = close * np.abs(before).max(initial=0)
    return np.asarray(np.abs(again - before).max(axis=1) <= most)


def _sentence(job: Job, index: NDArray[np.int64], same: NDArray[np.bool_], what: str) -> list[str]:
    wrong = evidence.ids_of(job.run.dataset.table, index[~same])
    return [f"{len(wrong)} of {len(index)} {what} samples: {evidence.some(wrong)}"] * bool(wrong)


def _from_stores(
    job: Job, module: MERModule, positions: NDArray[np.int64]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Embeddings and logits of samples by the whole network."""
    kind = next(module.parameters())
    built = [job.run.dataset.build(position) for position in positions.tolist()]
    if not built:
        return np.empty((0, module.embedding_width), np.float32), np.empty((0, 0), np.float32)
    images = torch.from_numpy(np.stack(built)).permute(0, 3, 1, 2)
    later, module.later_blocks = module.later_blocks, None
    try:
        with isolate_rng(), evaluation_mode(module):
            embeddings = module.embed(images.to(kind.device, kind.dtype))
            logits = module.classifier(embeddings).cpu().float()
            return embeddings.cpu().float().numpy(), logits.numpy()
    finally:
        module.later_blocks = later


def _spread(values: NDArray[np.int64], count: int) -> NDArray[np.int64]:
    """At most so many of some values, evenly spread."""
    places = np.unique(np.linspace(0, len(values) - 1, min(count, len(values))).astype(int))
    return np.asarray(values[places])


def _tolerance(job: Job) -> float:
    if "16" in job.run.settings.trainer.precision:
        return TOLERANCES[2]
    return TOLERANCES[fold_device(job.run.settings).type != "cpu"]
