"""Words and options that several commands share."""

from pathlib import Path

import pytest

from mer.cli.options import cache_to_make, require_writable, split_places
from mer.errors import MerError


def test_words_that_say_where_data_are_now_are_parted_from_the_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "lr=1").mkdir()  # a run of a sweep
    places = ["data.root=/d", "data.micro.samm.root=SAMM", f"paths.cache={300 * 'c'}"]
    words = ["runs/a", "lr=1", "runs/a/lr=0.1,x=2"]  # the last is not there
    assert split_places([*words, *places]) == (words, places)
    with pytest.raises(MerError) as error:
        split_places(["runs/a", "data.rot=x", "seed=1"])
    assert [line.partition(":")[0] for line in str(error.value).splitlines()[1:]] == [
        "  - data.rot=x",
        "  - seed=1",
    ]


def test_all_outputs_that_cannot_be_written_are_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    require_writable({"--csv ": "-", "--json ": None}, {"--out ": tmp_path})
    with pytest.raises(MerError) as error:
        require_writable({"--csv ": tmp_path}, {"out=": tmp_path / "file"})
    assert str(error.value).splitlines()[1:] == [
        f"  - --csv {tmp_path} is a folder; name a file",
        f"  - out={tmp_path}/file is a file; name a folder, which is made where it is missing",
    ]


def test_a_cache_that_is_there_may_be_read_only() -> None:
    require_writable({}, cache_to_make("/proc"))
    with pytest.raises(MerError, match=r"paths.cache=/proc/x cannot be written"):
        require_writable({}, cache_to_make("/proc/x"))
