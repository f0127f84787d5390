"""Part `latency`: one sample from its files to its label, and what each engine makes of it.

The baseline is the network in eager PyTorch with the SVM of scikit-learn. Every engine must give
its labels on all test samples; how many differ is a figure of its own. `files to label` is one
call from the files on, in which stages overlap: it may be less than the sum of the stages.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import OmegaConf

from mer import protocols
from mer.bench.figures import Figure, figure, missing, ratio
from mer.bench.material import quiet
from mer.bench.settings import Settings
from mer.bench.stages import Pair, flow_methods, network_input, staged
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.deploy import export, files
from mer.deploy.engines import PRECISIONS, Unavailable, open_engine
from mer.deploy.graph import Deployed
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.training import runner

#: What the paper says of itself; its machine and its stages are not known.
PAPER_MS = 35.4

ENGINES = ("eager", "compile", "onnxruntime", "openvino")

Label = Callable[[NDArray[np.float32]], NDArray[np.int64]]


class Case(NamedTuple):
    """A sample's input (1, C, S, S) float32, and the call that makes it anew from the files."""

    image: NDArray[np.float32]
    make: Callable[[], NDArray[np.float32]]


def measure(settings: Settings) -> Iterator[Figure]:
    """Train a network shortly, then time stages and engines on samples that it was not trained on.

    The stages of a sample are measured one after another; engines take turns in rounds.
    """
    cfg = settings.compose(
        "input.size=256", "macro.enabled=false", "protocol=group_kfold", "protocol.n_splits=3",
        "model.epochs=1",
    )  # fmt: skip
    yield Figure(
        "latency", "files to label", "as the paper reports", "ms", PAPER_MS, note="machine unknown"
    )
    with quiet():
        corpus = sources.load(cfg, "micro")
        options = OmegaConf.to_container(cfg.input, resolve=True)
        dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, options)
    fold = protocols.make_folds(corpus.table, cfg.protocol.name, seed=cfg.seed)[0]
    train, test = dataset.positions(fold.train), dataset.positions(fold.test)
    prepare = OmegaConf.to_container(cfg.prepare, resolve=True)
    if prepare["faces"] != "landmarks":
        raise MerError("mer bench latency times the face, too: set prepare.faces=landmarks")
    count = settings.few(30, 2)
    rows = corpus.table.iloc[test[np.linspace(0, len(test) - 1, count).astype(int)]]
    pairs = [Pair(Path(row.onset_path), Path(row.apex_path)) for row in rows.itertuples()]
    note = f"{cfg.backbone.name} at {cfg.input.size} px, input {cfg.input.name}"
    with FaceFinder(prepare["confidence"]) as finder:
        staged(pairs[0], finder, prepare, options)  # loads the face model
        samples = [staged(pair, finder, prepare, options) for pair in pairs]
        flows = [dict(flow_methods(pair, finder, prepare)) for pair in pairs[: len(pairs) // 2]]
    for name in samples[0].milliseconds:
        values = [sample.milliseconds[name] for sample in samples]
        yield figure("latency", name, _variant(name, prepare), "ms", values)
    for method in flows[0]:
        values = [found[method] for found in flows]
        yield figure("latency", "flow by method", method, "ms", values)
    with (
        tempfile.TemporaryDirectory() as folder,
        FaceFinder(prepare["confidence"]) as finder,
        ThreadPoolExecutor(1) as helper,
        quiet(),
    ):
        cfg.protocol.folds = [fold.name]
        runner.run(cfg, Path(folder, "run"))
        model = export.load(Path(folder, "run"), fold.name)
        cases = [
            Case(sample.image, partial(network_input, pair, finder, prepare, options, helper))
            for sample, pair in zip(samples, pairs, strict=True)
        ]
        yield from _engines(model, dataset, (train, test), cases, Path(folder), settings, note)


def _engines(
    model: Deployed,
    dataset: UnifiedDataset,
    sides: tuple[NDArray[np.int64], NDArray[np.int64]],
    cases: Sequence[Case],
    folder: Path,
    settings: Settings,
    note: str,
) -> Iterator[Figure]:
    train, test = (_inputs(dataset, side) for side in sides)
    baseline, network, head = _scikit(model, train, dataset.labels[sides[0]])
    engines: dict[str, Label] = {"eager + scikit-learn": baseline}
    calibration = train[:: max(1, len(train) // export.CALIBRATION)]
    sources_of = _files(model, calibration, folder)
    for name in ENGINES:
        for precision in PRECISIONS:
            try:
                engine = open_engine(name, sources_of(name, precision), precision)
            except (Unavailable, MerError) as reason:
                variant = f"{name} {precision}"
                yield missing("latency", "input to label", variant, "ms", str(reason))
                continue
            engines[f"{name} {precision}"] = lambda batch, engine=engine: engine(batch).labels
    for name, action in (("network", network), ("head", head)):
        yield figure("latency", name, "eager + scikit-learn", "ms", _times(action, _images(cases)))
    found: dict[str, list[float]] = {name: [] for name in engines}
    whole: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(settings.few(3, 1)):
        for name, engine in engines.items():
            # Threads of the engine before may still be awake.
            engine(cases[0].image)
            found[name] += _times(engine, _images(cases))
            whole[name] += _times(partial(_from_files, engine), [case.make for case in cases])
    expected = _labels(baseline, test)
    for name, values in found.items():
        plain = name == "eager + scikit-learn"
        yield figure("latency", "input to label", name, "ms", values, note=note, baseline=plain)
        if not plain:
            yield ratio("latency", "input to label", name, found["eager + scikit-learn"], values)
        yield figure(
            "latency", "files to label", name, "ms", whole[name], note=note, baseline=plain
        )
        other = int((_labels(engines[name], test) != expected).sum())
        if not plain:
            said = f"of {len(test)} test samples; {len(set(expected.tolist()))} classes occur"
            yield Figure(
                "latency", "labels unlike the baseline's", name, "labels", other, note=said
            )


def _scikit(
    model: Deployed, train: NDArray[np.float32], labels: NDArray[np.int64]
) -> tuple[Label, Callable[[NDArray[np.float32]], Any], Callable[[NDArray[np.float32]], Any]]:
    """Image to label as a script does it: eager network, then scaler and SVM of scikit-learn.

    Returns:
        The whole, the network alone, and the head alone (on one embedding, always the same).
    """
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    def network(batch: NDArray[np.float32]) -> NDArray[np.float64]:
        with torch.inference_mode():
            x = (torch.from_numpy(batch) - model.mean) / model.std
            features = model.backbone.forward_features(x)
            return model.backbone.forward_head(features, pre_logits=True).double().numpy()

    svc = SVC(class_weight="balanced", break_ties=True, decision_function_shape="ovr")
    embeddings = np.concatenate([network(train[i : i + 32]) for i in range(0, len(train), 32)])
    pipeline = make_pipeline(StandardScaler(), svc).fit(embeddings, labels)
    first = embeddings[:1]

    def head(batch: NDArray[np.float32]) -> NDArray[np.int64]:
        return pipeline.predict(first)

    return (lambda batch: pipeline.predict(network(batch))), network, head


def _files(
    model: Deployed, calibration: NDArray[np.float32], folder: Path
) -> Callable[[str, str], Deployed | Path]:
    """What an engine opens: the model itself, or a file, written when it is first asked for."""

    def source(name: str, precision: str) -> Deployed | Path:
        if name in ("eager", "compile"):
            return model
        plain, small = folder / "model.onnx", folder / "int8.onnx"
        if not plain.exists():
            files.write_onnx(model, plain)
        if precision == "int8" and not small.exists():
            files.write_int8(plain, calibration, small)
        return small if precision == "int8" else plain

    return source


def _times(action: Callable[[Any], Any], values: Sequence[Any]) -> list[float]:
    """Milliseconds of an action on each value, after one on the first that does not count."""
    action(values[0])
    found = []
    for value in values:
        started = time.perf_counter()
        action(value)
        found.append(1000 * (time.perf_counter() - started))
    return found


def _from_files(engine: Label, make: Callable[[], NDArray[np.float32]]) -> NDArray[np.int64]:
    return engine(make())


def _images(cases: Sequence[Case]) -> list[NDArray[np.float32]]:
    return [case.image for case in cases]


def _labels(engine: Label, images: NDArray[np.float32]) -> NDArray[np.int64]:
    return np.concatenate([engine(images[i : i + 1]) for i in range(len(images))])


def _inputs(dataset: UnifiedDataset, positions: NDArray[np.int64]) -> NDArray[np.float32]:
    images = [dataset.image(int(position)) for position in positions]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def _variant(stage: str, prepare: dict[str, Any]) -> str:
    return {"flow": prepare["flow"]["method"], "align": f"{prepare['size']} px"}.get(stage, "")
