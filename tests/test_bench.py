"""mer bench: figures that say what was measured, a baseline that learns, nothing lost on Ctrl-C."""

import json
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from prepare_inputs import paint, row, save

from mer.bench import memory, startup, table
from mer.bench.figures import Figure, figure, in_turn, missing, quartiles, ratio, times
from mer.bench.plain_loop import Plan, run_fold
from mer.bench.settings import Settings
from mer.bench.stages import Pair, network_input, staged
from mer.cli import main
from mer.data import inputs
from mer.datasets.index import make_table
from mer.errors import MerError
from mer.prepare import settings as prepare_settings
from mer.prepare.faces import FaceFinder
from mer.prepare.store import prepare_store

KEYS = set(Figure("a", "b", "c", "ms", 1.0).plain())


def test_few_values_show_their_range_and_more_their_quartiles() -> None:
    assert quartiles([3.0]) == (3.0, 3.0, 3.0)
    assert quartiles([5.0, 1.0, 2.0]) == (1.0, 2.0, 5.0)
    assert quartiles([1.0, 2.0, 3.0, 4.0, 5.0]) == (2.0, 3.0, 4.0)


def test_a_ratio_pairs_what_was_measured_beside_each_other() -> None:
    # Both slow down together: the ratio stays 2, though the medians of other pairs would not.
    found = ratio("loso", "fold", "ours", [2.0, 20.0, 4.0], [1.0, 10.0, 2.0])
    assert (found.low, found.median, found.high) == (2.0, 2.0, 2.0)
    assert found.unit == "times"
    with pytest.raises(ValueError, match="shorter"):
        ratio("loso", "fold", "ours", [1.0, 2.0], [1.0])


def test_calls_that_warm_up_do_not_count_and_actions_take_turns() -> None:
    calls: list[str] = []
    assert len(times(lambda: calls.append("x"), 3, warm_up=2)) == 3
    assert len(calls) == 5
    calls.clear()
    found = in_turn({"a": lambda: calls.append("a"), "b": lambda: calls.append("b")}, 2)
    assert calls == ["a", "b", "a", "b"]
    assert [len(values) for values in found.values()] == [2, 2]


@pytest.mark.parametrize(
    ("value", "shown"), [(None, "–"), (0.01234, "0.0123"), (35.44, "35.4"), (1234.6, "1235")]
)
def test_three_digits_are_shown(value: float | None, shown: str) -> None:
    assert table.show(value) == shown


def part(monkeypatch: pytest.MonkeyPatch, name: str, figures: Iterator[Figure]) -> None:
    """Put figures in the place of a part."""
    module = SimpleNamespace(measure=lambda settings: figures)
    monkeypatch.setitem(sys.modules, f"mer.bench.{name}", module)


def test_the_file_and_the_table_hold_figures_machine_and_reasons(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    measured = figure("latency", "head", "tensors", "ms", [1.0, 2.0, 3.0], baseline=True)
    absent = missing("latency", "head", "openvino", "ms", "not installed:\n  pip install it")
    part(monkeypatch, "latency", iter([measured, absent]))
    file = tmp_path / "bench.json"
    words = ["bench", "latency", "--json", str(file), "--folder", str(tmp_path), "seed=3"]
    assert main(words) == 0
    stored = json.loads(file.read_text())
    assert stored["complete"] is True
    assert stored["words"] == ["seed=3"]
    assert {"processor", "cores", "torch_threads", "packages"} <= set(stored["machine"])
    assert stored["figures"][0] == {
        "part": "latency", "name": "head", "variant": "tensors", "unit": "ms", "median": 2.0,
        "low": 1.0, "high": 3.0, "repeats": 3, "note": "", "baseline": True,
        "extrapolated": False,
    }  # fmt: skip
    assert stored["figures"][1]["median"] is None
    shown = capsys.readouterr().out
    assert "not installed: pip" in shown
    assert "1 – 3" in shown


def test_what_was_measured_before_an_interruption_is_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    def stopped() -> Iterator[Figure]:
        yield figure("memory", "peak", "442 samples", "MB", [321.0])
        raise KeyboardInterrupt

    part(monkeypatch, "memory", stopped())
    file = tmp_path / "bench.json"
    assert main(["bench", "memory", "--json", str(file), "--folder", str(tmp_path)]) == 130
    stored = json.loads(file.read_text())
    assert stored["complete"] is False
    assert [entry["median"] for entry in stored["figures"]] == [321.0]
    assert "321" in capsys.readouterr().out


def test_an_unknown_part_is_named_with_those_there_are(
    tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert main(["bench", "speed", "--folder", str(tmp_path / "new")]) == 2
    error = capsys.readouterr().err
    assert "no part speed" in error
    assert "latency, throughput, loso, prepare, memory, startup" in error
    assert not (tmp_path / "new").exists()


def test_the_words_of_the_user_come_after_those_of_quick(tmp_path: Path) -> None:
    settings = Settings(tmp_path, quick=True, words=["input.size=48"])
    cfg = settings.compose("input.size=256", "macro.enabled=false")
    assert cfg.input.size == 48
    assert cfg.data.preset == "tiny"
    assert cfg.data.root == f"{tmp_path}/corpora/tiny"
    assert not cfg.macro.enabled
    assert Settings(tmp_path).compose("input.size=256").input.size == 256


@pytest.fixture
def pictures(tmp_path: Path) -> tuple[list[Path], np.ndarray]:
    """Forty noisy pictures; one class is bright on the left, the other on the right."""
    rng = np.random.default_rng(0)
    labels = np.arange(40) % 2
    paths = []
    for number, label in enumerate(labels):
        picture = rng.integers(0, 80, (40, 40, 3))
        picture[:, 20 * label : 20 * label + 20] += 120
        paths.append(tmp_path / f"{number}.png")
        cv2.imwrite(str(paths[-1]), picture.astype(np.uint8))
    return paths, labels


@pytest.mark.usefixtures("one_thread")
def test_the_plain_loop_learns_what_can_be_learnt(
    pictures: tuple[list[Path], np.ndarray],
) -> None:
    paths, labels = pictures
    plan = Plan("test_resnet", size=32, n_classes=2, epochs=12, batch_size=8, lr=3e-3)
    outcome = run_fold(plan, paths, labels, np.arange(30), np.arange(30, 40))
    assert outcome.softmax.tolist() == labels[30:].tolist()
    assert outcome.svm.tolist() == labels[30:].tolist()
    assert len(outcome.epochs) == 12
    assert 0 < sum(outcome.epochs) < outcome.seconds


@pytest.mark.usefixtures("one_thread")
def test_the_plain_loop_reads_every_file_in_every_epoch_and_trains_no_frozen_tensor(
    pictures: tuple[list[Path], np.ndarray], monkeypatch: pytest.MonkeyPatch
) -> None:
    import timm

    paths, labels = pictures
    read: list[str] = []
    decode, create = cv2.imread, timm.create_model
    monkeypatch.setattr(cv2, "imread", lambda path: read.append(path) or decode(path))
    models = []
    monkeypatch.setattr(
        timm, "create_model", lambda *a, **k: models.append(create(*a, **k)) or models[-1]
    )
    frozen = frozenset({"conv_stem.weight"})
    plan = Plan("test_efficientnet", 32, 2, epochs=3, batch_size=8, frozen=frozen, seed=5)
    run_fold(plan, paths, labels, np.arange(32), np.arange(32, 40))
    # Three epochs of 32, once more for the SVM, and the 8 test samples.
    assert len(read) == 3 * 32 + 32 + 8
    import torch

    torch.manual_seed(5)
    fresh = create("test_efficientnet", num_classes=2)
    trained = dict(models[0].named_parameters())
    start = dict(fresh.named_parameters())
    assert torch.equal(trained["conv_stem.weight"], start["conv_stem.weight"])
    assert not torch.equal(trained["conv_head.weight"], start["conv_head.weight"])


def test_a_sparse_store_is_a_store_and_takes_little_disk(tmp_path: Path) -> None:
    from mer.prepare.store import Store

    memory.write_store(tmp_path / "store", 2000)
    store = Store.open(tmp_path / "store")
    assert store.flow.shape == (2000, 3, memory.SIDE, memory.SIDE)
    assert store.flow[0].any()
    assert not store.flow[1999].any()
    assert len(store.index) == 2000
    used = (tmp_path / "store" / "flow.npy").stat().st_blocks * 512
    assert used < store.flow.nbytes / 4


def test_anonymous_memory_grows_with_an_array_and_not_with_a_mapped_file(tmp_path: Path) -> None:
    before = memory.anonymous_megabytes()
    mapped = np.memmap(tmp_path / "file", np.uint8, "w+", shape=(64 << 20,))
    mapped[:] = 1
    after_map = memory.anonymous_megabytes()
    held = np.ones(64 << 20, np.uint8)
    after_array = memory.anonymous_megabytes()
    assert after_map - before < 16
    assert 56 < after_array - after_map < 80
    assert held.sum() == mapped.sum()


def test_a_command_that_fails_is_no_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = {"broken": ["-c", "import sys; sys.exit('no disk')"]}
    monkeypatch.setattr(startup, "COMMANDS", wrong)
    with pytest.raises(MerError, match="`broken` ended with status 1: no disk"):
        next(startup.measure(Settings(Path(), quick=True)))


@pytest.fixture
def painted(tmp_path: Path) -> Pair:
    """Picture files of a face whose brows rise."""
    files = (save(tmp_path / f"{b}.png", paint(256, brows=b)) for b in (0.0, 0.08))
    return Pair(*map(Path, files))


@pytest.mark.parametrize("threads", [1, 2])
def test_a_sample_timed_from_its_files_is_the_sample_that_preparation_stores(
    painted: Pair, tmp_path: Path, threads: int
) -> None:
    prepare = prepare_settings.complete({"size": 128})
    clip = row(0, onset=1, apex=8, onset_path=str(painted.onset), apex_path=str(painted.apex))
    store = prepare_store(make_table([clip]), {"size": 128}, tmp_path / "out", 1, "made")
    before = cv2.getNumThreads()
    cv2.setNumThreads(threads)
    try:
        with FaceFinder() as finder, ThreadPoolExecutor(1) as helper:
            for name, center in (("flow", "median"), ("apex", "none"), ("onset_apex", "none")):
                options = {"name": name, "size": 96, "center": center}
                expected = inputs.build(options, *store.frames[0], store.flow[0])
                expected = expected.transpose(2, 0, 1)[None]
                in_stages = staged(painted, finder, prepare, options)
                at_once = network_input(painted, finder, prepare, options, helper)
                assert np.array_equal(in_stages.image, expected)
                assert np.array_equal(at_once, expected)
                assert at_once.flags.c_contiguous
                assert ("flow" in in_stages.milliseconds) == (name == "flow")
    finally:
        cv2.setNumThreads(before)


def test_a_sample_that_cannot_be_timed_is_named(painted: Pair, tmp_path: Path) -> None:
    prepare = prepare_settings.complete({"size": 64})
    options = {"name": "apex", "size": 64, "center": "none"}
    absent = painted._replace(apex=tmp_path / "absent.png")
    blank = painted._replace(onset=Path(save(tmp_path / "blank.png", np.zeros((64, 64, 3)))))
    with FaceFinder() as finder, ThreadPoolExecutor(1) as helper:
        for pair, said in (
            (absent, "missing frame: .*absent.png does not exist"),
            (blank, "no face in .*blank.png"),
        ):
            with pytest.raises(MerError, match=said):
                network_input(pair, finder, prepare, options, helper)
            with pytest.raises(MerError, match=said):
                staged(pair, finder, prepare, options)


EXPECTED = {
    "startup": {("mer --help", ""), ("mer train --cfg job", "")},
    "prepare": {("store", "1 worker"), ("throughput", "1 worker")},
    "throughput": {
        ("loading", "plain loop"), ("loading", "ours"), ("training", "plain loop"),
        ("training", "ours"), ("training", "arithmetic alone"),
        ("time outside the network", "ours"),
    },
    "loso": {
        ("fold", "plain loop, fully trained"), ("fold", "ours, fully trained"),
        ("fold beyond its arithmetic", "ours, first blocks frozen"),
        ("whole protocol", "plain loop, everything frozen"),
    },
    "latency": {
        ("decode", ""), ("face", ""), ("align", "96 px"), ("flow", "dis"), ("input", ""),
        ("network", "eager + scikit-learn"), ("head", "eager + scikit-learn"),
        ("files to label", "as the paper reports"), ("input to label", "onnxruntime int8"),
        ("files to label", "eager + scikit-learn"), ("files to label", "openvino float32"),
        ("labels unlike the baseline's", "onnxruntime float32"),
    },
    "memory": {("peak while training", "64 samples, input.cache_gb=0")},
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", list(EXPECTED))
def test_every_part_runs_and_names_what_it_measured(
    name: str, tiny_corpora: Path, session_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "bench.json"
    words = [f"data.root={tiny_corpora}", f"paths.cache={session_folder / 'cache'}"]
    status = main(
        ["bench", name, "--quick", "--json", str(file), "--folder", str(tmp_path), *words]
    )
    assert status == 0
    stored = json.loads(file.read_text())
    assert stored["complete"] and stored["quick"]
    found = {(entry["name"], entry["variant"]): entry for entry in stored["figures"]}
    assert len(found) == len(stored["figures"])  # no two figures have the same name
    assert EXPECTED[name] <= set(found)
    for entry in stored["figures"]:
        assert set(entry) == KEYS
        assert entry["part"] == name
        assert (entry["median"] is None) == (entry["repeats"] == 0)
        assert entry["median"] is not None or entry["note"]
        if entry["name"] == "whole protocol":
            assert entry["extrapolated"]
        if entry["name"].startswith("labels") and "float32" in entry["variant"]:
            assert entry["median"] == 0
