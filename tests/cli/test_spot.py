"""`mer spot`: what is wrong with any of several inputs is told before the first is worked on."""

from pathlib import Path

import numpy as np
import pytest

from mer import cli
from mer.spotting import evaluation
from tests.deploy.clips import write_video


def test_a_missing_second_video_is_told_before_the_first_is_worked_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    write_video(tmp_path / "a.mkv", [np.zeros((64, 64, 3), np.uint8)] * 3)
    monkeypatch.setattr(evaluation, "spot_video", lambda *_, **__: pytest.fail("worked on"))
    words = ["a.mkv", "b.mkv", "casme=x", "samm_long=gone", "--fps", "0", "--threshold", "-1"]
    assert cli.main(["spot", *words, "--workers", "0", "--out", "a.mkv"]) == 2
    said = capsys.readouterr().err
    for sentence in (
        "--threshold -1.0: type a number above 0",
        "--workers 0: type 1 or more",
        "--out a.mkv is a file; name a folder",
        "--fps=0.0: expected 1 to 2000",
        "b.mkv does not exist; expected a video or a folder of frames",
        "casme is no dataset of long videos; type samm_long, casme_sq, casme3",
        "gone does not exist",
    ):
        assert sentence in said
    assert [path.name for path in tmp_path.iterdir()] == ["a.mkv"]
    assert cli.main(["spot", "a.mkv", "--model", "mer:motion-xxs"]) == 2
    assert "--model is for datasets" in capsys.readouterr().err
