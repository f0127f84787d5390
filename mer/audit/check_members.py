"""The check of an ensemble: its members are as they were and sound, and it is their mean."""

from pathlib import Path

import numpy as np

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check
from mer.errors import MerError, one_line
from mer.files import sha256
from mer.runs import checksums, ensemble, members
from mer.runs.head_columns import ENSEMBLE
from mer.runs.rundir import mark
from mer.runs.stored_run import Run


@check(
    "members",
    "a mean of runs is worth what its members are worth, and nothing if it is not their mean",
)
def check_members(run: Artefacts, findings: Findings) -> str:
    """Members pass their own audits, are as they were, and give the ensemble's predictions."""
    from mer.audit.verdict import audit  # which has this check in its list

    parsed = []
    for node in members.nodes_of(run.config):
        path, head = run.run_dir.resolve() / node["run"], node["head"]
        if not (path / "config.yaml").is_file():
            findings.gaps.append(f"the member {node['run']} is not there")
            continue
        file = path / checksums.FILE
        if not file.is_file() or sha256(file) != node["checksums"]:
            findings.problems.append(
                f"the member {node['run']} has changed since the ensemble was made"
            )
        parsed.append(members.Member(Run(path), head))
    for path in dict.fromkeys(member.run.directory for member in parsed):
        found = audit(path)
        if found.verdict != "pass":
            kept = findings.problems if found.verdict == "fail" else findings.gaps
            kept.append(f"the member {_shown(path, run)}: {found.sentence.removesuffix('.')}")
    if len(parsed) < len(members.nodes_of(run.config)) or not parsed:
        return ""
    try:
        members.check(parsed)
    except MerError as error:
        findings.problems.append(one_line(error))
    marked = mark({**run.config, "selection": ensemble.selection_of(parsed)})
    if marked != mark(run.config):
        findings.problems.append(f"its files are not marked {marked}, as those of a member are")
    with findings.attempt():
        _compare(run, parsed, findings)
    findings.remarks.append(
        "whoever chose the members could know their scores; nothing here shows how they were chosen"
    )
    return (
        f"{len(parsed)} members are as they were and pass their own audits, and the predictions "
        "are the mean of theirs."
    )


def _compare(run: Artefacts, parsed: list[members.Member], findings: Findings) -> None:
    """The stored scores are what the members give."""
    stored = run.predictions.drop_duplicates("sample_id").set_index("sample_id")
    again = ensemble.predict(parsed, run.manifest.drop_duplicates("sample_id"))
    again = again.set_index("sample_id").reindex(stored.index)
    columns = [f"{ENSEMBLE}_{name}" for name in parsed[0].run.classes]
    left, right = (frame[columns].to_numpy(np.float64) for frame in (stored, again))
    same = np.isclose(left, right, rtol=0, atol=1e-9).all(axis=1)
    findings.add("the scores of {} samples are not the mean of the members'", stored.index[~same])


def _shown(path: Path, run: Artefacts) -> str:
    """A member as the configuration of its ensemble names it."""
    root = run.run_dir.resolve()
    names = [node["run"] for node in members.nodes_of(run.config)]
    return next((name for name in names if root / name == path), str(path))
