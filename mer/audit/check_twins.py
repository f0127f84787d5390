"""Check of pictures: no clip stands on both sides of a fold under different persons."""

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check, some
from mer.protocols import LEAKY
from mer.runs import twins


@check("pictures", "a clip that trains and is tested under another id is recognised")
def check_twins(run: Artefacts, findings: Findings) -> str:
    """No sample has a copy, exact or nearly, that is learnt from where the sample is tested."""
    table = run.signatures
    lacking = set(run.manifest["sample_id"]) - set(table["sample_id"])
    findings.add("{} samples of the manifest have no signature", lacking)
    macro = int((table["role"] == "macro").sum())
    node = run.config.get("macro") or {}
    motion = node.get("motion") or {}
    if node.get("enabled") and motion.get("real") != "none" and not macro:
        findings.gaps.append("no macro sample has a signature")
    sides = [run.sides(fold) for fold in run.folds]
    distinct = [pair for start in run.environment for pair in start.get("distinct", [])]
    split = twins.sort_out(
        table, ((one["test"], one["train"] | one["validation"]) for one in sides), distinct
    )
    by_design = (run.config.get("protocol") or {}).get("name") in LEAKY
    findings.add(
        "{} pairs of samples of different persons have equal or nearly equal pictures, and one is "
        "learnt from where the other is tested",
        () if by_design else map(str, split.leaks),
    )
    harmless = [*split.others, *(split.leaks if by_design else [])]
    for text, pairs in (
        ("of equal or nearly equal pictures that no test depends on", harmless),
        ("that look alike and are different recordings, as data.distinct says", split.accepted),
    ):
        if pairs:
            findings.remarks.append(f"{len(pairs)} pairs {text}: {some(map(str, pairs))}")
    return (
        f"no picture of {len(table) - macro} micro and {macro} macro samples has an equal or "
        f"nearly equal one under another person across the sides of a fold"
        + ("; synthetic motion has none." if motion else ".")
    )
