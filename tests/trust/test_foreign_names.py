"""Names of somebody else: printed letter by letter, and no formula, markup or command anywhere."""

import csv
import io
import json
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from optuna.trial import TrialState

from mer.cli import main
from mer.errors import MerError, printable
from mer.files import csv_text
from mer.pages.rendering import LATEX
from mer.runs import results, terminal
from mer.search import study_page, summary
from mer.search.commands import Typed
from tests.page_reader import Page
from tests.search.search_inputs import FIXED, Made
from tests.trust.foreign import CLASSES, config, write_run

HOSTILE = [
    "\x1b]0;title\x07",
    "\x1b[2J\x1b[31m",
    "\x9b2J",
    "[red]x[/red]",
    "[/x]",
    "[link=https://example.org]x[/link]",
    ":smile:",
    "a\rb",
    "\u202egnp.exe",
]


def as_shown(name: str) -> str:
    """How a name is printed: rich leaves bells and carriage returns out, the rest is written."""
    return printable(name.replace("\x07", "").replace("\r", ""))


def renamed(folder: Path, name: str) -> Path:
    """A finished run whose dataset, head, persons and looks have that name."""
    run_dir = write_run(folder, config(data__name=name, backbone__name=name, protocol__name="loso"))
    frame = pd.read_parquet(run_dir / "predictions.parquet").assign(dataset=name, person=name)
    frame[name] = frame["softmax"]
    frame = frame.assign(**{f"{name}_{label}": 0.5 for label in CLASSES})
    frame.to_parquet(run_dir / "predictions.parquet")
    frame[["sample_id", "dataset", "person", "label", "fold", "subject", "emotion"]].to_parquet(
        run_dir / "manifest.parquet"
    )
    (run_dir / "metrics.json").write_text(
        json.dumps(
            {
                "status": "complete",
                "heads": results.score(frame, CLASSES, 0),
                "seconds": 1.0,
                "folds": 1,
            }
        )
    )
    looks = [{"at": "", "how": "run", "sha256": "0"}, {"at": "", "how": name, "sha256": "1"}]
    (run_dir / "label_access.json").write_text(json.dumps(looks))
    return run_dir


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("command", ["compare", "audit"])
def test_terminals_get_names_letter_by_letter(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], command: str, name: str
) -> None:
    main([command, str(renamed(tmp_path / "run", name))])
    said = capfd.readouterr()
    shown = said.out + said.err
    assert not set("\x1b\x07\x9b\r\u202e") & set(shown)
    assert as_shown(name)[:5] in shown


@pytest.mark.parametrize("name", HOSTILE)
def test_the_table_of_a_run_and_messages_do_too(
    capfd: pytest.CaptureFixture[str], tmp_path: Path, name: str
) -> None:
    frame = pd.DataFrame(
        {
            "sample_id": CLASSES,
            "label": CLASSES,
            "dataset": name,
            "person": name,
            name: CLASSES,
            **{f"{name}_{label}": 1.0 for label in CLASSES},
            **{f"softmax_{label}": 1.0 for label in CLASSES},
            "softmax": CLASSES,
        }
    )
    scored = {"heads": results.score(frame, CLASSES, 0), "warnings": [name], "remarks": [name]}
    terminal.console().print(results.to_table(scored, name))
    assert main(["evaluate", str(tmp_path / name)]) == 2
    said = capfd.readouterr()
    assert said.out.count(as_shown(name)) >= 3
    assert printable(Path(name).name) in said.err
    assert not set("\x1b\x07\x9b\r\u202e") & set(said.out + said.err)


FORMULAS = [
    "=1+1",
    "+1+1",
    "-1+1",
    "@SUM(A1)",
    "\t=1",
    "\r=1",
    "=HYPERLINK(0)",
    "-2+3+cmd|' /C x'!A",
]


@pytest.mark.parametrize("name", FORMULAS)
def test_no_cell_of_a_csv_file_is_a_formula(tmp_path: Path, name: str) -> None:
    run_dir = renamed(tmp_path / "run", name)
    assert main(["compare", str(run_dir), "--csv", str(tmp_path / "out.csv")]) == 0
    made = Made(tmp_path)
    made.add([0.5], loss="ce")
    made.add(None, TrialState.FAIL, outcome=name)
    summary.write(made.study, tmp_path, Typed(FIXED))
    (tmp_path / "frame.csv").write_text(csv_text(pd.DataFrame({name: [name, "-1", "1e5"]})))
    for file in ("out.csv", "trials.csv", "frame.csv"):
        text = (tmp_path / file).read_bytes().decode()
        cells = [cell for row in csv.reader(io.StringIO(text, newline="")) for cell in row]
        risky = [cell for cell in cells if cell[:1] in ("=", "+", "-", "@", "\t", "\r")]
        assert all(isinstance(float(cell), float) for cell in risky), file
        assert any(cell == "'" + name.replace("\r", " ") for cell in cells), file


@pytest.mark.parametrize(
    "name",
    [
        "<script>alert(1)</script>",
        "<img src=x onerror=alert(1)>",
        '" onmouseover="alert(1)',
        "javascript:alert(1)",
        "</style><script>alert(1)</script>",
        "{{ 7*7 }}",
    ],
)
def test_the_page_of_a_search_shows_payloads_as_text(tmp_path: Path, name: str) -> None:
    made = Made(tmp_path)
    made.add([0.5])
    made.add(None, TrialState.FAIL, outcome=name)
    made.study.set_user_attr(
        "mer", json.dumps({"space": {name: ""}, "settings": {"data.name": name}})
    )
    text = study_page.write(made.study, tmp_path, Typed(FIXED)).read_text()
    page = Page(text)
    assert not page.tags & {"script", "iframe", "object", "embed", "form", "base"}
    assert "onerror=alert" not in text.replace("&lt;img src=x onerror=alert", "")
    assert "49" not in page.sections[""]
    assert all(not source.startswith("javascript:") for source in page.sources)


@pytest.mark.parametrize("name", [r"\input{/etc/passwd}", r"\write18{id}", "%", "$x$", "#1"])
def test_latex_prints_commands_as_text(name: str) -> None:
    text = LATEX.from_string("{{ name }}").render(name=name)
    assert "\\input" not in text and "\\write" not in text
    assert not text.startswith(("%", "$", "#"))


def test_w_and_b_gets_no_path_of_somebody_else(
    tmp_path: Path, tiny_config: Callable[..., object]
) -> None:
    from mer.config.composition import typed
    from mer.loggers import identity
    from mer.loggers.typed_words import Typed

    run_dir = tmp_path / "run"
    run_dir.mkdir()
    evil = {"id": "../../outside", "project": "p", "name": "n", "group": None}
    (run_dir / "wandb.json").write_text(json.dumps(evil))
    with pytest.raises(MerError, match="holds no id of a W&B run"):
        identity.keep(typed(tiny_config()), run_dir, "mer", Typed())  # type: ignore[arg-type]
