"""Settings of a run as dataclasses: types and ranges are checked as they are made.

The classes mirror the tree of `conf/`: `Settings.model.transfer.blocks` is the key
`model.transfer.blocks`. Defaults are those of `conf/` (a test compares them), and the comments of
`conf/` explain every key. `read` turns a composed configuration into `Settings`; it reports every
wrong value and every unknown key at once, and imports neither torch nor Lightning. Functions below
`mer.training.runner` take these objects, so they can be called without Hydra.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from typing import Annotated, Any, Literal, TypeVar, dataclass_transform

from pydantic import ConfigDict, Field, StrictBool, StrictStr, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from mer.config.sentences import sentences
from mer.errors import raise_all

T = TypeVar("T")

Count = Annotated[int, Field(strict=True, ge=1)]
Pair = Annotated[int, Field(strict=True, ge=2)]
Whole = Annotated[int, Field(strict=True, ge=0)]
Number = Annotated[float, Field(strict=True, allow_inf_nan=False)]
NotNegative = Annotated[Number, Field(ge=0)]
Positive = Annotated[Number, Field(gt=0)]
Share = Annotated[Number, Field(ge=0, lt=1)]
Probability = Annotated[Number, Field(ge=0, le=1)]


@dataclass_transform(frozen_default=True, field_specifiers=(Field,))
def settings(cls: type[T]) -> type[T]:
    """Make a frozen, validated dataclass whose constructor raises `MerError`."""
    made: Any = dataclass(
        frozen=True,
        config=ConfigDict(extra="forbid", validate_by_name=True, validate_by_alias=True),
    )(cls)
    construct: Callable[..., None] = made.__init__

    def init(self: Any, *args: Any, **kwargs: Any) -> None:
        names = [one.name for one in fields(made)]
        try:
            construct(self, **dict(zip(names, args, strict=False)), **kwargs)
        except ValidationError as error:
            problems = sentences(error, keys(made))
            raise_all(f"{cls.__name__} cannot be used:", problems)

    made.__init__ = init
    return made


def _made(kind: Callable[[], Any]) -> Any:
    return Field(default_factory=kind)


@settings
class Optimizer:
    """Optimizer and learning-rate schedule."""

    name: Literal["adamw", "adam", "sgd"] = "adamw"
    lr: Positive = 1e-3
    weight_decay: NotNegative = 0.05
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup_epochs: NotNegative = 2
    kwargs: dict[str, Any] = _made(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")


@settings
class Transfer:
    """Which blocks fine-tuning takes over from macro-pretraining, and how they learn."""

    blocks: StrictStr | list[StrictStr] | None = "auto"
    freeze: StrictStr | list[StrictStr] | None = _made(list)
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
    transforms: list[dict[str, Any]] = _made(list)


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
    optimizer: Optimizer = _made(Optimizer)
    transfer: Transfer = _made(Transfer)
    augment: Augment | None = _made(Augment)
    augment_draws: Count | None = None


@settings
class Pretrain:
    """Macro-pretraining: one network for all folds."""

    labels: dict[str, Any] = _made(dict)
    enabled: StrictBool = True
    validation: Share = 0.2
    epochs: Count = 25
    batch_size: Pair = 32
    devices: Count = 1
    class_weights: ClassWeights = "balanced"
    label_smoothing: Share = 0.0
    loss: dict[str, Any] | None = None
    dropout: Share = 0.1
    optimizer: Optimizer = _made(lambda: Optimizer(lr=2e-3))
    augment: Augment | None = _made(Augment)


@settings
class SVMGrid:
    """Candidates for the SVM inside each fold."""

    C: Annotated[list[Positive], Field(min_length=1)] = _made(lambda: [0.1, 1.0, 10.0])
    gamma: Annotated[list[Literal["scale", "auto"] | Positive], Field(min_length=1)] = _made(
        lambda: ["scale", 0.001, 0.01]
    )
    kernel: Annotated[list[Literal["rbf", "linear", "poly"]], Field(min_length=1)] = _made(
        lambda: ["rbf", "linear"]
    )


@settings
class InnerChoices:
    """Choices inside each fold, by cross-validation over its training persons."""

    n_splits: Pair | None = None
    choose: Annotated[list[Literal["epochs", "svm", "thresholds"]], Field(min_length=1)] = _made(
        lambda: ["epochs", "svm"]
    )
    svm: SVMGrid = _made(SVMGrid)
    offsets: Annotated[list[Number], Field(min_length=1)] = _made(
        lambda: [-1.0, -0.5, 0.0, 0.5, 1.0]
    )


@settings
class Protocol:
    """Who trains, who validates and who is tested."""

    name: Literal[
        "loso", "loso_per_dataset", "holdout_dataset", "group_kfold", "random_samples", "custom"
    ] = "loso"
    validation: Share = 0.0
    n_splits: Pair | None = None
    folds: StrictStr | list[StrictStr] | None = None
    inner: InnerChoices = _made(InnerChoices)


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
    size: Count = 64
    center: Literal["median", "none"] = "median"
    cache_gb: NotNegative = 8
    kwargs: dict[str, Any] = _made(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")


@settings
class Backbone:
    """A timm network by its name, or an own class."""

    name: StrictStr = "mobilevit_xxs"
    pretrained: StrictBool = False
    weights: StrictStr | None = None
    kwargs: dict[str, Any] = _made(dict)
    target: StrictStr | None = Field(default=None, alias="_target_")


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
    dis: DIS = _made(DIS)
    farneback: Farneback = _made(Farneback)
    tvl1: TVL1 = _made(TVL1)
    kwargs: dict[str, Any] = _made(dict)
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
    flow: Flow = _made(Flow)
    array_channels: list[Literal["strain", "u", "v"]] = _made(lambda: ["strain", "v", "u"])
    workers: Whole | None = None


@settings
class Trainer:
    """Device, precision and speed; `options` are further arguments of Lightning's Trainer."""

    accelerator: Literal["auto", "cpu", "gpu", "cuda", "mps", "tpu"] = "auto"
    devices: Count | list[Whole] | Literal["auto"] = 1
    threads: Count | None = 1
    folds_at_once: Count | Literal["auto"] = "auto"
    precision: Literal["32-true", "bf16-mixed", "16-mixed", "bf16-true", "16-true", "64-true"] = (
        "32-true"
    )
    deterministic: Literal["warn"] | StrictBool = "warn"
    enable_progress_bar: StrictBool = True
    enable_model_summary: StrictBool = False
    num_sanity_val_steps: Annotated[int, Field(strict=True, ge=-1)] = 0
    log_every_n_steps: Count = 1000000
    num_workers: Whole = 0
    pin_memory: StrictBool = False
    options: dict[str, Any] = _made(dict)


#: Arguments of Lightning's Trainer that `+trainer.NAME=` may add.
LIGHTNING = (
    "accumulate_grad_batches",
    "barebones",
    "benchmark",
    "detect_anomaly",
    "fast_dev_run",
    "gradient_clip_algorithm",
    "gradient_clip_val",
    "limit_predict_batches",
    "limit_train_batches",
    "limit_val_batches",
    "max_steps",
    "max_time",
    "overfit_batches",
    "plugins",
    "profiler",
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


@settings
class Data:
    """Which datasets, and where; `micro` and `macro` map a name to `root` and reader options."""

    name: StrictStr = "synthetic"
    root: StrictStr = "data"
    generate: StrictBool = False
    check_counts: StrictBool = True
    preset: StrictStr | None = None
    micro: dict[str, dict[str, Any] | None] = _made(dict)
    macro: dict[str, dict[str, Any] | None] | None = _made(dict)


@settings
class Trial:
    """Number of a trial; null in a run that is no trial."""

    number: Whole | None = None


@settings
class Paths:
    """Folders that runs share."""

    cache: StrictStr = "cache"


@settings
class RunDirectory:
    """Where the run directory is."""

    dir: StrictStr = "runs/run"


Objective = Literal["uf1", "uar", "accuracy", "parameters", "latency_ms"]


@settings
class Settings:
    """Everything that `mer train` is told, one attribute per group of `conf/`."""

    data: Data = _made(Data)
    labels: dict[str, Any] = _made(dict)
    protocol: Protocol = _made(Protocol)
    input: Input = _made(Input)
    prepare: Prepare = _made(Prepare)
    backbone: Backbone = _made(Backbone)
    model: Finetune = _made(Finetune)
    macro: Pretrain = _made(Pretrain)
    callbacks: dict[str, dict[str, Any] | None] = _made(dict)
    trainer: Trainer = _made(Trainer)
    logger: dict[str, dict[str, Any] | None] | None = _made(dict)
    seed: Whole = 0
    selection: Literal["last", "validation", "oracle"] = "last"
    objective: Objective | list[Objective] = "uf1"
    reuse_networks: StrictBool = False
    search: dict[str, Any] | None = None
    trial: Trial = _made(Trial)
    paths: Paths = _made(Paths)
    run: RunDirectory = _made(RunDirectory)


#: Settings of callbacks that are checked before their module is imported.
CALLBACKS = {"mer.callbacks.svm_head.SVMHead": SVM}


def read(config: Mapping[str, Any]) -> Settings:
    """Turn a configuration into settings.

    Args:
        config: Plain values, every interpolation resolved (`mer.config.composition.to_plain`).

    Raises:
        MerError: With every wrong value and every unknown key.
    """
    plain = {**config, "trainer": _with_options(config.get("trainer"))}
    problems: list[str] = []
    made = Settings()
    try:
        made = TypeAdapter(Settings).validate_python(plain)
    except ValidationError as error:
        problems += sentences(error, [*keys(Settings), *(f"trainer.{one}" for one in LIGHTNING)])
    for name, node in (config.get("callbacks") or {}).items():
        kind = CALLBACKS.get((node or {}).get("_target_", ""))
        if kind is None:
            continue
        try:
            TypeAdapter(kind).validate_python(node)
        except ValidationError as error:
            known = [f"callbacks.{name}.{key}" for key in keys(kind)]
            problems += sentences(error, known, f"callbacks.{name}")
    raise_all("The configuration cannot be used:", problems)
    return made


def updated(made: T, changes: Mapping[str, Any], prefix: str) -> T:
    """Change some settings of an object, inner ones included.

    Args:
        made: Settings, which stay as they are.
        changes: Key -> value, or a mapping of inner keys.
        prefix: Dotted key of `made`, for messages.

    Raises:
        MerError: With every wrong value and every unknown key.
    """
    try:
        return TypeAdapter(type(made)).validate_python(_merged(to_plain(made), changes))
    except ValidationError as error:
        known = [f"{prefix}.{key}" for key in keys(type(made))]
        raise_all("The settings cannot be used:", sentences(error, known, prefix))
        raise


def without_cache(made: Input) -> dict[str, Any]:
    """What decides the values of an input, as plain values."""
    plain: dict[str, Any] = to_plain(made)
    return {key: value for key, value in plain.items() if key != "cache_gb"}


def to_plain(made: Any) -> Any:
    """Turn settings back into plain values, under the keys of `conf/`."""
    if is_dataclass(made):
        plain = {_key(one): to_plain(getattr(made, one.name)) for one in fields(made)}
        if isinstance(made, Trainer):
            plain |= plain.pop("options")
        if plain.get("_target_", "") is None:
            del plain["_target_"]
            if not isinstance(made, Backbone) and not plain["kwargs"]:
                del plain["kwargs"]
        return plain
    if isinstance(made, dict):
        return {key: to_plain(value) for key, value in made.items()}
    return [to_plain(value) for value in made] if isinstance(made, list) else made


def keys(kind: Any, prefix: str = "") -> Iterator[str]:
    """Yield every dotted key of a settings class, inner ones included."""
    for one in fields(kind):
        key = prefix + _key(one)
        yield key
        factory = getattr(one.default, "default_factory", None)
        default = factory() if factory else None
        if is_dataclass(default):
            yield from keys(type(default), f"{key}.")


def _merged(old: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], value)
        if isinstance(value, Mapping) and isinstance(old.get(key), dict)
        else value
        for key, value in changes.items()
    }
    return {**old, **both}


def _key(one: Any) -> str:
    """Name of a field in `conf/`."""
    return str(getattr(one.default, "alias", None) or one.name)


def _with_options(trainer: Any) -> Any:
    """Move what is Lightning's own into `options`."""
    if not isinstance(trainer, Mapping):
        return {} if trainer is None else trainer
    own = {key: value for key, value in trainer.items() if key not in LIGHTNING}
    return {**own, "options": {key: trainer[key] for key in trainer if key in LIGHTNING}}
