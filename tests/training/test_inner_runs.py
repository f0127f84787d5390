"""Runs with choices inside their folds: followed, resumed, blind to test labels, audited."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch

from mer.audit import Artefacts
from mer.audit.check_choices import check_selection
from mer.config.composition import typed
from mer.data import sources
from mer.protocols import Fold
from mer.runs import rundir
from mer.runs.observers import RunContext
from mer.training import fold, inner, runner
from tests.builders import Config

pytestmark = pytest.mark.slow

WORDS = [
    "protocol.n_splits=2",
    "protocol.inner.n_splits=2",
    "protocol.inner.choose=[epochs,svm,thresholds]",
    "protocol.inner.svm.C=[0.1,10]",
    "protocol.inner.svm.gamma=[scale]",
    "macro.enabled=false",
    "model.epochs=3",
]


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with inner choices."""
    run_dir = tmp_path_factory.mktemp("inner") / "run"
    runner.run(tiny_config(*WORDS), run_dir)
    return run_dir


def test_a_run_follows_its_inner_choices(finished: Path) -> None:
    splits = pd.read_parquet(finished / "splits.parquet")
    person = pd.read_parquet(finished / "manifest.parquet").set_index("sample_id")["person"]
    for folder in sorted((finished / "folds").iterdir()):
        content = json.loads((folder / "inner.json").read_text())
        chosen = inner.made(content["choices"])
        sides = splits[splits["fold"] == folder.name].groupby("side")["sample_id"].agg(list)
        for split in content["splits"]:
            assert {*split["train"], *split["validation"]} == set(person[sides["train"]])
        assert json.loads((folder / "fold.json").read_text())["epochs"] == chosen["epochs"]
        assert len(pd.read_csv(folder / "metrics.csv")) <= 2 * chosen["epochs"]
        provenance = torch.load(folder / "model.ckpt", weights_only=True)["mer"]
        assert provenance["inner"] == chosen
        head = torch.load(folder / "heads.pt", weights_only=True)["svm"]
        assert head["settings"]["kernel"] == chosen["svm"]["kernel"]
        assert not list(folder.glob("inner-*"))
        frame = pd.read_parquet(folder / "predictions.parquet")
        scores = frame[[name for name in frame if name.startswith("svm_")]].to_numpy()
        classes = [name.removeprefix("svm_") for name in frame if name.startswith("svm_")]
        said = (scores + chosen["thresholds"]["svm"]).argmax(axis=1)
        assert frame["svm"].tolist() == [classes[at] for at in said]


def test_a_killed_inner_choice_goes_on_and_gives_the_same(
    finished: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cfg = tiny_config(*WORDS, "protocol.folds=group-00")
    trained, train = [], inner._train

    def killed(split: Fold, *rest: object) -> None:
        if len(trained) == 1:
            raise KeyboardInterrupt
        trained.append(split.name)
        train(split, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(inner, "_train", killed)
    with pytest.raises(KeyboardInterrupt):
        runner.run(cfg, tmp_path / "run")
    folder = tmp_path / "run" / "folds" / "group-00"
    assert [path.name for path in folder.glob("inner-*")] == ["inner-0.npz"]
    trained.clear()
    monkeypatch.setattr(
        inner, "_train", lambda split, *rest: (trained.append(split.name), train(split, *rest))
    )
    runner.run(cfg, tmp_path / "run")
    assert trained == ["group-00-inner-1"]
    whole = finished / "folds" / "group-00"
    assert (folder / "inner.json").read_text() == (whole / "inner.json").read_text()
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_parquet(whole / "predictions.parquet"),
    )


def test_labels_of_the_test_persons_do_not_reach_the_choice(
    finished: Path, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    splits = pd.read_parquet(finished / "splits.parquet")
    mine = splits["fold"] == "group-00"
    tested = set(splits.loc[mine & (splits["side"] == "test"), "sample_id"])
    sides = {
        side: tuple(part["sample_id"]) for side, part in splits[mine].groupby("side", sort=False)
    }
    outer = Fold("group-00", sides["train"], (), sides["test"])
    load = sources.load

    def permuted(*words: object, **more: object) -> sources.Corpus:
        corpus = load(*words, **more)  # type: ignore[arg-type]
        rows = corpus.table["sample_id"].isin(tested)
        wrong = {"negative": "positive", "positive": "surprise", "surprise": "negative"}
        labels = corpus.table["label"].where(~rows, corpus.table["label"].map(wrong))
        return corpus._replace(table=corpus.table.assign(label=labels))

    monkeypatch.setattr(sources, "load", permuted)
    monkeypatch.setattr(sources, "folds", lambda *_: [outer])
    settings = typed(tiny_config(*WORDS))
    corpus = permuted(settings, "micro")
    context = RunContext(
        settings, tmp_path, corpus, sources.dataset(settings, corpus), [outer], None
    )
    folder = rundir.fold_folder(tmp_path, "group-00")
    folder.mkdir(parents=True)
    fold.run_fold(context, outer)
    before = finished / "folds" / "group-00"
    assert (folder / "inner.json").read_text() == (before / "inner.json").read_text()
    pd.testing.assert_frame_equal(
        pd.read_parquet(folder / "predictions.parquet"),
        pd.read_parquet(before / "predictions.parquet"),
    )


def test_the_audit_reads_inner_choices_and_names_what_is_wrong_with_them(
    finished: Path, tmp_path: Path
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    assert check_selection(Artefacts(run_dir)).verdict == "pass"
    assert "2 folds chose on inner splits" in check_selection(Artefacts(run_dir)).evidence
    path = run_dir / "folds" / "group-00" / "inner.json"
    before = path.read_text()

    def evidence(**changed: object) -> str:
        content = json.loads(before)
        if "person" in changed:
            content["splits"][0]["validation"].append(changed["person"])
        else:
            content["choices"]["epochs"]["uf1"] = changed["uf1"]
        path.write_text(json.dumps(content))
        found = check_selection(Artefacts(run_dir))
        assert found.verdict == "fail"
        return found.evidence

    manifest = pd.read_parquet(run_dir / "manifest.parquet")
    tested = manifest.loc[manifest["fold"] == "group-00", "person"].iloc[0]
    said = evidence(person=tested)
    assert f"1 persons from outside of the fold's training side: {tested}" in said
    chosen = json.loads(before)["choices"]["epochs"]["chosen"]
    other = [float(epoch != chosen) for epoch in (1, 2, 3)]
    assert f"inner choice of epochs is {chosen}, the best is" in evidence(uf1=other)
