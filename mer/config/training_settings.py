"""Settings of macro-pretraining and of fine-tuning; see `mer.config.settings`."""

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
    made_by,
    settings,
)


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
    weights: StrictStr | None = None
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
        reads = self.motion is None or self.motion.real != "none"
        return self.enabled and self.weights is None and reads
