"""Part `latency` of `mer bench`: one sample from its files to its label, by each engine.

The baseline is the network in eager PyTorch, float32. Every engine should give its labels on all
test samples; how many differ is measured too.
"""

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from omegaconf import DictConfig

from mer.config import trust
from mer.config.composition import typed
from mer.config.settings import Settings
from mer.data import inputs, sources
from mer.deploy import fold_graphs, model_files, small_files
from mer.deploy.engines import ENGINES, PRECISIONS, Engine, open_engine
from mer.deploy.graph import Deployed
from mer.deploy.loading import load
from mer.deploy.measurement import Measurement, milliseconds, summarise
from mer.deploy.parity_samples import of_fold
from mer.deploy.predictor import Predictor
from mer.errors import MerError
from mer.prepare.faces import FaceFinder
from mer.prepare.sample import Drop, Sample, read_picture
from mer.runs import run_files
from mer.spotting.spotter import Spotter
from mer.spotting.stream import Frame
from mer.training import runner

BASELINE = "eager float32"

#: Width and height of a camera's pictures.
CAMERA = (640, 480)

Pair = tuple[Path, Path]
Picture = NDArray[np.uint8]
Image = NDArray[np.float32]


def measure(cfg: DictConfig, samples: int, rounds: int) -> Iterator[Measurement]:
    """Train a network shortly, then time stages and engines on samples that it was not trained on.

    Raises:
        MerError: If the configuration prepares pictures without finding faces.
    """
    settings = typed(cfg)
    if settings.prepare.faces != "landmarks":
        raise MerError("mer bench latency times the face, too: set prepare.faces=landmarks")
    with tempfile.TemporaryDirectory() as name:
        run_dir = Path(name, "run")
        runner.run(cfg, run_dir)
        fold = next(run_dir.glob("folds/*/predictions.parquet")).parent.name
        pairs = _pairs(settings, run_dir, fold, samples)
        engines: dict[str, Engine] = {}
        own = list(trust.names(cfg).values())
        compared = of_fold(run_dir, fold, own)
        for variant, engine in _open(run_dir, fold, own, compared.calibration):
            if isinstance(engine, MerError):
                yield Measurement(
                    "latency", "input to label", variant, "ms", None, repeats=0,
                    note=" ".join(str(engine).split()),
                )  # fmt: skip
            else:
                engines[variant] = engine
        test = compared.images[compared.held_out]
        note = f"{cfg.backbone.name} at {cfg.input.size} px, input {cfg.input.name}"
        made = inputs.make(settings.input)
        with load(run_dir, fold, own) as model:

            def make(onset: Path, apex: Path) -> Image:
                return _image(made, model.prepare(onset, apex))

            make(*pairs[0])  # loads the face model
            yield from _stages(pairs, model, made)
            yield from live(_picture(pairs[0][0]), seconds=10 if rounds > 1 else 2)
            yield from _engines(engines, pairs, make, test, rounds, note)


def _pairs(settings: Settings, run_dir: Path, fold: str, count: int) -> list[Pair]:
    """Files of onset and apex of some test samples, spread over all of the fold."""
    manifest = run_files.read_table(run_dir / "manifest.parquet")
    tested = manifest["sample_id"][manifest["fold"] == fold]
    table = sources.load(settings, "micro").table
    rows = table[table["sample_id"].isin(tested) & table["onset_path"].notna()]
    if rows.empty:
        raise MerError("mer bench latency needs samples with pictures of onset and apex")
    rows = rows.iloc[np.unique(np.linspace(0, len(rows) - 1, count).astype(int))]
    return [(Path(row.onset_path), Path(row.apex_path)) for row in rows.itertuples()]


def _picture(path: Path) -> Picture:
    picture = read_picture(path)
    if isinstance(picture, Drop):
        raise MerError(f"this picture cannot be used: {picture.reason}: {picture.detail}")
    return picture


def _image(made: inputs.SampleInput, sample: Sample | Drop) -> Image:
    """Build the input of a prepared sample. Shape: (1, C, S, S), float32."""
    if isinstance(sample, Drop):
        raise MerError(f"these pictures cannot be used: {sample.reason}: {sample.detail}")
    return np.ascontiguousarray(made.build(sample).transpose(2, 0, 1)[None])


def _stages(pairs: list[Pair], model: Predictor, made: inputs.SampleInput) -> Iterator[Measurement]:
    """Time the stages from files to input one by one."""
    pictures = [(_picture(onset), _picture(apex)) for onset, apex in pairs]
    samples = [(made, model.prepare(*both)) for both in pictures]
    with FaceFinder(model.facts.prepare.confidence) as finder:
        finder.find(pictures[0][0])
        faces = milliseconds(lambda onset, apex: finder.find(onset), pictures)
    whole = milliseconds(model.prepare, pictures)
    stages = {
        "decode": milliseconds(lambda *pair: [_picture(path) for path in pair], pairs),
        "face in the onset": faces,
        "align and flow": [one - other for one, other in zip(whole, faces, strict=True)],
        "input": milliseconds(_image, samples),
    }
    for name, values in stages.items():
        yield summarise("latency", name, "", "ms", values)


def live(picture: Picture, seconds: int) -> Iterator[Measurement]:
    """Follow a face and spot what it does; its picture is moved and gets the noise of a camera.

    Camera, screen and the first second are not timed.
    """
    random, (width, height), rate = np.random.default_rng(0), CAMERA, 25
    still = cv2.resize(picture, CAMERA, interpolation=cv2.INTER_AREA).astype(np.int16)
    frames = []
    for number in range(rate * seconds):
        moved = np.roll(still, (number // 4 % 6, number // 3 % 6), axis=(0, 1))
        noisy = moved + random.integers(-2, 3, moved.shape, np.int16)
        frames.append(Frame(number, number / rate, noisy.clip(0, 255).astype(np.uint8)))
    with Spotter(rate) as spotter:
        times = milliseconds(spotter.add, [(frame,) for frame in frames])[rate:]
        if len(spotter.faces) != 1:
            raise MerError(f"the face is followed as {len(spotter.faces)} faces, expected one")
    note = f"a camera of {width} x {height}; longest {max(times):.0f} ms"
    rates = [1000 * rate / sum(times[i : i + rate]) for i in range(0, len(times), rate)]
    yield summarise("latency", "follow and spot a frame", "", "ms", times)
    yield summarise("latency", "follow and spot", "", "frames/s", rates, note=note)


def _open(
    run_dir: Path, fold: str, own: Sequence[str], calibration: Image
) -> Iterator[tuple[str, Engine | MerError]]:
    """Open each engine in each precision, or give the reason why it cannot run here."""
    model = fold_graphs.load(run_dir, fold, own)

    def source(engine: str, precision: str) -> Deployed | Path:
        plain, small = run_dir / "model.onnx", run_dir / "int8.onnx"
        if engine in ("eager", "compile"):
            return model
        if not plain.exists():
            model_files.write_onnx(model, plain)
        if precision == "int8" and not small.exists():
            small_files.write_int8(plain, calibration, small)
        return small if precision == "int8" else plain

    for name in ENGINES:
        for precision in PRECISIONS:
            try:
                yield f"{name} {precision}", open_engine(name, source(name, precision), precision)
            except MerError as reason:
                yield f"{name} {precision}", reason


def _engines(
    engines: dict[str, Engine],
    pairs: list[Pair],
    make: Callable[[Path, Path], Image],
    test: Image,
    rounds: int,
    note: str,
) -> Iterator[Measurement]:
    """Time the engines in turns, and compare their labels on all test samples."""
    images = [(make(*pair),) for pair in pairs]
    inner: dict[str, list[float]] = {name: [] for name in engines}
    whole: dict[str, list[float]] = {name: [] for name in engines}
    for _ in range(rounds):
        for name, engine in engines.items():
            engine(*images[0])  # threads of the engine before may still be awake
            inner[name] += milliseconds(engine, images)
            whole[name] += milliseconds(lambda *pair, run=engine: run(make(*pair)), pairs)
    labels = {
        name: np.concatenate([engine(test[i : i + 1]).labels for i in range(len(test))])
        for name, engine in engines.items()
    }
    classes = len(set(labels[BASELINE].tolist()))
    for name in engines:
        more = {"note": note, "baseline": name == BASELINE}
        yield summarise("latency", "input to label", name, "ms", inner[name], **more)
        yield summarise("latency", "files to label", name, "ms", whole[name], **more)
        if name != BASELINE:
            times = [one / other for one, other in zip(inner[BASELINE], inner[name], strict=True)]
            differ = int((labels[name] != labels[BASELINE]).sum())
            of = f"of {len(test)} test samples; {classes} classes occur"
            yield summarise("latency", "input to label: faster than eager", name, "times", times)
            yield Measurement("latency", "labels unlike eager's", name, "labels", differ, note=of)
