"""`macro.weights`: weights of an earlier macro-pretraining, from a file."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from mer.config.composition import typed
from mer.data import sources
from mer.errors import MerError
from mer.models.checkpoints import read_checkpoint
from mer.training import given_weights, runner
from mer.training.pretrain import macro_weights
from tests.builders import Config


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "theirs" / "best.ckpt"
    path.parent.mkdir()
    path.write_bytes(b"weights")
    path.with_name("pretraining.json").write_text(
        '{"accuracy": 0.5, "uf1": 0.4, "validation_persons": []}'
    )
    return path


def take(monkeypatch: pytest.MonkeyPatch, tiny_config: Config, path: Path, **made: Any) -> Path:
    """Take a file whose checkpoint says this of its making."""
    monkeypatch.setattr(given_weights, "read_checkpoint", lambda _: {"mer": made})
    words = [f"macro.weights={path}", f"paths.cache={path.parents[1] / 'cache'}"]
    return macro_weights(typed(tiny_config(*words)), None, {"casme2/sub01", "samm/006"})


def test_weights_of_strangers_are_taken_into_the_cache_by_their_content(
    file: Path, monkeypatch: pytest.MonkeyPatch, tiny_config: Config
) -> None:
    first = take(monkeypatch, tiny_config, file, stage="macro", persons=["ck/s010"])
    assert first.read_bytes() == b"weights" and first.with_name("pretraining.json").exists()
    assert take(monkeypatch, tiny_config, file, stage="macro") == first
    file.write_bytes(b"others")
    assert take(monkeypatch, tiny_config, file, stage="macro") != first


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({"stage": "micro"}, "no checkpoint of macro-pretraining, but one of a run's folds"),
        (
            {"stage": "macro", "persons": ["samm/006", "ck/s010"]},
            "trained by 1 persons whom this run tests: samm/006",
        ),
    ],
)
def test_weights_that_have_seen_the_tested_are_refused(
    file: Path,
    made: dict[str, Any],
    message: str,
    monkeypatch: pytest.MonkeyPatch,
    tiny_config: Config,
) -> None:
    with pytest.raises(MerError, match=message):
        take(monkeypatch, tiny_config, file, **made)


def test_what_is_not_there_is_named(
    file: Path, monkeypatch: pytest.MonkeyPatch, tiny_config: Config
) -> None:
    file.with_name("pretraining.json").unlink()
    with pytest.raises(MerError, match=r"pretraining\.json of the same training"):
        take(monkeypatch, tiny_config, file, stage="macro")
    with pytest.raises(MerError, match="there is no such file"):
        take(monkeypatch, tiny_config, file.with_name("none.ckpt"), stage="macro")


def test_no_macro_dataset_is_read(tiny_config: Config) -> None:
    assert typed(tiny_config()).macro.reads_datasets
    assert not typed(tiny_config("macro.weights=best.ckpt", "data.macro=null")).macro.reads_datasets


@pytest.mark.slow
def test_a_run_with_given_weights_predicts_what_the_run_that_trained_them_predicts(
    tiny_config: Config, tmp_path: Path
) -> None:
    trained = runner.run(tiny_config(), tmp_path / "trained")
    settings = typed(tiny_config())
    corpus = sources.load(settings, "macro")
    weights = macro_weights(settings, corpus, set())
    theirs = Path(shutil.copytree(weights.parent, tmp_path / "theirs")) / weights.name
    assert read_checkpoint(theirs)["mer"]["stage"] == "macro"
    given = runner.run(
        tiny_config(f"macro.weights={theirs}", "data.macro=null"), tmp_path / "given"
    )
    assert json.dumps(given["heads"]) == json.dumps(trained["heads"])
