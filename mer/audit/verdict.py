"""The audit of a run: all checks, one verdict in plain words."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from mer import __version__
from mer.audit.artefacts import Artefacts
from mer.audit.check_choices import (
    check_complete,
    check_label_access,
    check_search,
    check_selection,
)
from mer.audit.check_everybody import check_like, check_untested
from mer.audit.check_members import check_members
from mer.audit.check_persons import check_evidence, check_persons, check_weights
from mer.audit.check_predictions import check_predictions
from mer.audit.check_samples import check_duplicates, check_files, check_samples
from mer.audit.check_twins import check_twins
from mer.audit.findings import Check, Findings, Verdict, check, some
from mer.runs.run_folders import is_rest_of_run, require_runs

CHECKS: tuple[Callable[[Artefacts], Check], ...] = (
    check_files,
    check_samples,
    check_predictions,
    check_persons,
    check_duplicates,
    check_twins,
    check_weights,
    check_evidence,
    check_selection,
    check_label_access,
    check_search,
    check_complete,
)

#: Checks of an ensemble: its members have all the others.
CHECKS_OF_ENSEMBLES: tuple[Callable[[Artefacts], Check], ...] = (
    check_files,
    check_samples,
    check_predictions,
    check_members,
    check_label_access,
    check_complete,
)

#: Checks of a model on everybody, which has no score.
CHECKS_OF_EVERYBODY: tuple[Callable[[Artefacts], Check], ...] = (
    check_files,
    check_untested,
    check_weights,
    check_evidence,
    check_selection,
    check_like,
)

#: What no check of a run's files can see.
LIMITS = (
    "These checks read the run's files. They cannot see a seed or a setting that was chosen among "
    "runs in other folders, clips that were left out before the manifest was written, one person "
    "under two names with different clips, copies of a clip that are mirrored, turned, cut or "
    "slowed down or that come as another kind of input, whose faces trained weights that came from "
    "elsewhere (backbone.weights, backbone.pretrained), what heads, callbacks, inputs and loggers "
    "of your own keep from fold to fold or read by themselves, changed code of mer, or files that "
    "were all forged to fit (`mer evaluate RUN` predicts again from the data)."
)

#: Exit status of each verdict.
STATUS: dict[Verdict, int] = {"pass": 0, "fail": 1, "unknown": 4}


@dataclass(frozen=True)
class Audit:
    """All checks of one run.

    Attributes:
        run: Run directory.
        checks: One per question.
        tests_nobody: Whether it is a model on everybody, which has no score.
    """

    run: str
    checks: tuple[Check, ...]
    tests_nobody: bool = False

    @property
    def verdict(self) -> Verdict:
        """The worst of the checks."""
        return worst([check.verdict for check in self.checks])

    @property
    def sentence(self) -> str:
        """The verdict in plain words."""
        by_name = {check.name: check for check in self.checks}
        failed = [check.name for check in self.checks if check.verdict == "fail"]
        open_ = [check.name for check in self.checks if check.verdict == "unknown"]
        if failed:
            number = "1 check" if len(failed) == 1 else f"{len(failed)} checks"
            return f"The score cannot be believed: {number} failed: {', '.join(failed)}."
        if self.tests_nobody and self.verdict != "fail":
            return f"There is no score to believe; of its settings, {by_name['like'].evidence}"
        if "complete" in by_name and by_name["complete"].verdict == "unknown":
            return f"There is nothing to believe yet: {by_name['complete'].evidence}"
        if open_:
            number = "1 check" if len(open_) == 1 else f"{len(open_)} checks"
            return (
                "Whether the score can be believed cannot be decided: "
                f"{number} could not be made: {', '.join(open_)}."
            )
        return (
            "Nothing in the files of this run speaks against its score: "
            f"{len(self.checks)} checks passed."
        )

    def as_json(self) -> dict[str, Any]:
        """Plain values, as they stand in `audit.json`."""
        return {
            "run": self.run,
            "verdict": self.verdict,
            "sentence": self.sentence,
            "mer": __version__,
            "limits": LIMITS,
            "checks": [asdict(check) for check in self.checks],
        }


def audit(run_dir: Path) -> Audit:
    """Check a run by its artefacts alone; nothing is written.

    Raises:
        MerError: If there is no run at all.
    """
    require_runs([run_dir], is_rest_of_run)
    artefacts = Artefacts(run_dir)
    checks = CHECKS_OF_ENSEMBLES if artefacts.is_ensemble else CHECKS
    checks = CHECKS_OF_EVERYBODY if artefacts.tests_nobody else checks
    made = tuple(check(artefacts) for check in checks)
    return Audit(str(run_dir), made, artefacts.tests_nobody)


def comparable(runs: Sequence[Path]) -> Check:
    """Check that several runs were made on the same data, samples and labels."""

    @check("comparable", "a difference between these scores may be one between the data")
    def compare(_: Artefacts, findings: Findings) -> str:
        artefacts = [Artefacts(path) for path in runs]
        hashes: dict[str, list[str]] = {}
        samples: dict[str, list[str]] = {}
        for run in artefacts:
            with findings.attempt():
                for key in {str(start["data_hash"]) for start in run.environment}:
                    hashes.setdefault(key, []).append(str(run.run_dir))
            with findings.attempt():
                samples.setdefault(_content(run.manifest), []).append(str(run.run_dir))
        for what, groups in (("data (by hash)", hashes), ("samples, labels or persons", samples)):
            if len(groups) > 1:
                sets = " | ".join(some(names) for names in groups.values())
                findings.problems.append(f"the runs have different {what}: {sets}")
        return f"the {len(runs)} runs have the same data, samples, labels and persons."

    return compare(Artefacts(runs[0]))


def _content(manifest: pd.DataFrame) -> str:
    columns = ["sample_id", "dataset", "person", "label"]
    return str(manifest.sort_values("sample_id")[columns].to_csv(index=False))


def worst(verdicts: Sequence[Verdict]) -> Verdict:
    """The verdict that decides over several."""
    order: tuple[Verdict, ...] = ("fail", "unknown", "pass")
    return next(verdict for verdict in order if verdict in verdicts)
