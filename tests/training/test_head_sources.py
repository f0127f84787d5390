"""Heads on other sources than the embedding of the fold's network."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from mer.audit import audit
from mer.callbacks.svm_head import SVMHead
from mer.cli import main
from mer.config.composition import typed
from mer.data import sources
from mer.data.dataset import UnifiedDataset
from mer.errors import MerError
from mer.models.checkpoints import save_network
from mer.models.modules import MacroPretrainModule, MERModule
from mer.runs import evidence, rundir
from mer.training import checks, fold_evidence, head_sources, runner
from mer.training.evaluate import evaluate
from tests.builders import PIXELS, Config, network

TWO_FOLDS = (*PIXELS, "protocol.n_splits=2")
SEVERAL = (*TWO_FOLDS, "callbacks.svm_head.sources=[embedding,input,{scale: channel}]")

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run_dir = tmp_path_factory.mktemp("sources") / "run"
    runner.run(tiny_config(*SEVERAL), run_dir)
    return run_dir


def tiny_dataset(tiny_config: Config) -> tuple[Any, UnifiedDataset]:
    settings = typed(tiny_config(*TWO_FOLDS))
    return settings, sources.dataset(settings, sources.load(settings, "micro"))


def test_a_run_on_several_sources_is_evaluated_and_audited_as_any_other(finished: Path) -> None:
    assert set(evaluate(finished)["different_labels"].values()) == {0}
    assert audit(finished).verdict == "pass"
    for folder in (finished / "folds").iterdir():
        content = json.loads((folder / evidence.FILE).read_text())
        assert list(content["sources"]["svm"]) == ["input", '{"scale": "channel"}']
        for rows in content["sources"]["svm"].values():
            assert rows == content["heads"]["svm"]
        state = torch.load(folder / "heads.pt", weights_only=True)["svm"]["settings"]
        assert state["widths"] == [768] * 3 and len(state["gamma"]) == 3


def test_rows_are_the_inputs_channel_by_channel(tiny_config: Config) -> None:
    settings, data = tiny_dataset(tiny_config)
    rows = head_sources.rows_of("input", settings, data)(np.array([3, 1]))
    image = data.image(1)
    assert rows.shape == (2, 768) and rows.dtype == np.float64
    assert rows[1, 256 * 2 + 16 * 5 + 7] == image[5, 7, 2]
    scaled = head_sources.rows_of({"scale": "channel"}, settings, data)(np.array([1]))
    # Divided by its own root mean square, so that u has 1.
    assert np.sqrt(np.square(scaled[0, :256]).mean()) == pytest.approx(1, abs=1e-5)
    assert data.as_input(settings.input) is data


def test_a_leaked_row_of_a_source_is_refused_and_seen_by_the_audit(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    attach = head_sources.attach

    def leaky(heads: Any, settings: Any, dataset: UnifiedDataset, tested: set[str]) -> None:
        """The first training row of the second input is one of a test sample."""
        attach(heads, settings, dataset, tested)
        [test, *_] = np.flatnonzero(dataset.table["person"].isin(tested))
        for head in heads:
            name, rows = list(head.source_rows.items())[-1]

            def moved(at: NDArray[np.int64], rows: Any = rows) -> NDArray[np.float64]:
                return rows(np.where(at == at[0], test, at)) if len(at) > len(tested) else rows(at)

            head.source_rows = {**head.source_rows, name: moved}

    monkeypatch.setattr(head_sources, "attach", leaky)
    with pytest.raises(MerError) as caught:
        runner.run(tiny_config(*SEVERAL), tmp_path / "run")
    expected = 'of the test side fitted the head svm by rows of {"scale": "channel"}: '
    assert expected in str(caught.value)
    assert 'rows of {"scale": "channel"} that fitted the head svm are not what' in str(caught.value)
    monkeypatch.setattr(fold_evidence, "raise_all", lambda *_: None)
    runner.run(tiny_config(*SEVERAL), tmp_path / "run")
    found = {check.name: check for check in audit(tmp_path / "run").checks}
    assert found["evidence"].verdict == "fail" and expected in found["evidence"].evidence


def checkpoint(path: Path, persons: list[str], input: dict[str, Any]) -> MERModule:
    module = network(kind=MacroPretrainModule)
    module.provenance = {"stage": "macro", "persons": persons, "input": input}
    save_network(module, path, 1, 1)
    return module.eval()


def test_given_weights_embed_the_samples_as_the_input_that_they_name(
    tiny_config: Config, tmp_path: Path
) -> None:
    settings, data = tiny_dataset(tiny_config)
    path = tmp_path / "weights.ckpt"
    module = checkpoint(path, [], {"name": "flow", "size": 32, "blur": 1.0})
    rows = head_sources.rows_of(str(path), settings, data)(np.arange(2))
    other = data.as_input(head_sources._input(str(path), settings, settings.input))
    assert (other.settings.size, other.settings.blur) == (32, 1.0)
    image = torch.from_numpy(other.images(np.arange(2))).permute(0, 3, 1, 2)
    with torch.no_grad():
        np.testing.assert_allclose(rows, module.embed(image).numpy(), rtol=1e-4, atol=1e-6)
    again = head_sources.from_stores(str(path), settings, data, np.arange(2))
    np.testing.assert_allclose(rows, again, rtol=1e-4, atol=1e-6)


def test_weights_that_know_a_test_person_are_refused(tiny_config: Config, tmp_path: Path) -> None:
    settings, data = tiny_dataset(tiny_config)
    person = data.table["person"].iloc[0]
    path = tmp_path / "weights.ckpt"
    checkpoint(path, [person], {})
    head = SVMHead(sources=["embedding", str(path)])
    head_sources.attach([head], settings, data, set())
    with pytest.raises(MerError, match=f"1 of 1 test persons trained this model: {person}"):
        head_sources.attach([head], settings, data, {person})


def test_sources_that_cannot_be_had_are_named_before_a_run(tiny_config: Config) -> None:
    words = "callbacks.svm_head.sources=[input,nowhere.ckpt,{scale: some}]"
    with pytest.raises(MerError) as caught:
        checks.check(typed(tiny_config(*TWO_FOLDS, words)))
    assert "callbacks.svm_head.sources: There is no checkpoint nowhere.ckpt" in str(caught.value)
    assert "input.scale is some; set none, joint or channel" in str(caught.value)


def test_a_file_computes_the_input_and_refuses_what_it_cannot(
    finished: Path, tiny_config: Config, tmp_path: Path, capfd: pytest.CaptureFixture
) -> None:
    assert main(["export", str(finished)]) == 2
    error = capfd.readouterr().err
    assert 'svm reads {"scale": "channel"}' in error and "--heads softmax" in error
    pytest.importorskip("onnxruntime")
    words = (*TWO_FOLDS, "callbacks.svm_head.sources=[embedding,input]")
    runner.run(tiny_config(*words), tmp_path / "run")
    fold = next((tmp_path / "run" / "folds").iterdir()).name
    assert main(["export", str(tmp_path / "run"), "--fold", fold]) == 0
    assert (rundir.fold_folder(tmp_path / "run", fold) / "model.onnx").is_file()


def test_the_audit_knows_who_trained_the_weights_of_a_source(
    tiny_config: Config, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, data = tiny_dataset(tiny_config)
    path, person = tmp_path / "weights.ckpt", data.table["person"].iloc[0]
    checkpoint(path, [person], {})
    config = tiny_config(*TWO_FOLDS, f"callbacks.svm_head.sources=[{path}]")
    monkeypatch.setattr(head_sources, "refuse_known_persons", lambda *_: None)
    runner.run(config, tmp_path / "run")
    found = {check.name: check for check in audit(tmp_path / "run").checks}
    assert found["evidence"].verdict == "fail"
    assert f"{path}, which 1 tested persons trained: {person}" in found["evidence"].evidence
