"""Readers of text: action units, frame names, annotation files, tables, label schemes, persons."""

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import strategies as st

from mer import datasets
from mer.datasets import action_units, frame_files, labels
from mer.datasets.index import make_table
from tests.fuzz.fuzz_inputs import fuzz, mutated, sizes

UNITS = ["4+L7+R12", "L12 or L14", "(R6 or R12)+R15", "7B+ ref(43)", "A/L12", "10A/B", "AU4(k)+L7"]
UNITS += ["4，11", "13?", "R14+17+soft focus", "", "nan"]
NAMES = ["img46.jpg", "reg_img46.jpg", "006_05562.jpg", "image559757.bmp", "000.jpeg", ".DS_Store"]
NAMES += ["Thumbs.db", "img46 (1).jpg", "S010_004_00000017.png"]


@sizes(60, 40_000)
def test_action_units(examples: int) -> None:
    def check(value: object) -> None:
        parsed = action_units.parse(value)
        written = action_units.text(parsed.units)
        again = action_units.parse(written)
        assert action_units.text(again.units) == written
        assert all(1 <= unit.number <= 99 for unit in parsed.units)

    fuzz(st.one_of(mutated(UNITS), st.integers(), st.floats(), st.none()), examples, check)


@sizes(100, 20_000)
def test_frame_names_and_numbers(examples: int) -> None:
    numbers = st.one_of(st.none(), st.integers(-2, 60), st.integers(0, 2**70))

    def check(value: tuple[list[str], list[int | None]]) -> None:
        names, (onset, apex, offset) = value
        paths = [Path("clip", name.replace("/", "_").replace("\0", "_") or "_") for name in names]
        found = {
            frame_files.frame_number(path): path for path in paths if frame_files.is_picture(path)
        }
        found.pop(None, None)
        if not found:
            return
        span = frame_files.resolve(found, onset, apex, offset)
        if span.failure:
            return
        row = {"sample_id": "a/b/c", "dataset": "a", "subject": "a/b", "clip": "c", "role": "micro"}
        table = make_table([{**row, "emotion": "fear", **frame_files.span_columns(found, span)}])
        assert table["apex"][0] in found

    names = st.lists(mutated(NAMES), min_size=1, max_size=8)
    fuzz(st.tuples(names, st.lists(numbers, min_size=3, max_size=3)), examples, check)


@pytest.fixture
def ckplus(tmp_path: Path) -> Path:
    for kind in ("cohn-kanade-images", "Emotion", "FACS"):
        for sequence in ("001", "002"):
            (tmp_path / kind / "S005" / sequence).mkdir(parents=True)
    for sequence in ("001", "002"):
        name = f"S005/{sequence}/S005_{sequence}_0000000"
        (tmp_path / f"cohn-kanade-images/{name}1.png").touch()
        (tmp_path / f"cohn-kanade-images/{name}2.png").touch()
        (tmp_path / f"Emotion/{name}2_emotion.txt").write_text("   5.0000000e+00\n")
    return tmp_path


@sizes(40, 3_000)
def test_annotation_files_of_ckplus(examples: int, ckplus: Path) -> None:
    emotion = ckplus / "Emotion/S005/002/S005_002_00000002_emotion.txt"
    facs = ckplus / "FACS/S005/002/S005_002_00000002_facs.txt"

    def check(value: tuple[str, str]) -> None:
        emotion.write_text(value[0])
        facs.write_text(value[1])
        table, remarks = datasets.read("ckplus", ckplus)
        # The other sequence stays whatever these files hold.
        assert "ckplus/S005/001" in set(table["sample_id"])
        assert len(table) + sum(one.samples for one in remarks if one.action == "dropped") == 2

    files = (
        mutated(["   5.0000000e+00\n", "3"]),
        mutated(["  4.0000000e+00   3.0000000e+00\n 12 0"]),
    )
    fuzz(st.tuples(*files), examples, check)


TABLE = (
    "subject,clip,emotion,onset_path,apex_path,onset,apex,offset,fps,action_units\n"
    "007,c1,Happy,a0.png,a1.png,10,15,30,29.97,4+L7\n"
    "s2,c2,Others,,b1.png,,,,,\n"
    "6,c3,surprise,a0.png,b1.png,1,,,,12\n"
)
TABLES = [TABLE, TABLE.replace(",", ";"), TABLE.replace(",", "\t"), TABLE.replace("\n", "\r\n")]
TABLES += ["subject,label,array_path,array_row\n1,0,a0.png,3\n2,1,a0.png,4\n"]


@sizes(40, 10_000)
def test_tables(examples: int, tmp_path: Path) -> None:
    for name in ("a0.png", "a1.png", "b1.png"):
        (tmp_path / name).touch()
    path = tmp_path / "table.csv"

    def check(value: tuple[str, str, list[str] | None]) -> None:
        text, encoding, classes = value
        path.write_bytes(text.encode(encoding, errors="replace"))
        table, _ = datasets.read("table", path, classes=classes)
        assert len(table)
        labels.apply(table, "megc2019")

    encodings = st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])
    classes = st.sampled_from([None, None, ["negative", "positive"]])
    fuzz(st.tuples(mutated(TABLES, 6), encodings, classes), examples, check)


@sizes(40, 1_500)
def test_parquet_tables(examples: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    path = tmp_path / "table.parquet"
    cells = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(), st.text(max_size=9)
    )
    columns = ["subject", "emotion", "onset", "apex", "fps", "clip", "person", "role"]

    def check(rows: list[dict[str, Any]]) -> None:
        made = pd.DataFrame(rows, columns=columns).assign(apex_path="a.png")
        path.unlink(missing_ok=True)
        try:
            made.to_parquet(path)
        except Exception:  # not every mixture can be written
            return
        datasets.read("table", path)

    rows = st.lists(st.dictionaries(st.sampled_from(columns), cells), min_size=1, max_size=4)
    fuzz(rows, examples, check)


SCHEME: dict[str, Any] = {
    "name": "own",
    "version": 1,
    "classes": ["negative", "positive"],
    "map": {"mine": {"fear": "negative", "happiness": "positive"}},
    "exclude": {"mine/1/a": "blurred"},
    "expected": {"mine": {"negative": 1}},
    "permutation": None,
}


@sizes(100, 10_000)
def test_label_schemes(examples: int) -> None:
    plain = st.recursive(
        st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
        lambda inner: (
            st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
        ),
        max_leaves=6,
    )
    row = {"subject": "mine/1", "clip": "a", "role": "micro", "emotion": "fear", "apex_path": "a"}
    table = make_table([{**row, "sample_id": "mine/1/a", "dataset": "mine"}])

    def check(changes: dict[str, Any]) -> None:
        labels.apply(table, {**SCHEME, **changes})

    fuzz(st.dictionaries(st.sampled_from(list(SCHEME)), plain, max_size=3), examples, check)


@sizes(40, 1_500)
def test_files_of_persons(examples: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").touch()
    (tmp_path / "table.csv").write_text("subject,emotion,apex_path\n1,fear,a.png\n2,fear,a.png\n")
    persons = tmp_path / "persons.csv"

    def check(text: str) -> None:
        persons.write_bytes(text.encode())
        table, _ = datasets.read("table", tmp_path / "table.csv", persons=str(persons))
        assert len(table) == 2

    fuzz(mutated(["subject,person\n1,ann\ntable/2,bob\n"]), examples, check)
