"""The sizes in which the synthetic corpora come."""

from typing import NamedTuple

from mer.errors import MerError
from mer.synthetic.tallies import CASME2, SAMM, SMIC


class Preset(NamedTuple):
    """Subjects of the corpora and the length of their clips.

    Micro clips are much shorter than the real ones (24-141 frames at 200 fps) to save disk; frame
    numbers run from onset to offset without gaps. `micro_frames`, `smic_frames` (its BMP
    pictures weigh 0.9 MB each) and `macro_frames` are inclusive ranges of the clip length; the
    others count persons, and takes per emotion of a MUG person.
    """

    casme2: tuple[str, ...]
    samm: tuple[str, ...]
    smic: tuple[str, ...]
    micro_frames: tuple[int, int]
    smic_frames: tuple[int, int]
    macro_frames: tuple[int, int]
    ckplus: int
    oulu_casia: int
    mug: int
    mug_takes: int


PRESETS: dict[str, Preset] = {
    # Some seconds: for tests. Every quirk of the trees and workbooks is in.
    "tiny": Preset(
        casme2=("sub04", "sub05", "sub12"),
        samm=("007", "016", "028"),
        smic=("s1", "s5", "s19"),
        micro_frames=(5, 7),
        smic_frames=(5, 6),
        macro_frames=(3, 4),
        ckplus=4,
        oulu_casia=3,
        mug=3,
        mug_takes=1,
    ),
    # Under a minute: for a first look and for notebooks.
    "demo": Preset(
        casme2=("sub02", "sub04", "sub05", "sub09", "sub12"),
        samm=("006", "007", "014", "016", "028"),
        smic=("s1", "s4", "s11", "s14", "s19"),
        micro_frames=(10, 14),
        smic_frames=(7, 9),
        macro_frames=(5, 7),
        ckplus=20,
        oulu_casia=12,
        mug=12,
        mug_takes=1,
    ),
    # All 578 clips of the three micro corpora, of which the rules of MEGC2019 keep 442.
    "megc2019": Preset(
        casme2=tuple(CASME2),
        samm=tuple(SAMM),
        smic=tuple(SMIC),
        micro_frames=(9, 13),
        smic_frames=(7, 9),
        macro_frames=(5, 7),
        ckplus=40,
        oulu_casia=20,
        mug=14,
        mug_takes=2,
    ),
}


def preset(name: str) -> Preset:
    """Return the preset called `name`.

    Raises:
        MerError: If there is none of that name.
    """
    if name not in PRESETS:
        raise MerError(f"preset={name}: there is no such preset; type one of {', '.join(PRESETS)}.")
    return PRESETS[name]
