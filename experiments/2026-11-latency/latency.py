"""Milliseconds from two files to a label, before and after, in turns: writes latency.csv.

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

import pandas as pd

from mer import datasets
from mer.config.composition import compose, typed
from mer.config.settings import Prepare
from mer.deploy import fold_graphs, model_files
from mer.deploy.engines import Engine, open_engine
from mer.deploy.sample_input import align, load, to_input
from mer.prepare.face_pair import PairFinder
from mer.prepare.faces import FaceFinder
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


def main(data: Path, run_dir: Path, size: int) -> None:
    """Time every step and every way from files to label, in turns."""
    if not list(run_dir.glob("folds/*/predictions.parquet")):
        trained(data, run_dir, size)
    fold = next(run_dir.glob("folds/*/predictions.parquet")).parent.name
    table = datasets.read("casme2", data / "CASME2").table
    table = table[table["onset_path"].notna()].iloc[:: len(table) // PAIRS][:PAIRS]
    files = [(Path(row.onset_path), Path(row.apex_path)) for row in table.itertuples()]
    default, fast = (typed(compose([word])).prepare for word in ("prepare=default", "prepare=fast"))
    options = typed(compose([f"input.size={size}"])).input
    model = fold_graphs.load(run_dir, fold)
    with tempfile.TemporaryDirectory() as name, FaceFinder() as one, PairFinder() as two:
        model_files.write_onnx(model, Path(name, "model.onnx"))
        engines = {"eager + scikit-learn": open_engine("eager", model)}
        for engine in ("onnxruntime", "openvino"):
            for threads in (2, 1):
                variant = f"{engine}, {threads} threads"
                engines[variant] = open_engine(engine, Path(name, "model.onnx"), threads=threads)
        found: dict[tuple[str, str], list[float]] = {}

        def timed(step: str, variant: str, action: Callable[..., Any], *given: Any) -> Any:
            started = time.perf_counter()
            result = action(*given)
            found.setdefault((step, variant), []).append(1000 * (time.perf_counter() - started))
            return result

        def whole(
            pair: tuple[Path, Path], finder: FaceFinder, prepare: Prepare, engine: Engine
        ) -> object:
            sample = align(*map(load, pair), prepare, options, finder)
            return engine(to_input(sample, options))

        both, single = (engines[f"onnxruntime, {threads} threads"] for threads in (2, 1))
        ways = {
            "before": (one, default, both),
            "two faces at a time": (two, default, both),
            "and prepare=fast": (two, fast, both),
            "and one thread of the engine": (two, fast, single),
        }
        for turn in range(ROUNDS):
            for pair in files:
                pictures = timed("decode", "", lambda both: list(map(load, both)), pair)
                for variant, finder in (("one by one", one), ("two at a time", two)):
                    timed("faces", variant, finder.find_each, pictures)
                for variant, (finder, prepare, _) in ways.items():
                    given = (*pictures, prepare, options, finder)
                    sample = timed("faces, align and flow", variant, align, *given)
                image = timed("input", "", to_input, sample, options)
                for variant, engine in engines.items():
                    timed(f"input of {size} px to label", variant, engine, image)
                for variant, way in ways.items():
                    timed(f"files to label, {size} px", variant, whole, pair, *way)
            if not turn:
                found.clear()  # models were loaded
    rows = []
    for (step, variant), values in found.items():
        low, middle, high = statistics.quantiles(values, n=4)
        rows.append((step, variant, *(round(v, 1) for v in (min(values), low, middle, high))))
    columns = ["step", "variant", "least_ms", "low_ms", "median_ms", "high_ms"]
    made = pd.DataFrame(rows, columns=columns)
    file = HERE / "latency.csv"
    if file.exists():
        before = pd.read_csv(file)
        made = pd.concat([before, made]).drop_duplicates(["step", "variant"], keep="last")
    made.to_csv(file, index=False)
    print(made.to_string())


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]))
