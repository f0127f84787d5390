"""`mer export RUN`: a fold's model as one self-contained file, from input crop to labels."""

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.errors import MerError, raise_all
from mer.files import write_whole

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from omegaconf import DictConfig
    from torch import nn

    from mer.deploy.graph import Deployed
    from mer.deploy.scores import Scores

log = logging.getLogger(__name__)

#: Format -> ending of its files.
FORMATS = {"onnx": ".onnx", "pt2": ".pt2"}

#: Largest difference between the scores of a file and those of the model it was written from.
TOLERANCE = 1e-4

#: Training samples that calibrate the ranges of the activations for int8.
CALIBRATION = 100


def export(
    run_dir: Path,
    fold: str | None = None,
    form: str = "onnx",
    int8: bool = False,
    out: Path | None = None,
    trust: Iterable[str] = (),
    heads: Sequence[str] | None = None,
) -> Path:
    """Write the model of a fold into one file, and prove that the file gives the same scores.

    Args:
        run_dir: Run directory.
        fold: Name of a finished fold; None takes the first.
        form: onnx or pt2.
        int8: Whether to quantise, with training samples of the fold; ONNX only.
        out: The file; None puts `model.onnx` (or `model-int8.onnx`, `model.pt2`) beside the
            checkpoint.
        trust: Packages that the run may name beside the listed objects of mer.
        heads: Names of the heads that the file holds beside the softmax; None takes all.

    Returns:
        The file.

    Raises:
        MerError: If the fold is not there, packages are missing, or the file's scores differ.
    """
    from mer.deploy import model_files
    from mer.runs import rundir

    if int8 and form != "onnx":
        raise MerError(f"--int8 is for --format onnx, found {form}")
    name, trust = _fold_name(run_dir, fold), tuple(trust)
    model = load(run_dir, name, trust, heads)
    ending = f"{'-int8' if int8 else ''}{FORMATS[form]}"
    path = out or rundir.fold_folder(run_dir, name) / f"model{ending}"

    def write(temporary: Path) -> None:
        if form == "pt2":
            model_files.write_pt2(model, temporary)
            _verify_pt2(model, temporary)
        elif not int8:
            model_files.write_onnx(model, temporary)
            _verify_onnx(model, temporary)
        else:
            images = fold_images(run_dir, name, "train", CALIBRATION, trust)
            plain = temporary.with_suffix(".float32")
            try:
                model_files.write_onnx(model, plain)
                model_files.write_int8(plain, images, temporary)
            finally:
                plain.unlink(missing_ok=True)
            _report_int8(model, temporary, images)

    write_whole(path, write)
    return path


def load(
    run_dir: Path, fold: str, trust: Iterable[str] = (), heads: Sequence[str] | None = None
) -> "Deployed":
    """Load the model of a finished fold with its heads and the thresholds that it chose.

    Args:
        run_dir: Run directory.
        fold: Name of a finished fold.
        trust: Packages that the run may name beside the listed objects of mer.
        heads: Names of the heads beside the softmax; None takes all.

    Raises:
        MerError: If the run names code that is neither listed nor trusted, or a head cannot be
            part of a file.
    """
    from omegaconf import OmegaConf

    from mer.callbacks.head import EMBEDDING, INPUT
    from mer.deploy.graph import SOFTMAX, Deployed
    from mer.models.checkpoints import load_module
    from mer.models.modules import MicroFinetuneModule
    from mer.runs import rundir
    from mer.training.evaluate import fold_config, load_config

    trust = tuple(trust)
    cfg = fold_config(run_dir, load_config(run_dir, trust=trust), fold, trust=trust)
    folder = rundir.fold_folder(run_dir, fold)
    module = load_module(MicroFinetuneModule, folder / "model.ckpt", trust)
    channels, side = module.hparams["in_chans"], module.hparams["image_size"]
    widths = {EMBEDDING: module.embedding_width, INPUT: channels * side**2}
    graphs, sources = _graphs(cfg, folder / "heads.pt", heads, widths)
    facts: dict[str, Any] = {
        **module.provenance,
        "classes": module.classes,
        "backbone": module.hparams["backbone"],
        "prepare": OmegaConf.to_container(cfg.prepare, resolve=True),
        "heads": [*graphs, SOFTMAX],
        "precision": "float32",
    }
    offsets = (module.provenance.get("inner") or {}).get("thresholds")
    return Deployed(module, graphs, offsets, facts, sources)


def _graphs(
    cfg: "DictConfig", path: Path, wanted: Sequence[str] | None, widths: Mapping[str, int]
) -> tuple[dict[str, "nn.Module"], dict[str, list[str]]]:
    """Load the heads of a fold, each as a module from its sources to scores.

    Args:
        cfg: Configuration of the fold.
        path: Its `heads.pt`.
        wanted: See `load`.
        widths: Sources that a file can compute -> width.

    Returns:
        Name -> module; name -> sources.

    Raises:
        MerError: If there is no such head, it cannot be part of a file, or its module gives other
            scores.
    """
    import numpy as np
    import torch

    from mer.callbacks.head import source_name
    from mer.runs import run_files
    from mer.runs.head_columns import SOFTMAX, read_states
    from mer.training.heads import heads_of, make_callbacks

    made = {head.name: head for head in heads_of(make_callbacks(cfg.callbacks))}
    names = list(made) if wanted is None else [name for name in made if name in wanted]
    unknown = sorted({*(wanted or ())} - {*made, SOFTMAX})
    there = ", ".join([*made, SOFTMAX])
    raise_all("The run has other heads:", (f"{name}: name some of {there}" for name in unknown))
    states = run_files.read(path, read_states, dict)
    graphs, sources, problems, elsewhere = {}, {}, [], []
    for name in names:
        head, graph = made[name], None
        sources[name] = [source_name(source) for source in head.sources]
        if unknown := [source for source in sources[name] if source not in widths]:
            elsewhere.append(f"{name} reads {', '.join(unknown)}")
            continue
        rows = np.random.default_rng(0).standard_normal(
            (4, sum(widths[source] for source in sources[name]))
        )
        state = {key: value for key, value in states[name].items() if key != "fitted_on"}
        if state:
            head.load_state_dict(state)
            graph = head.export()
        if graph is None:
            problems.append(f"{name} ({type(head).__name__})")
            continue
        with torch.no_grad():
            shown = graph(torch.from_numpy(rows)).numpy()
        if not np.allclose(shown, head.scores(rows), rtol=0, atol=TOLERANCE):
            raise MerError(
                f"The module that `export` of the head {name} gives has other scores than the "
                f"head's own `scores`. Mend {type(head).__name__}, or leave the head out."
            )
        graphs[name] = graph
    raise_all(
        f"A file computes {' and '.join(widths)} from the image, and no other source of heads; "
        f"name the heads to export: mer export --heads {','.join([*graphs, SOFTMAX])}",
        elsewhere,
    )
    raise_all(
        "These heads cannot be part of a file. Their classes need `state_dict`, `load_state_dict` "
        "and `export` (see mer.callbacks.head.Head); or name the heads to export: mer export "
        f"--heads {','.join([*graphs, SOFTMAX])}",
        problems,
    )
    return graphs, sources


def fold_images(
    run_dir: Path, fold: str, side: str, count: int | None = None, trust: Iterable[str] = ()
) -> "NDArray[np.float32]":
    """Build inputs of the samples on one side of a fold, not normalised.

    Args:
        run_dir: Run directory.
        fold: Name of the fold.
        side: train, validation or test.
        count: Number of samples, spread over all; None for all.
        trust: Packages that the run may name beside the listed objects of mer.

    Returns:
        Shape: (N, C, S, S), float32.

    Raises:
        MerError: If the data cannot be read.
    """
    import numpy as np

    from mer.config.composition import typed
    from mer.data import sources
    from mer.data.dataset import UnifiedDataset
    from mer.runs import run_files
    from mer.training.evaluate import load_config

    settings = typed(load_config(run_dir, trust=trust))
    corpus = sources.load(settings, "micro")
    dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings.input)
    splits = run_files.read_table(run_dir / "splits.parquet", ["fold", "sample_id", "side"])
    samples = splits["sample_id"][(splits["fold"] == fold) & (splits["side"] == side)]
    positions = dataset.positions(sorted(samples))
    count = len(positions) if count is None else count
    chosen = np.unique(np.linspace(0, len(positions) - 1, count).round().astype(int))
    images = [dataset.image(int(position)) for position in positions[chosen]]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def differences(expected: "Scores", found: "Scores") -> tuple[float, int]:
    """Largest difference of any score (equal infinities count 0), and how many labels differ."""
    import numpy as np

    largest = 0.0
    for head, one in expected.scores.items():
        other = found.scores[head]
        both = np.isfinite(one) | np.isfinite(other)
        if both.any():
            largest = max(largest, float(np.abs(one[both] - other[both]).max()))
    return largest, sum(
        int((numbers != found.classes[head]).sum()) for head, numbers in expected.classes.items()
    )


def _fold_name(run_dir: Path, fold: str | None) -> str:
    from mer.config import stored
    from mer.runs import members, rundir

    if (path := run_dir / "config.yaml").is_file():
        members.require_networks(run_dir, stored.read(path))
    folders = sorted((run_dir / "folds").glob("*")) if (run_dir / "folds").is_dir() else []
    done = [f.name for f in folders if rundir.is_done(run_dir, f.name)]
    if not done:
        raise MerError(f"{run_dir} has no finished fold. Name a run directory, e.g. runs/demo.")
    if fold is None:
        return done[0]
    if fold not in done:
        raise MerError(f"{run_dir} has no finished fold `{fold}`; there are: {', '.join(done)}.")
    return fold


def _verify_onnx(model: "Deployed", path: Path) -> None:
    from mer.deploy.engines import Unavailable, open_engine

    try:
        engine = open_engine("onnxruntime", path)
    except Unavailable as reason:
        log.warning("%s was not compared with the model: %s", path.name.lstrip("."), reason)
        return
    eager = open_engine("eager", model)
    for batch in (1, 3):
        image = model.example(batch).numpy()
        _require_equal(eager(image), engine(image), path)


def _verify_pt2(model: "Deployed", path: Path) -> None:
    import torch

    from mer.deploy.engines import named_scores, open_engine

    program = torch.export.load(path).module()
    eager = open_engine("eager", model)
    for batch in (1, 3):
        image = model.example(batch)
        with torch.inference_mode():
            found = named_scores(model.outputs, [part.numpy() for part in program(image)])
        _require_equal(eager(image.numpy()), found, path)


def _require_equal(expected: "Scores", found: "Scores", path: Path) -> None:
    largest, labels = differences(expected, found)
    if largest > TOLERANCE or labels:
        raise MerError(
            f"{path.name.lstrip('.')} would not be the model: scores differ by up to {largest:.2g} "
            f"(allowed: {TOLERANCE:g}) and {labels} labels differ. Try the other --format."
        )


def _report_int8(model: "Deployed", path: Path, images: "NDArray[np.float32]") -> None:
    from mer.deploy.engines import open_engine

    expected, found = open_engine("eager", model)(images), open_engine("onnxruntime", path)(images)
    same = int((expected.labels == found.labels).sum())
    log.info("int8 gives %d of %d training samples the label of float32", same, len(images))
