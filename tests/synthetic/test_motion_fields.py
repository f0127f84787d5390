"""Fields of synthetic motion: what single action units do, and how samples are drawn."""

import numpy as np
import pytest

from mer.prepare.faces import CANONICAL
from mer.prepare.flow import FlowField
from mer.prepare.precomputed import flow_of_picture
from mer.synthetic.motion_draws import ANY_UNIT, BLINK, canonical_faces, combinations
from mer.synthetic.motion_fields import BLOCK, MotionFields, skin_motion, strain, stretch
from mer.synthetic.motion_layout import MEGC2019, Layout
from mer.synthetic.unit_motion import COMBINATIONS, PLACES, UNITS, numbers

SQUARE = Layout(2.1, 2.1, 0.3, scale=(0.05, 0.05), shift=(0.02, 0.02), angle=0.02)
CLASSES = {"happiness": 0, "surprise": 1}
SHOWN = combinations(CLASSES, {0: 0.25, 1: 0.75})

# Points of the canonical face, right half of the picture, in outer-eye distances.
INNER_BROW, OUTER_BROW, GLABELLA = (0.17, -0.24), (0.5, -0.26), (0.09, -0.2)
UPPER_LID, LOWER_LID, CHEEK, CROW = (0.37, -0.1), (0.37, 0.04), (0.42, 0.2), (0.58, -0.04)
NOSE_SIDE, UPPER_LIP, LOWER_LIP = (0.14, 0.2), (0.0, 0.6), (0.0, 0.84)
CORNER, BESIDE_CORNER, CHIN = (0.28, 0.72), (0.4, 0.68), (0.0, 1.05)

#: Unit -> points, each with the signs of its motion to the right and downwards (None: either).
FACS = {
    1: [(INNER_BROW, None, -1)],
    2: [(OUTER_BROW, None, -1)],
    4: [(INNER_BROW, -1, 1), (GLABELLA, -1, 1)],
    5: [(UPPER_LID, None, -1)],
    6: [(CHEEK, None, -1), (LOWER_LID, None, -1), (CROW, -1, None)],
    7: [(LOWER_LID, None, -1), (UPPER_LID, None, 1)],
    9: [(NOSE_SIDE, None, -1), (INNER_BROW, -1, 1), (UPPER_LIP, None, -1)],
    10: [((0.18, 0.58), None, -1)],
    12: [(CORNER, 1, -1), (CHEEK, 1, -1)],
    14: [(CORNER, 1, None), ((0.5, 0.69), -1, None)],
    15: [(CORNER, None, 1)],
    17: [(CHIN, None, -1), (LOWER_LIP, None, -1)],
    20: [(CORNER, 1, None)],
    24: [(UPPER_LIP, None, 1), (LOWER_LIP, None, -1), ((0.26, 0.71), -1, None)],
    25: [(LOWER_LIP, None, 1), ((0.0, 0.54), None, -1)],
    26: [(CHIN, None, 1), (LOWER_LIP, None, 1)],
    45: [(UPPER_LID, None, 1)],
}


def intensities(number: int, left: float = 1.0, right: float = 1.0) -> np.ndarray:
    units = np.zeros((1, 2, len(UNITS)), np.float32)
    units[0, :, PLACES[number]] = left, right
    return units


def motion_at(field: np.ndarray, layout: Layout, point: tuple[float, float]) -> np.ndarray:
    """u and v at a point of the canonical face."""
    size = field.shape[-1]
    column = int((point[0] / layout.width + 0.5) * size)
    row = int(((point[1] - layout.middle) / layout.height + 0.5) * size)
    return field[:, row, column]


def test_every_unit_has_its_expected_motion() -> None:
    assert set(FACS) == set(UNITS)


@pytest.mark.parametrize("layout", [SQUARE, MEGC2019], ids=["square", "megc2019"])
@pytest.mark.parametrize("number", UNITS)
def test_a_unit_moves_the_skin_as_facs_says(number: int, layout: Layout) -> None:
    field = skin_motion(intensities(number), canonical_faces(1), layout, 84)[0]
    for (x, y), right, down in FACS[number]:
        for half in (1, -1):  # both halves of the face do the same, mirrored
            u, v = motion_at(field, layout, (half * x, y))
            if right is not None:
                assert half * right * u > 0.1
            if down is not None:
                assert down * v > 0.1
    assert 0.3 < np.abs(field).max() < 1.6
    np.testing.assert_allclose(field[0], -field[0, :, ::-1], atol=1e-5)
    np.testing.assert_allclose(field[1], field[1, :, ::-1], atol=1e-5)


def test_a_unit_leaves_the_rest_of_the_face_alone() -> None:
    field = skin_motion(intensities(12), canonical_faces(1), SQUARE, 84)[0]
    for point in (INNER_BROW, OUTER_BROW, UPPER_LID, CANONICAL[33], CANONICAL[168]):
        assert np.abs(motion_at(field, SQUARE, point)).max() < 0.1


@pytest.mark.parametrize("number", [1, 2, 4, 6, 12, 14, 15, 20])
def test_halves_act_on_their_side(number: int) -> None:
    faces, right_of_middle = canonical_faces(1), np.s_[..., 42:]
    left = skin_motion(intensities(number, right=0), faces, SQUARE, 84)[0]
    right = skin_motion(intensities(number, left=0), faces, SQUARE, 84)[0]
    weight = np.abs(left).sum()
    assert np.abs(left[right_of_middle]).sum() > 0.7 * weight  # the person's left is our right
    np.testing.assert_allclose(right, left[..., ::-1] * [[[-1]], [[1]]], atol=1e-5)
    both = skin_motion(intensities(number, 1, 0.5), faces, SQUARE, 84)[0]
    np.testing.assert_allclose(both, left + 0.5 * right, atol=1e-5)


def test_strain_is_that_of_prepared_flow() -> None:
    fields = MotionFields(0, 20, SQUARE, SHOWN).take(0, 3).flow
    for u, v, found in fields:
        expected = FlowField(u, v).strain()
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-9)
    shear = np.zeros((1, 2, 5, 5), np.float32)
    shear[0, 0] = 0.1 * np.arange(5)[:, None]  # du/dy = .1, so strain = sqrt(2 * .05 ** 2)
    np.testing.assert_allclose(strain(shear), np.full((1, 5, 5), 0.05 * 2**0.5), rtol=1e-6)


def test_stretched_fields_are_read_like_published_pictures() -> None:
    flow = np.random.default_rng(0).normal(size=(1, 3, 8, 8)).astype(np.float32)
    low, high = (end(flow, axis=(2, 3), keepdims=True) for end in (np.min, np.max))
    grey = np.round(255 * (flow - low) / (high - low)).astype(np.uint8)
    picture = np.moveaxis(grey[0], 0, 2)
    expected = flow_of_picture(picture, ("u", "v", "strain"))
    np.testing.assert_allclose(stretch(flow)[0], expected, atol=1e-3)


def test_samples_depend_on_seed_and_number_alone() -> None:
    def fields(seed: int) -> MotionFields:
        return MotionFields(seed, 16, SQUARE, SHOWN)

    whole = fields(1).take(0, 3 * BLOCK)
    parts = fields(1)
    for size in (1, 7, BLOCK, BLOCK + 3):
        for start in range(0, 2 * BLOCK, size):
            for one, all_of_it in zip(parts.take(start, size), whole, strict=True):
                np.testing.assert_array_equal(one, all_of_it[start : start + size])
    backwards = fields(1)
    for start in (2 * BLOCK, 5, BLOCK):
        np.testing.assert_array_equal(backwards.take(start, 9).flow, whole.flow[start : start + 9])
    other = fields(2).take(0, 3 * BLOCK)
    assert np.abs(other.flow - whole.flow).mean() > 0.1 * np.abs(whole.flow).mean()
    assert not np.array_equal(other.units, whole.units)
    assert len(np.unique(whole.flow.reshape(3 * BLOCK, -1), axis=0)) == 3 * BLOCK


def test_classes_are_as_frequent_as_set() -> None:
    count = 100 * BLOCK
    fields = MotionFields(0, 2, SQUARE, SHOWN, free=0.4)
    fields_units, classes = fields.take(0, count)[1:]
    shares = [np.mean(classes == k) for k in (-1, 0, 1)]
    np.testing.assert_allclose(shares, [0.4, 0.6 * 0.25, 0.6 * 0.75], atol=0.02)
    present = fields_units.max(axis=1) > 0
    assert present[:, PLACES[45]].mean() == pytest.approx(BLINK, abs=0.02)
    assert present[classes == -1][:, PLACES[12]].mean() == pytest.approx(ANY_UNIT, abs=0.02)
    smiles = present[classes == 0][:, PLACES[12]].mean()
    ways = COMBINATIONS["happiness"]
    expected = sum(weight for text, weight in ways.items() if 12 in numbers(text))
    assert smiles == pytest.approx(expected / sum(ways.values()), abs=0.02)
    assert not present[classes == 0][:, PLACES[15]].any()  # no unit of another class


def test_fields_have_the_lengths_of_the_layout() -> None:
    """A full unit moves .0032 to .0128 eye distances; 2.1 of them are 64 pixels here."""
    fields = MotionFields(0, 64, SQUARE, SHOWN).take(0, 4 * BLOCK).flow
    largest = np.sort(np.abs(fields[:, :2]).max(axis=(1, 2, 3)))
    low, high = (length * 64 / 2.1 for length in SQUARE.peak)
    assert low < np.median(largest) < 1.5 * high


def test_a_sample_is_the_same_at_any_size() -> None:
    large = MotionFields(0, 64, SQUARE, SHOWN).take(0, BLOCK).flow[:, :2]
    small = MotionFields(0, 32, SQUARE, SHOWN).take(0, BLOCK).flow[:, :2]
    shrunk = large.reshape(BLOCK, 2, 32, 2, 32, 2).mean(axis=(3, 5)) / 2  # in pixels of 32
    error = np.sqrt(np.square(shrunk - small).mean())
    assert error < 0.2 * np.sqrt(np.square(small).mean())  # but for the white noise


def test_masked_layouts_are_still_outside_of_the_face() -> None:
    masked = Layout(**{**vars(SQUARE), "masked": True})
    fields = MotionFields(0, 32, masked, SHOWN).take(0, BLOCK).flow
    corners, middle = fields[:, :2, :4, :4], fields[:, :2, 12:20, 12:20]
    assert np.abs(corners).mean() < 0.01 * np.abs(middle).mean()
