"""What was run, as names and sentences: settings, data, cost, environment."""

from collections import Counter
from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pandas as pd

from mer.metrics import QUIET
from mer.runs import members
from mer.runs.head_columns import SOFTMAX, heading
from mer.runs.rundir import fold_folder
from mer.runs.standard_scores import node_of
from mer.runs.stored_run import Run
from mer.spotting.apexes import annotation_error
from mer.training import inner

SELECTIONS = {
    "last": "the last epoch of each fold",
    "validation": "the best epoch on validation persons of the training side",
    "oracle": "the best epoch on the test persons (ORACLE)",
}


def title(run: Run) -> str:
    """A run in one line."""
    get = run.get
    where = f"{get('data.name')}, {get('protocol.name')}"
    if nodes := members.nodes_of(run.config):
        return f"mean of {len(nodes)} members: {where}"
    macro = "macro-pretrained" if get("macro.enabled") else "not macro-pretrained"
    return f"{get('backbone.name')} on {get('input.name')}: {where}, {macro}"


def facts(run: Run) -> dict[str, Any]:
    """What was run: name -> value."""
    get, manifest = run.get, run.manifest
    data = str(get("data.name"))
    if manifest is not None:
        data += f": {len(manifest)} samples of {manifest['person'].nunique()} persons"
    share = get("protocol.validation", 0)
    validation = f"; {100 * share:.0f} % of the training persons validate" if share else ""
    selection = str(get("selection"))
    judged = {
        "data": data + (" (synthetic faces, of nobody)" if run.synthetic else ""),
        **_apexes(run),
        "classes": f"{get('labels.name')}: {', '.join(run.classes)}",
        "protocol": f"{get('protocol.name')}, {len(run.folds)} folds{validation}",
        "selection": f"{selection}: {SELECTIONS.get(selection, 'not known to this version')}",
    }
    nodes = members.nodes_of(run.config)
    made = (
        {"members": ", ".join(f"{node['run']}:{node['head']}" for node in nodes)}
        if nodes
        else _training(run)
    )
    return {
        **judged,
        **made,
        "seed": get("seed"),
        "run directory": run.directory.resolve().name,
        "started": _moment(run.environment[0]) if run.environment else None,
    }


def _apexes(run: Run) -> dict[str, str]:
    """Where apexes come from, if they are not the annotated ones."""
    if run.manifest is None or "annotated_apex" not in run.manifest:
        return {}
    counts = run.manifest["apex_source"].value_counts()
    text = ", ".join(f"{count} {source}" for source, count in counts.items())
    if (error := annotation_error(run.manifest)) is not None:
        text += f"; {error}"
    return {"apexes": text}


def _training(run: Run) -> dict[str, Any]:
    """How the networks and heads of a run were made: name -> value."""
    get = run.get
    fixed = get("selection") == "last" and run.inner is None
    network, insertion = get("macro.network"), get("model.transfer.insertion")
    return {
        "backbone": f"{get('backbone.name')}"
        + (", pretrained weights of timm" if get("backbone.pretrained") else ""),
        "input": f"{get('input.name')}, {get('input.size')} px",
        "macro-pretraining": f"on {_macro_samples(run)}; "
        + (f"network: {network}; " if network else "")
        + f"blocks taken over: {get('model.transfer.blocks')}"
        + (f"; others start: {insertion}" if insertion else "")
        if get("macro.enabled")
        else "none",
        "chosen inside each fold": _inner(run),
        "training": f"{'' if fixed else 'at most '}{get('model.epochs')} epochs, "
        f"{get('model.optimizer._target_') or get('model.optimizer.name')}, "
        f"learning rate {get('model.optimizer.lr')}",
        "heads": ", ".join(_with_settings(run, head) for head in run.heads or [SOFTMAX]),
    }


def _macro_samples(run: Run) -> str:
    """What macro-pretraining was on."""
    if (weights := run.get("macro.weights")) is not None:
        return f"weights of {weights}"
    names = [name for name, node in (run.get("data.macro") or {}).items() if node is not None]
    if run.get("macro.motion") is None:
        return ", ".join(names)
    motion = f"{run.get('macro.motion.samples')} samples of synthetic motion"
    joined = {"none": "", "after": ", then ", "mixed": " mixed with "}
    word = joined[run.get("macro.motion.real")]
    return motion + (word + ", ".join(names) if word else " alone (no person)")


def _moment(start: dict[str, Any]) -> str:
    """When a run was started: 2026-11-25 08:24 +00:00."""
    written = str(start.get("started", ""))
    try:
        return datetime.fromisoformat(written).strftime("%Y-%m-%d %H:%M %Z")
    except ValueError:
        return written


def _inner(run: Run) -> str:
    """What `protocol.inner` has chosen, and in how many folds."""
    node = run.inner
    if node is None:
        return "nothing"
    counts: dict[str, Counter[str]] = {name: Counter() for name in node["choose"]}
    for fold in run.done:
        for name, value in _chosen(run, fold).items():
            counts[name][_settings(value) if isinstance(value, dict) else str(value)] += 1
    choices = [
        f"{name} ({', '.join(f'{value} in {n}' for value, n in values.most_common(3))}"
        + (f", {len(values) - 3} others)" if len(values) > 3 else ")")
        for name, values in counts.items()
    ]
    return f"{'; '.join(choices)}; by {node['n_splits']} inner splits of the training persons"


def _chosen(run: Run, fold: str) -> dict[str, Any]:
    """What `protocol.inner` chose in a fold; empty where it chose nothing."""
    path = fold_folder(run.directory, fold) / inner.FILE
    return inner.read_choices(path) if path.exists() else {}


def _settings(values: Mapping[str, Any]) -> str:
    return " ".join(
        f"{key}={value}" for key, value in values.items() if key not in ("_target_", "name")
    )


def _with_settings(run: Run, head: str) -> str:
    """A head and its settings, unless each fold chose its own."""
    node = node_of(head, run.get("callbacks") or {})
    inside = head in (run.inner or {}).get("choose", [])
    settings = "" if inside or node is None else _settings(node)
    return f"{heading(head)} ({settings})" if settings else heading(head)


def samples(run: Run) -> list[list[Any]]:
    """Rows of a dataset, its samples per class, all samples, persons, samples of guessed apex."""
    assert run.manifest is not None
    groups = [(str(name), group) for name, group in run.manifest.groupby("dataset")]
    if len(groups) > 1:
        groups.append(("all", run.manifest))
    return [
        [
            name,
            *(int((group["label"] == label).sum()) for label in run.classes),
            len(group),
            group["person"].nunique(),
            # Nobody annotated these, so a frame between onset and offset stands in.
            int((group.get("apex_source", pd.Series()) == "midpoint").sum()),
        ]
        for name, group in groups
    ]


def cost(run: Run) -> dict[str, str]:
    """Parameters, latency and time of the training; empty where nothing was measured."""
    measured, facts = run.cost, {}
    if "parameters" in measured:
        facts["parameters"] = f"{measured['parameters']:,}"
    if "latency_ms" in measured:
        low, high = measured.get("latency_ms_range", ["?", "?"])
        facts["latency"] = (
            f"{measured['latency_ms']} ms [{low}, {high}] a sample, input to logits (median and "
            f"quartiles), on {measured.get('device')}, threads: {measured.get('threads')}; "
            + _load(measured)
        )
    if (seconds := run.metrics.get("seconds")) is not None:
        facts["training"] = f"{seconds} s for all folds together"
    return facts


def _load(measured: dict[str, Any]) -> str:
    """Say whether the machine did something else while the cost was measured."""
    others = measured.get("other_cores")
    if others is None:
        return "what else the machine did meanwhile is not known"
    if others < QUIET:
        return "the machine did nothing else"
    return f"measured under load: other processes used {others:.1f} cores, so take it as too high"


def environment(run: Run) -> dict[str, Any]:
    """Versions and machine of the last start, and how often the run was started."""
    last = run.environment[-1]
    packages = last.get("packages") or {}
    return {
        "mer": f"{last.get('mer')}, revision {last.get('git') or 'not known'}",
        "Python": last.get("python"),
        "machine": f"{last.get('platform')}, {last.get('cpus')} cores",
        "device": last.get("accelerator"),
        "data hash": last.get("data_hash"),
        "packages": ", ".join(f"{name} {version}" for name, version in packages.items()),
        "starts": len(run.environment),
    }
