"""Evidence of a fold, collected where it happens: batches, arrays of heads, constants, inputs.

What `mer.runs.evidence` can compare again from the files is written; what needs the network or the
arrays is compared here alone. A fold that contradicts its sides is refused.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pytorch_lightning.utilities.seed import isolate_rng

from mer.callbacks.svm_head import SVMHead
from mer.config import trust
from mer.data.feature_cache import FeatureCache
from mer.errors import raise_all
from mer.files import write_json
from mer.models.backbones import evaluation_mode
from mer.models.modules import MERModule
from mer.models.seen_samples import digests
from mer.models.transfer import refuse_known_persons
from mer.protocols import LEAKY
from mer.runs import evidence
from mer.training import inner
from mer.training.devices import fold_device
from mer.training.heads import heads_of, make_callbacks
from mer.training.network_cache import Outputs

if TYPE_CHECKING:
    from mer.data.datamodule import MERDataModule
    from mer.training.fold import Job

#: Folds of a run, at most, whose samples are predicted once more from their inputs, by another way;
#: and how many samples of either side in all these folds together.
FOLDS_AGAIN, SAMPLES_AGAIN = 16, 64

#: By how much probabilities, and embeddings relative to the largest one, may differ then: on a CPU
#: in float32; on other devices; in half precision.
TOLERANCES = (1e-4, 1e-2, 5e-2)

Constants = tuple[Sequence[float], Sequence[float]]


def of_training(
    job: Job, module: MERModule, data: MERDataModule, macro: Constants | None
) -> dict[str, Any]:
    """Collect whose samples a trained network has learnt from; its provenance names their persons.

    Args:
        job: The fold.
        module: The network.
        data: The loaders that it was trained with.
        macro: Mean and standard deviation of macro-pretraining, if the network shall have these.

    Returns:
        `trained`, `validated`, `shown`, `normalised`, `features`; see `mer.runs.evidence`.

    Raises:
        MerError: If one of the fold's test persons trained the network.
    """
    run, seen = job.run, module.seen
    seen.watch(False)
    trained, table = seen.positions("train"), run.dataset.table
    persons = set(table["person"].iloc[trained[trained >= 0]])
    module.provenance["persons"] = sorted({*module.provenance["persons"], *persons})
    if run.settings.protocol.name not in LEAKY:
        refuse_known_persons(module.provenance, set(table["person"].iloc[job.sides.test]))
    normalised = [evidence.MACRO] if macro else list(job.fold.train)
    return {
        "trained": evidence.ids_of(table, trained),
        "validated": evidence.ids_of(table, seen.positions("val")),
        "shown": _shown(module, data),
        "normalised": normalised if _has_constants(job, module, macro) else [],
        "features": data.inputs.folder.name if isinstance(data.inputs, FeatureCache) else None,
    }


def write(
    job: Job,
    module: MERModule | None,
    used: Mapping[str, Any],
    outputs: Outputs,
    test: pd.DataFrame,
) -> None:
    """Write the evidence of a fold, unless it contradicts the fold's sides.

    Args:
        job: The fold; its heads are fitted.
        module: Its network; None for a kept one, unless the fold `is_predicted_again`.
        used: What `of_training` gave.
        outputs: Side -> predicted batches.
        test: Predictions of the test side, thresholds applied.

    Raises:
        MerError: If other samples took part than the fold says, or predictions are not what network
            and heads give for the samples; all contradictions are listed.
    """
    run, fold = job.run, job.fold
    table, classes = run.dataset.table, run.corpus.classes
    fitted = {head.name: head.fitted_on for head in job.heads}
    content = {
        **used,
        "heads": {
            name: evidence.ids_of(table, arrays.positions) if arrays else []
            for name, arrays in fitted.items()
        },
        "tested": evidence.tested(outputs["test"], run.dataset),
    }
    sides = {side: getattr(fold, side) for side in ("train", "validation", "test")}
    oracle = run.settings.selection == "oracle"
    raise_all(
        f"Fold {fold.name} leaks, or its records do not fit; its predictions are not written:",
        [
            *evidence.problems(content, sides, oracle, test, classes),
            *_wrong_arrays(job),
            *_wrong_choices(job),
            *_wrong_classes(job, test),
            *(_wrong_weights(job, module) if module else []),
            *(_wrong_outputs(job, module, outputs["test"]) if module else []),
        ],
    )
    write_json(content, job.folder / evidence.FILE)


def _shown(module: MERModule, data: MERDataModule) -> list[str]:
    """Samples that were shown to the network in its training, but not by its own batches."""
    if not module.seen.inputs:
        return []
    ids = data.dataset.table["sample_id"]
    everybody = np.array_split(np.arange(len(ids)), -(-len(ids) // 128))
    hashes = [one for part in everybody for one in digests(data.inputs.plain(part))]
    return [one for one, hashed in zip(ids, hashes, strict=True) if hashed in module.seen.inputs]


def _has_constants(job: Job, module: MERModule, macro: Constants | None) -> bool:
    """Whether the network normalises by the training side, or by the given constants."""
    dataset = job.run.dataset
    mean, square = (values[job.sides.train].mean(axis=0) for values in dataset.moments)
    mean[list(dataset.kind.signed)] = 0.0
    expected = macro or (mean, np.sqrt(np.maximum(square - mean**2, 0)))
    learnt = [c for c in range(dataset.kind.channels) if macro or c not in dataset.kind.frames]
    return all(
        np.allclose(values.flatten().cpu().numpy()[learnt], np.array(wanted)[learnt], rtol=1e-5)
        for values, wanted in zip((module.input_mean, module.input_std), expected, strict=True)
    )


def _wrong_arrays(job: Job) -> list[str]:
    """Heads whose rows have other labels than their samples."""
    sentences = []
    for head in job.heads:
        arrays = head.fitted_on
        if arrays is not None:
            labels = job.run.dataset.labels[arrays.positions]
            wrong = int((labels != arrays.labels)[arrays.positions >= 0].sum())
            if wrong:
                sentences.append(f"{wrong} rows fitted the head {head.name} with another's label")
    return sentences


def _wrong_weights(job: Job, module: MERModule) -> list[str]:
    """Class weights that do not follow from the labels of the training side."""
    if job.run.settings.model.class_weights != "balanced":
        return []
    labels = job.run.dataset.labels[job.sides.train]
    counts = np.bincount(labels, minlength=len(module.classes))
    expected = np.where(counts > 0, len(labels) / (len(counts) * np.maximum(counts, 1)), 0.0)
    if np.allclose(module.hparams["class_weights"], expected):
        return []
    return ["the class weights are not those of the training side"]


def _wrong_choices(job: Job) -> list[str]:
    """Choices that `inner.json` does not hold, and SVMs with other settings than these."""
    settings, sentences = job.run.settings, []
    made: dict[str, Any] = {}
    if settings.protocol.inner.n_splits is not None:
        made = inner.made(json.loads((job.folder / inner.FILE).read_text())["choices"])
    sentences += [
        f"the choice of {name} is {job.chosen.get(name)}; inside the fold "
        + (f"{made[name]} was chosen" if name in made else "nothing was chosen")
        for name in sorted({*made, *job.chosen})
        if made.get(name) != job.chosen.get(name)
    ]
    wanted = {
        head.name: head for head in heads_of(make_callbacks(settings.callbacks, made.get("svm")))
    }
    for head in job.heads:
        if type(head) is SVMHead and head.name in wanted:
            expected, found = trust.describe(wanted[head.name]), trust.describe(head)
            sentences += [
                f"the head {head.name} has {key}={found[key]}; {value} was set"
                for key, value in expected.items()
                if found[key] != value
            ]
    return sentences


def _wrong_classes(job: Job, test: pd.DataFrame) -> list[str]:
    """Predicted classes that do not have the highest score, chosen thresholds included."""
    classes, sentences = job.run.corpus.classes, []
    for head in ("softmax", *(head.name for head in job.heads)):
        scores = test[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
        offsets = job.chosen.get("thresholds", {}).get(head)
        if offsets is not None:
            with np.errstate(divide="ignore"):
                scores = (np.log(scores) if head == "softmax" else scores) + offsets
        chosen = scores[np.arange(len(test)), [classes.index(name) for name in test[head]]]
        if wrong := test.loc[~(chosen >= scores.max(axis=1) - 1e-9), "sample_id"].tolist():
            sentences.append(
                f"{len(wrong)} predicted classes of {head} do not follow from its scores"
                + (" and the thresholds chosen inside the fold" if offsets else "")
                + f": {evidence.some(wrong)}"
            )
    return sentences


def is_predicted_again(job: Job) -> bool:
    """Whether the fold is one of those whose samples are predicted once more."""
    names = [fold.name for fold in job.run.folds]
    return names.index(job.fold.name) % _step(len(names)) == 0


def _step(folds: int) -> int:
    return -(-folds // FOLDS_AGAIN)


def _wrong_outputs(
    job: Job, module: MERModule, outputs: Sequence[Mapping[str, torch.Tensor]]
) -> list[str]:
    """Predict some samples once more, from their inputs, and compare.

    No loader, cache or engine has a part in it, so rows that were swapped, and activations of other
    samples or weights, show.
    """
    if not is_predicted_again(job):
        return []
    folds = len(job.run.folds)
    count = SAMPLES_AGAIN // -(-folds // _step(folds))
    table, close = job.run.dataset.table, _tolerance(job)
    index, logits = (
        torch.cat([batch[key].detach().cpu() for batch in outputs]) for key in ("index", "logits")
    )
    tested = _spread(np.arange(len(index)), count)
    fitted = next((head.fitted_on for head in job.heads if head.fitted_on is not None), None)
    rows = np.empty(0, np.int64)
    if fitted is not None:
        rows = _spread(np.flatnonzero(fitted.positions >= 0), count)
    known = index.numpy()[tested], fitted.positions[rows] if fitted is not None else rows
    embeddings, again = _from_inputs(job, module, np.concatenate(known))
    gap = (again[: len(tested)].softmax(1) - logits[tested].float().softmax(1)).abs().amax(1)
    sentences = []
    if (wrong := known[0][~(gap.numpy() <= close)]).size:
        sentences.append(
            f"{len(wrong)} of {len(tested)} predictions are not what the network gives for these "
            f"samples: {evidence.some(evidence.ids_of(table, wrong))}"
        )
    if fitted is not None and len(rows):
        before = fitted.embeddings[rows]
        apart = np.abs(embeddings[len(tested) :].numpy() - before).max(axis=1)
        if (wrong := known[1][~(apart <= 10 * close * np.abs(before).max())]).size:
            sentences.append(
                f"{len(wrong)} of {len(rows)} rows that fitted the heads are not what the network "
                f"gives for these samples: {evidence.some(evidence.ids_of(table, wrong))}"
            )
    return sentences


def _from_inputs(
    job: Job, module: MERModule, positions: NDArray[np.int64]
) -> tuple[torch.Tensor, torch.Tensor]:
    """Embeddings and logits of samples by the whole network, on the CPU."""
    kind = next(module.parameters())
    images = torch.from_numpy(job.run.dataset.images(positions)).permute(0, 3, 1, 2)
    later, module.later_blocks = module.later_blocks, None
    try:
        with isolate_rng(), evaluation_mode(module):
            embeddings = module.embed(images.to(kind.device, kind.dtype))
            return embeddings.cpu().float(), module.classifier(embeddings).cpu().float()
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
