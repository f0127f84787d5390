"""The public interface: names, and a cross-validation without Hydra."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

import mer
from mer.training import predicted_again
from tests.builders import OwnCache


def test_every_public_name_is_there_and_explains_itself() -> None:
    for name in mer.__all__:
        assert getattr(mer, name) is not None
        assert name == "__version__" or (getattr(mer, name).__doc__ or "").strip()
    assert set(mer.__all__) <= set(dir(mer))
    with pytest.raises(AttributeError, match="no attribute 'croos_validate'"):
        mer.croos_validate  # noqa: B018


def test_importing_mer_imports_nothing_else() -> None:
    heavy = ["torch", "numpy", "pandas", "hydra", "pydantic"]
    program = f"import sys, mer; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout == "[]\n"


@pytest.fixture(scope="module")
def folder(own_cache: OwnCache, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("api")
    own_cache(made / "cache")
    return made


@pytest.fixture(scope="module")
def samples(tiny_corpora: Path, folder: Path) -> Callable[..., mer.UnifiedDataset]:
    """Samples of some of the tiny corpora, as inputs in memory."""

    def make(labels: str, **roots: str) -> mer.UnifiedDataset:
        readings = [mer.datasets.read(name, tiny_corpora / root) for name, root in roots.items()]
        prepare = mer.Prepare(size=96)
        stores = [mer.prepare_samples(one, prepare, folder / "cache") for one in readings]
        return mer.UnifiedDataset.from_stores(stores, labels, mer.Input("flow", size=32))

    return make


@pytest.fixture(scope="module")
def data(samples: Callable[..., mer.UnifiedDataset]) -> mer.UnifiedDataset:
    return samples("megc2019", casme2="CASME2", samm="SAMM", smic="SMIC")


@pytest.fixture(scope="module")
def train(
    samples: Callable[..., mer.UnifiedDataset], data: mer.UnifiedDataset, folder: Path
) -> Callable[..., mer.Run]:
    """Cross-validation over the tiny corpora, with two heads and macro-pretraining."""
    macro = samples("macro-3", ckplus="CK+", mug="MUG")

    def make(folds: list[mer.protocols.Fold], name: str, like: Path | None = None) -> mer.Run:
        with pytest.MonkeyPatch.context() as patch:
            patch.delattr(mer.UnifiedDataset, "build")  # the inputs are there already
            patch.setattr(predicted_again, "is_one", lambda _: False)  # which builds some once more
            return mer.cross_validate(
                data,
                folds,
                backbone="test_efficientnet",
                model=mer.Finetune(epochs=2, transfer=mer.Transfer(blocks="all")),
                heads=[mer.SVMHead(), mer.SVMHead(name="line", kernel="linear")],
                macro=macro,
                pretrain=mer.Pretrain(epochs=1),
                trainer=mer.Trainer(accelerator="cpu", folds_at_once=1, enable_progress_bar=False),
                run_dir=folder / name,
                cache=folder / "cache",
                like=like,
            )

    return make


@pytest.fixture(scope="module")
def run(train: Callable[..., mer.Run], data: mer.UnifiedDataset) -> mer.Run:
    return train(mer.protocols.group_kfold(data.table, n_splits=3), "run")


def test_a_model_on_everybody_takes_the_scores_of_the_run_that_is_like_it(
    run: mer.Run, train: Callable[..., mer.Run], data: mer.UnifiedDataset
) -> None:
    made = train(mer.protocols.everybody(data.table), "everybody", run.directory)
    assert (made.metrics["status"], list(made.folds)) == ("untested", ["all"])
    assert made.metrics["like"]["heads"]["svm"]["uf1"] == run.scores["svm"]["uf1"]
    with mer.load(made.directory) as model:
        assert set(model.facts.calibration) == {"svm", "line", "softmax"}
    fold = mer.protocols.Fold("mine", tuple(data.table["sample_id"]), (), ())
    with pytest.raises(mer.MerError, match="No fold tests anybody"):
        train([fold], "mine")


def test_a_run_holds_predictions_scores_and_networks(run: mer.Run) -> None:
    assert run.metrics["status"] == "complete"
    assert {"svm", "line", "softmax"} <= set(run.predictions)
    assert run.predictions["sample_id"].is_unique
    true = run.predictions["label"].map(run.metrics["classes"].index)
    for head in ("svm", "line", "softmax"):
        said = run.predictions[head].map(run.metrics["classes"].index)
        assert run.scores[head]["uf1"] == pytest.approx(mer.metrics.scores(true, said, 3)["uf1"])
    module = run.module(run.folds[0])
    assert not module.training
    assert module.classes == ["negative", "positive", "surprise"]
    assert mer.load_run(run.directory).scores == run.scores


def test_a_run_directory_from_python_is_one_as_of_the_command_line(run: mer.Run) -> None:
    config = run.config
    assert config["callbacks"]["line"]["_target_"] == "mer.callbacks.svm_head.SVMHead"
    assert config["callbacks"]["line"]["kernel"] == "linear"
    assert config["protocol"]["name"] == "custom"
    splits = pd.read_parquet(run.directory / "splits.parquet")
    sides = splits.groupby(["fold", "side"])["sample_id"].nunique().unstack(fill_value=0)
    assert (sides["test"].sum(), (sides["train"] > 0).all()) == (len(run.predictions), True)


def test_folds_that_share_a_person_are_refused(data: mer.UnifiedDataset, tmp_path: Path) -> None:
    leaky = mer.protocols.random_samples(data.table, n_splits=2)
    with pytest.raises(mer.MerError, match=r"fold part-00: casme2/.* in train and in test"):
        mer.cross_validate(data, leaky, run_dir=tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_what_is_no_run_is_said(tmp_path: Path) -> None:
    with pytest.raises(mer.MerError, match=r"is no run directory: it has no config\.yaml"):
        mer.load_run(tmp_path)
