"""Files of whole models: a run on everybody, weights of the package; parity, sizes, model cards."""

import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional

import mer
from mer.audit import audit
from mer.cli import main
from mer.config.composition import typed
from mer.config.settings import Protocol
from mer.deploy import model_files, parity, small_files
from mer.deploy.export import export
from mer.deploy.parity import Change, changes
from mer.deploy.scores import Scores
from mer.errors import MerError
from mer.files import sha256
from mer.training import runner
from tests.builders import Config

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")


@pytest.fixture(scope="module")
def everybody(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model on everybody that began with synthetic motion."""
    run_dir = tmp_path_factory.mktemp("exported") / "mine"
    motion = ["macro=synthetic_motion", "data.macro=null", "macro.epochs=1", "macro.batch_size=8"]
    motion += ["macro.motion.samples=64", "macro.motion.batch_size=16"]
    settings = typed(tiny_config(*motion, "model.epochs=1"))
    runner.run(replace(settings, protocol=Protocol("all")), run_dir)
    return run_dir


@pytest.fixture(scope="module")
def shipped(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The shipped MobileViT as a file."""
    return export("mer:motion-xxs", out=tmp_path_factory.mktemp("shipped") / "xxs.onnx")


def flow(seed: int, size: int = 64) -> np.ndarray:
    """Smooth motion of a pixel or two. Shape: (3, S, S)."""
    coarse = torch.randn(1, 3, 5, 5, generator=torch.Generator().manual_seed(seed))
    return functional.interpolate(coarse, size=(size, size), mode="bicubic")[0].numpy()


def test_a_file_of_the_package_says_what_its_weights_say(shipped: Path) -> None:
    with mer.load(shipped) as file, mer.load("motion-xxs") as model:
        assert file.facts.units == model.facts.units
        assert file.facts.input == model.facts.input
        labels = set()
        for seed in range(6):
            one, other = file.predict_flow(flow(seed)), model.predict_flow(flow(seed))
            assert one.label == other.label
            labels.add(one.label)
            assert one.scores["zero_shot"] == pytest.approx(other.scores["zero_shot"], abs=1e-4)
            assert one.units == pytest.approx(other.units, abs=1e-4)
    assert len(labels) > 1  # a model that always says the same proves nothing


def test_everything_in_the_graph_has_a_fixed_size_but_the_batch(shipped: Path) -> None:
    graph = onnx.load(shipped).graph
    assert not [node.name for node in graph.node if node.op_type == "Resize"]
    (image,) = graph.input
    sizes = [d.dim_param or d.dim_value for d in image.type.tensor_type.shape.dim]
    assert sizes == ["batch", 3, 32, 32]


@pytest.mark.parametrize("corners", [False, True])
@pytest.mark.parametrize(("old", "new"), [(1, 2), (5, 6), (4, 8), (7, 4)])
def test_a_fixed_resize_is_the_bilinear_one(old: int, new: int, corners: bool) -> None:
    images = torch.randn(2, 3, old, old + 1, generator=torch.Generator().manual_seed(0))
    size = (new, new + 2)
    wanted = functional.interpolate(images, size=size, mode="bilinear", align_corners=corners)
    before = functional.interpolate
    with model_files._fixed_sizes():
        found = functional.interpolate(images, size=size, mode="bilinear", align_corners=corners)
    torch.testing.assert_close(found, wanted, rtol=0, atol=1e-6)
    assert functional.interpolate is before


def test_a_model_on_everybody_is_exported_into_its_directory_with_a_card(
    everybody: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["export", str(everybody)]) == 0
    file = everybody / "model.onnx"
    shown = capfd.readouterr()
    assert "this is the network of fold" not in shown.err
    first, last = shown.out.splitlines()
    assert first.startswith(f"{file} (") and first.endswith(
        f" MB), with its card {file.with_suffix('.md')}"
    )
    assert last == f"Label a clip: mer predict {file} clip.mp4"
    facts = model_files.read_facts(file)
    assert facts["name"] == "mine"
    assert facts["heads"] == ["svm", "softmax", "zero_shot"]
    card = file.with_suffix(".md").read_text()
    for text in (
        "45 samples of 9 persons trained it",
        "casme2 19 (surprise 9, negative 7, positive 3)",
        "no run under a protocol stands for it",
        "generated in the layout of real datasets",
        "lie detection",
        sha256(file),
        "model.epochs: 1",
    ):
        assert text in card
    assert str(everybody.parent) not in card  # no path of this machine
    inside = facts["card"]
    assert inside.split("**File.**")[0] == card.split("**File.**")[0]
    assert audit(everybody).checks[0].verdict == "pass"  # the files are no part of it


def test_a_file_of_one_fold_says_who_was_left_out_and_what_to_type(
    tiny_config: Config, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    run_dir = tmp_path / "run"
    runner.run(tiny_config("backbone=pixels", "macro.enabled=false", "model.augment=null"), run_dir)
    with caplog.at_level(logging.WARNING):
        path = export(run_dir, out=tmp_path / "one.onnx")
    assert "which casme2/" in caplog.text
    assert f"mer train protocol=all protocol.like={run_dir}" in caplog.text
    card = path.with_suffix(".md").read_text()
    assert "Left out, to be tested" in card
    assert "| SVM on embeddings | " in card
    assert "this is the network of fold group-00 alone" in card


def test_a_file_holds_the_pretrained_network_of_its_run(everybody: Path, tmp_path: Path) -> None:
    file = export(everybody, out=tmp_path / "all.onnx")
    with mer.load(file) as one, mer.load(everybody) as other:
        assert (one.facts.heads, one.facts.units) == (other.facts.heads, other.facts.units)
        for seed in range(4):
            small, whole = (model.predict_flow(flow(seed, 96)) for model in (one, other))
            assert small.label == whole.label
            for head in ("svm", "softmax", "zero_shot"):
                assert small.scores[head] == pytest.approx(whole.scores[head], abs=1e-4)
            assert small.units == pytest.approx(whole.units, abs=1e-4)
    without = export(everybody, out=tmp_path / "svm.onnx", heads=["svm"])
    with mer.load(without) as one:
        assert (one.facts.heads, one.facts.units) == (("svm", "softmax"), ())
        assert one.predict_flow(flow(0, 96)).units is None


def test_half_precision_halves_the_file_and_keeps_every_label(
    everybody: Path, tmp_path: Path
) -> None:
    whole, half = (
        export(everybody, precision=name, out=tmp_path / f"{name}.onnx", heads=["svm"])
        for name in ("float32", "float16")
    )
    network = sum(p.numel() for p in mer.load_run(everybody).module("all").parameters())
    saved = whole.stat().st_size - half.stat().st_size
    assert saved == pytest.approx(2 * network, rel=0.1)
    assert model_files.read_facts(half)["precision"] == "float16"
    assert "float16 against float32 on 45 samples" in half.with_suffix(".md").read_text()
    samples = [flow(seed, 96) for seed in range(8)]
    with mer.load(whole) as one, mer.load(half) as other:
        for sample in samples:
            assert one.predict_flow(sample).label == other.predict_flow(sample).label


def test_a_smaller_file_that_changes_too_much_is_refused_unless_asked_for(
    everybody: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MOST_LABELS", -1.0)
    path = tmp_path / "small.onnx"
    with pytest.raises(MerError, match=r"int8 changes too much.*svm: \d+ of 45.*--lossy"):
        export(everybody, precision="int8", out=path)
    assert not list(tmp_path.iterdir())
    export(everybody, precision="int8", out=path, lossy=True)
    facts = model_files.read_facts(path)
    assert facts["precision"] == "int8"
    assert any("labels of svm" in warning for warning in facts["warnings"])
    assert "32 pixels, int8." in path.with_suffix(".md").read_text()
    names = sorted(one.name for one in tmp_path.iterdir())
    assert names == ["small.md", "small.onnx"]


def test_int8_leaves_the_first_and_last_convolution_and_transformer_blocks_alone() -> None:
    nodes = [
        onnx.helper.make_node("Conv", ["x"], ["y"], name=network + name)
        for network in ("", "/judge")
        for name in ("/stem/Conv", "/stages.1/a/Conv", "/stages.2.1/a/Conv", "/b/Conv", "/c/Conv")
    ]
    graph = onnx.helper.make_graph(nodes, "g", [], [])
    kept = small_files._float_nodes(onnx.helper.make_model(graph), ["stages.2.1"])
    names = ["/stem/Conv", "/stages.2.1/a/Conv", "/c/Conv"]
    assert sorted(kept) == sorted([*names, *(f"/judge{name}" for name in names)])


def test_what_a_file_changes_is_counted_by_head() -> None:
    sure = np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.3, 0.7]], np.float32)
    moved = sure + np.array([[0, 0], [0, 0], [-0.2, 0.2], [0, 0]], np.float32)
    one = Scores({"svm": sure}, {"svm": np.array([0, 1, 0, 1])})
    other = Scores({"svm": moved}, {"svm": np.array([0, 1, 1, 1])})
    (change,) = changes(one, other, np.array([0, 1, 0, 1]), 2)
    assert (change.labels, change.samples, change.before) == (1, 4, 1.0)
    assert change.after == pytest.approx((2 / 3 + 4 / 5) / 2)
    assert change.largest == pytest.approx(0.2)
    assert change.too_much
    assert not Change("svm", 100, 2, 0.1, 0.8, 0.79).too_much
    assert Change("svm", 100, 3, 0.1, 0.8, 0.80).too_much
    assert Change("svm", 1000, 3, 0.1, 0.8, 0.78).too_much


def test_without_the_samples_of_the_run_there_is_no_file_until_their_place_is_named(
    everybody: Path, tiny_words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MER_SYNTH", str(tmp_path / "nowhere"))
    (tmp_path / "moved").mkdir()
    copied = tmp_path / "moved" / "mine"
    copied.mkdir()
    for path in everybody.rglob("*"):
        if path.is_file() and path.name != ".made_here" and path.suffix != ".onnx":
            target = copied / path.relative_to(everybody)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    with pytest.raises(
        MerError, match=r"which are not here; if they were moved, add data\.root=FOLDER"
    ):
        export(copied)
    assert not list(copied.glob("*.onnx"))
    places = [word for word in tiny_words if word.startswith(("data.root=", "paths.cache="))]
    file = tmp_path / "moved.onnx"
    assert main(["export", str(copied), *places, "--heads", "svm", "--out", str(file)]) == 0
    assert file.is_file()


def test_weights_of_the_package_have_neither_folds_nor_other_heads(
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert main(["export", "mer:motion-mlps", "--fold", "all"]) == 2
    assert "leave --fold and --heads out" in capfd.readouterr().err
    assert main(["export", "motion-mlp"]) == 2
    assert "mer:motion-xxs" in capfd.readouterr().err


def test_a_damaged_file_is_told(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(MerError, match=r"model\.onnx is no file"):
        model_files.read_facts(path)
    path.write_bytes(b"\x12\x99" * 50)
    with pytest.raises(MerError, match=r"cannot be read as an ONNX file .* export the model again"):
        model_files.read_facts(path)
    graph = onnx.helper.make_graph([], "nothing", [], [])
    onnx.save(onnx.helper.make_model(graph), path)
    with pytest.raises(MerError, match="has no metadata"):
        model_files.read_facts(path)
