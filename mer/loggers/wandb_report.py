"""A report at W&B over runs that were logged there: what it shows, as a file or sent.

The report names the W&B runs by their ids, which lie in the run directories; W&B draws the panels
from what it was sent. The file holds the specification that would be sent, so it can be made, read
and kept without a network.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mer.config import stored
from mer.errors import MerError, raise_all
from mer.files import write_json
from mer.loggers import identity
from mer.loggers.wandb_panels import Logged, library, line_plot, panels, runset, score_table
from mer.runs import run_files
from mer.runs.choice import choosing
from mer.runs.run_folders import absent
from mer.runs.rundir import find, flatten, is_volatile

#: Name of the file.
FILE = "report-wandb.json"


def read(paths: Sequence[Path]) -> list[Logged]:
    """Read the runs in some directories that were logged to W&B.

    Args:
        paths: Run directories, or folders of them.

    Raises:
        MerError: If a path holds none, or they belong to several projects.
    """
    found = {path: sorted(_logged_below(path)) for path in paths}
    raise_all(
        "There is nothing to report of:",
        [
            f"{path}: it holds no run that was logged to W&B; train with logger=wandb"
            if path.exists()
            else absent(path)
            for path, runs in found.items()
            if not runs
        ],
    )
    files = list(dict.fromkeys(file for runs in found.values() for file in runs))
    runs = [_read(file) for file in files]
    homes = {(run.entity, run.known["project"]) for run in runs}
    if len(homes) > 1:
        names = ", ".join(sorted("/".join(filter(None, home)) for home in homes))
        raise MerError(f"These runs belong to several projects at W&B: {names}. Name those of one.")
    return runs


def _logged_below(path: Path) -> list[Path]:
    if not path.is_dir():
        return []
    if (path / "config.yaml").is_file():
        return list(path.glob("wandb*.json"))
    inner = (one for one in path.iterdir() if one.is_dir() and one.name[0] != ".")
    return [file for one in inner if one.name != "wandb" for file in _logged_below(one)]


def _read(file: Path) -> Logged:
    directory = file.parent
    config = stored.read(directory / "config.yaml")
    known = run_files.read_json(file)
    if not {"id", "project", "name"} <= set(known):
        raise MerError(f"{file} holds no id of a W&B run; remove it, and the run gets a new one")
    path = find(directory, "metrics.json")
    flat = flatten(config)
    return Logged(
        directory,
        known,
        flat.get("logger.wandb.entity"),
        flat.get("logger.wandb.dir"),
        {key: value for key, value in flat.items() if not is_volatile(key)},
        run_files.read_json(path) if path else {},
        choosing(config),
    )


def make(runs: Sequence[Logged], title: str | None = None, entity: str | None = None) -> Any:
    """Make the report.

    Args:
        runs: What `read` gave.
        title: Heading; None for one that names the runs.
        entity: User or team; None for a report that is not sent.

    Returns:
        A `wandb_workspaces.reports.v2.Report`.

    Raises:
        MerError: If the package is not installed.
    """
    wr = library()
    project = runs[0].known["project"]
    home = {"entity": entity or "", "project": project if entity else ""}
    side = "val" if any(run.choosing for run in runs) else "test"
    ids = [run.known["id"] for run in runs]
    blocks: list[Any] = [
        wr.P(_introduction(side)),
        wr.H2("Scores"),
        wr.MarkdownBlock(score_table(runs, side)),
        wr.PanelGrid(runsets=[runset("Runs", ids, home)], panels=panels(runs, side)),
    ]
    macro = sorted({run.known["macro_run"] for run in runs if run.known.get("macro_run")})
    if macro:
        curves = [
            line_plot(
                f"Macro-pretraining: {name}",
                "pretrain/epoch",
                [f"pretrain/{s}/{name}" for s in ("train", "val")],
            )
            for name in ("loss", "uf1")
        ]
        pretraining = runset("Macro-pretraining", macro, home)
        blocks += [wr.H2("Macro-pretraining"), wr.PanelGrid(runsets=[pretraining], panels=curves)]
    names = ", ".join(str(run.known["name"]) for run in runs)
    return wr.Report(
        project=project,
        entity=entity or "",
        title=(title or f"{len(runs)} runs: {names}")[:128],
        description="Made by `mer wandb report`",
        blocks=blocks,
        width="fluid",
    )


def write(report: Any, runs: Sequence[Logged], path: Path) -> None:
    """Write the specification of a report as a file."""
    model = report._to_model()
    content = {
        "title": report.title,
        "project": report.project,
        "entity": report.entity or None,
        "runs": {run.known["id"]: str(run.directory) for run in runs},
        "spec": json.loads(model.spec.model_dump_json(by_alias=True, exclude_none=True)),
    }
    write_json(content, path)


def send(report: Any) -> str:
    """Save a report at W&B; return its address."""
    report.save()
    return str(report.url)


def default_entity() -> str:
    """User or team of the login.

    Raises:
        MerError: If there is no login.
    """
    if not identity.logged_in():
        raise MerError(
            "--send needs a W&B login, and none was found in WANDB_API_KEY or the netrc file. Type "
            "`wandb login`, or leave --send out: the report is then a file"
        )
    import wandb

    return str(wandb.Api().default_entity)


def sync_command(runs: Sequence[Logged]) -> str | None:
    """The command that sends what was logged offline; None where there is nothing."""
    written = []
    for run in runs:
        for folder, name in ((run.known.get("macro_dir"), "macro_run"), (run.directory, "id")):
            if folder is not None:
                written.append((Path(run.dir or folder).expanduser(), str(run.known[name])))
    return identity.sync_command(written)


def _introduction(side: str) -> str:
    if side == "test":
        return "Scores of the test persons, pooled over all folds; 95 % intervals over persons."
    return (
        "Something is being chosen among these runs, so there are scores of the validation persons "
        "alone; those of the test persons are for after the choice."
    )
