"""The history of a run as a table."""

import csv
from pathlib import Path

from mer.runs.observers import Observer, Progress, RunContext


class CsvLogger(Observer):
    """Adds a line to `history.csv` of the run directory after every fold.

    Columns: `fold`, `done`, `seconds`, and the running scores of the validation persons of each
    head (`svm_uf1`, ...), empty without such persons. Lines of a continued run follow the earlier
    ones.
    """

    def start(self, run: RunContext) -> None:
        """Remember where to write."""
        self._path: Path = run.run_dir / "history.csv"

    def fold(self, progress: Progress) -> None:
        """Write a line."""
        row = {
            "fold": progress.fold,
            "done": progress.done,
            "seconds": progress.record["seconds"],
            **{
                f"{head}_{score}": progress.validation.get(head, {}).get(score)
                for head in ("svm", "softmax")
                for score in ("uf1", "uar", "accuracy")
            },
        }
        new = not self._path.exists()
        with self._path.open("a", newline="") as file:
            writer = csv.DictWriter(file, list(row))
            if new:
                writer.writeheader()
            writer.writerow(row)
