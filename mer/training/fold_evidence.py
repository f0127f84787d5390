"""Evidence of a fold, collected where it happens: batches, arrays of heads, constants, inputs.

What `mer.runs.evidence` can compare again from the files is written; what needs the network or the
arrays is compared here alone. A fold that contradicts its sides is refused.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from mer.callbacks.svm_head import SVMHead
from mer.config import trust
from mer.data.feature_cache import FeatureCache
from mer.errors import raise_all
from mer.files import write_json
from mer.models.loss import CrossEntropy
from mer.models.modules import MERModule
from mer.models.seen_samples import digests
from mer.models.transfer import refuse_known_persons
from mer.protocols import LEAKY
from mer.runs import evidence
from mer.runs.head_columns import with_offsets
from mer.training import head_sources, inner, predicted_again
from mer.training.fold_network import macro_constants
from mer.training.heads import heads_of, make_callbacks
from mer.training.network_cache import Outputs

if TYPE_CHECKING:
    from mer.data.datamodule import MERDataModule
    from mer.training.fold_network import Job

Constants = tuple[Sequence[float], Sequence[float]]


def of_training(job: Job, module: MERModule, data: MERDataModule) -> dict[str, Any]:
    """Collect whose samples a trained network has learnt from; its provenance names their persons.

    Returns:
        `trained`, `validated`, `shown`, `normalised`, `features`; see `mer.runs.evidence`.
    """
    run, seen = job.run, module.seen
    seen.watch(False)
    trained, table = seen.positions("train"), run.dataset.table
    persons = set(table["person"].iloc[trained[trained >= 0]])
    module.provenance["persons"] = sorted({*module.provenance["persons"], *persons})
    if run.settings.protocol.name not in LEAKY:
        refuse_known_persons(module.provenance, set(table["person"].iloc[job.sides.test]))
    macro = macro_constants(run)
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
    """Write the evidence of a fold, unless it contradicts the fold's sides."""
    run, fold = job.run, job.fold
    table, classes = run.dataset.table, run.corpus.classes
    fitted = {head.name: head.fitted_on for head in job.heads}
    content = {
        **used,
        "heads": {
            name: evidence.ids_of(table, arrays.positions) if arrays else []
            for name, arrays in fitted.items()
        },
        "weights": head_sources.persons_of(job.heads),
        "sources": {
            head.name: rows
            for head in job.heads
            if (rows := head_sources.whose(head, run.settings, run.dataset))
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
            *(predicted_again.problems(job, module, outputs["test"]) if module else []),
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
    """Class weights, of the loss too, that are neither given nor follow from the training side."""
    weighting = job.run.settings.model.class_weights
    expected: Any = weighting
    if weighting == "balanced":
        labels = job.run.dataset.labels[job.sides.train]
        counts = np.bincount(labels, minlength=len(module.classes))
        expected = np.where(counts > 0, len(labels) / (len(counts) * np.maximum(counts, 1)), 0.0)
    found = [module.hparams["class_weights"]]
    if isinstance(module.loss, CrossEntropy):
        found.append(None if module.loss.weight is None else module.loss.weight.tolist())
    for weights in found:
        if (weights is None) != (expected is None) or not (
            expected is None or np.allclose(weights, expected)
        ):
            return ["the class weights are not those of the training side"]
    return []


def _wrong_choices(job: Job) -> list[str]:
    """Choices that `inner.json` does not hold, and SVMs with other settings than these."""
    settings, sentences = job.run.settings, []
    made: dict[str, Any] = {}
    if settings.protocol.inner.n_splits is not None:
        made = inner.read_choices(job.folder / inner.FILE)
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
    for head in ("softmax", *(head.name for head in job.heads)) if len(test) else ():
        scores = test[[f"{head}_{name}" for name in classes]].to_numpy(np.float64)
        offsets = job.chosen.get("thresholds", {}).get(head)
        if offsets is not None:
            scores = with_offsets(head, scores, offsets)
        chosen = scores[np.arange(len(test)), [classes.index(name) for name in test[head]]]
        if wrong := test.loc[~(chosen >= scores.max(axis=1) - 1e-9), "sample_id"].tolist():
            sentences.append(
                f"{len(wrong)} predicted classes of {head} do not follow from its scores"
                + (" and the thresholds chosen inside the fold" if offsets else "")
                + f": {evidence.some(wrong)}"
            )
    return sentences
