from mer.datasets import remarks
from mer.datasets.index import Remark

REMARKS = [
    Remark("a", "dropped", "frame 7 of 20 is missing"),
    Remark("b", "mended", "apex 902 (outside 905 to 917) replaced by the middle, 911"),
    Remark("casme2", "dropped", "emotion `other` without class in megc2019", 22),
    Remark("c", "dropped", "row 3 of x.csv: frame 12 of 31 is missing"),
    Remark("d", "dropped", "frame 12 of 31 is missing"),
    Remark("samm", "dropped", "emotion `other` without class in megc2019", 5),
    Remark("/data/SAMM_CROP", "ignored", "a second tree", 0),
]


def test_reasons_are_grouped_by_words_not_numbers_and_counted_in_samples() -> None:
    assert remarks.reasons(REMARKS) == [
        ("dropped", 27, "emotion `other` without class in megc2019", 0, ("casme2", "samm")),
        ("dropped", 3, "frame 7 of 20 is missing", 2, ("a", "c", "d")),
        ("mended", 1, "apex 902 (outside 905 to 917) replaced by the middle, 911", 0, ("b",)),
        ("ignored", 0, "a second tree", 0, ("/data/SAMM_CROP",)),
    ]


def test_a_summary_counts_samples_not_lines() -> None:
    # 119 kept, 30 dropped.
    assert remarks.summary(119, REMARKS) == (
        "30 of 149 samples dropped: 27 emotion `other` without class in megc2019 (casme2, samm), "
        "3 frame 7 of 20 is missing (a, c, ...)"
    )
    assert remarks.summary(119, REMARKS[1:2]) == ""
    many = [Remark("a", "dropped", f"fault {letter}") for letter in "abcdefg"]
    assert remarks.summary(1, many).endswith("1 fault d (a), 3 for other reasons")
