"""A table of one's own, as docs/own-data.md describes it, step by step."""

import re
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest

from mer import Input, Prepare, UnifiedDataset, datasets, prepare_samples
from mer.cli import main
from mer.config.settings import Flow

PAGE = Path(__file__).parents[1] / "docs" / "own-data.md"


def described() -> tuple[list[str], list[str]]:
    """The lines of the page's table, and the words of the first training below it."""
    found = re.search(
        r"```csv\n(.*?)\n```.*?```bash\nmer (train [^#\n]*)", PAGE.read_text(), re.DOTALL
    )
    assert found is not None
    return found[1].splitlines(), found[2].split()


def test_the_table_and_the_command_of_the_page_train(tmp_path: Path) -> None:
    (header, *rows), words = described()
    # The page shows two persons; six more of the same kind make folds that can learn.
    people = [f"p{number:02d}" for number in range(1, 9)]
    lines = [re.sub(r"p\d\d", person, row) for person in people for row in rows]
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines]) + "\n")
    draw = np.random.default_rng(0)
    for line in lines:
        for name in line.split(",")[2:]:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(tmp_path / name), draw.integers(0, 255, (128, 128, 3), np.uint8))
    words = [word.replace("FOLDER_OF_THE_TABLE", str(tmp_path)) for word in words]
    # Noise has no faces; the rest makes it quick.
    quick = ["prepare.faces=as_is", "prepare.size=64", "input.size=32", "backbone=tiny"]
    quick += [
        "model.epochs=1",
        "protocol=group_kfold",
        "protocol.n_splits=2",
        f"paths.cache={tmp_path}/c",
    ]
    quick += [f"run.dir={tmp_path}/run", "trainer.folds_at_once=1", "trainer.accelerator=cpu"]
    assert main([*words, *quick]) == 0
    manifest = pd.read_parquet(tmp_path / "run" / "manifest.parquet")
    assert manifest["sample_id"].tolist() == sorted(
        f"mine/{person}/{3 * place + row}"
        for place, person in enumerate(people)
        for row in (1, 2, 3)
    )
    assert set(manifest["label"]) == {"negative", "positive", "surprise"}
    assert len(pd.read_parquet(tmp_path / "run" / "predictions.parquet")) == 24


def test_a_class_without_samples_is_named_before_anything_is_prepared(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (header, *rows), words = described()
    cv2.imwrite(str(tmp_path / "face.png"), np.zeros((64, 64, 3), np.uint8))
    lines = [",".join([*row.split(",")[:2], "face.png", "face.png"]) for row in rows]
    (tmp_path / "mine.csv").write_text("\n".join([header, *lines[1:]]))
    words = [word.replace("FOLDER_OF_THE_TABLE", str(tmp_path)) for word in words]
    assert main([*words, f"paths.cache={tmp_path}/c", f"run.dir={tmp_path}/run"]) == 2
    assert "no sample has the class positive; there are negative, surprise" in (
        capsys.readouterr().err
    )
    assert not (tmp_path / "c").exists()


def test_a_sample_without_onset_is_dropped_where_the_input_needs_one(tmp_path: Path) -> None:
    faces = Prepare(faces="as_is", size=64, flow=Flow("farneback"))
    draw = np.random.default_rng(0)
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), draw.integers(0, 255, (64, 64, 3), np.uint8))
    lines = ["subject,emotion,onset_path,apex_path", "p1,negative,a.png,b.png"]
    lines += ["p2,positive,,b.png", "p3,surprise,a.png,b.png"]
    (tmp_path / "mine.csv").write_text("\n".join(lines))
    store = prepare_samples(datasets.read("table", tmp_path / "mine.csv"), faces, tmp_path)
    seen = {
        name: UnifiedDataset.from_stores([store], "megc2019", Input(name, size=32))
        for name in ("flow", "apex")
    }
    assert seen["flow"].table["sample_id"].tolist() == ["table/p1/1", "table/p3/3"]
    assert seen["flow"].remarks == [
        ("table/p2/2", "dropped", "without the onset that the input needs", 1)
    ]
    assert len(seen["apex"]) == 3 and seen["apex"].remarks == []
