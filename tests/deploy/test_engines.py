"""Engines give the scores of the Lightning module and its SVM head, or say why they cannot."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from mer.callbacks.svm_head import SVMHead
from mer.deploy import engines
from mer.deploy.engines import Engine, Unavailable, open_engine
from mer.deploy.fold_graphs import TOLERANCE
from mer.deploy.graph import Deployed
from mer.errors import MerError
from mer.models.modules import MicroFinetuneModule
from tests.deploy.conftest import SAMPLES, expected


@pytest.fixture(params=["onnxruntime", "openvino"])
def run(request: pytest.FixtureRequest, onnx_file: Path) -> Engine:
    """The file in an engine."""
    pytest.importorskip(request.param)
    return open_engine(request.param, onnx_file)


@pytest.mark.parametrize("batch", [1, 5, SAMPLES])
def test_a_file_gives_the_scores_of_module_and_head_on_all_samples_in_batches_of_any_size(
    run: Engine,
    batch: int,
    module: MicroFinetuneModule,
    head: SVMHead,
    images: torch.Tensor,
) -> None:
    softmax, svm = expected(module, head, images)
    found = [run(images[at : at + batch].numpy()) for at in range(0, SAMPLES, batch)]
    np.testing.assert_allclose(
        np.concatenate([f.scores["softmax"] for f in found]), softmax, rtol=0, atol=TOLERANCE
    )
    np.testing.assert_allclose(
        np.concatenate([f.scores["svm"] for f in found]), svm, rtol=0, atol=TOLERANCE
    )
    labels = np.concatenate([f.labels for f in found])
    assert labels.tolist() == svm.argmax(1).tolist()
    assert len(set(labels.tolist())) == 3  # a model that always says the same proves nothing


def test_scores_of_one_image_and_of_a_batch_agree_and_outlive_the_next_call(
    run: Engine, images: torch.Tensor
) -> None:
    first = run(images[:1].numpy())
    kept = first.scores["svm"].copy()
    together = run(images[:3].numpy())
    others = [run(image[None].numpy()) for image in images[1:3]]
    assert np.array_equal(first.scores["svm"], kept)
    alone = np.concatenate([scores.scores["svm"] for scores in (first, *others)])
    np.testing.assert_allclose(alone, together.scores["svm"], rtol=0, atol=1e-5)
    assert not np.allclose(alone[0], alone[1])  # equal images would prove nothing


def test_an_image_may_be_a_view_that_is_not_contiguous(run: Engine, images: torch.Tensor) -> None:
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
