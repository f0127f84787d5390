"""mer bench: figures that say what was measured, and nothing lost on Ctrl-C."""

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mer.cli import main
from mer.deploy import bench
from mer.deploy.measurement import Measurement, quartiles, summarise


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
