"""Leaks through code of a user's own: a training reaches its own sides alone; heads score alone."""

from collections.abc import Callable
from pathlib import Path

import pytest

from mer.audit.verdict import audit
from mer.training import runner
from tests.audit import own_leaks
from tests.audit.test_leaks import BEST, INNER, PLAIN, refused
from tests.builders import Config

pytestmark = pytest.mark.usefixtures("one_thread")

ASKED = "asked for "
PREDICTED = "predictions are not what the network gives for these samples: "


def own(name: str, **arguments: object) -> str:
    """The override that adds one of `own_leaks` to the callbacks."""
    more = "".join(f", {key}: {value}" for key, value in arguments.items())
    return f"+callbacks.own={{_target_: {own_leaks.__name__}.{name}{more}}}"


#: What is planted -> settings, who plants it, and what the refusal says.
LEAKS: dict[str, tuple[tuple[str, ...], Callable[[pytest.MonkeyPatch], None], str]] = {
    "fine-tuned at the end": ((*PLAIN, own("Tune", hook="on_fit_end")), own_leaks.nothing, ASKED),
    "fine-tuned before the start": ((*PLAIN, own("Tune", hook="setup")), own_leaks.nothing, ASKED),
    "fine-tuned with noise": (
        (*PLAIN, own("Tune", hook="on_train_start", noise=0.01)),
        own_leaks.nothing,
        ASKED,
    ),
    "batch norm": ((*PLAIN, own("TestStatistics")), own_leaks.nothing, ASKED),
    "rows put into a batch": ((*BEST, own("SwapBatch")), own_leaks.nothing, ASKED),
    "a batch of others": (PLAIN, own_leaks.samples_are_others, ASKED),
    "inner batches of others": (INNER, own_leaks.samples_are_others, ASKED),
    "mixed by augmentation": (PLAIN, own_leaks.augmentation_mixes, ASKED),
    "labels in the pictures": (PLAIN, own_leaks.labels_are_painted, PREDICTED),
    "weights of the loss": (
        PLAIN,
        own_leaks.loss_has_other_weights,
        "the class weights are not those of the training side",
    ),
    "scores of others": (
        PLAIN,
        own_leaks.scores_are_replaced,
        "scores of the head svm are not what it gives when it is asked for one of these samples: ",
    ),
    "scores by who is tested": (
        (*PLAIN, own("Centring")),
        own_leaks.nothing,
        "scores of the head centring are not what it gives when it is asked for one of these ",
    ),
}


@pytest.mark.parametrize("leak", LEAKS)
def test_a_leak_of_own_code_is_refused(
    leak: str, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words, plant, expected = LEAKS[leak]
    config = tiny_config(*words)
    plant(monkeypatch)
    assert expected in refused(config, tmp_path / "run")


def test_a_callback_finds_no_label_of_the_test_side(tiny_config: Config, tmp_path: Path) -> None:
    runner.run(tiny_config(*PLAIN, own("Counting")), tmp_path / "run")


def test_weights_of_a_file_are_remarked(tiny_config: Config, tmp_path: Path) -> None:
    runner.run(tiny_config(*PLAIN), tmp_path / "run")
    config = tmp_path / "run" / "config.yaml"
    assert "began with" not in remark_on_weights(tmp_path / "run")
    config.write_text(config.read_text().replace("  weights: null", "  weights: theirs.pt", 1))
    text = "the networks began with the file theirs.pt; whose faces trained these is not known"
    assert text in remark_on_weights(tmp_path / "run")


def remark_on_weights(run_dir: Path) -> str:
    [check] = [check for check in audit(run_dir).checks if check.name == "weights"]
    return check.remark
