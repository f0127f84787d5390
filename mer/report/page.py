"""The page of a run: all sections in their order, and the files beside it."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from mer.errors import MerError
from mer.report import background, drawing, html, inside, latex, looks, scores
from mer.report.drawing import Drawing
from mer.report.inside import Inside
from mer.report.material import Material
from mer.report.networks import Absent, Networks
from mer.rundir import fold_folder

log = logging.getLogger(__name__)

QUICK = "Left out by --quick: it needs the data and the networks."


class Choices(NamedTuple):
    """What to write, as the options of `mer report` say it."""

    figures: bool = False
    pictures: bool = False
    quick: bool = False
    trust: bool = False


def write(run_dir: Path, choices: Choices) -> list[Path]:
    """Write `report.html`, and with `figures` also `figures/` and `table.tex`.

    Args:
        run_dir: Run directory; it need not be finished.
        choices: What to write.

    Returns:
        What was written, the page first.

    Raises:
        MerError: If there is no run, or its directory cannot be written to.
    """
    material = Material.read(run_dir)
    drawings: list[Drawing] = []
    if material.complete:
        parts = _complete(material, choices, drawings)
    else:
        parts = _incomplete(material, drawings)
    title = background.title(material)
    page = html.page(title, [html.heading(title, 1), *_warnings(material), *parts])
    written = [run_dir / "report.html"]
    try:
        _replace(written[0], page)
        if choices.figures:
            drawing.save(drawings, run_dir / "figures")
            written.append(run_dir / "figures")
            if material.complete:
                written.append(run_dir / "table.tex")
                _replace(written[-1], latex.table(material))
    except OSError as error:
        raise MerError(f"The report cannot be written: {error}") from error
    return written


def _warnings(material: Material) -> list[str]:
    if not material.stains:
        return []
    return [html.banner("stain", "Not a score to report", material.stains)]


def _incomplete(material: Material, drawings: list[Drawing]) -> list[str]:
    """Without all folds there is no score, and no test label meets a prediction."""
    total = f"{len(material.done)} of {len(material.folds)} folds are done"
    if not material.folds:
        total = "it has not begun"
    elif len(material.done) == len(material.folds):
        total = "all folds are done, but they are not pooled"
    curves, drawn = background.learning(material)
    drawings += drawn
    again = f"Start the same command with run.dir={material.run_dir} to finish it."
    return [
        html.banner("caution", f"This run is incomplete: {total}. There is no score.", [again]),
        *_section("What was run", background.facts(material)),
        *_section("Data", background.data(material)),
        *_section("Learning curves", curves),
        *_ending(material),
    ]


def _complete(material: Material, choices: Choices, drawings: list[Drawing]) -> list[str]:
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

    return [
        *_section("What was run", background.facts(material)),
        *_section("Scores", scores.headline(material)),
        *_section("Data", background.data(material)),
        *_section("Confusion matrices", drawn(scores.confusions(material))),
        *_section("Persons", drawn(scores.persons(material))),
        *_section("Learning curves", drawn(background.learning(material))),
        *_section(
            "Embeddings: people or emotions?",
            insight(lambda n, s: looks.embedding(n, s, seed)),
        ),
        *_section("Single samples", looks.single(material, networks, why, faces)),
        *_section(
            "Where the network looks",
            insight(lambda n, s: looks.activation(material, n, s, faces)),
        ),
        *_section("Calibration", drawn(scores.calibration(material))),
        *_ending(material),
    ]


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
        frame = material.predictions
        stored = dict(zip(frame["sample_id"], frame["softmax"], strict=True))
        return networks, inside.look(networks, stored, int(material.get("seed", 0))), ""
    except Absent as absent:
        log.warning("Some sections stay empty: %s", absent)
        return networks, None, f"Not here: {absent}"


def _ending(material: Material) -> list[str]:
    return [
        *_section("Cost", background.cost(material)),
        *_section("Settings", background.settings(material)),
        *_section("Environment", background.environment(material)),
        *_section("Audit", background.audit(material)),
        *_section("Repeat it", background.command(material)),
    ]


def _section(title: str, content: str) -> list[str]:
    return ["<section>", html.heading(title), content, "</section>"]


def _replace(path: Path, content: str) -> None:
    """Write text so that a reader sees all of it or nothing."""
    temporary = path.with_name(f".{path.name}.new")
    temporary.write_text(content, encoding="utf-8")
    temporary.replace(path)
