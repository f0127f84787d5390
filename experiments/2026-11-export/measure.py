"""Scores, sizes and latency of exported files, pooled over the folds of a run.

python experiments/2026-11-export/measure.py runs/judged results.csv
"""

import statistics
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
from mer.deploy.networks import finished

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
    rows = []
    for fold in finished(run_dir):
        model = fold_graphs.load(run_dir, fold)
        samples = parity_samples.of_fold(run_dir, fold)
        test, labels = samples.images[samples.held_out], samples.labels[samples.held_out]
        with tempfile.TemporaryDirectory() as name:
            plain = Path(name, "plain.onnx")
            model_files.write_onnx(model, plain)
            expected = open_engine("onnxruntime", plain, threads=1)(test)
            for file in ("float32", *FILES):
                path = plain if file == "float32" else Path(name, "small.onnx")
                try:
                    if file != "float32":
                        FILES[file](plain, samples.calibration, path)
                    engine = open_engine("onnxruntime", path, threads=1)
                    found = engine(test)
                except Exception as error:  # a converter that cannot do this network
                    print(file, type(error).__name__, str(error).splitlines()[0][:200], flush=True)
                    continue
                milliseconds = time_of(engine, test)
                for head, numbers in found.classes.items():
                    rows += [
                        (file, head, label, number, wanted, path.stat().st_size, milliseconds)
                        for label, number, wanted in zip(
                            labels, numbers, expected.classes[head], strict=True
                        )
                    ]
        print(fold, flush=True)
    columns = ["file", "head", "label", "predicted", "float32", "bytes", "ms"]
    table = pd.DataFrame(rows, columns=columns)
    classes, found = int(table["label"].max()) + 1, []
    for (file, head), part in table.groupby(["file", "head"], sort=False):
        uf1 = [
            metrics.scores(part["label"], part[name], classes)["uf1"]
            for name in ("predicted", "float32")
        ]
        changed = int((part["predicted"] != part["float32"]).sum())
        megabytes, ms = part["bytes"].mean() / 1e6, part["ms"].median()
        found.append((file, head, len(part), changed, uf1[0], uf1[0] - uf1[1], megabytes, ms))
    names = ["file", "head", "samples", "changed", "uf1", "difference", "megabytes", "ms"]
    frame = pd.DataFrame(found, columns=names).round(4)
    frame.to_csv(out, index=False)
    print(frame.to_string())
    print("onnxruntime", onnxruntime.__version__)


def time_of(engine: Callable[[Images], object], images: Images) -> float:
    """Median milliseconds of one sample by one thread."""
    times = []
    for _ in range(30):
        started = time.perf_counter()
        engine(images[:1])
        times.append(1000 * (time.perf_counter() - started))
    return statistics.median(times)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
