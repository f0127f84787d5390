"""Files of exported models: their scores, their facts, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.callbacks.svm_head import SVMHead
from mer.cli import main
from mer.deploy import model_files, small_files
from mer.deploy.engines import open_engine
from mer.deploy.fold_graphs import TOLERANCE
from mer.deploy.graph import Deployed
from mer.deploy.parity import require_equal
from mer.errors import MerError
from mer.models.modules import MicroFinetuneModule
from mer.training import runner
from tests.builders import CLASSES
from tests.deploy.conftest import SAMPLES, deployed, expected, fitted


def test_a_head_without_samples_of_a_class_exports_its_minus_infinity(
    module: MicroFinetuneModule, images: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    head = fitted(module, images, [2 * (i % 2) for i in range(SAMPLES)])
    model_files.write_onnx(deployed(module, head), tmp_path / "model.onnx")
    found = open_engine("onnxruntime", tmp_path / "model.onnx")(images.numpy())
    assert np.isneginf(found.scores["svm"][:, 1]).all()
    np.testing.assert_allclose(
        found.scores["svm"][:, [0, 2]],
        expected(module, head, images)[1][:, [0, 2]],
        rtol=0,
        atol=1e-4,
    )


def test_without_a_head_the_file_has_softmax_alone(
    module: MicroFinetuneModule, images: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    model_files.write_onnx(Deployed(module), tmp_path / "model.onnx")
    found = open_engine("onnxruntime", tmp_path / "model.onnx")(images.numpy())
    assert list(found.scores) == ["softmax"]
    assert found.labels.tolist() == found.scores["softmax"].argmax(1).tolist()


def test_exporting_leaves_the_module_as_it_was(
    module: MicroFinetuneModule, head: SVMHead, tmp_path: Path
) -> None:
    pytest.importorskip("onnx")
    before = {name: tensor.clone() for name, tensor in module.state_dict().items()}
    module.train()
    model_files.write_onnx(deployed(module, head), tmp_path / "model.onnx")
    assert module.training
    module.eval()
    assert all(torch.equal(before[name], tensor) for name, tensor in module.state_dict().items())
    weight = next(p for p in module.backbone.parameters() if p.ndim == 4)
    assert weight.is_contiguous(memory_format=torch.channels_last)


def test_the_metadata_are_in_the_file(onnx_file: Path) -> None:
    assert model_files.read_facts(onnx_file) == {"classes": CLASSES, "fold": "samm-006"}


def test_int8_files_say_so_and_agree_with_float32_on_most_samples(
    model: Deployed, onnx_file: Path, images: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    path = tmp_path / "int8.onnx"
    small_files.write_int8(onnx_file, images.numpy(), path)
    assert model_files.read_facts(path) == {
        "classes": CLASSES,
        "fold": "samm-006",
        "precision": "int8",
    }
    assert path.stat().st_size < 0.6 * onnx_file.stat().st_size
    exact = open_engine("eager", model)(images.numpy())
    rough = open_engine("onnxruntime", path, "int8")(images.numpy())
    assert np.abs(rough.scores["softmax"] - exact.scores["softmax"]).max() < 0.05
    assert (
        np.abs(rough.scores["softmax"] - exact.scores["softmax"]).max() > 0
    )  # it is another model
    assert sorted(p.name for p in tmp_path.iterdir()) == ["int8.onnx"]


def test_a_file_that_differs_from_the_model_is_not_written(
    model: Deployed, onnx_file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    shifted = Deployed.example(model, 3).numpy()
    scores = open_engine("eager", model)(shifted)
    moved = scores._replace(
        scores={**scores.scores, "svm": scores.scores["svm"] + np.float32(0.01)}
    )
    with pytest.raises(MerError, match=r"differ by up to 0\.01.*0 labels differ"):
        require_equal(scores, moved, tmp_path / ".model.onnx")
    close = {name: values + 1e-5 for name, values in scores.scores.items()}
    require_equal(scores, scores._replace(scores=close), tmp_path / "x")


@pytest.mark.slow
def test_export_writes_the_model_of_a_fold_and_the_file_repeats_its_predictions(
    tiny_config: Callable[..., DictConfig], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxruntime")
    run_dir = tmp_path / "run"
    runner.run(tiny_config("model.epochs=1", "macro.enabled=false"), run_dir)
    fold = sorted(path.name for path in (run_dir / "folds").iterdir())[1]
    assert main(["export", str(run_dir), "--fold", fold]) == 0
    file = run_dir / "folds" / fold / "model.onnx"
    assert str(file) in capfd.readouterr().out
    predicted = pd.read_parquet(run_dir / "folds" / fold / "predictions.parquet")
    facts = model_files.read_facts(file)
    assert facts["fold"] == fold
    assert facts["input"]["size"] == 32
    assert facts["prepare"]["size"] == 96
    assert not set(facts["persons"]) & set(predicted["person"])
    scores = open_engine("onnxruntime", file)(inputs_of(run_dir, fold, predicted))
    columns = [f"svm_{name}" for name in facts["classes"]]
    np.testing.assert_allclose(scores.scores["svm"], predicted[columns], rtol=0, atol=TOLERANCE)
    assert [facts["classes"][n] for n in scores.labels] == predicted["svm"].tolist()

    assert (
        main(["export", str(run_dir), "--int8", "--lossy", "--out", str(tmp_path / "small.onnx")])
        == 0
    )
    assert model_files.read_facts(tmp_path / "small.onnx")["precision"] == "int8"
    assert main(["export", str(run_dir), "--format", "pt2"]) == 0
    first = sorted(path.name for path in (run_dir / "folds").iterdir())[0]
    extra = {model_files.KEY: ""}
    torch.export.load(run_dir / "folds" / first / "model.pt2", extra_files=extra)
    assert json.loads(extra[model_files.KEY])["fold"] == first
    assert main(["export", str(run_dir), "--fold", "nobody"]) == 2
    assert "no finished fold `nobody`" in capfd.readouterr().err


def inputs_of(run_dir: Path, fold: str, predicted: pd.DataFrame) -> np.ndarray:
    """Inputs of a fold's test samples, in the order of its predictions."""
    from mer.config.composition import typed
    from mer.data import sources
    from mer.data.dataset import UnifiedDataset
    from mer.training.evaluate import load_config

    cfg = load_config(run_dir)
    corpus = sources.load(typed(cfg), "micro")
    dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, typed(cfg).input)
    positions = dataset.positions(predicted["sample_id"].tolist())
    return np.stack([dataset.image(int(p)) for p in positions]).transpose(0, 3, 1, 2).copy()


def test_a_folder_that_is_no_run_is_refused(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "first"
    run.mkdir()
    (run / "config.yaml").write_text("seed: 0")
    assert main(["export", str(run)]) == 2
    assert "first has no finished fold" in capfd.readouterr().err
    for words in (["export", str(tmp_path)], ["app", str(tmp_path)]):
        assert main(words) == 2
        said = capfd.readouterr().err
        assert "has no config.yaml; in it are first. Name one, such as" in said
    assert main(["export", str(tmp_path / "gone")]) == 2
    assert "gone does not exist" in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    for out, words in (
        (tmp_path, "is a folder; name a file"),
        (tmp_path / "m.onnx", "a file of --format pt2 ends in .pt2"),
        (tmp_path / "file" / "new" / "m.pt2", "file is a file, and no folder"),
    ):
        words_given = ["--format", "pt2", "--precision", "int8", "--out", str(out)]
        assert main(["export", "runs/gone", *words_given]) == 2
        said = capfd.readouterr().err
        assert words in said and "--precision int8 is for --format onnx" in said
