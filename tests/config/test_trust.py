"""What a file may name: exact names of mer and trusted packages; everything else is refused."""

import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from omegaconf import DictConfig, OmegaConf

from mer.config import maker, stored, trust
from mer.errors import MerError

#: A general importer that lies in mer: beginnings of names must not be trusted.
IMPORTER = {"_target_": "mer.search.study.build", "node": "os.system", "what": "x", "default": "y"}


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package `mylab` with a class, a function from elsewhere and an imported module."""
    folder = tmp_path / "code" / "mylab"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text("import os\nfrom os import system\n\nVALUE = 3\n")
    (folder / "heads.py").write_text(
        "class Head:\n    def __init__(self, width, inner=None):\n"
        "        self.width, self.inner = width, inner\n"
    )
    monkeypatch.syspath_prepend(folder.parent)
    for name in imported():  # from pages of the documentation, by other tests
        monkeypatch.delitem(sys.modules, name)
    yield folder
    for name in imported():
        del sys.modules[name]


def imported() -> list[str]:
    return [name for name in sys.modules if name.partition(".")[0] == "mylab"]


def written(folder: Path, **content: object) -> Path:
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


@pytest.mark.usefixtures("package")
def test_an_object_is_built_from_its_node_without_what_is_nested_in_it() -> None:
    inner = {"_target_": "mylab.heads.Head", "width": 1}
    node = {"_target_": "mylab.heads.Head", "width": 2, "inner": inner}
    head = trust.build(node, "callbacks.mine", width=4)
    assert (head.width, head.inner) == (4, inner)
    head = trust.build(node, "callbacks.mine", nested=True)
    assert (head.width, head.inner.width) == (2, 1)


@pytest.mark.usefixtures("package")
@pytest.mark.parametrize(
    ("node", "message"),
    [
        ({"_target_": "nolab.Head"}, "there is no package nolab. Install it, or name the folder"),
        ({"_target_": "mylab.head.Head"}, "mylab has no head"),
        ({"_target_": "mylab.heads.Haed"}, "mylab.heads has no Haed"),
        ({"_target_": "mylab.os.system"}, "os is a module; name it by its own path, os"),
        ({"_target_": "mylab.VALUE"}, "is no class or function"),
        ({"_target_": 3}, "set the dotted name of a class or function"),
        (
            {"_target_": "mylab.heads.Head", "size": 1},
            "takes no size and needs width; it takes width",
        ),
        (
            {"_target_": "mylab.heads.Head", "widht": 1, "width": 1},
            "takes no widht (closest: width",
        ),
        ({"_target_": "mylab.heads.Head", "width": 1, "_partial_": True}, "k._partial_: remove it"),
    ],
)
def test_what_cannot_be_built_is_one_sentence(node: dict, message: str) -> None:
    with pytest.raises(MerError, match=message.replace("(", r"\(")):
        trust.build(node, "k")


def test_a_module_that_fails_to_import_says_why(package: Path) -> None:
    (package / "broken.py").write_text("import nothing_of_this_name\n")
    with pytest.raises(MerError, match=r"mylab\.broken cannot be imported: No module named"):
        trust.resolve("mylab.broken.Head", "callbacks.mine")


def test_files_of_a_run_that_this_user_made_may_name_what_its_configuration_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = tmp_path / "run" / "config.yaml"
    config.parent.mkdir()
    config.write_text("backbone: {_target_: mylab.heads.Head}")
    maker.mark_file(config)
    checkpoint = tmp_path / "run" / "folds" / "a" / "model.ckpt"
    same, more = {"_target_": "mylab.heads.Head"}, {"_target_": "mylab.heads.Other"}
    for file in (config, checkpoint):
        trust.check({"backbone": same}, file)
        with pytest.raises(MerError, match=r"add --trust mylab .*\n  - .*mylab.heads.Other$"):
            trust.check({"backbone": same, "head": more}, file)
    # A copy carries the names as long as it is the same text, and nobody else's.
    other = tmp_path / "elsewhere" / "folds" / "a" / "model.ckpt"
    shutil.copytree(config.parent, tmp_path / "elsewhere")
    trust.check({"backbone": same}, other)
    (tmp_path / "elsewhere" / "config.yaml").write_text("backbone: {_target_: mylab.heads.Head} ")
    with pytest.raises(MerError, match="add --trust mylab"):
        trust.check({"backbone": same}, other)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "somebody"))
    with pytest.raises(MerError, match="add --trust mylab"):
        trust.check({"backbone": same}, config)


def test_files_may_name_listed_objects_alone(tmp_path: Path) -> None:
    content = {
        "callbacks": {
            "svm_head": {"_target_": "mer.callbacks.svm_head.SVMHead", "C": 1.0},
            "worse": IMPORTER,
            "deep": [{"in": {"_target_": "subprocess.run"}}],
        },
        "model": {"loss": {"_target_": "torch.nn.NLLLoss"}},
        "logger": {"csv": {"_target_": "mlflow.Anything"}},  # never built from a file
    }
    path = written(tmp_path, **content)
    with pytest.raises(MerError) as refused:
        trust.load(path)
    assert str(refused.value).splitlines()[1:] == [
        "  - callbacks.worse._target_=mer.search.study.build",
        "  - callbacks.deep.0.in._target_=subprocess.run",
        "  - model.loss._target_=torch.nn.NLLLoss",
    ]
    assert "add --trust subprocess,torch.nn.NLLLoss or set MER_TRUST" in str(refused.value)
    del content["callbacks"]["worse"], content["callbacks"]["deep"]
    config = trust.load(written(tmp_path, **content), ["torch"])
    assert config.model.loss._target_ == "torch.nn.NLLLoss"
    assert config.logger is None


@pytest.mark.usefixtures("package")
def test_a_trusted_package_lends_its_trust_to_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trust.check({"head": {"_target_": "mylab.heads.Head"}}, tmp_path, ["mylab"])
    with pytest.raises(MerError, match=r"mylab.system, which is of the package posix"):
        trust.check({"head": {"_target_": "mylab.system"}}, tmp_path, ["mylab"])
    with pytest.raises(MerError, match="mylaboratory"):
        trust.check({"head": {"_target_": "mylaboratory.Head"}}, tmp_path, ["mylab"])
    monkeypatch.setenv("MER_TRUST", "other, mylab")
    trust.check({"head": {"_target_": "mylab.heads.Head"}}, tmp_path)


def test_mer_is_trusted_by_exact_names_alone(tmp_path: Path) -> None:
    with pytest.raises(MerError, match="mer: its objects are trusted one by one"):
        trust.check({}, tmp_path, ["mer"])
    with pytest.raises(MerError, match="runs/demo: no package"):
        trust.check({}, tmp_path, ["runs/demo"])


def test_an_interpolation_in_a_file_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET", "hunter2")
    path = written(tmp_path, data={"root": "${oc.env:SECRET}"})
    for read in (stored.read, trust.load):
        with pytest.raises(MerError, match=r"data.root is \$\{oc.env:SECRET\}") as refused:
            read(path)
        assert "hunter2" not in str(refused.value)


def test_a_changed_source_changes_the_key_of_caches(package: Path) -> None:
    listed = {"_target_": "mer.callbacks.svm_head.SVMHead"}
    node = {"backbone": {"_target_": "mylab.heads.Head"}, "of_mer": listed}
    before = trust.with_sources(node)
    assert before["of_mer"] == listed
    assert trust.with_sources(node) == before
    path = package / "heads.py"
    path.write_text(path.read_text() + "\nNEW = 1\n")
    assert trust.with_sources(node)["backbone"]["_source_"] != before["backbone"]["_source_"]


def test_every_target_of_the_configuration_files_exists() -> None:
    from mer.config.composition import conf_dir

    for path in conf_dir().rglob("*.yaml"):
        content = OmegaConf.to_container(OmegaConf.load(path))
        for key, target in trust.names(content).items():
            if str(target).startswith("mer."):
                assert callable(trust.resolve(target, key))


def test_every_command_that_reads_a_run_refuses_its_code(
    tiny_config: Callable[..., DictConfig], tmp_path: Path
) -> None:
    """Each reader meets the file before anything is done with it."""
    from mer.audit.null import null_test
    from mer.deploy.fold_graphs import load
    from mer.report.fold_networks import Absent, Networks
    from mer.runs.stored_run import Run
    from mer.training.evaluate import evaluate

    cfg = OmegaConf.to_container(tiny_config(), resolve=True)
    cfg["callbacks"]["svm_head"] = {**IMPORTER, "command": f"touch {tmp_path / 'called'}"}
    written(tmp_path, **cfg)
    (tmp_path / "manifest.parquet").touch()
    named = r"callbacks.svm_head._target_=mer.search.study.build"
    for read in (evaluate, lambda run: load(run, "a"), null_test):
        with pytest.raises(MerError, match=named):
            read(tmp_path)
    with pytest.raises(Absent, match=named):
        Networks(Run(tmp_path))
    assert not (tmp_path / "called").exists()


def test_hydra_and_lightning_build_nothing_by_themselves() -> None:
    root = Path(trust.__file__).parents[1]
    for path in root.rglob("*.py"):
        text = path.read_text()
        assert "hydra.utils" not in text, path
        assert "load_from_checkpoint(" not in text, path
