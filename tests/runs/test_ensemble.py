"""The mean of several runs, as a run directory of its own."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.cli import main
from mer.config.settings import Settings
from mer.errors import MerError
from mer.runs import checksums, claims, ensemble, members, results
from mer.runs.stored_run import Run
from tests.builders import save_config

CLASSES = ["negative", "positive", "surprise"]

#: sample -> label; each is a person and a fold of its own.
LABELS = {"smic/a/1": "negative", "smic/b/1": "positive", "smic/c/1": "surprise"}

#: Probabilities of two runs. Their means: .45 .4 .15, .5 .4 .1, .1 .2 .7.
FIRST = [[0.6, 0.2, 0.2], [0.2, 0.7, 0.1], [0.0, 0.2, 0.8]]
SECOND = [[0.3, 0.6, 0.1], [0.8, 0.1, 0.1], [0.2, 0.2, 0.6]]


def write_run(
    directory: Path,
    probabilities: list[list[float]],
    truth: dict[str, str] = LABELS,
    **settings: object,
) -> Path:
    """Write a finished run that has the softmax alone."""
    directory.mkdir()
    config = {
        "seed": 0,
        "selection": "last",
        "data": {"name": "made"},
        "labels": {"name": "megc2019", "classes": CLASSES},
        "protocol": {"name": "loso"},
        "callbacks": {},
        **settings,
    }
    save_config(OmegaConf.create(config), directory)
    frame = pd.DataFrame({"sample_id": list(truth), "label": list(truth.values())})
    frame["person"] = frame["fold"] = frame["sample_id"].str.rpartition("/")[0]
    frame["dataset"], frame["emotion"], frame["subject"] = "smic", frame["label"], frame["person"]
    frame.to_parquet(directory / "manifest.parquet")
    for number, name in enumerate(CLASSES):
        frame[f"softmax_{name}"] = np.array(probabilities)[: len(frame), number]
    frame["softmax"] = np.array(CLASSES)[np.argmax(probabilities, axis=1)][: len(frame)]
    mark = "-ORACLE" if config["selection"] == "oracle" else ""
    frame.to_parquet(directory / f"predictions{mark}.parquet")
    (directory / "environment.json").write_text(json.dumps([{"data_hash": "aaaa"}]))
    heads = results.score(frame, CLASSES, seed=0)
    metrics = {"status": "complete", "heads": heads, "folds": 3}
    (directory / f"metrics{mark}.json").write_text(json.dumps(metrics))
    checksums.write(directory, metrics)
    return directory


@pytest.fixture
def pair(tmp_path: Path) -> list[Path]:
    return [write_run(tmp_path / "first", FIRST), write_run(tmp_path / "second", SECOND)]


def test_probabilities_are_averaged(pair: list[Path], tmp_path: Path) -> None:
    run = ensemble.make(pair, tmp_path / "both")
    means = np.array([[0.45, 0.4, 0.15], [0.5, 0.4, 0.1], [0.1, 0.2, 0.7]])
    expected = (means - 1 / 3) * 3 / 2**0.5  # a sure sample has the spread sqrt(2) / 3
    scores = run.predictions[[f"ensemble_{name}" for name in CLASSES]].to_numpy()
    assert scores == pytest.approx(expected)
    assert run.predictions["ensemble"].tolist() == ["negative", "negative", "surprise"]
    assert list(run.heads) == ["ensemble"]
    # UF1: negative 2/3, positive 0, surprise 1.
    assert run.scores["ensemble"]["uf1"] == pytest.approx(5 / 9)
    assert run.complete
    assert run.warnings == []
    assert run.metrics["looks"] == 1
    assert [node["run"] for node in run.config["ensemble"]] == ["../first", "../second"]


def test_the_order_of_rows_of_a_member_does_not_matter(pair: list[Path], tmp_path: Path) -> None:
    for name in ("manifest.parquet", "predictions.parquet"):
        path = pair[1] / name
        pd.read_parquet(path).iloc[::-1].to_parquet(path, index=False)
    checksums.write(pair[1], Run(pair[1]).metrics)
    run = ensemble.make(pair, tmp_path / "both")
    assert run.predictions["ensemble"].tolist() == ["negative", "negative", "surprise"]


def test_an_oracle_marks_the_ensemble(pair: list[Path], tmp_path: Path) -> None:
    oracle = write_run(tmp_path / "oracle", SECOND, selection="oracle")
    run = ensemble.make([pair[0], oracle], tmp_path / "both")
    assert (tmp_path / "both" / "predictions-ORACLE.parquet").exists()
    assert not (tmp_path / "both" / "predictions.parquet").exists()
    assert "selection=oracle" in run.warnings[0]


def test_a_fold_that_chose_its_own_configuration_says_what_its_scores_are(tmp_path: Path) -> None:
    svm = {"_target_": "mer.callbacks.svm_head.SVMHead", "name": "svm"}
    run_dir = write_run(tmp_path / "run", FIRST, callbacks={"svm_head": svm})
    frame = pd.read_parquet(run_dir / "predictions.parquet")
    for name in CLASSES:
        frame[f"svm_{name}"] = [1.0, 2.0, 3.0]
    frame.to_parquet(run_dir / "predictions.parquet")
    chosen = OmegaConf.create({"callbacks": {"svm_head": {**svm, "decision": "margins"}}})
    (run_dir / "folds" / "smic" / "b").mkdir(parents=True)
    OmegaConf.save(chosen, run_dir / "folds" / "smic" / "b" / "config.yaml")
    number = {"votes": 1, "margins": 10}
    ids = ["smic/c/1", "smic/b/1", "smic/a/1"]
    found = members.scores(Run(run_dir), "svm", ids, lambda scores, form: scores * number[form])
    assert found.tolist() == [[3] * 3, [20] * 3, [1] * 3]


def refusal(words: Sequence[object], directory: Path) -> str:
    with pytest.raises(MerError) as error:
        ensemble.make([str(word) for word in words], directory)
    assert not directory.exists()
    return str(error.value)


def test_what_cannot_be_a_member_is_said_at_once(pair: list[Path], tmp_path: Path) -> None:
    both = ensemble.make(pair, tmp_path / "both").directory
    unfinished = write_run(tmp_path / "unfinished", FIRST)
    (unfinished / "predictions.parquet").unlink()
    old = write_run(tmp_path / "old", FIRST)
    (old / "checksums.json").unlink()
    words = [f"{pair[0]}:svm", tmp_path / "absent", both, unfinished, old]
    said = refusal(words, tmp_path / "new")
    for part in (
        f"{pair[0]} has no head svm; there are softmax",
        "absent does not exist: check its path",
        f"{both} is an ensemble itself; name its members",
        f"{unfinished} is not finished (0 of 3 folds are done)",
        f"{old} has no checksums.json",
    ):
        assert part in said


def test_members_must_share_their_ground(pair: list[Path], tmp_path: Path) -> None:
    others = dict(zip(["smic/a/1", "smic/b/1", "smic/d/1"], CLASSES, strict=True))
    other = write_run(tmp_path / "other", FIRST, others)
    swapped = {**LABELS, "smic/a/1": "positive", "smic/b/1": "negative"}
    relabelled = write_run(tmp_path / "labels", FIRST, swapped)
    classes = write_run(
        tmp_path / "classes", FIRST, labels={"name": "megc2019", "classes": CLASSES[::-1]}
    )
    protocol = write_run(tmp_path / "protocol", FIRST, protocol={"name": "group_kfold"})
    changed = write_run(tmp_path / "changed", SECOND)
    path = changed / "manifest.parquet"
    pd.read_parquet(path).assign(subject="x").to_parquet(path)
    words = [pair[0], other, relabelled, classes, protocol, changed, pair[0]]
    said = refusal(words, tmp_path / "new")
    for part in (
        f"{other} tests 3 samples, {pair[0]} 3, and 2 are the same",
        f"{relabelled} has another label of 2 samples than {pair[0]}",
        f"{classes} has the classes surprise, positive, negative",
        f"{protocol} has the protocol group_kfold, {pair[0]} loso",
        f"{changed} is none to report: manifest.parquet is changed since the run was finished",
        f"{pair[0]}:softmax is {pair[0]}:softmax again",
    ):
        assert part in said


def test_leaky_runs_and_single_ones_are_refused(tmp_path: Path) -> None:
    leaky = {"protocol": {"name": "random_samples"}}
    first = write_run(tmp_path / "first", FIRST, **leaky)
    second = write_run(tmp_path / "second", SECOND, **leaky)
    assert "split by sample" in refusal([first, second], tmp_path / "new")
    assert "two members or more" in refusal([first], tmp_path / "new")


def test_the_command_makes_one_and_refuses_a_full_directory(
    pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["ensemble", str(pair[0]), f"{pair[1]}:softmax", "--name", str(tmp_path / "both")]
    assert main(words) == 0
    assert "mean of the members" in capsys.readouterr().out
    assert main(words) == 2
    assert "is there and not empty" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["evaluate", "export", "audit --null"])
def test_what_needs_a_network_names_the_members(
    command: str, pair: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    both = ensemble.make(pair, tmp_path / "both").directory
    assert main([*command.split(), str(both)]) == 2
    assert f"name one of its members: {pair[0]}, {pair[1]}" in capsys.readouterr().err


def test_a_training_does_not_take_its_directory(pair: list[Path], tmp_path: Path) -> None:
    both = ensemble.make(pair, tmp_path / "both").directory
    with pytest.raises(MerError, match="holds a run with another configuration"):
        claims.claim(both, Settings())
    assert Run(both).config["ensemble"]


@pytest.mark.parametrize("nodes", ["runs/a", [1], [{"run": "../a"}]])
def test_members_of_another_form_are_a_sentence(
    nodes: object, pair: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    config = OmegaConf.load(pair[0] / "config.yaml")
    config.ensemble = nodes
    save_config(config, pair[0])
    assert main(["audit", str(pair[0])]) in (1, 4)
    for command in ("report", "compare", "evaluate"):
        capsys.readouterr()
        assert main([command, str(pair[0])]) == 2
        assert "the configuration is damaged (ensemble" in capsys.readouterr().err
