"""The page of a run: all sections in their order, and the files beside it."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mer.audit.verdict import Audit, audit
from mer.errors import MerError
from mer.files import write_text
from mer.report import background, drawing, html, inside, latex, looks, scores
from mer.report.drawing import Drawing
from mer.report.inside import Inside
from mer.report.material import Material
from mer.report.networks import Absent, Networks
from mer.runs.rundir import fold_folder, marked

log = logging.getLogger(__name__)

QUICK = "Left out by --quick: it needs the data and the networks."


class Choices(NamedTuple):
    """What to write, as the options of `mer report` say it."""

    figures: bool = False
    pictures: bool = False
    quick: bool = False
    trust: tuple[str, ...] = ()


def write(run_dir: Path, choices: Choices) -> list[Path]:
    """Write `report.html`, and with `figures` also `figures/` and `table.tex`.

    The names carry `-ORACLE` and `-LEAKY` as those of the predictions do.

    Args:
        run_dir: Run directory; it need not be finished.
        choices: What to write.

    Returns:
        What was written, the page first.

    Raises:
        MerError: If there is no run, or its directory cannot be written to.
    """
    material = Material.read(run_dir)
    if not os.access(run_dir, os.W_OK):  # said before minutes of work, not after
        raise MerError(f"{run_dir} cannot be written to; copy the run to a folder of your own.")
    warnings = _warnings(material)
    drawings: list[Drawing] = []
    audited = audit(run_dir)
    sections = {"What was run": background.facts(material)}
    if material.complete:
        opening = _opening(material, audited)
        sections |= _complete(material, choices, drawings)
    else:
        opening = [_unfinished(material)]
        sections |= _incomplete(material, drawings)
    sections |= {
        "Cost": background.cost(material),
        "Environment": background.environment(material),
        "Audit": background.audit(audited),
        "Repeat it": background.command(material),
    }
    page = html.page(background.title(material), [*warnings, *opening], sections)
    path, table = (run_dir / marked(name, material.cfg) for name in ("report.html", "table.tex"))
    figures = run_dir / path.stem.replace("report", "figures")
    written = [path]
    try:
        write_text(page, path)
        if choices.figures:
            drawing.save(drawings, figures)
            written.append(figures)
            if material.complete:
                write_text(latex.table(material), table)
                written.append(table)
    except OSError as error:
        raise MerError(f"The report cannot be written: {error}") from error
    return written


def _warnings(material: Material) -> list[str]:
    if not material.stains:
        return []
    return [html.banner("stain", "Not a score to report", material.stains)]


def _opening(material: Material, audited: Audit) -> list[str]:
    """Score and verdict, which is what most readers come for."""
    kind = {"pass": "fine", "fail": "stain", "unknown": "caution"}[audited.verdict]
    return [html.paragraph(scores.summary(material)), html.banner(kind, audited.sentence)]


def _unfinished(material: Material) -> str:
    total = f"{len(material.done)} of {len(material.folds)} folds are done"
    if not material.folds:
        total = "it has not begun"
    elif len(material.done) == len(material.folds):
        total = "all folds are done, but they are not pooled"
    again = f"Start the same command with `run.dir={material.run_dir}` to finish it."
    return html.banner("caution", f"This run is incomplete: {total}. There is no score.", [again])


def _incomplete(material: Material, drawings: list[Drawing]) -> dict[str, str]:
    """Without all folds there is no score, and no test label meets a prediction."""
    curves, drawn = background.learning(material)
    drawings += drawn
    return {"Data": background.data(material), "Learning curves": curves}


def _complete(material: Material, choices: Choices, drawings: list[Drawing]) -> dict[str, str]:
    networks, seen, why = _open(material, choices)
    faces = choices.pictures or material.synthetic
    seed = int(material.get("seed", 0))

    def drawn(section: tuple[str, list[Drawing]]) -> str:
        drawings.extend(section[1])
        return section[0]

    def insight(make: Callable[[Networks, Inside], tuple[str, list[Drawing]]]) -> str:
        if networks is None or seen is None:
            return html.paragraph(why, "why")
        return drawn(make(networks, seen))

    return {
        "Scores": scores.headline(material),
        "Data": background.data(material),
        "Confusion matrices": drawn(scores.confusions(material)),
        "Persons": drawn(scores.persons(material)),
        "Learning curves": drawn(background.learning(material)),
        "Embeddings: people or emotions?": insight(lambda n, s: looks.embedding(n, s, seed)),
        "Single samples": looks.single(material, networks, why, faces),
        "Where the network looks": insight(lambda n, s: looks.activation(material, n, s, faces)),
        "Calibration": drawn(scores.calibration(material)),
    }


def _open(material: Material, choices: Choices) -> tuple[Networks | None, Inside | None, str]:
    """Data and networks, what was seen in them, and why one of these is missing."""
    if choices.quick:
        return None, None, QUICK
    networks = None
    try:
        networks = Networks(material, choices.trust)
        missing = [
            name
            for name in material.folds
            if not (fold_folder(material.run_dir, name) / "model.ckpt").exists()
        ]
        if missing:
            raise Absent(
                f"{len(missing)} of {len(material.folds)} folds have no model.ckpt "
                f"({', '.join(missing[:3])})."
            )
        log.info("%d networks look at their samples", len(material.folds))
        ids = material.predictions["sample_id"]
        stored = dict(zip(ids, material.most_probable, strict=True))
        return networks, inside.look(networks, stored, int(material.get("seed", 0))), ""
    except Absent as absent:
        log.warning("Some sections stay empty: %s", absent)
        return networks, None, f"Not here: {absent}"
