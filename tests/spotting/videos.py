"""Video files for tests: written by OpenCV, then changed byte by byte."""

import struct
from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np


def write_video(path: Path, pictures: Iterable[np.ndarray], fps: float = 30.0) -> Path:
    """Write RGB pictures as MPEG-4 part 2 in an MP4 file whose index stands at its end."""
    writer = None
    for picture in pictures:
        if writer is None:
            size = picture.shape[1], picture.shape[0]
            writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"mp4v"), fps, size)
        writer.write(cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert writer is not None
    writer.release()
    return path


def rotate_tag(path: Path) -> None:
    """Say in the file that it is to be shown turned by 90 degrees, as phones do."""
    content = bytearray(path.read_bytes())
    start = content.index(b"tkhd") + 4
    matrix = start + 40  # version 0: times, ids, duration, layer, group, volume come before
    turned = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
    content[matrix : matrix + 36] = struct.pack(">9i", *turned)
    path.write_bytes(bytes(content))


def variable_rate(path: Path, slow: int) -> None:
    """Make the first `slow` frames last three times as long as the others."""
    content = path.read_bytes()
    place = content.index(b"stts") + 4
    entries, count, delta = struct.unpack(">III", content[place + 4 : place + 16])
    assert entries == 1, "OpenCV writes one duration for all frames"
    table = struct.pack(">IIIII", 2, slow, 3 * delta, count - slow, delta)
    changed = bytearray(content[: place + 4] + table + content[place + 16 :])
    for name in (b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stts"):
        size = changed.index(name) - 4
        old = struct.unpack(">I", changed[size : size + 4])[0]
        changed[size : size + 4] = struct.pack(">I", old + 8)
    # The edit list still ends the film at its old length.
    path.write_bytes(bytes(changed).replace(b"edts", b"free"))
