"""Every run against the first one named that has a score, and against its own baseline.

On the same samples, person by person.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import pandas as pd

from mer.compare import paired
from mer.compare.candidates import Run
from mer.compare.comparison import FORBIDDEN, grounds
from mer.errors import MerError
from mer.metrics import SCORES
from mer.runs import run_files
from mer.runs.head_columns import BASELINE, REFERENCES, file_of
from mer.runs.rundir import find

#: A corrected p below this one separates two runs.
LEVEL = 0.05


class Pairs(NamedTuple):
    """What the tests say.

    Attributes:
        reference: What the runs are tested against, as it is shown.
        frame: A row per tested run: `name`; each score's `_difference` (run minus reference) with
            `_low` and `_high`, its `_p` (permutation over persons) and `_p_holm`; `p_mcnemar` and
            `p_mcnemar_holm` (accuracy).
        headline: Tests in one sentence; empty where there are none.
        conclusions: Sentences: what follows by UF1, and which runs were left out.
    """

    reference: str
    frame: pd.DataFrame
    headline: str
    conclusions: list[str]


def against_first(
    runs: Sequence[Run], head: str | None = None, part: str = "pooled"
) -> Pairs | None:
    """Test all runs with scores against the first one named that has a score.

    Returns:
        None where fewer than two runs have scores, or the majority class is asked for.
    """
    scored = [run for run in runs if run.scores(head, part)[1]]
    if len(scored) < 2 or head == "majority":
        return None
    named = min(runs, key=lambda run: run.given)  # of a folder, the first of its names
    first = min(scored, key=lambda run: run.given)
    others = {run: (first, head) for run in scored if run is not first}
    what = "the first run named" if first is named else f"since {named.shown} has no such score"
    return _pairs(first.shown, what, "Not tested", others, head, part)


def against_baseline(
    runs: Sequence[Run], head: str | None = None, part: str = "pooled"
) -> Pairs | None:
    """Test a head of each run against an SVM on the run's own input, in the same folds.

    Returns:
        None where no run has a baseline, or the head is none that is trained.
    """
    own = {
        run: (run, BASELINE)
        for run in (runs if head not in REFERENCES else ())
        if not run.is_file and run.scores(BASELINE, part)[1] and run.scores(head, part)[1]
    }
    what = "an SVM on the run's own input in the same folds"
    failed = "Not tested against its baseline"
    return _pairs("its baseline", what, failed, own, head, part) if own else None


def _pairs(
    reference: str,
    what: str,
    failed: str,
    references: Mapping[Run, tuple[Run, str | None]],
    head: str | None,
    part: str,
) -> Pairs:
    """Test a head of each run against its reference.

    Args:
        reference: How sentences call what is tested against.
        what: What that is.
        failed: Beginning of the sentence on a run that cannot be tested.
        references: Run -> the run and the head that it is tested against.
        head: Head of the runs.
        part: `pooled` or the name of a dataset.
    """
    tested: dict[Run, paired.Paired] = {}
    left_out = []
    for run, other in references.items():
        try:
            tested[run] = _test(other, (run, head), part)
        except MerError as error:
            left_out.append(f"{failed}: {run.shown}: {error}.")
    frame = _frame(tested)
    if not tested:
        return Pairs(reference, frame, "", left_out)
    first = references[next(iter(tested))][0]
    headline = _headline(reference, what, first, tested, part)
    return Pairs(reference, frame, headline, [*_conclusions(reference, tested, frame), *left_out])


def _test(one: tuple[Run, str | None], other: tuple[Run, str | None], part: str) -> paired.Paired:
    """Join heads of two runs by sample id and test the second against the first."""
    (first, _), (run, _) = one, other
    reasons = [note for note in grounds([first, run], part) if note.startswith(FORBIDDEN)]
    if reasons:
        raise MerError(f"it is not comparable with {first.shown}, see above")
    due = pd.DataFrame(sorted(first.samples), columns=["sample_id", "dataset", "person", "label"])
    if part != "pooled":
        due = due[due["dataset"] == part]
    number = {name: place for place, name in enumerate(first.config["labels.classes"])}
    a, b = (_predicted(*which, part, due["sample_id"]).map(number) for which in (one, other))
    true = due["label"].map(number)
    return paired.compare(true, a, b, due["person"].tolist(), len(number))


def _predicted(run: Run, head: str | None, part: str, due: pd.Series) -> pd.Series:
    """Predicted class of each sample that is due, in that order."""
    chosen, scores = run.scores(head, part)
    if not scores:
        raise MerError(f"{run.shown} has no score")
    if run.table is not None:
        column = run.table.set_index("sample_id")["prediction"]
    else:
        file = file_of(chosen)
        path = find(run.directory, file)
        if path is None:
            raise MerError(f"{run.directory} has no {file}")
        table = run_files.read_table(path, ["sample_id", chosen])
        column = table.set_index("sample_id")[chosen]
    strange = set(column) - set(run.config["labels.classes"])
    lost = set(due) - set(column.index)
    if strange or lost or not column.index.is_unique:
        raise MerError(
            f"the predictions of {run.shown} are not those of its manifest ({len(lost)} samples "
            f"lost, {int(column.index.duplicated().sum())} twice, {len(strange)} other classes); "
            f"try `mer audit {run.directory}`"
        )
    return column.loc[due]


def _frame(tested: Mapping[Run, paired.Paired]) -> pd.DataFrame:
    """See `Pairs`; Holm corrects each test over the runs."""
    frame = pd.DataFrame({"name": [run.name for run in tested]})
    for score in SCORES:
        frame[f"{score}_difference"] = [found.difference[score] for found in tested.values()]
        for place, end in enumerate(("low", "high")):
            frame[f"{score}_difference_{end}"] = [
                found.interval[score][place] for found in tested.values()
            ]
        p = [found.p[score] for found in tested.values()]
        frame[f"{score}_p"], frame[f"{score}_p_holm"] = p, paired.holm(p)
    p = [found.p_mcnemar for found in tested.values()]
    frame["p_mcnemar"], frame["p_mcnemar_holm"] = p, paired.holm(p)
    return frame


def _headline(
    reference: str, what: str, first: Run, tested: Mapping[Run, paired.Paired], part: str
) -> str:
    rows = [row for row in first.samples if part in ("pooled", row[1])]
    most = max(found.arrangements for found in tested.values())
    ways = "1 way" if most == 1 else f"{most:,} ways"
    holm = f" Holm: corrected over {len(tested)} runs; this one decides." if len(tested) > 1 else ""
    return (
        f"Paired tests against {reference}, {what}, on the same {len(rows)} samples "
        f"of {len({row[2] for row in rows})} persons. Differences are run minus {reference}, "
        f"with 95 % intervals over persons. p (persons): whole persons change sides in up to "
        f"{ways}. p (McNemar) takes all samples as independent, which they are not.{holm}"
    )


def _conclusions(
    reference: str, tested: Mapping[Run, paired.Paired], frame: pd.DataFrame
) -> list[str]:
    """Which runs are better or worse by UF1, and which cannot be told apart."""
    verdicts: dict[str, list[str]] = {}
    for run, row in zip(tested, frame.to_dict("records"), strict=True):
        p, difference = row["uf1_p_holm"], row["uf1_difference"]
        verdict = "Not separable from" if p >= LEVEL else "Better than" if difference > 0 else ""
        verdict = verdict or "Worse than"
        verdicts.setdefault(verdict, []).append(f"{run.shown} ({difference:+.3f}, p {spell(p)})")
    said = [
        f"{verdict} {reference} by UF1: {', '.join(verdicts[verdict])}."
        for verdict in ("Better than", "Worse than", "Not separable from")
        if verdict in verdicts
    ]
    few = [
        f"{run.shown} (p is at least {2 / found.arrangements:.3f})"
        for run, found in tested.items()
        if found.exact and 1 < found.arrangements and 2 / found.arrangements * len(tested) >= LEVEL
    ]
    if few:
        said.append(f"Too few persons differ for any result: {', '.join(few)}.")
    return said


def spell(p: float) -> str:
    """Write a p with its sign, for a sentence."""
    return "< 0.001" if p < 0.001 else f"= {p:.3f}"
