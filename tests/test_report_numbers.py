"""What `mer report` computes: calibration, neighbours, facial regions, activation, the command."""

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import OmegaConf
from torch import nn

from mer.config.composition import compose
from mer.report import cam, numbers, repeat
from mer.report.inside import _rotate
from mer.report.looks import verdict
from mer.report.networks import Absent
from mer.report.numbers import Share


def test_calibration_error_weighs_each_bin_by_its_samples() -> None:
    table, error = numbers.reliability([0.95, 0.95, 0.55, 0.55], [1, 0, 1, 1])
    # .9 to 1: accuracy 1/2 at confidence .95; .5 to .6: accuracy 1 at .55.
    assert error == pytest.approx((2 * 0.45 + 2 * 0.45) / 4)
    assert table["samples"].tolist() == [2, 2]
    assert table["accuracy"].tolist() == [1, 0.5]
    assert table["low"].tolist() == pytest.approx([0.5, 0.9])


def test_a_confidence_on_an_edge_belongs_to_the_bin_below_and_zero_to_the_first() -> None:
    table, _ = numbers.reliability([0.0, 0.5, 1.0], [0, 1, 1], bins=2)
    assert table["samples"].tolist() == [2, 1]


def test_perfectly_calibrated_predictions_have_no_error() -> None:
    _, error = numbers.reliability([0.75] * 4, [1, 1, 1, 0])
    assert error == pytest.approx(0)


def test_neighbours_are_counted_against_chance_and_against_what_is_possible() -> None:
    embeddings = np.array([[1.0, 0.1], [1.0, 0.0], [1.0, -0.1], [-1.0, 0.1], [-2.0, 0.0]])
    queries, others = np.array([0]), np.array([[False, True, True, True, True]])
    near = numbers.neighbours(embeddings, queries, others, k=2)
    assert near.tolist() == [[1, 2]]
    share = numbers.share(["a", "a", "b", "b", "b"], queries, others, near)
    assert share == Share(found=0.5, chance=0.25, most=0.5)
    assert share.pull == 1  # the only other `a` is among the two nearest


def test_folds_count_with_their_samples() -> None:
    shares = [Share(1.0, 0.2, 1.0), Share(0.0, 0.4, 0.5)]
    assert numbers.mean_share(shares, [3, 1]) == pytest.approx((0.75, 0.25, 0.875))


@pytest.mark.parametrize(
    ("pulls", "said"),
    [
        ((0.5, 0.1, 0.2), "emotions more than people"),
        ((0.2, 0.6, 0.3), "people more than emotions"),
        ((0.2, 0.3, 0.6), "datasets more than emotions"),
        ((0.02, 0.05, 0.01), "neither"),
        ((0.30, 0.31, 0.1), "about equally"),
    ],
)
def test_the_verdict_names_what_draws_neighbours_together(
    pulls: tuple[float, float, float], said: str
) -> None:
    names = ("class", "person", "dataset")
    shares = {name: Share(pull, 0.0, 1.0) for name, pull in zip(names, pulls, strict=True)}
    assert said in verdict(shares)


def test_a_turned_space_is_turned_back_by_the_samples_that_both_know() -> None:
    original = np.random.default_rng(0).normal(size=(8, 3))
    turn, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))
    turned = 2.5 * original @ turn + [1.0, -2.0, 3.0]
    here, known = np.array([0, 1, 2, 3, 4, 5, 6, 7]), np.array([2, 3, 4, 5, 6, 7])
    back = _rotate(turned[here], here, 2, known, original[known])
    np.testing.assert_allclose(back, original[:2], atol=1e-9)


def test_persons_are_sorted_by_dataset_then_accuracy_then_samples() -> None:
    frame = pd.DataFrame(
        {
            "dataset": ["x"] * 4 + ["a"],
            "person": ["x/1", "x/2", "x/3", "x/3", "a/1"],
            "svm_correct": [False, True, True, True, False],
        }
    )
    table = numbers.per_person(frame, ["svm"])
    assert table["person"].tolist() == ["a/1", "x/3", "x/2", "x/1"]
    assert table["svm"].tolist() == [0, 1, 1, 0]


def test_reasons_differ_by_words_and_not_by_numbers() -> None:
    reasons = ["frame 7 of 20 is missing", "frame 12 of 31 is missing", "emotion `fear`: no class"]
    dropped = pd.DataFrame({"item": list("abc"), "action": "dropped", "reason": reasons})
    assert [(row["count"], row["reason"]) for row in numbers.reasons(dropped)] == [
        (2, "frame … of … is missing"),
        (1, "emotion `fear`: no class"),
    ]


def test_a_region_is_where_its_landmarks_are() -> None:
    landmarks = np.full((478, 2), 50.0)
    for index, (x, y) in zip(
        (61, 291, 0, 17), ((30, 80), (70, 80), (50, 75), (50, 90)), strict=True
    ):
        landmarks[index] = x, y
    landmarks[[13, 14, 37, 267, 84, 314]] = 50, 80
    mask = cam.region_mask(landmarks, size=100)
    mouth = mask == cam.NAMES.index("mouth")
    rows, columns = np.nonzero(mouth)
    top, left, right = (
        (place + 0.5) / cam.GRID for place in (rows.min(), columns.min(), columns.max())
    )
    cell = 1 / cam.GRID
    assert top == pytest.approx(0.755 - cam.PADDING, abs=cell)
    assert left == pytest.approx(0.305 - cam.PADDING, abs=cell)
    assert right == pytest.approx(0.705 + cam.PADDING, abs=cell)
    assert mask[0, 0] == cam.NAMES.index("elsewhere")


def test_without_landmarks_boxes_stand_in_and_brows_lie_above_the_mouth() -> None:
    mask = cam.region_mask(None, size=28)
    middle = {name: np.nonzero(mask == place)[0].mean() for place, name in enumerate(cam.NAMES)}
    assert middle["brows"] < middle["eyes"] < middle["nose"] < middle["mouth"]


def test_activation_is_shared_out_among_regions() -> None:
    mask = np.zeros((2, 2), dtype=np.int64)
    mask[1] = cam.NAMES.index("mouth")
    shares = cam.region_shares(np.array([[1.0, 0.0], [2.0, 1.0]]), mask)
    assert shares[cam.NAMES.index("brows")] == 0.25
    assert shares[cam.NAMES.index("mouth")] == 0.75
    assert np.isnan(cam.region_shares(np.zeros((2, 2)), mask)).all()


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
    first, second = cam.class_activation(Corner(), "first", image)  # type: ignore[arg-type]
    half = cam.GRID // 2
    assert first[: half - 4, : half - 4].min() > 0
    assert first[half + 4 :].max() == first[:, half + 4 :].max() == 0
    assert second[half + 4 :, half + 4 :].min() > 0
    assert second[: half - 4].max() == 0


def test_a_backbone_that_ends_in_no_map_has_no_activation() -> None:
    module = Corner()
    module.backbone.forward_features = lambda image: image.flatten(1)
    with pytest.raises(Absent, match="ends in no feature map"):
        cam.find_layer(module, torch.zeros(1, 3, 8, 8))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "words",
    [
        ["protocol=group_kfold", "protocol.n_splits=3", "model.optimizer.lr=1e-5", "seed=3"],
        ["labels=casme2-5", "~data.micro.samm", "~data.micro.smic"],
    ],
)
def test_a_configuration_gives_a_command_that_gives_it_back(words: list[str]) -> None:
    wanted = compose([*words, "run.dir=unused"])
    found = repeat.derive(wanted)
    assert found is not None
    again = compose([*found, "run.dir=unused"])
    assert OmegaConf.to_container(again, resolve=True) == OmegaConf.to_container(
        wanted, resolve=True
    )


def test_values_are_quoted_as_hydra_reads_them() -> None:
    values = [None, True, 1e-5, "a b", "it's", "null", ["x", 1], {"k": "v"}, "plain/word.1"]
    words = [f"+extra.v{place}={repeat.quote(value)}" for place, value in enumerate(values)]
    cfg = compose([*words, "run.dir=unused"])
    assert list(OmegaConf.to_container(cfg.extra).values()) == values
