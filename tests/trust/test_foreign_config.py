"""A run directory of somebody else: its configuration runs nothing, reads and writes nothing."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from mer.cli import main
from mer.config import maker, stored, trust
from mer.config.composition import compose
from mer.config.conversion import read
from mer.errors import MerError
from mer.runs import claims, rundir
from tests.trust.foreign import config, package, touching, write_run

#: Every command that is given a run directory, and whether it builds what is in it.
COMMANDS: dict[str, tuple[list[str], bool]] = {
    "evaluate": (["evaluate", "RUN"], True),
    "try": (["evaluate", "RUN", "callbacks.svm_head.C=10"], True),
    "export": (["export", "RUN"], True),
    "null": (["audit", "--null", "RUN", "--permutations", "1"], True),
    "report": (["report", "RUN"], False),
    "audit": (["audit", "RUN"], False),
    "compare": (["compare", "RUN", "--csv", "CSV"], False),
    "train": ([], False),
}


def train_in(run_dir: Path) -> int:
    """What `mer train run.dir=RUN` does with a directory before it trains."""
    try:
        claims.claim(run_dir, read(config()))
        if (run_dir / "manifest.parquet").exists():  # else it was replaced: no fold had begun
            rundir.is_done(run_dir, pd.read_parquet(run_dir / "manifest.parquet")["fold"][0])
    except MerError:
        return 2
    return 0


@pytest.fixture(params=COMMANDS)
def command(request: pytest.FixtureRequest, tmp_path: Path) -> Callable[[Path], int]:
    """Type a command about a run directory; gives its exit status."""
    words, _ = COMMANDS[request.param]

    def run(run_dir: Path) -> int:
        if not words:
            return train_in(run_dir)
        named = {"RUN": str(run_dir), "CSV": str(tmp_path / "out.csv")}
        return main([named.get(word, word) for word in words])

    return run


@pytest.fixture
def promptly() -> Iterator[None]:
    """Fail after 20 seconds."""

    def fail(*_: object) -> None:
        raise AssertionError("this takes too long")

    before = signal.signal(signal.SIGALRM, fail)
    signal.alarm(20)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


def everything(folder: Path) -> set[Path]:
    return set(folder.rglob("*"))


NESTED: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "head": lambda node: config(callbacks__svm_head=node),
    "beside a head": lambda node: config(callbacks__other=node),
    "argument of a head": lambda node: config(callbacks__svm_head__kernel=node),
    "logger": lambda node: config(logger={"mine": node}),
    "augmentation": lambda node: config(model__augment__transforms=[node]),
    "loss": lambda node: config(model__loss=node),
    "optimizer": lambda node: config(model__optimizer__kwargs={"a": [node]}),
    "flow": lambda node: config(prepare__flow__kwargs={"a": node}),
    "flow itself": lambda node: config(prepare__flow___target_=node["_target_"]),
    "input": lambda node: config(input__kwargs={"a": node}),
    "input itself": lambda node: config(input___target_="os.system"),
    "backbone": lambda node: config(backbone___target_="os.system"),
    "reader": lambda node: config(data__micro__smic__reader=node),
    "reader itself": lambda node: config(data__micro__smic___target_="os.listdir"),
    "trainer": lambda node: config(trainer__plugins=[node]),
    "list as a name": lambda node: config(callbacks__x={"_target_": ["os.system"]}),
    "importer of mer": lambda node: config(
        callbacks__x={"_target_": "mer.config.trust.build", "node": node, "key": "x"}
    ),
}


@pytest.mark.parametrize("place", ["beside a head", "logger", "reader itself", "importer of mer"])
def test_no_command_builds_an_object_of_a_stored_configuration(
    command: Callable[[Path], int], tmp_path: Path, place: str
) -> None:
    trace = tmp_path / "called"
    run_dir = write_run(tmp_path / "run", NESTED[place](touching(trace)))
    command(run_dir)
    assert not trace.exists()


@pytest.mark.parametrize("place", NESTED)
def test_the_loader_refuses_it_at_every_place(tmp_path: Path, place: str) -> None:
    run_dir = write_run(tmp_path / "run", NESTED[place](touching(tmp_path / "called")))
    if place == "logger":  # is never built from a file, so it needs no refusal
        assert trust.load(run_dir / "config.yaml").logger is None
        return
    with pytest.raises(MerError, match="names code that is not among the listed objects"):
        trust.load(run_dir / "config.yaml")


def test_no_package_is_imported_to_find_that_it_is_not_trusted(
    command: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trace = package(tmp_path / "code")
    monkeypatch.syspath_prepend(tmp_path / "code")
    command(write_run(tmp_path / "run", config(model__loss={"_target_": "pwned.Loss"})))
    assert not trace.exists()


RESOLVERS = [
    "${oc.env:SECRET}",
    "${oc.decode:${oc.env:SECRET}}",
    "${hydra:runtime.cwd}",
    "${now:%Y}",
    "${oc.create:{a: 1}}",
    "${data.name}",
    "a${oc.env:SECRET}b",
]


@pytest.mark.parametrize("text", RESOLVERS)
def test_the_loader_resolves_nothing(tmp_path: Path, text: str) -> None:
    run_dir = write_run(tmp_path / "run", config(backbone__name=text))
    for load in (stored.read, trust.load):
        with pytest.raises(MerError, match=r"no interpolation, and backbone.name is .*\$\{"):
            load(run_dir / "config.yaml")


def test_no_command_writes_a_secret(
    command: Callable[[Path], int],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    run_dir = write_run(tmp_path / "run", config(backbone__name="${oc.env:SECRET}"))
    assert command(run_dir) != 0
    said = capfd.readouterr()
    written = [path.read_bytes() for path in run_dir.rglob("*") if path.is_file()]
    assert "hunter2" not in said.out + said.err
    assert not any(b"hunter2" in content for content in written)


def aliases() -> str:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    return "\n".join(lines)


BOMBS = {
    "aliases": aliases,
    "one alias": lambda: "a: &a [1]\nb: *a\n",
    "merge key": lambda: "a: &a {b: 1}\nc:\n  <<: *a\n",
    "depth": lambda: "a: " + "[" * 5_000 + "]" * 5_000,
    "size": lambda: "a: [" + "x, " * 1_000_000 + "]",
    "tag": lambda: "a: !!python/object/apply:os.system ['touch called']\n",
    "new": lambda: "a: !!python/object/new:os.system ['touch called']\n",
    "name": lambda: "a: !!python/name:os.system\n",
    "number": lambda: "seed: " + "9" * 10_000,
    "no text": lambda: "a: \x00\x01",
    "two documents": lambda: "a: 1\n---\nb: 2\n",
    "deep key": lambda: "? " * 500 + "a",
}


@pytest.mark.usefixtures("promptly")
@pytest.mark.parametrize("bomb", BOMBS)
def test_a_configuration_out_of_bounds_is_refused_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bomb: str
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(MerError, match=r"config\.yaml"):
        stored.read(write_run(tmp_path / "run", BOMBS[bomb]()) / "config.yaml")
    assert not (tmp_path / "called").exists()


@pytest.mark.usefixtures("promptly")
def test_so_it_is_by_every_command(command: Callable[[Path], int], tmp_path: Path) -> None:
    assert command(write_run(tmp_path / "run", aliases())) != 0


@pytest.mark.usefixtures("promptly")
@pytest.mark.parametrize("name", ["overrides.yaml", "hydra.yaml"])
def test_so_are_the_words_that_were_typed(tmp_path: Path, name: str) -> None:
    run_dir = write_run(tmp_path / "run", config())
    (run_dir / ".hydra").mkdir()
    (run_dir / ".hydra" / "overrides.yaml").write_text("[seed=1]")
    (run_dir / ".hydra" / name).write_text(aliases())
    assert main(["report", str(run_dir)]) == 2


def test_paths_and_devices_of_a_stored_configuration_are_those_of_this_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("MER_DATA", "MER_SYNTH", "MER_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name.lower()))
    outside = tmp_path / "outside"
    content = config(
        data__root=str(outside),
        data__micro={
            "smic": {"root": str(outside / "SMIC"), "workbook": "../../etc/passwd"},
            "samm": {"root": "~/SAMM", "prepare": {"size": 64}},
            "casme2": {"root": "a/CASME2"},
            "off": None,
        },
        paths__cache=str(outside / "cache"),
        trainer__num_workers=1000,
        trainer__devices=[7],
        prepare__workers=1000,
    )
    loaded = trust.load(write_run(tmp_path / "run", content) / "config.yaml")
    assert loaded.data.root == f"{tmp_path}/mer_synth/tiny" and loaded.data.generate is False
    assert loaded.paths == {"cache": f"{tmp_path}/mer_cache"}
    assert loaded.data.micro == {
        "smic": {"root": "SMIC", "workbook": "passwd"},
        "samm": {"root": "SAMM", "prepare": {"size": 64}},
        "casme2": {"root": "a/CASME2"},
        "off": None,
    }
    assert (loaded.trainer.num_workers, loaded.trainer.devices) == (0, 1)
    assert loaded.prepare.workers is None
    composed = compose(["data.preset=tiny"])
    assert (loaded.data.root, loaded.paths) == (composed.data.root, composed.paths)
    del content["data"]["preset"]
    loaded = trust.load(write_run(tmp_path / "own", content) / "config.yaml")
    assert loaded.data.root == compose(["data=megc2019"]).data.root == f"{tmp_path}/mer_data"


def test_a_run_of_ones_own_keeps_its_paths_wherever_it_lies_until_it_is_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_CACHE", "here")
    path = write_run(tmp_path / "run", config(paths__cache="/mine")) / "config.yaml"
    maker.mark_file(path)
    assert trust.load(path).paths.cache == "/mine"
    assert trust.load(path).data.generate is False
    moved = path.parent.rename(tmp_path / "moved") / "config.yaml"
    assert trust.load(moved).paths.cache == "/mine"
    moved.write_text(moved.read_text().replace("/mine", "/theirs"))
    assert trust.load(moved).paths.cache == "here"
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another person"))
    moved.write_text(moved.read_text().replace("/theirs", "/mine"))
    assert trust.load(moved).paths.cache == "here"
    assert (maker.secret_path().stat().st_mode & 0o777) == 0o600


def test_nothing_is_generated_or_written_outside_the_run(
    command: Callable[[Path], int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SYNTH", str(tmp_path / "none"))
    outside = tmp_path / "outside"
    content = config(data__root=str(outside / "data"), paths__cache=str(outside / "cache"))
    run_dir = write_run(tmp_path / "run", content)
    command(run_dir)
    others = {path for path in everything(tmp_path) if not path.is_relative_to(run_dir)}
    assert {path.name for path in others} <= {"run", "out.csv"}
    assert not outside.exists()


LINKS = [
    "folds/smic-s1",
    ".lock",
    "history.csv",
    "wandb",
    "wandb/staging",
    "folds/wandb/model.onnx",
    "folds/wandb/debug.log",
]


@pytest.mark.parametrize("name", LINKS)
def test_links_out_of_a_run_directory_are_refused(
    command: Callable[[Path], int], tmp_path: Path, name: str
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary").write_text("mine")
    run_dir = write_run(tmp_path / "run", config())
    (run_dir / name).parent.mkdir(exist_ok=True, parents=True)
    (run_dir / name).symlink_to(outside if "." not in name else outside / "diary")
    command(run_dir)
    assert everything(outside) == {outside / "diary"}
    assert (outside / "diary").read_text() == "mine"
    with pytest.raises(MerError, match=f"{name} is a link to {outside}"):
        stored.read(run_dir / "config.yaml")


@pytest.mark.parametrize(
    "words", [["run.dir=DIR"], ["-m", "search=optuna", "search.dir=DIR", "seed=1,2"]]
)
@pytest.mark.parametrize("name", ["train.log", ".hydra", "0"])
def test_hydra_writes_through_no_link(tmp_path: Path, words: list[str], name: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "diary").write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / name).symlink_to(outside if "." not in name[1:] else outside / "diary")
    words = [word.replace("DIR", str(folder)) for word in words]
    assert main(["train", *words, "data.root=nowhere", "data.generate=false"]) == 2
    assert everything(outside) == {outside / "diary"}
    assert (outside / "diary").read_text() == "mine"


def test_links_inside_a_run_directory_are_kept_and_pipes_refused(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run", config())
    (run_dir / "latest").symlink_to("manifest.parquet")
    (run_dir / "wandb" / "run-1" / "logs").mkdir(parents=True)
    (run_dir / "wandb" / "run-1" / "logs" / "core.log").symlink_to("/somebody/.cache/core.log")
    link = tmp_path / "link"
    link.symlink_to(run_dir)
    assert stored.read(link / "config.yaml").seed == 0
    os.mkfifo(run_dir / "metrics-LEAKY.json")
    with pytest.raises(MerError, match=r"metrics-LEAKY\.json is a pipe"):
        stored.read(run_dir / "config.yaml")


@pytest.mark.parametrize("name", ["../../../outside", "ABSOLUTE"])
def test_a_fold_never_names_another_folder(
    command: Callable[[Path], int], tmp_path: Path, name: str
) -> None:
    name = name.replace("ABSOLUTE", str(tmp_path / "outside"))
    run_dir = write_run(tmp_path / "x" / "y" / "run", config(), fold=name)
    before = everything(tmp_path)
    assert command(run_dir) != 0
    new = everything(tmp_path) - before
    assert all(path.is_relative_to(run_dir) or path.name == "out.csv" for path in new)
