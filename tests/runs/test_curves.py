"""Learning curves: each epoch once while they are written, their mean over the folds."""

from pathlib import Path

import pytest

from mer.runs import curves

HISTORY = """epoch,step,train/accuracy,train/loss,train/uf1,val/loss,val/uf1
0,3,,,,{val},0.5
0,3,0.25,{first},0.2,,
1,7,,,,{val},0.7
1,7,0.5,{second},0.4,,
"""


@pytest.fixture
def two_folds(tmp_path: Path) -> Path:
    """Run directory with the histories of two folds, the second without validation persons."""
    for name, values in (("a", (1.0, 0.5, 2.0)), ("b", (3.0, 1.5, ""))):
        folder = tmp_path / "folds" / name
        folder.mkdir(parents=True)
        text = HISTORY.format(first=values[0], second=values[1], val=values[2])
        if name == "b":
            text = text.replace(",,0.5", ",,").replace(",,0.7", ",,")
        (folder / "metrics.csv").write_text(text)
    (tmp_path / "folds" / "not_begun").mkdir()
    return tmp_path


def test_mean_curves_and_their_spread(two_folds: Path) -> None:
    mean = curves.mean(two_folds, ["a", "b", "not_begun"])
    assert mean.index.tolist() == [0, 1]
    assert mean["train/loss"].tolist() == [2.0, 1.0]  # of 1 and 3, of 0.5 and 1.5
    assert mean["train/loss_low"].tolist() == [1.0, 0.5]
    assert mean["train/loss_high"].tolist() == [3.0, 1.5]
    assert mean["val/loss"].tolist() == [2.0, 2.0]  # of the one fold that has validation persons
    assert mean["val/uf1"].tolist() == [0.5, 0.7]
    assert mean["val/uf1_high"].tolist() == [0.5, 0.7]


def test_a_missing_history_is_no_obstacle(two_folds: Path) -> None:
    assert curves.last_train_loss(two_folds / "folds" / "a") == 0.5
    assert curves.last_train_loss(two_folds / "folds" / "not_begun") is None
    assert curves.mean(two_folds, ["not_begun"]).empty
    assert curves.NewEpochs(two_folds / "folds" / "not_begun").read() == []


def test_each_epoch_is_read_once_when_all_of_it_is_written(tmp_path: Path) -> None:
    lines = HISTORY.format(first=1.5, second=0.25, val=2.0).splitlines(keepends=True)
    epochs, path = curves.NewEpochs(tmp_path), tmp_path / "metrics.csv"
    first = {"train/loss": 1.5, "train/uf1": 0.2, "val/loss": 2.0, "val/uf1": 0.5}
    second = {"train/loss": 0.25, "train/uf1": 0.4, "val/loss": 2.0, "val/uf1": 0.7}
    read = []
    for end in range(len(lines) + 1):  # after so many lines, and half of the next one
        path.write_text("".join(lines[:end]) + "".join(lines[end : end + 1])[:6])
        read.append(epochs.read())
    assert read == [[], [], [], [(0, first)], [], [(1, second)]]
    path.write_text("".join(lines[:3]))  # the fold is trained again
    assert epochs.read() == []
    path.write_text("".join(lines) + "2,11,,,,1.0,0.9\n2,11,0.5,0.125,0.5,,\n3,11,,,,1.0,0.9\n")
    assert [epoch for epoch, _ in epochs.read()] == [2]  # the last line judges, and trains nothing


def test_a_continued_training_keeps_its_earlier_epochs(tmp_path: Path) -> None:
    lines = HISTORY.format(first=1.5, second=0.25, val=2.0).splitlines(keepends=True)
    path = tmp_path / "metrics.csv"
    path.write_text("".join(lines))
    killed = curves.continued(tmp_path)  # and never left
    killed.__enter__()
    assert not path.exists()
    assert losses(tmp_path) == [(0, 1.5), (1, 0.25)]
    second = [lines[0], "1,7,0.5,0.75,0.4,,\n", "2,11,0.5,0.5,0.4,,\n"]
    path.write_text("".join(second))
    assert losses(tmp_path) == [(0, 1.5), (1, 0.75), (2, 0.5)]  # the second epoch was trained again
    with curves.continued(tmp_path):
        assert losses(tmp_path) == [(0, 1.5), (1, 0.75), (2, 0.5)]
        path.write_text(lines[0] + "2,11,0.5,0.125,0.4,,\n")
    assert losses(tmp_path) == [(0, 1.5), (1, 0.75), (2, 0.125)]
    with pytest.raises(KeyboardInterrupt), curves.continued(tmp_path):
        raise KeyboardInterrupt
    assert losses(tmp_path) == [(0, 1.5), (1, 0.75), (2, 0.125)]
    assert [file.name for file in tmp_path.iterdir()] == ["metrics.csv"]
    with curves.continued(tmp_path):  # from the beginning
        path.write_text(lines[0] + "0,11,0.5,2.5,0.4,,\n")
    assert losses(tmp_path) == [(0, 2.5)]


def losses(folder: Path) -> list[tuple[int, float]]:
    """Epoch and training loss of a history."""
    return [(epoch, known["train/loss"]) for epoch, known in curves.by_epoch(folder)]
