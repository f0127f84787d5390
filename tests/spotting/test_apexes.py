"""Apexes of an index table: spotted, in the middle, or as they were read."""

import logging
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from omegaconf import DictConfig

from mer import datasets
from mer.config.composition import typed
from mer.config.settings import Prepare
from mer.data import sources
from mer.datasets.index import make_table
from mer.prepare.layout import settings_hash
from mer.runs import rundir
from mer.spotting import apexes
from mer.spotting.apexes import annotation_error, are_chosen, choose_apexes
from mer.synthetic.plan import plan
from mer.training import runner
from tests.builders import PIXELS


def clip(folder: Path, name: str, numbers: range, apex: int, source: str) -> dict[str, object]:
    """A row, and pictures of the frames in which there is no face."""
    files = {number: folder / name / f"img{number}.png" for number in numbers}
    for file in files.values():
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), np.full((40, 40, 3), 90, np.uint8))
    onset, offset = min(files), max(files)
    return {
        **{"sample_id": f"made/s1/{name}", "dataset": "made", "subject": "made/s1", "clip": name},
        **{"role": "micro", "emotion": "happiness", "apex_source": source},
        **{"onset": onset, "apex": apex, "offset": offset},
        "onset_path": str(files[onset]),
        "apex_path": str(files[apex]),
        "offset_path": str(files[offset]),
    }


def test_the_middle_is_taken_where_the_frames_are_known(tmp_path: Path) -> None:
    whole = clip(tmp_path, "a", range(10, 21), 18, "annotated")
    last = clip(tmp_path, "b", range(10, 21), 20, "last")
    no_offset = clip(tmp_path, "c", range(10, 21), 18, "annotated")
    no_offset |= {"offset": None, "offset_path": None}
    elsewhere = clip(tmp_path, "d", range(10, 21), 18, "annotated")
    elsewhere["offset_path"] = no_offset["apex_path"]
    table = make_table([whole, last, no_offset, elsewhere])
    moved, remarks = choose_apexes(table, Prepare(apex="midpoint"), tmp_path / "cache", "made")
    assert moved["apex"].tolist() == [15, 20, 18, 18]
    assert moved["apex_source"].tolist() == ["midpoint", "last", "annotated", "annotated"]
    assert Path(moved["apex_path"][0]).name == "img15.png"
    assert moved["annotated_apex"].fillna(0).tolist() == [18, 0, 18, 18]
    assert [(one.action, one.reason, one.samples) for one in remarks] == [
        ("mended", "apex midpoint", 1)
    ]
    # One apex was moved, by 3 of the 10 frames from onset to offset.
    assert annotation_error(moved) == (3.0, 0.3, 0.0, 1)
    assert annotation_error(table) is None
    assert choose_apexes(table, Prepare(), tmp_path, "made").table is table


def test_a_clip_without_a_face_keeps_its_apex_and_a_remark_says_so(tmp_path: Path) -> None:
    table = make_table(
        [
            clip(tmp_path, "a", range(1, 8), 4, "midpoint"),
            clip(tmp_path, "b", range(1, 8), 6, "annotated"),
        ]
    )
    for wish, names in (("missing", ["a"]), ("spotted", ["a", "b"])):
        moved, remarks = choose_apexes(table, Prepare(apex=wish), tmp_path / "cache", "made")
        assert moved[list(table.columns)].equals(table)
        assert [one.item for one in remarks] == [f"made/s1/{name}" for name in names]
        assert remarks[0].reason == (
            "apex not spotted, no face in three frames: the one that is midpoint stays"
        )


def test_apexes_that_nobody_annotated_are_spotted_once(
    tiny_corpora: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    table = datasets.read("smic", tiny_corpora / "SMIC").table.head(4)
    settings = Prepare(apex="missing", workers=1)
    assert not are_chosen(table, settings, tmp_path, "smic")
    with caplog.at_level(logging.INFO, "mer.spotting.apexes"):
        moved = choose_apexes(table, settings, tmp_path, "smic").table
    assert "smic: 4 of 4 apexes spotted" in caplog.text
    assert set(moved["apex_source"]) == {"spotted"}
    assert moved["annotated_apex"].isna().all()
    true = {c.clip: c.apex for c in plan("tiny", 0) if c.dataset == "smic"}
    errors = (moved["apex"] - moved["clip"].map(true)).abs()
    assert errors.max() <= 1
    for row in moved.itertuples():
        assert row.apex_path.endswith(f"{row.apex}.bmp")

    monkeypatch.setattr(apexes, "_spot", None)  # would fail: it is not spotted again
    assert are_chosen(table, settings, tmp_path, "smic")
    again = choose_apexes(table, settings, tmp_path, "smic").table
    assert again.equals(moved)
    # A damaged file is not believed.
    (file,) = tmp_path.glob("apexes/smic-*/apexes.csv")
    file.write_text(file.read_text().replace("s01", "s09"))
    with pytest.raises(TypeError):
        choose_apexes(table, settings, tmp_path, "smic")


def test_stores_are_told_apart_by_apexes_and_not_by_the_way_to_them(tmp_path: Path) -> None:
    table = make_table([clip(tmp_path, "a", range(10, 21), 18, "annotated")])
    moved = choose_apexes(table, Prepare(apex="midpoint"), tmp_path, "made").table
    hashes = {
        settings_hash(Prepare(), table),
        settings_hash(Prepare(), moved),
        settings_hash(Prepare(), moved.assign(annotated_apex=pd.array([17], "Int64"))),
    }
    assert len(hashes) == 3
    assert settings_hash(Prepare(apex="spotted"), table) == settings_hash(Prepare(), table)


def test_a_run_keeps_annotated_apexes_beside_others(
    tiny_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    settings = typed(tiny_config())
    corpus = sources.load(settings, "micro")
    table = corpus.table.assign(annotated_apex=corpus.table["apex"] + 1, apex_source="spotted")
    table.loc[3, "annotated_apex"] = pd.NA
    for _ in range(2):  # the second time it is compared with what the first one wrote
        rundir.write_manifest(
            tmp_path, corpus._replace(table=table), sources.folds(settings, table)
        )
    error = annotation_error(pd.read_parquet(tmp_path / "manifest.parquet"))
    assert error is not None
    assert (error.frames, error.within, error.clips) == (1, 1, len(table) - 1)


@pytest.mark.slow
def test_a_run_reports_the_error_of_its_apexes(
    tiny_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    config = tiny_config("prepare.apex=midpoint", *PIXELS)
    result = runner.run(config, tmp_path / "run")
    predictions = pd.read_parquet(tmp_path / "run" / "predictions.parquet")
    moved = predictions["annotated_apex"].notna()
    assert set(predictions["apex_source"]) == {"midpoint"}
    assert result["apex_error"]["clips"] == moved.sum() > 0
    away = (predictions["apex"] - predictions["annotated_apex"])[moved].abs()
    assert result["apex_error"]["frames"] == pytest.approx(away.mean())
    assert "apex midpoint" in (tmp_path / "run" / "dropped.csv").read_text()
