"""Peak memory of a training process as its prepared store grows: memory.csv.

    python memory.py                      # all sizes, about half an hour
    python memory.py --sizes 64,128 --rounds 1 backbone=tiny input.size=32

We count anonymous memory: pages of mapped files can be dropped at any time. A first training
prepares the samples and builds the inputs; those after it are measured. Linux alone.
"""

import argparse
import csv
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import noise

HERE = Path(__file__).parent
STEPS = "+trainer.limit_train_batches=8"


def train(folder: Path, words: list[str]) -> float:
    """Train some steps of one fold in a process of its own; return its peak in megabytes."""
    with tempfile.TemporaryDirectory(dir=folder) as run, (folder / "log").open("w") as log:
        words = [*words, "model.epochs=1", "callbacks=none", STEPS, noise.folds(1)]
        command = [sys.executable, "-m", "mer.cli", "train", *words, f"run.dir={run}/run"]
        peak = 0.0
        with subprocess.Popen(command, stdout=log, stderr=log) as process:
            while process.poll() is None:
                peak = max(peak, anonymous_megabytes(process.pid))
                time.sleep(0.01)
        if not list(Path(run).glob("run/folds/*/predictions.parquet")):
            raise SystemExit((folder / "log").read_text())
    return peak


def anonymous_megabytes(process: int) -> float:
    """Megabytes that a process owns and no file backs; 0 when it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except FileNotFoundError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("RssAnon:"))


def measure(sizes: list[int], rounds: int, words: list[str], file: Path) -> None:
    """Write one row per number of samples, kind of inputs (cached or not) and round."""
    with file.open("w", newline="") as stream:
        table = csv.writer(stream)
        table.writerow(("samples", "cache_gb", "round", "megabytes"))
        for size in sizes:
            with tempfile.TemporaryDirectory() as name:
                own = [*noise.write(Path(name), size), *words]
                for cache in (8, 0):
                    chosen = [*own, f"input.cache_gb={cache}"]
                    train(Path(name), chosen)
                    for number in range(rounds):
                        peak = train(Path(name), chosen)
                        table.writerow((size, cache, number, f"{peak:.4g}"))
                        stream.flush()


def main() -> None:
    """Measure; words with `=` are overrides as for `mer train`."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("words", nargs="*", metavar="key=value")
    parser.add_argument("--sizes", default="442,4420,20000,100000", help="numbers of samples")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--csv", type=Path, default=HERE / "memory.csv")
    given = parser.parse_intermixed_args()
    measure([int(size) for size in given.sizes.split(",")], given.rounds, given.words, given.csv)


if __name__ == "__main__":
    main()
