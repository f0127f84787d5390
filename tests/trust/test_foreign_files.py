"""Files of somebody else that could run code or fill the memory: none does."""

import contextlib
import pickle
import shutil
import sqlite3
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import optuna
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from optuna.distributions import FloatDistribution

from mer.audit import audit, check_nested
from mer.cli import main
from mer.config.hydra_options import take_trust
from mer.datasets.readers.npz_table import columns_of
from mer.errors import MerError
from mer.models.checkpoints import load_module, save_network
from mer.models.modules import MicroFinetuneModule
from mer.prepare import precomputed, sample
from mer.runs.head_columns import read_states
from mer.search.study import build, open_storage, open_study, require_maker
from tests.builders import network
from tests.trust.foreign import config, package, write_run


class Touch:
    """Makes a file when it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        import os

        return os.system, (f"touch {self.path}",)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "called"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("checkpoint") / "model.ckpt"
    module = network()
    module.provenance = {"persons": [], "selection": "last"}
    save_network(module, path, 1, 1)
    return path


def changed(checkpoint: Path, folder: Path, **settings: Any) -> Path:
    """A copy of a checkpoint with other settings."""
    content = torch.load(checkpoint, weights_only=True)
    content["hyper_parameters"] |= settings
    path = folder / "model.ckpt"
    torch.save(content, path)
    return path


def test_a_pickle_in_a_checkpoint_or_a_head_is_not_read(trace: Path, tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", config())
    fold = run_dir / "folds" / "smic-s1"
    fold.mkdir(parents=True)
    shutil.copy(run_dir / "predictions.parquet", fold / "predictions.parquet")
    for name in ("model.ckpt", "heads.pt"):
        torch.save({"state_dict": Touch(trace)}, fold / name)
        with (fold / f"raw-{name}").open("wb") as file:
            pickle.dump(Touch(trace), file)
    with pytest.raises(MerError, match="not a checkpoint that mer can read"):
        load_module(MicroFinetuneModule, fold / "model.ckpt")
    for name in ("heads.pt", "raw-heads.pt"):
        with pytest.raises(pickle.UnpicklingError):
            read_states(fold / name)
    audit(run_dir)
    assert main(["export", str(run_dir)]) == 2
    assert not trace.exists()


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": {"_target_": "pwned.Loss"}},
        {"optimizer": {"_target_": "pwned.Loss"}},
        {"backbone": {"name": "x", "kwargs": {"norm": [{"_target_": "pwned.Loss"}]}}},
        {"backbone": {"name": "x", "_target_": "pwned.Loss"}},
    ],
)
def test_a_checkpoint_imports_no_package(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]
) -> None:
    imported = package(tmp_path / "code")
    monkeypatch.syspath_prepend(tmp_path / "code")
    with pytest.raises(MerError, match=r"_target_=pwned\.Loss"):
        load_module(MicroFinetuneModule, changed(checkpoint, tmp_path, **settings))
    assert "pwned" not in sys.modules and not imported.exists()


@pytest.mark.parametrize(
    "key", ["checkpoint_path", "pretrained_cfg", "pretrained_cfg_overlay", "pretrained"]
)
def test_a_checkpoint_names_no_file_or_address_for_timm(
    checkpoint: Path, tmp_path: Path, key: str
) -> None:
    node = {"name": "test_efficientnet", "kwargs": {key: "/etc/passwd"}}
    with pytest.raises(MerError, match=rf"backbone\.kwargs\.{key} would load weights"):
        load_module(MicroFinetuneModule, changed(checkpoint, tmp_path, backbone=node))


def test_a_checkpoint_downloads_and_reads_nothing_beside_itself(
    checkpoint: Path, tmp_path: Path
) -> None:
    node = {"name": "test_efficientnet", "pretrained": True, "weights": "/etc/passwd"}
    module = load_module(MicroFinetuneModule, changed(checkpoint, tmp_path, backbone=node))
    assert module.hparams["backbone"]["pretrained"] is False
    with pytest.raises(MerError, match="is for pictures of 1000000 pixels"):
        load_module(MicroFinetuneModule, changed(checkpoint, tmp_path, image_size=1_000_000))


def test_arrays_of_objects_are_not_unpickled(trace: Path, tmp_path: Path) -> None:
    objects = np.array([Touch(trace)], dtype=object)
    np.save(tmp_path / "a.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "a.npz", label=objects, flow=objects)
    row = {"array_path": str(tmp_path / "a.npz"), "array_key": "flow", "array_row": 0}
    for read in (
        lambda: precomputed.array_of(row),
        lambda: precomputed.array_of({**row, "array_path": str(tmp_path / "a.npy")}),
        lambda: columns_of(tmp_path / "a.npz", "flow"),
    ):
        with pytest.raises(MerError):
            read()
    assert not trace.exists()


def test_parquet_that_names_python_types_runs_nothing(trace: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    storage = pa.array(["x"])
    field = pa.field(
        "sample_id",
        storage.type,
        metadata={
            b"ARROW:extension:name": b"arrow.py_extension_type",
            b"ARROW:extension:metadata": pickle.dumps(Touch(trace)),
        },
    )
    meta = {b"pandas": pickle.dumps(Touch(trace))}
    pq.write_table(pa.table([storage], schema=pa.schema([field], metadata=meta)), path)
    run_dir = write_run(tmp_path / "run", config())
    for name in ("manifest.parquet", "predictions.parquet", "splits.parquet"):
        shutil.copy(path, run_dir / name)
    audit(run_dir)
    for command in ("compare", "report", "evaluate"):
        with contextlib.suppress(Exception):  # whatever it says: nothing runs
            assert main([command, str(run_dir)]) != 0
    assert not trace.exists()


@pytest.mark.parametrize(("side", "fits"), [(30_000, False), (12_000, False), (2_000, True)])
def test_a_picture_is_measured_before_it_is_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, side: int, fits: bool
) -> None:
    from PIL import Image

    Image.new("1", (side, side)).save(tmp_path / "a.png")
    decoded = []
    decode = cv2.imdecode
    monkeypatch.setattr(cv2, "imdecode", lambda *a: decoded.append(a) or decode(*a))
    found = sample.read_picture(tmp_path / "a.png")
    assert bool(decoded) == fits
    if fits:
        assert found.shape == (side, side, 3)
    else:
        assert found.reason == "picture too large" and "100,000,000 pixels" in found.detail


CMA = {"_target_": "optuna.samplers.CmaEsSampler", "n_startup_trials": 1}
WRAPPED = {
    "_target_": "optuna.samplers.PartialFixedSampler",
    "fixed_params": {},
    "base_sampler": CMA,
}


def searched(folder: Path) -> optuna.Study:
    """A study with CMA-ES after a few trials, as `mer train -m` begins it."""
    pytest.importorskip("cmaes")
    folder.mkdir()
    study = open_study("search", open_storage(None, folder), ["maximize"], folder)
    study.sampler = build(CMA, "sampler", "", seed=0)
    require_maker(study, study.sampler, folder)
    study.optimize(lambda t: t.suggest_float("x", 0, 1) + t.suggest_float("y", 0, 1), n_trials=8)
    return study


def poisoned(folder: Path, trace: Path) -> None:
    """Put a pickle where CMA-ES keeps its state."""
    with sqlite3.connect(folder / "study.db") as database:
        keys = database.execute("SELECT DISTINCT key FROM trial_system_attributes").fetchall()
        assert any(key.startswith("cma:") for (key,) in keys)
        payload = pickle.dumps(Touch(trace)).hex()
        database.execute(
            "UPDATE trial_system_attributes SET value_json = ? WHERE key LIKE 'cma:optimizer%'",
            (f'"{payload}"',),
        )
    database.close()


@pytest.mark.parametrize("node", [CMA, WRAPPED])
def test_a_study_of_somebody_else_is_not_unpickled(
    tmp_path: Path, trace: Path, monkeypatch: pytest.MonkeyPatch, node: dict[str, Any]
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another person"))
    searched(tmp_path / "theirs")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "me"))
    poisoned(tmp_path / "theirs", trace)
    folder = tmp_path / "theirs"
    study = open_study("search", open_storage(None, folder), ["maximize"], folder)
    sampler = build(node, "sampler", "", seed=0)
    with pytest.raises(MerError, match=r"was not begun by you in .*add --trust cmaes"):
        require_maker(study, sampler, folder)
    require_maker(study, optuna.samplers.TPESampler(), folder)  # reads no pickle
    assert not trace.exists()
    monkeypatch.setenv("MER_TRUST", "")
    assert take_trust(["-m", "--trust", "cmaes", "seed=1"]) == ["-m", "seed=1"]
    require_maker(study, sampler, folder)
    study.sampler = sampler
    with contextlib.suppress(Exception):  # what was trusted does run: the refusal is needed
        study.ask({name: FloatDistribution(0, 1) for name in ("x", "y")})
    assert trace.exists()


def test_a_study_of_ones_own_goes_on_and_is_nobodys_elsewhere(tmp_path: Path) -> None:
    searched(tmp_path / "mine")
    folder = tmp_path / "mine"
    study = open_study("search", open_storage(None, folder), ["maximize"], folder)
    require_maker(study, build(CMA, "sampler", "", seed=0), folder)
    folder = (tmp_path / "mine").rename(tmp_path / "moved")
    study = open_study("search", open_storage(None, folder), ["maximize"], folder)
    with pytest.raises(MerError, match="add --trust cmaes"):
        require_maker(study, build(CMA, "sampler", "", seed=0), folder)


def test_a_database_of_somebody_else_has_no_endless_query(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_nested, "LONGEST_QUERY", 0.5)
    run_dir = write_run(
        tmp_path / "search" / "0", config(trial__number=0, protocol__validation=0.2)
    )
    with sqlite3.connect(tmp_path / "search" / "study.db") as database:
        database.execute(
            "CREATE VIEW trials AS WITH RECURSIVE n(trial_id) AS (SELECT 1 UNION ALL SELECT "
            "trial_id + 1 FROM n) SELECT trial_id, 0 AS number, 1 AS study_id, 'x' AS state FROM n"
        )
        database.execute("CREATE TABLE trial_user_attributes (trial_id, key, value_json)")
        database.execute("CREATE TABLE trial_values (trial_id, objective, value)")
    database.close()
    (check,) = [check for check in audit(run_dir).checks if check.name == "search"]
    assert check.verdict == "fail" and "study.db cannot be read (interrupted)" in check.evidence


def test_compared_tables_of_others_are_text(tmp_path: Path, trace: Path) -> None:
    with (tmp_path / "a.parquet").open("wb") as file:
        pickle.dump(pd.DataFrame({"sample_id": ["x"]}), file)
    with (tmp_path / "a.csv").open("wb") as file:
        pickle.dump(Touch(trace), file)
    for name in ("a.parquet", "a.csv"):
        assert main(["compare", str(tmp_path / name)]) == 2
    assert not trace.exists()
