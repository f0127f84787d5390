"""`mer bench`: latency of one sample, throughput of training, and start-up on this machine.

`bench(["latency"], ["input=apex"])` measures and returns plain values; `to_table` shows them.
"""

import os
import platform
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mer.config.composition import compose
from mer.deploy.measurement import Measurement, milliseconds, summarise
from mer.errors import MerError
from mer.files import write_json

if TYPE_CHECKING:
    from omegaconf import DictConfig
    from rich.table import Table

#: Part -> what it measures.
PARTS = {
    "latency": "one sample from files to label by each engine and precision; frames of a camera",
    "throughput": "samples per second of training",
    "startup": "`mer --help` and `mer train --cfg job`, beside Python alone",
}

#: Raise it when a key of the result changes its meaning.
FORMAT = 2

#: Words of `quick`: seconds, to see that all parts run. Its figures mean nothing.
QUICK = ("data.preset=tiny", "backbone=tiny", "input.size=32", "prepare.size=96")

#: Words of the parts that train.
WORDS = {
    "latency": ("input.size=256", "model.epochs=1", "protocol.folds=1/3"),
    "throughput": (),
}

COMMANDS = {
    "python -c pass": ["-c", "pass"],
    "mer --help": ["-m", "mer.cli", "--help"],
    "mer train --cfg job": ["-m", "mer.cli", "train", "--cfg", "job"],
}


def bench(
    parts: Sequence[str] = tuple(PARTS),
    words: Sequence[str] = (),
    folder: Path = Path("cache/bench"),
    quick: bool = False,
    json_file: Path | None = None,
) -> dict[str, Any]:
    """Measure some parts.

    Args:
        parts: Names in `PARTS`.
        words: Overrides of the configuration, as for `mer train`.
        folder: Folder of corpora and stores; kept for the next call.
        quick: Whether to measure next to nothing, to see that it runs.
        json_file: File of the result, rewritten after each figure; None for none.

    Returns:
        `format`, `quick`, `words`, `machine`, `complete`, and `figures`: the attributes of each
        `mer.deploy.measurement.Measurement`.

    Raises:
        MerError: If there is no such part, or a part cannot be measured.
    """
    unknown = [part for part in parts if part not in PARTS]
    if unknown:
        raise MerError(f"mer bench has no part {', '.join(unknown)}; there is {', '.join(PARTS)}.")
    for part in parts:
        if part != "startup":
            _config(part, words, folder, quick)  # which refuses wrong words
    folder.mkdir(parents=True, exist_ok=True)
    figures: list[dict[str, Any]] = []
    result = {"format": FORMAT, "quick": quick, "words": list(words), "machine": machine()}
    result |= {"complete": False, "figures": figures}
    for part in parts:
        for figure in _measure(part, words, folder.resolve(), quick):
            figures.append(figure._asdict())
            if json_file is not None:
                write_json(result, json_file)
    result["complete"] = True
    if json_file is not None:
        write_json(result, json_file)
    return result


def machine() -> dict[str, Any]:
    """Describe the machine: processor, cores, threads, memory, load and versions."""
    import torch

    from mer.runs.environment import describe

    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "memory_gb": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 10**9,
        "load_average": os.getloadavg(),
        "omp_wait_policy": os.environ.get("OMP_WAIT_POLICY"),
        **describe(),
    }


def _measure(part: str, words: Sequence[str], folder: Path, quick: bool) -> Iterator[Measurement]:
    if part == "startup":
        return startup(1 if quick else 5)
    from mer.deploy import latency

    cfg = _config(part, words, folder, quick)
    if part == "throughput":
        return throughput(cfg, epochs=2 if quick else 5, rounds=1 if quick else 3)
    return latency.measure(cfg, samples=2 if quick else 30, rounds=1 if quick else 3)


def _config(part: str, words: Sequence[str], folder: Path, quick: bool) -> "DictConfig":
    """Compose the configuration of a part."""
    return compose(
        [
            "data.preset=megc2019",
            f"data.root={folder / 'corpora'}/${{data.preset}}",
            f"paths.cache={folder / 'cache'}",
            "macro.enabled=false",
            "protocol=group_kfold",
            "protocol.n_splits=3",
            "trainer.accelerator=cpu",
            "trainer.enable_progress_bar=false",
            "logger=none",
            "run.dir=unused",
            *WORDS[part],
            *(QUICK if quick else ()),
            *words,
        ]
    )


def throughput(cfg: "DictConfig", epochs: int, rounds: int) -> Iterator[Measurement]:
    """Measure samples per second of training, loading and augmentation included.

    Two runs differ in their epochs alone, so the difference of their times is epochs alone.
    """
    from mer.runs import run_files
    from mer.training import runner

    def run(count: int) -> tuple[float, int]:
        cfg.model.epochs = count
        with tempfile.TemporaryDirectory() as name:
            started = time.perf_counter()
            runner.run(cfg, Path(name))
            passed = time.perf_counter() - started
            sides = run_files.read_table(Path(name, "splits.parquet"))
        sizes = sides[sides["side"] == "train"].groupby("fold").size()
        batch = cfg.model.batch_size  # the last batch is dropped where it is not full
        return passed, sum(size // batch * batch or size for size in sizes)

    run(1)  # prepares, and builds the inputs
    rates = []
    for _ in range(rounds):
        (long, samples), (short, _) = run(epochs), run(1)
        rates.append(samples * (epochs - 1) / (long - short))
    note = f"{cfg.backbone.name}, {cfg.input.size} px, batch {cfg.model.batch_size}"
    yield summarise("throughput", "training", "", "samples/s", rates, note=note)


def startup(rounds: int) -> Iterator[Measurement]:
    """Time whole processes, from their start to their end, in turns."""
    for name in COMMANDS:
        _start(name)  # reads the files into memory, writes the bytecode
    times = [milliseconds(_start, [(name,) for name in COMMANDS]) for _ in range(rounds)]
    for name, values in zip(COMMANDS, zip(*times, strict=True), strict=True):
        yield summarise("startup", name, "", "ms", values, baseline=name.startswith("python"))


def _start(name: str) -> None:
    done = subprocess.run([sys.executable, *COMMANDS[name]], capture_output=True, text=True)
    if done.returncode:
        last = done.stderr.strip().splitlines()[-1:] or ["no message"]
        raise MerError(f"`{name}` ended with status {done.returncode}: {last[0]}")


def to_table(result: dict[str, Any]) -> "Table":
    """Make a table of a result of `bench`: one row per figure, with a rule between the parts."""
    from rich.table import Table

    facts = result["machine"]
    table = Table(
        title="mer bench" + (" --quick: figures are void" if result["quick"] else ""),
        caption=f"{facts['processor']}, {facts['cores']} cores, {facts['torch_threads']} threads "
        f"of PyTorch {facts['packages']['torch']}, load {facts['load_average'][0]:.2f}",
        title_justify="left",
        caption_justify="left",
    )
    for name in ("part", "what", "with", "median", "quartiles", "unit", "note"):
        table.add_column(name, justify="right" if name in ("median", "quartiles") else "left")
    before = None
    for figure in (Measurement(**plain) for plain in result["figures"]):
        if figure.part != before:
            table.add_section()
        before = figure.part
        spread = "" if figure.repeats < 2 else f"{show(figure.low)} – {show(figure.high)}"
        notes = "; ".join(["baseline"] * figure.baseline + [figure.note] * bool(figure.note))
        table.add_row(*figure[:3], show(figure.median), spread, figure.unit, notes)
    return table


def show(value: float | None) -> str:
    """Three significant digits; an en dash for what was not measured."""
    if value is None:
        return "–"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
