"""Model files: ONNX and PyTorch's exported program, float32 or int8, with their metadata inside.

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
from numpy.typing import NDArray

from mer.deploy.graph import INPUT, Deployed
from mer.errors import MerError

#: Key of the metadata in a file.
KEY = "mer"

OPSET = 17


def write_onnx(model: Deployed, path: Path) -> None:
    """Write an ONNX file; batches may have any size.

    Raises:
        MerError: If the packages for it are not installed.
    """
    onnx = _onnx()
    # The layout of the weights in memory is no part of a file.
    model = model.to(memory_format=torch.contiguous_format)
    with _quiet():
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
    onnx.helper.set_model_props(written, {KEY: json.dumps(model.facts)})
    onnx.checker.check_model(written)
    onnx.save(written, path)


def write_pt2(model: Deployed, path: Path) -> None:
    """Write an exported program, which `torch.export.load` runs without this package."""
    model = model.to(memory_format=torch.contiguous_format)
    batch = torch.export.Dim("batch", min=1)
    with _quiet():
        program = torch.export.export(
            model, (model.example(2),), dynamic_shapes={"image": {0: batch}}
        )
        torch.export.save(program, path, extra_files={KEY: json.dumps(model.facts)})


def write_int8(source: Path, images: NDArray[np.float32], path: Path) -> None:
    """Quantise an ONNX file: weights per channel, activations by their range over some images.

    Convolutions alone are quantised: with attention, sums and products in 8 bit as well, MobileViT
    takes longer, since every change of type in between costs a pass over the activations.

    Args:
        source: File of `write_onnx`.
        images: Training samples. Shape: (N, C, S, S), float32.
        path: New file.

    Raises:
        MerError: If the packages for it are not installed.
    """
    onnx = _onnx()
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise MerError(f"int8 needs onnxruntime ({error}): pip install 'mer[deploy]'") from error
    prepared = path.with_suffix(".prepared")
    facts = read_facts(source)
    try:
        with _quiet():
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(path),
                _Calibration(images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                per_channel=True,
                # Without it 8-bit products overflow on processors without VNNI.
                reduce_range=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    finally:
        prepared.unlink(missing_ok=True)
    written = onnx.load(path)
    onnx.helper.set_model_props(written, {KEY: json.dumps({**facts, "precision": "int8"})})
    onnx.save(written, path)


def read_facts(path: Path) -> dict[str, Any]:
    """Read the metadata of an ONNX file.

    Raises:
        MerError: If it has none.
    """
    properties = {entry.key: entry.value for entry in _onnx().load(path).metadata_props}
    if KEY not in properties:
        raise MerError(f"{path} has no metadata: it is no file of `mer export`")
    return json.loads(properties[KEY])


class _Calibration:
    """Hands images to the quantiser, one by one; None ends it."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._rest, None)
        return None if image is None else {INPUT: image[None]}


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise MerError(f"ONNX files need onnx ({error}): pip install 'mer[deploy]'") from error
    return onnx


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporters' own chatter away; their errors still arrive as exceptions."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
