"""Macro-pretraining on synthetic motion: alone, before and beside real samples; zero-shot."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import pytorch_lightning as pl
import torch

from mer.audit import audit
from mer.cache import entries
from mer.config.composition import typed
from mer.data import sources
from mer.data.inputs import INPUTS
from mer.errors import MerError
from mer.models.checkpoints import read_checkpoint
from mer.models.motion_module import MotionPretrainModule
from mer.runs.head_columns import heads, main_head
from mer.training import runner, zero_shot
from mer.training.evaluate import evaluate
from mer.training.pretrain import macro_weights
from tests.builders import Config, network

MOTION = (
    "macro=synthetic_motion",
    "macro.epochs=2",
    "macro.motion.samples=64",
    "macro.motion.batch_size=16",
    "macro.batch_size=8",
    "model.epochs=1",
    "protocol.n_splits=2",
)


def transfers(run_dir: Path) -> list[dict[str, object]]:
    found = sorted(run_dir.glob("folds/*/model.ckpt"))
    return [read_checkpoint(path)["mer"]["transfer"] for path in found]


def test_a_run_of_synthetic_motion_alone(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Path] = []
    score = zero_shot.scores
    monkeypatch.setattr(
        zero_shot, "scores", lambda *given: (counted.append(given[1]), score(*given))[1]
    )
    cfg = tiny_config(*MOTION, "data.macro=null", "seed=3")
    result = runner.run(cfg, tmp_path)
    assert list(result["heads"]) == ["svm", "softmax", "zero_shot", "baseline", "majority"]
    predictions = pd.read_parquet(tmp_path / "predictions.parquet")
    assert main_head(heads(predictions)) == "svm"
    assert len(counted) == 1  # once, not per fold

    settings = typed(cfg)
    dataset = sources.dataset(settings, sources.load(settings, "micro"))
    expected = score(settings, counted[0], dataset)
    rows = predictions.set_index("sample_id").loc[dataset.table["sample_id"]]
    columns = [f"zero_shot_{name}" for name in dataset.classes]
    np.testing.assert_allclose(rows[columns], expected, atol=1e-6)
    assert rows["zero_shot"].tolist() == [dataset.classes[k] for k in expected.argmax(axis=1)]

    assert [one["persons"] for one in transfers(tmp_path)] == [[], []]
    assert len({one["sha256"] for one in transfers(tmp_path)}) == 1  # one training for all folds
    weights = macro_weights(settings, None, [])
    kept, whole = (read_checkpoint(path)["state_dict"] for path in (counted[0], weights))
    assert all(torch.equal(kept[name], whole[name]) for name in whole)
    key = json.loads((weights.parent / "settings.json").read_text())["settings"]
    assert key["persons"] == [] and key["layouts"][0]["masked"]
    report = audit(tmp_path)
    assert report.verdict == "pass", report.sentence
    again = evaluate(tmp_path)
    assert again["heads"]["zero_shot"] == result["heads"]["zero_shot"]
    assert again["different_labels"]["zero_shot"] == 0
    assert any("nobody is in the synthetic motion" in one.evidence for one in report.checks)
    text = next(tmp_path.glob("folds/*/transfer.txt")).read_text()
    assert "trained on synthetic motion, in which nobody is" in text


@pytest.mark.parametrize("real", ["after", "mixed"])
def test_real_samples_take_part(real: str, tiny_config: Config, tmp_path: Path) -> None:
    words = [*MOTION, f"macro.motion.real={real}", "callbacks=none"]
    result = runner.run(tiny_config(*words), tmp_path)
    assert list(result["heads"]) == ["softmax", "zero_shot", "baseline", "majority"]
    manifest = pd.read_parquet(tmp_path / "manifest.parquet")
    for one in transfers(tmp_path):
        assert one["synthetic_motion"] and one["persons"]
        assert not set(one["persons"]) & set(manifest["person"])


def test_real_pretraining_begins_where_synthetic_motion_ended(
    tiny_config: Config, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = typed(tiny_config(*MOTION, "macro.motion.real=after", "seed=4"))
    corpus = sources.load(settings, "macro")
    begun: list[dict[str, torch.Tensor]] = []
    fit = pl.Trainer.fit

    def look(self: pl.Trainer, module: pl.LightningModule, *given: object, **more: object) -> None:
        begun.append({name: values.clone() for name, values in module.state_dict().items()})
        fit(self, module, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(pl.Trainer, "fit", look)
    weights = macro_weights(settings, corpus, [])
    key = json.loads((weights.parent / "settings.json").read_text())["settings"]
    first = read_checkpoint(weights.parent.parent / key["first"] / "best.ckpt")["state_dict"]
    assert len(begun) == 2
    same = [name for name in begun[1] if name.startswith(("backbone.", "classifier."))]
    assert all(torch.equal(begun[1][name], first[name]) for name in same)
    assert any(not torch.equal(begun[0][name], first[name]) for name in same)
    assert macro_weights(settings, corpus, []) == weights and len(begun) == 2


@pytest.mark.parametrize("real", ["none", pytest.param("mixed", marks=pytest.mark.slow)])
def test_a_killed_training_gives_the_weights_of_one_that_was_not(
    real: str, tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [*MOTION, f"macro.motion.real={real}", "macro.epochs=3", "trainer.threads=1"]
    cfg = tiny_config(*words)
    corpus = None if real == "none" else sources.load(typed(cfg), "macro")

    class Killed(Exception):
        pass

    def weights(folder: Path) -> dict[str, torch.Tensor]:
        cfg.paths.cache = str(folder)
        macro_weights(typed(cfg), corpus, [])
        return dict(last)

    last: dict[str, torch.Tensor] = {}
    end, start = MotionPretrainModule.on_fit_end, MotionPretrainModule.on_train_epoch_start

    def keep(self: MotionPretrainModule) -> None:
        end(self)
        last.update({name: values.clone() for name, values in self.state_dict().items()})

    def die(self: MotionPretrainModule) -> None:
        if self.current_epoch == 1:
            raise Killed
        start(self)

    monkeypatch.setattr(MotionPretrainModule, "on_fit_end", keep)
    whole = weights(tmp_path / "whole")
    with monkeypatch.context() as patch:
        patch.setattr(MotionPretrainModule, "on_train_epoch_start", die)
        with pytest.raises(Killed):
            weights(tmp_path / "killed")
    [entry] = entries(tmp_path / "killed", "macro")
    assert (entry.path / "last.ckpt").exists()
    last.clear()
    resumed = weights(tmp_path / "killed")
    assert list(resumed) == list(whole) and "units.weight" in whole
    for name, tensor in whole.items():
        assert torch.equal(resumed[name], tensor), name
    # A line for the validation and one for the training of each epoch, none for the final scores.
    assert pd.read_csv(entry.path / "metrics.csv")["epoch"].tolist() == [0, 0, 1, 1, 2, 2]


def test_other_inputs_are_refused_at_once(tiny_config: Config, tmp_path: Path) -> None:
    with pytest.raises(MerError, match="makes flow alone, and input=apex reads apex; set input=fl"):
        runner.run(tiny_config(*MOTION, "input=apex"), tmp_path)


def test_another_scale_than_that_of_the_pretraining_gives_no_zero_shot_scores(
    tiny_config: Config, caplog: pytest.LogCaptureFixture
) -> None:
    settings = typed(tiny_config(*MOTION, "data.macro=null", "input.scale=channel", "seed=3"))
    weights = macro_weights(settings, None, [])
    dataset = sources.dataset(settings, sources.load(settings, "micro"))
    found = zero_shot.scores(settings, weights, dataset)
    assert found is not None and found.shape == (len(dataset), 3)
    other = replace(settings, input=replace(settings.input, scale="joint", blur=0.5))
    assert zero_shot.scores(other, weights, dataset) is None
    assert "another input. Set input.scale=channel input.blur=0" in caplog.text


def test_each_sample_gets_the_strength_that_the_network_knows() -> None:
    net = network()  # constants: mean 0, .1, .2, deviation .5, 1, 2
    images = torch.randn(4, 3, 8, 8) * torch.tensor([1e-3, 1.0, 50, 2]).view(4, 1, 1, 1)
    images[:, 1] *= 3
    strong = zero_shot.as_strong(images, net, INPUTS["flow"](8).kind)
    square = strong.square().mean((2, 3))
    pair = (0.5**2 + 0.1**2 + 1) / 2
    torch.testing.assert_close(square[:, :2].mean(1), torch.full((4,), pair), rtol=1e-3, atol=0)
    torch.testing.assert_close(square[:, 2], torch.full((4,), 2**2 + 0.2**2), rtol=1e-3, atol=0)
    ratio = strong[:, 1] / images[:, 1]
    torch.testing.assert_close(ratio, strong[:, 0] / images[:, 0])  # directions stay
