"""The page of a run: what goes into the template, and the files beside it."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from omegaconf import OmegaConf

from mer.audit.verdict import audit
from mer.datasets.remarks import reasons
from mer.files import naming, write_text
from mer.models import grad_cam
from mer.pages.plots import Plot, save
from mer.pages.rendering import render
from mer.report import (
    activation,
    person_curve,
    published,
    repeat,
    run_facts,
    run_misses,
    run_plots,
    run_scores,
    sample_pictures,
)
from mer.report.fold_networks import Absent, Networks
from mer.report.sample_pictures import Painter
from mer.runs import calibration, curves, members
from mer.runs.head_columns import MAJORITY
from mer.runs.run_folders import require_runs
from mer.runs.rundir import fold_folder, marked
from mer.runs.stored_run import Run

log = logging.getLogger(__name__)

ENSEMBLE = "An ensemble has no data and no network of its own; see the reports of its members."

QUICK = "Left out by --quick: it needs the data and the networks."


class Choices(NamedTuple):
    """What to write, as the options of `mer report` say it."""

    figures: bool = False
    pictures: bool = False
    quick: bool = False
    trust: tuple[str, ...] = ()
    places: tuple[str, ...] = ()


def write(run_dir: Path, choices: Choices) -> list[Path]:
    """Write `report.html`, and with `figures` also `figures/` and `table.tex`.

    The names carry `-ORACLE` and `-LEAKY` as those of the predictions do.

    Raises:
        MerError: If there is no run, or its directory cannot be written to.
    """
    require_runs([run_dir], writes=True)
    run = Run(run_dir)
    values = _values(run, choices)
    path, table = (run_dir / marked(name, run.config) for name in ("report.html", "table.tex"))
    figures = run_dir / path.stem.replace("report", "figures")
    written = [path]
    write_text(render("report.html.j2", **values), path)
    if choices.figures:
        with naming(figures):
            save(_plots(values), figures)
        written.append(figures)
        if run.complete:
            write_text(render("table.tex.j2", run=run, scores=values["scores"]), table)
            written.append(table)
    return written


def _values(run: Run, choices: Choices) -> dict[str, Any]:
    """What the template shows; without all folds there is no score, and no test label is met."""
    values = {
        "run": run,
        "title": run_facts.title(run),
        "audit": audit(run.directory),
        "about": run_facts.facts(run),
        "config": OmegaConf.to_yaml(run.config),
        "samples": None if run.manifest is None else run_facts.samples(run),
        "reasons": [one._asdict() for one in reasons(run.dropped)],
        "dropped": run.dropped,
        "learning": _learning(run),
        "cost": run_facts.cost(run),
        "environment": run_facts.environment(run) if run.environment else {},
        "command": repeat.command(run.directory),
        "scores": None,
    }
    if not run.complete:
        return values | {"progress": _progress(run)}
    networks, missing = _networks(run, choices)
    faces = choices.pictures or run.synthetic
    painter = Painter(networks.dataset, faces) if networks else None
    return values | {
        "scores": _scores(run),
        "recall": run_scores.recall(run),
        "published": published.beside(run),
        "persons": _persons(run),
        "more_persons": _more_persons(run, networks, missing),
        "missed": run_misses.missed_by_all(run),
        "coverage": _coverage(run),
        "cards": _cards(run, painter, missing),
        "activation": _activation(run, networks, painter, missing),
        "calibration": _calibration(run),
    }


def _plots(values: dict[str, Any]) -> list[Plot]:
    """All plots of a page, in its order."""
    confusions = values["scores"]["confusions"].values() if values["scores"] else []
    names = ("persons", "more_persons", "learning", "activation", "coverage", "calibration")
    sections = [values[name].get("plots", []) for name in names if name in values]
    return [plot for plots in (*confusions, *sections) for plot in plots]


def _progress(run: Run) -> str:
    if not run.folds:
        return "it has not begun"
    if len(run.done) == len(run.folds):
        return "all folds are done, but they are not pooled"
    return f"{len(run.done)} of {len(run.folds)} folds are done"


def _scores(run: Run) -> dict[str, Any]:
    return {
        "names": {name: run_scores.NAMES[name] for name in run_scores.score_names(run)},
        "parts": run_scores.score_table(run),
        "classes": {head: run_scores.per_class(run, head) for head in run.heads},
        "confusions": {
            head: [
                run_plots.confusion(
                    f"confusion-{head}-{part}",
                    f"{part}, {title}",
                    np.asarray(run.all_scores[head][part]["confusion"]),
                    run.classes,
                )
                for part in run.parts
            ]
            for head, title in run.heads.items()
        },
    }


def _persons(run: Run) -> dict[str, Any]:
    table = run_scores.per_person(run.predictions, list(run.heads))
    head, title = next(iter(run.heads.items()))
    majority = {name: values["accuracy"] for name, values in run.all_scores[MAJORITY].items()}
    return {
        "head": title,
        "headers": [f"accuracy, {title}" for title in run.heads.values()],
        "table": table.to_numpy(object).tolist(),
        "none": int((table[head] == 0).sum()),
        "every": int((table[head] == 1).sum()),
        "plots": run_plots.persons(table, head, title, majority),
    }


def _more_persons(run: Run, networks: Networks | None, missing: str) -> dict[str, Any]:
    """Score of the SVM on the input itself over the persons of the training side."""
    if networks is None:
        return {"missing": missing}
    log.info("SVMs are fitted on some of the training persons of %d folds", len(run.folds))
    try:
        points = person_curve.learning_curve(run, networks)
    except Absent as absent:
        return {"missing": f"Left out: {absent}"}
    table = person_curve.as_table(points)
    return {
        "missing": "",
        "draws": person_curve.DRAWS,
        "plots": [run_plots.person_curve(table)],
        "table": table.to_numpy(object).tolist(),
    }


def _coverage(run: Run) -> dict[str, Any]:
    """Accuracy of the samples of which each head is surest."""
    labels = run.predictions.set_index("sample_id")["label"]
    said, _ = run_misses.said(run)
    curves_of, rows = {}, []
    for head, title in run_misses.judged(run).items():
        lead = run_misses.lead(run, head).loc[labels.index]
        curve, area = run_misses.coverage(lead, said[title].to_numpy() == labels.to_numpy())
        curves_of[title] = curve
        rows.append([title, area, *run_misses.at_shares(curve)])
    shares = [f"{100 * share:.0f} %" for share in run_misses.SHARES]
    return {"plots": [run_plots.coverage(curves_of)], "table": rows, "shares": shares}


def _learning(run: Run) -> dict[str, Any]:
    """Learning curves of the finished folds."""
    folds = [f for f in run.done if (fold_folder(run.directory, f) / "metrics.csv").exists()]
    mean = curves.mean(run.directory, folds) if folds else pd.DataFrame()
    return {
        "folds": len(folds),
        "validated": any(key.startswith("val/") for key in mean),
        "plots": run_plots.curves(mean, len(folds)),
    }


def _calibration(run: Run) -> dict[str, Any]:
    """Reliability of every head, as it is and by a temperature that other persons gave."""
    judged = calibration.judge_run(run.directory, run.config, run.predictions, run.heads)
    plots, rows, words = [], [], ""
    for head, one in judged.items():
        words, errors = one.calibration.fitted_on, one.calibration
        tables = {
            name: calibration.reliability(confidence, one.right, weights=one.weights)[0]
            for name, confidence in (("as it is", one.before), ("calibrated", one.after))
        }
        plots.append(run_plots.calibration(f"calibration-{head}", run.heads[head], tables))
        means = [
            float(np.average(x, weights=one.weights)) for x in (one.right, one.before, one.after)
        ]
        rows.append(
            [run.heads[head], *means, errors.error_before, errors.error_after, errors.temperature]
        )
    return {"plots": plots, "table": rows, "persons": words}


def _networks(run: Run, choices: Choices) -> tuple[Networks | None, str]:
    """Data and networks, or why there are none."""
    if members.nodes_of(run.config):
        return None, ENSEMBLE
    if choices.quick:
        return None, QUICK
    try:
        return Networks(run, choices.trust, choices.places), ""
    except Absent as absent:
        log.warning("Some sections stay empty: %s", absent)
        return None, f"Not here: {absent}"


def _cards(run: Run, painter: Painter | None, missing: str) -> dict[str, Any]:
    """The surest wrong samples and the hardest ones, with pictures where there may be some."""
    chosen = sample_pictures.hardest(run.predictions, run.classes, list(run.heads))
    cards: dict[str, Any] = {
        "missing": missing,
        "kinds": painter.kinds if painter else [],
        "hides_faces": painter is not None and painter.hides_faces,
    }
    for kind, frame in chosen.items():
        words = {
            row["sample_id"]: sample_pictures.describe(row, run.heads)
            for _, row in frame.iterrows()
        }
        drawn = {
            sample: painter.draw(sample, text) if painter else None
            for sample, text in words.items()
        }
        cards[kind] = {
            "pictures": [picture for picture in drawn.values() if picture],
            "words": [words[sample] for sample, picture in drawn.items() if not picture],
        }
    return cards


def _activation(
    run: Run, networks: Networks | None, painter: Painter | None, missing: str
) -> dict[str, Any]:
    """Grad-CAM pooled over facial regions, and some samples."""
    if networks is None or painter is None:
        return {"missing": missing}
    log.info("%d networks look at their samples", len(run.folds))
    try:
        seen = activation.activate(networks)
    except Absent as absent:
        log.warning("Where the networks look stays empty: %s", absent)
        return {"missing": f"Not here: {absent}"}
    landmarks = [painter.landmarks(position) for position in range(len(seen.maps))]
    masks = [grad_cam.region_mask(points, size) for points, size in landmarks]
    shares, area = activation.pool(seen.maps, masks, seen.predicted)
    stored = dict(zip(run.predictions["sample_id"], run.most_probable, strict=True))
    ids = networks.dataset.table["sample_id"]
    overlays = []
    for _, row in sample_pictures.surest(run).iterrows():
        words = f"{row['sample_id']}: {row['label']}, softmax: {row['softmax']} ({row['sure']:.2f})"
        overlays.append(painter.overlay(row["sample_id"], seen.maps, words))
    return {
        "missing": "",
        "different": sum(stored[i] != p for i, p in zip(ids, seen.predicted, strict=True)),
        "layer": seen.layer,
        "least": grad_cam.LEAST,
        "marked": sum(points is not None for points, _ in landmarks) > len(landmarks) / 2,
        "empty": sum(not cam.any() for cam in seen.maps),
        "regions": list(grad_cam.NAMES),
        "table": _region_rows(run.classes, seen.predicted, shares, area),
        "plots": [run_plots.regions(shares.dropna() / area)] if len(shares.dropna()) else [],
        "ground": painter.ground,
        "overlays": overlays,
    }


def _region_rows(
    classes: Sequence[str], predicted: Any, shares: pd.DataFrame, area: pd.Series
) -> list[list[Any]]:
    rows: list[list[Any]] = [
        [name, int((predicted == name).sum()), *shares.reindex(classes).loc[name]]
        for name in classes
    ]
    return [*rows, ["share of the area", None, *area]]
