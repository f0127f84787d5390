"""The history of a run as a table."""

import csv
import io
from pathlib import Path
from typing import Any

from mer.files import append_lines, csv_cell
from mer.metrics import SCORES
from mer.runs import log_values, run_files
from mer.runs.observers import Observer, Progress, RunContext


class CsvLogger(Observer):
    """Adds a line to `history.csv` of the run directory after every fold.

    Columns: `fold`, `done`, `seconds`, and the running scores of the validation persons of each
    head (`svm_uf1`, ...), empty without such persons. Lines of a continued run follow the earlier
    ones.
    """

    def start(self, run: RunContext) -> None:
        """Remember where to write, and which columns."""
        self._path: Path = run.run_dir / "history.csv"
        self._columns = ["fold", "done", "seconds"]
        self._columns += [f"{head}_{score}" for head in run.heads for score in SCORES]
        if self._path.exists():
            self._columns = [str(name) for name in run_files.read_csv(self._path)]

    def fold(self, progress: Progress) -> None:
        """Write a line."""
        row: dict[str, Any] = {
            "fold": progress.fold,
            "done": progress.done,
            "seconds": progress.record["seconds"],
        }
        for head, scores in progress.validation.items():
            row |= {f"{head}_{score}": scores.get(score) for score in SCORES}
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, self._columns, extrasaction="ignore")
        if not self._path.exists():
            writer.writeheader()
        writer.writerow({key: csv_cell(value) for key, value in row.items()})
        with log_values.careful(f"history.csv: fold {progress.fold}", []):
            append_lines(text.getvalue(), self._path)
