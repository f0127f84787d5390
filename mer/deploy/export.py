"""`mer export MODEL`: a trained model as one self-contained file, from aligned input to labels."""

import logging
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from mer.errors import MerError, raise_all
from mer.files import output_faults, sha256, write_text, write_whole
from mer.protocols import EVERYBODY

if TYPE_CHECKING:
    from mer.deploy.graph import Deployed
    from mer.deploy.parity_samples import ParitySamples
    from mer.deploy.scores import Scores

log = logging.getLogger(__name__)

Precision = Literal["float32", "float16", "int8"]

#: Format -> ending of its files.
FORMATS = {"onnx": ".onnx", "pt2": ".pt2"}

#: Precision -> what its files have in their names.
PRECISIONS: dict[Precision, str] = {"float32": "", "float16": "-float16", "int8": "-int8"}


class Source(NamedTuple):
    """A model to export, and where it is from.

    Attributes:
        model: Graph of the model.
        samples: Samples to compare the file on.
        run_dir: Its run directory; None for weights of the package.
        fold: Its fold; empty for weights of the package.
        path: The file by default, without its ending.
    """

    model: "Deployed"
    samples: "ParitySamples"
    run_dir: Path | None
    fold: str
    path: Path


def export(
    source: Path | str,
    fold: str | None = None,
    form: str = "onnx",
    precision: Precision = "float32",
    out: Path | None = None,
    trust: Iterable[str] = (),
    heads: Sequence[str] | None = None,
    lossy: bool = False,
    places: Sequence[str] = (),
) -> Path:
    """Write a model into one file, prove on real samples what it gives, and describe it beside it.

    Args:
        source: Run directory, or the name of weights of the package (`mer:motion-xxs`).
        fold: Name of a finished fold; None takes the first, or the one of a run on everybody.
        form: onnx or pt2.
        precision: float32; float16 (weights alone); int8 (convolutions). The latter of ONNX only.
        out: The file; None puts `model.onnx` (or `model-int8.onnx`, `model.pt2`) beside the
            checkpoint, of a run on everybody into its directory. The model card is beside it.
        trust: Packages that the run may name beside the listed objects of mer.
        heads: Names of the heads that the file holds beside the softmax; None takes all.
        lossy: Whether to write an int8 or float16 file that changes too much.
        places: Where the run's data are now, such as `data.root=FOLDER`.

    Returns:
        The file.

    Raises:
        MerError: If the fold or the data are not there, packages are missing, or the file would be
            another model.
    """
    from mer.deploy import model_card

    raise_all("No file can be written:", _faults(Path(source), form, precision, out))
    made = _open(source, fold, tuple(trust), heads, places)
    path = out or made.path.with_name(made.path.name + PRECISIONS[precision] + FORMATS[form])
    said: list[str] = []

    def write(temporary: Path) -> None:
        said[:] = _write(made, form, precision, temporary, lossy)

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, write)
    file = f"{path.name}, SHA-256 `{sha256(path)}`."
    facts = {**made.model.facts, "precision": precision}
    card = model_card.text(facts, made.run_dir, made.fold, [file, *said])
    write_text(card, path.with_suffix(".md"))
    return path


def _faults(source: Path, form: str, precision: Precision, out: Path | None) -> Iterator[str]:
    """What is wrong with the file that is wanted, before anything is read."""
    if precision != "float32" and form != "onnx":
        yield f"--precision {precision} is for --format onnx, found {form}"
    if out is None:
        if source.is_dir():  # where the file goes
            yield from (f"{fault}, by --out" for fault in output_faults(f"{source}", source, True))
        return
    if not out.is_dir() and out.suffix != FORMATS[form]:
        yield f"--out {out}: a file of --format {form} ends in {FORMATS[form]}"
    yield from output_faults(f"--out {out}", out)


def _open(
    source: Path | str,
    fold: str | None,
    trust: tuple[str, ...],
    heads: Sequence[str] | None,
    places: Sequence[str],
) -> Source:
    """Open the model of a run's fold, or weights of the package."""
    from mer.models.ready_weights import PREFIX, READY
    from mer.runs import rundir

    name = str(source).removeprefix(PREFIX)
    if name in READY and not Path(source).is_dir():
        if fold is not None or heads is not None:
            raise MerError(f"{source} is one network with one head; leave --fold and --heads out")
        from mer.deploy import fold_graphs, parity_samples

        samples = parity_samples.of_shipped(name)
        return Source(fold_graphs.shipped(name), samples, None, "", Path(name))
    run_dir = Path(source)
    chosen = _fold_name(run_dir, fold)

    from mer.deploy import fold_graphs, parity_samples  # bring torch

    model = fold_graphs.load(run_dir, chosen, trust, heads)
    folder = run_dir if chosen == EVERYBODY else rundir.fold_folder(run_dir, chosen)
    samples = parity_samples.of_fold(run_dir, chosen, trust, places)
    return Source(model, samples, run_dir, chosen, folder / "model")


def _write(made: Source, form: str, precision: Precision, path: Path, lossy: bool) -> list[str]:
    """Write a file and compare it with its model; sentences on what was found."""
    from mer.deploy import model_card, model_files, small_files
    from mer.deploy.engines import open_engine
    from mer.deploy.fold_graphs import TOLERANCE
    from mer.deploy.parity import changes, require_close, require_equal

    model, samples = made.model, made.samples
    expected = open_engine("eager", model)(samples.images)
    exact = (
        f"Scores equal those of the network to {TOLERANCE:g}, and all labels, on {samples.words}."
    )
    model.facts["card"] = model_card.text(model.facts, made.run_dir, made.fold, [exact])
    if form == "pt2":
        model_files.write_pt2(model, path)
        require_equal(expected, _of_program(model, path, samples.images), path)
        return [exact]
    plain = path if precision == "float32" else path.with_suffix(".float32")
    try:
        model_files.write_onnx(model, plain)
        require_equal(expected, open_engine("onnxruntime", plain)(samples.images), plain)
        if precision == "float32":
            return [exact]
        if precision == "float16":
            small_files.write_float16(plain, path)
        else:
            small_files.write_int8(plain, samples.calibration, path)
    finally:
        if plain != path:
            plain.unlink(missing_ok=True)
    found = changes(
        expected,
        open_engine("onnxruntime", path)(samples.images),
        samples.labels,
        len(model.facts["classes"]),
    )
    if not lossy:
        require_close(found, precision)
    said = [f"{precision} against float32 on {samples.words}: {one}." for one in found]
    for sentence in said:
        log.info("%s", sentence)
    facts = {**model.facts, "precision": precision}
    facts["warnings"] = facts["warnings"] + [
        f"This {precision} file changes {one.labels} of {one.samples} labels of {one.head}"
        for one in found
        if one.too_much
    ]
    facts["card"] = model_card.text(facts, made.run_dir, made.fold, said)
    model_files.write_facts(path, facts)
    return said


def _of_program(model: "Deployed", path: Path, images: Any) -> "Scores":
    """Scores by an exported program, in two batches."""
    import numpy as np
    import torch

    from mer.deploy.engines import named_scores

    program = torch.export.load(path).module()
    with torch.inference_mode():
        parts = [program(torch.from_numpy(part)) for part in (images[:1], images[1:]) if len(part)]
    whole = zip(*parts, strict=True)
    together = [np.concatenate([one.numpy() for one in outputs]) for outputs in whole]
    return named_scores(model.outputs, together)


def _fold_name(run_dir: Path, fold: str | None) -> str:
    """The fold that is meant; of a run under a protocol, say whom its network has not seen."""
    from mer.config import stored
    from mer.runs import members, run_files, rundir, untested

    if (path := run_dir / "config.yaml").is_file():
        members.require_networks(run_dir, stored.read(path))
    done = rundir.require_finished(run_dir)
    if fold is not None and fold not in done:
        raise MerError(f"{run_dir} has no finished fold `{fold}`; there are: {', '.join(done)}.")
    chosen = fold or done[0]
    if chosen != EVERYBODY:
        manifest = run_files.read_table(run_dir / "manifest.parquet")
        persons = sorted(manifest["person"][manifest["fold"] == chosen].unique())
        log.warning(
            "this is the network of fold %s of %s, which %s did not train; a model on everybody: "
            "%s, then mer export %s-all",
            chosen,
            run_dir,
            ", ".join(persons[:3]) + (f" and {len(persons) - 3} more" if persons[3:] else ""),
            untested.command(run_dir),
            run_dir,
        )
    return chosen
