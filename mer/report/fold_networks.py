"""The data and the networks of a finished run, opened as an evaluation would open them.

A report never prepares or trains: the page says what is missing.
"""

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from mer.config import absent
from mer.config.composition import typed
from mer.config.conversion import to_plain
from mer.config.settings import Settings
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.runs import rundir
from mer.runs.stored_run import Run
from mer.training.evaluate import fold_config, load_config


class Absent(Exception):
    """What a section needs is not here; the message says what, as a sentence for the page."""


class Networks:
    """Samples of a run as inputs, and the network of each fold.

    Raises:
        Absent: If the run names other code, or the data are elsewhere, were not prepared here, or
            are others.
    """

    def __init__(self, run: Run, trust: tuple[str, ...] = (), places: Sequence[str] = ()) -> None:
        self.run_dir, self.trust = run.directory, trust
        try:
            cfg = load_config(run.directory, list(places), trust)
            settings = typed(cfg)
        except MerError as error:
            raise Absent(str(error)) from error
        for _, name, node in settings.data.nodes("micro"):
            if not (root := settings.data.path_of(node)).exists():
                raise Absent(
                    f"The data are not here: data.micro.{name} is to be at {root}. If they were "
                    "moved, add data.root=FOLDER."
                )
        try:
            found = sources.read(settings, "micro")["micro"]
            for source in found:
                _require_store(settings, source)
            self.corpus = sources.load(settings, "micro", found)
        except MerError as error:
            raise Absent(f"The data cannot be read: {error}") from error
        known = {entry.get("data_hash") for entry in run.environment}
        if known and self.corpus.hash not in known:
            raise Absent(
                f"The data have changed since the run (hash {self.corpus.hash} now, "
                f"{', '.join(map(str, known))} then)."
            )
        assert run.manifest is not None
        try:
            table, classes = self.corpus.table, self.corpus.classes
            self.dataset = UnifiedDataset(table, self.corpus.stores, classes, settings.input)
            tested = run.manifest.groupby("fold", sort=False)["sample_id"]
            self.tested = {str(fold): self.dataset.positions(ids.tolist()) for fold, ids in tested}
        except MerError as error:
            raise Absent(f"The inputs cannot be built: {error}") from error
        self._config = cfg

    def modules(self) -> Iterator[tuple[NDArray[np.int64], MicroFinetuneModule]]:
        """Positions of each fold's test samples, and its network in evaluation mode on the CPU.

        `batch` then gives the input of that fold, which may have chosen its own.

        Raises:
            Absent: If a checkpoint is missing, damaged, or names code that is foreign or not here.
        """
        paths = {f: rundir.fold_folder(self.run_dir, f) / "model.ckpt" for f in self.tested}
        missing = [fold for fold, path in paths.items() if not path.exists()]
        if missing:
            names = ", ".join(missing[:3])
            raise Absent(f"{len(missing)} of {len(paths)} folds have no model.ckpt ({names}).")
        lacking = absent.problems({"backbone": to_plain(self._config.backbone)})
        if lacking:
            raise Absent(f"{lacking[0]}. Then type `mer report {self.run_dir}` again.")
        for fold, path in paths.items():
            try:
                module = load_module(MicroFinetuneModule, path, self.trust)
                own = fold_config(self.run_dir, self._config, fold, trust=self.trust)
                self.dataset = self.dataset.as_input(typed(own).input)
            except Exception as error:
                raise Absent(f"The checkpoint of {fold} cannot be loaded: {error}") from error
            yield self.tested[fold], module.eval()

    def batch(self, positions: NDArray[np.int64]) -> torch.Tensor:
        """Inputs of some samples as the network takes them. Shape: (B, C, S, S), float32."""
        return torch.from_numpy(self.dataset.images(positions).transpose(0, 3, 1, 2).copy())


def _require_store(settings: Settings, source: sources.Source) -> None:
    """Refuse to prepare a dataset for a report, which could take hours."""
    if not sources.is_prepared(settings, source):
        raise Absent(
            f"{source.name} is not prepared under {settings.paths.cache}. Type `mer report` where "
            "the run was started, or prepare the data again with `mer prepare`."
        )
