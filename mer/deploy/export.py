"""`mer export RUN`: one self-contained file of a fold's model, from input crop to both heads."""

import logging
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.errors import MerError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mer.deploy.graph import Deployed, Scores

log = logging.getLogger(__name__)

#: Format -> ending of its files.
FORMATS = {"onnx": ".onnx", "pt2": ".pt2"}

#: Largest difference between the scores of a file and those of the model it was written from.
TOLERANCE = 1e-4

#: Training samples that tell the ranges of the activations for int8.
CALIBRATION = 100


def export(
    run_dir: Path,
    fold: str | None = None,
    form: str = "onnx",
    int8: bool = False,
    out: Path | None = None,
    trust: Iterable[str] = (),
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

    Returns:
        The file.

    Raises:
        MerError: If the fold is not there, packages are missing, or the file's scores differ.
    """
    from mer.deploy import files
    from mer.runs import rundir

    if int8 and form != "onnx":
        raise MerError(f"--int8 is for --format onnx, found {form}")
    name, trust = _fold_name(run_dir, fold), tuple(trust)
    model = load(run_dir, name, trust)
    ending = f"{'-int8' if int8 else ''}{FORMATS[form]}"
    path = out or rundir.fold_folder(run_dir, name) / f"model{ending}"
    temporary = path.with_name(f".{path.name}")
    try:
        if form == "pt2":
            files.write_pt2(model, temporary)
            _verify_pt2(model, temporary)
        elif not int8:
            files.write_onnx(model, temporary)
            _verify_onnx(model, temporary)
        else:
            images = fold_images(run_dir, name, "train", CALIBRATION, trust)
            plain = temporary.with_suffix(".float32")
            try:
                files.write_onnx(model, plain)
                files.write_int8(plain, images, temporary)
            finally:
                plain.unlink(missing_ok=True)
            _report_int8(model, temporary, images)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def load(run_dir: Path, fold: str, trust: Iterable[str] = ()) -> "Deployed":
    """Load the model of a finished fold with its SVM head, if it has one.

    Raises:
        MerError: If the run names code that is neither listed nor trusted.
    """
    from omegaconf import OmegaConf

    from mer.callbacks.svm_scores import SupportVectorScores
    from mer.deploy.graph import Deployed
    from mer.models.checkpoints import load_module
    from mer.models.modules import MicroFinetuneModule
    from mer.runs import rundir
    from mer.runs.head_columns import read_states
    from mer.training.evaluate import load_config

    trust = tuple(trust)
    cfg = load_config(run_dir, trust=trust)
    folder = rundir.fold_folder(run_dir, fold)
    module = load_module(MicroFinetuneModule, folder / "model.ckpt", trust)
    state = read_states(folder / "heads.pt").get("svm") or {}
    head = SupportVectorScores(state["settings"], state["tensors"]) if "tensors" in state else None
    facts: dict[str, Any] = {
        **module.provenance,
        "classes": module.classes,
        "backbone": module.hparams["backbone"],
        "prepare": OmegaConf.to_container(cfg.prepare, resolve=True),
        "heads": ["softmax"] if head is None else ["softmax", "svm"],
        "precision": "float32",
    }
    return Deployed(module, head, facts)


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
    import pandas as pd

    from mer.config.composition import typed
    from mer.data import sources
    from mer.data.dataset import UnifiedDataset
    from mer.training.evaluate import load_config

    settings = typed(load_config(run_dir, trust=trust))
    corpus = sources.load(settings, "micro")
    dataset = UnifiedDataset(corpus.table, corpus.stores, corpus.classes, settings.input)
    splits = pd.read_parquet(run_dir / "splits.parquet")
    samples = splits["sample_id"][(splits["fold"] == fold) & (splits["side"] == side)]
    positions = dataset.positions(sorted(samples))
    count = len(positions) if count is None else count
    chosen = np.unique(np.linspace(0, len(positions) - 1, count).round().astype(int))
    images = [dataset.image(int(position)) for position in positions[chosen]]
    return np.stack(images).transpose(0, 3, 1, 2).copy()


def differences(expected: "Scores", found: "Scores") -> tuple[float, int]:
    """Largest difference of any score (equal infinities count 0), and how many labels differ."""
    import numpy as np

    pairs = [(expected.softmax, found.softmax)]
    if expected.svm is not None and found.svm is not None:
        pairs.append((expected.svm, found.svm))
    largest = 0.0
    for one, other in pairs:
        both = np.isfinite(one) | np.isfinite(other)
        if both.any():
            largest = max(largest, float(np.abs(one[both] - other[both]).max()))
    return largest, int((expected.labels != found.labels).sum())


def _fold_name(run_dir: Path, fold: str | None) -> str:
    from mer.runs import rundir

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

    from mer.deploy.engines import _scores, open_engine

    program = torch.export.load(path).module()
    eager = open_engine("eager", model)
    for batch in (1, 3):
        image = model.example(batch)
        with torch.inference_mode():
            found = _scores([part.numpy() for part in program(image)])
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
    labels = differences(expected, found)[1]
    log.info(
        "int8 gives %d of %d training samples the label of float32",
        len(images) - labels,
        len(images),
    )
