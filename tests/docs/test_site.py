"""The pages of docs/: links lead somewhere, generated parts are there, and the site builds."""

import csv
import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
import yaml

import mer
from tests.docs.pages import PAGES, ROOT, anchors, links


@pytest.mark.parametrize("page", [pytest.param(page, id=page.name) for page in PAGES])
def test_links_within_the_repository_lead_somewhere(page: Path) -> None:
    wrong = []
    for link in links(page):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        if not target.exists() or (
            anchor and target.suffix == ".md" and anchor not in anchors(target)
        ):
            wrong.append(link)
    assert not wrong


def test_readme_is_short_and_names_every_page() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) < 200
    made_at_build = {"index", "configuration", "api"}
    for page in (ROOT / "docs").glob("*.md"):
        assert page.stem in made_at_build or f"](docs/{page.name}" in text, page.name


def test_forms_for_issues_are_those_that_github_reads() -> None:
    forms = list((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))
    assert {path.stem for path in forms} >= {"bug", "question", "data_or_model"}
    for path in forms:
        form = yaml.safe_load(path.read_text())
        if path.stem == "config":
            assert set(form) <= {"blank_issues_enabled", "contact_links"}
            continue
        assert set(form) == {"name", "description", "labels", "body"}, path
        for entry in form["body"]:
            assert entry["type"] in ("input", "textarea", "dropdown", "checkboxes"), path
            assert set(entry) <= {"type", "attributes", "validations"}, path
            assert entry["attributes"]["label"], path
    assert "mer doctor" in (ROOT / ".github/ISSUE_TEMPLATE/bug.yml").read_text()


#: Row of README's table of results -> file of the study, and what its row has.
README_ROWS = {
    r"\[MobileViT-XXS without pretraining\].*?\| SVM": (
        "flow-loso",
        {"head": "svm", "data": "pooled"},
    ),
    r"\[MobileViT-XXS pretrained on CK\+48\].*?\| SVM": (
        "crops-loso",
        {"head": "svm", "data": "pooled"},
    ),
    r"\[MobileViT pretrained .*?\| SVM": ("mobilevit", {"head": "svm", "seed": "3 seeds"}),
    r"\[chosen inside each fold\].*?\| SVM": (
        "best",
        {"run": "chosen", "head": "svm", "data": "pooled"},
    ),
}


@pytest.mark.parametrize("pattern", README_ROWS)
def test_scores_in_readme_are_those_of_the_studies(pattern: str) -> None:
    study, wanted = README_ROWS[pattern]
    line = re.search(rf"^\| {pattern}.*$", (ROOT / "README.md").read_text(), re.MULTILINE)
    assert line is not None
    shown = line[0].split("|")[3:6]
    with (ROOT / "experiments" / f"2026-11-{study}" / "results.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if wanted.items() <= row.items()]
    assert len(rows) == 1
    for text, key in zip(shown, ("accuracy", "uf1", "uar"), strict=True):
        value, low, high = (float(number) for number in re.findall(r"\.\d+", text))
        assert value == pytest.approx(float(rows[0][key]), abs=5.1e-4)
        assert low == pytest.approx(float(rows[0][f"{key}_low"]), abs=5.1e-3)
        assert high == pytest.approx(float(rows[0][f"{key}_high"]), abs=5.1e-3)


def hook() -> ModuleType:
    """The hook of MkDocs, which is no part of a package."""
    spec = importlib.util.spec_from_file_location("build_pages", ROOT / "docs" / "build_pages.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_reference_of_settings_has_every_key_with_its_comment() -> None:
    build = hook()
    folders = {path.name for path in (ROOT / "conf").iterdir() if path.is_dir()}
    assert set(build.GROUPS) == folders
    text = build.configuration()
    assert "| `model.optimizer.lr` | `1.0e-3` | largest rate |" in text
    assert "| `model.epochs` | `30` | whole passes; their number is fixed before the run" in text
    assert re.search(
        r"\| `selection` \| `last` \| Which epoch's weights are tested: `last`, or", text
    )
    assert re.search(r"\| `run.dir` \|.*Name a directory to continue the run in it", text)
    assert re.search(r"\| `protocol.inner.pipelines` \| `{}` \| Named variants of keys", text)
    for name in ("input.size", "prepare.flow.tvl1.warps", "protocol.inner.svm.kernel", "seed"):
        assert f"| `{name}` |" in text


def test_a_table_of_results_is_made_of_the_rows_that_are_asked_for() -> None:
    words = (
        "experiments/2026-11-best/results.csv; where: run=chosen|fixed, data=pooled, head=svm; "
        "show: run as pipeline, uf1"
    )
    assert [line for line in hook().results(words).splitlines() if line.startswith("|")] == [
        "| pipeline | UF1 |",
        "| --- | --- |",
        "| chosen | .786 [.72, .85] |",
        "| fixed | .771 [.70, .84] |",
    ]
    with pytest.raises(ValueError, match="has no row"):
        hook().results(words.replace("pooled", "nowhere"))


@pytest.mark.slow  # griffe reads the whole package
def test_site_builds_strictly_and_asks_nobody(tmp_path: Path) -> None:
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path)]
    built = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert built.returncode == 0, built.stderr
    settings = (tmp_path / "configuration.html").read_text()
    for key in ("model.optimizer.lr", "prepare.flow.dis.refinements", "protocol.inner.n_splits"):
        assert f"<code>{key}</code>" in settings
    assert "largest rate" in settings  # the comment of model.optimizer.lr
    reference = (tmp_path / "api.html").read_text()
    for name, module in mer._PUBLIC.items():
        assert f'id="{module if module == f"mer.{name}" else f"{module}.{name}"}"' in reference
    assert ".786 [.72, .85]" in (tmp_path / "results.html").read_text()
    for page in tmp_path.rglob("*.html"):
        loaded = re.findall(
            r'<(?:script|link|img|iframe)[^>]*(?:src|href)="(https?:[^"]+)"', page.read_text()
        )
        assert not loaded, page
