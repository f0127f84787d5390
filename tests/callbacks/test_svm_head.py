"""The SVM head: scikit-learn's scores, safe to store."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import Normalizer, StandardScaler
from sklearn.svm import SVC

from mer.callbacks.svm_head import SVMHead
from mer.errors import MerError

pytestmark = pytest.mark.usefixtures("one_thread")


def clouds(labels: list[int], seed: int = 0, width: int = 5) -> tuple[np.ndarray, np.ndarray]:
    """Overlapping clouds, one per class, with dimensions of very different scale."""
    rng = np.random.default_rng(seed)
    y = np.array(labels)
    x = rng.standard_normal((len(y), width)) + y[:, None] * np.linspace(-1, 1, width)
    return x * np.logspace(-1, 2, width), y


def fitted(labels: list[int], n_classes: int, **options: Any) -> SVMHead:
    head = SVMHead(**options)
    head.fit(*clouds(labels), n_classes)
    return head


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"kernel": "linear", "C": 0.3, "class_weight": None},
        {"kernel": "poly", "degree": 2, "coef0": 1.0, "gamma": "auto"},
        {"C": 10.0, "gamma": 0.05, "normalise": True},
        {"kernel": "rbf", "standardise": False, "gamma": 0.01},
    ],
)
@pytest.mark.parametrize("n_classes", [2, 3, 4])
def test_scores_are_scikit_learns(n_classes: int, options: dict[str, Any]) -> None:
    labels = [i % n_classes for i in range(30)] + [0] * 15
    head = fitted(labels, n_classes, **options)
    x, y = clouds(labels)
    plain = {k: v for k, v in options.items() if k not in ("standardise", "normalise")}
    steps = [StandardScaler()] if options.get("standardise", True) else []
    steps += [Normalizer()] if options.get("normalise") else []
    svc = SVC(**{"class_weight": "balanced", **plain}, break_ties=True)
    pipeline = make_pipeline(*steps, svc).fit(x, y)
    new, _ = clouds([i % n_classes for i in range(300)], seed=9)
    expected = pipeline.decision_function(new)
    scores = head.scores(new)
    assert scores.shape == (300, n_classes)
    if n_classes == 2:  # scikit-learn gives one column, positive for the second class
        expected = np.stack([-expected, expected], axis=1)
    np.testing.assert_allclose(scores, expected, atol=1e-9)
    assert (scores.argmax(1) == pipeline.predict(new)).all()
    assert len(set(scores.argmax(1).tolist())) == n_classes


def test_an_absent_class_is_never_predicted() -> None:
    labels = [0, 3] * 10
    head = fitted(labels, 4)
    scores = head.scores(clouds([0] * 50, seed=3)[0])
    assert np.isneginf(scores[:, [1, 2]]).all()
    assert np.isfinite(scores[:, [0, 3]]).all()
    assert set(scores.argmax(1).tolist()) <= {0, 3}


def test_one_class_leaves_no_choice() -> None:
    head = fitted([2] * 5, 3)
    scores = head.scores(clouds([0] * 4)[0])
    assert scores.argmax(1).tolist() == [2] * 4
    with pytest.raises(MerError, match="width 5; this model's have width 4"):
        head.scores(np.zeros((1, 4)))


def test_state_is_safe_to_store(tmp_path: Path) -> None:
    for labels in ([0, 1, 2] * 8, [1] * 4):
        head = fitted(labels, 3)
        torch.save(head.state_dict(), tmp_path / "head.pt")
        again = SVMHead(kernel="linear")
        again.load_state_dict(torch.load(tmp_path / "head.pt", weights_only=True))
        x = clouds([0] * 20, seed=5)[0]
        assert np.array_equal(again.scores(x), head.scores(x))
    assert SVMHead().state_dict() == {}


def test_widths_are_named() -> None:
    with pytest.raises(MerError, match="width 5; this model's have width 8"):
        fitted([0, 1] * 5, 2).scores(np.zeros((3, 8)))


def test_a_head_that_is_not_fitted_says_so_and_exports_nothing() -> None:
    with pytest.raises(MerError, match="The SVM head svm is not fitted"):
        SVMHead().scores(np.zeros((2, 5)))
    assert SVMHead().export() is None


def test_the_exported_module_gives_the_scores_of_the_head() -> None:
    head, x = fitted([0, 1, 2] * 8, 3), clouds([0] * 6, seed=4)[0]
    module = head.export()
    assert module is not None
    assert np.array_equal(module(torch.from_numpy(x)).numpy(), head.scores(x))


def test_wrong_arguments_are_listed_together() -> None:
    with pytest.raises(MerError) as caught:
        SVMHead(kernel="sigmoid", C=0, gamma=-1.0, class_weight="equal", decision="sum")
    for part in ("kernel=sigmoid", "C=0", "gamma=-1.0", "class_weight=equal", "decision=sum"):
        assert part in str(caught.value)


@pytest.mark.parametrize("n_classes", [2, 3])
def test_margins_are_sums_of_tanh_over_the_pairs_of_a_class(n_classes: int) -> None:
    labels = [i % n_classes for i in range(30)]
    head = fitted(labels, n_classes, decision="margins")
    x, y = clouds(labels)
    svc = SVC(class_weight="balanced", decision_function_shape="ovo")
    pairs = make_pipeline(StandardScaler(), svc).fit(x, y).decision_function(x)
    t = np.tanh(pairs).T
    # Pairs 0-1, 0-2, 1-2; of two classes scikit-learn lets the second be positive.
    expected = [-t, t] if n_classes == 2 else [t[0] + t[1], t[2] - t[0], -t[1] - t[2]]
    np.testing.assert_allclose(head.scores(x), np.stack(expected, axis=1), atol=1e-9)


def test_the_kernel_of_two_sources_is_the_mean_of_theirs() -> None:
    labels = [0, 1, 2] * 10
    x, y = clouds(labels)
    new, _ = clouds([0, 1, 2] * 20, seed=9)
    head = SVMHead(sources=["embedding", "input"], C=3.0)
    head.widths = (2, 3)
    head.fit(x, y, 3)
    scaler = StandardScaler().fit(x)
    a, b = scaler.transform(x), scaler.transform(new)
    # Standardised, so that `scale` means 1 over the width of a source.
    parts = [(slice(0, 2), 1 / 2), (slice(2, 5), 1 / 3)]
    train, test = (
        sum(rbf_kernel(rows[:, at], a[:, at], gamma) for at, gamma in parts) / 2 for rows in (a, b)
    )
    svc = SVC(kernel="precomputed", C=3.0, class_weight="balanced", break_ties=True).fit(train, y)
    np.testing.assert_allclose(head.scores(new), svc.decision_function(test), atol=1e-3)
    state = head.state_dict()["settings"]
    assert state["C"] == 3.0 and state["gamma_set"] == "scale"
    assert state["gamma"] == pytest.approx([1 / 2, 1 / 3])
    again = SVMHead()
    again.load_state_dict(head.state_dict())
    assert np.array_equal(again.scores(new), head.scores(new))


def test_a_kernel_as_one_matrix_gives_the_same_scores() -> None:
    head = SVMHead(gamma="auto")
    head.by_matrix = True
    x, y = clouds([0, 1, 2] * 10)
    head.fit(x, y, 3)
    expected = fitted([0, 1, 2] * 10, 3, gamma="auto").scores(x)
    np.testing.assert_allclose(head.scores(x), expected, atol=1e-3)  # where libsvm stops
