"""`debug=overfit`: does the network know the handful of samples that it was trained on?"""

import logging

import torch

from mer.config import trust
from mer.config.conversion import to_plain
from mer.errors import MerError
from mer.models.checkpoints import load_module
from mer.models.modules import MicroFinetuneModule
from mer.runs.observers import RunContext
from mer.runs.rundir import fold_folder

log = logging.getLogger(__name__)


def check(run: RunContext) -> None:
    """Ask the network of each fold for the classes of its own training samples."""
    dataset, foreign = run.dataset, trust.names(to_plain(run.settings)).values()
    for fold in run.folds:
        path = fold_folder(run.run_dir, fold.name) / "model.ckpt"
        module = load_module(MicroFinetuneModule, path, foreign)
        positions = dataset.positions(list(fold.train))
        images = [torch.from_numpy(dataset.image(int(p)).transpose(2, 0, 1)) for p in positions]
        with torch.inference_mode():
            said = module.eval()(torch.stack(images)).argmax(dim=1).tolist()
        right = sum(one == two for one, two in zip(said, dataset.labels[positions], strict=True))
        epochs = run.settings.model.epochs
        if right < len(positions):
            raise MerError(
                f"debug=overfit: the network knows {right} of {len(positions)} samples that it was "
                f"trained on for {epochs} epochs. Try model.epochs={4 * epochs} or another "
                "model.optimizer.lr; if that does not help, look for a fault in the input, the "
                "labels, the loss, or the backbone."
            )
        log.info("debug=overfit: all %d training samples are right after %d epochs", right, epochs)
