"""What `mer report` computes: scores, calibration, facial regions, activation, the command."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mer.errors import MerError
from mer.models import grad_cam
from mer.report import activation, published, repeat, run_facts, run_scores, sample_pictures
from mer.runs.stored_run import Run
from tests.report.report_inputs import ROWS, write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Run(write_run(tmp_path_factory.mktemp("numbers") / "run"))


def test_scores_are_those_worked_out_by_hand(run: Run) -> None:
    pooled, *datasets = run_scores.score_table(run)
    assert [row.kind for row in pooled.rows] == ["main", "", "aside", "aside"]
    values = [[score.value for score in row.scores.values()] for row in pooled.rows]
    # UF1, UAR, accuracy, weighted F1, kappa
    assert values[0] == pytest.approx([0.611, 0.583, 0.625, 0.625, 0.368], abs=5e-4)
    assert values[1][:3] == pytest.approx([0.886, 0.917, 0.875], abs=5e-4)
    assert values[2][:3] == pytest.approx([0.222, 0.333, 0.5], abs=5e-4)
    assert values[3][1:3] == pytest.approx([1 / 3, 1 / 4 + 1 / 16 + 1 / 16])
    assert [(part.name, part.samples, part.persons) for part in datasets] == [
        ("casme2", 5, 2),
        ("samm", 3, 1),
    ]


def test_any_head_has_its_rows(run: Run) -> None:
    heads = {"trees": run.all_scores["softmax"], "majority": run.all_scores["majority"]}
    own = Run(run.directory)
    own.metrics = {**run.metrics, "heads": heads}
    rows = run_scores.score_table(own)[0].rows
    assert [row.head for row in rows] == ["trees", "majority class", "guessing"]


def test_scores_per_class_are_those_worked_out_by_hand(run: Run) -> None:
    # Five negative by the SVM, three of them rightly, of four that are.
    assert run_scores.per_class(run, "svm")[0] == [
        "pooled", "negative", 4, pytest.approx(3 / 5), pytest.approx(3 / 4), pytest.approx(2 / 3),
    ]  # fmt: skip


def test_persons_have_their_accuracy_the_best_of_a_dataset_first(run: Run) -> None:
    table = run_scores.per_person(run.predictions, ["svm", "softmax"])
    assert table.round(2).to_numpy().tolist() == [
        ["casme2", "casme2/s2", 2, 1.0, 1.0],
        ["casme2", "casme2/s1", 3, 0.67, 0.67],
        ["samm", "samm/1", 3, 0.33, 1.0],
    ]


def test_of_equal_persons_the_one_with_more_samples_comes_first() -> None:
    right = {"x/1": [False], "x/2": [True], "x/3": [True, True], "a/1": [False]}
    rows = [(person[0], person, value) for person, values in right.items() for value in values]
    frame = pd.DataFrame(rows, columns=["dataset", "person", "svm_correct"])
    table = run_scores.per_person(frame, ["svm"])
    assert table["person"].tolist() == ["a/1", "x/3", "x/2", "x/1"]


def test_thresholds_change_no_probability(tmp_path: Path) -> None:
    run_dir = write_run(tmp_path / "run")
    path = run_dir / "predictions.parquet"
    pd.read_parquet(path).assign(softmax="surprise").to_parquet(path)
    assert Run(run_dir).most_probable.tolist() == [row[5] for row in ROWS]


def test_the_surest_wrong_samples_come_first_and_the_least_probable_of_the_rest(
    run: Run,
) -> None:
    chosen = sample_pictures.hardest(run.predictions, run.classes, ["svm", "softmax"], count=2)
    # Ahead by 2 and 1.5; the third wrong one, ahead by .5, the softmax gets right.
    assert chosen["sure"]["sample_id"].tolist() == ["casme2/s1/b", "samm/1/c"]
    assert chosen["hard"].empty
    chosen = sample_pictures.hardest(run.predictions, run.classes, ["softmax"], count=2)
    assert chosen["sure"]["sample_id"].tolist() == ["casme2/s1/a"]


def test_samples_are_counted_by_dataset(run: Run) -> None:
    assert run_facts.samples(run) == [
        ["casme2", 3, 1, 1, 5, 2, 0],
        ["samm", 1, 1, 1, 3, 1, 0],
        ["all", 4, 2, 2, 8, 3, 0],
    ]


def test_published_scores_stand_beside_a_run_of_the_same_samples_alone(run: Run) -> None:
    assert published.beside(run) is None
    own = Run(run.directory)
    names = [
        f"{dataset}/s{number}"
        for dataset, count in published.COMPOSITE.items()
        for number in range(count)
    ]
    own.manifest = pd.DataFrame({"sample_id": names})
    shown = published.beside(own)
    assert shown is not None
    first, *others = shown["clean"]
    assert first[0] == "this run, SVM on embeddings"
    assert first[2].value == pytest.approx(0.611, abs=5e-4)
    assert first[4].startswith("last epoch")
    assert others[0] == ["RCN-A", 2020, 0.743, 0.719, "last epoch, by its code"]
    assert not any("test persons" in row[4] for row in others)
    assert all("test persons" in row[4] or "not known" in row[4] for row in shown["others"])
    own.manifest = own.manifest.iloc[1:]
    assert published.beside(own) is None


@pytest.mark.parametrize(
    ("others", "words"),
    [
        ({}, "what else the machine did meanwhile is not known"),
        ({"other_cores": 0.04}, "the machine did nothing else"),
        ({"other_cores": 1.34}, "measured under load: other processes used 1.3 cores"),
    ],
)
def test_a_latency_says_whether_the_machine_was_quiet(
    run: Run, others: dict[str, float], words: str
) -> None:
    own = Run(run.directory)
    own.cost = {"parameters": 5, "latency_ms": 9.1, **others}
    assert words in run_facts.cost(own)["latency"]


def test_a_region_is_where_its_landmarks_are() -> None:
    landmarks = np.full((478, 2), 50.0)
    corners = ((30, 80), (70, 80), (50, 75), (50, 90))
    landmarks[[61, 291, 0, 17]] = corners
    landmarks[[13, 14, 37, 267, 84, 314]] = 50, 80
    mask = grad_cam.region_mask(landmarks, size=100)
    rows, columns = np.nonzero(mask == grad_cam.NAMES.index("mouth"))
    edges = np.array([rows.min(), columns.min(), columns.max()])
    top, left, right = (edges + 0.5) / grad_cam.GRID
    cell = 1 / grad_cam.GRID
    assert top == pytest.approx(0.755 - grad_cam.PADDING, abs=cell)
    assert left == pytest.approx(0.305 - grad_cam.PADDING, abs=cell)
    assert right == pytest.approx(0.705 + grad_cam.PADDING, abs=cell)
    assert mask[0, 0] == grad_cam.NAMES.index("elsewhere")


def test_without_landmarks_boxes_stand_in_and_brows_lie_above_the_mouth() -> None:
    mask = grad_cam.region_mask(None, size=28)
    middle = {name: np.nonzero(mask == i)[0].mean() for i, name in enumerate(grad_cam.NAMES)}
    assert middle["brows"] < middle["eyes"] < middle["nose"] < middle["mouth"]


def test_activation_is_shared_out_among_regions_and_averaged_by_predicted_class() -> None:
    mask = np.zeros((2, 2), dtype=np.int64)  # brows
    mask[1] = grad_cam.NAMES.index("mouth")
    maps = np.array([[[1, 0], [2, 1]], [[1, 1], [1, 1]], [[0, 0], [0, 0]]], np.float32)
    predicted = np.array(["positive", "positive", "negative"], object)
    shares, area = activation.pool(maps, [mask] * 3, predicted)
    # One quarter and one half; the last sample has no activation at all.
    assert shares.loc["positive", ["brows", "mouth"]].tolist() == [0.375, 0.625]
    assert shares.loc["negative"].isna().all()
    assert area[["brows", "mouth", "eyes"]].tolist() == [0.5, 0.5, 0]


class Corner(nn.Module):
    """A network whose first class is the mean of the red channel, its second minus that."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = nn.Module()
        self.backbone.first = nn.Identity()
        self.backbone.forward_features = self.backbone.first.forward
        self.input_mean, self.input_std = 0.0, 1.0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        red = self.backbone.first(image)[:, 0].mean(dim=(1, 2))
        return torch.stack([red, -red], dim=1)


def test_class_activation_lies_where_the_evidence_is() -> None:
    image = torch.zeros(2, 3, 8, 8)
    image[0, 0, :4, :4] = 1.0  # for the first class
    image[1, 0, 4:, 4:] = -1.0  # for the second
    image[:, 1] = 5.0  # a channel that no class looks at
    best, (first, second) = grad_cam.class_activation(Corner(), "first", image)  # type: ignore[arg-type]
    assert best.tolist() == [0, 1]
    half = grad_cam.GRID // 2
    assert first[: half - 4, : half - 4].min() > 0
    assert first[half + 4 :].max() == first[:, half + 4 :].max() == 0
    assert second[half + 4 :, half + 4 :].min() > 0
    assert second[: half - 4].max() == 0


def test_a_backbone_that_ends_in_no_map_has_no_activation() -> None:
    module = Corner()
    module.backbone.forward_features = lambda image: image.flatten(1)
    with pytest.raises(MerError, match="ends in no feature map"):
        grad_cam.find_layer(module, torch.zeros(1, 3, 8, 8))  # type: ignore[arg-type]


def test_the_command_repeats_what_was_typed_less_the_directory(tmp_path: Path) -> None:
    OmegaConf.save({"seed": 0}, tmp_path / "config.yaml")
    assert repeat.command(tmp_path) is None
    (tmp_path / ".hydra").mkdir()
    words = ["data=megc2019", "run.dir=runs/a", "+trial.number=3", "runner=x", "~data.micro.samm"]
    OmegaConf.save(words, tmp_path / ".hydra" / "overrides.yaml")
    kept = "data=megc2019 runner=x '~data.micro.samm'"
    assert repeat.command(tmp_path) == f"mer train {kept}"
    sources = [{"provider": "main", "path": "/a"}, {"provider": "command-line", "path": "/my conf"}]
    runtime = {"hydra": {"runtime": {"config_sources": sources}}}
    OmegaConf.save(runtime, tmp_path / ".hydra" / "hydra.yaml")
    assert repeat.command(tmp_path) == f"mer train --config-dir '/my conf' {kept}"
