"""mer: micro-expression recognition with numbers that can be believed.

The names below are the public interface. Each is imported when it is first used, so `import mer`
takes no time:

    samples = mer.datasets.read("samm", "SAMM")
    store = mer.prepare_samples(samples, mer.Prepare(size=224), cache="cache")
    data = mer.UnifiedDataset.from_stores([store], "samm-5", mer.Input("flow", size=64))
    folds = mer.protocols.loso(data.table)
    run = mer.cross_validate(data, folds, heads=[mer.SVMHead(C=10)], run_dir="runs/samm")
    model = mer.load("runs/samm")
    model.predict("onset.png", "apex.png").label
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: Public name -> module that holds it; a module of the package stands for itself.
_PUBLIC = {
    "datasets": "mer.datasets",
    "protocols": "mer.protocols",
    "metrics": "mer.metrics",
    "synthetic": "mer.synthetic",
    "Augment": "mer.config.settings",
    "Backbone": "mer.config.settings",
    "Finetune": "mer.config.settings",
    "Flow": "mer.config.settings",
    "Input": "mer.config.settings",
    "Motion": "mer.config.settings",
    "Optimizer": "mer.config.settings",
    "Prepare": "mer.config.settings",
    "Pretrain": "mer.config.settings",
    "Trainer": "mer.config.settings",
    "Transfer": "mer.config.settings",
    "MerError": "mer.errors",
    "MERDataModule": "mer.data.datamodule",
    "MicroFinetuneModule": "mer.models.modules",
    "Run": "mer.runs.stored_run",
    "SVMHead": "mer.callbacks.svm_head",
    "UnifiedDataset": "mer.data.dataset",
    "ClipPrediction": "mer.deploy.prediction",
    "Prediction": "mer.deploy.prediction",
    "Predictor": "mer.deploy.predictor",
    "cross_validate": "mer.training.cross_validation",
    "load": "mer.deploy.loading",
    "load_run": "mer.runs.stored_run",
    "prepare_samples": "mer.data.sources",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from mer import datasets as datasets
    from mer import metrics as metrics
    from mer import protocols as protocols
    from mer import synthetic as synthetic
    from mer.callbacks.svm_head import SVMHead as SVMHead
    from mer.config.settings import Augment as Augment
    from mer.config.settings import Backbone as Backbone
    from mer.config.settings import Finetune as Finetune
    from mer.config.settings import Flow as Flow
    from mer.config.settings import Input as Input
    from mer.config.settings import Motion as Motion
    from mer.config.settings import Optimizer as Optimizer
    from mer.config.settings import Prepare as Prepare
    from mer.config.settings import Pretrain as Pretrain
    from mer.config.settings import Trainer as Trainer
    from mer.config.settings import Transfer as Transfer
    from mer.data.datamodule import MERDataModule as MERDataModule
    from mer.data.dataset import UnifiedDataset as UnifiedDataset
    from mer.data.sources import prepare_samples as prepare_samples
    from mer.deploy.loading import load as load
    from mer.deploy.prediction import ClipPrediction as ClipPrediction
    from mer.deploy.prediction import Prediction as Prediction
    from mer.deploy.predictor import Predictor as Predictor
    from mer.errors import MerError as MerError
    from mer.models.modules import MicroFinetuneModule as MicroFinetuneModule
    from mer.runs.stored_run import Run as Run
    from mer.runs.stored_run import load_run as load_run
    from mer.training.cross_validation import cross_validate as cross_validate


def __getattr__(name: str) -> Any:
    """Import a public name when it is first used (PEP 562)."""
    if name not in _PUBLIC:
        raise AttributeError(f"module 'mer' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    return module if _PUBLIC[name] == f"mer.{name}" else getattr(module, name)


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
