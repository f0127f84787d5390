"""`mer report`: the page says what the predictions say, is self-contained, and hides no stain."""

import json
import os
import re
from pathlib import Path

import pandas as pd
import pytest
from omegaconf import OmegaConf
from report_inputs import CLASSES, ROWS, Page, predictions, read, write_run

from mer.cli import main
from mer.report import drawing, html, latex
from mer.report.material import Material
from mer.runs import label_access


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    return read(finished)


def set_protocol(run_dir: Path, **values: object) -> None:
    cfg = OmegaConf.load(run_dir / "config.yaml")
    cfg.protocol.update(values)
    OmegaConf.save(cfg, run_dir / "config.yaml")


def numbers(cell: str) -> list[float]:
    return [float(number) for number in re.findall(r"\d\.\d+", cell)]


def test_scores_are_those_worked_out_by_hand(page: Page) -> None:
    rows = page.table("head")
    assert rows[0] == ["pooled: 8 samples of 3 persons"]
    shown = {row[0]: [numbers(cell)[0] for cell in row[1:]] for row in rows[1:5]}
    # UF1, UAR, accuracy, weighted F1, kappa
    assert shown["SVM on embeddings"] == [0.611, 0.583, 0.625, 0.625, 0.368]
    assert shown["softmax"][:3] == [0.886, 0.917, 0.875]
    assert shown["majority class"][:3] == [0.222, 0.333, 0.5]
    assert shown["guessing"][1:3] == [0.333, 0.375]  # 1/4 + 1/16 + 1/16
    assert [row[0] for row in rows if len(row) == 1][1:] == [
        "casme2: 5 samples of 2 persons",
        "samm: 3 samples of 1 persons",
    ]


def test_scores_and_intervals_equal_metrics_json(finished: Path, page: Page) -> None:
    rows = page.table("head")
    metrics = json.loads((finished / "metrics.json").read_text())["heads"]
    for place, part in ((0, "pooled"), (5, "casme2"), (10, "samm")):
        assert rows[place][0].startswith(part)
        for step, head in enumerate(("svm", "softmax", "majority"), start=1):
            values = metrics[head][part]
            for cell, name in zip(rows[place + step][1:4], ("uf1", "uar", "accuracy"), strict=True):
                low, high = values["intervals"][name]
                assert cell == f"{values[name]:.3f} [{low:.2f}, {high:.2f}]"
        assert numbers(rows[place + 4][1]) == [
            round(metrics["majority"][part]["chance"]["prior"]["uf1"], 3)
        ]


def test_the_page_opens_with_the_score_that_counts_and_the_verdict_of_the_audit(
    page: Page,
) -> None:
    assert "SVM on embeddings: UF1 0.611, 95 % interval" in page.sections[""]
    assert "Always the majority class: 0.222" in page.sections[""]
    # Nothing of the folds is left in the directory.
    assert re.search("cannot be (believed|decided)", page.sections[""])
    assert [row[0] for row in page.table("check")][:3] == ["samples", "predictions", "persons"]


def test_confusion_matrices_are_drawn_for_the_composite_and_each_dataset(page: Page) -> None:
    matrices = [words for words in page.alternatives if words.startswith("Confusion matrix")]
    assert [re.search(r"matrix, (.*?)\.", words)[1] for words in matrices[:3]] == [  # type: ignore[index]
        f"{part}, SVM on embeddings" for part in ("pooled", "casme2", "samm")
    ]
    assert "negative: 3 as negative, 1 as positive, 0 as surprise" in matrices[0]
    assert "surprise: 1 as negative, 0 as positive, 0 as surprise" in matrices[2]
    assert len(matrices) == 6


def test_persons_have_their_accuracy(page: Page) -> None:
    (rows,) = [rows for rows in page.tables if rows[0][:2] == ["dataset", "person"]]
    assert rows[1:] == [
        ["casme2", "casme2/s2", "2", "1.00", "1.00"],
        ["casme2", "casme2/s1", "3", "0.67", "0.67"],
        ["samm", "samm/1", "3", "0.33", "1.00"],
    ]
    assert "3 persons: no sample right in 0, all in 1" in page.sections["Persons"]


def test_data_are_counted_by_dataset_and_drops_by_reason(page: Page) -> None:
    assert page.table("dataset") == [
        ["casme2", "3", "1", "1", "5", "2", "0"],
        ["samm", "1", "1", "1", "3", "1", "0"],
        ["all", "4", "2", "2", "8", "3", "0"],
    ]
    assert page.table("count") == [
        ["2", "dropped", "frame … is missing"],
        ["1", "mended", "apex taken from the middle"],
    ]
    assert page.table("item")[0] == ["casme2/s1/x", "dropped", "frame 12 is missing"]


def test_calibration_is_worked_out_by_hand(page: Page) -> None:
    # One of .95 is wrong, seven of .60 are right: (7 * .40 + .95) / 8.
    assert (
        "Mean confidence 0.644, accuracy 0.875, expected calibration error 0.469"
        in (page.sections["Calibration"])
    )


def test_the_surest_wrong_samples_come_first(page: Page) -> None:
    found = re.findall(r"(casme2/s1/b|samm/1/b|samm/1/c) is", page.sections["Single samples"])
    assert found == ["casme2/s1/b", "samm/1/c", "samm/1/b"]  # ahead by 2, 1.5 and .5


def test_what_is_missing_is_said_where_it_would_be(page: Page) -> None:
    for title in ("Embeddings: people or emotions?", "Where the network looks"):
        assert "data.micro.casme2 is to be at /nowhere/CASME2" in page.sections[title]
    assert "No finished fold has a history" in page.sections["Learning curves"]
    assert "The cost was not measured" not in page.sections["Cost"]
    assert "61.4 s for all folds together" in page.sections["Cost"]


def test_nothing_is_loaded_from_outside_and_nothing_runs(page: Page, finished: Path) -> None:
    assert page.sources
    assert all(source.startswith(("data:image/", "data:,", "#")) for source in page.sources)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    words = re.sub(r"data:[^\"]*", "", (finished / "report.html").read_text())
    assert not re.search(r"url\(|@import|https?://", words)
    assert "default-src 'none'" in words


def test_names_from_files_are_neither_html_nor_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drawing, "DPI", 30)  # faster
    bad = "../<script>alert('x')</script>&\""
    run_dir = write_run(tmp_path / "run", rename=("samm", bad))
    page = read(run_dir, figures=True)
    assert "script" not in page.tags
    assert [row[0] for row in page.table("dataset")] == [bad, "casme2", "all"]
    assert f"{bad}/1/b is positive" in page.sections["Single samples"]
    assert any(bad in words for words in page.alternatives)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]
    assert not [*run_dir.glob("*.png"), *run_dir.glob("figures/*/*")]
    names = {path.stem for path in (run_dir / "figures").iterdir()}
    assert {"confusion-svm-pooled", "persons-casme2", "calibration"} <= names
    for name in names:
        assert (run_dir / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run_dir / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_backticks_become_code_after_escaping() -> None:
    assert html.text("type `mer <x>`") == "type <code>mer &lt;x&gt;</code>"
    assert (
        html.figure("data:,", 'a "`b`"')
        == '<figure><img src="data:," alt="a &quot;`b`&quot;"></figure>'
    )


def test_an_incomplete_run_shows_no_score(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "metrics.json").write_text('{"status": "incomplete"}')
    page = read(run_dir)
    assert "This run is incomplete: 0 of 3 folds are done. There is no score." in page.sections[""]
    assert "Scores" not in page.sections
    assert not re.search(r"UF1 0|accuracy 0|0\.611|0\.886", page.text)
    assert page.table("dataset")[-1] == ["all", "4", "2", "2", "8", "3", "0"]


def test_a_run_that_has_not_begun_has_a_page(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    for path in run_dir.iterdir():
        if path.is_file() and path.name != "config.yaml":
            path.unlink()
    page = read(run_dir)
    assert "it has not begun" in page.sections[""]
    assert "The samples are not read yet." in page.sections["Data"]


def test_stains_stand_above_everything_and_in_the_table_for_a_paper(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", mark="-ORACLE")
    frame = predictions()
    label_access.record(run_dir, frame, "run")
    label_access.record(run_dir, frame.assign(svm="negative"), "evaluate callbacks.svm_head.C=10")
    page = read(run_dir)
    opening = page.sections[""]
    assert opening.index("Not a score to report") < opening.index("UF1 0.611")
    assert "chosen on its test persons" in opening
    assert "peek 2" in opening
    assert "evaluate callbacks.svm_head.C=10" in opening
    assert "chosen on its test persons" in latex.table(Material.read(run_dir))
    assert (run_dir / "report-ORACLE.html").exists()
    assert not (run_dir / "report.html").exists()


def test_choices_inside_the_folds_are_counted(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "metrics.json").write_text('{"status": "incomplete"}')
    set_protocol(run_dir, inner={"n_splits": 3, "choose": ["epochs", "svm"]})
    for fold, epochs in (("casme2/s1", 4), ("casme2/s2", 4), ("samm/1", 2)):
        folder = run_dir / "folds" / fold
        folder.mkdir(parents=True)
        (folder / "predictions.parquet").touch()
        choices = {"epochs": {"chosen": epochs}, "svm": {"chosen": {"C": 0.1, "kernel": "rbf"}}}
        (folder / "inner.json").write_text(json.dumps({"choices": choices}))
    rows = {row[0]: row[1] for row in read(run_dir).table("data")}
    assert rows["chosen inside each fold"] == (
        "epochs (4 in 2, 2 in 1); svm (C=0.1 kernel=rbf in 3); "
        "by 3 inner splits of the training persons"
    )


def test_thresholds_change_no_probability(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    path = run_dir / "predictions.parquet"
    pd.read_parquet(path).assign(softmax="surprise").to_parquet(path)
    assert Material.read(run_dir).most_probable.tolist() == [row[5] for row in ROWS]


def test_a_split_by_sample_shows_in_the_name_of_the_page(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "metrics.json").write_text('{"status": "incomplete"}')
    set_protocol(run_dir, name="random_samples")
    assert "persons who trained are tested" in read(run_dir).sections[""]
    assert (run_dir / "report-LEAKY.html").exists()


def test_the_table_for_a_paper_has_the_same_scores(finished: Path) -> None:
    table = latex.table(Material.read(finished)).splitlines()
    rows = [line.split(" & ") for line in table if line.startswith("pooled")]
    assert [row[1] for row in rows] == [
        "SVM on embeddings",
        "softmax",
        "majority class",
        "guessing",
    ]
    assert rows[0][2].startswith("0.611 [")
    assert rows[1][2].startswith("0.886 [")
    assert rows[3][3:5] == ["0.333", "0.375"]


def test_the_command_line_says_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run")
    monkeypatch.setattr(drawing, "save", lambda drawings, folder: folder.mkdir())
    assert main(["report", str(run_dir), "--quick", "--figures"]) == 0
    written = [run_dir / name for name in ("report.html", "figures", "table.tex")]
    assert capsys.readouterr().out.splitlines() == list(map(str, written))
    assert all(path.exists() for path in written)
    page = Page(written[0].read_text())
    assert "Left out by --quick" in page.sections["Where the network looks"]


def test_latex_prints_names_as_they_are() -> None:
    assert latex.escape("a_b & 5% {x} #1 $ ~ ^ \\") == (
        r"a\_b \& 5\% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


def test_the_same_run_gives_the_same_figures() -> None:
    table = pd.DataFrame([[3, 1], [0, 2]])
    first, second = (
        drawing.data_uri(drawing.confusion("c", "t", table.to_numpy(), CLASSES[:2])) for _ in "ab"
    )
    assert first == second


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "- a\n", "config.yaml is damaged"),
        ("metrics.json", '{"status": ', "metrics.json is damaged"),
        ("manifest.parquet", "", "manifest.parquet is damaged"),
        ("predictions.parquet", "PAR1", "damaged"),
        ("environment.json", "{}", "environment.json is damaged (no list in it)"),
        ("openings.json", "[", "damaged"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / name).write_text(content)
    assert main(["report", str(run_dir), "--quick"]) == 2
    assert said in capsys.readouterr().err
    assert not (run_dir / "report.html").exists()


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run directory: it has no config.yaml" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_to_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "metrics.json").write_text('{"status": "incomplete"}')
    with monkeypatch.context() as changed:
        changed.setattr(os, "access", lambda *_: False)
        assert main(["report", str(run_dir)]) == 2
    assert "cannot be written to; copy the run" in capsys.readouterr().err
    (run_dir / ".report.html.new").mkdir()
    assert main(["report", str(run_dir), "--quick"]) == 2
    assert "The report cannot be written" in capsys.readouterr().err


def test_the_command_repeats_what_was_typed_less_the_directory(page: Page) -> None:
    said = page.sections["Repeat it"].strip()
    assert said.startswith("mer train data=megc2019 model.epochs=7As it was typed")
