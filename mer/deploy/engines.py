"""Engines: the same model run by PyTorch, compiled PyTorch, ONNX Runtime or OpenVINO.

`open_engine(name, source)(batch) -> Scores`. What cannot run here raises `Unavailable` with the
reason and the mend, when it is opened and not at the first batch.
"""

import contextlib
import functools
import sys
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from mer.deploy.graph import INPUT, UNITS, Deployed, label_output
from mer.deploy.scores import Scores
from mer.errors import MerError

PRECISIONS = ("float32", "bfloat16", "int8")

Batch = NDArray[np.float32]


class Unavailable(MerError):
    """An engine that cannot run here, with the reason."""


class Engine(Protocol):
    """A model that is ready to run."""

    def __call__(self, batch: Batch) -> Scores:
        """Score images as the data module gives them, not normalised. (B, C, S, S), float32."""


def open_engine(
    name: str, source: Deployed | Path, precision: str = "float32", threads: int | None = None
) -> Engine:
    """Make a model ready to run on the CPU.

    Args:
        name: eager, compile, onnxruntime or openvino.
        source: For eager and compile the model; for the others an `.onnx` file of `mer export`.
        precision: float32, bfloat16 (of the network; results stay float32) or int8. int8 is a
            property of the file (`mer export --int8`); the word is checked against the engine.
        threads: Threads of one batch; None takes as many as PyTorch.

    Raises:
        Unavailable: If the engine is not installed or cannot do this here.
        MerError: If there is no such engine or precision.
    """
    if name not in ENGINES:
        raise MerError(f"there is no engine `{name}`; type one of {', '.join(ENGINES)}")
    if precision not in PRECISIONS:
        raise MerError(f"there is no precision `{precision}`; type one of {', '.join(PRECISIONS)}")
    reason = IMPOSSIBLE.get((name, precision))
    if reason is not None:
        raise Unavailable(f"{name} in {precision}: {reason}")
    if name in ("eager", "compile"):
        if not isinstance(source, Deployed):
            raise MerError(f"engine {name} runs a model in memory, not a file ({source})")
    elif not isinstance(source, Path) or not source.is_file():
        raise MerError(f"engine {name} needs an .onnx file of `mer export`, found {source}")
    return ENGINES[name](source, precision, threads or torch.get_num_threads())


def _torch_engine(
    run: Callable[..., tuple[torch.Tensor, ...]], names: Sequence[str], precision: str
) -> Engine:
    def engine(batch: Batch) -> Scores:
        half = precision == "bfloat16"
        context = torch.autocast("cpu", torch.bfloat16) if half else contextlib.nullcontext()
        with torch.inference_mode(), context:
            found = run(torch.from_numpy(batch))
        return named_scores(names, [part.numpy() for part in found])

    return engine


def _eager(model: Deployed, precision: str, threads: int) -> Engine:
    return _torch_engine(model, model.outputs, precision)


def _compile(model: Deployed, precision: str, threads: int) -> Engine:
    # Frozen weights are laid out anew for the convolutions, once.
    frozen = torch.compile(model, options={"freezing": True})
    engine = _torch_engine(frozen, model.outputs, precision)
    try:
        engine(model.example(1).numpy())
    except Exception as error:
        first = str(error).strip().splitlines()[0]
        raise Unavailable(
            f"compile: torch.compile failed ({type(error).__name__}: {first}). It needs a C++ "
            "compiler: sudo apt-get install -y g++"
        ) from error
    return engine


def _onnxruntime(path: Path, precision: str, threads: int) -> Engine:
    try:
        import onnxruntime
    except ImportError as error:
        raise Unavailable(_install("onnxruntime", error)) from error
    content = path.read_bytes()

    @functools.cache
    def session(single: bool) -> Any:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 3
        # Waiting threads would take the cores from the faces and the flow of the next sample.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        if single:
            options.add_free_dimension_override_by_name("batch", 1)
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    names = [output.name for output in session(True).get_outputs()]
    _check_outputs(names, path)

    def engine(batch: Batch) -> Scores:
        # A graph whose every shape is known runs faster; see `_openvino`.
        return named_scores(names, session(len(batch) == 1).run(names, {INPUT: batch}))

    return engine


def _openvino(path: Path, precision: str, threads: int) -> Engine:
    core = _import_openvino().Core()
    able = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if precision == "bfloat16" and "BF16" not in able:
        raise Unavailable("openvino in bfloat16: this processor has no bfloat16 instructions")
    hint = "bf16" if precision == "bfloat16" else "f32"
    settings: dict[str, Any] = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": threads,
        "INFERENCE_PRECISION_HINT": hint,
    }
    graph = core.read_model(path)
    # A tensor may have more names than that of the output.
    every = [output.names for output in graph.outputs]
    known = _of_export(set().union(*every))
    names = [next(iter(known & names), "") for names in every]
    _check_outputs(names, path)

    @functools.cache
    def request(single: bool) -> Any:
        model = graph.clone()
        if single:
            shape = model.input(0).partial_shape
            shape[0] = 1
            model.reshape(shape)
        return core.compile_model(model, "CPU", settings).create_infer_request()

    def engine(batch: Batch) -> Scores:
        # A graph whose every shape is known runs faster. One image at a time is the case where
        # latency counts; batches of all other sizes share a graph.
        found = request(len(batch) == 1).infer([batch], share_inputs=True)
        return named_scores(names, [found[number] for number in range(len(names))])

    request(True)
    return engine


def _import_openvino() -> Any:
    """Import OpenVINO without letting a logging library that it brings close our streams.

    It imports absl, whose handler keeps the `sys.stderr` of that moment (a notebook's, a test's)
    and closes it as soon as logging is configured anew, which every Hydra job does.
    """
    try:
        import openvino
    except ImportError as error:
        raise Unavailable(_install("openvino", error)) from error
    absl = sys.modules.get("absl.logging")
    handler = absl.get_absl_handler() if absl else None
    if handler is not None:
        handler.python_handler.setStream(sys.__stderr__)
    return openvino


def named_scores(names: Sequence[str], values: Sequence[Any]) -> Scores:
    """Put the outputs of a graph, which have the names `Deployed.outputs`, under their heads."""
    values_of = dict(zip(names, map(np.asarray, values), strict=True))
    heads = [name for name in names if label_output(name) in values_of]
    return Scores(
        {head: values_of[head].astype(np.float32, copy=False) for head in heads},
        {head: values_of[label_output(head)].astype(np.int64, copy=False) for head in heads},
        values_of.get(UNITS),
    )


def _of_export(names: Collection[str]) -> set[str]:
    """Those of some names that `Deployed.outputs` may have."""
    heads = {name for name in names if label_output(name) in names}
    return {*heads, *map(label_output, heads), *({UNITS} & set(names))}


def _check_outputs(names: list[str], path: Path) -> None:
    if set(names) - _of_export(names) or not set(names) - {UNITS}:
        raise MerError(
            f"{path} gives {', '.join(names) or 'nothing'}, which is not what `mer export` writes: "
            "export the run again"
        )


def _install(package: str, error: Exception) -> str:
    return f"{package} cannot be imported ({error}): pip install 'mer[deploy]'"


#: Engine -> function of source, precision and threads.
ENGINES: dict[str, Callable[[Any, str, int], Engine]] = {
    "eager": _eager,
    "compile": _compile,
    "onnxruntime": _onnxruntime,
    "openvino": _openvino,
}

#: What an engine does not offer, and why.
IMPOSSIBLE = {
    ("eager", "int8"): "PyTorch's int8 kernels need another model; use onnxruntime or openvino",
    ("compile", "int8"): "PyTorch's int8 kernels need another model; use onnxruntime or openvino",
    ("onnxruntime", "bfloat16"): "ONNX Runtime has no bfloat16 kernels for CPUs",
}
