"""Panels of a report at W&B over some runs, and the table of their scores."""

import importlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mer.errors import MerError
from mer.metrics import SCORES
from mer.runs.head_columns import REFERENCES, heading, main_head


@dataclass(frozen=True)
class Logged:
    """A run that was logged to W&B.

    Args:
        directory: Run directory.
        known: Content of its `wandb.json`: id, project, name, group, macro_run.
        entity: User or team; None for the account's default.
        dir: Folder of W&B's own files; None for the directories of the runs.
        config: Dotted key -> value of what decides its result.
        metrics: Content of `metrics.json`; empty while there is none.
        choosing: Whether it is a candidate, whose test scores nobody sees yet.
    """

    directory: Path
    known: dict[str, Any]
    entity: str | None
    dir: str | None
    config: dict[str, Any]
    metrics: dict[str, Any]
    choosing: bool


def library() -> Any:
    """The package that knows W&B's reports.

    Raises:
        MerError: If it is not installed.
    """
    try:
        return importlib.import_module("wandb_workspaces.reports.v2")
    except ImportError as error:
        raise MerError(
            "mer wandb report needs the package wandb-workspaces, which is not installed: pip "
            "install 'mer[wandb]'"
        ) from error


def score_table(runs: Sequence[Logged], side: str) -> str:
    """Scores with their 95 % intervals as a Markdown table, a row per run and head."""
    names = {"uf1": "UF1", "uar": "UAR", "accuracy": "accuracy", "weighted_f1": "weighted F1"}
    names["kappa"] = "kappa"
    lines = [f"| run | head | {' | '.join(names.values())} |", "| --- " * (len(names) + 2) + "|"]
    for run in runs:
        for head, parts in _heads(run, side).items():
            scores = parts["pooled"]
            cells = [_cell(scores, name) for name in names]
            run_name = str(run.known["name"]).replace("|", "/")
            lines.append(f"| {run_name} | {heading(head)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cell(scores: dict[str, Any], name: str) -> str:
    if scores.get(name) is None:
        return ""
    bounds = scores.get("intervals", {}).get(name)
    ends = "" if bounds is None else f" [{bounds[0]:.3f}, {bounds[1]:.3f}]"
    return f"{scores[name]:.3f}{ends}"


def _heads(run: Logged, side: str) -> dict[str, Any]:
    scores = run.metrics.get("heads" if side == "test" else "validation", {})
    return {head: parts for head, parts in scores.items() if head not in REFERENCES}


def differing(runs: Sequence[Logged]) -> list[str]:
    """Keys in which the runs differ, of those whose values a plot has an axis for."""
    keys = list(dict.fromkeys(key for run in runs for key in run.config))
    hidden = ("labels.map", "macro.labels", "prepare.", "data.")
    return [
        key
        for key in keys
        if not key.startswith(hidden)
        and len({json.dumps(run.config.get(key), sort_keys=True) for run in runs}) > 1
        and not any(isinstance(run.config.get(key), list | dict) for run in runs)
    ]


def runset(name: str, ids: Sequence[str], home: dict[str, str]) -> Any:
    """The W&B runs with these ids; `home` names user or team and project."""
    expr = importlib.import_module("wandb_workspaces.expr")
    wr = library()

    return wr.Runset(**home, name=name, filters=[expr.Metric("ID").isin(list(ids))])


def line_plot(title: str, x: str, y: Sequence[str], pattern: str | None = None) -> Any:
    """Values of a history, named or by a pattern, against another one."""
    wr = library()
    return wr.LinePlot(title=title, x=x, y=list(y), metric_regex=pattern)


def panels(runs: Sequence[Logged], side: str) -> list[Any]:
    """The panels over the runs, three in a row.

    Args:
        runs: The runs.
        side: test, or val while something is being chosen among them.
    """
    wr = library()
    heads = list(dict.fromkeys(head for run in runs for head in _heads(run, side)))
    first = main_head(heads)
    prefix = f"{side}/{first}"
    classes = list(dict.fromkeys(name for run in runs for name in run.config["labels.classes"]))
    ends = ("_low", "", "_high")
    made: list[Any] = [
        wr.BarPlot(
            title=f"{name} of {heading(first)}: low end of the interval, score, high end",
            metrics=[f"{prefix}/{name}{end}" for end in ends],
        )
        for name in SCORES
    ]
    made += [
        wr.BarPlot(
            title="Weighted F1 and kappa",
            metrics=[f"{prefix}/{name}" for name in ("weighted_f1", "kappa")],
        ),
        wr.BarPlot(
            title="Recall per class", metrics=[f"{prefix}/recall/{name}" for name in classes]
        ),
    ]
    keys = differing(runs)
    if keys:
        columns: list[Any] = [wr.Config(f"settings.{key}") for key in keys]
        columns.append(wr.SummaryMetric(f"{prefix}/uf1"))
        axes = [wr.ParallelCoordinatesPlotColumn(metric=column) for column in columns]
        made.append(wr.ParallelCoordinatesPlot(title="What differs", columns=axes))
    if any(run.metrics.get("validation") for run in runs):
        running = [f"val/{head}/uf1" for head in heads]
        made.append(
            line_plot("UF1 of the validation persons by finished folds", "folds/done", running)
        )
    for name in ("loss", "uf1"):
        sides = [f"curves/{one}/{name}" for one in ("train", "val")]
        made.append(line_plot(f"Mean over the folds: {name}", "curves/epoch", sides))
    every = line_plot("Every fold: training loss", "curves/epoch", [], r"fold_curves/.*/train/loss")
    made.append(every)
    if side == "test":
        made += [_confusion(head) for head in heads]
        made.append(
            wr.MediaBrowser(title="Surest wrong and right samples", media_keys=["examples"])
        )
        made.append(wr.WeavePanelSummaryTable(table_name="tables/predictions"))
    made.append(wr.RunComparer(diff_only="split"))
    for place, panel in enumerate(made):
        panel.layout = wr.Layout(x=8 * (place % 3), y=7 * (place // 3), w=8, h=7)
    return made


def _confusion(head: str) -> Any:
    wr = library()
    columns = ("Actual", "Predicted", "nPredictions")
    return wr.CustomChart(
        query={"summaryTable": {"tableKey": f"confusion/{head}_table"}},
        chart_name="wandb/confusion_matrix/v1",
        chart_fields={name: name for name in columns},
        chart_strings={"title": f"{heading(head)}, pooled over all folds"},
    )
