"""A small trained model, and its file."""

from pathlib import Path

import numpy as np
import pytest
import torch

from mer.callbacks.head import add_scores
from mer.callbacks.svm_head import SVMHead
from mer.deploy import model_files
from mer.deploy.graph import Deployed
from mer.models.modules import MicroFinetuneModule
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


def deployed(module: MicroFinetuneModule, head: SVMHead) -> Deployed:
    assert head.fitted is not None
    return Deployed(module, {"svm": head.fitted}, facts={"classes": CLASSES, "fold": "samm-006"})


@pytest.fixture(scope="module")
def head(module: MicroFinetuneModule, images: torch.Tensor) -> SVMHead:
    return fitted(module, images, [i % 3 for i in range(SAMPLES)])


@pytest.fixture(scope="module")
def model(module: MicroFinetuneModule, head: SVMHead) -> Deployed:
    return deployed(module, head)


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
