"""Checks of a run that trains on everybody: nothing was tested, and another run's score stands."""

import os

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check
from mer.config import conversion
from mer.errors import MerError
from mer.files import sha256
from mer.runs import checksums, rundir, untested
from mer.training import everybody


@check("untested", "a score of persons who train says nothing about new people")
def check_untested(run: Artefacts, findings: Findings) -> str:
    """Nobody was tested, there is no score, and the weights name who trained them."""
    table = run.manifest
    ids = table["sample_id"]
    findings.add("{} samples stand twice in the manifest", ids[ids.duplicated()])
    if run.metrics.get("status") == "incomplete":
        findings.gaps.append("the model is not trained yet")
    if run.metrics.get("heads"):
        findings.problems.append("metrics.json holds scores of persons who train")
    for fold in run.folds:
        with findings.attempt():
            sides = run.sides(fold)
            findings.add("{} samples are tested", sides["test"])
            known = sides["train"] | sides["validation"]
            findings.add("{} samples of the manifest are on no side", set(run.person_of) - known)
        with findings.attempt():
            findings.add("{} samples have predictions", run.fold_predictions(fold)["sample_id"])
    persons = table["person"].unique()
    counts = ", ".join(f"{name} {len(part)}" for name, part in table.groupby("dataset"))
    return (
        f"{untested.NO_SCORES}. Nobody was tested. {len(table)} samples ({counts}) of "
        f"{len(persons)} persons: {', '.join(sorted(persons))}."
    )


@check("like", "without a score of its settings on unseen persons nothing is known of this model")
def check_like(run: Artefacts, findings: Findings) -> str:
    """The run whose scores stand for this one is there, has the same settings and the same data."""
    like = run.metrics.get("like")
    if like is None:
        findings.gaps.append(
            "no run stands for it; train one under a protocol, and then with protocol.like=RUN"
        )
        return ""
    path = run.run_dir / like["run"]
    name = os.path.normpath(path)
    sums = path / checksums.FILE
    if not sums.is_file():
        findings.gaps.append(f"{name}, whose scores stand for it, is not there")
        return ""
    if sha256(sums) != like["checksums"]:
        findings.problems.append(f"{name} is not as it was when this model was trained")
    try:
        judged = untested.open_like(path)
    except MerError as error:
        findings.problems.append(str(error))
        return ""
    settings = everybody.settings_of(conversion.read(judged.config), name)
    expected = rundir.flatten(conversion.to_plain(settings))
    found = rundir.flatten(run.config)
    findings.add(
        f"{{}} settings are not those of {name}",
        (
            key
            for key in {*expected, *found}
            if expected.get(key) != found.get(key) and not untested.may_differ(key)
        ),
    )
    if {str(one["data_hash"]) for one in run.environment} != {
        str(one["data_hash"]) for one in judged.environment
    }:
        findings.problems.append(f"{name} was trained on other data (data hash)")
    head, values = next(iter(like["heads"].items()))
    return (
        f"{name} was trained with the same settings on the same data; its {head} has UF1 "
        f"{values['uf1']:.3f} on {values['persons']} persons under {like['protocol']}: audit it."
    )
