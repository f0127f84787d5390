"""mer bench: figures that say what was measured, and nothing lost on Ctrl-C."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mer.cli import main
from mer.config.settings import Input, Prepare
from mer.data import inputs
from mer.datasets.index import make_table
from mer.deploy import bench
from mer.deploy.measurement import Measurement, quartiles, summarise
from mer.deploy.sample_input import sample_input
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import Sample
from mer.prepare.store import prepare_store
from tests.prepare.prepare_inputs import paint, row, save


def test_few_values_show_their_range_and_more_their_quartiles() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([5.0, 1.0, 2.0]) == (1.0, 2.0, 5.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.01234, "0.0123"), (35.44, "35.4"), (1234.6, "1235")]
)
def test_three_digits_are_shown(value: float | None, shown: str) -> None:
    assert bench.show(value) == shown


def measured(monkeypatch: pytest.MonkeyPatch, figures: Iterator[Measurement]) -> None:
    """Put figures in the place of a part."""
    monkeypatch.setattr(bench, "_measure", lambda *_: figures)


def test_the_file_and_the_table_hold_figures_machine_and_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    first = summarise("latency", "head", "tensors", "ms", [1.0, 2.0, 3.0], baseline=True)
    absent = Measurement("latency", "head", "openvino", "ms", None, note="not installed")
    measured(monkeypatch, iter([first, absent]))
    file = tmp_path / "bench.json"
    words = ["bench", "latency", "--json", str(file), "--folder", str(tmp_path), "seed=3"]
    assert main(words) == 0
    stored = json.loads(file.read_text())
    assert stored["complete"] is True
    assert stored["words"] == ["seed=3"]
    assert {"processor", "cores", "torch_threads", "packages"} <= set(stored["machine"])
    assert stored["figures"][0] == {
        "part": "latency", "name": "head", "variant": "tensors", "unit": "ms", "median": 2.0,
        "low": 1.0, "high": 3.0, "repeats": 3, "note": "", "baseline": True,
    }  # fmt: skip
    assert stored["figures"][1]["median"] is None
    shown = capsys.readouterr().out
    assert "not installed" in shown
    assert "1 – 3" in shown


def test_what_was_measured_before_an_interruption_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped() -> Iterator[Measurement]:
        yield summarise("startup", "mer --help", "", "ms", [321.0])
        raise KeyboardInterrupt

    measured(monkeypatch, stopped())
    file = tmp_path / "bench.json"
    assert main(["bench", "startup", "--json", str(file), "--folder", str(tmp_path)]) == 130
    stored = json.loads(file.read_text())
    assert stored["complete"] is False
    assert [entry["median"] for entry in stored["figures"]] == [321.0]


def test_an_unknown_part_is_named_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["bench", "speed", "--folder", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert "no part speed; there is latency, throughput, startup" in error
    assert not (tmp_path / "new").exists()


@pytest.fixture
def painted(tmp_path: Path) -> tuple[Path, Path]:
    """Picture files of a face whose brows rise."""
    return (
        Path(save(tmp_path / "onset.png", paint(256, brows=0.0))),
        Path(save(tmp_path / "apex.png", paint(256, brows=0.08))),
    )


def test_the_input_of_two_pictures_is_that_of_a_prepared_store(
    painted: tuple[Path, Path], tmp_path: Path
) -> None:
    onset, apex = painted
    clip = row(0, onset=1, apex=8, onset_path=str(onset), apex_path=str(apex))
    prepare = Prepare(size=128)
    store = prepare_store(make_table([clip]), prepare, tmp_path / "out", 1, "made")
    with FaceFinder() as finder:
        for name, center in (("flow", "median"), ("apex", "none"), ("onset_apex", "none")):
            options = Input(name, 96, center)
            expected = inputs.make(options).build(Sample(store.frames[0], store.flow[0]))
            image = sample_input(onset, apex, prepare, options, finder)
            assert np.array_equal(image, expected.transpose(2, 0, 1)[None])
            assert image.flags.c_contiguous


def test_a_picture_that_cannot_be_used_is_named(painted: tuple[Path, Path], tmp_path: Path) -> None:
    onset, apex = painted
    blank = Path(save(tmp_path / "blank.png", np.zeros((256, 256, 3))))
    with FaceFinder() as finder:
        for pair, said in (
            ((onset, tmp_path / "absent.png"), "missing frame: .*absent.png does not exist"),
            ((blank, apex), "no face: .*blank.png"),
        ):
            with pytest.raises(MerError, match=said):
                sample_input(*pair, Prepare(size=64), Input("apex"), finder)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("part", "names"),
    [
        ("startup", {"python -c pass", "mer --help", "mer train --cfg job"}),
        ("throughput", {"training"}),
        (
            "latency",
            {"decode", "align and flow", "input to label", "files to label", "follow and spot"},
        ),
    ],
)
def test_every_part_names_what_it_measured(
    part: str, names: set[str], tiny_corpora: Path, session_folder: Path, tmp_path: Path
) -> None:
    words = [f"data.root={tiny_corpora}", f"paths.cache={session_folder / 'cache'}"]
    result = bench.bench([part], words, tmp_path, quick=True)
    assert names <= {figure["name"] for figure in result["figures"]}
    for figure in result["figures"]:
        if figure["unit"] == "labels":
            assert figure["median"] == 0 or "float32" not in figure["variant"]
        else:
            assert figure["median"] is None or figure["median"] > 0


STUDY = Path(__file__).parents[2] / "experiments" / "2026-11-speed"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "rows"), [("loso.py --rounds=1 protocol.folds=1/9", 3), ("memory.py --sizes=64", 6)]
)
def test_the_scripts_of_the_study_measure(
    script: str, rows: int, tiny_corpora: Path, session_folder: Path, tmp_path: Path
) -> None:
    words = ["backbone=tiny", "input.size=32", f"--csv={tmp_path / 'rows.csv'}"]
    if script.startswith("loso"):
        words += ["data.preset=tiny", f"data.root={tiny_corpora}", "prepare.size=96"]
        words += [f"paths.cache={session_folder / 'cache'}"]
    subprocess.run([sys.executable, *script.split(), *words], cwd=STUDY, check=True)
    with (tmp_path / "rows.csv").open() as stream:
        table = list(csv.DictReader(stream))
    assert len(table) == rows
    assert all(float(list(row.values())[-1]) > 0 for row in table)
