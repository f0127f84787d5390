"""The notebooks run from top to bottom, and are kept without outputs."""

import ast
import json
from pathlib import Path

import pytest

NOTEBOOKS = sorted((Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, id=path.stem) for path in NOTEBOOKS],
)
@pytest.mark.slow
def test_notebook_runs(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("MER_CACHE", "MER_SYNTH", "MER_DATA"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.chdir(tmp_path)
    names: dict[str, object] = {"__name__": "__main__"}
    for number, cell in enumerate(json.loads(path.read_text())["cells"]):
        if cell["cell_type"] == "code":
            assert cell["outputs"] == []
            assert cell["execution_count"] is None
            exec(compile("".join(cell["source"]), f"{path.name} cell {number}", "exec"), names)


@pytest.mark.parametrize("path", [pytest.param(path, id=path.stem) for path in NOTEBOOKS])
def test_what_a_notebook_imports_is_there(path: Path) -> None:
    cells = json.loads(path.read_text())["cells"]
    code = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code")
    imports = [one for one in ast.parse(code).body if isinstance(one, ast.Import | ast.ImportFrom)]
    assert imports
    for one in imports:
        exec(ast.unparse(one), {})
