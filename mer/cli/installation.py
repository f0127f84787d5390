"""Are the Python packages here that `mer` needs, do they fit together, and do they load?

Knows the traps of this set of packages: OpenCV packages that overwrite each other, system libraries
that no Python package brings, a torchvision of another torch. Nothing is changed.
"""

import hashlib
import importlib
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Literal, NamedTuple

from packaging.requirements import Requirement

import mer
from mer.assets import FACE_MODEL, FACE_MODEL_SHA256
from mer.errors import one_line

#: Of the packages that write `cv2/` the one that needs no system library.
OPENCV = "opencv-python-headless"

#: Shared library -> the Debian and Ubuntu packages that hold it. MediaPipe is linked to EGL and
#: GLES even where it runs on the CPU, so the two are always named together.
SYSTEM_PACKAGES = {"libEGL": "libegl1 libgles2", "libGLESv2": "libegl1 libgles2"}

State = Literal["ok", "note", "warn", "FAIL"]


class Check(NamedTuple):
    """One line of the report; `mend` is a command or a sentence, empty where nothing is wrong."""

    name: str
    state: State
    found: str
    mend: str = ""


def check_packages() -> list[Check]:
    """Compare installed versions with the floors of pyproject.toml, and list missing extras."""
    try:
        requirements = [Requirement(text) for text in metadata.requires("mer") or []]
    except metadata.PackageNotFoundError:
        return [Check("packages", "FAIL", "mer itself is not installed", "pip install -e '.[all]'")]
    checks = []
    for need in requirements:
        extra = next(
            (e for e in ("wandb", "search") if need.marker and f'"{e}"' in str(need.marker)), None
        )
        if (need.marker and not extra) or need.name in (OPENCV, "mer"):
            continue
        bad: State = "note" if extra else "FAIL"
        mend = f"pip install '{need.name}{need.specifier}'"
        try:
            version = metadata.version(need.name)
        except metadata.PackageNotFoundError:
            missing = f"not installed{f' (extra `{extra}`)' if extra else ''}"
            checks.append(Check(need.name, bad, missing, mend))
            continue
        if not need.specifier.contains(version, prereleases=True):
            checks.append(Check(need.name, "FAIL", f"{version}, needed {need.specifier}", mend))
    if not any(check.state == "FAIL" for check in checks):
        checks.insert(0, Check("packages", "ok", f"mer {mer.__version__}, all at their floors"))
    return checks


def check_torch() -> list[Check]:
    """Import torch and torchvision and name the device that training would use."""
    mend = "pip install --upgrade --force-reinstall torch torchvision"
    try:
        import torch
        import torchvision
    except (ImportError, OSError, RuntimeError) as error:
        # RuntimeError: torchvision built for another torch cannot register its operators.
        return [Check("torch", "FAIL", one_line(error), mend)]
    checks = [Check("torch", "ok", f"{torch.__version__}, torchvision {torchvision.__version__}")]
    if torch.cuda.is_available():
        gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
        bf16 = "bf16" if torch.cuda.is_bf16_supported() else "no bf16"
        checks.append(Check("device", "ok", f"cuda: {', '.join(gpus)}; {bf16}"))
    elif torch.backends.mps.is_available():
        checks.append(Check("device", "ok", "mps (Apple GPU); use 32-bit precision"))
    else:
        cpu = f"cpu, {torch.get_num_threads()} threads; use 32-bit precision"
        checks.append(Check("device", "ok", cpu))
        if Path("/dev/nvidia0").exists():
            driver = f"an NVIDIA GPU that torch {torch.__version__} cannot use"
            checks.append(Check("gpu", "warn", driver, "update the NVIDIA driver: nvidia-smi"))
    return checks


def check_opencv() -> list[Check]:
    """Import OpenCV; mediapipe brings another one, whose files need libGL, into the same folder."""
    headless = installed_version(OPENCV)
    pin = f"=={headless}" if headless else ""
    try:
        version = importlib.import_module("cv2").__version__
    except (ImportError, OSError, AttributeError) as error:
        mend = f"pip install --no-deps --force-reinstall {OPENCV}{pin}"
        return [Check("opencv", "FAIL", one_line(error), mend)]
    return [Check("opencv", "ok", version)]


def check_face_model() -> list[Check]:
    """Check the landmark model's bytes, load it, and find a face that is drawn here."""
    mend = "pip install --force-reinstall --no-deps mer  (in a checkout: git checkout mer/assets)"
    if not FACE_MODEL.is_file():
        return [Check("face model", "FAIL", f"{FACE_MODEL} is missing", mend)]
    content = FACE_MODEL.read_bytes()
    if hashlib.sha256(content).hexdigest() != FACE_MODEL_SHA256:
        damaged = f"{FACE_MODEL} has {len(content)} bytes and another checksum than it should"
        return [Check("face model", "FAIL", damaged, mend)]
    try:
        seen = _finds_face(_draw_face())
    except (ImportError, OSError) as error:
        # MediaPipe imports cv2; where that fails, the mend of `check_opencv` is the one to follow.
        mend = _library_mend(error) if "cv2" in sys.modules else ""
        return [Check("face model", "FAIL", one_line(error), mend)]
    if not seen:
        unseen = "loads, but does not find a drawn face"
        return [
            Check("face model", "FAIL", unseen, "pip install --force-reinstall --no-deps mediapipe")
        ]
    return [Check("face model", "ok", f"{FACE_MODEL.name}, checksum right, finds a drawn face")]


def _finds_face(picture: Any) -> bool:
    """Load the landmark model and look for a face in `picture`, (H, W, 3) uint8 RGB."""
    from mer.prepare.faces import FaceFinder

    with FaceFinder() as finder:
        return finder.find(picture) is not None


def _draw_face() -> Any:
    """Return a simple drawn face, (320, 320, 3) uint8 RGB."""
    import cv2
    import numpy as np

    picture = np.full((320, 320, 3), (96, 110, 124), np.uint8)
    ovals: list[tuple[tuple[int, int], tuple[int, int], tuple[int, int, int]]] = [
        ((160, 165), (82, 110), (205, 165, 140)),  # head
        ((160, 178), (14, 9), (175, 130, 108)),  # nose
        ((160, 216), (32, 9), (160, 70, 75)),  # mouth
    ]
    for x in (126, 194):
        ovals += [
            ((x, 142), (18, 9), (245, 245, 240)),  # eye
            ((x, 142), (8, 8), (60, 40, 30)),  # iris
            ((x, 119), (22, 4), (70, 50, 40)),  # brow
        ]
    for centre, axes, colour in ovals:
        cv2.ellipse(picture, centre, axes, 0, 0, 360, colour, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(picture, (0, 0), 2)


def installed_version(package: str) -> str | None:
    """Return the installed version of a package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _library_mend(error: Exception) -> str:
    """Return the command that installs the shared library which `error` misses."""
    library = re.search(r"(lib[\w+.-]*?)\.so", str(error))
    if library and library.group(1) in SYSTEM_PACKAGES:
        packages = SYSTEM_PACKAGES[library.group(1)]
        return f"sudo apt-get install -y {packages}  (Debian, Ubuntu)"
    if library:
        return f"install the system package that holds {library.group(1)}"
    return "pip install --force-reinstall --no-deps mediapipe"
