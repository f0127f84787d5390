"""The page of a search: one HTML file with tables and Optuna's figures, which needs no network."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

import optuna

from mer.errors import MerError
from mer.files import write_text
from mer.search import figures, summary, trials

STYLE = """
* { box-sizing: border-box }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; margin: 0 auto; max-width: 1100px;
  padding: 1rem }
h1 { font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere }
h2 { font-size: 1.2rem; margin: 2.2rem 0 .6rem; border-bottom: 1px solid #ddd }
.wide { overflow-x: auto }
table { border-collapse: collapse; font-size: .85rem; font-variant-numeric: tabular-nums }
th, td { padding: .25rem .6rem; text-align: left; vertical-align: top;
  border-bottom: 1px solid #e5e5e5 }
th { background: #f6f6f6 }
table.facts th { background: none; font-weight: 600; white-space: nowrap }
table.facts td { overflow-wrap: anywhere }
.trials td { white-space: nowrap }
.trials td.reason { white-space: normal; min-width: 14rem }
.trials .number { text-align: right }
.trials tr.best td { background: #fff8dc }
.state { border-radius: 1em; padding: .05rem .6rem; white-space: nowrap; font-size: .85rem }
.complete { background: #d5efd8 } .pruned { background: #e6e3f5 } .failed { background: #f9d6d2 }
.running { background: #d6e8fa } .queued { background: #eee }
.caution { background: #fff4d6; border-left: 4px solid #d69e00; padding: .6rem .9rem }
pre { background: #f6f6f6; padding: .7rem; white-space: pre-wrap; overflow-wrap: anywhere;
  user-select: all; font-size: .85rem }
.why { color: #666 }
@media (max-width: 34rem) {
  table.facts th { white-space: normal; overflow-wrap: anywhere; min-width: 6rem }
}
@media print {
  body { max-width: none; padding: 0; font-size: 10pt }
  .wide { overflow: visible } .modebar { display: none } h2 { break-after: avoid }
  .figure { break-inside: avoid } .state, .caution, tr.best td { print-color-adjust: exact }
  .trials, .trials .state { font-size: 6pt } .trials .state { padding: 0 .4em }
  .trials th, .trials td { padding: .1rem .25rem }
  .trials th, .trials td:not(.number) { white-space: normal; overflow-wrap: anywhere }
  .trials td.reason { min-width: 0 }
}
"""

#: Of a figure; Plotly's others are of little use here, and one sends the figure to its cloud.
BUTTONS = ("toImage", "zoom2d", "pan2d", "resetScale2d")

#: Figures are as wide as the window, and wide ones scroll; for paper all are made to fit.
PRINT = """
const fit = width => document.querySelectorAll('.figure').forEach(box => {
  const wide = width && Math.max(width, parseInt(box.style.minWidth));
  box.style.zoom = width ? width / wide : 1;
  Plotly.relayout(box.querySelector('.js-plotly-plot'), {width: wide, autosize: !width});
});
addEventListener('beforeprint', () => fit(680));
addEventListener('afterprint', () => fit(null));
"""


def write(
    study: optuna.Study, sweep_dir: Path, fixed: Sequence[str], settings: Sequence[str] = ()
) -> Path:
    """Write `search.html`, atomically.

    Args:
        study: The study of the search, with the sampler and the pruner in use.
        sweep_dir: Directory of the search.
        fixed: Overrides that all trials share, as typed.
        settings: Overrides for what the search config sets besides the parameters.

    Raises:
        MerError: If Plotly is not installed.
    """
    try:
        from plotly.offline import get_plotlyjs
    except ImportError as error:
        raise MerError(
            "The page of a search needs plotly: pip install 'mer[search]'  (or pip install plotly)"
        ) from error
    study = trials.copy(study)
    parts = [
        f"<h1>Search {escape(study.study_name)}</h1>",
        f'<p class="caution">{escape(trials.caution(study))}</p>',
        "<h2>What was searched</h2>",
        _facts(_searched(study, sweep_dir, fixed)),
        "<h2>Trials so far</h2>",
        f"<p>{_counts(study)}</p>",
        *_best(study, sweep_dir, fixed, settings),
        *_figures(study),
        "<h2>All trials</h2>",
        _table(study, sweep_dir, everything=True),
    ]
    text = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        # The browser itself then refuses every request that the page might make.
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "script-src 'unsafe-inline' 'unsafe-eval'; style-src 'unsafe-inline'; img-src data: blob:; "
        'worker-src blob:">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>Search {escape(study.study_name)}</title>\n<style>{STYLE}</style>\n"
        f"<script>{get_plotlyjs()}</script>\n<script>{PRINT}</script>\n</head>\n<body>\n"
        + "\n".join(parts)
        + "\n</body>\n</html>\n"
    )
    path = sweep_dir / "search.html"
    write_text(text, path)
    return path


def _searched(study: optuna.Study, sweep_dir: Path, fixed: Sequence[str]) -> dict[str, str]:
    sampler = type(study.sampler).__name__.removesuffix("Sampler")
    pruner = type(study.pruner).__name__.removesuffix("Pruner")
    settings = trials.noted(study).get("settings", {})
    typed = dict(word.split("=", 1) for word in fixed if "=" in word)
    data = settings.get("data.name") or typed.get("data", "as conf/train.yaml sets it")
    pairs = zip(trials.objectives(study), trials.directions(study), strict=True)
    facts = {
        "objective": ", ".join(f"{name}: {direction}" for name, direction in pairs),
        "parameters": ", ".join(trials.parameters(trials.shown(study))) or "none yet",
        "sampler": "every point of the grid" if "grid" in study.user_attrs else sampler,
        "pruner": "none" if pruner == "Nop" else pruner,
        "data": str(data),
        "command line": " ".join(fixed),
        "directory": str(sweep_dir),
    }
    return {name: value for name, value in facts.items() if value}


def _facts(facts: dict[str, str]) -> str:
    rows = (f"<tr><th>{escape(k)}</th><td>{escape(v)}</td></tr>" for k, v in facts.items())
    return f'<table class="facts">{"".join(rows)}</table>'


def _state(name: str, text: str = "") -> str:
    return f'<span class="state {name}">{text}{name}</span>'


def _counts(study: optuna.Study) -> str:
    found = [trials.STATES[trial.state] for trial in trials.shown(study)]
    return " ".join(_state(name, f"{found.count(name)} ") for name in trials.STATES.values())


def _best(
    study: optuna.Study, sweep_dir: Path, fixed: Sequence[str], settings: Sequence[str]
) -> list[str]:
    found, several = trials.best(study), len(study.directions) > 1
    parts = [f"<h2>{'Pareto front' if several else 'Best trial'}</h2>"]
    if not found:
        return [*parts, '<p class="why">No trial is complete yet.</p>']
    if several:
        parts.append("<p>No other trial is better in all objectives.</p>")
        parts.append(_table(study, sweep_dir, everything=False))
    else:
        facts = {"trial": str(found[0].number)}
        facts[trials.objectives(study)[0]] = summary.brief(found[0].values[0])
        facts |= {key: summary.brief(value) for key, value in found[0].params.items()}
        parts.append(_facts({**facts, "directory": trials.directory(found[0])}))
    for trial in found:
        what = f"Trial {trial.number} as a plain run (one click selects all of it):"
        command = summary.repeat(study, trial, fixed, settings)
        parts.append(f"<p>{what}</p>\n<pre>{escape(command)}</pre>")
    return parts


def _table(study: optuna.Study, sweep_dir: Path, everything: bool) -> str:
    """Lay out all trials, the best ones marked, or only the best."""
    found = trials.shown(study)
    names = trials.short_names(trials.parameters(found))
    chosen = {trial.number for trial in trials.best(study)}
    head, body = "", []
    for row, trial in zip(summary.rows(study), found, strict=True):
        if not everything and trial.number not in chosen:
            continue
        row["directory"] = summary.place(trial, sweep_dir)
        if not everything:
            row = {key: row[key] for key in row if key not in ("state", "outcome", "folds")}
        head = "".join(
            f'<th title="{escape(key)}">{escape(names.get(key, key))}</th>' for key in row
        )
        cells = []
        for key, value in row.items():
            kind = "number" if isinstance(value, int | float) else ""
            kind = "reason" if key == "outcome" and value else kind
            text = _state(value) if key == "state" else escape(summary.brief(value))
            cells.append(f'<td class="{kind}">{text}</td>')
        best = ' class="best"' if everything and trial.number in chosen else ""
        body.append(f"<tr{best}>{''.join(cells)}</tr>")
    if not body:
        return '<p class="why">No trial has started.</p>'
    return (
        '<div class="wide"><table class="trials">'
        f"<thead><tr>{head}</tr></thead><tbody>{''.join(body)}</tbody></table></div>"
    )


def _figures(study: optuna.Study) -> list[str]:
    parts = []
    for number, figure in enumerate(figures.figures(study)):
        parts.append(f"<h2>{escape(figure.title)}</h2>")
        if isinstance(figure.drawing, str):
            parts.append(f'<p class="why">{escape(figure.drawing)}</p>')
            continue
        drawing = figure.drawing.to_html(
            full_html=False,
            include_plotlyjs=False,
            div_id=f"figure{number}",
            config={"responsive": True, "displaylogo": False, "modeBarButtons": [list(BUTTONS)]},
        )
        parts.append(
            f'<div class="wide"><div class="figure" style="min-width: {figure.width}px">'
            f"{drawing}</div></div>"
        )
    return parts
