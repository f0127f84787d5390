"""Hydra finds the sweeper: in a checkout, in the wheel, on the stable line and on the next one."""

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

import pytest

import mer

ROOT = Path(mer.__file__).resolve().parents[1]
SWEEPER = "hydra_plugins.mer_optuna.OptunaSweeper"
NEXT_HYDRA = ("hydra-core==1.4.0rc3", "omegaconf==2.4.1rc1")

#: Tells what a newly started Hydra knows of the sweeper.
ASK = """
import importlib.metadata, json, sys
from hydra.core.plugins import Plugins
from hydra.plugins.sweeper import Sweeper
import hydra, hydra_plugins.mer_optuna
from mer.config.composition import conf_dir

plugins = Plugins.instance()
with hydra.initialize_config_dir(str(conf_dir()), version_base="1.3"):
    cfg = hydra.compose("train", ["hydra/sweeper=mer_optuna"], return_hydra_config=True)
print(json.dumps({
    "hydra": importlib.metadata.version("hydra-core"),
    "found": [f"{c.__module__}.{c.__name__}" for c in plugins.discover(Sweeper)],
    "ways": list(plugins.get_stats().modules_import_time),
    "composed": cfg.hydra.sweeper._target_,
    "optuna": "optuna" in sys.modules,
    "plugin": hydra_plugins.mer_optuna.__file__,
    "conf": str(conf_dir()),
}))
"""


def ask(*python: str, env: dict[str, str] | None = None) -> dict:
    """Run a command that ends with `ASK`, which the current folder is not to help."""
    done = subprocess.run(
        [sys.executable, "-P", *python], capture_output=True, text=True, check=False, env=env
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def check(answer: dict) -> None:
    assert answer["found"].count(SWEEPER) == 1
    assert answer["composed"] == SWEEPER
    assert not answer["optuna"], "every start of Hydra would import Optuna"


def site_packages() -> list[str]:
    return [path for path in sys.path if path.endswith(("site-packages", "dist-packages"))]


def test_hydra_finds_the_sweeper_where_mer_is_installed() -> None:
    answer = ask("-c", ASK)
    check(answer)
    assert "hydra_plugins.mer_optuna" in answer["ways"]


@pytest.mark.skipif(not (ROOT / "pyproject.toml").is_file(), reason="needs a checkout")
def test_hydra_finds_the_sweeper_of_the_wheel(tmp_path: Path) -> None:
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(tmp_path)]
    done = subprocess.run([*build, str(ROOT)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    unpacked = tmp_path / "unpacked"
    zipfile.ZipFile(next(tmp_path.glob("*.whl"))).extractall(unpacked)
    # Isolated (-I) and without `site` (-S): no variable or .pth file leads back to the checkout.
    paths = [str(unpacked), *site_packages()]
    answer = ask("-I", "-S", "-c", f"import sys; sys.path += {paths}\n{ASK}")
    check(answer)
    assert Path(answer["plugin"]).is_relative_to(unpacked)
    assert Path(answer["conf"]) == unpacked / "mer" / "conf"


@pytest.fixture(scope="module")
def next_hydra(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Environment variables with which Python finds the next Hydra before the installed one."""
    folder = tmp_path_factory.mktemp("hydra")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(folder)]
    done = subprocess.run([*pip, *NEXT_HYDRA], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"pip cannot get {NEXT_HYDRA[0]}: {done.stderr.strip().splitlines()[-1]}")
    return os.environ | {"PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


@pytest.mark.slow
def test_the_next_hydra_finds_the_sweeper_by_its_entry_point(next_hydra: dict[str, str]) -> None:
    answer = ask("-c", ASK, env=next_hydra)
    assert answer["hydra"] == NEXT_HYDRA[0].partition("==")[2]
    check(answer)
    assert "entry point: mer_optuna" in answer["ways"]


@pytest.mark.slow
def test_a_search_runs_on_the_next_hydra(
    next_hydra: dict[str, str], tiny_words: Sequence[str], tmp_path: Path
) -> None:
    words = ["search=optuna", f"search.dir={tmp_path}", "search.n_trials=2"]
    words += [*tiny_words, "protocol.n_splits=2", "model.epochs=1", "macro.enabled=false"]
    command = [sys.executable, "-m", "mer.cli", "train", "-m", *words]
    done = subprocess.run(
        [*command, "model.dropout=interval(0.0, 0.5)"],
        capture_output=True,
        text=True,
        check=False,
        env=next_hydra,
    )
    assert done.returncode == 0, done.stderr
    assert "2 trials: 2 complete" in done.stdout
    assert {path.parent.name for path in tmp_path.glob("*/metrics.json")} == {"0", "1"}
