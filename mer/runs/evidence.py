"""Evidence of a fold: whose samples really took part in what.

It is collected from the batches that reached the optimiser, the arrays that heads were fitted on,
the constants in the network and the predicted batches. It is compared with the fold's sides when
the fold ends, and again by `mer audit`. `folds/<name>/evidence.json` holds sample ids:

trained       samples of the training batches
validated     samples of the validation batches
shown         samples that a callback showed to the network while it was trained
normalised    samples whose statistics normalise the inputs, or MACRO
features      cache that activations of frozen blocks came from, or null
heads         head -> samples of the rows that it was fitted on
weights       weights that a head takes embeddings of -> persons who trained them
sources       head -> source beside the embedding -> samples whose rows of it fitted the head
tested        predicted sample -> probabilities of the classes, as the network gave them
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import torch

from mer.data.dataset import UnifiedDataset

FILE = "evidence.json"

#: In place of sample ids where the constants of the inputs are those of macro-pretraining.
MACRO = "macro"

#: In place of the sample id of a row whose batch did not name it.
NAMELESS = "(no sample id)"


def ids_of(table: pd.DataFrame, positions: Iterable[int]) -> list[str]:
    """Sample ids of positions in a table; of -1, for a row that no batch named, `NAMELESS`."""
    ids = [*table["sample_id"], NAMELESS]
    return [ids[position] for position in positions]


def tested(
    outputs: Iterable[Mapping[str, torch.Tensor]], dataset: UnifiedDataset
) -> dict[str, list[float]]:
    """Sample id -> probabilities of the classes, of predicted batches (`index`, `logits`)."""
    ids = dataset.table["sample_id"].to_numpy()
    given: dict[str, list[float]] = {}
    for batch in outputs:
        probabilities = torch.softmax(batch["logits"].detach().cpu().double(), dim=1).tolist()
        given |= zip(ids[batch["index"].cpu().numpy()].tolist(), probabilities, strict=True)
    return given


def problems(
    evidence: Mapping[str, Any],
    sides: Mapping[str, Iterable[str]],
    oracle: bool,
    predictions: pd.DataFrame,
    classes: Sequence[str],
) -> list[str]:
    """Contradictions between a fold's evidence, sides and predictions, in sentences."""
    ids = {side: set(samples) for side, samples in sides.items()}
    train = ids["train"]
    validated = ids["test"] if oracle else ids["validation"]
    shown = set(evidence["shown"]) & ids["test"]
    sentences = [
        *_others(evidence["trained"], train, ids, "trained the network"),
        *_others(evidence["validated"], validated, ids, "judged the epochs of the network"),
        *_others(shown, validated, ids, "were shown to the network by a callback while it trained"),
        *_others(evidence["tested"], ids["test"], ids, "were tested", complete=True),
    ]
    for head, samples in evidence["heads"].items():
        sentences += _others(samples, train, ids, f"fitted the head {head}", complete=True)
        twice = [sample for sample, rows in Counter(samples).items() if rows > 1]
        if twice:
            sentences.append(
                f"{len(twice)} samples fitted the head {head} more than once: {some(twice)}"
            )
    for head, sources in evidence.get("sources", {}).items():
        for source, rows in sources.items():
            what = f"fitted the head {head} by rows of {source}"
            sentences += _others(rows, train, ids, what, complete=True)
    if not evidence["trained"]:
        sentences.append("no training batch says whose samples it holds")
    if not evidence["normalised"]:
        sentences.append("the inputs are not normalised by the statistics of the training side")
    if evidence["normalised"] != [MACRO]:
        sentences += _others(evidence["normalised"], train, ids, "normalised the inputs")
    columns = [f"softmax_{name}" for name in classes] if len(predictions) else []
    rows = predictions[columns].to_numpy(np.float64)
    other = [
        sample
        for sample, row in zip(predictions["sample_id"], rows, strict=True)
        if not np.allclose(evidence["tested"].get(sample, row), row, rtol=0, atol=1e-9)
    ]
    if other:
        sentences.append(
            f"{len(other)} rows of the predictions are not what the network gave for these "
            f"samples: {some(other)}"
        )
    return sentences


def _others(
    samples: Iterable[str],
    expected: set[str],
    sides: Mapping[str, set[str]],
    what: str,
    complete: bool = False,
) -> list[str]:
    """Sentences on samples that are not expected, by side, and on those that are missing."""
    samples = set(samples)
    named = {f"the {side}": members for side, members in sides.items()}
    named["no"] = samples - set().union(*sides.values())
    sentences = [
        f"{len(wrong)} samples of {side} side {what}: {some(wrong)}"
        for side, members in named.items()
        if (wrong := (samples - expected) & members)
    ]
    if complete and (missing := expected - samples):
        sentences.append(f"nothing shows that {len(missing)} samples {what}: {some(missing)}")
    return sentences


def some(samples: Iterable[str]) -> str:
    """Name the first three of some samples."""
    names = sorted(samples)
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
