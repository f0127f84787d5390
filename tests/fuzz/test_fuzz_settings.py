"""Words of the command line, values of the configuration, configuration files of runs."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import strategies as st

from mer.config import conversion, trust
from mer.config.composition import check_words, compose, to_plain, typed
from mer.data import sources
from tests.fuzz.fuzz_inputs import fuzz, mutated, sizes

WORDS = [
    "seed=1",
    "model.epochs=6",
    "protocol=loso",
    "backbone=tiny",
    "model.optimizer.lr=1e-3",
    "macro=default",
]
WORDS += [
    "data.root=d/cas",
    "+note=x",
    "~data.micro.samm",
    "labels.classes=[a,b]",
    "logger=csv",
    "search=optuna",
]
WORDS += ["run.dir=runs/a", "protocol.inner.choose=[epochs,svm]", "callbacks.svm_head.C=10", "-m"]
WORDS += ["data.micro.casme2={root: a, tree: raw}", "input.size=choice(32,64)", "hydra.sweep.dir=a"]
WORDS += [
    "prepare.flow.method=null",
    "backbone._target_=os.system",
    "++model.loss._target_=os.getcwd",
]


@sizes(4, 1_000)
def test_words_of_the_command_line(examples: int) -> None:
    def check(words: list[str]) -> None:
        config = check_words(words)
        if config is not None:
            typed(config)

    check_words([])  # what the first call imports is no matter of its input
    fuzz(st.lists(mutated(WORDS), min_size=1, max_size=2), examples, check)


@pytest.fixture(scope="module")
def plain() -> dict[str, Any]:
    return to_plain(compose([]))


def keys(node: dict[str, Any], prefix: tuple[str, ...] = ()) -> list[tuple[str, ...]]:
    found = []
    for name, value in node.items():
        found.append((*prefix, str(name)))
        if isinstance(value, dict):
            found += keys(value, (*prefix, str(name)))
    return found


VALUES = st.recursive(
    st.one_of(
        st.none(),
        st.booleans(),
        st.integers(),
        st.floats(),
        st.text(max_size=6),
        st.sampled_from(["006", "nan", "1e400", "null", "2.5", "os.system", "mer.datasets.read"]),
    ),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(max_size=6) | st.just("_target_"), inner, max_size=3)
    ),
    max_leaves=5,
)


@sizes(100, 8_000)
def test_values_of_the_configuration(examples: int, plain: dict[str, Any]) -> None:
    def check(changes: list[tuple[tuple[str, ...], Any]]) -> None:
        config = _copied(plain)
        for (*path, last), value in changes:
            node: Any = config
            for name in path:
                node = node.get(name) if isinstance(node, dict) else None
            if isinstance(node, dict):
                node[last] = value
        conversion.read(config)

    change = st.tuples(st.sampled_from(keys(plain)), VALUES)
    fuzz(st.lists(change, min_size=1, max_size=3), examples, check)


def _copied(node: Any) -> Any:
    return (
        {name: _copied(value) for name, value in node.items()} if isinstance(node, dict) else node
    )


RUN_FILES = [
    "seed: 0\nbackbone:\n  name: tiny\n  _target_: null\ncallbacks:\n  svm_head:\n"
    "    _target_: mer.callbacks.svm_head.SVMHead\n    C: 1.0\nlabels: {classes: [a, b]}\n",
    "data: &a {root: x}\nagain: *a\nlist: [*a, *a]\n",
]


@sizes(100, 5_000)
def test_configuration_files_of_runs(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"

    def check(text: str) -> None:
        path.write_bytes(text.encode())
        trust.load(path)

    fuzz(mutated(RUN_FILES, 6), examples, check)


OPTIONS = ["root", "reader", "columns", "classes", "folder", "array_key", "prepare", "persons"]
OPTIONS += ["workbook", "tree", "camera", "name", "role"]


@sizes(40, 2_000)
def test_nodes_of_datasets(examples: int, tmp_path: Path) -> None:
    (tmp_path / "mine.csv").write_text("subject,emotion,apex_path\n1,0,mine.csv\n2,1,mine.csv\n")
    node = {"root": str(tmp_path / "mine.csv"), "reader": "table", "classes": ["fear", "anger"]}

    def check(changes: dict[str, Any]) -> None:
        given = {"micro": {"mine": {**node, **changes}}, "root": str(tmp_path)}
        settings = conversion.read({"data": given})
        for source in sources.read(settings, "micro")["micro"]:
            sources.prepare_settings(settings, source)

    fuzz(st.dictionaries(st.sampled_from(OPTIONS), VALUES, min_size=1, max_size=2), examples, check)
