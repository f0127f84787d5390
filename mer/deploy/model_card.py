"""Model cards: what a model is, who trained it, how far it can be believed, what it is not for."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from mer.metrics import SCORES
from mer.models import ready_weights
from mer.runs import run_files, untested
from mer.runs.calibration import from_plain
from mer.runs.head_columns import heading
from mer.runs.rundir import flatten
from mer.runs.stored_run import Run

#: Dataset -> on what terms its owners give it, as far as is known; the user must check.
LICENCES = {
    "casme2": "CASME II: signed licence agreement, academic use only",
    "samm": "SAMM: signed release agreement, research use",
    "smic": "SMIC: signed agreement with the University of Oulu, research use only",
    "ckplus": "CK+: signed agreement, non-commercial research",
    "oulu_casia": "Oulu-CASIA: signed agreement with the University of Oulu, research use only",
    "mug": "MUG: signed licence, non-commercial research",
}

LIMITS = """\
- It knows the classes above and nothing else: a face that speaks, chews or shows another emotion
  gets one of them too.
- It was judged on frontal faces of a few dozen persons in laboratories, at 100 to 200 frames a
  second, with onset and apex annotated. Other cameras, ages, skin, glasses, head motion, light and
  frame rates were not tested.
- An expression is no feeling. What a person feels, means or hides does not follow from a label."""

USE = """\
**Intended use.** Research on facial micro-expressions: comparing methods, proposing clips that a
trained coder then looks at.

**Misuse.** Decisions about people: lie detection, hiring, school, insurance, policing, borders,
medical diagnosis; watching persons who have not agreed. Emotion recognition at work and in
education is prohibited in the European Union (Regulation 2024/1689, Article 5)."""

#: Parts of the configuration that the card quotes, and keys of these that it leaves out.
SETTINGS = ("input", "prepare", "backbone", "model", "callbacks", "selection", "seed")
LEFT_OUT = ("prepare.workers", "input.cache_gb")


def text(facts: Mapping[str, Any], run_dir: Path | None, fold: str, checks: Iterable[str]) -> str:
    """Write the card, in Markdown, of a run's fold or (without a run) of weights of the package."""
    parts = _shipped(facts) if run_dir is None else _trained(Run(run_dir), fold)
    blocks = [
        f"# {facts['name']}",
        f"**What it is.** {_what(facts)}",
        *parts,
        f"**Calibration.** {_calibration(facts)}",
        "**File.** " + " ".join(checks),
        f"**Limits.**\n\n{LIMITS}",
        USE,
    ]
    return "\n\n".join(blocks) + "\n"


def _what(facts: Mapping[str, Any]) -> str:
    kind, units = facts["input"], facts.get("units")
    of_units = f" and the intensity of {len(units)} action units" if units else ""
    return (
        f"{facts['backbone']['name']} on `{kind['name']}` of {kind['size']} pixels, "
        f"{facts['precision']}. It gives {', '.join(facts['classes'])}{of_units}; heads: "
        f"{', '.join(facts['heads'])}, the first one decides."
    )


def _shipped(facts: Mapping[str, Any]) -> list[str]:
    card = ready_weights.file_of(facts["name"]).with_suffix(".md").read_text()
    return [
        block
        for block in card.strip().split("\n\n")
        if not block.startswith(("# ", "**What it is"))
    ]


def _trained(run: Run, fold: str) -> list[str]:
    manifest = run_files.read_table(run.directory / "manifest.parquet")
    splits = run_files.read_table(run.directory / "splits.parquet")
    side = splits[splits["fold"] == fold].set_index("sample_id")["side"]
    table = manifest.assign(side=manifest["sample_id"].map(side))
    trained, tested = (table[table["side"] == name] for name in ("train", "test"))
    faces = " The faces are synthetic, of nobody." if run.synthetic else ""
    left_out = f" Left out, to be tested: {_persons(tested)}." if len(tested) else ""
    datasets = sorted(manifest["dataset"].unique())
    if run.get("macro.enabled"):
        datasets += sorted(name for name, node in (run.get("data.macro") or {}).items() if node)
    who = f"{_persons(trained)} trained it: {_counts(trained)}."
    return [
        f"**Data.** {who}{faces}{left_out} {_macro(run)}",
        f"**Scores.** {_scores(run, fold)}",
        f"**Licences of the data.** {_licences(datasets, run.synthetic)}",
        f"**Made by** mer {_versions(run)}, `{_command(run)}`, with\n\n{_settings(run)}",
    ]


def _persons(table: pd.DataFrame) -> str:
    return f"{len(table)} samples of {table['person'].nunique()} persons"


def _counts(table: pd.DataFrame) -> str:
    return "; ".join(
        f"{name} {len(part)} ("
        + ", ".join(f"{label} {count}" for label, count in part["label"].value_counts().items())
        + ")"
        for name, part in table.groupby("dataset")
    )


def _macro(run: Run) -> str:
    if not run.get("macro.enabled"):
        weights = run.get("backbone.weights")
        return f"It began with {weights}." if weights else "It was not pretrained."
    names = ", ".join(name for name, node in (run.get("data.macro") or {}).items() if node)
    if not run.get("macro.motion"):
        return f"It was pretrained on macro-expressions of {names}."
    real = run.get("macro.motion.real", "none")
    return "It was pretrained on synthetic motion, in which nobody is" + (
        "." if real == "none" else f", and on {names}."
    )


def _scores(run: Run, fold: str) -> str:
    """Scores of the protocol, by persons whom the networks that gave them had not seen."""
    like = run.metrics.get("like")
    if untested.tests_nobody(run.config):
        if like is None:
            return "None: it trained on everybody, and no run under a protocol stands for it."
        heads, protocol = like["heads"], f"{like['protocol']}, {like['folds']} folds"
        whose = (
            "of other networks, one per fold, with the same settings; this one trained on everybody"
        )
    elif not run.complete:
        return "None yet: folds are missing."
    else:
        heads = {head: parts["pooled"] for head, parts in run.all_scores.items()}
        protocol = f"{run.get('protocol.name')}, {len(run.folds)} folds"
        whose = f"pooled over all folds; this is the network of fold {fold} alone"
    rows = ["| head | UF1 | UAR | accuracy |", "| --- | --- | --- | --- |"]
    for head, values in heads.items():
        cells = []
        for name in SCORES:
            low, high = values["intervals"][name]
            cells.append(f"{values[name]:.3f} [{low:.2f}, {high:.2f}]")
        rows.append(f"| {heading(head)} | {' | '.join(cells)} |")
    some = next(iter(heads.values()))
    warned = [*((like or {}).get("warnings") or []), *run.warnings]
    return "\n\n".join(
        [
            f"Under {protocol}, on {some['samples']} samples of {some['persons']} persons, with "
            f"95 % intervals over persons; {whose}.",
            "\n".join(rows),
            *(f"Not to be reported: {sentence}." for sentence in warned),
        ]
    )


def _licences(datasets: Sequence[str], synthetic: bool) -> str:
    if synthetic:
        return "None: generated in the layout of real datasets."
    known = [f"- {LICENCES.get(name, f'{name}: see its owners')}." for name in datasets]
    return (
        "Whoever trained the model has signed for these; whether it may be passed on, and to whom, "
        "is to be checked with their owners.\n\n" + "\n".join(known)
    )


def _calibration(facts: Mapping[str, Any]) -> str:
    if not (found := facts.get("calibration")):
        return "None: scores are no probabilities of being right."
    said = []
    for head, one in found.items():
        before, after = one.get("error_before"), one.get("error_after")
        measured = (
            "" if before is None else f"; calibration error {before:.3f} before, {after:.3f} after"
        )
        by = f"by temperature {one['temperature']:.3g}, fitted on {from_plain(one).words}"
        said.append(f"{head} {by}{measured}")
    return "; ".join(said) + "."


def _versions(run: Run) -> str:
    start = run.environment[-1] if run.environment else {}
    packages = start.get("packages") or {}
    names = ("torch", "timm", "scikit-learn", "mediapipe", "opencv-python-headless")
    found = ", ".join(f"{name} {packages[name]}" for name in names if packages.get(name))
    return f"{start.get('mer', '')} ({found})"


def _settings(run: Run) -> str:
    """The settings that decide, one key a line."""
    flat = flatten({key: run.config[key] for key in SETTINGS if key in run.config})
    lines = [f"{key}: {value}" for key, value in flat.items() if key not in LEFT_OUT]
    return "\n".join(["```yaml", *lines, "```"])


def _command(run: Run) -> str:
    if like := run.get("protocol.like"):
        return f"mer train protocol=all protocol.like={Path(like).name}"
    return "mer train"
