"""Milliseconds from two pictures to a label, before and after, in turns: writes latency.csv.

`python latency.py FOLDER_OF_MEGC2019 RUN SIZE`: RUN is a run of one fold at an input of SIZE px; it
is trained if it is not there. Two minutes.
"""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import mer
from mer import datasets
from mer.config.composition import compose, typed
from mer.config.settings import Input, Prepare
from mer.data import inputs
from mer.deploy import fold_graphs, model_files, parity_samples
from mer.deploy.engines import open_engine
from mer.deploy.latency import live
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import Sample, prepare_pictures, read_picture
from mer.runs import rundir
from mer.training import runner

HERE = Path(__file__).parent
PAIRS, ROUNDS = 12, 4


def trained(data: Path, run_dir: Path, size: int) -> None:
    """Train one short fold, whose network and SVM are timed."""
    words = ["data=synthetic", "data.preset=megc2019", f"data.root={data}", "data.micro.samm=null"]
    words += ["data.micro.casme2=null", "data.check_counts=false", "macro.enabled=false"]
    words += ["protocol=group_kfold", "protocol.n_splits=3", "protocol.folds=1/3"]
    words += ["model.epochs=1", f"input.size={size}", "trainer.accelerator=cpu", "logger=none"]
    words += [f"paths.cache={run_dir.parent / 'cache'}", "run.dir=unused"]
    runner.run(compose(words), run_dir)


def eager(run_dir: Path, fold: str) -> Callable[[np.ndarray], object]:
    """The network in eager PyTorch, and scikit-learn's SVM on its embeddings."""
    file = rundir.fold_folder(run_dir, fold) / "model.ckpt"
    module = load_module(MicroFinetuneModule, file, ()).eval()
    samples = parity_samples.of_fold(run_dir, fold)
    with torch.inference_mode():
        rows = module.embed(torch.from_numpy(samples.images)).numpy()
    svm = make_pipeline(StandardScaler(), SVC(class_weight="balanced")).fit(rows, samples.labels)

    def run(image: np.ndarray) -> object:
        with torch.inference_mode():
            embedding = module.embed(torch.from_numpy(image))
            softmax = module.classifier(embedding).softmax(dim=1)
        return softmax.numpy(), svm.decision_function(embedding.numpy()).argmax(axis=1)

    return run


def to_input(sample: Sample, options: Input) -> np.ndarray:
    """Build the input of a prepared sample. Shape: (1, C, S, S), float32."""
    return np.ascontiguousarray(inputs.make(options).build(sample).transpose(2, 0, 1)[None])


def main(data: Path, run_dir: Path, size: int) -> None:
    """Time every step and every way from pictures to label, in turns."""
    if not list(run_dir.glob("folds/*/predictions.parquet")):
        trained(data, run_dir, size)
    fold = next(run_dir.glob("folds/*/predictions.parquet")).parent.name
    table = datasets.read("casme2", data / "CASME2").table
    table = table[table["onset_path"].notna()].iloc[:: len(table) // PAIRS][:PAIRS]
    files = [(Path(row.onset_path), Path(row.apex_path)) for row in table.itertuples()]
    default, fast = (typed(compose([word])).prepare for word in ("prepare=default", "prepare=fast"))
    options = typed(compose([f"input.size={size}"])).input
    model = fold_graphs.load(run_dir, fold)
    with tempfile.TemporaryDirectory() as name, FaceFinder() as finder:
        file = Path(name, "model.onnx")
        model_files.write_onnx(model, file)
        engines = {"eager + scikit-learn": eager(run_dir, fold)}
        for engine in ("onnxruntime", "openvino"):
            for threads in (2, 1):
                variant = f"{engine}, {threads} threads"
                engines[variant] = open_engine(engine, file, threads=threads)
        library = {"mer.load(FILE)": mer.load(file), "mer.load(RUN)": mer.load(run_dir, fold)}
        found: dict[tuple[str, str], list[tuple[float, float]]] = {}

        def timed(step: str, variant: str, action: Callable[..., Any], *given: Any) -> Any:
            wall, cpu = time.perf_counter(), time.process_time()
            result = action(*given)
            spent = time.perf_counter() - wall, time.process_time() - cpu
            found.setdefault((step, variant), []).append(spent)
            return result

        def aligned(onset: Any, apex: Any, prepare: Prepare, both: bool) -> Any:
            return prepare_pictures(onset, apex, prepare, finder, apex_landmarks=both)

        def whole(onset: Any, apex: Any, prepare: Prepare, both: bool, engine: Any) -> object:
            return engine(to_input(aligned(onset, apex, prepare, both), options))

        two, one = (engines[f"onnxruntime, {threads} threads"] for threads in (2, 1))
        ways = {
            "faces of onset and apex": (default, True, two),
            "face of the onset": (default, False, two),
            "and one thread of the engine": (default, False, one),
            "and prepare=fast": (fast, False, one),
        }
        for turn in range(ROUNDS):
            for pair in files:
                pictures = timed("decode", "", lambda both: list(map(read_picture, both)), pair)
                timed("face", "", finder.find, pictures[0])
                for variant, (prepare, both, _) in ways.items():
                    if variant != "and one thread of the engine":
                        step = "face, align and flow"
                        sample = timed(step, variant, aligned, *pictures, prepare, both)
                image = timed(f"input of {size} px", "", to_input, sample, options)
                for variant, engine in engines.items():
                    timed(f"input of {size} px to label", variant, engine, image)
                for variant, way in ways.items():
                    timed(f"frames to label, {size} px", variant, whole, *pictures, *way)
                for variant, predictor in library.items():
                    timed(f"frames to label, {size} px", variant, predictor.predict, *pictures)
            if not turn:
                found.clear()  # models were loaded
        for predictor in library.values():
            predictor.close()
    for figure in live(read_picture(files[0][0]), seconds=20):
        print(figure)
    rows = []
    for (step, variant), values in found.items():
        walls, cpus = zip(*values, strict=True)
        shown = (min(walls), *statistics.quantiles(walls, n=4), statistics.median(cpus))
        rows.append((step, variant, *(round(1000 * one, 1) for one in shown)))
    columns = ["step", "variant", "least_ms", "low_ms", "median_ms", "high_ms", "cpu_ms"]
    made = pd.DataFrame(rows, columns=columns)
    file = HERE / "latency.csv"
    if file.exists():
        before = pd.read_csv(file)
        made = pd.concat([before, made]).drop_duplicates(["step", "variant"], keep="last")
    made.to_csv(file, index=False)
    print(made.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
