"""Scores of different heads on one scale; values worked out by hand."""

import numpy as np
import pytest

from mer.callbacks.svm_head import SVMHead
from mer.runs.standard_scores import Form, form_of, standardise

SURE = (2 / 2**0.5, -1 / 2**0.5, -1 / 2**0.5)


@pytest.mark.parametrize(
    ("form", "scores", "expected"),
    [
        ("probabilities", (1, 0, 0), SURE),
        # Half as far from the mean of the classes.
        ("probabilities", (2 / 3, 1 / 6, 1 / 6), [value / 2 for value in SURE]),
        ("probabilities", (0.75, 0.25), (0.5, -0.5)),
        ("margins", (2, 0, -2), (1.5**0.5, 0, -(1.5**0.5))),
        ("margins", (1, -1), (1, -1)),
        # Margins of 1 in each pair: 2, 1 and 0 votes, whose sums of margins are 2, 0 and -2.
        ("votes", (2 + 2 / 9, 1, -2 / 9), np.tanh(1) * np.array([1.5**0.5, 0, -(1.5**0.5)])),
        # A cycle: one vote each, and no class is ahead.
        ("votes", (1, 1, 1), (0, 0, 0)),
        ("votes", (0.5, -0.5), (np.tanh(0.5), -np.tanh(0.5))),
        # The third class had no training sample: it lies as far below as a score can.
        ("votes", (0.5, -0.5, -np.inf), np.array([2 + 3 * 0.46212, 2 - 3 * 0.46212, -4]) / 4.89898),
        ("votes", (0, -np.inf, -np.inf), np.array([4 / 3, -2 / 3, -2 / 3]) / 1.63299),
        ("other", (30, 10, 20), (1.5**0.5, -(1.5**0.5), 0)),
        ("other", (7, 7, 7), (0, 0, 0)),
        ("other", (3, 1, -np.inf), SURE),
    ],
)
def test_scores_of_each_form(
    form: Form, scores: tuple[float, ...], expected: tuple[float, ...]
) -> None:
    found = standardise(np.array([scores], float), form)[0]
    assert found == pytest.approx(expected, abs=1e-5)


def test_votes_of_a_fitted_svm_give_its_margins_back() -> None:
    rng = np.random.default_rng(0)
    head = SVMHead()
    head.fit(rng.normal(size=(30, 4)), np.arange(30) % 3, 3)
    rows = rng.normal(size=(20, 4))
    assert head.fitted is not None
    x = (rows - head.fitted.mean.numpy()) / head.fitted.scale.numpy()
    support, gamma = head.fitted.support.numpy(), head.fitted.settings["gamma"]
    kernel = np.exp(-gamma * ((x[:, None] - support) ** 2).sum(2))
    a, b, c = (kernel @ head.fitted.weights.numpy().T + head.fitted.intercepts.numpy()).T
    sums = 2 * np.tanh(np.stack([a + b, c - a, -b - c], axis=1) / 2)
    expected = (sums - sums.mean(axis=1, keepdims=True)) / (8 / 3) ** 0.5
    assert standardise(head.scores(rows), "votes") == pytest.approx(expected, abs=1e-9)


def test_the_form_follows_from_the_configuration() -> None:
    svm = {"_target_": "mer.callbacks.svm_head.SVMHead"}
    callbacks = {
        "svm_head": {**svm, "name": "svm"},
        "second": {**svm, "name": "wide", "decision": "margins"},
        "nearest": {"_target_": "own.Nearest", "name": "nearest"},
        "off": None,
    }
    unnamed = {"own": {**svm, "decision": "margins"}}  # such as a node of one's own
    assert form_of(SVMHead().name, unnamed) == "margins"
    forms = {
        head: form_of(head, callbacks)
        for head in ("softmax", "zero_shot", "baseline", "svm", "wide", "nearest")
    }
    assert forms == {
        "softmax": "probabilities",
        "zero_shot": "probabilities",
        "baseline": "votes",
        "svm": "votes",
        "wide": "margins",
        "nearest": "other",
    }
