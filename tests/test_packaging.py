"""What is shipped: the wheel's content, the pins, and a reason beside each dependency."""

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import mer
from mer.models.ready_weights import READY

ROOT = Path(mer.__file__).resolve().parents[1]
PYPROJECT = ROOT / "pyproject.toml"

pytestmark = pytest.mark.skipif(not PYPROJECT.is_file(), reason="needs a checkout")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Build the wheel and return the names of its files."""
    out = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", str(out), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return set(zipfile.ZipFile(next(out.glob("*.whl"))).namelist())


def test_wheel_carries_every_configuration_file(wheel: set[str]) -> None:
    conf = {f"mer/conf/{p.relative_to(ROOT / 'conf')}" for p in (ROOT / "conf").rglob("*.yaml")}
    assert "mer/conf/train.yaml" in conf
    assert conf <= wheel


def test_wheel_carries_every_template(wheel: set[str]) -> None:
    folder = ROOT / "mer" / "pages" / "templates"
    assert {f"mer/pages/templates/{path.name}" for path in folder.iterdir()} <= wheel
    assert "mer/pages/templates/style.css" in wheel


def test_wheel_carries_every_module_and_the_face_model(wheel: set[str]) -> None:
    modules = {str(p.relative_to(ROOT)) for p in (ROOT / "mer").rglob("*.py")}
    plugin = (
        "hydra_plugins/mer_optuna.py"  # a namespace of Hydra's, so it is no part of `mer` there
    )
    assert f"mer/plugins/{plugin}" in modules
    assert {module.removeprefix("mer/plugins/") for module in modules} <= wheel
    assert "hydra_plugins/__init__.py" not in wheel, "it would hide the plugins of others"
    assert "mer/assets/face_landmarker.task" in wheel
    for name in READY:
        assert {f"mer/assets/{name}.ckpt", f"mer/assets/{name}.md"} <= wheel


def test_wheel_carries_nothing_else(wheel: set[str]) -> None:
    tops = {name.split("/")[0] for name in wheel}
    assert tops == {"mer", "hydra_plugins", f"mer-{mer.__version__}.dist-info"}
    assert [name for name in wheel if name.startswith("hydra_plugins")] == [
        "hydra_plugins/mer_optuna.py"
    ]
    assert not [name for name in wheel if re.match(r"test|conftest|.*\.pyc$", Path(name).name)]
    assert f"mer-{mer.__version__}.dist-info/licenses/LICENSE" in wheel


def project() -> dict:
    return tomllib.loads(PYPROJECT.read_text())["project"]


def all_requirements(without: tuple[str, ...] = ()) -> list[Requirement]:
    extras = project()["optional-dependencies"].items()
    texts = [text for name, extra in extras if name not in without for text in extra]
    needs = map(Requirement, [*project()["dependencies"], *texts])
    return [need for need in needs if need.name != "mer"]


def test_all_brings_every_extra_but_ray_and_the_tools_of_development() -> None:
    extras = project()["optional-dependencies"]
    (everything,) = map(Requirement, extras["all"])
    assert everything.extras == set(extras) - {"all", "dev", "docs", "notebooks", "ray"}


def test_each_dependency_says_why_it_is_there() -> None:
    lines = PYPROJECT.read_text().splitlines()
    for need in all_requirements():
        line = next(line for line in lines if re.match(rf'\s+"{re.escape(need.name)}[\[<>=]', line))
        assert re.search(r'",  # \w+', line), f"no reason given: {line.strip()}"
        assert any(s.operator in (">=", "==") for s in need.specifier), f"no floor: {need}"


def test_each_imported_package_is_a_dependency() -> None:
    declared = {canonicalize_name(need.name) for need in all_requirements()}
    providers = packages_distributions()
    for path in (ROOT / "mer").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.ImportFrom):
                names = [node.module or ""]
            elif isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            else:
                continue
            own = {*sys.stdlib_module_names, "mer", "hydra_plugins"}
            for top in {name.split(".")[0] for name in names} - own:
                owners = {canonicalize_name(owner) for owner in providers.get(top, [])}
                assert owners & declared, f"{path} imports {top}, which no dependency brings"


def pins() -> dict[str, str]:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    found = [line for line in lines if line and not line.startswith("#")]
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in found), "only name==version"
    return {canonicalize_name(n): v for n, v in (line.split("==") for line in found)}


def test_constraints_pin_every_dependency_within_its_bounds() -> None:
    pinned = pins()
    for need in all_requirements(without=("ray",)):  # which asks for older ones, see there
        version = pinned.get(canonicalize_name(need.name))
        assert version is not None, f"{need.name} is not in constraints.txt"
        assert need.specifier.contains(version, prereleases=True), f"{need} excludes {version}"


def test_makefile_and_ci_write_the_headless_opencv_last() -> None:
    assert {"opencv-python-headless", "opencv-contrib-python"} <= set(pins())
    for path in (ROOT / "Makefile", ROOT / ".github" / "workflows" / "ci.yaml"):
        commands = [line.split() for line in path.read_text().splitlines() if "pip install" in line]
        others = {"build", "'.[notebooks]'"}  # what they bring has nothing to do with OpenCV
        last = [words for words in commands if not others & set(words)][-1]
        assert {"--no-deps", "--force-reinstall", "opencv-python-headless"} <= set(last)


def test_ci_runs_the_tests_of_the_readme() -> None:
    script = ROOT / ".ci" / "run"
    assert script.stat().st_mode & 0o100, "chmod +x .ci/run"
    assert script.read_text().rstrip().endswith("make test")


def test_make_lists_its_targets() -> None:
    done = subprocess.run(["make", "-C", str(ROOT)], capture_output=True, text=True, check=True)
    for target in ("install", "demo", "test", "test-slow", "lint", "doctor", "clean"):
        assert f"  make {target} " in done.stdout
