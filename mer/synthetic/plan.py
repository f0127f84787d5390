"""The list of clips of a preset: names, emotions and frame numbers, without painting anything.

Clip names, numbering, padding and odd rows imitate the distributed corpora.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mer.synthetic import tallies
from mer.synthetic.presets import Preset, preset
from mer.synthetic.seeds import generator

MICRO = ("casme2", "samm", "smic")
MACRO = ("ckplus", "oulu_casia", "mug")


class Clip(NamedTuple):
    """One clip or sequence of a corpus.

    Attributes:
        dataset: Reader name such as `casme2`.
        subject: Folder name of the subject: `sub01`, `006`, `s1`, `S005`, `P001`, `001`.
        clip: Folder of the clip below the subject, e.g. `EP02_01f`, `Anger`, `anger/take000`.
        emotion: Emotion in the corpus's spelling; empty for a CK+ sequence without label.
        onset: Number of the first frame (micro: the onset; macro: the neutral face).
        apex: Number of the frame in which the motion is truly greatest.
        offset: Number of the last frame.
        apex_cell: Text of the workbook's apex cell; None where the corpus has no such column.
    """

    dataset: str
    subject: str
    clip: str
    emotion: str
    onset: int
    apex: int
    offset: int
    apex_cell: int | str | None = None

    @property
    def key(self) -> str:
        """Name of the clip within all corpora."""
        return f"{self.dataset}/{self.subject}/{self.clip}"

    @property
    def frames(self) -> range:
        """Numbers of all frames, in order."""
        return range(self.onset, self.offset + 1)


def plan(preset_name: str, seed: int = 0) -> list[Clip]:
    """Return all clips of a preset, corpus by corpus and in each subject by subject.

    Raises:
        MerError: If there is no such preset.
    """
    size = preset(preset_name)
    return [
        *_casme2(size, seed),
        *_samm(size, seed),
        *_smic(size, seed),
        *_ckplus(size, seed),
        *_oulu_casia(size, seed),
        *_mug(size, seed),
    ]


def _length(rng: np.random.Generator, bounds: tuple[int, int]) -> int:
    return int(rng.integers(bounds[0], bounds[1], endpoint=True))


def _peak(rng: np.random.Generator, onset: int, offset: int) -> int:
    """Frame number of the apex, somewhat before the middle to somewhat after it."""
    return onset + max(1, round(rng.uniform(0.4, 0.65) * (offset - onset)))


# --- CASME II -------------------------------------------------------------------------------------

#: Rows whose name and emotion are known, because a rule or a trap of the real corpus hangs on them.
_CASME2_NAMED: dict[tuple[str, str], list[str]] = {
    ("sub01", "happiness"): ["EP02_01f"],
    ("sub04", "disgust"): ["EP12_01f"],
    ("sub05", "disgust"): ["EP09_05f"],
    ("sub05", "surprise"): ["EP12_03f"],
    ("sub05", "others"): ["EP16_04f"],
    ("sub09", "fear"): ["EP13_02"],
    ("sub10", "fear"): ["EP13_01"],
    ("sub17", "sadness"): ["EP15_01", "EP15_03"],
    ("sub19", "sadness"): ["EP19_04"],
    ("sub24", "sadness"): ["EP07_01", "EP07_04f", "EP10_03"],
    ("sub26", "sadness"): ["EP15_01"],
    # Spellings that a strict pattern would miss.
    ("sub02", "others"): ["EP09f"],
    ("sub05", "happiness"): ["EP08_1"],
    ("sub12", "disgust"): ["EP06_02_01", "EP06_02_02"],
    ("sub17", "others"): ["EP01_2"],
}

#: Rows whose workbook apex is the offset. sub05/EP09_05f has its onset there, sub04/EP12_01f a `/`.
_CASME2_APEX_AT_OFFSET = {("sub05", "EP16_04f")}

_CASME2_ONSETS = {("sub04", "EP12_01f"): 261, ("sub05", "EP09_05f"): 69, ("sub05", "EP16_04f"): 141}


def _casme2(size: Preset, seed: int) -> Iterator[Clip]:
    taken_by_name = {
        (subject, name) for (subject, _), names in _CASME2_NAMED.items() for name in names
    }
    for subject in size.casme2:
        rng = generator(seed, "casme2", subject, "names")
        free = [
            f"EP{film:02d}_{take:02d}{mark}"
            for film in range(1, 20)
            for take in range(1, 9)
            for mark in ("", "f")
            if (subject, f"EP{film:02d}_{take:02d}{mark}") not in taken_by_name
        ]
        clips = []
        for emotion, count in zip(tallies.CASME2_EMOTIONS, tallies.CASME2[subject], strict=True):
            named = _CASME2_NAMED.get((subject, emotion), [])
            drawn = rng.choice(free, count - len(named), replace=False).tolist()
            free = [name for name in free if name not in drawn]
            clips += [(name, emotion) for name in [*named, *drawn]]
        for name, emotion in sorted(clips):
            rng = generator(seed, "casme2", subject, name, "frames")
            onset = _CASME2_ONSETS.get((subject, name), int(rng.integers(6, 320)))
            offset = onset + _length(rng, size.micro_frames) - 1
            apex = _peak(rng, onset, offset)
            cell: int | str = apex
            if (subject, name) == ("sub04", "EP12_01f"):
                cell = "/"
            elif (subject, name) == ("sub05", "EP09_05f"):
                cell = onset
            elif (subject, name) in _CASME2_APEX_AT_OFFSET:
                cell = offset
            yield Clip("casme2", subject, name, emotion, onset, apex, offset, cell)


# --- SAMM -----------------------------------------------------------------------------------------

#: Subject and inducement of videos that must exist, with the emotion of their clips.
_SAMM_NAMED: dict[tuple[str, str], list[str]] = {
    ("006", "Surprise"): ["006_1_2"],
    ("028", "Anger"): ["028_4_1"],
    ("032", "Anger"): ["032_3_1", "032_3_2"],
    ("016", "Surprise"): ["016_7_1"],
    ("035", "Disgust"): ["035_7_2"],
    ("033", "Sadness"): ["033_1_4"],
}

#: Clips whose workbook apex lies outside onset..offset, as in the real workbook's first release;
#: its distance from the onset.
_SAMM_APEX_OUTSIDE = {"028_4_1": -3, "032_3_1": 40, "032_3_2": -2}

_SAMM_FIVE_DIGITS_AT_7 = {"016", "018", "034", "035", "036"}


def samm_digits(clip: str) -> int:
    """Width of the frame numbers of a SAMM clip: constant within one subject and inducement."""
    subject, inducement, _ = clip.split("_")
    return (
        5 if inducement == "1" or (inducement == "7" and subject in _SAMM_FIVE_DIGITS_AT_7) else 4
    )


def _samm(size: Preset, seed: int) -> Iterator[Clip]:
    known = {name for names in _SAMM_NAMED.values() for name in names}
    for subject in size.samm:
        rng = generator(seed, "samm", subject, "names")
        free = [f"{subject}_{film}_{take}" for film in range(1, 8) for take in range(1, 8)]
        free = [name for name in free if name not in known]
        clips = []
        for emotion, count in zip(tallies.SAMM_EMOTIONS, tallies.SAMM[subject], strict=True):
            named = _SAMM_NAMED.get((subject, emotion), [])
            drawn = rng.choice(free, count - len(named), replace=False).tolist()
            free = [name for name in free if name not in drawn]
            clips += [(name, emotion) for name in [*named, *drawn]]
        for name, emotion in sorted(clips):
            rng = generator(seed, "samm", subject, name, "frames")
            take = int(name.rsplit("_", 1)[1])
            onset = 600 * take + int(rng.integers(0, 400))  # takes of one video do not overlap
            offset = onset + _length(rng, size.micro_frames) - 1
            apex = _peak(rng, onset, offset)
            cell = onset + _SAMM_APEX_OUTSIDE[name] if name in _SAMM_APEX_OUTSIDE else apex
            yield Clip("samm", subject, name, emotion, onset, apex, offset, cell)


# --- SMIC -----------------------------------------------------------------------------------------

_SMIC_SHORT = {"negative": "ne", "positive": "po", "surprise": "sur"}


def smic_digits(subject: str) -> int:
    """Width of the frame numbers of a SMIC subject."""
    return {"s5": 7, "s12": 7, "s18": 7, "s19": 8, "s20": 8}.get(subject, 6)


def _smic(size: Preset, seed: int) -> Iterator[Clip]:
    for subject in size.smic:
        first = 12_345
        for emotion, count in zip(tallies.SMIC_EMOTIONS, tallies.SMIC[subject], strict=True):
            for number in range(1, count + 1):
                clip = f"{subject}_{_SMIC_SHORT[emotion]}_{number:02d}"
                rng = generator(seed, "smic", clip, "frames")
                first += int(rng.integers(300, 9_000))
                offset = first + _length(rng, size.smic_frames) - 1
                yield Clip("smic", subject, clip, emotion, first, _peak(rng, first, offset), offset)


# --- macro-expressions: CK+ and Oulu-CASIA end at the peak, MUG returns to neutral ----------------


def _ckplus(size: Preset, seed: int) -> Iterator[Clip]:
    share = np.array(list(tallies.CKPLUS.values()), dtype=float)
    emotions = list(tallies.CKPLUS)
    # The rare classes must be there for few persons too: the first persons take them in turn.
    for number in range(size.ckplus):
        subject = f"S{5 + 5 * number + number % 3:03d}"
        rng = generator(seed, "ckplus", subject)
        own = {emotions[(2 * number) % 7], emotions[(2 * number + 1) % 7]}
        own |= set(
            rng.choice(emotions, int(rng.integers(2, 4)), replace=False, p=share / share.sum())
        )
        sequences = [*sorted(own), ""]
        rng.shuffle(sequences)
        for sequence, emotion in enumerate(sequences, start=1):
            last = _length(rng, size.macro_frames)
            yield Clip("ckplus", subject, f"{sequence:03d}", str(emotion), 1, last, last)


def _oulu_casia(size: Preset, seed: int) -> Iterator[Clip]:
    for number in range(1, size.oulu_casia + 1):
        subject = f"P{number:03d}"
        for emotion in ("Anger", "Disgust", "Fear", "Happiness", "Sadness", "Surprise"):
            rng = generator(seed, "oulu_casia", subject, emotion)
            last = _length(rng, size.macro_frames) - 1
            yield Clip("oulu_casia", subject, emotion, emotion, 0, last, last)


def _mug(size: Preset, seed: int) -> Iterator[Clip]:
    for number in range(1, size.mug + 1):
        subject = f"{number:03d}"
        for emotion in ("anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"):
            for take in range(1 if emotion == "neutral" else size.mug_takes):
                rng = generator(seed, "mug", subject, emotion, str(take))
                first = int(rng.choice([0, 0, 0, 3, 12]))  # recordings do not always start at 0
                last = first + 2 * (_length(rng, size.macro_frames) // 2)
                yield Clip(
                    "mug",
                    subject,
                    f"{emotion}/take{take:03d}",
                    emotion,
                    first,
                    (first + last) // 2,
                    last,
                )
