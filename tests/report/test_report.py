"""`mer report`: the page is self-contained, hides no warning and says what is missing."""

import errno
import json
import re
import tempfile
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from mer.cli import main
from mer.pages import plots
from mer.pages.rendering import HTML, latex, render
from mer.report.run_page import Choices, write
from mer.report.run_scores import score_table
from mer.runs import label_access
from mer.runs.stored_run import Run
from tests.page_reader import Page
from tests.report.report_inputs import predictions, read, write_run


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_run(tmp_path_factory.mktemp("report") / "run")


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    return read(finished)


@pytest.fixture
def incomplete(tmp_path: Path) -> Path:
    run_dir = write_run(tmp_path / "run")
    (run_dir / "metrics.json").write_text('{"status": "incomplete"}')
    return run_dir


def test_the_page_opens_with_the_score_that_counts_and_the_verdict_of_the_audit(
    page: Page,
) -> None:
    opening = page.sections[""]
    assert "UF1, SVM on embeddings 0.611 95 % interval" in opening
    assert "8 samples of 3 persons" in opening
    assert "UF1 of majority class: 0.222" in opening
    recall = "negative 0.75 (3 of 4), positive 0.50 (1 of 2), surprise 0.50 (1 of 2)."
    assert recall in opening
    # Nothing of the folds is left in the directory.
    assert re.search("cannot be (believed|decided)", opening)
    assert [row[0] for row in page.table("check")][:3] == ["files", "samples", "predictions"]


def test_the_table_shows_each_score_with_its_interval(finished: Path, page: Page) -> None:
    shown = page.table("head")
    for part in score_table(Run(finished)):
        assert shown.pop(0) == [f"{part.name}: {part.samples} samples of {part.persons} persons"]
        for row in part.rows:
            cells = shown.pop(0)
            assert cells[0] == row.head
            for cell, score in zip(cells[1:], row.scores.values(), strict=True):
                interval = "" if score.low is None else f" [{score.low:.2f}, {score.high:.2f}]"
                assert cell == f"{score.value:.3f}{interval}"
    assert shown == []


def test_dropped_samples_are_counted_not_their_reasons(page: Page) -> None:
    assert "2 of 10 samples dropped, 1 values mended" in page.sections["Data"]


def test_no_wide_table_is_cut_on_a_phone(finished: Path, page: Page) -> None:
    html = (finished / "report.html").read_text(encoding="utf-8")
    wide = [rows for rows in page.tables if len(rows[0]) > 4]
    assert html.count('<table class="cards">') == len(wide) > 3
    assert html.count('<td class="number" data-label="kappa">') == 12  # 4 heads, 3 parts


def test_every_section_is_linked_and_every_picture_described(page: Page) -> None:
    links = [source[1:] for source in page.sources if source.startswith("#")]
    assert [name for name in links if name != "top"] == [
        re.sub("[^a-z0-9]+", "-", heading.lower()) for heading in page.sections if heading
    ]
    assert page.alternatives and all(page.alternatives)


def test_confusion_matrices_are_drawn_for_the_composite_and_each_dataset(page: Page) -> None:
    matrices = [words for words in page.alternatives if words.startswith("Confusion matrix")]
    titles = [words.removeprefix("Confusion matrix, ").split(".")[0] for words in matrices]
    assert titles == [
        f"{part}, {head}"
        for head in ("SVM on embeddings", "softmax")
        for part in ("pooled", "casme2", "samm")
    ]
    assert "negative: 3 as negative, 1 as positive, 0 as surprise" in matrices[0]
    assert "surprise: 1 as negative, 0 as positive, 0 as surprise" in matrices[2]


def test_what_is_missing_is_named_where_it_would_be(page: Page) -> None:
    for title in ("Single samples", "Where the network looks"):
        assert "data.micro.casme2 is to be at /nowhere/CASME2" in page.sections[title]
    assert "No finished fold has a history" in page.sections["Learning curves"]
    assert "61.4 s for all folds together" in page.sections["Cost"]


def test_nothing_is_loaded_from_outside_and_nothing_runs(page: Page, finished: Path) -> None:
    assert page.sources
    assert all(source.startswith(("data:image/", "data:,", "#")) for source in page.sources)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    words = re.sub(r"data:[^\"]*", "", (finished / "report.html").read_text())
    assert not re.search(r"url\(|@import|https?://", words)
    assert "default-src 'none'" in words


@pytest.mark.usefixtures("no_figures")
def test_names_from_files_are_neither_html_nor_paths(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(plots, "DPI", 30)  # faster
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
    assert {"confusion-svm-pooled", "persons-casme2", "calibration-svm"} <= names
    for name in names:
        assert (run_dir / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (run_dir / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")


def test_backticks_become_code_after_escaping() -> None:
    template = HTML.from_string('{% from "macros.html.j2" import code %}{{ code(text) }}')
    assert template.render(text="type `mer <x>`, a < b") == (
        "type <code>mer &lt;x&gt;</code>, a &lt; b"
    )


def test_an_incomplete_run_shows_no_score(incomplete: Path) -> None:
    page = read(incomplete)
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


@pytest.mark.usefixtures("no_figures")
def test_warnings_stand_above_everything_and_in_the_table_for_a_paper(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", mark="-ORACLE")
    frame = predictions()
    label_access.record(run_dir, frame, "run")
    label_access.record(run_dir, frame.assign(svm="negative"), "evaluate callbacks.svm_head.C=10")
    opening = read(run_dir).sections[""]
    assert opening.index("Not a score to report") < opening.index("0.611")
    assert "chosen on its test persons" in opening
    assert "1 later look at the test labels, last by: evaluate callbacks.svm_head.C=10" in opening
    assert "chosen on its test persons" in table_for_a_paper(run_dir)
    assert (run_dir / "report-ORACLE.html").exists()
    assert not (run_dir / "report.html").exists()


def test_a_split_by_sample_shows_in_the_name_of_the_page(incomplete: Path) -> None:
    cfg = OmegaConf.load(incomplete / "config.yaml")
    cfg.protocol.name = "random_samples"
    OmegaConf.save(cfg, incomplete / "config.yaml")
    assert "persons who trained are tested" in read(incomplete).sections[""]
    assert (incomplete / "report-LEAKY.html").exists()


def table_for_a_paper(run_dir: Path) -> str:
    run = Run(run_dir)
    names = {name: name for name in ("uf1", "weighted_f1")}
    return render("table.tex.j2", run=run, scores={"names": names, "parts": score_table(run)})


def test_the_table_for_a_paper_has_the_same_scores(finished: Path) -> None:
    table = table_for_a_paper(finished)
    rows = [line.split(" & ") for line in table.splitlines() if line.startswith("pooled")]
    heads = ["SVM on embeddings", "softmax", "majority class", "guessing"]
    assert [row[1] for row in rows] == heads
    assert [re.sub(r" \[.*", "", row[2]) for row in rows[:2]] == ["0.611", "0.886"]
    assert re.fullmatch(r"0\.611 \[0\.\d\d, [01]\.\d\d\]", rows[0][2])
    assert rows[0][3] == r"0.625 \\"
    assert r"data & head & uf1 & weighted\_f1 \\" in table
    assert r"\caption{tiny on flow, composite, protocol loso, selection last, seed 0. " in table


def test_latex_prints_names_as_they_are() -> None:
    assert latex("a_b & 5% {x} #1 $ ~ ^ \\") == (
        r"a\_b \& 5\% \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} \textbackslash{}"
    )


@pytest.mark.usefixtures("no_figures")
def test_the_command_line_prints_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run_dir = write_run(tmp_path / "run")
    monkeypatch.setattr("mer.report.run_page.save", lambda _, folder: folder.mkdir())
    assert main(["report", str(run_dir), "--quick", "--figures"]) == 0
    written = [run_dir / name for name in ("report.html", "figures", "table.tex")]
    assert capsys.readouterr().out.splitlines() == list(map(str, written))
    assert all(path.exists() for path in written)
    page = Page(written[0].read_text())
    assert "Left out by --quick" in page.sections["Where the network looks"]


def test_the_same_run_gives_the_same_page(finished: Path, page: Page) -> None:
    first = (finished / "report.html").read_bytes()
    write(finished, Choices())
    assert (finished / "report.html").read_bytes() == first


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.yaml", "a: [", "config.yaml is damaged"),
        ("config.yaml", "- a\n", "config.yaml is damaged"),
        ("metrics.json", '{"status": ', "metrics.json is damaged"),
        ("manifest.parquet", "", "manifest.parquet is damaged"),
        ("predictions.parquet", "PAR1", "damaged"),
        ("environment.json", "{}", "environment.json is damaged (no list in it)"),
        ("label_access.json", "[", "damaged"),
    ],
)
def test_a_damaged_file_is_named(
    name: str, content: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run_dir = write_run(tmp_path / "run")
    (run_dir / name).write_text(content)
    assert main(["report", str(run_dir), "--quick"]) == 2
    assert message in capsys.readouterr().err
    assert not (run_dir / "report.html").exists()


def test_what_is_no_run_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path)]) == 2
    assert "is no run directory: it has no config.yaml" in capsys.readouterr().err


def test_a_directory_that_cannot_be_written_to_is_named(
    incomplete: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(**options: object) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    with monkeypatch.context() as changed:
        changed.setattr(tempfile, "TemporaryFile", refused)
        assert main(["report", str(incomplete)]) == 2
    assert f"{incomplete} cannot be written: this user must not" in capsys.readouterr().err
    (incomplete / "report.html").mkdir()
    assert main(["report", str(incomplete), "--quick"]) == 2
    assert "report.html: a folder is where a file is expected" in capsys.readouterr().err


def test_choices_inside_the_folds_are_counted(incomplete: Path) -> None:
    cfg = OmegaConf.load(incomplete / "config.yaml")
    cfg.protocol.inner = {"n_splits": 3, "choose": ["epochs", "svm"]}
    OmegaConf.save(cfg, incomplete / "config.yaml")
    for fold, epochs in (("casme2/s1", 4), ("casme2/s2", 4), ("samm/1", 2)):
        folder = incomplete / "folds" / fold
        folder.mkdir(parents=True)
        (folder / "predictions.parquet").touch()
        choices = {"epochs": {"chosen": epochs}, "svm": {"chosen": {"C": 0.1, "kernel": "rbf"}}}
        (folder / "inner.json").write_text(json.dumps({"choices": choices}))
    assert read(incomplete).facts["chosen inside each fold"] == (
        "epochs (4 in 2, 2 in 1); svm (C=0.1 kernel=rbf in 3); "
        "by 3 inner splits of the training persons"
    )
