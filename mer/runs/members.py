"""Members of an ensemble: heads of finished runs on the same samples and folds.

The configuration of an ensemble has the node `ensemble`, a list with `run` (path of a run
directory, relative to that of the ensemble), `head` and `checksums` (SHA-256 of the run's
`checksums.json`).
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mer.errors import MerError, raise_all
from mer.files import sha256
from mer.runs import checksums, run_files
from mer.runs.forms import Each, misfit
from mer.runs.head_columns import BASELINE, file_of
from mer.runs.rundir import find
from mer.runs.standard_scores import Form, callbacks_of, form_of, standardise
from mer.runs.stored_run import Run

#: Key of the configuration that makes a run directory an ensemble.
KEY = "ensemble"

_FORM = Each(list, {"run": str, "head": str, "checksums": str})

#: Columns in which the manifests of all members agree.
SAME = ("dataset", "person", "label", "fold")


class Member(NamedTuple):
    """A head of a finished run."""

    run: Run
    head: str

    @property
    def name(self) -> str:
        """As it is typed: `runs/demo:svm`."""
        return f"{self.run.directory}:{self.head}"

    @property
    def checksums(self) -> str:
        """SHA-256 of the file with the checksums of the run's files."""
        return sha256(self.run.directory / checksums.FILE)

    def scores(self, ids: Sequence[str]) -> NDArray[np.float64]:
        """Standardised scores of samples; those that `protocol.inner` adds are left out. (N, K)."""
        return scores(self.run, self.head, ids, standardise)


def scores(
    run: Run,
    head: str,
    ids: Sequence[str],
    convert: Callable[[NDArray[np.float64], Form], NDArray[np.float64]],
) -> NDArray[np.float64]:
    """Scores of a head as its run stores them, converted by the form that they have in each fold.

    Returns:
        In the order of the ids. Shape: (N, K).
    """
    columns = [f"{head}_{name}" for name in run.classes]
    table = table_of(run, head, ["fold", *columns]).loc[list(ids)]
    values: NDArray[np.float64] = table[columns].to_numpy(np.float64, copy=True)
    for fold, callbacks in callbacks_of(run.directory, run.config, table["fold"].unique()).items():
        rows = (table["fold"] == fold).to_numpy()
        values[rows] = convert(values[rows], form_of(head, callbacks))
    return values


def table_of(run: Run, head: str, columns: Sequence[str]) -> pd.DataFrame:
    """Columns of the stored predictions of a head, by sample id."""
    file = file_of(head)
    path = find(run.directory, file) or run.directory / file
    table = run_files.read_table(path, ["sample_id", *columns])
    return table.set_index("sample_id")[list(columns)]


def nodes_of(config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The node `ensemble` of a configuration; empty where it is a run's."""
    nodes = config.get(KEY) or []
    plain: Any = OmegaConf.to_container(nodes) if OmegaConf.is_config(nodes) else nodes
    if problem := misfit(plain, _FORM, KEY):
        raise MerError(f"the configuration is damaged ({problem}); make the ensemble again")
    return list(plain)


def require_networks(run_dir: Path, config: Mapping[str, Any]) -> None:
    """Refuse an ensemble where networks are needed."""
    if nodes := nodes_of(config):
        runs = dict.fromkeys(os.path.normpath(run_dir / node["run"]) for node in nodes)
        raise MerError(
            f"{run_dir} is an ensemble, which has no network of its own; name one of its members: "
            f"{', '.join(runs)}"
        )


def mean(members: Sequence[Member], ids: Sequence[str]) -> NDArray[np.float64]:
    """Equal-weight mean of the members' standardised scores. Shape: (N, K)."""
    total: NDArray[np.float64] = np.mean([member.scores(ids) for member in members], axis=0)
    return total


def parse(words: Iterable[str | Path]) -> list[Member]:
    """Open runs that are named as RUN or RUN:HEAD; without a head a run's first one is meant.

    Raises:
        MerError: If one is no run, is not finished, or has no such head; all are listed.
    """
    members, problems = [], []
    for word in map(str, words):
        try:
            members.append(_parse(word))
        except MerError as error:
            problems.append(str(error))
    raise_all("These cannot be members of an ensemble:", problems)
    return members


def _parse(word: str) -> Member:
    path, _, head = (word, "", "") if Path(word).is_dir() else word.rpartition(":")
    run = Run(path or word)
    if nodes_of(run.config):
        raise MerError(f"{run.directory} is an ensemble itself; name its members")
    if not run.complete:
        missing = f"{len(run.done)} of {len(run.folds)} folds are done"
        raise MerError(f"{run.directory} is not finished ({missing}); finish it first")
    names = [*run.heads, *([BASELINE] if BASELINE in run.all_scores else [])]
    if head and head not in names:
        raise MerError(f"{run.directory} has no head {head}; there are {', '.join(names)}")
    if not (run.directory / checksums.FILE).is_file():
        raise MerError(
            f"{run.directory} has no {checksums.FILE}; `mer train` with the same words and "
            f"run.dir={run.directory} writes it"
        )
    return Member(run, head or names[0])


def check(members: Sequence[Member]) -> None:
    """Refuse members that were not judged on the same ground, or whose scores are none to report.

    A member with `selection=oracle` is let in: the mark passes on to the ensemble.
    """
    problems = [] if len(members) > 1 else ["an ensemble has two members or more"]
    seen: dict[tuple[str, str], str] = {}
    first = members[0].run
    for member in members:
        run, key = member.run, (member.checksums, member.head)
        if key in seen:
            problems.append(f"{member.name} is {seen[key]} again")
        seen[key] = member.name
        problems += [
            f"{run.directory} is none to report: {warning}"
            for warning in run.warnings
            if not warning.startswith("selection=oracle")
        ]
        if run is not first:
            problems += [f"{run.directory} {what}" for what in _differences(first, run)]
    raise_all("These cannot be members of one ensemble:", dict.fromkeys(problems))


def _differences(first: Run, run: Run) -> list[str]:
    """In what a run was judged on another ground than the first."""
    if run.classes != first.classes:
        classes = ", ".join(run.classes)
        return [f"has the classes {classes}, {first.directory} {', '.join(first.classes)}"]
    due, here = (_grounds(one) for one in (first, run))
    if set(due.index) != set(here.index):
        shared = len(due.index.intersection(here.index))
        return [
            f"tests {len(here)} samples, {first.directory} {len(due)}, and {shared} are the same"
        ]
    here = here.loc[due.index]
    found = [
        f"has another {column} of {number} samples than {first.directory}"
        for column in SAME
        if (number := int((here[column] != due[column]).sum()))
    ]
    protocols = [str(one.get("protocol.name")) for one in (first, run)]
    if protocols[0] != protocols[1]:
        found.append(f"has the protocol {protocols[1]}, {first.directory} {protocols[0]}")
    return found


def _grounds(run: Run) -> pd.DataFrame:
    assert run.manifest is not None  # it is complete
    return run.manifest.set_index("sample_id")[list(SAME)].astype("str")
