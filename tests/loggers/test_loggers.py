"""What loggers say of a run: by hand where numbers are made, read back where they are written."""

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from mer.config.composition import compose
from mer.data.dataset import UnifiedDataset
from mer.data.inputs import INPUTS
from mer.errors import MerError
from mer.loggers import make_observers
from mer.loggers.csv import CsvLogger
from mer.loggers.lightning import LightningLogger, markdown
from mer.loggers.logged_rows import LoggedRows
from mer.loggers.wandb import WandbLogger
from mer.runs import log_values
from mer.runs.observers import Progress, RunContext
from mer.runs.pictures import SIDE, choose, draw
from mer.training import runner
from tests.builders import Config, fails_after_one_fold
from tests.loggers.written_logs import events, scalars

pytest.importorskip("tensorboard")


def test_values_after_a_fold(tmp_path: Path) -> None:
    folder = tmp_path / "folds" / "b"
    folder.mkdir(parents=True)
    (folder / "metrics.csv").write_text("epoch,train/loss\n0,3.0\n1,1.5\n")
    record = {"fold": "b", "seconds": 3.5, "epochs": 2, "best_epoch": None}
    progress = Progress("b", 2, 9, record, {"svm": {"uf1": 0.4, "uar": 0.5}})
    assert log_values.running(tmp_path, progress) == {
        "folds/done": 2,
        "fold/seconds": 3.5,
        "fold/epochs": 2,
        "fold/train_loss": 1.5,
        "val/svm/uf1": 0.4,
        "val/svm/uar": 0.5,
    }


def test_lines_that_were_cut_off_are_no_obstacle(tmp_path: Path) -> None:
    path = tmp_path / "logged.jsonl"
    path.write_bytes(b'["a", "fold", 0]\n\xff\n["a", "fold", 1]\n["a", "fold", 2')
    first, second = LoggedRows(tmp_path, "a"), LoggedRows(tmp_path, "a")
    for rows in (first, second):
        assert [("fold", number) in rows for number in range(3)] == [True, True, False]
    first.add(("fold", 2))
    for rows in (first, second, LoggedRows(tmp_path, "a")):
        assert ("fold", 2) in rows and len(rows) == 3
    history = tmp_path / "history.csv"
    history.write_text("fold,done,seconds\r\na,1,3.5\r\nb,2")
    logger, run = CsvLogger(), cast("RunContext", SimpleNamespace(run_dir=tmp_path, heads=[]))
    logger.start(run)
    logger.fold(Progress("c", 3, 9, {"seconds": 2.5}, {}))
    logger.start(run)
    assert history.read_text().splitlines()[-2:] == ["b,2", "c,3,2.5"]


def scores(value: float) -> dict[str, Any]:
    """Scores of which each bound is 0.1 away."""
    names = ("uf1", "uar", "accuracy")
    bounds = {name: [value - 0.1, value + 0.1] for name in names}
    return {**dict.fromkeys(names, value), "intervals": bounds}


def test_final_numbers_have_one_key_each() -> None:
    result = {
        "status": "complete",
        "heads": {"svm": {"pooled": scores(0.5), "samm": scores(0.3)}},
        "validation": {"svm": {"pooled": scores(0.6)}},
        "seconds": 12.5,
        "cost": {"parameters": 100, "latency_ms": 2.5, "device": "cpu"},
    }
    final = log_values.final(result)
    assert final["test/svm/uf1"] == 0.5
    assert (final["test/svm/uf1_low"], final["test/svm/uf1_high"]) == (0.4, 0.6)
    assert final["test/svm/samm/accuracy"] == 0.3
    assert final["val/svm/uar"] == 0.6
    assert (final["seconds"], final["parameters"], final["latency_ms"]) == (12.5, 100, 2.5)
    assert len(final) == 3 * 9 + 3


def test_an_incomplete_run_has_no_final_number() -> None:
    assert log_values.final({"status": "incomplete", "folds": 3, "missing_folds": ["a"]}) == {}


def table() -> pd.DataFrame:
    """Five predictions; `sure` leads by 0.8, `half` by 0.3, and so on."""
    rows = [
        ("sure_wrong", "b", "a", 0.9, 0.1),  # by 0.8
        ("half_wrong", "b", "a", 0.6, 0.4),  # by 0.2
        ("sure_right", "b", "b", 0.05, 0.95),  # by 0.9
        ("half_right", "a", "a", 0.65, 0.35),  # by 0.3
        ("just_right", "a", "a", 0.55, 0.45),  # by 0.1
    ]
    columns = ["sample_id", "label", "softmax", "softmax_a", "softmax_b"]
    frame = pd.DataFrame(rows, columns=columns)
    return frame.assign(softmax_correct=frame["softmax"] == frame["label"])


@pytest.mark.parametrize(
    ("count", "expected"),
    [
        (2, ["sure_wrong", "sure_right"]),
        (4, ["sure_wrong", "half_wrong", "sure_right", "half_right"]),
        (9, ["sure_wrong", "half_wrong", "sure_right", "half_right", "just_right"]),
    ],
)
def test_examples_are_the_surest_wrong_and_right_predictions(
    count: int, expected: list[str]
) -> None:
    assert choose(table(), ["a", "b"], count)["sample_id"].tolist() == expected


def test_where_nothing_is_wrong_all_examples_are_right() -> None:
    right = table()[lambda frame: frame["softmax_correct"]]
    chosen = choose(right, ["a", "b"], 2)
    assert chosen["sample_id"].tolist() == ["sure_right", "half_right"]


def inputs(name: str) -> UnifiedDataset:
    """As much of a dataset as drawing needs."""
    return cast("UnifiedDataset", SimpleNamespace(kind=INPUTS[name](8).kind))


def test_pictures_show_what_the_channels_are() -> None:
    image = np.zeros((8, 8, 6), np.float32)
    image[..., :3] = (1.0, 0.5, 0.0)
    image[..., 3] = 2.0  # motion to the right, at full strength
    image[..., 5] = 0.25  # half of the strain at full strength
    drawn = draw(inputs("apex_flow"), image, (2.0, 0.5))
    assert drawn.shape == (SIDE, 3 * SIDE, 3)
    frame, flow, strain = (drawn[5, place * SIDE + 5].tolist() for place in range(3))
    assert frame == [255, 128, 0]
    assert flow == [255, 0, 0]  # red is right
    assert strain == [128, 128, 128]
    still = draw(inputs("difference"), np.zeros((8, 8, 3), np.float32), (1.0, 1.0))
    assert still[5, 5].tolist() == [128, 128, 128]


def test_something_that_cannot_be_logged_is_said(caplog: pytest.LogCaptureFixture) -> None:
    lost: list[str] = []
    with log_values.careful("W&B: tables", lost):
        raise OSError("disk full")
    assert lost == ["W&B: tables"]
    assert "W&B: tables could not be logged: OSError: disk full" in caplog.text
    with pytest.raises(KeyboardInterrupt), log_values.careful("W&B: tables", lost):
        raise KeyboardInterrupt


def test_confusion_as_markdown() -> None:
    assert markdown([[3, 1], [0, 2]], ["negative", "positive"]).splitlines() == [
        "| true \\ predicted | negative | positive |",
        "| --- | --- | --- |",
        "| negative | 3 | 1 |",
        "| positive | 0 | 2 |",
    ]


@pytest.fixture(scope="module")
def logged(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with `logger=tensorboard` that was interrupted after its first fold and finished."""
    run_dir = tmp_path_factory.mktemp("tensorboard") / "run"
    cfg = tiny_config("protocol.validation=0.3", "logger=tensorboard")
    with fails_after_one_fold(KeyboardInterrupt()), pytest.raises(KeyboardInterrupt):
        runner.run(cfg, run_dir, make_observers(cfg.logger))
    assert not scalars(run_dir).get("test/svm/uf1")
    runner.run(cfg, run_dir, make_observers(cfg.logger))
    return run_dir


def test_tensorboard_and_history_csv_hold_the_same_running_scores(logged: Path) -> None:
    history = pd.read_csv(logged / "history.csv")
    assert history["done"].tolist() == [1, 2, 3]
    written = scalars(logged)
    for key in ("svm_uf1", "svm_accuracy", "softmax_uar"):
        steps, values = zip(*written[f"val/{key.replace('_', '/')}"], strict=True)
        assert steps == (1, 2, 3, 3)  # the last one again, as the final score
        assert values[:3] == pytest.approx(history[key], abs=1e-6)
        assert values[3] == values[2]
    assert [value for _, value in written["fold/epochs"]] == [2, 2, 2]


def test_tensorboard_holds_the_final_scores_and_the_settings(logged: Path) -> None:
    from tensorboard.plugins.hparams import plugin_data_pb2

    metrics = json.loads((logged / "metrics.json").read_text())
    written = scalars(logged)
    svm = metrics["heads"]["svm"]
    assert written["test/svm/uf1"][0][1] == pytest.approx(svm["pooled"]["uf1"], abs=1e-6)
    low = svm["pooled"]["intervals"]["uar"][0]
    assert written["test/svm/uar_low"][0][1] == pytest.approx(low, abs=1e-6)
    assert written["test/svm/samm/uf1"][0][1] == pytest.approx(svm["samm"]["uf1"], abs=1e-6)
    contents = events(logged).PluginTagToContent("hparams")
    start = plugin_data_pb2.HParamsPluginData.FromString(
        contents["_hparams_/session_start_info"]
    ).session_start_info.hparams
    assert start["model.epochs"].number_value == 2
    assert start["backbone.name"].string_value == "test_efficientnet"
    assert not [key for key in start if key.startswith(("paths", "run", "logger"))]


def test_tensorboard_holds_mean_curves_by_epoch(logged: Path) -> None:
    values = [
        pd.read_csv(path)["train/loss"].dropna().to_numpy()
        for path in logged.glob("folds/*/metrics.csv")
    ]
    steps, written = zip(*scalars(logged)["curves/train/loss"], strict=True)
    assert steps == (0, 1)
    assert written == pytest.approx(np.mean(values, axis=0), abs=1e-5)


def test_tensorboard_holds_pictures_and_the_pooled_confusion(logged: Path) -> None:
    read = events(logged)
    images = read.Tags()["images"]
    assert len(images) == 8
    first = read.Images(images[0])[0]
    assert (first.width, first.height) == (2 * SIDE, SIDE)  # flow and strain
    metrics = json.loads((logged / "metrics.json").read_text())
    text = read.Tensors("confusion/svm/text_summary")[0].tensor_proto.string_val[0].decode()
    expected = markdown(metrics["heads"]["svm"]["pooled"]["confusion"], metrics["classes"])
    assert text == expected


def test_a_missing_package_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    (_, tensorboard) = make_observers(compose(["logger=tensorboard"]).logger)
    tensorboard.check()
    (_, mlflow) = make_observers(compose(["logger=mlflow"]).logger)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(MerError, match=r"package tensorboard.* pip install 'mer\[tensorboard\]'"):
        tensorboard.check()
    with pytest.raises(MerError, match=r"MLFlowLogger needs .* pip install mlflow"):
        mlflow.check()
    with pytest.raises(MerError, match=r"logger.aim._target_.*there is no package aim\. Install"):
        make_observers(compose(["logger=aim"]).logger)


@pytest.mark.parametrize(
    ("choice", "expected"),
    [
        ("none", set()),
        ("csv", {"csv"}),
        ("tensorboard", {"csv", "tensorboard"}),
        ("wandb", {"csv", "wandb"}),
        ("mlflow", {"csv", "mlflow"}),
        ("comet", {"csv", "comet"}),
        ("aim", {"csv", "aim"}),
        ("many", {"csv", "tensorboard", "wandb"}),
    ],
)
def test_every_choice_of_loggers_composes(choice: str, expected: set[str]) -> None:
    node = compose([f"logger={choice}"]).logger
    assert set(node) == expected
    if expected:
        assert isinstance(make_observers({"csv": node.csv})[0], CsvLogger)


@pytest.mark.parametrize(
    ("words", "meant"),
    [
        (["logger=wandb", "+logger@logger=tensorboard"], "logger=[wandb,tensorboard]"),
        (["logger=[wandb,mlflow]", "+logger@other=aim"], "logger=[wandb,mlflow,aim]"),
        (["+logger@logger=wandb"], "logger=[wandb]"),
        (["callbacks@callbacks=mine"], "callbacks=[svm_head,mine]"),
    ],
)
def test_a_second_logger_is_named_in_the_list(words: list[str], meant: str) -> None:
    with pytest.raises(MerError, match=re.escape(f"Type both at once: '{meant}'")):
        compose(words)


def test_comet_writes_an_archive_unless_it_is_asked_to_send(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    made = {}
    monkeypatch.setattr("mer.config.trust.build", lambda node, key: made.update(node))
    for words in ((), ("logger.comet.online=true",)):
        node = compose(["logger=comet", *words]).logger.comet
        (logger,) = make_observers({"comet": node})
        assert isinstance(logger, LightningLogger)
        logger._open(tmp_path)
        # Lightning's logger asks whether it `is False`, and then writes nothing at all.
        assert made["online"] is not False and bool(made["online"]) == bool(words)
        assert made["mode"] == "create" and not made["log_code"]


def test_words_may_be_numbers(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    words = [f"logger.wandb.{key}=2026" for key in ("project", "entity", "name", "group", "dir")]
    composed = compose(["logger=wandb", *words, "logger.wandb.tags=[1,pilot]"]).logger.wandb
    alone, none = {**composed, "tags": 7}, {**composed, "tags": None}
    for node, tags in ((composed, ["1", "pilot"]), (alone, ["7"]), (none, [])):
        (wandb,) = make_observers({"wandb": node})
        assert isinstance(wandb, WandbLogger)
        texts = (wandb.project, wandb.entity, wandb.name, wandb.group, wandb.dir)
        assert texts == ("2026",) * 5
        assert wandb.tags == tags and not wandb._problems()
    made = {}
    monkeypatch.setattr("mer.config.trust.build", lambda node, key: made.update(node))
    node = compose(["logger=mlflow", "logger.mlflow.experiment_name=2026"]).logger.mlflow
    (mlflow,) = make_observers({"mlflow": node})
    assert isinstance(mlflow, LightningLogger)
    mlflow._open(tmp_path)
    assert made["experiment_name"] == "2026"


def test_wandb_sends_nothing_by_default() -> None:
    assert compose(["logger=wandb"]).logger.wandb.mode == "offline"
