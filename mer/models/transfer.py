"""Carrying blocks from a macro checkpoint into a micro model, strictly and with a report.

Every selected tensor must be in the checkpoint with its shape: a transfer that matches nothing, or
only a part, would train another model than the one asked for. The report says what was loaded.
"""

import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from mer.errors import MerError, raise_all
from mer.files import sha256
from mer.models.blocks import mismatches, outline, resolve_auto, select
from mer.models.checkpoints import read_checkpoint
from mer.models.insertion import transformer_blocks
from mer.models.modules import MERModule

log = logging.getLogger(__name__)

#: What the report says of a checkpoint's network, and of the transformer blocks that join it.
NETWORKS = {"whole": "", "mobilenetv2": " without transformer blocks"}
INSERTIONS = {
    "random": "as initialised",
    "gate": "starts as nothing (gate)",
    "residual": "starts as nothing (residual)",
}


@dataclass(frozen=True)
class TransferReport:
    """What a transfer did; `str()` gives it as text.

    Attributes:
        checkpoint: The file.
        sha256: Its digest, 64 hexadecimal digits.
        backbone: Name of the network that the checkpoint holds.
        network: `mobilenetv2` if it was trained without its transformer blocks, else `whole`.
        blocks: The selection, with what `auto` stands for.
        tensors: Number of tensors loaded, batch-norm statistics included.
        parameters: Number of trainable values among them.
        inserted: Transformer blocks that were not loaded: name -> how it enters the model, one of
            `INSERTIONS`.
        untouched: Tensors left as they were, per group of modules.
        provenance: What the checkpoint says of its making; `persons` lists who trained it.
    """

    checkpoint: Path
    sha256: str
    backbone: str
    network: str
    blocks: str | list[str]
    tensors: int
    parameters: int
    inserted: dict[str, str]
    untouched: dict[str, int]
    provenance: dict[str, Any]

    def __str__(self) -> str:
        """Give the report as lines of text."""
        words = self.blocks if isinstance(self.blocks, str) else ", ".join(self.blocks)
        lines = [
            f"transfer of {words} from {self.checkpoint}",
            f"  checkpoint: {self.backbone}{NETWORKS[self.network]}, sha256 {self.sha256[:12]}, "
            f"trained on {_trained_on(self.provenance)}",
            f"  loaded: {self.tensors} tensors with {self.parameters:,} parameters",
            *(f"  inserted: {name}, {INSERTIONS[way]}" for name, way in self.inserted.items()),
            f"  left as initialised: {sum(self.untouched.values())} tensors",
            *(f"    {name}: {count}" for name, count in self.untouched.items()),
        ]
        return "\n".join(lines)


def _trained_on(provenance: Mapping[str, Any]) -> str:
    persons = f"{len(provenance['persons'])} persons"
    if not provenance.get("synthetic_motion"):
        return persons
    return "synthetic motion" + (
        f" and {persons}" if provenance["persons"] else ", in which nobody is"
    )


def load_blocks(
    model: MERModule,
    checkpoint: Path,
    blocks: str | Sequence[str] = "auto",
    announce: bool = True,
) -> TransferReport:
    """Load selected backbone tensors of a checkpoint into a model, bit for bit.

    The classifier is never loaded: macro and micro classes differ. The normalisation constants of
    the input are not either: they belong to the data at hand.

    Args:
        model: Model to fill; `model.transfer` records what came in.
        checkpoint: File of `mer.models.modules.MacroPretrainModule`.
        blocks: Selection of `mer.models.blocks.select`.
        announce: Whether to log the report; a run announces the first of its equal transfers.

    Returns:
        The report.

    Raises:
        MerError: If the file is no such checkpoint, is of another backbone or input, or the
            selection is empty. The model is then as it was.
    """
    checkpoint = Path(checkpoint)
    content = read_checkpoint(checkpoint)
    words = resolve_auto(model.backbone, blocks)
    names = select(model.backbone, words)
    raise_all(
        "model.transfer.blocks selects nothing:",
        [] if names else ["set auto, all, or patterns; or macro.enabled=false"],
    )
    settings = content["hyper_parameters"]
    theirs, ours = settings["backbone"]["name"], model.hparams["backbone"]["name"]
    if settings["in_chans"] != model.hparams["in_chans"]:
        raise MerError(
            f"{checkpoint} was trained on inputs of {settings['in_chans']} channels, this model "
            f"takes {model.hparams['in_chans']}. Train the macro weights with the same `input`."
        )
    network = "mobilenetv2" if settings.get("transformers") == "bypass" else "whole"
    inserted = transformer_blocks(model.backbone, words)
    wanted = [name for name in transformer_blocks(model.backbone) if name not in inserted]
    if wanted and network == "mobilenetv2":
        raise MerError(
            f"{checkpoint} was trained with macro.network=mobilenetv2 and has no transformer "
            f"blocks; model.transfer.blocks asks for {', '.join(wanted)}. Set macro.network=whole."
        )
    found = {
        name.removeprefix("backbone."): tensor
        for name, tensor in content["state_dict"].items()
        if name.startswith("backbone.")
    }
    own = model.backbone.state_dict()
    raise_all(
        f"{checkpoint} (backbone {theirs}) does not fit this model (backbone {ours}). Set "
        f"backbone={theirs}, or use macro weights of {ours}:",
        mismatches({name: own[name] for name in names}, found),
    )
    with torch.no_grad():
        for name in names:
            own[name].copy_(found[name])
    chosen = {f"backbone.{name}" for name in names}
    report = TransferReport(
        checkpoint=checkpoint,
        sha256=sha256(checkpoint),
        backbone=theirs,
        network=network,
        blocks=words[0] if isinstance(blocks, str) else words,
        tensors=len(names),
        parameters=sum(p.numel() for n, p in model.named_parameters() if n in chosen),
        inserted={
            name: model.hparams["transformers"] if name in model.changed_blocks else "random"
            for name in inserted
        },
        untouched=outline(model, _network(model) - chosen),
        provenance=content["mer"],
    )
    model.transfer = {
        "checkpoint": checkpoint.name,
        "sha256": report.sha256,
        "blocks": report.blocks,
        "persons": list(content["mer"]["persons"]),
    }
    if content["mer"].get("synthetic_motion"):
        model.transfer["synthetic_motion"] = True
    log.log(logging.INFO if announce else logging.DEBUG, "%s", report)
    return report


def refuse_known_persons(provenance: Mapping[str, Any], persons: Collection[str]) -> None:
    """Refuse to test a model on a person who trained it, or the weights it started from.

    Args:
        provenance: `persons`, and maybe `transfer.persons`, as checkpoints hold them.
        persons: Whom the model shall be tested on.

    Raises:
        MerError: If one of them is known to the model, or the provenance names no person.
    """
    if "persons" not in provenance:
        raise MerError("This model does not say which persons trained it, so no test is clean.")
    transfer = provenance.get("transfer") or {}
    sides = (
        ("trained this model", provenance["persons"]),
        ("trained the weights it started from", transfer.get("persons", [])),
    )
    problems = []
    for what, known in sides:
        both = sorted(set(known) & set(persons))
        if both:
            rest = f" and {len(both) - 5} more" if len(both) > 5 else ""
            problems.append(
                f"{len(both)} of {len(persons)} test persons {what}: {', '.join(both[:5])}{rest}"
            )
    raise_all("The score would not be that of unseen persons. Test on others:", problems)


def _network(model: MERModule) -> set[str]:
    """Tensors of the backbone and the classifier."""
    return {n for n in model.state_dict() if n.startswith(("backbone.", "classifier."))}
