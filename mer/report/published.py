"""Published scores on the MEGC 2019 composite, to stand beside those of a run on the same samples.

All are of leave-one-subject-out over the 442 samples of 68 persons, pooled, as the papers or logs
give them. What matters most is whether the epoch was chosen on the tested persons, which alone
lifts OFF-ApexNet from .703 to .839; it was read in the authors' code, where that is public.
"""

from typing import Any, NamedTuple

from mer.report import run_scores
from mer.runs.stored_run import Run

#: Samples per dataset of the composite.
COMPOSITE = {"casme2": 145, "samm": 133, "smic": 164}

#: `selection` of a run -> how its epoch was chosen.
EPOCHS = {
    "last": "last epoch, or chosen inside each fold",
    "validation": "chosen on validation persons of the training side",
    "oracle": "chosen on test persons",
}


class Figure(NamedTuple):
    """A published score and how its epoch was chosen."""

    method: str
    year: int
    uf1: float
    uar: float | None
    epoch: str


#: Nothing was chosen on test persons, as far as the public code and logs tell.
CLEAN = (
    Figure("STSTNet, paper", 2019, 0.735, 0.760, "last epoch, by its code"),
    Figure("STSTNet, log of its authors", 2019, 0.721, 0.725, "last epoch"),
    Figure("RCN-A", 2020, 0.743, 0.719, "last epoch, by its code"),
    Figure("OFF-ApexNet, re-run in MEB", 2019, 0.703, None, "last epoch"),
    Figure("Bi-WOOF with an SVM", 2018, 0.630, 0.623, "no epochs"),
    Figure("LBP-TOP with an SVM", 2007, 0.588, 0.579, "no epochs"),
)

#: Epochs were chosen on test persons, or nobody outside can know.
OTHERS = (
    Figure("SOFP", 2026, 0.928, 0.929, "chosen on test persons, by its code of before 2026-01-31"),
    Figure("CausalNet", 2025, 0.898, 0.902, "chosen on test persons, by its code"),
    Figure("D-FACE", 2026, 0.894, 0.897, "not known: no code found"),
    Figure("LTR3O", 2025, 0.893, 0.882, "not known: no code found"),
    Figure("HTNet", 2024, 0.860, 0.848, "chosen on test persons, by its code"),
    Figure("OFF-ApexNet, re-run in MEB", 2019, 0.839, None, "best of 3000 on test persons"),
    Figure("EMR", 2019, 0.789, 0.782, "chosen on test persons, by its code; about .59 without"),
    Figure("FeatRef", 2022, 0.784, 0.783, "not known: no code found"),
    Figure("STSTNet, re-run in MEB", 2019, 0.774, None, "best of 500 on test persons"),
    Figure("Dual-Inception", 2019, 0.732, 0.728, "not known: which of 100 rounds counts is open"),
    Figure("OFF-ApexNet, paper", 2019, 0.720, 0.710, "not known"),
    Figure("CapsuleNet", 2019, 0.652, 0.651, "chosen on test persons, by its code"),
)


def beside(run: Run) -> dict[str, list[list[Any]]] | None:
    """The run among the published scores, as rows of tables; None where it is not comparable."""
    if not comparable(run):
        return None
    main = run_scores.score_table(run)[0].rows[0]
    epoch = EPOCHS.get(str(run.get("selection")), "not known")
    row = [f"this run, {main.head}", None, main.scores["uf1"], main.scores["uar"], epoch]
    clean = sorted(CLEAN, key=lambda one: -one.uf1)
    return {"clean": [row, *map(list, clean)], "others": list(map(list, OTHERS))}


def comparable(run: Run) -> bool:
    """Whether a run has the samples, classes and protocol of the published figures."""
    if run.synthetic or run.manifest is None or run.get("labels.permutation") is not None:
        return False
    # A table of the composite names its datasets as the samples do: casme2/sub01/EP02_01f.
    counts = run.manifest["sample_id"].str.partition("/")[0].value_counts().to_dict()
    return bool(
        counts == COMPOSITE
        and run.get("labels.name") == "megc2019"
        and run.get("protocol.name") == "loso"
    )
