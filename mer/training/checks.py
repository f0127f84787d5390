"""Checks of a configuration across its groups, before anything is computed."""

from omegaconf import DictConfig

from mer.data.inputs import kind_of
from mer.errors import raise_all
from mer.training import inner, workers

SELECTIONS = ("last", "validation", "oracle")


def check(cfg: DictConfig) -> None:
    """Find the contradictions in a configuration.

    Raises:
        MerError: With all of them; each names the key, its value and the mend.
    """
    problems = []
    kind = kind_of(dict(cfg.input))
    if cfg.selection not in SELECTIONS:
        problems.append(f"selection is `{cfg.selection}`; set one of {', '.join(SELECTIONS)}")
    if cfg.selection == "validation" and not cfg.protocol.validation:
        problems.append(
            "selection=validation needs validation persons; set protocol.validation to a share "
            "such as 0.2"
        )
    if not cfg.data.get("micro"):
        problems.append(f"data={cfg.data.name} names no micro dataset under data.micro")
    for key, node in (("model", cfg.model), ("macro", cfg.macro)):
        for name in ("epochs", "batch_size"):
            if node[name] < 1:
                problems.append(f"{key}.{name} is {node[name]}; set 1 or more")
        if node.batch_size == 1:
            problems.append(f"{key}.batch_size is 1; batch normalisation needs 2 or more")
        if node.optimizer.lr <= 0:
            problems.append(f"{key}.optimizer.lr is {node.optimizer.lr}; set a positive rate")
    reads_arrays = any(
        str(source.get("root", "")).endswith((".npz", ".npy"))
        for source in (cfg.data.get("micro") or {}).values()
    )
    if "flow" in kind.needs and cfg.prepare.flow.method is None and not reads_arrays:
        problems.append(
            f"input={cfg.input.name} needs flow, but prepare.flow.method is null; set dis, "
            "farneback or tvl1"
        )
    if cfg.macro.enabled and not cfg.data.get("macro"):
        problems.append(
            f"macro.enabled is true, but data={cfg.data.name} names no macro dataset; add one "
            "under data.macro, or set macro.enabled=false"
        )
    if cfg.macro.enabled and cfg.model.transfer.blocks is None:
        problems.append(
            "macro.enabled is true, but model.transfer.blocks is null; set mobilenetv2, all or "
            "patterns, or macro.enabled=false"
        )
    draws = cfg.model.augment_draws
    if draws is not None and not (isinstance(draws, int) and draws >= 1):
        problems.append(f"model.augment_draws is {draws}; set null, or 1 or more")
    if cfg.model.transfer.input_stats not in ("fold", "macro"):
        problems.append(
            f"model.transfer.input_stats is `{cfg.model.transfer.input_stats}`; set fold or macro"
        )
    problems += inner.problems(cfg)
    problems += workers.problems(cfg)
    raise_all("The configuration contradicts itself:", problems)
