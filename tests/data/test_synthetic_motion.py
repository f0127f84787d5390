"""Synthetic motion as inputs and batches of a training."""

from typing import Any

import numpy as np
import pytest
import torch

from mer.config.settings import Data, Flow, Input, Motion, Prepare, Pretrain, Settings
from mer.data.augmentation import augmentation
from mer.data.datamodule import MERDataModule
from mer.data.motion_batches import VALIDATED, MotionDataModule
from mer.data.synthetic_motion import MotionSamples, layouts_of, problems, shown_by
from mer.datasets.labels import load_scheme
from mer.errors import MerError
from mer.prepare.faces import CANONICAL, similarity
from mer.synthetic.motion_fields import BLOCK
from mer.synthetic.motion_layout import MEGC2019
from mer.synthetic.unit_motion import PLACES, UNITS
from tests.builders import flow_dataset


def settings(
    motion: Motion | None = None, macro: dict[str, Any] | None = None, **more: Any
) -> Settings:
    chosen = {"labels": dict(load_scheme("macro-3")), "epochs": 3, **(macro or {})}
    return Settings(
        input=more.pop("input", Input("flow", size=16)),
        macro=Pretrain(motion=motion or Motion(samples=96, batch_size=8), **chosen),
        **more,
    )


def test_faces_lie_as_in_prepared_crops() -> None:
    chosen = settings(prepare=Prepare(margin=0.2, flow=Flow(stabilise=False)))
    [layout], size = layouts_of(chosen), 200
    landmarks = np.zeros((478, 2), np.float32)
    landmarks[list(CANONICAL)] = list(CANONICAL.values())
    matrix = similarity(landmarks, size, 0.2)
    for point in CANONICAL.values():
        x, y = matrix[:, :2] @ point + matrix[:, 2]
        assert (point[0] / layout.width + 0.5) * size - 0.5 == pytest.approx(x, abs=1)
        assert ((point[1] - layout.middle) / layout.height + 0.5) * size - 0.5 == pytest.approx(
            y, abs=1
        )
    assert layout.masked and not layout.stretched and layout.head == 1.0


def test_published_pictures_are_recognised() -> None:
    pictures = {"flow": {"root": "x.npz", "array_kind": "flow"}}
    assert layouts_of(settings(data=Data(micro=pictures))) == [MEGC2019]
    [layout] = layouts_of(settings(data=Data(micro={**pictures, "samm": {"root": "SAMM"}})))
    assert layout.masked
    assert layouts_of(settings(Motion(layout="megc2019"))) == [MEGC2019]
    assert layouts_of(settings(Motion(layout="aligned"), data=Data(micro=pictures))) == [layout]
    assert layouts_of(settings(Motion(layout="both"))) == [layout, MEGC2019]


def test_layouts_take_turns() -> None:
    def images(layout: str) -> torch.Tensor:
        return MotionSamples(settings(Motion(layout=layout)), 0).take(3, 3 * BLOCK)["image"]

    both, aligned, published = map(images, ("both", "aligned", "megc2019"))
    own = (torch.arange(3, 3 + 3 * BLOCK) // BLOCK) % 2 == 0
    assert torch.equal(both[own], aligned[own])
    assert torch.equal(both[~own], published[~own])


def test_samples_are_built_like_any_other() -> None:
    chosen = settings(Motion(layout="megc2019"), input=Input("flow", size=32, center="none"))
    batch = MotionSamples(chosen, 3).take(5, 6)
    again = MotionSamples(chosen, 3).take(0, 11)
    assert batch["image"].shape == (6, 3, 32, 32) and batch["image"].dtype == torch.float32
    assert batch["units"].shape == (6, 2 * len(UNITS)) and batch["index"].tolist() == [-1] * 6
    for name, values in batch.items():
        assert torch.equal(values, again[name][5:])
    # Published pictures are 28 px wide: enlarged to 32, their u and v grow with them.
    small = MotionSamples(settings(Motion(layout="megc2019"), input=Input("flow", size=28)), 3)
    ratio = batch["image"][:, :2].std() / small.take(5, 6)["image"][:, :2].std()
    assert ratio == pytest.approx(32 / 28, rel=0.1)


def test_classes_follow_from_the_scheme() -> None:
    shown = shown_by(settings(Motion(shares={"negative": 2, "positive": 1, "surprise": 1})))
    shares = np.bincount(shown.classes, shown.shares)
    np.testing.assert_allclose(shares, [0.5, 0.25, 0.25])
    smiles = shown.units[:, PLACES[12]] * (shown.units.sum(axis=1) == 1)
    assert shown.classes[smiles > 0].tolist() == [1]
    six = {**load_scheme("macro-6"), "map": {}}  # emotions that are class names are those classes
    assert set(shown_by(settings(macro={"labels": six})).classes) == set(range(6))
    with pytest.raises(MerError, match="no emotion of synthetic motion has the class other of"):
        shown_by(settings(macro={"labels": dict(load_scheme("samm-5"))}))
    with pytest.raises(MerError, match="shares names happy; the classes are negative, positive"):
        shown_by(settings(Motion(shares={"happy": 1})))


def test_constants_normalise_the_samples() -> None:
    samples = MotionSamples(settings(), 0)
    mean, std = samples.statistics(np.empty(0, np.int64), ([0] * 3, [1] * 3))
    images = (samples.take(0, 512)["image"] - torch.tensor(mean).view(3, 1, 1)) / torch.tensor(
        std
    ).view(3, 1, 1)
    assert mean[:2] == [0, 0]
    np.testing.assert_allclose(images.square().mean((0, 2, 3)), [1, 1, 1], rtol=0.15)
    assert samples.class_weights(np.empty(0, np.int64)) == pytest.approx([1, 1, 1])


def test_motion_takes_the_strength_of_real_samples() -> None:
    samples = MotionSamples(settings(), 0)
    proportion = samples.moments()[1][0] / samples.moments()[1][1]
    samples.match(np.array([1.0, 3.0, 0.25]))
    square = samples.moments()[1]
    assert square[2] == pytest.approx(0.25, rel=1e-3)
    assert square[0] / square[1] == pytest.approx(proportion, rel=1e-3)


def loaders(real: bool) -> MotionDataModule:
    chosen = settings(macro={"batch_size": 5})
    nobody, data = np.empty(0, np.int64), None
    if real:
        own = flow_dataset(size=16)
        own.table["person"] = own.table["sample_id"]
        train = np.arange(3, 21)
        data = MERDataModule(own, train, np.arange(3), nobody, batch_size=5, augment=None, seed=4)
    return MotionDataModule(chosen, MotionSamples(chosen, 1), MotionSamples(chosen, 2, 0.0), data)


def epoch(data: MotionDataModule, number: int) -> list[dict[str, torch.Tensor]]:
    loader = data.train_dataloader()
    loader.sampler.set_epoch(number)
    return list(loader)


def test_steps_go_on_from_epoch_to_epoch() -> None:
    data = loaders(real=False)
    batches = [batch for number in range(3) for batch in epoch(data, number)]
    assert len(batches) == 96 / 8
    whole = data.batches.motion.take(0, 96)
    for name, values in whole.items():
        assert torch.equal(torch.cat([batch[name] for batch in batches]), values)
    for one, other in zip(epoch(data, 1), epoch(loaders(real=False), 1), strict=True):
        assert torch.equal(one["image"], other["image"])  # whatever was drawn before


def test_the_epoch_may_be_set_after_the_iterator_is_made() -> None:
    """Lightning does so where a training is continued."""
    loader = loaders(real=False).train_dataloader()
    batches = iter(loader)
    loader.sampler.set_epoch(2)
    assert torch.equal(next(batches)["image"], epoch(loaders(real=False), 2)[0]["image"])


def test_validation_samples_are_others_and_all_have_a_class() -> None:
    data = loaders(real=False)
    first, loader = list(data.val_dataloader()), data.val_dataloader()
    if hasattr(loader.sampler, "set_epoch"):
        loader.sampler.set_epoch(1)  # as Lightning does
    second = list(loader)
    assert sum(len(batch["label"]) for batch in first) == 96 < VALIDATED
    assert min(int(batch["label"].min()) for batch in first) == 0
    for one, other in zip(first, second, strict=True):
        assert torch.equal(one["image"], other["image"])
    assert not torch.equal(first[0]["image"], data.batches.motion.take(0, 96)["image"])


def test_real_samples_stand_beside_synthetic_ones() -> None:
    data = loaders(real=True)
    batches = [batch for number in range(3) for batch in epoch(data, number)]
    index = torch.stack([batch["index"] for batch in batches])
    assert index.shape == (12, 8 + 5) and (index[:, :8] == -1).all()
    rounds = index[:, 8:].ravel().numpy()
    for start in (0, 18, 36):  # each round shows each training sample once, in another order
        assert sorted(rounds[start : start + 18]) == list(range(3, 21))
    assert rounds[:18].tolist() != rounds[18:36].tolist()
    first, dataset = batches[0], data.real.dataset
    images = dataset.images(rounds[:5]).transpose(0, 3, 1, 2)
    np.testing.assert_array_equal(first["image"][8:], images)
    np.testing.assert_array_equal(first["label"][8:], dataset.labels[rounds[:5]])
    assert (first["units"][8:] == -1).all() and (first["units"][:8] >= 0).all()
    [validation] = list(data.val_dataloader())
    assert validation["index"].tolist() == [0, 1, 2]


def test_real_samples_are_augmented_anew_in_every_round() -> None:
    data = loaders(real=True)
    kind = data.real.dataset.kind
    noise = {"flip": 0, "shift": 0, "scale": 0, "rotate": 0, "gain": 0.5, "offset": 0, "noise": 0}
    data.real.inputs.augmentation = augmentation(noise, kind)
    shown: dict[int, list[torch.Tensor]] = {}
    for number in range(3):
        for batch in epoch(data, number):
            for place, image in zip(batch["index"][8:], batch["image"][8:], strict=True):
                shown.setdefault(int(place), []).append(image)
    twice = next(images for images in shown.values() if len(images) > 1)
    assert not torch.equal(twice[0], twice[1])


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ({"input": Input("apex_flow")}, "makes flow alone, and input=apex_flow reads apex, flow"),
        ({"macro": {"devices": 2}}, "trains on one device; set macro.devices=1"),
        ({"macro": {"labels": dict(load_scheme("samm-5"))}}, "has the class other"),
    ],
)
def test_contradictions_are_sentences(words: dict[str, Any], sentence: str) -> None:
    assert not problems(settings())
    [found] = problems(settings(**words))
    assert sentence in found


def test_own_inputs_of_flow_work(monkeypatch: pytest.MonkeyPatch) -> None:
    from mer.data.inputs import INPUTS, SampleInput

    class UV(SampleInput):
        channels, needs = ("u", "v"), ("flow",)

        def draw(self, sample: Any) -> Any:
            return self.flow(sample)[..., :2]

    monkeypatch.setitem(INPUTS, "uv", UV)
    chosen = settings(input=Input("uv", size=16))
    assert not problems(chosen)
    assert MotionSamples(chosen, 0).take(0, 2)["image"].shape == (2, 2, 16, 16)
