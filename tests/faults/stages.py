"""What is interrupted: a command, the moment when it is in the midst of its work, its result."""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from tests.faults.commands import Moment
from tests.faults.conftest import words

MICRO = "mer.models.modules:MicroFinetuneModule.training_step"


@dataclass(frozen=True)
class Stage:
    """A command that can be interrupted.

    Args:
        name: Of the stage.
        words: Folder of the samples -> the words after `mer`. Current folder: one for this command.
        moment: When the fault comes.
        result: Current folder -> what must be the same as without a fault.
        kept: What an interrupted command says.
        needs_run: Whether a finished run must be in `run`.
        writes: Whether it cannot do its work on a full or read-only disk.
    """

    name: str
    words: Callable[[Path], list[str]]
    moment: Moment
    result: Callable[[Path], str]
    kept: str
    needs_run: bool = False
    writes: bool = True


def predictions(folder: Path) -> str:
    """All that a run predicts, of test and validation persons, to the last bit."""
    paths = sorted([*folder.glob("run/folds/*/*.parquet"), *folder.glob("run/*.parquet")])
    return digest([pd.read_parquet(path).to_csv(index=False).encode() for path in paths])


def trials(folder: Path) -> str:
    """What the first trial of a search predicts; later ones may be drawn otherwise."""
    paths = sorted(folder.glob("search/0/predictions.parquet"))
    return digest([pd.read_parquet(path).to_csv(index=False).encode() for path in paths])


def digest(parts: list[bytes]) -> str:
    """SHA-256 of some bytes, of which there must be any."""
    assert parts
    return hashlib.sha256(b"\n".join(parts)).hexdigest()


def files(*patterns: str) -> Callable[[Path], str]:
    """The content of files, by patterns."""

    def read(folder: Path) -> str:
        paths = sorted(path for pattern in patterns for path in folder.glob(pattern))
        return digest([path.read_bytes() for path in paths if path.is_file()])

    return read


def verdict(folder: Path) -> str:
    """What an audit has found."""
    return json.dumps(json.loads((folder / "run" / "audit.json").read_text())["checks"])


def page(folder: Path) -> str:
    """Whether there is a report."""
    return str((folder / "run" / "report.html").read_text().endswith("</html>\n"))


def train(samples: Path) -> list[str]:
    return ["train", *words(samples)]


STAGES = [
    Stage(
        "synth",
        lambda _: ["synth", "preset=tiny", "out=corpora", "workers=1"],
        Moment("mer.synthetic.corpora:film_batch", 3),
        files(*(f"corpora/*/**/*.{ending}" for ending in ("jpg", "jpeg", "png", "bmp", "csv"))),
        "Complete corpora are kept",
    ),
    Stage(
        "prepare",
        lambda samples: [
            *("prepare", "data.preset=tiny", f"data.root={samples / 'corpora'}"),
            *("paths.cache=cache", "prepare.size=96", "prepare.workers=1"),
            *("data.micro.samm=null", "data.macro=null"),
        ],
        Moment("mer.prepare.build:Partial.write", 2),
        files("cache/prepared/*/frames.npy", "cache/prepared/*/flow.npy"),
        "Finished samples are kept",
    ),
    Stage(
        "macro",
        train,
        Moment("mer.models.modules:MacroPretrainModule.training_step", 2),
        predictions,
        "Finished epochs of macro-pretraining are kept",
    ),
    Stage("fold", train, Moment(MICRO, 4), predictions, "1 of 3 folds are done"),
    Stage(
        "processes",
        lambda samples: [*train(samples), "trainer.folds_at_once=2"],
        Moment(MICRO, 1),
        predictions,
        "of 3 folds are done",
    ),
    Stage(
        "trial",
        lambda samples: [
            *("train", "-m", "search=mobilevit_tpe", "search.dir=search", "search.n_trials=2"),
            *[word for word in words(samples) if not word.startswith("run.dir")],
            "protocol.validation=0.3",
        ],
        Moment(MICRO, 4),
        trials,
        "is queued again",
    ),
    Stage(
        "evaluate",
        lambda _: ["evaluate", "run"],
        Moment("mer.training.evaluate:_predict", 2),
        predictions,
        "as it was",
        needs_run=True,
        writes=False,
    ),
    Stage(
        "export",
        lambda _: ["export", "run", "--out", "model.onnx"],
        Moment("mer.deploy.model_files:write_onnx"),
        files("model.onnx"),
        "as it was",
        needs_run=True,
    ),
    Stage(
        "report",
        lambda _: ["report", "run", "--quick"],
        Moment("mer.report.run_page:_calibration"),
        page,
        "as it was",
        needs_run=True,
    ),
    Stage(
        "audit",
        lambda _: ["audit", "run"],
        Moment("mer.audit.artefacts:Artefacts.weights"),
        verdict,
        "Folds that --null has finished are kept",
        needs_run=True,
        writes=False,
    ),
]
