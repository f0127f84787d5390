"""One row of the index table becomes arrays: frames, flow and landmarks, or a reason for the drop.

A picture that can't be used drops its sample and never stops the run; wrong settings stop it.
"""

import warnings
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from mer.config.settings import Prepare
from mer.errors import MerError
from mer.prepare import faces, flow, precomputed
from mer.prepare.likeness import ALIKE, likeness
from mer.prepare.signature import digest, signature

#: Pixels of the largest picture that is decoded; 300 MB of memory.
MOST_PIXELS = 100_000_000


class Drop(NamedTuple):
    """Why a sample can't be used: the reason (one per kind of fault) and a detail with the file."""

    reason: str
    detail: str


@dataclass(frozen=True)
class Sample:
    """The arrays of one sample; None where it has none.

    Attributes:
        frames: uint8 (2, S, S, 3) RGB, onset then apex; a missing onset is black.
        flow: float16 (3, S, S), u and v in pixels of the crop (right, down), optical strain.
        landmarks: float32 (2, 478, 2), x and y in pixels of the crop; NaN for a missing onset, and
            for an apex whose landmarks were not wanted.
        has_onset: Whether the sample has an onset (or a flow that was computed from one).
        still: Whether onset and apex are the same picture, so that the flow is zero.
        digest: uint8 (16,), hash of the apex as it was read, or of the flow where there is none.
        signature: int8 (2, 14, 14), what a near copy of the sample keeps.
        head: float32 (S, S, 2), head motion that was taken out of the flow, in pixels of the crop.
        zoom: Pixels of the crop per pixel of the picture; None where that is not known.
    """

    frames: np.ndarray | None = None
    flow: np.ndarray | None = None
    landmarks: np.ndarray | None = None
    has_onset: bool = True
    still: bool = False
    digest: np.ndarray | None = None
    signature: np.ndarray | None = None
    head: np.ndarray | None = None
    zoom: float | None = None


def prepare_chunk(
    settings: Prepare, rows: Mapping[int, Mapping[str, Any]]
) -> dict[int, Sample | Drop]:
    """Prepare some rows of the index table in one process, with one thread.

    The face finder lives as long as the chunk (it opens in 50 ms): an open one can hang the end of
    a worker process, and a worker has no safe moment to close it later.

    Args:
        settings: Settings of the preparation.
        rows: Number of a row -> its columns.
    """
    import cv2

    with ExitStack() as stack:
        stack.callback(cv2.setNumThreads, cv2.getNumThreads())
        cv2.setNumThreads(1)
        finder = None
        if settings.faces == "landmarks" and any(r["array_path"] is None for r in rows.values()):
            finder = stack.enter_context(faces.FaceFinder(settings.confidence))
        return {number: prepare_sample(row, settings, finder) for number, row in rows.items()}


def prepare_sample(
    row: Mapping[str, Any], settings: Prepare, finder: faces.FaceFinder | None = None
) -> Sample | Drop:
    """Make the arrays of one row of the index table.

    Args:
        row: Column -> value (see `mer.datasets.index.COLUMNS`), None where it is missing.
        settings: Settings of the preparation.
        finder: Needed for pictures with `faces: landmarks`.

    Raises:
        MerError: For wrong settings or an array that isn't what its row says.
    """
    numbers = [None if row[key] is None else int(row[key]) for key in ("onset", "apex", "offset")]
    onset, apex, offset = numbers
    if apex is not None and (
        (onset is not None and apex < onset) or (offset is not None and apex > offset)
    ):
        return Drop("apex outside the clip", f"apex {apex}, clip {onset} to {offset}")
    if row["array_path"] is not None:
        return _signed(_from_array(row, settings))
    pictures: dict[str | None, np.ndarray] = {}  # one picture where both paths are the same
    for path in (row["onset_path"], row["apex_path"]):
        if path is not None and path not in pictures:
            picture = read_picture(Path(path))
            if isinstance(picture, Drop):
                return picture
            pictures[path] = picture
    picture = pictures[row["apex_path"]]
    prepared = prepare_pictures(
        pictures.get(row["onset_path"]),
        picture,
        settings,
        finder,
        sample=str(row["sample_id"]),
        names=(str(row["onset_path"]), str(row["apex_path"])),
    )
    return _signed(prepared, picture)


def _signed(sample: Sample | Drop, picture: np.ndarray | None = None) -> Sample | Drop:
    """Add digest and signature to a sample; the digest is of the picture that was read, if any."""
    if isinstance(sample, Drop):
        return sample
    shown: Any = sample.flow if sample.frames is None else sample.frames[1]
    return replace(
        sample,
        digest=digest(shown if picture is None else picture),
        signature=signature(sample.frames, sample.flow, sample.has_onset),
    )


def prepare_pictures(
    onset: np.ndarray | None,
    apex: np.ndarray,
    settings: Prepare,
    finder: faces.FaceFinder | None = None,
    *,
    sample: str = "this pair",
    names: tuple[str, str] = ("the onset", "the apex"),
    apex_landmarks: bool = True,
) -> Sample | Drop:
    """Align two pictures with the onset's transform and compute the flow between them.

    With `faces: landmarks` both pictures must show a face, the first one a face of enough pixels.

    Args:
        onset: uint8 (H, W, 3) RGB; None where there is none; the apex itself where both are one.
        apex: uint8 (H, W, 3) RGB.
        settings: Settings of the preparation.
        finder: Needed with `faces: landmarks`.
        sample: Name of the sample in messages.
        names: Names of onset and apex in messages.
        apex_landmarks: Whether the landmarks of the apex are wanted, which crops and flow do not
            need and which cost 11 ms. Otherwise a face is looked for in the apex only where its
            crop does not look like that of the onset.

    Raises:
        MerError: For wrong settings.
    """
    import cv2

    has_onset, size = onset is not None, settings.size
    pictures = [apex] if onset is None or onset is apex else [onset, apex]
    shown = names[-len(pictures) :]
    if pictures[0].shape != pictures[-1].shape:
        sizes = " and ".join(
            f"{name} is {picture.shape[1]} x {picture.shape[0]}"
            for name, picture in zip(shown, pictures, strict=True)
        )
        return Drop("onset and apex differ in size", sizes)
    landmarks = None
    if settings.faces == "landmarks":
        if finder is None:
            raise MerError("faces: landmarks needs a FaceFinder; got none")
        found = [finder.find(one) for one in (pictures if apex_landmarks else pictures[:1])]
        missed = [name for name, face in zip(shown, found, strict=False) if face is None]
        points = [face for face in found if face is not None]
        if missed:
            return Drop("no face", " and ".join(missed))
        width = float(np.ptp(points[0][:, 0]))
        if width < settings.min_face:
            return Drop(
                "face too small",
                f"{shown[0]}: {width:.1f} px wide, prepare.min_face={settings.min_face}",
            )
        matrix = faces.similarity(points[0], size, settings.margin)
        zoom = float(np.hypot(matrix[0, 0], matrix[1, 0]))
        pictures = [faces.crop(picture, matrix, size) for picture in pictures]
        landmarks = np.full((2, faces.LANDMARKS, 2), np.nan, np.float32)
        if has_onset:
            landmarks[0] = faces.move(points[0], matrix)
        if len(points) == len(pictures):
            landmarks[1] = faces.move(points[-1], matrix)
        elif not _alike(pictures, landmarks[0]) and finder.find(apex) is None:
            return Drop("no face", names[1])
    else:
        zoom = size / max(pictures[0].shape[:2])
        pictures = [_resize(picture, size) for picture in pictures]
    apex = pictures[-1]
    onset = pictures[0] if has_onset else np.zeros_like(apex)
    motion = None
    if has_onset and settings.flow.used is not None:
        motion = flow.compute(
            cv2.cvtColor(onset, cv2.COLOR_RGB2GRAY),
            cv2.cvtColor(apex, cv2.COLOR_RGB2GRAY),
            settings.flow,
            sample=sample,
            face=None if landmarks is None else faces.oval(landmarks[0], size),
        )
    return Sample(
        frames=np.stack([onset, apex]),
        flow=None if motion is None else motion.to_array(),
        landmarks=landmarks,
        has_onset=has_onset,
        still=has_onset and np.array_equal(onset, apex),
        head=None if motion is None else motion.head,
        zoom=zoom,
    )


def _alike(crops: list[np.ndarray], landmarks: np.ndarray) -> bool:
    """Whether two crops look like one face, by every fourth pixel each way."""
    import cv2

    face = faces.oval(landmarks, len(crops[0]))[::4, ::4]
    inside = face if face.any() else np.ones_like(face)
    onset, apex = (cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)[::4, ::4] for crop in crops)
    return likeness(onset, apex, inside) >= ALIKE


def read_picture(path: Path) -> np.ndarray | Drop:
    """Read a picture file: uint8 (H, W, 3) RGB, or why not.

    Gray becomes three equal channels, 16 bit keep their upper 8, transparency is dropped. OpenCV
    decodes bytes here because its own file reading fails on some characters in paths.
    """
    import cv2

    try:
        content = np.frombuffer(path.read_bytes(), np.uint8)
    except FileNotFoundError:
        return Drop("missing frame", f"{path} does not exist")
    except OSError as error:
        return Drop("unreadable picture", f"{path}: {error.strerror or error}")
    if content.size == 0:
        return Drop("unreadable picture", f"{path} is empty")
    if not _fits(content):
        return Drop("picture too large", f"{path} has more than {MOST_PIXELS:,} pixels")
    try:
        bgr = cv2.imdecode(content, cv2.IMREAD_COLOR)
    except cv2.error as error:
        return Drop("unreadable picture", f"{path}: {error.err}")
    if bgr is None:
        return Drop("unreadable picture", f"{path} is no picture that OpenCV can decode")
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB)


def _fits(content: np.ndarray) -> bool:
    """Whether a picture has at most `MOST_PIXELS` pixels, by its header alone."""
    import io

    from PIL import Image

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(content.tobytes())) as picture:
                return picture.width * picture.height <= MOST_PIXELS
    except Image.DecompressionBombError:
        return False
    except Exception:  # OpenCV says what is wrong with it
        return bytes(content[:2]) != b"#?"  # Radiance, whose header Pillow cannot read


def _resize(picture: np.ndarray, size: int) -> np.ndarray:
    import cv2

    shrinks = size < min(picture.shape[:2])
    how = cv2.INTER_AREA if shrinks else cv2.INTER_CUBIC
    return cv2.resize(picture, (size, size), interpolation=how)


def _from_array(row: Mapping[str, Any], settings: Prepare) -> Sample | Drop:
    where = f"{row['array_path']}, array `{row['array_key']}`, row {row['array_row']}"
    array = precomputed.array_of(row)
    if not 0 <= int(row["array_row"]) < len(array):
        return Drop("row outside the array", f"{where} of {len(array)}")
    picture = array[int(row["array_row"])]
    if not np.isfinite(picture).all():
        return Drop("array not finite", where)
    pictured = picture.dtype == np.uint8 and picture.ndim == 3
    if row["array_kind"] == "flow":
        if pictured and picture.shape[2] == 3:
            return Sample(flow=precomputed.flow_of_picture(picture, settings.array_channels))
        if np.issubdtype(picture.dtype, np.floating) and picture.ndim == 3 and len(picture) == 3:
            return Sample(flow=picture.astype(np.float16))
        expected = "uint8 (H, W, 3) or float (3, H, W)"
    elif row["array_kind"] == "image":
        if pictured and picture.shape[2] in (1, 3):
            apex = np.broadcast_to(picture, (*picture.shape[:2], 3))
            return Sample(frames=np.stack([np.zeros_like(apex), apex]), has_onset=False)
        expected = "uint8 (H, W, 3) RGB or (H, W, 1)"
    else:
        raise MerError(f"{where}: array_kind {row['array_kind']!r}, expected flow or image")
    raise MerError(
        f"{where}: {picture.dtype} {picture.shape}, array_kind {row['array_kind']} is {expected}"
    )
