"""Copies among pairs of pictures, and clips that only look alike."""

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from mer import datasets
from mer.config.settings import Prepare
from mer.prepare.sample import Sample, prepare_sample
from mer.runs import twins

Picture = NDArray[np.uint8]


def noisy(picture: Picture) -> Picture:
    change = np.random.default_rng(picture.sum()).integers(-2, 3, picture.shape)
    return np.clip(picture + change, 0, 255).astype(np.uint8)


def encoded(picture: Picture) -> Picture:
    content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return np.asarray(cv2.imdecode(content, cv2.IMREAD_COLOR), np.uint8)


def shifted(picture: Picture) -> Picture:
    return np.concatenate([picture[:, :1], picture[:, :-1]], axis=1)


def row(sample: str, role: str, onset: str | None, apex: str) -> dict[str, object]:
    """A row of the table of signatures, of two picture files."""
    numbers = dict.fromkeys(("onset", "apex", "offset", "array_path"))
    record = {"sample_id": sample, "onset_path": onset, "apex_path": apex, **numbers}
    made = prepare_sample(record, Prepare(faces="as_is", size=96))
    assert isinstance(made, Sample)
    return {
        "sample_id": sample,
        "person": sample,
        "role": role,
        "kind": "face",
        "digest": bytes(made.digest).hex(),
        "signature": made.signature.tobytes(),
    }


@pytest.mark.parametrize("with_onset", [True, False])
@pytest.mark.parametrize("copy", [np.array, noisy, encoded, shifted])
def test_copies_of_a_clip_are_told_from_other_clips_of_the_person(
    tiny_corpora: Path, tmp_path: Path, copy: Callable[[Picture], Picture], with_onset: bool
) -> None:
    clips = datasets.read("smic", tiny_corpora / "SMIC").table
    person = clips["person"].value_counts().index[0]
    clips = clips[clips["person"] == person].head(3)
    assert len(clips) == 3
    rows = []
    for number, clip in enumerate(clips.itertuples()):
        rows.append(row(clip.sample_id, "micro", clip.onset_path, clip.apex_path))
        files = [tmp_path / f"{number}-{name}.png" for name in ("onset", "apex")]
        for file, path in zip(files, (clip.onset_path, clip.apex_path), strict=True):
            cv2.imwrite(str(file), copy(cv2.imread(path)))
        onset = str(files[0]) if with_onset else None
        rows.append(row(f"copy {number}", "macro", onset, str(files[1])))
    found = twins.find(pd.DataFrame(rows))
    pairs = {(pair.first, pair.second): pair.equal for pair in found}
    for number, sample in enumerate(clips["sample_id"]):
        assert pairs[sample, f"copy {number}"] == (copy is np.array)
    if with_onset:  # apexes alone tell persons, not clips
        assert len(pairs) == 3
