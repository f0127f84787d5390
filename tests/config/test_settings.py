"""Settings: defaults, types, ranges, and the sentences for what is wrong with them."""

import inspect
import subprocess
import sys
from typing import Any

import pytest
import pytorch_lightning as pl

from mer.config import conversion
from mer.config.composition import compose, to_plain
from mer.config.settings import Augment, Backbone, Input, Optimizer, Settings, Trainer
from mer.errors import MerError

#: Groups whose default in `conf/` is a file of its own, with paths and datasets in it.
FILES = ("data", "labels", "macro.labels", "callbacks", "logger", "run", "paths")


def flat(node: Any, prefix: str = "") -> dict[str, Any]:
    if not isinstance(node, dict) or not node:
        return {prefix: node}
    return {
        key: value
        for name, inner in node.items()
        for key, value in flat(inner, f"{prefix}.{name}" if prefix else name).items()
    }


def test_defaults_of_the_classes_are_those_of_the_configuration_files() -> None:
    files, classes = flat(to_plain(compose([]))), flat(conversion.to_plain(Settings()))
    kept = {
        key
        for key in {*files, *classes}
        if not any(key == name or key.startswith(f"{name}.") for name in FILES)
    }
    missing = {key for key in kept if key not in files}
    assert missing == {"protocol.n_splits", "search", "debug"}, (
        "null where a file does not name them"
    )
    assert {key: classes[key] for key in kept - missing} == {
        key: files[key] for key in kept - missing
    }


@pytest.mark.parametrize(
    "words",
    [
        [],
        ["protocol=group_kfold", "callbacks=none", "logger=none", "model.augment=null"],
        ["trainer=gpu", "+trainer.max_steps=3", "trainer.devices=[0,1]", "labels=casme2-5"],
        ["search=optuna", "objective=[uf1,latency_ms]", "model.transfer.blocks=[all]"],
    ],
)
def test_a_configuration_read_and_written_is_the_same(words: list[str]) -> None:
    config = to_plain(compose(words))
    written = conversion.to_plain(conversion.read(config))
    for key in ("n_splits",):
        if key not in config["protocol"]:
            assert written["protocol"].pop(key) is None
    for key in {"search", "debug"} - config.keys():
        assert written.pop(key) is None
    assert written == config


@pytest.mark.parametrize(
    ("word", "sentence"),
    [
        ("model.epochs=2.5", "model.epochs is 2.5; set a whole number"),
        ("model.epochs=0", "model.epochs is 0; set 1 or more"),
        ("model.batch_size=1", "model.batch_size is 1; set 2 or more"),
        ("model.label_smoothing=1", "model.label_smoothing is 1; set a number below 1"),
        ("model.dropout=-0.1", "model.dropout is -0.1; set 0 or more"),
        ("model.optimizer.lr=0", "model.optimizer.lr is 0; set a number above 0"),
        ("model.optimizer.name=lion", "model.optimizer.name is lion; set adamw, adam or sgd"),
        (
            "model.class_weights=false",
            "model.class_weights is false; set balanced or a list or null",
        ),
        (
            "model.transfer.input_stats=both",
            "model.transfer.input_stats is both; set fold or macro",
        ),
        (
            "model.transfer.insertion=later",
            "model.transfer.insertion is later; set random, gate or residual",
        ),
        ("macro.network=mobile", "macro.network is mobile; set auto, mobilenetv2 or whole"),
        ("macro.enabled=maybe", "macro.enabled is maybe; set true or false"),
        ("trainer.precision=bf17", "trainer.precision is bf17; set 32-true, bf16-mixed, 16-mixed"),
        ("trainer.folds_at_once=0", "trainer.folds_at_once is 0; set 1 or more or auto"),
        ("trainer.threads=0", "trainer.threads is 0; set 1 or more"),
        ("input.size=0", "input.size is 0; set 1 or more"),
        ("input.size=big", "input.size is big; set a whole number"),
        ("seed=-1", "seed is -1; set 0 or more"),
        ("selection=best", "selection is best; set last, validation or oracle"),
        ("protocol.validation=1", "protocol.validation is 1; set a number below 1"),
        ("prepare.size=2000", "prepare.size is 2000; set 1024 or less"),
        ("prepare.flow.method=raft", "prepare.flow.method is raft; set dis, farneback or tvl1"),
        ("callbacks.svm_head.C=-1", "callbacks.svm_head.C is -1; set a number above 0"),
        ("callbacks.svm_head.gamma=wide", "callbacks.svm_head.gamma is wide; set scale or auto or"),
        ("objective=[uf1,f2]", "objective.1 is f2; set uf1, uar, accuracy, parameters"),
        ("model.epochs=006", "model.epochs is 006; set a whole number"),
        ("seed=4294967296", "seed is 4294967296; set 4294967295 or less"),
        ("objective=[]", "objective is []; set uf1, uar, accuracy, parameters or latency_ms or a"),
        ("run.dir=''", "run.dir is empty; set text of 1 or more characters"),
        ("protocol=nan", "protocol=nan: protocol takes one of all, group_kfold, holdout_dataset"),
        ("backbone=null", "backbone=null: backbone takes one of dual_inception, efficientvit_b0"),
        ("hydra=null", "hydra=null: a group takes a name"),
        ("+=", "+=: there is no key in it; type KEY=VALUE"),
        ("+model.epoch=3", "model.epoch: there is no such key (closest: model.epochs"),
        ("+foo=1", "foo: there is no such key (on the top level: data, labels"),
        ("+trainer.max_stepz=1", "trainer.max_stepz: there is no such key (closest: trainer.max_s"),
    ],
)
def test_a_wrong_value_is_one_sentence(word: str, sentence: str) -> None:
    with pytest.raises(MerError) as error:
        conversion.read(to_plain(compose([word])))
    assert f"\n  - {sentence}" in str(error.value)
    assert str(error.value).count("\n") == 1


def test_all_wrong_values_are_reported_at_once() -> None:
    words = ["model.epochs=0", "seed=-1", "callbacks.svm_head.C=0", "+foo=1"]
    with pytest.raises(MerError) as error:
        conversion.read(to_plain(compose(words)))
    assert str(error.value).count("\n  - ") == 4


def test_a_class_checks_what_it_is_given() -> None:
    assert Input("flow", size=32).size == 32
    assert Backbone(target="mine.Net").target == "mine.Net"
    assert Optimizer(lr=1).lr == 1.0
    with pytest.raises(MerError, match=r"^Augment cannot be used:\n  - flip is 3; set 1 or less$"):
        Augment(flip=3)
    with pytest.raises(MerError, match=r"siz: there is no such key \(closest: size\)"):
        Input("flow", siz=3)  # type: ignore[call-arg]
    with pytest.raises(AttributeError):
        Input().size = 3  # type: ignore[misc]


def test_what_is_lightnings_own_may_be_added_and_is_kept_apart() -> None:
    assert set(conversion.LIGHTNING) <= set(inspect.signature(pl.Trainer).parameters)
    made = conversion.read(to_plain(compose(["+trainer.gradient_clip_val=0.5"])))
    assert made.trainer.options == {"gradient_clip_val": 0.5}
    assert made.trainer.devices == Trainer().devices == 1


def test_wrong_values_are_found_before_torch_is_imported() -> None:
    program = (
        "import sys; from mer import cli; status = cli.main(['train', 'model.epochs=0']);"
        "print('status', status, 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == "status 2 False"
    assert "model.epochs is 0; set 1 or more" in done.stderr


def test_unknown_keys_and_wrong_values_are_told_together() -> None:
    with pytest.raises(MerError) as caught:
        compose(["modle.epochs=1", "model.epochs=0", "seed=one", "labels=casme2-5"])
    first, *rest = str(caught.value).splitlines()
    assert first == "conf/train.yaml does not accept:"
    assert len(rest) == 3 and rest[0].startswith("  - modle.epochs=1: there is no key")
    assert rest[1:] == [
        "  - model.epochs is 0; set 1 or more",
        "  - seed is one; set a whole number",
    ]
