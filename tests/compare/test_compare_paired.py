"""`mer compare`: paired tests between runs, and what is said of them."""

import io
import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pytest

from mer import compare
from mer.cli import main
from mer.compare import paired
from tests.compare.compare_inputs import shown, write_predictions, write_run

CLASSES = ("negative", "positive", "surprise")

#: 12 persons of two datasets, 3 samples each: one of each class.
MANY = tuple(
    (f"{dataset}/s{person}/{label}", dataset, f"{dataset}/s{person}", label)
    for dataset in ("casme2", "samm")
    for person in range(6)
    for label in CLASSES
)
RIGHT = [row[3] for row in MANY]
#: One of three is right in each person.
POOR = ["negative"] * len(MANY)


def run_with(directory: Path, predicted: Sequence[str], uf1: float = 0.5, **more: object) -> Path:
    run = write_run(directory, {"svm": uf1}, samples=MANY, **more)
    write_predictions(run, svm=predicted)
    return run


def against_first(paths: Sequence[Path], **options: str) -> compare.Pairs:
    pairs = compare.against_first(compare.read(paths), **options)
    assert pairs is not None
    return pairs


def test_a_clearly_better_run_separates_and_the_direction_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    poor, good = run_with(tmp_path / "poor", POOR, 0.2), run_with(tmp_path / "good", RIGHT, 0.9)
    lines = shown(capsys, poor, good)
    # Always negative: F1 of negative 1/2, UF1 1/6, UAR and accuracy 1/3. All 12 persons differ, and
    # 2 of the 4096 arrangements are as large: 2 / 4096 = .0005. McNemar: 24 to 0.
    at = next(n for n, cells in enumerate(lines) if cells[0] == "run" and "score" in cells)
    assert lines[at] == ["run", "score", "run − poor", "p (persons)", "p (McNemar)"]
    assert lines[at + 2] == ["good", "UF1", "+0.833 [+0.83, +0.83]", "0.0005", "–"]
    assert lines[at + 3] == ["UAR", "+0.667 [+0.67, +0.67]", "0.0005", "–"]
    assert lines[at + 4] == ["accuracy", "+0.667 [+0.67, +0.67]", "0.0005", "<0.0001"]
    assert ["Better than poor by UF1: good (+0.833, p < 0.001)."] in lines
    assert ["Worse than good by UF1: poor (-0.833, p < 0.001)."] in shown(capsys, good, poor)


def test_equal_predictions_are_not_separable_and_p_is_one(tmp_path: Path) -> None:
    a, b = run_with(tmp_path / "a", POOR), run_with(tmp_path / "b", POOR)
    pairs = against_first([a, b])
    assert pairs.conclusions == ["Not separable from a by UF1: b (+0.000, p = 1.000)."]
    assert "in up to 1 way. p" in pairs.headline
    row = pairs.frame.iloc[0]
    assert row[["uf1_p", "accuracy_p", "p_mcnemar", "uf1_difference"]].tolist() == [1, 1, 1, 0]


def test_all_runs_are_tested_against_the_first_one_named_with_holms_correction(
    tmp_path: Path,
) -> None:
    # Right for 5, 6 and 4 of the persons of the second dataset: p is 2/32, 2/64 and 2/16.
    fives = {
        name: run_with(tmp_path / name, POOR[: 36 - 3 * n] + RIGHT[36 - 3 * n :])
        for name, n in (("c", 5), ("b", 6), ("a", 4))
    }
    reference = run_with(tmp_path / "z", POOR)
    pairs = against_first([reference, tmp_path])
    assert pairs.reference == "z"
    assert pairs.frame["name"].tolist() == ["a", "b", "c"]
    assert pairs.frame["uf1_p"].tolist() == pytest.approx([2 / 16, 2 / 64, 2 / 32])
    assert pairs.frame["uf1_p_holm"].tolist() == pytest.approx([2 / 16, 6 / 64, 2 / 16])
    # With n persons right, F1 is 12 / (24 - n) of negative and 2 n / (12 + n) of the two others.
    assert pairs.conclusions[0] == (
        "Not separable from z by UF1: a (+0.367, p = 0.125), b (+0.500, p = 0.094), "
        "c (+0.436, p = 0.125)."
    )
    # b alone would have been separated.
    (alone, *_) = against_first([reference, fives["b"]]).conclusions
    assert alone == "Better than z by UF1: b (+0.500, p = 0.031)."


def test_too_few_persons_for_any_result_are_named(tmp_path: Path) -> None:
    a = run_with(tmp_path / "a", POOR)
    b = run_with(tmp_path / "b", RIGHT[:6] + POOR[6:])
    assert against_first([a, b]).conclusions[1] == (
        "Too few persons differ for any result: b (p is at least 0.500)."
    )


def test_numbers_are_those_of_the_predictions_joined_by_sample_id(tmp_path: Path) -> None:
    a, b = run_with(tmp_path / "a", POOR), run_with(tmp_path / "b", RIGHT[:20] + POOR[20:])
    file = b / "predictions.parquet"
    pd.read_parquet(file).sample(frac=1, random_state=0).to_parquet(file)
    number = {name: place for place, name in enumerate(CLASSES)}
    true, first, second = ([number[c] for c in x] for x in (RIGHT, POOR, RIGHT[:20] + POOR[20:]))
    expected = paired.compare(true, first, second, [row[2] for row in MANY], 3)
    row = against_first([a, b]).frame.iloc[0]
    assert row["uf1_difference"] == pytest.approx(expected.difference["uf1"])
    interval = (row["uar_difference_low"], row["uar_difference_high"])
    assert interval == expected.interval["uar"]
    assert [row["uf1_p"], row["p_mcnemar"]] == [expected.p["uf1"], expected.p_mcnemar]


def test_a_part_tests_its_samples_alone(tmp_path: Path) -> None:
    a = run_with(tmp_path / "a", POOR)
    b = run_with(tmp_path / "b", POOR[:18] + RIGHT[18:])
    pairs = against_first([a, b], part="casme2")
    assert pairs.frame["uf1_difference"].tolist() == [0]
    assert "on the same 18 samples of 6 persons" in pairs.headline


def test_runs_that_must_not_be_compared_are_not_tested(tmp_path: Path) -> None:
    a, b = run_with(tmp_path / "a", POOR), run_with(tmp_path / "b", RIGHT)
    c = run_with(tmp_path / "c", RIGHT, protocol__name="group_kfold")
    pairs = against_first([a, b, c])
    assert pairs.frame["name"].tolist() == ["b"]
    assert pairs.conclusions[1:] == ["Not tested: c: it is not comparable with a, see above."]


def test_missing_or_foreign_predictions_are_said_and_stop_nothing(tmp_path: Path) -> None:
    a, b = run_with(tmp_path / "a", POOR), run_with(tmp_path / "b", RIGHT)
    (b / "predictions.parquet").unlink()
    assert against_first([a, b]).conclusions == [f"Not tested: b: {b} has no predictions.parquet."]
    write_predictions(b, softmax=RIGHT)
    assert "predictions.parquet is damaged (no column svm)" in against_first([a, b]).conclusions[0]
    table = pd.read_parquet(a / "predictions.parquet")
    table.iloc[:-2].assign(svm="others").to_parquet(b / "predictions.parquet")
    said = "(2 samples lost, 0 twice, 1 other classes); try `mer audit"
    assert said in against_first([a, b]).conclusions[0]


def test_an_unfinished_run_is_never_the_reference(tmp_path: Path) -> None:
    a, b, c = (run_with(tmp_path / name, POOR) for name in "abc")
    (a / "metrics.json").write_text('{"status": "incomplete"}')
    for paths in ([a, b, c], [tmp_path]):
        pairs = against_first(paths)
        assert "against b, since a has no such score, on the same 36 samples" in pairs.headline
        assert pairs.conclusions == ["Not separable from b by UF1: c (+0.000, p = 1.000)."]
    assert compare.against_first(compare.read([a, b])) is None


def test_tests_can_be_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [str(run_with(tmp_path / name, POOR)) for name in "ab"]
    assert main(["compare", *words]) == 0
    assert "Not separable" in capsys.readouterr().out
    assert main(["compare", *words, "--no-tests"]) == 0
    assert "separable" not in capsys.readouterr().out


def test_csv_and_markdown_hold_the_tests(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = run_with(tmp_path / "a", POOR, 0.2), run_with(tmp_path / "b", RIGHT, 0.9)
    assert main(["compare", str(a), str(b), "--csv", "-"]) == 0
    captured = capsys.readouterr()
    frame = pd.read_csv(io.StringIO(captured.out)).set_index("name")
    assert frame.loc["b", "uf1_p"] == pytest.approx(2 / 4096)
    assert pd.isna(frame.loc["a", "uf1_p"])
    assert captured.err == "Better than a by UF1: b (+0.833, p < 0.001).\n"
    assert main(["compare", str(a), str(b), "--markdown", "-"]) == 0
    text = capsys.readouterr().out
    assert "| b | UF1 | +0.833 [+0.83, +0.83] | 0.0005 | – |" in text
    assert text.endswith("\n- Better than a by UF1: b (+0.833, p < 0.001).\n")


def test_a_run_whose_score_is_none_to_report_is_marked_wherever_it_stands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = run_with(tmp_path / "a", POOR, 0.2)
    b = run_with(tmp_path / "b", RIGHT, 0.9, selection="oracle")
    for name in ("metrics.json", "predictions.parquet"):
        (b / name).rename(b / name.replace(".", "-ORACLE."))
    (a / "label_access.json").write_text(json.dumps([{"at": "", "how": "run", "sha256": "x"}]))
    lines = shown(capsys, a, b)
    (sentence,) = [cells[0] for cells in lines if "selection=oracle" in cells[0]]
    assert sentence.startswith("b !! selection=oracle: the epoch of each fold was chosen")
    assert [cells[0] for cells in lines].count("b !!") == 2  # the table and the tests
    assert ["Better than a by UF1: b !! (+0.833, p < 0.001)."] in lines
    frame = compare.side_by_side(compare.read([a, b])).frame.set_index("name")
    assert pd.isna(frame.loc["a", "warnings"]) and "oracle" in frame.loc["b", "warnings"]


def test_a_run_is_tested_against_its_own_baseline(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = run_with(tmp_path / "good", RIGHT, 0.9)
    write_run(tmp_path / "other", {"svm": 0.5}, samples=MANY)  # of before: it has no baseline
    metrics = json.loads((good / "metrics.json").read_text())
    metrics["heads"]["baseline"] = metrics["heads"]["svm"]
    (good / "metrics.json").write_text(json.dumps(metrics))
    manifest = pd.read_parquet(good / "manifest.parquet")
    manifest.assign(baseline=POOR).to_parquet(good / "baseline.parquet")
    lines = shown(capsys, good)
    assert ["Better than its baseline by UF1: good (+0.833, p < 0.001)."] in lines
    runs = compare.read([good, tmp_path / "other"])
    pairs = compare.against_baseline(runs)
    assert pairs is not None
    assert pairs.frame["name"].tolist() == ["good"]
    assert pairs.frame["uar_difference"].tolist() == [pytest.approx(2 / 3)]
    assert compare.against_baseline(runs, "baseline") is None
    assert compare.against_baseline(runs, "majority") is None
    (good / "baseline.parquet").unlink()
    left_out = "Not tested against its baseline: good: {} has no baseline.parquet."
    pairs = compare.against_baseline(compare.read([good]))
    assert pairs is not None
    assert pairs.conclusions == [left_out.format(good)]
