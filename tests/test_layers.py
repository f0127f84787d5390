"""A package of mer imports only from levels above its own, so that no circle can form."""

import ast
from pathlib import Path

import pytest

import mer

ROOT = Path(mer.__file__).parent

LEVELS = (
    ("errors", "randomness", "assets", "__init__"),
    ("files", "processes", "progress"),
    ("metrics", "protocols", "config", "synthetic", "cache", "integrity", "pages"),
    ("datasets", "models"),
    ("prepare", "callbacks"),
    ("spotting",),
    ("data",),
    ("runs",),
    ("training",),
    ("loggers", "deploy"),
    ("audit",),
    ("search", "compare", "report"),
    ("cli", "plugins"),
)
LEVEL = {name: number for number, names in enumerate(LEVELS) for name in names}
#: Beyond the levels: training must not need what knows of networks.
FORBIDDEN = {("data", "models"), ("spotting", "models")}


def imports(path: Path) -> set[str]:
    """Top-level parts of mer that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "mer":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        elif isinstance(node, ast.Import):
            names = [alias.name.split(".") for alias in node.names]
            found |= {parts[1] for parts in names if parts[0] == "mer" and len(parts) > 1}
    return found & set(LEVEL)


def wrong(path: Path) -> list[str]:
    """Imports of a file that point downwards."""
    own = path.relative_to(ROOT).parts[0].removesuffix(".py")
    if own == "__init__":  # names the public interface, and imports it when it is used
        return []
    return [
        f"{path.relative_to(ROOT)} imports mer.{other}"
        for other in sorted(imports(path))
        if other != own and (LEVEL[other] >= LEVEL[own] or (own, other) in FORBIDDEN)
    ]


def test_every_part_has_a_level() -> None:
    parts = {p.stem if p.is_file() else p.name for p in ROOT.iterdir() if p.name[:2] != "__"}
    assert parts - {"conf"} <= set(LEVEL)


def test_imports_point_upwards() -> None:
    assert [line for path in sorted(ROOT.rglob("*.py")) for line in wrong(path)] == []


def test_a_wrong_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(globals(), "ROOT", tmp_path)
    (tmp_path / "models").mkdir()
    planted = tmp_path / "models" / "planted.py"
    planted.write_text("def f():\n    from mer.training import fold\n    import mer.errors\n")
    assert wrong(planted) == ["models/planted.py imports mer.training"]


def test_few_modules_are_loose_and_no_name_means_two_things() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 10
    names = [p.name for p in ROOT.rglob("*.py") if p.name[:2] != "__" and p.parent.name != "cli"]
    packages = {p.name for p in ROOT.iterdir() if p.is_dir()}
    twice = {name for name in names if names.count(name) > 1}
    assert twice | {name for name in names if name.removesuffix(".py") in packages} == set()
