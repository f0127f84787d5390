"""Sections about what was run: facts, data, curves, cost, settings, environment, audit, command."""

from collections import Counter
from datetime import datetime
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.audit.findings import Check
from mer.audit.verdict import Audit
from mer.report import drawing, html, numbers, repeat
from mer.report.drawing import Drawing
from mer.report.material import Material
from mer.report.scores import figures
from mer.runs import curves
from mer.runs.results import HEADS
from mer.runs.rundir import fold_folder
from mer.training import inner

SELECTIONS = {
    "last": "the last epoch of each fold",
    "validation": "the best epoch on validation persons of the training side",
    "oracle": "the best epoch on the test persons (ORACLE)",
}


def title(material: Material) -> str:
    """A run in one line."""
    get = material.get
    macro = "macro-pretrained" if get("macro.enabled") else "not macro-pretrained"
    where = f"{get('data.name')}, {get('protocol.name')}"
    return f"{get('backbone.name')} on {get('input.name')}: {where}, {macro}"


def facts(material: Material) -> str:
    """What was run."""
    get, manifest = material.get, material.manifest
    samples = ""
    if manifest is not None:
        samples = f": {len(manifest)} samples of {manifest['person'].nunique()} persons"
    data = f"{get('data.name')}{samples}"
    if material.synthetic:
        data += " (synthetic faces, of nobody)"
    classes = ", ".join(material.classes)
    share = get("protocol.validation", 0)
    validation = f"; {100 * share:.0f} % of the training persons validate" if share else ""
    selection = str(get("selection"))
    fixed = selection == "last" and inner.settings(material.cfg) is None
    shown = html.facts(
        {
            "data": data,
            "classes": f"{get('labels.name')}: {classes}",
            "protocol": f"{get('protocol.name')}, {len(material.folds)} folds{validation}",
            "backbone": f"{get('backbone.name')}"
            + (", pretrained weights of timm" if get("backbone.pretrained") else ""),
            "input": f"{get('input.name')}, {get('input.size')} px",
            "macro-pretraining": _macro(material),
            "selection": f"{selection}: {SELECTIONS.get(selection, 'not known to this version')}",
            "chosen inside each fold": _inner(material),
            "training": f"{'' if fixed else 'at most '}{get('model.epochs')} epochs, "
            f"{get('model.optimizer.name')}, "
            f"learning rate {get('model.optimizer.lr')}",
            "heads": _heads(material),
            "seed": get("seed"),
            "run directory": material.run_dir.resolve().name,
            "started": _moment(material.environment[0]) if material.environment else "",
        }
    )
    words = f"<pre>{escape(OmegaConf.to_yaml(material.cfg))}</pre>"
    return shown + html.details("All settings (config.yaml)", words)


def _moment(start: dict[str, Any]) -> str:
    """When a run was started: 2026-11-25 08:24 +00:00."""
    written = str(start.get("started", ""))
    try:
        return datetime.fromisoformat(written).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return written


def _macro(material: Material) -> str:
    if not material.get("macro.enabled"):
        return "none"
    sets = ", ".join(material.get("data.macro") or {})
    return f"on {sets}; blocks taken over: {material.get('model.transfer.blocks')}"


def _inner(material: Material) -> str:
    """What `protocol.inner` has chosen, and in how many folds."""
    node = inner.settings(material.cfg)
    if node is None:
        return "nothing"
    counts: dict[str, Counter[str]] = {name: Counter() for name in node["choose"]}
    for fold in material.done:
        for name, value in material.chosen(fold).items():
            counts[name][_plain(value)] += 1
    said = [
        f"{name} ({', '.join(f'{value} in {n}' for value, n in found.most_common(3))}"
        + (f", {len(found) - 3} others)" if len(found) > 3 else ")")
        for name, found in counts.items()
    ]
    return f"{'; '.join(said)}; by {node['n_splits']} inner splits of the training persons"


def _plain(value: Any) -> str:
    """One choice in a few characters: `C=1.0 gamma=scale kernel=rbf`."""
    return " ".join(f"{k}={v}" for k, v in value.items()) if isinstance(value, dict) else str(value)


def _heads(material: Material) -> str:
    names = [HEADS[head] for head in material.heads] or ["softmax"]
    svm = material.get("callbacks.svm_head")
    if svm is not None and "svm" in (material.heads or ["svm"]):
        setting = (
            f"SVM on embeddings ({svm.get('kernel')}, C={svm.get('C')}, gamma={svm.get('gamma')})"
        )
        if "svm" in (inner.settings(material.cfg) or {}).get("choose", []):
            setting = HEADS["svm"]
        names = [setting, *(name for name in names if name != HEADS["svm"])]
    return ", ".join(names)


def data(material: Material) -> str:
    """Counts of samples and persons, and what was dropped or mended."""
    manifest = material.manifest
    if manifest is None:
        return html.paragraph("The samples are not read yet.", "why")
    classes = material.classes
    counts = pd.crosstab(manifest["dataset"], manifest["label"]).reindex(columns=classes).fillna(0)
    groups = manifest.groupby("dataset")
    rows: list[list[Any]] = [
        [name, *map(int, counts.loc[name]), len(group), group["person"].nunique(), _guessed(group)]
        for name, group in groups
    ]
    if len(rows) > 1:
        total = [*map(int, counts.sum()), len(manifest), manifest["person"].nunique()]
        rows.append(["all", *total, _guessed(manifest)])
    kinds = ["" for _ in groups] + ["total"] * (len(rows) > 1)
    header = ["dataset", *classes, "samples", "persons", "apex guessed"]
    return html.table(header, rows, kinds) + _dropped(material)


def _guessed(group: pd.DataFrame) -> int:
    """Samples whose apex nobody annotated, so that a frame between onset and offset stands in."""
    return int((group["apex_source"] == "midpoint").sum()) if "apex_source" in group else 0


def _dropped(material: Material) -> str:
    dropped = material.dropped
    if dropped.empty:
        return html.paragraph("Nothing was dropped or mended.")
    gone = int((dropped["action"] == "dropped").sum())
    sentence = html.paragraph(f"{gone} dropped, {len(dropped) - gone} mended or remarked upon:")
    rows = [[row["count"], row["action"], row["reason"]] for row in numbers.reasons(dropped)]
    every = html.table(["item", "action", "reason"], dropped.astype(str).to_numpy().tolist())
    return (
        sentence + html.table(["count", "what", "reason"], rows) + html.details("One by one", every)
    )


def learning(material: Material) -> tuple[str, list[Drawing]]:
    """Learning curves of the finished folds."""
    folds = [
        name
        for name in material.done
        if (fold_folder(material.run_dir, name) / "metrics.csv").exists()
    ]
    mean = curves.mean(material.run_dir, folds) if folds else pd.DataFrame()
    if mean.empty:
        return html.paragraph("No finished fold has a history (metrics.csv).", "why"), []
    pictures = drawing.curves(mean, len(folds))
    note = "" if any(key.startswith("val/") for key in mean) else " There was no validation person."
    sentence = (
        f"Mean of {len(folds)} folds; the band is one standard deviation over folds to either "
        f"side.{note}"
    )
    if material.get("selection") == "oracle":
        sentence += " The curves called validation are of the test persons (oracle)."
    return html.paragraph(sentence) + figures(pictures), pictures


def cost(material: Material) -> str:
    """Parameters, latency, time of the training."""
    found = material.cost
    if not found and "seconds" not in material.metrics:
        return html.paragraph("The cost was not measured (no cost.json).", "why")
    latency = ""
    if "latency_ms" in found:
        low, high = found.get("latency_ms_range", ["?", "?"])
        latency = (
            f"{found['latency_ms']} ms [{low}, {high}] a sample, input to logits (median and "
            f"quartiles), on {found.get('device')}, threads: {found.get('threads')}"
        )
    seconds = material.metrics.get("seconds")
    return html.facts(
        {
            "parameters": f"{found['parameters']:,}" if "parameters" in found else "",
            "latency": latency,
            "training": f"{seconds} s for all folds together" if seconds is not None else "",
        }
    )


def environment(material: Material) -> str:
    """Versions and machine of the last start, and how often the run was started."""
    if not material.environment:
        return html.paragraph("There is no environment.json.", "why")
    last = material.environment[-1]
    packages = last.get("packages") or {}
    shown = html.facts(
        {
            "mer": f"{last.get('mer')}, revision {last.get('git') or 'not known'}",
            "Python": last.get("python"),
            "machine": f"{last.get('platform')}, {last.get('cpus')} cores",
            "device": last.get("accelerator"),
            "data hash": last.get("data_hash"),
            "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
            "starts": len(material.environment),
        }
    )
    hashes = {entry.get("data_hash") for entry in material.environment}
    if len(hashes) > 1:
        shown += html.banner(
            "stain", f"The data changed between starts: {', '.join(map(str, hashes))}"
        )
    return shown


def audit(found: Audit) -> str:
    """All checks of `mer audit`."""
    rows = [
        [check.name, html.tag(check.verdict), check.evidence + _meaning(check)]
        for check in found.checks
    ]
    return html.paragraph(found.sentence) + html.table(["check", "verdict", "evidence"], rows)


def _meaning(check: Check) -> str:
    return f" Meaning: {check.meaning}." if check.verdict == "fail" else ""


def command(material: Material) -> str:
    """How to do it again."""
    words = repeat.command(material.run_dir, material.cfg)
    if words is None:
        return html.paragraph(
            "The configuration cannot be composed from the files of this version of mer, and the "
            "words that were typed are not known (no .hydra/overrides.yaml). See config.yaml.",
            "why",
        )
    version = material.environment[-1] if material.environment else {}
    made = f"mer {version.get('mer', '?')}"
    if version.get("git"):
        made += f", revision {version['git']}"
    known = (material.run_dir / ".hydra" / "overrides.yaml").exists()
    origin = "As it was typed, less the run directory" if known else "From its configuration"
    where = Path(str(material.get("paths.cache", "cache")))
    return f'<pre class="command">{html.text(words)}</pre>' + html.paragraph(
        f"{origin}; with {made}. Data are looked for under MER_DATA, and relative folders "
        f"(cache: {where}) from where it is typed.",
        "why",
    )
