"""`docs/predict_onnx.py`: without mer and PyTorch a file of `mer export` gives scores of mer."""

import importlib.util
import json
import subprocess
import sys
import venv
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pandas as pd
import pytest

import mer
from mer.config.conversion import to_plain
from mer.config.settings import Flow, Input, Prepare
from mer.data import inputs
from mer.deploy.export import export
from mer.prepare.faces import MODEL, FaceFinder
from mer.prepare.sample import Sample, prepare_pictures, read_picture
from mer.runs.calibration import as_logits
from mer.runs.standard_scores import Form

pytest.importorskip("onnxruntime")

ROOT = Path(mer.__file__).resolve().parents[1]
SCRIPT = ROOT / "docs" / "predict_onnx.py"
FACE_MODEL = ROOT / "mer" / "assets" / MODEL

pytestmark = pytest.mark.skipif(not SCRIPT.is_file(), reason="needs a checkout")


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("predict_onnx", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return export("mer:motion-mlps", out=tmp_path_factory.mktemp("model") / "model.onnx")


@pytest.fixture(scope="module")
def pair(tiny_corpora: Path, model: Path) -> tuple[Path, Path]:
    """Onset and apex of a clip of SAMM in which something moves."""
    table: pd.DataFrame = mer.datasets.read("samm", tiny_corpora / "SAMM").table
    rows = table[table["onset"] < table["apex"]]
    pairs = zip(map(Path, rows["onset_path"]), map(Path, rows["apex_path"]), strict=True)
    with mer.load(model) as predictor:
        return next(pair for pair in pairs if predictor.predict(*pair).label is not None)


@pytest.mark.parametrize(
    "options",
    [
        Input("flow", size=32),
        Input("flow", size=28, scale="channel", blur=0.7),
        Input("flow", size=40, center="none", scale="joint"),
        Input("apex", size=64),
        Input("onset_apex", size=48),
        Input("apex_flow", size=128, blur=1.0),
    ],
    ids=lambda options: f"{options.name}-{options.scale}",
)
def test_the_input_is_that_of_mer(
    options: Input, script: ModuleType, pair: tuple[Path, Path]
) -> None:
    prepare = Prepare(size=160, margin=0.2, flow=Flow(stabilise=options.scale != "joint"))
    facts = {"prepare": to_plain(prepare), "input": to_plain(options)}
    pictures = [read_picture(path) for path in pair]
    with FaceFinder() as finder:
        sample = prepare_pictures(*pictures, prepare, finder)
    assert isinstance(sample, Sample)
    wanted = inputs.make(options).build(sample).transpose(2, 0, 1)[None]
    found = script.network_input(*pictures, facts, FACE_MODEL)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-6)
    assert np.ptp(found) > 0


def run(python: str, blocked: list[str], arguments: list[Path]) -> dict[str, Any]:
    """What the script prints, in a process that cannot import some modules."""
    lines = [
        "import runpy, sys",
        *(f"sys.modules[{name!r}] = None" for name in blocked),
        f"sys.argv = {[str(one) for one in (SCRIPT, *arguments)]!r}",
        f"runpy.run_path({str(SCRIPT)!r}, run_name='__main__')",
    ]
    done = subprocess.run(
        [python, "-c", "\n".join(lines)], capture_output=True, text=True, cwd=SCRIPT.anchor
    )
    assert done.returncode == 0, done.stderr
    printed: dict[str, Any] = json.loads(done.stdout)
    return printed


def same_as_mer(printed: dict[str, Any], model: Path, pair: tuple[Path, Path]) -> None:
    with mer.load(model) as predictor:
        wanted = predictor.predict(*pair)
    numbers = max(wanted.scores["zero_shot"], key=wanted.scores["zero_shot"].__getitem__)
    assert printed["label"] == numbers
    for head, scores in wanted.scores.items():
        assert printed["scores"][head] == pytest.approx(scores, abs=1e-4)
    assert printed["units"] == pytest.approx(wanted.units, abs=1e-4)


def test_without_mer_and_torch_its_scores_are_those_of_mer(
    model: Path, pair: tuple[Path, Path]
) -> None:
    printed = run(sys.executable, ["torch", "mer", "pandas"], [model, FACE_MODEL, *pair])
    same_as_mer(printed, model, pair)


@pytest.mark.slow
def test_in_an_environment_of_four_packages_its_scores_are_those_of_mer(
    model: Path, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    venv.create(tmp_path, with_pip=True)
    python = tmp_path / "bin" / "python"
    packages = ["onnxruntime", "numpy", "opencv-python-headless", "mediapipe"]
    install = [python, "-m", "pip", "install", "-q", "-c", ROOT / "constraints.txt", *packages]
    done = subprocess.run(install, capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"packages cannot be installed here: {done.stderr[-200:]}")
    there = subprocess.run([python, "-m", "pip", "list"], capture_output=True, text=True).stdout
    assert "torch" not in there
    printed = run(str(python), [], [model, FACE_MODEL, *pair])
    same_as_mer(printed, model, pair)


@pytest.mark.parametrize(
    ("prepare", "options", "said"),
    [
        (Prepare(flow=Flow(method="tvl1")), Input(), "prepare.flow=tvl1"),
        (Prepare(faces="as_is"), Input(), "prepare.faces=as_is"),
        (Prepare(), Input("difference"), "input=difference"),
        (Prepare(), Input(target="mine.Input"), "input=mine.Input"),
    ],
)
def test_settings_that_it_does_not_cover_are_refused_by_name(
    prepare: Prepare, options: Input, said: str, script: ModuleType
) -> None:
    with pytest.raises(SystemExit, match=said):
        script.refuse_others(to_plain(prepare), to_plain(options))


class FakeSession:
    """Gives fixed outputs."""

    def __init__(self, **outputs: np.ndarray) -> None:
        self.outputs = outputs

    def get_outputs(self) -> list[Any]:
        return [type("Output", (), {"name": name}) for name in self.outputs]

    def run(self, names: list[str], _: Any) -> list[np.ndarray]:
        return [self.outputs[name] for name in names]


def test_confidence_and_action_units_by_hand(script: ModuleType) -> None:
    session = FakeSession(
        svm=np.array([[2.0, 0.0]]),
        svm_label=np.array([0]),
        units=np.array([[0.1, 0.7, 0.3, 0.2]], np.float32),
    )
    facts = {
        "heads": ["svm"],
        "classes": ["negative", "positive"],
        "calibration": {"svm": {"temperature": 2.0, "form": "margins"}},
        "offsets": {"svm": [0.0, 1.0]},
        "units": [4, 12],
    }
    found = script.predict(session, facts, None)
    assert found["confidence"] == pytest.approx(1 / (1 + np.exp(-1)))  # (2 - 0) / 2
    assert found["units"] == pytest.approx({"AU4": 0.3, "AU12": 0.7})
    facts["calibration"] = {}
    assert script.predict(session, facts, None)["confidence"] is None


@pytest.mark.parametrize("form", ["probabilities", "votes", "margins"])
def test_logits_are_those_of_mer(script: ModuleType, form: Form) -> None:
    scores = np.array([[0.6, 0.3, 0.1]])
    if form == "votes":
        scores = np.array([[2.2, 0.9, -0.1], [1.2, -0.2, -np.inf]])
    for row, wanted in zip(scores, as_logits(scores, form), strict=True):
        assert script.logits(row, form) == pytest.approx(wanted)
