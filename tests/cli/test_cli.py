"""The `mer` command and composing configurations: help, exit statuses, messages, light imports."""

import ast
import contextlib
import os
import re
import subprocess
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mer
from mer import cli
from mer.cli import completion, train_help, train_words
from mer.config.composition import check_words, compose, conf_dir, to_plain
from mer.errors import MerError, raise_all

FakeCommand = Callable[[Callable[[list[str]], int]], None]


@pytest.fixture
def fake_command(monkeypatch: pytest.MonkeyPatch) -> FakeCommand:
    """Return a function that puts a given main behind `mer fake`."""

    def install(main: Callable[[list[str]], int]) -> None:
        module = types.ModuleType("mer_fake")
        module.main = main  # type: ignore[attr-defined]
        monkeypatch.setitem(sys.modules, "mer_fake", module)
        command = cli.Command("mer_fake:main", "for tests", "Kept.")
        monkeypatch.setitem(cli.COMMANDS, "fake", command)

    monkeypatch.delenv("MER_DEBUG", raising=False)
    return install


def raising(error: BaseException) -> Callable[[list[str]], int]:
    def main(argv: list[str]) -> int:
        raise error

    return main


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"], ["help"]])
def test_help_lists_every_command(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0
    shown = capsys.readouterr().out
    for name, command in cli.COMMANDS.items():
        assert f"  {name} " in shown
        assert command.summary in shown


def test_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"mer {mer.__version__}\n"


def test_help_imports_nothing_heavy() -> None:
    heavy = ["torch", "hydra", "pandas", "numpy", "cv2", "mediapipe", "sklearn", "packaging"]
    program = (
        "import sys; from mer.cli import main; main(['--help']);"
        f"print('loaded:', [m for m in {heavy} if m in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.endswith("loaded: []\n")


@pytest.mark.parametrize("name", list(cli.COMMANDS))
def test_every_command_exists_and_explains_itself(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        status = cli.main([name, "--help"])
    except SystemExit as leaving:  # argparse leaves this way
        status = int(leaving.code or 0)
    assert status == 0
    assert name in capsys.readouterr().out


def messages() -> Iterator[str]:
    """Texts in the code of mer that are no docstrings."""
    for path in Path(mer.__file__).parent.rglob("*.py"):
        nodes = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
        docstrings = {id(node.value) for node in nodes if isinstance(node, ast.Expr)}
        for node in nodes:
            if isinstance(node, ast.Constant) and id(node) not in docstrings:
                yield str(node.value)


def test_hints_name_options_and_keys_that_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    for words in (*([name] for name in cli.COMMANDS), ["wandb", "report"]):
        with contextlib.suppress(SystemExit):  # argparse leaves this way
            cli.main([*words, "--help"])
    option = re.compile(r"(?<![\w-])--[a-z][\w-]*")
    options = {*option.findall(capsys.readouterr().out), "--version", "--shell-completion"}
    options |= set(train_words.OPTIONS)  # Hydra's among them
    others = "--force-reinstall --no-deps --upgrade --relogin --always --dirty --abbrev".split()
    of_synth = to_plain(compose([], config_name="synth"))
    keys = {*train_help.flat(completion.keys()), *of_synth, "install"}
    for text in messages():
        assert set(option.findall(text)) <= options | set(others), text
        for key in re.findall(r"(?<![\w.])([a-z][\w.]*)=[A-Z]+\b", text):
            named = key in keys or key.startswith("data.micro.NAME")
            assert named or "(in Python " in text, text


def test_unknown_command_names_the_closest(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["trian"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("mer: error: unknown command 'trian'; did you mean train?")


def test_unknown_command_far_from_all_lists_all(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["xyzzy"]) == 2
    assert "there is synth, prepare, train" in capsys.readouterr().err


def test_words_and_status_pass_through(fake_command: FakeCommand) -> None:
    seen: list[list[str]] = []
    fake_command(lambda argv: seen.append(argv) or 7)  # type: ignore[func-returns-value]
    assert cli.main(["fake", "a=1", "--flag"]) == 7
    assert seen == [["a=1", "--flag"]]


def test_user_error_is_one_message_without_traceback(
    fake_command: FakeCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(raising(MerError("the file x.csv has no column y")))
    assert cli.main(["fake"]) == 2
    shown = capsys.readouterr()
    assert shown.err == "mer: error: the file x.csv has no column y\n"
    assert shown.out == ""


def test_mer_debug_lets_the_error_through(
    fake_command: FakeCommand, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_command(raising(MerError("broken")))
    monkeypatch.setenv("MER_DEBUG", "1")
    with pytest.raises(MerError, match="broken"):
        cli.main(["fake"])


@pytest.mark.parametrize(
    ("interrupt", "said"),
    [
        (KeyboardInterrupt(), "\nmer: stopped. Kept.\n"),
        (KeyboardInterrupt("3 of 68 folds are kept."), "\nmer: stopped. 3 of 68 folds are kept.\n"),
    ],
)
def test_interrupt_says_what_is_kept(
    interrupt: KeyboardInterrupt,
    said: str,
    fake_command: FakeCommand,
    capsys: pytest.CaptureFixture[str],
) -> None:
    fake_command(raising(interrupt))
    assert cli.main(["fake"]) == 130
    assert capsys.readouterr().err == said


def test_an_interrupt_that_lightning_turned_into_an_exit_counts(
    fake_command: FakeCommand, capsys: pytest.CaptureFixture[str]
) -> None:
    def main(argv: list[str]) -> int:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)

    fake_command(main)
    assert cli.main(["fake"]) == 130
    assert "Kept." in capsys.readouterr().err


def test_other_exits_pass_through(fake_command: FakeCommand) -> None:
    fake_command(raising(SystemExit(3)))
    with pytest.raises(SystemExit) as caught:
        cli.main(["fake"])
    assert caught.value.code == 3


def test_a_bug_is_one_message_that_says_where_it_is(
    fake_command: FakeCommand, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fake_command(lambda argv: raise_all("a bug", 3))  # type: ignore[arg-type]
    assert cli.main(["fake"]) == 1
    shown = capsys.readouterr().err
    what = "mer: error: TypeError: 'int' object is not iterable (mer/errors.py, line "
    assert shown.startswith(what)
    assert "MER_DEBUG=1" in shown
    monkeypatch.setenv("MER_DEBUG", "1")
    with pytest.raises(TypeError):
        cli.main(["fake"])


@pytest.fixture
def small_conf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Write a small configuration and make `conf_dir` return it."""
    (tmp_path / "input").mkdir()
    for name in ("apex", "flow"):
        (tmp_path / "input" / f"{name}.yaml").write_text(f"name: {name}\n")
    (tmp_path / "train.yaml").write_text(
        "defaults: [_self_, input: flow]\n"
        "seed: 0\n"
        "model: {epochs: 3, optimizer: {lr: 0.1}}\n"
        "same: ${model.epochs}\n"
    )
    monkeypatch.setattr("mer.config.composition.conf_dir", lambda: tmp_path)
    return tmp_path


def test_conf_dir_of_a_checkout_lies_beside_the_package() -> None:
    assert conf_dir() == Path(mer.__file__).resolve().parents[1] / "conf"
    assert (conf_dir() / "train.yaml").is_file()


def test_compose_takes_overrides(small_conf: Path) -> None:
    config = compose(["input=apex", "model.optimizer.lr=0.5"])
    assert to_plain(config) == {
        "seed": 0,
        "model": {"epochs": 3, "optimizer": {"lr": 0.5}},
        "same": 3,
        "input": {"name": "apex"},
    }


def test_compose_leaves_a_running_application_alone(small_conf: Path) -> None:
    import hydra
    from hydra.core.global_hydra import GlobalHydra

    with hydra.initialize_config_dir(str(small_conf), version_base="1.3"):
        outer = GlobalHydra.instance().hydra
        compose([])
        assert GlobalHydra.instance().hydra is outer
        assert hydra.compose("train").seed == 0


def test_all_bad_overrides_are_named_with_the_closest(small_conf: Path) -> None:
    with pytest.raises(MerError) as caught:
        compose(["seeed=1", "input=apx", "lr=0.1", "xyz=1", "seed=[1", "model.epochs=5"])
    lines = str(caught.value).splitlines()
    assert lines[0] == "conf/train.yaml does not accept:"
    assert set(lines[2:]) | {lines[1]} == {
        "  - seeed=1: there is no key seeed (closest: seed)",
        "  - input=apx: there is no input/apx (closest: apex; all: apex, flow)",
        "  - lr=0.1: there is no key lr (closest: model.optimizer.lr)",
        "  - xyz=1: there is no key xyz (on the top level: seed, model, same, input)",
        "  - seed=[1: Hydra cannot read this; type 'seed=[1]'",
        "  - seed is [1]; set a whole number",
    }


@pytest.mark.parametrize(
    "words",
    [
        ["seed=1"],
        ["-m", "seed=1,2", "input=apex,flow", "model.epochs=range(1,4)"],
        ["--help"],
    ],
)
def test_right_words_pass_the_check(words: list[str], small_conf: Path) -> None:
    check_words(words)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sed=1"], r"sed=1: there is no key sed \(closest: seed\)"),
        (["-m", "sed=1,2"], r"sed=1,2: there is no key sed \(closest: seed\)"),
        (["seed=1,2"], r"seed=1,2 stands for several values; .* mer train -m"),
    ],
)
def test_wrong_words_are_named_before_hydra_starts(
    words: list[str], message: str, small_conf: Path
) -> None:
    with pytest.raises(MerError, match=message):
        check_words(words)


def test_a_mistake_inside_a_file_is_not_blamed_on_an_override(small_conf: Path) -> None:
    (small_conf / "input" / "apex.yaml").write_text("defaults: [/model: gone]\n")
    with pytest.raises(MerError, match=r"cannot compose conf/train.yaml: .*model/gone"):
        compose(["input=apex"])


def test_missing_values_are_all_named(small_conf: Path) -> None:
    (small_conf / "input" / "apex.yaml").write_text("root: ???\nfps: ???\n")
    with pytest.raises(MerError) as caught:
        to_plain(compose(["input=apex"]))
    assert "input.fps: give it one on the command line, input.fps=VALUE" in str(caught.value)
    assert "input.root: give it one on the command line, input.root=VALUE" in str(caught.value)


def test_an_interpolation_to_nowhere_is_named(small_conf: Path) -> None:
    (small_conf / "input" / "apex.yaml").write_text("size: ${model.size}\n")
    with pytest.raises(MerError, match=r"cannot resolve the configuration: .*model\.size"):
        to_plain(compose(["input=apex"]))


def test_threads_that_wait_sleep_except_in_a_benchmark(monkeypatch: pytest.MonkeyPatch) -> None:
    for command, policy in (("bench", None), ("doctor", "PASSIVE")):
        monkeypatch.delenv("OMP_WAIT_POLICY", raising=False)
        with pytest.raises(SystemExit):
            cli.main([command, "--help"])
        assert os.environ.get("OMP_WAIT_POLICY") == policy
