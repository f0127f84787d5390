"""Scores, sizes and latency of exported files, pooled over the folds of a run.

python experiments/2026-11-export/measure.py runs/judged results.csv
"""

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import pandas as pd
import torch
from numpy.typing import NDArray
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from mer import metrics
from mer.deploy import fold_graphs, model_files, parity_samples, small_files
from mer.deploy.engines import open_engine
from mer.runs.rundir import require_finished

Images = NDArray[np.float32]


def int8(**options: object) -> Callable[[Path, Images, Path], None]:
    """Quantise all convolutions, with options of `quantize_static`."""

    def write(source: Path, images: Images, path: Path) -> None:
        prepared = path.with_suffix(".prepared")
        quant_pre_process(str(source), str(prepared), skip_symbolic_shape=True)
        quantization.quantize_static(
            str(prepared),
            str(path),
            small_files._Calibration(images),
            op_types_to_quantize=["Conv"],
            activation_type=quantization.QuantType.QUInt8,
            weight_type=quantization.QuantType.QInt8,
            **options,
        )

    return write


def half_graph(source: Path, images: Images, path: Path) -> None:
    """Compute in half precision, too."""
    import onnx
    from onnxruntime.transformers.float16 import convert_float_to_float16

    onnx.save(convert_float_to_float16(onnx.load(source), keep_io_types=True), path)


#: Name -> function that writes a file from the float32 file and calibration samples.
FILES: dict[str, Callable[[Path, Images, Path], None]] = {
    "float16 weights": lambda source, images, path: small_files.write_float16(source, path),
    "float16 graph": half_graph,
    "int8": small_files.write_int8,
    "int8, all convolutions": int8(per_channel=True),
    "int8, all, per tensor": int8(),
    "int8, all, 7-bit weights (before)": int8(per_channel=True, reduce_range=True),
    "int8, all, percentile": int8(
        per_channel=True, calibrate_method=quantization.CalibrationMethod.Percentile
    ),
}


def main(run_dir: Path, out: Path) -> None:
    """Write the table of a run."""
    torch.set_num_threads(1)
    rows, milliseconds = [], {}
    for fold in require_finished(run_dir):
        model = fold_graphs.load(run_dir, fold)
        samples = parity_samples.of_fold(run_dir, fold)
        test, labels = samples.images[samples.held_out], samples.labels[samples.held_out]
        engines, sizes = {}, {}
        with tempfile.TemporaryDirectory() as name:
            plain, small = Path(name, "plain.onnx"), Path(name, "small.onnx")
            model_files.write_onnx(model, plain)
            for file in ("float32", *FILES):
                path = plain if file == "float32" else small
                if file != "float32":
                    FILES[file](plain, samples.calibration, path)
                engines[file] = open_engine("onnxruntime", path, threads=1)
                sizes[file] = path.stat().st_size / 1e6
        found = {file: engine(test).classes for file, engine in engines.items()}
        for file, classes in found.items():
            for head, numbers in classes.items():
                columns = (labels, numbers, found["float32"][head])
                rows += [(file, head, *row, sizes[file]) for row in zip(*columns, strict=True)]
        milliseconds = milliseconds or least(engines, test)
        print(fold, flush=True)
    names = ["file", "head", "label", "predicted", "float32", "megabytes"]
    table = pd.DataFrame(rows, columns=names)
    n_classes, lines = int(table["label"].max()) + 1, []
    for (file, head), part in table.groupby(["file", "head"], sort=False):
        after, before = (
            metrics.scores(part["label"], part[name], n_classes)["uf1"]
            for name in ("predicted", "float32")
        )
        changed = int((part["predicted"] != part["float32"]).sum())
        size = part["megabytes"].mean()
        lines.append(
            (file, head, len(part), changed, after, after - before, size, milliseconds[file])
        )
    names = ["file", "head", "samples", "changed", "uf1", "difference", "megabytes", "ms"]
    frame = pd.DataFrame(lines, columns=names).round(4)
    frame.to_csv(out, index=False)
    print(frame.to_string())
    print("onnxruntime", onnxruntime.__version__)


def least(engines: dict[str, Callable[[Images], object]], images: Images) -> dict[str, float]:
    """Least milliseconds of one sample by one thread, each file in its turn."""
    found = dict.fromkeys(engines, float("inf"))
    for _ in range(180):
        for name, engine in engines.items():
            started = time.perf_counter()
            engine(images[:1])
            found[name] = min(found[name], 1000 * (time.perf_counter() - started))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
