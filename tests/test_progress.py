"""Progress of long steps: lines in a file, a bar on a terminal."""

import logging
import sys

import pytest

from mer import progress


def test_a_file_gets_a_line_in_half_a_minute_and_no_bar(
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    seconds = 0.0
    monkeypatch.setattr(progress.time, "monotonic", lambda: seconds)
    monkeypatch.setattr(logging.getLogger(), "handlers", [caplog.handler])  # none of earlier tests
    caplog.set_level("INFO")
    with progress.progress_bar(100, "prepare", "sample", initial=10) as bar:
        for _ in range(30):
            seconds += 3
            bar.update()
    # 10 of 90 are done in 30 s, so the other 80 take four minutes.
    assert caplog.messages == [
        "prepare: 20 of 100 samples, about 4 min left",
        "prepare: 30 of 100 samples, about 4 min left",
        "prepare: 40 of 100 samples, about 3 min left",
    ]
    caplog.clear()
    for total, shown, lines in ((3, True, ["x: 3 of 3 frames"]), (3, False, []), (None, True, 1)):
        with progress.progress_bar(total, "x", "frame", shown=shown) as bar:
            seconds += 40
            bar.update(3)
        assert caplog.messages == (lines if lines != 1 else ["x: 3 frames"])
        caplog.clear()
    assert capsys.readouterr().err == ""


def test_a_terminal_gets_a_bar(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with progress.progress_bar(2, "folds", "fold") as bar:
        bar.update(2)
    assert "folds: 100%" in capsys.readouterr().err
