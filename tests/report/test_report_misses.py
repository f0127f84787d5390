"""Coverage, samples that all miss, and the learning curve over persons; by hand-worked values."""

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf

from mer.report import person_curve, run_misses
from mer.report.repeat import command
from mer.report.run_page import ENSEMBLE
from mer.runs import checksums, ensemble, label_access
from mer.runs.stored_run import Run
from mer.training import baseline
from mer.training.baseline import Split, Task
from tests.builders import flow_dataset
from tests.report.report_inputs import predictions, read, write_run


def test_accuracy_of_the_surest_and_the_area_below_it() -> None:
    curve, area = run_misses.coverage([1, 4, 3, 2], [True, True, True, False])
    assert curve.tolist() == pytest.approx([1, 1, 2 / 3, 3 / 4])
    assert area == pytest.approx((1 + 1 + 2 / 3 + 3 / 4) / 4)
    # Coverage of half of 4 are 2 samples; of 70 and 80 % 3 and 4.
    assert run_misses.at_shares(curve) == pytest.approx([1, 2 / 3, 3 / 4, 3 / 4, 3 / 4])


def test_equally_sure_samples_count_as_their_mean_in_whatever_order() -> None:
    for right in ([True, False, True], [False, True, True]):
        curve, _ = run_misses.coverage([5, 5, 1], right)
        assert curve.tolist() == pytest.approx([1 / 2, 1 / 2, 2 / 3])


def test_votes_are_turned_into_margins(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    config = OmegaConf.load(run_dir / "config.yaml")
    config.callbacks = {"svm_head": {"_target_": "mer.callbacks.svm_head.SVMHead", "name": "svm"}}
    OmegaConf.save(config, run_dir / "config.yaml")
    frame = predictions()[:2].copy()
    # Two votes against one in both, by sums of margins 2, 0, -2 and .2, 0, -.2.
    scores = [(2 + 2 / 9, 1, -2 / 9), (2 + 0.2 / 3.6, 1, -0.2 / 3.6)]
    frame[["svm_negative", "svm_positive", "svm_surprise"]] = scores
    frame.to_parquet(run_dir / "predictions.parquet")
    leads = run_misses.lead(Run(run_dir), "svm").to_numpy()
    assert leads == pytest.approx(2 * np.tanh([1, 0.1]) / (8 / 3) ** 0.5)
    softmax = run_misses.lead(Run(run_dir), "softmax").to_numpy()
    assert softmax == pytest.approx(np.array([0.95 - 0.025, 0.6 - 0.2]) * 3 / 2**0.5)


@pytest.mark.usefixtures("no_figures")
def test_samples_that_all_miss_are_listed(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    # The SVM misses s1/b, 1/b and 1/c; let the softmax miss s1/a and 1/c.
    frame = predictions()
    frame.loc[7, "softmax"] = "positive"
    frame.to_parquet(run_dir / "predictions.parquet")
    missed = run_misses.missed_by_all(Run(run_dir))
    assert missed["heads"] == ["SVM on embeddings", "softmax"]
    assert missed["rows"] == [["samm/1/c", "surprise", "surprise", "negative", "positive"]]
    assert (missed["every"], missed["samples"]) == (4, 8)
    assert missed["datasets"] == ["casme2: 0 of 5 (0 %)", "samm: 1 of 3 (33 %)"]
    page = read(run_dir)
    assert "1 of 8 samples (12 %) are missed by all of these" in page.sections["Missed by all"]
    assert page.table("sample")[0][:2] == ["samm/1/c", "surprise"]


@pytest.mark.usefixtures("no_figures")
def test_the_page_of_an_ensemble(tmp_path: Path) -> None:
    for name in ("a", "b"):
        run_dir = write_run(tmp_path / name)
        label_access.record(run_dir, predictions(), "run")
        checksums.write(run_dir, Run(run_dir).metrics)
    (tmp_path / "b" / "environment.json").write_text(json.dumps([{"data_hash": "b"}]))
    words = [f"{tmp_path}/a:svm", f"{tmp_path}/b:softmax"]
    run = ensemble.make(words, tmp_path / "both")
    page = read(run.directory)
    assert "UF1, mean of the members" in page.sections[""]
    assert "Calibration" in page.sections  # of the mean itself
    assert page.sections["More persons"] == ENSEMBLE
    assert "../a:svm, ../b:softmax" in page.sections["What was run"]
    assert command(run.directory) == f"mer ensemble {tmp_path}/a:svm {tmp_path}/b:softmax"
    table, absent = run_misses.said(run)
    assert list(table) == ["mean of the members", "a:svm", "b:softmax"]
    assert table["a:svm"].tolist() == predictions()["svm"].tolist()
    assert absent == []
    (tmp_path / "a").rename(tmp_path / "gone")
    assert run_misses.said(run)[1] == ["a:svm"]


def test_the_first_persons_of_an_order_are_taken() -> None:
    persons = np.array(["a", "a", "b", "c", "d", "e"])
    train, order = np.array([0, 1, 2, 4, 5]), ["c", "d", "a", "b", "e"]
    taken = {share: person_curve.take(train, persons, order, share).tolist() for share in (0, 0.5)}
    assert taken == {0: [4], 0.5: [0, 1, 4]}  # d alone; d and a, of d, a, b, e
    assert person_curve.take(train, persons, order, 0.75).tolist() == [0, 1, 2, 4]
    assert person_curve.take(train, persons, order, 1).tolist() == train.tolist()


def test_the_curve_ends_with_the_score_of_all_persons(tmp_path: Path) -> None:
    data = flow_dataset(size=8)
    data.table["person"] = [f"p{number % 8}" for number in range(24)]
    tests = {"a": np.arange(24)[::2], "b": np.arange(24)[1::2]}
    ids = data.table["sample_id"].to_numpy()
    rows = [(fold, ids[n], "train") for fold in "ab" for n in tests["b" if fold == "a" else "a"]]
    splits = pd.DataFrame(rows, columns=["fold", "sample_id", "side"])
    splits.to_parquet(tmp_path / "splits.parquet")
    networks = SimpleNamespace(dataset=data, tested=tests)
    run = SimpleNamespace(directory=tmp_path, all_scores={}, get=lambda _, default: default)
    points = person_curve.learning_curve(run, networks)
    assert [(p.share, p.persons, len(p.uf1)) for p in points] == [
        (0.25, 1, 3),
        (0.5, 2, 3),
        (0.75, 3, 3),
        (1.0, 4, 1),
    ]
    assert person_curve.learning_curve(run, networks) == points
    sides = [Split(tests["b"], tests["a"]), Split(tests["a"], tests["b"])]
    task = Task(baseline.pixels(data), data.labels, 3)
    said = np.concatenate([one.argmax(axis=1) for one in baseline.fit(task, sides)])
    right = said == data.labels[np.concatenate([tests["a"], tests["b"]])]
    assert right.all() == (points[-1].uf1 == [1.0])
    run.all_scores = {"baseline": {"pooled": {"uf1": 0.123}}}
    assert person_curve.learning_curve(run, networks)[-1].uf1 == [0.123]
    table = person_curve.as_table(points)
    assert table["uf1"].tolist() == pytest.approx([np.mean(p.uf1) for p in points])
    assert (table["low"] <= table["uf1"]).all()
