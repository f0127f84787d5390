"""Settings of a run as dataclasses.

The classes mirror the tree of `conf/`: `Settings.model.transfer.blocks` is the key
`model.transfer.blocks`. Defaults are those of `conf/` (a test compares them), and the comments of
`conf/` explain every key. Functions below `mer.training.runner` take these objects, so they can be
called without Hydra; `mer.config.conversion` reads them from a composed configuration. Every class
can be imported from here.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from mer.config.prepare_settings import DIS as DIS
from mer.config.prepare_settings import TVL1 as TVL1
from mer.config.prepare_settings import Farneback as Farneback
from mer.config.prepare_settings import Flow as Flow
from mer.config.prepare_settings import Prepare as Prepare
from mer.config.training_settings import Augment as Augment
from mer.config.training_settings import Finetune as Finetune
from mer.config.training_settings import Motion as Motion
from mer.config.training_settings import Optimizer as Optimizer
from mer.config.training_settings import Pretrain as Pretrain
from mer.config.training_settings import Transfer as Transfer
from mer.config.validation import (
    Count,
    NotNegative,
    Number,
    Pair,
    Positive,
    Share,
    Whole,
    Workers,
    made_by,
    settings,
)

Side = Annotated[int, Field(strict=True, ge=1, le=1024)]


@settings
class SVMGrid:
    """Candidates for the SVM inside each fold."""

    C: Annotated[list[Positive], Field(min_length=1)] = made_by(lambda: [0.1, 1.0, 10.0])
    gamma: Annotated[list[Literal["scale", "auto"] | Positive], Field(min_length=1)] = made_by(
        lambda: ["scale", 0.001, 0.01]
    )
    kernel: Annotated[list[Literal["rbf", "linear", "poly"]], Field(min_length=1)] = made_by(
        lambda: ["rbf", "linear"]
    )


@settings
class InnerChoices:
    """Choices inside each fold, by cross-validation over its training persons."""

    n_splits: Pair | None = None
    choose: Annotated[
        list[Literal["pipeline", "epochs", "svm", "thresholds"]], Field(min_length=1)
    ] = made_by(lambda: ["epochs", "svm"])
    pipelines: dict[StrictStr, dict[str, Any]] = made_by(dict)
    svm: SVMGrid = made_by(SVMGrid)
    offsets: Annotated[list[Number], Field(min_length=1)] = made_by(
        lambda: [-1.0, -0.5, 0.0, 0.5, 1.0]
    )


@settings
class Protocol:
    """Persons of each side: training, validation and test."""

    name: Literal[
        "loso",
        "loso_per_dataset",
        "holdout_dataset",
        "group_kfold",
        "random_samples",
        "all",
        "custom",
    ] = "loso"
    like: StrictStr | None = None
    validation: Share = 0.0
    n_splits: Pair | None = None
    folds: StrictStr | list[StrictStr] | None = None
    inner: InnerChoices = made_by(InnerChoices)


@settings
class Input:
    """What the network sees of a sample: a built-in input by its name, or an own class.

    >>> Input("flow", size=32).center
    'median'
    >>> Input("flow", size=0)
    Traceback (most recent call last):
        ...
    mer.errors.MerError: Input cannot be used:
      - size is 0; set 1 or more
    """

    name: StrictStr = "flow"
    size: Side = 64
    center: Literal["median", "none"] = "median"
    scale: Literal["none", "joint", "channel"] = "none"
    blur: NotNegative = 0.0
    cache_gb: NotNegative = 8
    kwargs: dict[str, Any] = made_by(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")


@settings
class Backbone:
    """A timm network by its name, or an own class."""

    name: StrictStr = "mobilevit_xxs"
    pretrained: StrictBool = False
    weights: StrictStr | None = None
    kwargs: dict[str, Any] = made_by(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")

    @property
    def has_weights(self) -> bool:
        """Whether it starts from weights of its own."""
        return self.pretrained or self.weights is not None


@settings
class Trainer:
    """Device, precision and speed; `options` are further arguments of Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: Count | list[Whole] | Literal["auto"] = 1
    threads: Annotated[int, Field(strict=True, ge=1, le=1024)] | None = 1
    folds_at_once: Count | Literal["auto"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"] = (
        "32-true"
    )
    deterministic: Literal["warn"] | StrictBool = "warn"
    enable_progress_bar: StrictBool = True
    enable_model_summary: StrictBool = False
    num_sanity_val_steps: Annotated[int, Field(strict=True, ge=-1)] = 0
    log_every_n_steps: Count = 1000000
    num_workers: Workers = 0
    pin_memory: StrictBool = False
    options: dict[str, Any] = made_by(dict)


#: Keys of `trainer` that say where and how fast, not what; the others (precision, limits) decide.
MACHINE = (
    "accelerator",
    "devices",
    "strategy",
    "num_nodes",
    "num_workers",
    "folds_at_once",
    "pin_memory",
    "enable_progress_bar",
    "enable_model_summary",
    "log_every_n_steps",
)


@settings
class SVM:
    """The SVM head, as `mer.callbacks.svm_head.SVMHead` takes it."""

    target: StrictStr = Field(default="mer.callbacks.svm_head.SVMHead", alias="_target_")
    name: StrictStr = "svm"
    kernel: Literal["rbf", "linear", "poly"] = "rbf"
    C: Positive = 1.0
    gamma: Literal["scale", "auto"] | Positive = "scale"
    class_weight: Literal["balanced"] | None = "balanced"
    standardise: StrictBool = True
    normalise: StrictBool = False
    degree: Count = 3
    coef0: Number = 0.0
    sources: Annotated[list[StrictStr | dict[str, Any]], Field(min_length=1)] = made_by(
        lambda: ["embedding"]
    )
    decision: Literal["votes", "margins"] = "votes"


@settings
class Data:
    """Which datasets, and where; `micro` and `macro` map a name to `root` and reader options."""

    name: StrictStr = "synthetic"
    root: StrictStr = "data"
    generate: StrictBool = False
    check_counts: StrictBool = True
    strict: StrictBool = False
    preset: StrictStr | None = None
    micro: dict[str, dict[str, Any] | None] = made_by(dict)
    macro: dict[str, dict[str, Any] | None] | None = made_by(dict)
    distinct: list[Annotated[list[StrictStr], Field(min_length=2, max_length=2)]] = made_by(list)

    def nodes(self, *roles: str) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Role, name and node of each dataset of some roles that is not switched off."""
        for role in roles:
            for name, node in (getattr(self, role) or {}).items():
                if node is not None:
                    yield role, name, node

    def path_of(self, node: Mapping[str, Any]) -> Path:
        """Where a dataset is to be, by its node."""
        return Path(self.root, str(node.get("root", ""))).expanduser()


@settings
class Trial:
    """What a sweep says of its runs; see `mer.runs.choice`."""

    number: Whole | None = None
    varied: list[StrictStr] = made_by(list)
    test: StrictBool = False


@settings
class Debug:
    """A run on few samples, which shows whether everything works and has no score to report.

    `persons` of each dataset are taken, at most `samples` of each class from each. With `overfit`
    the trained network has to know all of them.
    """

    name: StrictStr = "fast"
    persons: Count = 2
    samples: Count = 2
    motion: Count = 512
    overfit: StrictBool = False


FolderName = Annotated[StrictStr, Field(min_length=1)]


@settings
class Paths:
    """Folders that runs share."""

    cache: FolderName = "cache"


@settings
class RunDirectory:
    """Where the run directory is."""

    dir: FolderName = "runs/run"


Objective = Literal["uf1", "uar", "accuracy", "parameters", "latency_ms"]


@settings
class Settings:
    """All settings of `mer train`, one attribute per group of `conf/`."""

    data: Data = made_by(Data)
    labels: dict[str, Any] = made_by(dict)
    protocol: Protocol = made_by(Protocol)
    input: Input = made_by(Input)
    prepare: Prepare = made_by(Prepare)
    backbone: Backbone = made_by(Backbone)
    model: Finetune = made_by(Finetune)
    macro: Pretrain = made_by(Pretrain)
    callbacks: dict[str, dict[str, Any] | None] = made_by(dict)
    trainer: Trainer = made_by(Trainer)
    logger: dict[str, dict[str, Any] | None] | None = made_by(dict)
    seed: Annotated[Whole, Field(le=2**32 - 1)] = 0
    selection: Literal["last", "validation", "oracle"] = "last"
    objective: Objective | Annotated[list[Objective], Field(min_length=1)] = "uf1"
    baseline: Literal["pixels"] | None = "pixels"
    reuse_networks: StrictBool = False
    search: dict[str, Any] | None = None
    trial: Trial = made_by(Trial)
    debug: Debug | None = None
    paths: Paths = made_by(Paths)
    run: RunDirectory = made_by(RunDirectory)
