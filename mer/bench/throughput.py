"""Part `throughput`: samples per second of training and of loading, ours and the plain loop."""

from collections.abc import Iterator

import numpy as np
from torch.utils.data import DataLoader

from mer.bench import arithmetic, plain_loop
from mer.bench.figures import Figure, figure, ratio, times
from mer.bench.material import Material, gather, plan, run_ours, sides
from mer.bench.settings import Settings
from mer.data.datamodule import MERDataModule
from mer.training.trainer import fold_threads


def measure(settings: Settings) -> Iterator[Figure]:
    """Time epochs of one fold, and epochs of its loader without a network."""
    cfg = settings.compose("macro.enabled=false")
    material = gather(settings, cfg, settings.few(4, 2))
    rounds = settings.few(3, 1)
    note = f"{cfg.backbone.name}, {cfg.input.size} px, batch {cfg.model.batch_size}"
    yield from _loading(material, rounds, note)
    yield from _training(material, rounds, settings.few(3, 2), note)


def _loading(material: Material, rounds: int, note: str) -> Iterator[Figure]:
    cfg, (train, test) = material.cfg, sides(material, material.folds[0])
    chosen = plan(material, 0)
    files = [material.paths[position] for position in train]
    labels = material.dataset.labels[train]
    loaders = {
        "plain loop": DataLoader(
            plain_loop.Pictures(files, labels, chosen.size, chosen.augment),
            batch_size=cfg.model.batch_size,
            shuffle=True,
        ),
        "ours": MERDataModule(
            material.dataset,
            train,
            test[:0],
            test,
            cfg.model.batch_size,
            augment=cfg.model.augment,
            seed=cfg.seed,
            num_workers=cfg.trainer.num_workers,
        ).train_dataloader(),
    }
    for name, loader in loaders.items():
        batches = [len(batch["label"] if name == "ours" else batch[1]) for batch in loader]
        values = times(lambda loader=loader: [None for _ in loader], rounds, warm_up=0)
        rates = [sum(batches) / value for value in values]
        plain = name == "plain loop"
        yield figure("throughput", "loading", name, "samples/s", rates, note=note, baseline=plain)


def _training(material: Material, rounds: int, epochs: int, note: str) -> Iterator[Figure]:
    (train, test), fold = sides(material, material.folds[0]), material.folds[0]
    samples = len(train) // material.cfg.model.batch_size * material.cfg.model.batch_size
    samples = samples or len(train)
    names = ("plain loop", "ours", "ours, one fold at a time", "arithmetic alone")
    found: dict[str, list[float]] = {name: [] for name in names}
    run_ours(material, 1, "auto")  # starts worker processes, which stay
    for _ in range(rounds):
        outcome = plain_loop.run_fold(
            plan(material, epochs), material.paths, material.dataset.labels, train, test
        )
        found["plain loop"].append(sum(outcome.epochs) / epochs)
        # Two runs that differ in their epochs alone: the difference is epochs and nothing else.
        long, short = run_ours(material, epochs, "auto"), run_ours(material, 1, "auto")
        together = (long.together - short.together) / len(material.folds)
        found["ours"].append(together / (epochs - 1))
        long, short = run_ours(material, epochs), run_ours(material, 1)
        alone = [one - other for one, other in zip(long.folds, short.folds, strict=True)]
        found["ours, one fold at a time"].append(float(np.median(alone)) / (epochs - 1))
        with fold_threads(material.cfg):
            found["arithmetic alone"].append(arithmetic.measure(material, fold, epochs).epoch)
    for name, values in found.items():
        rates = [samples / value for value in values]
        plain = name == "plain loop"
        yield figure("throughput", "training", name, "samples/s", rates, note=note, baseline=plain)
    yield ratio("throughput", "training", "ours", found["plain loop"], found["ours"])
    alone, bare = found["ours, one fold at a time"], found["arithmetic alone"]
    shares = [1 - one / other for one, other in zip(bare, alone, strict=True)]
    yield figure("throughput", "time outside the network", "ours", "share", shares)
