"""`protocol=random_samples`: splits as leaky papers do, and what it gives is marked everywhere."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf

from mer import protocols
from mer.audit import audit
from mer.cli import main
from mer.config.composition import compose
from mer.errors import MerError
from mer.protocols import Fold
from mer.runs import label_access, rundir
from mer.training import runner
from tests.builders import save_config

RANDOM = {"name": "random_samples", "n_splits": 3}
WARNING = "protocol=random_samples: split by sample, so persons who trained are tested"


def table() -> pd.DataFrame:
    """Three persons with 9 negative, 6 positive and 3 surprised samples: 3, 2, 1 of each."""
    rows = [
        {"sample_id": f"x/{person}/{label}{n}", "dataset": "x", "person": person, "label": label}
        for person in ("ann", "ben", "cid")
        for label, count in (("negative", 3), ("positive", 2), ("surprise", 1))
        for n in range(count)
    ]
    return pd.DataFrame(rows)


def test_each_part_has_its_share_of_each_class_and_each_sample_is_tested_once() -> None:
    samples = table()
    label = dict(zip(samples["sample_id"], samples["label"], strict=True))
    folds = protocols.make_folds(samples, **RANDOM)
    assert [fold.name for fold in folds] == ["part-00", "part-01", "part-02"]
    for fold in folds:
        found = sorted(label[sample] for sample in fold.test)
        assert found == ["negative"] * 3 + ["positive"] * 2 + ["surprise"]
        assert sorted([*fold.train, *fold.test]) == sorted(samples["sample_id"])
    assert sorted(s for fold in folds for s in fold.test) == sorted(samples["sample_id"])


def test_the_parts_depend_on_the_seed_and_not_on_the_order_of_the_table() -> None:
    samples = table()
    again = protocols.make_folds(samples.sample(frac=1, random_state=1), **RANDOM)
    assert again == protocols.make_folds(samples, **RANDOM)
    assert again != protocols.make_folds(samples, **RANDOM, seed=1)


def test_persons_may_be_tested_who_train_but_nobody_else_is_let_off() -> None:
    samples = table()
    folds = protocols.make_folds(samples, **RANDOM)
    with pytest.raises(MerError, match="ann, ben, cid in train and in test"):
        protocols.check_folds(folds, samples)
    protocols.check_folds(folds, samples, persons_apart=False)
    first = folds[0]
    twice = Fold(first.name, (*first.train, first.test[0]), (), first.test)
    with pytest.raises(MerError, match=f"{first.test[0]} in train and in test"):
        protocols.check_folds([twice, *folds[1:]], samples, persons_apart=False)
    known = Fold(first.name, first.train[1:], first.train[:1], first.test)
    with pytest.raises(MerError, match="ann in train and in validation"):
        protocols.check_folds([known, *folds[1:]], samples, persons_apart=False)


def test_validation_persons_are_still_strangers_to_the_training_side() -> None:
    samples = table()
    person = dict(zip(samples["sample_id"], samples["person"], strict=True))
    for fold in protocols.make_folds(samples, **{**RANDOM, "validation": 0.34}):
        held = {person[sample] for sample in fold.validation}
        assert len(held) == 1
        assert {person[sample] for sample in fold.train} == {"ann", "ben", "cid"} - held


@pytest.mark.parametrize("n_splits", [1, 4])
def test_there_are_no_more_parts_than_samples_of_the_rarest_class(n_splits: int) -> None:
    with pytest.raises(MerError, match="with 3 samples of the rarest class set 2 to 3"):
        protocols.make_folds(table(), **{**RANDOM, "n_splits": n_splits})


@pytest.mark.parametrize(
    ("selection", "protocol", "name"),
    [
        ("last", "loso", "metrics.json"),
        ("oracle", "loso", "metrics-ORACLE.json"),
        ("validation", "random_samples", "metrics-LEAKY.json"),
        ("oracle", "random_samples", "metrics-ORACLE-LEAKY.json"),
    ],
)
def test_file_names_say_what_speaks_against_the_content(
    selection: str, protocol: str, name: str, tmp_path: Path
) -> None:
    cfg = {"selection": selection, "protocol": {"name": protocol}}
    assert rundir.marked("metrics.json", cfg) == name
    assert rundir.find(tmp_path, "metrics.json") is None
    (tmp_path / name).touch()
    assert rundir.find(tmp_path, "metrics.json") == tmp_path / name


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Train on 24 noise pictures of four persons; give the run directory."""
    folder = tmp_path_factory.mktemp("noise")
    draw = np.random.default_rng(0)
    np.savez(
        folder / "noise.npz",
        flow_bgr=draw.integers(0, 256, (24, 28, 28, 3), dtype=np.uint8),
        label=np.arange(24) % 3,
        subject=[f"{n // 6}" for n in range(24)],
        corpus=["noise"] * 24,
        clip=[f"clip{n:02d}" for n in range(24)],
    )
    words = [
        "data=htnet_flow",
        "data.name=noise",
        f"data.root={folder}",
        "data.micro.flow.root=noise.npz",
        "data.check_counts=false",
        f"paths.cache={folder / 'cache'}",
        "macro.enabled=false",
        "backbone=tiny",
        "input.size=32",
        "trainer.accelerator=cpu",
        "trainer.folds_at_once=1",
        "trainer.enable_progress_bar=false",
        "logger=none",
        "run.dir=unused",
    ]

    def run(name: str, *more: str) -> Path:
        runner.run(compose([*words, *more]), folder / name)
        return folder / name

    return run


@pytest.fixture(scope="module")
def leaky(train: Callable[..., Path]) -> Path:
    """A finished run on a random split in two parts."""
    return train("run", "protocol=random_samples", "protocol.n_splits=2", "model.epochs=1")


@pytest.fixture
def copied(tmp_path: Path) -> Callable[[Path], Path]:
    """Copy a run to tamper with."""
    return lambda run_dir: Path(shutil.copytree(run_dir, tmp_path / "copy"))


def test_the_split_is_named_in_scores_tables_comparisons_and_the_report(
    leaky: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert label_access.warnings(leaky) == [WARNING]
    metrics = json.loads((leaky / "metrics-LEAKY.json").read_text())
    assert metrics["warnings"] == [WARNING]
    judged = {path.name for path in leaky.rglob("*") if path.name.startswith("pred")}
    assert judged == {"predictions-LEAKY.parquet"}
    assert not (leaky / "metrics.json").exists()
    assert main(["evaluate", str(leaky)]) == 0  # its weights may be tested here, and say the same
    assert f"!! {WARNING}" in capsys.readouterr().out
    assert main(["compare", str(leaky)]) == 0
    shown = capsys.readouterr().out
    assert f"run !! {WARNING}" in " ".join(shown.split())

    from mer.runs.stored_run import Run

    assert Run(leaky).warnings == [WARNING]


def test_the_audit_fails_the_split_by_its_name_and_nothing_else(leaky: Path) -> None:
    manifest = pd.read_parquet(leaky / "manifest.parquet")
    splits = manifest.groupby("person")["fold"].nunique()
    known, persons = int((splits > 1).sum()), len(splits)
    assert known > 0
    failed = {check.name: check for check in audit(leaky).checks if check.verdict == "fail"}
    assert list(failed) == ["persons"]
    assert failed["persons"].evidence == (
        f"protocol=random_samples splits by sample: {known} of {persons} persons are tested by "
        "networks that know them."
    )


def test_the_same_split_under_another_name_is_no_longer_let_off(
    leaky: Path, copied: Callable[[Path], Path]
) -> None:
    run_dir = copied(leaky)
    config = OmegaConf.load(run_dir / "config.yaml")
    config.protocol.name = "group_kfold"
    save_config(config, run_dir)
    failed = {check.name: check for check in audit(run_dir).checks if check.verdict == "fail"}
    assert "persons in train and in test" in failed["persons"].evidence
    assert "weights trained by" in failed["weights"].evidence
    assert "4 files are named as if" in failed["selection"].evidence


def test_macro_weights_of_tested_persons_are_refused_here_too(
    leaky: Path, copied: Callable[[Path], Path]
) -> None:
    run_dir = copied(leaky)
    manifest = pd.read_parquet(run_dir / "manifest.parquet")
    person = manifest.loc[manifest["fold"] == "part-00", "person"].iloc[0]
    path = run_dir / "folds" / "part-00" / "model.ckpt"
    content = torch.load(path, weights_only=True)
    content["mer"]["transfer"] = {"persons": [person]}
    torch.save(content, path)
    failed = {check.name: check for check in audit(run_dir).checks if check.verdict == "fail"}
    assert set(failed) == {"files", "persons", "weights"}
    assert failed["weights"].evidence == (
        f"fold part-00: macro weights trained by 1 tested persons: {person}."
    )


def test_wandb_tags_say_it(leaky: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wandb = pytest.importorskip("wandb")
    from mer.loggers.wandb import WandbLogger

    class Opened(Exception):
        pass

    def init(**settings: Any) -> None:
        raise Opened(settings["tags"])

    monkeypatch.setattr(wandb, "init", init)
    cfg = OmegaConf.load(leaky / "config.yaml")
    for selection, tags in (("last", ["mine", "LEAKY"]), ("oracle", ["mine", "ORACLE", "LEAKY"])):
        cfg.selection = selection
        run: Any = SimpleNamespace(settings=cfg, run_dir=leaky, macro=None)
        logger = WandbLogger(mode="offline", tags=["mine"], dir=str(tmp_path))
        with pytest.raises(Opened) as caught:
            logger.start(run)
        given = caught.value.args[0]
        assert [tag for tag in given if tag == "mine" or tag.isupper()] == tags


def test_the_oracle_only_looks_on_so_it_trains_the_epochs_of_an_honest_run(
    train: Callable[..., Path],
) -> None:
    words = ("protocol=group_kfold", "protocol.n_splits=2", "model.epochs=3")
    honest, oracle = train("honest", *words), train("oracle", *words, "selection=oracle")
    for name in ("group-00", "group-01"):
        a, b = (
            pd.read_csv(run / "folds" / name / "metrics.csv").dropna(subset="train/loss")
            for run in (honest, oracle)
        )
        assert len(a) == 3
        assert a["train/loss"].tolist() == b["train/loss"].tolist()
