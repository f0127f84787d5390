"""CPU milliseconds of each stage of the preparation, in one process: `python stages.py ROOT`.

ROOT is a CASME II tree, real or synthetic; every fifth clip of it is prepared.
"""

import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from mer import datasets
from mer.prepare import build, faces, flow, methods, sample, sheet, store

spent: Counter[str] = Counter()


def clock(owner: Any, name: str, label: str) -> None:
    """Replace a function by one that adds up its CPU time."""
    function = getattr(owner, name)

    def timed(*args: Any, **options: Any) -> Any:
        started = time.process_time()
        try:
            return function(*args, **options)
        finally:
            spent[label] += time.process_time() - started

    setattr(owner, name, timed)


def main(root: Path) -> None:
    """Prepare and print."""
    table = datasets.read("casme2", root).table.iloc[::5]
    started = time.process_time()
    import cv2  # noqa: F401
    import mediapipe  # noqa: F401

    imports = time.process_time() - started
    dis = methods.COMPUTE["dis"]
    holder = type("Holder", (), {"dis": staticmethod(dis)})
    clock(holder, "dis", "DIS alone")
    methods.COMPUTE["dis"] = holder.dis
    clock(sample, "read_picture", "read and decode, 2 pictures")
    clock(faces, "_landmarker", "open the face model")
    clock(faces.FaceFinder, "_detect", "face landmarks with that, 2 pictures")
    clock(faces, "crop", "align, 2 pictures")
    clock(flow, "compute", "flow: DIS, head motion, soft edge")
    clock(flow, "head_motion", "head motion alone")
    clock(flow.FlowField, "to_array", "strain, float16")
    clock(build.Partial, "write", "write")
    clock(sheet, "draw", "contact sheet, once a store")
    with tempfile.TemporaryDirectory() as folder:
        started = time.process_time()
        store.prepare_store(table, {}, Path(folder), 1, "x")
        total = time.process_time() - started
    print(f"imports of OpenCV and MediaPipe {imports:.2f} s; {len(table)} samples")
    for label, seconds in [("all", total), *spent.most_common()]:
        print(f"{1000 * seconds / len(table):7.1f} ms a sample  {label}")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
