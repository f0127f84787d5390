"""Checks of a configuration across its groups, before anything is computed."""

from mer.config.settings import Settings
from mer.data import inputs
from mer.errors import raise_all
from mer.prepare import flow
from mer.training import heads, inner


def check(cfg: Settings) -> None:
    """Find the contradictions in a configuration.

    Raises:
        MerError: With all of them; each names the key, its value and the mend.
    """
    problems = []
    kind = inputs.make(cfg.input).kind
    flow.check(cfg.prepare.flow)
    if cfg.selection == "validation" and not cfg.protocol.validation:
        problems.append(
            "selection=validation needs validation persons; set protocol.validation to a share "
            "such as 0.2"
        )
    if not cfg.data.micro:
        problems.append(f"data={cfg.data.name} names no micro dataset under data.micro")
    reads_arrays = any(
        str((source or {}).get("root", "")).endswith((".npz", ".npy"))
        for source in cfg.data.micro.values()
    )
    if "flow" in kind.needs and cfg.prepare.flow.method is None and not reads_arrays:
        problems.append(
            f"input={cfg.input.name} needs flow, but prepare.flow.method is null; set dis, "
            "farneback or tvl1"
        )
    if cfg.macro.enabled and not cfg.data.macro:
        problems.append(
            f"macro.enabled is true, but data={cfg.data.name} names no macro dataset; add one "
            "under data.macro, or set macro.enabled=false"
        )
    if cfg.macro.enabled and cfg.model.transfer.blocks is None:
        problems.append(
            "macro.enabled is true, but model.transfer.blocks is null; set mobilenetv2, all or "
            "patterns, or macro.enabled=false"
        )
    problems += heads.problems(cfg.callbacks, cfg.labels["classes"]) or inner.problems(cfg)
    raise_all("The configuration contradicts itself:", problems)
