"""Exported models: the same scores as the Lightning module and its SVM head, in every engine."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig

from mer.callbacks.head import add_scores
from mer.callbacks.svm_head import SVMHead
from mer.cli import main
from mer.deploy import engines, model_files, small_files
from mer.deploy.engines import Unavailable, open_engine
from mer.deploy.fold_graphs import TOLERANCE
from mer.deploy.graph import Deployed
from mer.deploy.parity import require_equal
from mer.errors import MerError
from mer.models.modules import MicroFinetuneModule
from mer.training import runner
from tests.builders import CLASSES

SAMPLES, SIZE = 24, 32


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(SAMPLES, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(1)) * 2 + 3


@pytest.fixture(scope="module")
def module(images: torch.Tensor) -> MicroFinetuneModule:
    torch.manual_seed(0)
    built = MicroFinetuneModule(
        {"name": "test_efficientnet"}, 3, CLASSES, [3.0, 2.0, 1.0], [2.0, 1.5, 1.0], SIZE
    )
    with torch.no_grad():
        for _ in range(5):
            built.train()(images)  # moves the batch norms away from their start
    return built.eval()


def fitted(module: MicroFinetuneModule, images: torch.Tensor, labels: list[int]) -> SVMHead:
    head = SVMHead(C=10.0)
    with torch.no_grad():
        embeddings = module.embed(images).double().numpy()
    head.fit(embeddings, np.array(labels), len(CLASSES))
    return head


@pytest.fixture(scope="module")
def head(module: MicroFinetuneModule, images: torch.Tensor) -> SVMHead:
    return fitted(module, images, [i % 3 for i in range(SAMPLES)])


@pytest.fixture(scope="module")
def model(module: MicroFinetuneModule, head: SVMHead) -> Deployed:
    return Deployed(module, {"svm": head.fitted}, facts={"classes": CLASSES, "fold": "samm-006"})


@pytest.fixture(scope="module")
def onnx_file(model: Deployed, tmp_path_factory: pytest.TempPathFactory) -> Path:
    pytest.importorskip("onnx")
    path = tmp_path_factory.mktemp("export") / "model.onnx"
    model_files.write_onnx(model, path)
    return path


def expected(
    module: MicroFinetuneModule, head: SVMHead, images: torch.Tensor
) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities and SVM scores as a fold's predictions have them."""
    with torch.no_grad():
        outputs = {"embedding": module.embed(images), "logits": module(images)}
    add_scores([head], outputs)
    return outputs["logits"].softmax(1).numpy(), outputs["svm_scores"].numpy()


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("batch", [1, 5, SAMPLES])
def test_a_file_gives_the_scores_of_module_and_head_on_all_samples_in_batches_of_any_size(
    engine: str,
    batch: int,
    module: MicroFinetuneModule,
    head: SVMHead,
    images: torch.Tensor,
    onnx_file: Path,
) -> None:
    pytest.importorskip(engine)
    softmax, svm = expected(module, head, images)
    run = open_engine(engine, onnx_file)
    found = [run(part.numpy()) for part in images.split(batch)]
    np.testing.assert_allclose(
        np.concatenate([f.scores["softmax"] for f in found]), softmax, rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(
        np.concatenate([f.scores["svm"] for f in found]), svm, rtol=0, atol=TOLERANCE
    )
    labels = np.concatenate([f.labels for f in found])
    assert labels.tolist() == svm.argmax(1).tolist()
    assert len(set(labels.tolist())) == 3  # a model that always says the same proves nothing


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_scores_of_one_image_and_of_a_batch_agree_and_outlive_the_next_call(
    engine: str, onnx_file: Path, images: torch.Tensor
) -> None:
    pytest.importorskip(engine)
    run = open_engine(engine, onnx_file)
    first = run(images[:1].numpy())
    kept = first.scores["svm"].copy()
    together = run(images[:3].numpy())
    others = [run(image[None].numpy()) for image in images[1:3]]
    assert np.array_equal(first.scores["svm"], kept)
    alone = np.concatenate([scores.scores["svm"] for scores in (first, *others)])
    np.testing.assert_allclose(alone, together.scores["svm"], rtol=0, atol=1e-5)
    assert not np.allclose(alone[0], alone[1])  # equal images would prove nothing


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_an_image_may_be_a_view_that_is_not_contiguous(
    engine: str, onnx_file: Path, images: torch.Tensor
) -> None:
    pytest.importorskip(engine)
    run = open_engine(engine, onnx_file)
    mirrored = images[:1].numpy()[..., ::-1]
    found, copied = run(mirrored), run(np.ascontiguousarray(mirrored))
    assert np.array_equal(found.scores["svm"], copied.scores["svm"])


def test_the_eager_engine_is_the_module_itself(
    module: MicroFinetuneModule, head: SVMHead, model: Deployed, images: torch.Tensor
) -> None:
    softmax, svm = expected(module, head, images)
    found = open_engine("eager", model)(images.numpy())
    np.testing.assert_allclose(found.scores["softmax"], softmax, rtol=0, atol=1e-6)
    np.testing.assert_allclose(found.scores["svm"], svm, rtol=0, atol=1e-6)


def test_a_head_without_samples_of_a_class_exports_its_minus_infinity(
    module: MicroFinetuneModule, images: torch.Tensor, tmp_path: Path
) -> None:
    pytest.importorskip("onnxruntime")
    head = fitted(module, images, [2 * (i % 2) for i in range(SAMPLES)])
    model_files.write_onnx(Deployed(module, {"svm": head.fitted}), tmp_path / "model.onnx")
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
    model_files.write_onnx(Deployed(module, {"svm": head.fitted}), tmp_path / "model.onnx")
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


@pytest.mark.parametrize(
    ("name", "precision", "said"),
    [
        ("eager", "int8", "use onnxruntime or openvino"),
        ("onnxruntime", "bfloat16", "no bfloat16 kernels"),
    ],
)
def test_what_an_engine_cannot_do_is_said_when_it_is_opened(
    name: str, precision: str, said: str, model: Deployed
) -> None:
    with pytest.raises(Unavailable, match=said):
        open_engine(name, model, precision)


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_an_engine_that_is_not_installed_says_what_to_type(
    name: str, onnx_file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(Unavailable, match=r"pip install 'mer\[deploy\]'"):
        open_engine(name, onnx_file)


def test_a_compiler_that_is_missing_is_a_reason_not_a_crash(
    model: Deployed, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*args: object, **options: object) -> Callable[..., None]:
        def run(image: torch.Tensor) -> None:
            raise RuntimeError("No working C++ compiler found\nand more")

        return run

    monkeypatch.setattr(torch, "compile", broken)
    with pytest.raises(Unavailable, match=r"No working C\+\+ compiler found.*apt-get install"):
        open_engine("compile", model)


def test_wrong_names_and_files_are_refused(model: Deployed, tmp_path: Path) -> None:
    with pytest.raises(MerError, match="eager, compile, onnxruntime, openvino"):
        open_engine("tensorrt", model)
    with pytest.raises(MerError, match="float32, bfloat16, int8"):
        open_engine("eager", model, "float16")
    with pytest.raises(MerError, match="needs an"):
        open_engine("onnxruntime", tmp_path / "absent.onnx")
    assert set(engines.ENGINES) == {name for name, _ in engines.IMPOSSIBLE} | {"openvino"}


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
    tiny_config: Callable[..., DictConfig], tmp_path: Path, capfd: pytest.CaptureFixture
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


def test_a_folder_that_is_no_run_is_refused(tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    assert main(["export", str(tmp_path)]) == 2
    assert "has no finished fold" in capfd.readouterr().err
    assert main(["export", str(tmp_path / "gone")]) == 2
    assert "gone is no run directory" in capfd.readouterr().err


def test_a_file_that_cannot_be_written_is_told_before_anything_is_read(
    tmp_path: Path, capfd: pytest.CaptureFixture
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


@pytest.mark.slow
def test_logging_configured_anew_closes_no_stream_that_openvino_met() -> None:
    pytest.importorskip("openvino")
    program = """
import io, logging.config, sys
from mer.deploy import engines
sys.stderr = met = io.StringIO()
engines._import_openvino()
sys.stderr = io.StringIO()
logging.config.dictConfig({"version": 1})
print("closed" if met.closed else "open")
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.strip() == "open", done.stderr
