"""Settings of a run as dataclasses.

The classes mirror the tree of `conf/`: `Settings.model.transfer.blocks` is the key
`model.transfer.blocks`. Defaults are those of `conf/` (a test compares them), and the comments of
`conf/` explain every key. Functions below `mer.training.runner` take these objects, so they can be
called without Hydra; `mer.config.conversion` reads them from a composed configuration.
"""

from typing import Annotated, Any, Literal

from pydantic import Field, StrictBool, StrictStr

from mer.config.validation import (
    Count,
    NotNegative,
    Number,
    Pair,
    Positive,
    Probability,
    Share,
    Whole,
    made_by,
    settings,
)

Side = Annotated[int, Field(strict=True, ge=1, le=1024)]
Workers = Annotated[int, Field(strict=True, ge=0, le=1024)]


@settings
class Optimizer:
    """Optimizer and learning-rate schedule."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: NotNegative = 2
    kwargs: dict[str, Any] = made_by(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")


@settings
class Transfer:
    """Which blocks fine-tuning takes over from macro-pretraining, and how others join them."""

    blocks: StrictStr | list[StrictStr] | None = "auto"
    insertion: Literal["random", "gate", "residual"] = "gate"
    freeze: StrictStr | list[StrictStr] | None = made_by(list)
    input_stats: Literal["fold", "macro"] = "fold"
    lr_scale: NotNegative = 1.0


@settings
class Augment:
    """Augmentation of training samples, see `mer.data.augmentation`."""

    flip: Probability = 0.5
    shift: Share = 0.05
    scale: Share = 0.05
    rotate: Annotated[Number, Field(ge=0, le=180)] = 5.0
    gain: Probability = 0.1
    offset: Probability = 0.1
    noise: NotNegative = 0.02
    transforms: list[dict[str, Any]] = made_by(list)


ClassWeights = Literal["balanced"] | list[Positive] | None


@settings
class Finetune:
    """Micro fine-tuning: one network per fold."""

    epochs: Count = 30
    batch_size: Pair = 32
    class_weights: ClassWeights = "balanced"
    label_smoothing: Share = 0.1
    loss: dict[str, Any] | None = None
    dropout: Share = 0.2
    optimizer: Optimizer = made_by(Optimizer)
    transfer: Transfer = made_by(Transfer)
    augment: Augment | None = made_by(Augment)
    augment_draws: Count | None = None


@settings
class Motion:
    """Synthetic motion as macro samples; see `mer.synthetic.motion_fields`."""

    real: Literal["none", "after", "mixed"] = "none"
    samples: Count = 102400
    batch_size: Pair = 128
    layout: Literal["auto", "aligned", "megc2019", "both"] = "auto"
    free: Share = 0.3
    shares: dict[str, Positive] | None = None
    units_weight: NotNegative = 4.0


@settings
class Pretrain:
    """Macro-pretraining: one network for all folds."""

    labels: dict[str, Any] = made_by(dict)
    enabled: StrictBool = True
    network: Literal["auto", "mobilenetv2", "whole"] = "auto"
    motion: Motion | None = None
    validation: Share = 0.2
    epochs: Count = 25
    batch_size: Pair = 32
    devices: Count = 1
    class_weights: ClassWeights = "balanced"
    label_smoothing: Share = 0.0
    loss: dict[str, Any] | None = None
    dropout: Share = 0.1
    optimizer: Optimizer = made_by(lambda: Optimizer(lr=2e-3))
    augment: Augment | None = made_by(Augment)

    @property
    def reads_datasets(self) -> bool:
        """Whether macro datasets take part."""
        return self.enabled and (self.motion is None or self.motion.real != "none")


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
class DIS:
    """Dense inverse search (OpenCV)."""

    smooth: NotNegative = 1.5
    finest_scale: Whole = 1
    patch_size: Count = 8
    patch_stride: Count = 3
    refinements: Whole = 20
    smoothness: NotNegative = 40.0


@settings
class Farneback:
    """Polynomial expansion (OpenCV)."""

    smooth: NotNegative = 0.0
    levels: Count = 3
    pyramid_scale: Annotated[Number, Field(gt=0, lt=1)] = 0.5
    window: Count = 21
    iterations: Count = 5
    neighbourhood: Count = 5
    sigma: Positive = 1.1


@settings
class TVL1:
    """Total variation with an L1 data term."""

    smooth: NotNegative = 1.0
    weight: Positive = 0.05
    scales: Count = 3
    warps: Count = 2
    iterations: Count = 24


@settings
class Flow:
    """Optical flow from onset to apex, by a built-in method or an own function."""

    method: Literal["dis", "farneback", "tvl1"] | None = "dis"
    stabilise: StrictBool = True
    face_only: StrictBool = True
    dis: DIS = made_by(DIS)
    farneback: Farneback = made_by(Farneback)
    tvl1: TVL1 = made_by(TVL1)
    kwargs: dict[str, Any] = made_by(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")

    @property
    def used(self) -> str | None:
        """Name of the method, or of an own function; None for no flow."""
        return None if self.method is None else self.target or self.method


@settings
class Prepare:
    """From pictures to aligned faces and optical flow."""

    faces: Literal["landmarks", "as_is"] = "landmarks"
    size: Annotated[int, Field(strict=True, ge=32, le=1024)] = 224
    margin: Annotated[Number, Field(ge=-0.3, le=2)] = 0.15
    confidence: Probability = 0.5
    min_face: Whole = 60
    flow: Flow = made_by(Flow)
    array_channels: list[Literal["strain", "u", "v"]] = made_by(lambda: ["strain", "v", "u"])
    workers: Workers | None = None


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
    preset: StrictStr | None = None
    micro: dict[str, dict[str, Any] | None] = made_by(dict)
    macro: dict[str, dict[str, Any] | None] | None = made_by(dict)
    distinct: list[Annotated[list[StrictStr], Field(min_length=2, max_length=2)]] = made_by(list)


@settings
class Trial:
    """Number of a trial; null in a run that is no trial."""

    number: Whole | None = None


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
    paths: Paths = made_by(Paths)
    run: RunDirectory = made_by(RunDirectory)
