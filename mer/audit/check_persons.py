"""Checks of persons: who is on which side, who trained the weights, as the records show."""

import re

import pandas as pd

from mer.audit.artefacts import Artefacts
from mer.audit.findings import Findings, check, some
from mer.protocols import LEAKY
from mer.runs import evidence


@check(
    "persons",
    "a person on both sides is recognised by the face, so the score says little about new people",
)
def check_persons(run: Artefacts, findings: Findings) -> str:
    """In every fold persons are disjoint, test sides partition the manifest, names are unique."""
    aliases, split, known = "", _leaky_split(run, findings), set()
    with findings.attempt():
        aliases = _identities(run, findings)
    expected = {
        str(fold): set(part["sample_id"]) for fold, part in run.manifest.groupby("fold", sort=False)
    }
    frozen = set(run.splits["fold"])
    findings.add("{} folds have no frozen sides", set(expected) - frozen)
    findings.add("{} frozen folds are not in the manifest", frozen - set(expected))
    validated = 0
    for fold in sorted(frozen & set(expected)):
        sides = run.sides(fold)
        foreign = set().union(*sides.values()) - set(run.person_of)
        findings.add(f"fold {fold}: {{}} samples that the manifest lacks", foreign)
        if sides["test"] != expected[fold]:
            findings.problems.append(
                f"fold {fold} does not test the samples that the manifest says"
            )
        if not sides["train"]:
            findings.problems.append(f"fold {fold} has no training side")
        validated += bool(sides["validation"])
        who = {
            side: {run.person_of[sample] for sample in ids - foreign} for side, ids in sides.items()
        }
        for first, second in (("train", "test"), ("validation", "test"), ("train", "validation")):
            both = who[first] & who[second]
            if split and second == "test":
                known |= both
                twice = sides[first] & sides[second]
                findings.add(f"fold {fold}: {{}} samples in {first} and in {second}", twice)
            else:
                findings.add(f"fold {fold}: {{}} persons in {first} and in {second}", both)
    persons = run.manifest["person"].nunique()
    if split:
        findings.problems.insert(
            0,
            f"protocol={split} splits by sample: {len(known)} of {persons} persons are tested by "
            "networks that know them",
        )
    kept = f"validation persons in {validated}" if validated else "no validation persons"
    return (
        f"{persons} persons, by their names, are disjoint in all {len(expected)} folds ({kept}), "
        f"and each sample is tested by one fold{aliases}."
    )


def _leaky_split(run: Artefacts, findings: Findings) -> str:
    """The name of the protocol, if it tests persons who trained; else nothing."""
    with findings.attempt():
        name = (run.config.get("protocol") or {}).get("name")
        return name if name in LEAKY else ""
    return ""


def _identities(run: Artefacts, findings: Findings) -> str:
    """Look for persons who lost the name of their dataset, or share a number by accident."""
    table = run.manifest
    for column in ("sample_id", "subject"):
        pairs = zip(table[column], table["dataset"], strict=True)
        bare = [value for value, dataset in pairs if not value.startswith(f"{dataset}/")]
        findings.add(f"{{}} values of `{column}` lack their dataset", bare)
    micro = run.config["data"].get("micro") or {}
    if any((node or {}).get("persons") for node in micro.values()):
        several = table.groupby("person")["subject"].nunique()
        return f"; data.micro says which {int((several > 1).sum())} persons have several names"
    renamed = table[table["person"] != table["subject"]]
    findings.add(
        "{} persons lack their dataset", {who for who in renamed["person"] if "/" not in who}
    )
    raw = table["subject"].str.replace(r"^[^/]*/", "", regex=True).map(_number)
    joined = table.assign(raw=raw).groupby(["person", "raw"])["dataset"].nunique()
    findings.add(
        "{} persons are one number in several datasets, and no file of `persons` says that they "
        "are the same",
        joined[joined > 1].index.get_level_values("person"),
    )
    return ""


def _number(subject: str) -> str:
    """The number in a subject's name without padding, since `sub01`, `01` and `1` get confused."""
    digits = re.search(r"\d+", subject)
    return str(int(digits[0])) if digits else subject


@check(
    "weights",
    "weights that have seen a test person score by memory, in that fold or in all of them",
)
def check_weights(run: Artefacts, findings: Findings) -> str:
    """No test person trained a checkpoint; checkpoints are of their own fold and data."""
    tested = {} if run.tests_nobody else dict(run.manifest.groupby("fold")["person"].agg(set))
    sides, by_design = _training_persons(run), bool(_leaky_split(run, findings))
    hashes: dict[str, list[str]] = {}
    copies: dict[str, list[str]] = {}
    trained: set[str] = set()
    synthetic = False
    for fold in run.done:
        with findings.attempt():
            provenance, digest = run.weights(fold)
            if provenance["fold"] != fold:
                findings.problems.append(
                    f"fold {fold} holds the weights of fold {provenance['fold']}"
                )
            transfer = provenance.get("transfer") or {}
            macro = set(transfer.get("persons", []))
            synthetic |= bool(transfer.get("synthetic_motion"))
            persons = {*provenance["persons"], *macro}
            trained |= persons
            pool = macro & tested.get(fold, set())
            findings.add(f"fold {fold}: macro weights trained by {{}} tested persons", pool)
            findings.add(
                f"fold {fold}: weights trained by {{}} tested persons",
                # The check of the persons reports a split that leaks by design.
                set() if by_design else (persons - macro) & tested.get(fold, set()),
            )
            unnamed = sides.get(fold, set()) - persons
            findings.add(f"fold {fold}: the weights do not name {{}} persons who trained", unnamed)
            hashes.setdefault(str(provenance["data_hash"]), []).append(fold)
            copies.setdefault(digest, []).append(fold)
    findings.problems[:0] = [
        f"the same weights in folds {some(folds)}" for folds in copies.values() if len(folds) > 1
    ]
    if not run.done:
        findings.gaps.append("no fold is finished")
    stated = {str(start["data_hash"]) for start in run.environment}
    if not stated:
        findings.gaps.append("environment.json holds no data hash")
    if len({*hashes, *stated}) > 1:
        findings.problems.append(f"several data hashes: {some(sorted({*hashes, *stated}))}")
    _weights_from_elsewhere(run, findings)
    known_persons = (
        "the split decides which test persons trained them"
        if by_design
        else "name all who trained them"
        if run.tests_nobody
        else "name no test person among those who trained them"
    )
    which = "weights were" if run.tests_nobody else f"weights of {len(run.done)} folds differ, were"
    return (
        f"the {which} made on the same data, and {known_persons} ({len(trained)} persons in all, "
        "macro included" + ("; nobody is in the synthetic motion)." if synthetic else ").")
    )


def _weights_from_elsewhere(run: Artefacts, findings: Findings) -> None:
    """Remark on weights that the networks began with and that name no person."""
    with findings.attempt():
        backbone = run.config["backbone"]
        if backbone.get("weights"):
            source = f"the file {backbone['weights']}"
        elif backbone.get("pretrained"):
            source = "timm's weights"
        else:
            return
        findings.remarks.append(
            f"the networks began with {source}; whose faces trained these is not known"
        )


def _training_persons(run: Artefacts) -> dict[str, set[str]]:
    """Fold -> persons of its training side, validation included; empty without frozen sides."""
    findings = Findings()
    with findings.attempt():
        table: pd.DataFrame = run.splits[run.splits["side"] != "test"]
        persons = table["sample_id"].map(run.person_of).dropna()
        return {str(fold): set(part) for fold, part in persons.groupby(table["fold"])}
    return {}


@check(
    "evidence",
    "who trains, fits a head or normalises is known to the model, so its test says little",
)
def check_evidence(run: Artefacts, findings: Findings) -> str:
    """Batches, heads, normalisation and predictions hold the samples that the sides name."""
    oracle = run.config["selection"] == "oracle"
    classes = [str(name) for name in run.config["labels"]["classes"]]
    heads: set[str] = set()
    leaky = _leaky_split(run, findings)
    for fold in run.done:
        with findings.attempt():
            content = run.evidence(fold)
            heads |= set(content["heads"])
            tested = set() if leaky else {run.person_of[one] for one in run.sides(fold)["test"]}
            for weights, persons in content.get("weights", {}).items():
                findings.add(
                    f"fold {fold}: a head takes embeddings by {weights}, which {{}} tested persons "
                    "trained",
                    tested & set(persons),
                )
            predictions = run.fold_predictions(fold)
            found = evidence.problems(content, run.sides(fold), oracle, predictions, classes)
            findings.problems += [f"fold {fold}: {sentence}" for sentence in found]
            without = set(run.heads(fold)) - set(content["heads"])
            findings.add(f"fold {fold}: {{}} heads do not say whom they were fitted on", without)
    if not run.done:
        findings.gaps.append("no fold is finished")
    fitted = "".join(f", the head {name}" for name in sorted(heads))
    if run.tests_nobody:
        return (
            f"as the run recorded it, the training batches{fitted} and the normalisation are of "
            "its own samples."
        )
    return (
        f"as {len(run.done)} folds recorded it, the training batches{fitted} and the normalisation "
        "are of the training side alone, and the predictions are what the networks gave."
    )
