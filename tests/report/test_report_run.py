"""`mer report` of a run with its data and networks: activation, pictures, a browser."""

import base64
import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from omegaconf import OmegaConf
from PIL import Image

from mer.pages.plots import Plot
from mer.report.fold_networks import Absent, Networks
from mer.runs.pictures import SIDE
from mer.runs.stored_run import Run
from mer.training import runner
from tests.builders import Config, save_config
from tests.page_reader import Page
from tests.report.report_inputs import read


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("reported") / "run"
    runner.run(tiny_config("macro.enabled=false", "model.epochs=1"), run_dir)
    return run_dir


@pytest.fixture(scope="module")
def page(finished: Path) -> Page:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Plot, "source", "data:image/svg+xml;base64,")  # takes most of the time
        return read(finished)


def of_real_persons(finished: Path, folder: Path) -> Path:
    """The same run, as if its faces were of real persons."""
    run_dir = Path(shutil.copytree(finished, folder / "run"))
    cfg = OmegaConf.load(run_dir / "config.yaml")
    cfg.data.generate = False
    save_config(cfg, run_dir)
    return run_dir


def widths(page: Page) -> set[int]:
    """Widths of the pictures of samples, which are PNG; figures are SVG."""
    found = set()
    for source in page.sources:
        if source.startswith("data:image/png"):
            content = base64.b64decode(source.partition(",")[2])
            found.add(Image.open(io.BytesIO(content)).width)
    return found


def side_by_side(count: int) -> int:
    return count * SIDE + (count - 1) * 4


def test_the_networks_say_what_they_said_when_they_were_tested(page: Page) -> None:
    assert "get another softmax class" not in page.text


def test_activation_over_all_regions_adds_up_to_one(page: Page, finished: Path) -> None:
    rows = page.table("predicted class")
    for row in rows:
        if row[2] != "–":
            assert sum(map(float, row[2:])) == pytest.approx(1, abs=0.04)
    count = len(pd.read_parquet(finished / "manifest.parquet"))
    assert sum(int(row[1]) for row in rows[:-1]) == count
    assert "landmarks of each sample" in page.sections["Where the network looks"]


def test_the_audit_stands_at_the_top(page: Page) -> None:
    assert "Nothing in the files of this run speaks against its score" in page.sections[""]
    assert {row[1] for row in page.table("check")} == {"pass"}


def test_synthetic_faces_are_shown(page: Page) -> None:
    assert "onset, apex, motion, strain" in page.sections["Single samples"]
    assert widths(page) == {side_by_side(4), SIDE}


@pytest.mark.usefixtures("no_figures")
@pytest.mark.slow
def test_faces_of_real_persons_are_shown_on_demand_alone(finished: Path, tmp_path: Path) -> None:
    run_dir = of_real_persons(finished, tmp_path)
    page = read(run_dir)
    assert "Pictures of faces are left out" in page.sections["Single samples"]
    assert "Activation over the strain" in page.sections["Where the network looks"]
    assert widths(page) == {side_by_side(2), SIDE}
    page = read(run_dir, pictures=True)
    assert "onset, apex, motion, strain" in page.sections["Single samples"]
    assert "Activation over the apex" in page.sections["Where the network looks"]
    assert widths(page) == {side_by_side(4), SIDE}


def test_code_from_elsewhere_is_not_run(finished: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    cfg = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(cfg, "backbone._target_", "os.system", force_add=True)
    OmegaConf.save(cfg, run_dir / "config.yaml")  # by another hand
    with pytest.raises(Absent, match=r"backbone._target_=os\.system"):
        Networks(Run(run_dir))


def test_missing_weights_are_named(finished: Path, tmp_path: Path) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    next(run_dir.glob("folds/*/model.ckpt")).unlink()
    with pytest.raises(Absent, match=r"1 of 3 folds have no model.ckpt \(group-\d+\)"):
        list(Networks(Run(run_dir)).modules())


@pytest.mark.usefixtures("no_figures")
def test_a_missing_package_is_named_with_what_to_type(
    finished: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = Path(shutil.copytree(finished, tmp_path / "run"))
    cfg = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(cfg, "backbone._target_", "nolab.nets.Small", force_add=True)
    save_config(cfg, run_dir)
    page = read(run_dir)
    said = "there is no package nolab. Install it, or name the folder that holds it: export PYTHON"
    for text in (caplog.text.replace("`", ""), page.sections["Where the network looks"]):
        assert said in text and f"Then type mer report {run_dir} again" in text
    assert page.table("check")  # the rest is there


@pytest.mark.slow
def test_a_browser_opens_the_page_without_complaint(finished: Path, tmp_path: Path) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        pytest.skip("needs Chromium or Chrome on the PATH")
    read(finished)
    done = subprocess.run(
        [
            browser,
            *("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--v=0"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={tmp_path / 'page.png'}",
            "--window-size=1200,3000",
            (finished / "report.html").as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    assert "CONSOLE" not in done.stderr
    shown = Image.open(tmp_path / "page.png").convert("L")
    assert shown.size == (1200, 3000)
    grey = np.asarray(shown)
    assert grey.min() < 60  # text
    assert grey.max() == 255
