"""Model files: ONNX and PyTorch's exported program, with their metadata inside.

The metadata are one JSON text under the key `mer`: classes, input, preparation, provenance.
"""

import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.nn import functional

from mer.deploy.graph import INPUT, Deployed
from mer.errors import MerError

#: Key of the metadata in a file.
KEY = "mer"

OPSET = 17


def write_onnx(model: Deployed, path: Path) -> None:
    """Write an ONNX file; batches may have any size, all else is fixed.

    Raises:
        MerError: If the packages for it are not installed, or the graph would have to find out the
            size of a picture while it runs.
    """
    onnx = onnx_package()
    # The layout of the weights in memory is no part of a file.
    model = model.to(memory_format=torch.contiguous_format)
    with quiet(), _fixed_sizes():
        # Tracing takes a tenth of the time of the exporter on torch.export, and no further package.
        torch.onnx.export(
            model,
            (model.example(2),),
            path,
            dynamo=False,
            opset_version=OPSET,
            input_names=[INPUT],
            output_names=model.outputs,
            dynamic_axes={name: {0: "batch"} for name in (INPUT, *model.outputs)},
        )
    written = onnx.load(path)
    if sized := [node.name for node in written.graph.node if node.op_type == "Resize"]:
        raise MerError(
            f"{path.name} would resize pictures by sizes that it finds out while it runs, at "
            f"{', '.join(sized[:3])}; let the network resize by torch.nn.functional.interpolate, "
            "mode bilinear"
        )
    onnx.checker.check_model(written)
    save(written, path, model.facts)


def write_pt2(model: Deployed, path: Path) -> None:
    """Write an exported program, which `torch.export.load` runs without this package."""
    model = model.to(memory_format=torch.contiguous_format)
    batch = torch.export.Dim("batch", min=1)
    with quiet():
        program = torch.export.export(
            model, (model.example(2),), dynamic_shapes={"image": {0: batch}}
        )
        torch.export.save(program, path, extra_files={KEY: json.dumps(model.facts)})


def read_facts(path: Path) -> dict[str, Any]:
    """Read the metadata of an ONNX file.

    Raises:
        MerError: If it has none, is missing or is damaged.
    """
    if not path.is_file():
        raise MerError(f"{path} is no file; name an .onnx file of `mer export`")
    onnx = onnx_package()
    try:
        model = onnx.load(path, load_external_data=False)
        properties = {entry.key: entry.value for entry in model.metadata_props}
        facts = json.loads(properties.get(KEY, "null"))
    except Exception as error:  # of a damaged file the decoder raises errors of its own package
        raise MerError(
            f"{path} cannot be read as an ONNX file ({error}): export the model again"
        ) from error
    if not isinstance(facts, dict):
        raise MerError(f"{path} has no metadata: it is no file of `mer export`")
    return facts


def onnx_package() -> Any:
    """Import onnx, or say how to install it."""
    try:
        import onnx
    except ImportError as error:
        raise MerError(f"ONNX files need onnx ({error}): pip install 'mer[deploy]'") from error
    return onnx


def save(model: Any, path: Path, facts: dict[str, Any]) -> None:
    """Write an ONNX model with its metadata."""
    onnx = onnx_package()
    onnx.helper.set_model_props(model, {KEY: json.dumps(facts)})
    onnx.save(model, path)


def write_facts(path: Path, facts: dict[str, Any]) -> None:
    """Replace the metadata of an ONNX file."""
    save(onnx_package().load(path), path, facts)


@contextmanager
def _fixed_sizes() -> Iterator[None]:
    """Let `interpolate`, bilinear, be a product with constants: a traced size is none."""
    before: Any = functional.interpolate

    def interpolate(
        images: torch.Tensor, size: Any = None, *more: Any, **options: Any
    ) -> torch.Tensor:
        if options.get("mode") != "bilinear" or size is None or more:
            resized: torch.Tensor = before(images, size, *more, **options)
            return resized
        rows, columns = (
            _resizing(int(old), int(new), bool(options.get("align_corners")))
            for old, new in zip(images.shape[2:], size, strict=True)
        )
        return rows @ images @ columns.T

    def _resizing(old: int, new: int, align_corners: bool) -> torch.Tensor:
        """Weights of old pixels in new ones, as a constant. Shape: (new, old)."""
        if align_corners:
            at = np.linspace(0, old - 1, new)
        else:
            at = np.maximum((np.arange(new) + 0.5) * old / new - 0.5, 0)
        low = np.floor(at).astype(int)
        weights = np.zeros((new, old), np.float32)
        np.add.at(weights, (np.arange(new), low), 1 - (at - low))
        np.add.at(weights, (np.arange(new), np.minimum(low + 1, old - 1)), at - low)
        return torch.from_numpy(weights)

    functional.interpolate = interpolate  # type: ignore[assignment]
    try:
        yield
    finally:
        functional.interpolate = before


@contextmanager
def quiet() -> Iterator[None]:
    """Keep the exporters' own chatter away; their errors still arrive as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
