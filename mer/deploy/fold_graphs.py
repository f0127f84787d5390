"""Graphs of trained models: a fold of a run with its heads, or weights of the package."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from mer.callbacks.head import EMBEDDING, INPUT, source_name
from mer.deploy import trained_models
from mer.deploy.facts import Facts
from mer.deploy.graph import Deployed, ZeroShot
from mer.deploy.networks import FoldNetwork, ZeroShotNetwork
from mer.errors import MerError, raise_all
from mer.models import insertion
from mer.models.modules import MERModule
from mer.models.motion_module import MotionPretrainModule
from mer.protocols import EVERYBODY
from mer.runs.head_columns import SOFTMAX, ZERO_SHOT
from mer.training.heads import heads_of, make_callbacks

#: Largest difference between the scores of a file and those of the model it was written from.
TOLERANCE = 1e-4


def load(
    run_dir: Path, fold: str, trust: Iterable[str] = (), heads: Sequence[str] | None = None
) -> Deployed:
    """Load the model of a finished fold with its heads and the thresholds that it chose.

    Raises:
        MerError: If the run names code that is neither listed nor trusted, or a head cannot be
            part of a file.
    """
    mean, known = trained_models.of_run(run_dir, fold, trust)
    network = next(one for one in mean.networks if isinstance(one, FoldNetwork))
    module = network.module
    channels, side = module.hparams["in_chans"], module.hparams["image_size"]
    widths = {EMBEDDING: module.embedding_width, INPUT: channels * side**2}
    pretrained = [one.judge for one in mean.networks if isinstance(one, ZeroShotNetwork)]
    last = [SOFTMAX] + [ZERO_SHOT] * len(pretrained)
    graphs, sources = _graphs(network, heads, widths, last)
    judge = next(iter(pretrained), None) if heads is None or ZERO_SHOT in heads else None
    known = replace(
        known,
        name=run_dir.resolve().name + ("" if fold == EVERYBODY else f", fold {fold}"),
        heads=(*graphs, SOFTMAX) if judge is None else (*graphs, *last),
        units=() if judge is None else judge.units,
    )
    zero_shot = None if judge is None else ZeroShot(judge)
    facts = _facts(module, known, zero_shot)
    return Deployed(module, graphs, known.offsets, facts, sources, judge=zero_shot)


def shipped(name: str) -> Deployed:
    """Load weights that come with the package; they give classes and action units by themselves."""
    mean, facts = trained_models.shipped(name)
    network = mean.networks[0]
    assert isinstance(network, ZeroShotNetwork)
    module = network.judge.module
    assert isinstance(module, MotionPretrainModule)
    return Deployed(module, facts=_facts(module, facts), softmax=ZERO_SHOT, units=module.units)


def _facts(module: MERModule, facts: Facts, pretrained: ZeroShot | None = None) -> dict[str, Any]:
    """What a file says of its model: the facts, the backbone, and blocks that stay float."""
    backbones = [module.backbone] if pretrained is None else [module.backbone, pretrained.backbone]
    blocks = [block for one in backbones for block in insertion.transformer_blocks(one)]
    more = {
        "backbone": dict(module.hparams["backbone"]),
        "precision": "float32",
        "float_blocks": list(dict.fromkeys(blocks)),
    }
    return {**facts.as_dict(), **more}


def _graphs(
    network: FoldNetwork,
    wanted: Sequence[str] | None,
    widths: Mapping[str, int],
    last: Sequence[str],
) -> tuple[dict[str, nn.Module], dict[str, list[str]]]:
    """Give the heads of a fold, each as a module from its sources to scores.

    Returns:
        Name -> module; name -> sources.
    """
    made = {head.name: head for head in heads_of(make_callbacks(network.settings.callbacks))}
    names = list(made) if wanted is None else [name for name in made if name in wanted]
    unknown = sorted({*(wanted or ())} - {*made, *last})
    there = ", ".join([*made, *last])
    raise_all("The run has other heads:", (f"{name}: name some of {there}" for name in unknown))
    fitted = {head.name: head for head in network.heads}
    graphs, sources, problems, elsewhere = {}, {}, [], []
    for name in names:
        head = fitted.get(name, made[name])
        sources[name] = [source_name(source) for source in head.sources]
        if unknown := [source for source in sources[name] if source not in widths]:
            elsewhere.append(f"{name} reads {', '.join(unknown)}")
            continue
        rows = np.random.default_rng(0).standard_normal(
            (4, sum(widths[source] for source in sources[name]))
        )
        graph = head.export() if name in fitted else None
        if graph is None:
            problems.append(f"{name} ({type(head).__name__})")
            continue
        with torch.no_grad():
            shown = graph(torch.from_numpy(rows)).numpy()
        if not np.allclose(shown, head.scores(rows), rtol=0, atol=TOLERANCE):
            raise MerError(
                f"The module that `export` of the head {name} gives has other scores than the "
                f"head's own `scores`. Mend {type(head).__name__}, or leave the head out."
            )
        graphs[name] = graph
    raise_all(
        f"A file computes {' and '.join(widths)} from the image, and no other source of heads; "
        f"name the heads to export: mer export --heads {','.join([*graphs, SOFTMAX])}",
        elsewhere,
    )
    raise_all(
        "These heads cannot be part of a file. Their classes need `state_dict`, `load_state_dict` "
        "and `export` (see mer.callbacks.head.Head); or name the heads to export: mer export "
        f"--heads {','.join([*graphs, SOFTMAX])}",
        problems,
    )
    return graphs, sources
