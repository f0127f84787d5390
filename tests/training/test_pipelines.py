"""Pipelines: named variants of a run, of which each fold chooses one on its training side."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from mer import metrics, protocols
from mer.audit import Artefacts, audit
from mer.audit.check_choices import check_selection
from mer.config import stored
from mer.config.composition import typed
from mer.data import sources
from mer.runs import rundir
from mer.training import inner, pipelines, runner
from mer.training.evaluate import evaluate
from tests.builders import PIXELS, Config

VARIANTS = (
    "{plain: {input.scale: none}, scaled: {input: {scale: channel}, input.blur: 1}, "
    "several: {callbacks.svm_head.sources: [input, {scale: joint}], callbacks.svm_head.C: 2}}"
)
WORDS = (
    *PIXELS,
    "protocol.n_splits=2",
    "protocol.inner.n_splits=2",
    "protocol.inner.choose=[pipeline]",
    f"+protocol.inner.pipelines={VARIANTS}",
)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("pipelines") / "run"
    runner.run(tiny_config(*WORDS), run_dir)
    return run_dir


def content_of(folder: Path) -> dict[str, Any]:
    return dict(json.loads((folder / inner.FILE).read_text()))


def test_dotted_keys_are_mappings() -> None:
    keys = {"input.scale": "none", "input": {"blur": 1}, "callbacks.svm_head.C": 2}
    assert pipelines.nested(keys) == {
        "input": {"scale": "none", "blur": 1},
        "callbacks": {"svm_head": {"C": 2}},
    }


def test_candidates_are_scored_as_by_hand(finished: Path, tiny_config: Config) -> None:
    """Pooled UF1 of an SVM on standardised pixels, by scikit-learn over the same inner splits."""
    settings = typed(tiny_config(*WORDS))
    data = sources.dataset(settings, sources.load(settings, "micro"))
    outer = sources.folds(settings, data.table)[0]
    content = content_of(rundir.fold_folder(finished, outer.name))
    true, predicted = [], []
    for split in protocols.inner_folds(data.table, outer, 2, settings.seed):
        train, held = (data.positions(getattr(split, side)) for side in ("train", "validation"))
        scaler = StandardScaler().fit(data.rows[train])
        svc = SVC(class_weight="balanced", gamma=1 / 768, break_ties=True)
        svc.fit(scaler.transform(data.rows[train]), data.labels[train])
        predicted += svc.predict(scaler.transform(data.rows[held])).tolist()
        true += data.labels[held].tolist()
    choice = content["choices"]["pipeline"]
    assert choice["candidates"] == ["plain", "scaled", "several"]
    assert choice["predicted"][0] == predicted
    assert choice["uf1"][0] == pytest.approx(metrics.scores(true, predicted, 3)["uf1"])
    assert sorted(content["judged"]) == sorted(outer.train)


def test_a_fold_is_of_the_pipeline_that_it_chose(finished: Path) -> None:
    for folder in (finished / "folds").iterdir():
        choice = content_of(folder)["choices"]["pipeline"]
        assert choice["chosen"] == choice["candidates"][int(np.argmax(choice["uf1"]))]
        config = stored.read(folder / "config.yaml")
        provenance = torch.load(folder / "model.ckpt", weights_only=True)["mer"]
        assert provenance["inner"] == {"pipeline": choice["chosen"]}
        scale = {"scaled": "channel"}.get(choice["chosen"], "none")
        assert config.input.scale == provenance["input"]["scale"] == scale
        state = torch.load(folder / "heads.pt", weights_only=True)["svm"]["settings"]
        assert state["C"] == (2 if choice["chosen"] == "several" else 1)
    assert set(evaluate(finished)["different_labels"].values()) == {0}
    assert audit(finished).verdict == "pass"


def test_a_run_goes_on_and_gives_the_same(
    finished: Path, tiny_config: Config, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    folder = next((run_dir / "folds").iterdir())
    (folder / "predictions.parquet").unlink()
    runner.run(tiny_config(*WORDS), run_dir)
    again, before = (pd.read_parquet(one / "predictions.parquet") for one in (run_dir, finished))
    pd.testing.assert_frame_equal(again, before)


def judged_by_a_test_sample(content: dict[str, Any], tested: str) -> None:
    content["judged"][0] = tested


def better(content: dict[str, Any], tested: str) -> None:
    choice = content["choices"]["pipeline"]
    choice["uf1"] = [uf1 + 0.1 for uf1 in choice["uf1"]]


def another(content: dict[str, Any], tested: str) -> None:
    choice = content["choices"]["pipeline"]
    choice["chosen"] = next(one for one in choice["candidates"] if one != choice["chosen"])


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (judged_by_a_test_sample, "1 samples from outside of its training side judged pipelines: "),
        (better, "the UF1 of pipeline plain does not follow from its predictions"),
        (another, "inner choice of pipeline is "),
        (another, "settings are not those of the chosen pipeline"),
    ],
)
def test_the_audit_sees_choices_that_are_not_as_recorded(
    edit: Callable[[dict[str, Any], str], None], expected: str, finished: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    folder = next((run_dir / "folds").iterdir())
    content = content_of(folder)
    table = pd.read_parquet(run_dir / "manifest.parquet")
    edit(content, table.loc[table["fold"] == folder.name, "sample_id"].iloc[0])
    (folder / inner.FILE).write_text(json.dumps(content))
    found = check_selection(Artefacts(run_dir))
    assert found.verdict == "fail" and expected in found.evidence


def test_the_audit_compares_the_fitted_svm_with_the_settings(
    finished: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    folder = next((run_dir / "folds").iterdir())
    states = torch.load(folder / "heads.pt", weights_only=True)
    set_to = states["svm"]["settings"]["C"]
    states["svm"]["settings"]["C"] = 7.0
    torch.save(states, folder / "heads.pt")
    found = check_selection(Artefacts(run_dir))
    assert f"the head svm was fitted with C=7.0; {set_to:g}" in found.evidence.replace(".0 ", " ")


def test_pipelines_that_cannot_be_used_are_named_together(tiny_config: Config) -> None:
    many = (
        "{size: {input.size: 0}, model: {model.dropout: 0.1}, seed: {seed: 1}, "
        "new: {callbacks.other.C: 1}}"
    )
    words = (*WORDS[:-1], f"+protocol.inner.pipelines={many}")
    found = "\n".join(inner.problems(typed(tiny_config(*words))))
    assert "protocol.inner.pipelines.size: " in found and "input.size is 0" in found
    assert "pipelines.model changes model; it may change input, callbacks: there is no net" in found
    assert "pipelines.seed changes seed; it may change input, callbacks" in found
    assert "protocol.inner.pipelines.new" in found
    [none] = inner.problems(typed(tiny_config(*WORDS[:-1])))
    assert none.startswith("protocol.inner.choose names pipeline, and there is none; name them in")


@pytest.mark.slow
def test_pipelines_of_a_network_may_change_its_training(
    tiny_config: Config, tmp_path: Path
) -> None:
    many = "{plain: {model.dropout: 0}, slow: {model.optimizer.lr: 1e-5, input.blur: 1}}"
    words = [
        "macro.enabled=false",
        "protocol.n_splits=2",
        "model.epochs=1",
        "protocol.inner.n_splits=2",
        "protocol.inner.choose=[pipeline,thresholds]",
        f"+protocol.inner.pipelines={many}",
    ]
    runner.run(tiny_config(*words), tmp_path / "run")
    for folder in (tmp_path / "run" / "folds").iterdir():
        choices = content_of(folder)["choices"]
        assert list(choices) == ["pipeline", "thresholds"]
        config = stored.read(folder / "config.yaml")
        rate = {"plain": 1e-3, "slow": 1e-5}[choices["pipeline"]["chosen"]]
        assert config.model.optimizer.lr == rate
        hyper = torch.load(folder / "model.ckpt", weights_only=True)["hyper_parameters"]
        assert hyper["optimizer"]["lr"] == rate
        assert not list(folder.glob("inner-*"))
    assert audit(tmp_path / "run").verdict == "pass"
    assert set(evaluate(tmp_path / "run")["different_labels"].values()) == {0}
