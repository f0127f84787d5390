"""Smaller ONNX files: weights in half precision, or convolutions in 8 bit."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mer.deploy.graph import INPUT
from mer.deploy.model_files import onnx_package, quiet, read_facts, save
from mer.errors import MerError

#: Arrays of fewer numbers stay as they are.
SMALLEST = 256


def write_float16(source: Path, path: Path) -> None:
    """Store the weights of the network in half precision; all is computed in float32 as before.

    Heads, which are in float64, stay as they are.
    """
    onnx = onnx_package()
    model = onnx.load(source)
    casts = []
    for tensor in model.graph.initializer:
        values, name = onnx.numpy_helper.to_array(tensor), tensor.name
        if values.dtype != np.float32 or values.size < SMALLEST:
            continue
        half = f"{name}_float16"
        tensor.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.float16), half))
        to = onnx.TensorProto.FLOAT
        casts.append(onnx.helper.make_node("Cast", [half], [name], f"{half}_cast", to=to))
    nodes = [*casts, *model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    save(model, path, {**read_facts(source), "precision": "float16"})


def write_int8(source: Path, images: NDArray[np.float32], path: Path) -> None:
    """Quantise convolutions: weights per channel, activations by their range over (N, C, S, S).

    The first and the last convolution stay float, and so do transformer blocks, the classifier and
    the heads. Weights take all 8 bits: with 7, which processors without VNNI are said to need,
    networks that are little sure change a third of their labels (experiments/2026-11-export).
    """
    onnx = onnx_package()
    try:
        from onnxruntime import quantization
        from onnxruntime.quantization.shape_inference import quant_pre_process
    except ImportError as error:
        raise MerError(f"int8 needs onnxruntime ({error}): pip install 'mer[deploy]'") from error
    prepared, facts = path.with_suffix(".prepared"), read_facts(source)
    try:
        with quiet(), contextlib.redirect_stdout(io.StringIO()):
            quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
            quantization.quantize_static(
                str(prepared),
                str(path),
                _Calibration(images),
                quant_format=quantization.QuantFormat.QDQ,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=_float_nodes(onnx.load(prepared), facts.get("float_blocks", [])),
                per_channel=True,
                activation_type=quantization.QuantType.QUInt8,
                weight_type=quantization.QuantType.QInt8,
            )
    finally:
        prepared.unlink(missing_ok=True)
    save(onnx.load(path), path, {**facts, "precision": "int8"})


def _float_nodes(model: Any, blocks: Sequence[str]) -> list[str]:
    """Names of the convolutions that stay float, of each network of the file."""
    names = [node.name for node in model.graph.node if node.op_type == "Conv"]
    pretrained = [name for name in names if name.startswith("/judge/")]
    trained = [name for name in names if name not in pretrained]
    of_blocks = [name for name in names if any(f"/{block}/" in name for block in blocks)]
    return [*trained[:1], *trained[-1:], *pretrained[:1], *pretrained[-1:], *of_blocks]


class _Calibration:
    """Hands images to the quantiser, one by one; None ends it."""

    def __init__(self, images: NDArray[np.float32]) -> None:
        self._rest: Iterator[NDArray[np.float32]] = iter(images)

    def get_next(self) -> dict[str, NDArray[np.float32]] | None:
        image = next(self._rest, None)
        return None if image is None else {INPUT: image[None]}
