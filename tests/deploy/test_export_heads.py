"""Exported models with several heads and with the thresholds that a fold has chosen."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.callbacks.head import Head, fit_heads
from mer.callbacks.svm_head import SVMHead
from mer.cli import main
from mer.deploy import model_files
from mer.deploy.engines import named_scores, open_engine
from mer.deploy.fold_graphs import TOLERANCE
from mer.deploy.graph import Deployed
from mer.deploy.parity import require_equal
from mer.models.modules import MERModule
from mer.training import inner, runner
from mer.training.predictions import predict, to_frame
from tests.builders import CLASSES, disturb, network
from tests.deploy.test_export import inputs_of

OFFSETS = {"softmax": [0.0, 0.4, -0.2], "linear": [0.0, -1.0, 0.5]}


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(40, 3, 32, 32, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module")
def module(images: torch.Tensor) -> MERModule:
    torch.manual_seed(3)  # one whose thresholds change labels
    made = network(image_size=32)
    disturb(made)
    with torch.no_grad():
        for _ in range(5):
            made.train()(images)  # moves the batch norms away from their start
    return made.eval()


@pytest.fixture(scope="module")
def heads(module: MERModule, images: torch.Tensor) -> list[Head]:
    """Two heads, in this order."""
    made: list[Head] = [SVMHead(kernel="linear", name="linear"), SVMHead()]
    with torch.no_grad():
        embeddings = module.embed(images).double().numpy()
    fit_heads(made, embeddings, np.arange(40) % 3, 3)
    return made


def deployed(module: MERModule, heads: list[Head]) -> Deployed:
    return Deployed(module, {head.name: head.export() for head in heads}, OFFSETS)


def predicted(module: MERModule, heads: list[Head], images: torch.Tensor) -> pd.DataFrame:
    """What a run writes for these images, with the thresholds."""
    batches = [{"image": images, "index": torch.arange(len(images))}]
    names = [f"s{i}" for i in range(len(images))]
    table = pd.DataFrame({"sample_id": names, "dataset": "d", "subject": "u", "person": "p"})
    frame = to_frame(predict(module, batches, heads), table, CLASSES)
    return inner.apply_thresholds(frame, {"thresholds": OFFSETS}, CLASSES)


@pytest.mark.parametrize("engine", ["eager", "onnxruntime", "openvino"])
def test_every_head_has_its_scores_and_its_labels_with_thresholds(
    engine: str, module: MERModule, heads: list[Head], images: torch.Tensor, tmp_path: Path
) -> None:
    model, source = deployed(module, heads), tmp_path / "model.onnx"
    if engine != "eager":
        pytest.importorskip(engine)
        model_files.write_onnx(model, source)
    found = open_engine(engine, model if engine == "eager" else source)(images.numpy())
    frame = predicted(module, heads, images)
    assert list(found.scores) == list(found.classes) == ["linear", "svm", "softmax"]
    for head, scores in found.scores.items():
        columns = frame[[f"{head}_{name}" for name in CLASSES]].to_numpy()
        np.testing.assert_allclose(scores, columns, rtol=0, atol=TOLERANCE)
        labels = [CLASSES[number] for number in found.classes[head]]
        assert labels == frame[head].tolist()
        # Thresholds that change nothing would prove nothing.
        assert (found.classes[head] != scores.argmax(axis=1)).any() == (head in OFFSETS)
    assert found.labels.tolist() == found.classes["linear"].tolist()


@pytest.mark.slow
def test_an_exported_program_has_the_same_outputs(
    module: MERModule, heads: list[Head], images: torch.Tensor, tmp_path: Path
) -> None:
    model = deployed(module, heads)
    model_files.write_pt2(model, tmp_path / "model.pt2")
    with torch.inference_mode():
        parts = torch.export.load(tmp_path / "model.pt2").module()(images)
    found = named_scores(model.outputs, [part.numpy() for part in parts])
    frame = predicted(module, heads, images)
    for head, numbers in found.classes.items():
        assert [CLASSES[number] for number in numbers] == frame[head].tolist()


@pytest.mark.slow
def test_files_of_a_run_give_its_labels_where_its_folds_chose_thresholds(
    tiny_config: Callable[..., DictConfig], tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    pytest.importorskip("onnxruntime")
    run_dir = tmp_path / "run"
    words = [
        "protocol.n_splits=2",
        "protocol.inner.n_splits=2",
        "protocol.inner.choose=[thresholds]",
        "macro.enabled=false",
        "model.epochs=3",
        "+callbacks.second={_target_: mer.callbacks.svm_head.SVMHead, name: second, C: 0.1}",
    ]
    runner.run(tiny_config(*words), run_dir)
    turned = 0
    for folder in sorted((run_dir / "folds").iterdir()):
        assert main(["export", str(run_dir), "--fold", folder.name]) == 0
        frame = pd.read_parquet(folder / "predictions.parquet")
        classes = model_files.read_facts(folder / "model.onnx")["classes"]
        images = inputs_of(run_dir, folder.name, frame)
        found = open_engine("onnxruntime", folder / "model.onnx")(images)
        assert list(found.classes) == ["svm", "second", "softmax"]
        for head, numbers in found.classes.items():
            assert [classes[number] for number in numbers] == frame[head].tolist()
            turned += int((numbers != found.scores[head].argmax(axis=1)).sum())
        assert found.labels.tolist() == found.classes["svm"].tolist()
    assert turned  # without the thresholds these labels would be others
    assert main(["export", str(run_dir), "--heads", "second,third"]) == 2
    assert "third: name some of svm, second, softmax" in capfd.readouterr().err
    out = tmp_path / "x.onnx"
    assert main(["export", str(run_dir), "--heads", "second", "--out", str(out)]) == 0
    assert model_files.read_facts(out)["heads"] == ["second", "softmax"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "transformers"),
    [("mobilevit_xxs", "gate"), ("mobilevit_xxs", "residual"), ("mobilevitv2_050", "gate")],
)
def test_inserted_transformer_blocks_are_part_of_a_file(
    name: str, transformers: str, images: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    made = network({"name": name}, transformers=transformers, image_size=32)
    disturb(made)  # so that they add something
    model = Deployed(made.train(False))
    model_files.write_onnx(model, tmp_path / "model.onnx")
    given = model.example(3)
    wanted = open_engine("eager", model)(given.numpy())
    found = open_engine("onnxruntime", tmp_path / "model.onnx")(given.numpy())
    require_equal(wanted, found, tmp_path / "model.onnx")
    model_files.write_pt2(model, tmp_path / "model.pt2")
    outputs = torch.export.load(tmp_path / "model.pt2").module()(given)
    found = named_scores(model.outputs, [part.numpy() for part in outputs])
    require_equal(wanted, found, tmp_path / "model.pt2")
