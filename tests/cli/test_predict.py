"""`mer predict`: inputs of every kind, all wrong ones named at once, files that it writes."""

import json
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from PIL import Image

import mer
from mer import cli
from mer.deploy import loading
from mer.spotting.frames import open_frames
from tests.builders import Config
from tests.deploy.clips import Clip, clip_of, write_video


@pytest.fixture(scope="module")
def clip(tiny_config: Config) -> Clip:
    return clip_of(tiny_config)


def test_all_wrong_inputs_are_named_before_anything_is_computed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Image.new("RGB", (8, 8)).save("picture.jpg")
    Path("picture.jpg").rename("picture.mp4")
    Path("text.mp4").write_text("no video")
    whole = write_video(tmp_path / "whole.mkv", [np.zeros((64, 64, 3), np.uint8)] * 50)
    Path("cut.mp4").write_bytes(b"\0\0\0\x20ftypisom" + whole.read_bytes()[100:300])
    Path("folder").mkdir()
    Path("other.csv").write_text("a,b\n1,2\n")
    Path("rows.csv").write_text("onset_path,apex_path\nno.png,nor.png\n")
    words = [
        "model.onnx",
        "--fps",
        "0",
        "--onset",
        "3",
        "--json",
        "folder",
        "gone.mp4",
        "picture.mp4",
        "text.mp4",
        "cut.mp4",
        "folder",
        "lone.png",
    ]
    assert cli.main(["predict", *words, "other.csv", "rows.csv", "a.png,b.png,c.png"]) == 2
    said = capsys.readouterr().err
    for sentence in (
        "--fps=0.0: expected 1 to 2000",
        "needs both --onset and --apex",
        "--json folder is a folder; name a file",
        "model.onnx does not exist: check its path. A model is a run directory",
        "gone.mp4 does not exist",
        "picture.mp4 is one JPEG picture, no video",
        "text.mp4 is a text file, no video",
        "cut.mp4 is no video that can be decoded",
        "folder holds no numbered picture",
        "pictures without a partner (lone.png)",
        "other.csv has no column onset_path and apex_path; it has a, b",
        "no.png does not exist",
        "a.png,b.png,c.png: expected two pictures, ONSET,APEX",
    ):
        assert sentence in said


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["motion-xxs"], "there is nothing to label"),
        (["mer:motion-huge", "{clip}"], "there are no weights mer:motion-huge"),
        (["{clip}", "{run}"], "{run} is a model, which comes first: mer predict {run} /"),
        (["runs/none"], "expected a video or a folder of frames. A model is a run"),
        (["runs/none", "{clip}"], "runs/none does not exist: check its path. A model is a run"),
        (["{run}n", "{clip}"], "does not exist (closest: {run}). A model is a run"),
        (["{clip}", "--onset", "5", "--apex", "3"], "are [5, 3]; expected numbers of frames in"),
        (["{clip}", "--out", "{clip}"], "clip.mkv is a file; name a folder"),
        (["{clip}", "{clip}", "--onset", "0", "--apex", "1"], "frames of one video"),
        (["{clip}", "--onset", "2", "--apex", "7"], "clip.mkv has no frame 7: it has 0 to 4"),
        (["{clip}", "--fold", "3"], "--fold 3: folds are those of a run"),
        (["mer:motion-xxs", "{clip}", "--fold", "3"], "so it has no fold 3"),
        (["{run}", "{clip}", "--fold", "c"], "has no finished fold `c`; there are: a, b"),
    ],
)
def test_what_cannot_be_asked_is_a_sentence_before_a_model_is_loaded(
    words: list[str],
    sentence: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loading, "load", lambda *_: pytest.fail("a model was loaded"))
    for fold in "ab":
        (tmp_path / "run" / "folds" / fold).mkdir(parents=True)
        (tmp_path / "run" / "folds" / fold / "predictions.parquet").touch()
    film = write_video(tmp_path / "clip.mkv", [np.zeros((64, 64, 3), np.uint8)] * 5)
    given = [word.format(clip=film, run=tmp_path / "run") for word in words]
    assert cli.main(["predict", *given]) == 2
    assert sentence.format(run=tmp_path / "run") in capsys.readouterr().err


def test_pairs_and_tables_give_what_the_library_gives(
    clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pictures = {"onset.png": clip.pictures[clip.onset], "apex.png": clip.pictures[clip.apex]}
    for name, picture in pictures.items():
        cv2.imwrite(str(tmp_path / name), cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    table = tmp_path / "pairs.csv"
    table.write_text("subject;onset_path;apex_path\np1;onset.png;apex.png\n")
    two = [str(tmp_path / name) for name in pictures]
    with mer.load("motion-mlps") as model:
        expected = model.predict(*two).as_dict()
    for words in (two, [",".join(two)], [str(table)]):
        assert cli.main(["predict", "mer:motion-mlps", *words, "--json", "-"]) == 0
        result = json.loads(capsys.readouterr().out)
        (found,) = result["clips"]
        assert found["expressions"][0]["prediction"]["scores"] == expected["scores"]
        assert result["model"]["classes"] == ["negative", "positive", "surprise"]


def test_files_of_a_video(clip: Clip, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    film, out = write_video(tmp_path / "a film.mkv", clip.pictures), tmp_path / "out"
    frames = ["--onset", str(clip.onset), "--apex", str(clip.apex)]
    assert cli.main(["predict", str(film), *frames, "--out", str(out)]) == 0
    shown = capsys.readouterr()
    assert "by motion-xxs" in shown.out and "a film.mkv" in shown.out
    assert "OpenCV" not in shown.err
    names = ["-1.png", "-annotated.webm", "-timeline.png"]
    kept = [f"a film{name}" for name in names] + ["predictions.csv", "predictions.json"]
    assert sorted(path.name for path in out.iterdir()) == kept
    row = pd.read_csv(out / "predictions.csv").iloc[0]
    plain = json.loads((out / "predictions.json").read_text())
    prediction = plain["clips"][0]["expressions"][0]["prediction"]
    assert (row["apex_frame"], row["label"]) == (clip.apex, prediction["label"])
    assert row["zero_shot_positive"] == prediction["scores"]["zero_shot"]["positive"]
    with Image.open(out / "a film-1.png") as strip:
        assert strip.width > 5 * 224  # onset, apex, motion, activation, occlusion
    with open_frames(out / "a film-annotated.webm") as shown_again:
        assert len(list(shown_again)) == len(clip.pictures)


def test_an_interrupted_command_leaves_the_tables_of_what_is_finished(
    clip: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    films = [tmp_path / name / "clip.mkv" for name in "abc"]
    for film in films:
        film.parent.mkdir()
        write_video(film, clip.pictures[:2])

    def predict(self: mer.Predictor, source: Path, *_: object, **__: object) -> mer.ClipPrediction:
        if source == stop:
            raise KeyboardInterrupt
        return mer.ClipPrediction(str(source), reason="nothing")

    stop: Path | None = films[2]
    monkeypatch.setattr(mer.Predictor, "predict_video", predict)
    words = [*map(str, films), "--out", str(tmp_path / "out")]
    assert cli.main(["predict", "mer:motion-mlps", *words]) == 130
    assert "Pictures and tables of finished clips are kept" in capsys.readouterr().err
    kept = json.loads((tmp_path / "out" / "predictions.json").read_text())
    assert [one["source"] for one in kept["clips"]] == [str(film) for film in films[:2]]
    stop = None
    assert cli.main(["predict", "mer:motion-mlps", *map(str, films)]) == 0
    shown = capsys.readouterr().out.replace("\n", "")
    assert all(f"{film.parent.name}/clip.mkv: nothing" in shown for film in films)  # which of them
