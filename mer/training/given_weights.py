"""Weights of an earlier macro-pretraining, named by a file (`macro.weights`)."""

import logging
import shutil
from collections.abc import Collection
from pathlib import Path

from mer.cache import exclusive, hold
from mer.config.settings import Settings
from mer.errors import MerError
from mer.files import naming, sha256, write_json, write_whole
from mer.models.checkpoints import read_checkpoint
from mer.runs import run_files

log = logging.getLogger(__name__)

#: What lies beside the weights: settings, scores and persons of their training.
REPORT = "pretraining.json"


def given_weights(settings: Settings, tested: Collection[str]) -> Path:
    """Take the weights of a file into the cache, under a name that changes with its content.

    Raises:
        MerError: If the file is no checkpoint of a macro-pretraining, or a tested person is among
            those who trained it.
    """
    path = Path(str(settings.macro.weights)).expanduser()
    where = f"macro.weights={settings.macro.weights}"
    if not path.is_file():
        raise MerError(f"{where}: there is no such file. Set macro.weights=null to train them.")
    made = read_checkpoint(path)["mer"]
    if made.get("stage") != "macro":
        raise MerError(
            f"{where} is no checkpoint of macro-pretraining, but one of a run's folds, whose "
            "network has seen persons that others test. Name the file best.ckpt of an entry of "
            "`mer cache`, kind macro."
        )
    report = path.with_name(REPORT)
    if not report.is_file():
        raise MerError(f"{where}: {REPORT} of the same training does not lie beside it; copy both.")
    both = sorted(set(made.get("persons", [])) & set(tested))
    if both:
        raise MerError(
            f"{where} was trained by {len(both)} persons whom this run tests: "
            f"{', '.join(both[:3])}. Set macro.weights=null, which trains without them."
        )
    digest = sha256(path)[:12]
    folder = Path(settings.paths.cache, "macro", f"given-{settings.backbone.name}-{digest}")
    with exclusive(folder), naming(folder):
        hold(folder)
        folder.mkdir(parents=True, exist_ok=True)
        if not (folder / path.name).is_file():
            write_json(run_files.read_json(report), folder / REPORT)
            write_whole(folder / path.name, lambda new: shutil.copyfile(path, new))
    log.info("macro weights of %s, trained by %d persons", path, len(made.get("persons", [])))
    return folder / path.name
