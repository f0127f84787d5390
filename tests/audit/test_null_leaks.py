"""`mer audit --null` passes clean runs of each engine, and sees labels of tested samples learnt.

Of 45 samples and two permutations it does not see what a fold chooses on its test side (an epoch,
thresholds, a C): these lift the score, but not above the bound. Nor does it see statistics,
swapped rows and stale caches. All of them are refused as the fold ends; see `test_leaks`.
"""

import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from mer.audit.null import null_test
from mer.training import runner
from tests.audit import planting
from tests.builders import Config

pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.slow]

#: Networks that learn their training labels by heart.
HEART = (
    "macro.enabled=false",
    "model.augment=null",
    "model.batch_size=16",
    "model.dropout=0",
    "callbacks.svm_head.C=100",
    "trainer.folds_at_once=1",
)
FROZEN = (
    "model.augment=null",
    "model.transfer.freeze=[all]",
    "model.transfer.input_stats=macro",
    "model.optimizer.weight_decay=0.0001",
    "callbacks.svm_head.C=100",
)
BEST = (*HEART, "protocol.validation=0.3", "selection=validation")
INNER = (*HEART, "protocol.inner.n_splits=2", "protocol.inner.choose=[svm,thresholds]")
PARALLEL = (*HEART[:1], *HEART[2:-1], "trainer.folds_at_once=2")
EPOCHS = 20

Plant = Callable[[pytest.MonkeyPatch], None]


def nothing(_: pytest.MonkeyPatch) -> None:
    """Plant nothing."""


#: Case -> settings, what is planted, heads that score above their bound.
CASES: dict[str, tuple[tuple[str, ...], Plant, set[str]]] = {
    "clean": (HEART, nothing, set()),
    "clean, best epoch": (BEST, nothing, set()),
    "clean, inner choices": (INNER, nothing, set()),
    "clean, frozen": (FROZEN, nothing, set()),
    "clean, parallel": (PARALLEL, planting.parallel_folds, set()),
    "loader": (
        HEART,
        partial(planting.loader_gives, planting.all_tested),
        {"svm", "softmax"},
    ),
    "head": (HEART, partial(planting.heads_get, planting.all_tested), {"svm"}),
    "frozen": (FROZEN, planting.frozen_folds_get_test_rows, {"svm", "softmax"}),
    "parallel": (PARALLEL, planting.parallel_folds_get_test_rows, {"softmax"}),
}


@pytest.fixture(scope="module")
def finished(
    tiny_config: Config, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[tuple[str, ...]], Path]:
    """A clean run of one epoch with some settings, in a folder of its own."""
    folder = tmp_path_factory.mktemp("null")
    made: dict[tuple[str, ...], Path] = {}

    def make(words: tuple[str, ...]) -> Path:
        if words not in made:
            made[words] = folder / f"run-{len(made)}"
            config = tiny_config(*words, "model.epochs=1", "protocol.n_splits=3")
            runner.run(config, made[words])
        return made[words]

    return make


@pytest.mark.parametrize("case", CASES)
def test_what_permuted_labels_show(
    case: str,
    finished: Callable[[tuple[str, ...]], Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    words, plant, expected = CASES[case]
    run_dir = Path(shutil.copytree(finished(words), tmp_path / "run"))
    planting.nothing_is_refused(monkeypatch)
    plant(monkeypatch)
    test = null_test(run_dir, permutations=2, epochs=EPOCHS)
    assert {score.head for score in test.scores if score.leaks} == expected
    assert test.verdict == ("fail" if expected else "pass")
