"""`debug=overfit` and `debug=fast`: can the network learn, and does everything work once."""

from pathlib import Path

import pytest

from mer.audit.verdict import audit
from mer.config.composition import compose, typed
from mer.errors import MerError
from mer.runs import label_access
from mer.runs.claims import claim
from mer.training import runner
from tests.builders import Config


@pytest.fixture
def words(tiny_words: list[str]) -> list[str]:
    """A run that shall know its own samples."""
    kept = [word for word in tiny_words if not word.startswith("protocol")]
    return [*kept, "debug=overfit", "trainer.enable_progress_bar=false"]


def test_a_network_that_has_not_learnt_its_samples_is_an_error(
    words: list[str], tmp_path: Path
) -> None:
    with pytest.raises(MerError, match=r"knows \d+ of \d+ samples .* for 1 epochs"):
        runner.run(compose([*words, "model.epochs=1"]), tmp_path / "run")


@pytest.mark.slow
def test_a_network_that_learns_knows_all_of_them(
    words: list[str], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    result = runner.run(compose([*words, "model.optimizer.lr=0.01"]), tmp_path / "run")
    assert result["status"] == "untested"
    assert "training samples are right after 80 epochs" in caplog.text


@pytest.mark.slow
def test_a_fast_run_goes_the_whole_way_and_has_no_score_to_report(
    tiny_config: Config, tmp_path: Path
) -> None:
    run_dir = tmp_path / "run"
    result = runner.run(tiny_config("debug=fast", "macro.epochs=1", "model.epochs=1"), run_dir)
    assert result["status"] == "complete"
    assert (run_dir / "metrics-DEBUG.json").exists() and not (run_dir / "metrics.json").exists()
    (sentence,) = label_access.warnings(run_dir)
    assert sentence.startswith("debug=fast: a run on few samples")
    assert audit(run_dir).verdict == "fail"
    with pytest.raises(MerError, match=r"debug\.name: fast there, None now"):
        claim(run_dir, typed(tiny_config()))
