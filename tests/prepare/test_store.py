"""The prepared store: workers, resuming, reuse, hash, opening, full disks."""

import json
import logging
import os
import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from filelock import FileLock

from mer import cache
from mer.config.conversion import updated
from mer.config.settings import Prepare
from mer.datasets.index import make_table
from mer.errors import MerError
from mer.prepare import build, sample
from mer.prepare.layout import relevant, settings_hash
from mer.prepare.store import Store, prepare_store
from tests.prepare.prepare_inputs import clips

AS_IS = Prepare(faces="as_is", size=48)


def are_equal(one: Any, other: Any) -> bool:
    """Whether two arrays have the same values, and not zeros alone."""
    return np.array_equal(one, other) and bool(one.any())


def test_workers_and_resuming_give_the_same_arrays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table(clips(tmp_path, 9))
    monkeypatch.setattr(build, "CHUNK", 2)
    whole = prepare_store(table, AS_IS, tmp_path / "whole", 1, "made")
    pair = prepare_store(table, AS_IS, tmp_path / "pair", 2, "made")

    done: list[str] = []
    real = sample.prepare_sample

    def interrupted(record: dict[str, Any], *rest: Any) -> Any:
        if len(done) == 5:
            raise KeyboardInterrupt
        done.append(record["sample_id"])
        return real(record, *rest)

    monkeypatch.setattr(sample, "prepare_sample", interrupted)
    with pytest.raises(KeyboardInterrupt):
        prepare_store(table, AS_IS, tmp_path / "cut", 1, "made")
    (partial,) = (tmp_path / "cut").glob(".made-*.partial")
    # Two chunks of two were finished; the fifth sample died with its chunk.
    journal = partial / "done.jsonl"
    assert [json.loads(line)["row"] for line in journal.read_text().splitlines()] == [0, 1, 2, 3]
    with pytest.raises(MerError, match="unfinished store"):
        Store.open(partial)
    with journal.open("a") as stream:
        stream.write('{"row": 4, "rea')  # a line that the crash has torn

    again: list[str] = []

    def counted(record: dict[str, Any], *rest: Any) -> Any:
        again.append(record["sample_id"])
        return real(record, *rest)

    monkeypatch.setattr(sample, "prepare_sample", counted)
    resumed = prepare_store(table, AS_IS, tmp_path / "cut", 1, "made")
    assert again == table["sample_id"].tolist()[4:]
    for other in (pair, resumed):
        assert are_equal(whole.frames, other.frames) and are_equal(whole.flow, other.flow)
        assert whole.index.equals(other.index)
    assert not (resumed.path / "done.jsonl").exists()


def test_a_run_cut_while_it_reserves_space_starts_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table(clips(tmp_path, 3))
    whole = prepare_store(table, AS_IS, tmp_path / "whole", 1, "made")
    folder = tmp_path / "cut" / f".{whole.path.name}.partial"
    folder.mkdir(parents=True)
    (folder / "frames.npy").write_bytes(b"half")
    again = prepare_store(table, AS_IS, tmp_path / "cut", 1, "made")
    assert are_equal(again.flow, whole.flow)


def test_the_same_call_reuses_and_another_setting_does_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table(clips(tmp_path, 2))
    first = prepare_store(table, AS_IS, tmp_path / "out", 1, "made")
    monkeypatch.setattr(build, "prepare_chunk", None)  # any work would fail
    with caplog.at_level(logging.DEBUG, "mer.prepare.store"):
        again = prepare_store(table, replace(AS_IS, workers=7), tmp_path / "out", 7, "made")
    assert again.path == first.path and "is reused" in caplog.text
    with pytest.raises(TypeError):
        prepare_store(table, replace(AS_IS, size=40), tmp_path / "out", 1, "made")


def test_a_changed_store_is_prepared_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    table = make_table(clips(tmp_path, 2))
    path = prepare_store(table, AS_IS, tmp_path / "out", 1, "made").path
    for name in ("flow.npy", "index.parquet", "settings.json"):
        file = path / name
        whole = file.read_bytes()
        file.write_bytes(whole[:-9] + bytes(8) + whole[-1:])
        again = prepare_store(table, AS_IS, tmp_path / "out", 1, "made")
        assert again.path == path and file.read_bytes() == whole
        assert f"no longer holds what was written ({name}): it is made anew" in caplog.text


def test_a_second_caller_waits_and_opens(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    table = make_table(clips(tmp_path, 2))
    first = prepare_store(table, AS_IS, tmp_path / "out", 1, "made")
    hidden = tmp_path / "hidden"
    first.path.rename(hidden)
    lock = FileLock(first.path.parent / f".{first.path.name}.lock", thread_local=False)
    lock.acquire()

    def finish(message: str, *args: object) -> None:
        # The first caller finishes while the second one waits.
        if "waiting" in message:
            hidden.rename(first.path)
            lock.release()

    monkeypatch.setattr(cache.log, "info", finish)
    monkeypatch.setattr(build, "prepare_chunk", None)
    assert len(prepare_store(table, AS_IS, tmp_path / "out", 1, "made").index) == 2


def test_the_hash_follows_content_and_not_the_machine(tmp_path: Path) -> None:
    table = make_table(clips(tmp_path / "a", 3))
    digest = settings_hash(AS_IS, table)
    assert len(digest) == 12 and int(digest, 16) >= 0
    shutil.copytree(tmp_path / "a", tmp_path / "deep" / "b")
    moved = make_table(clips(tmp_path / "deep" / "b", 3))
    assert settings_hash(AS_IS, moved) == digest
    assert settings_hash(AS_IS, table.iloc[::-1]) == digest
    ignored = {"workers": 3, "margin": 0.3, "flow": {"tvl1": {"warps": 9}}}
    same = updated(AS_IS, ignored, "prepare")
    assert settings_hash(same, table) == digest
    for change in ({"size": 50}, {"faces": "landmarks"}, {"flow": {"method": None}}):
        assert settings_hash(updated(AS_IS, change, "prepare"), table) != digest
    for flow in ({"stabilise": False}, {"face_only": False}, {"dis": {"smooth": 1}}):
        assert settings_hash(updated(AS_IS, {"flow": flow}, "prepare"), table) != digest
    relaxed = updated(AS_IS, {"flow": {"dis": {"relaxation": 1.9}}}, "prepare")
    assert settings_hash(relaxed, table) != digest
    # Stores of before this setting keep their hash.
    assert "relaxation" not in relevant(AS_IS, "pictures")["flow"]["dis"]
    own = updated(AS_IS, {"flow": {"_target_": "tests.prepare.test_flow.own_flow"}}, "prepare")
    assert settings_hash(own, table) != digest
    stronger = updated(own, {"flow": {"kwargs": {"gain": 2.0}}}, "prepare")
    assert settings_hash(stronger, table) != settings_hash(own, table)
    assert settings_hash(updated(own, {"flow": {"method": "tvl1"}}, "prepare"), table) == (
        settings_hash(own, table)
    )
    assert settings_hash(AS_IS, table.assign(emotion="anger")) != digest
    assert settings_hash(AS_IS, table.iloc[1:]) != digest
    Path(moved["apex_path"][0]).write_bytes(b"another size")
    assert settings_hash(AS_IS, moved) != digest


def test_opening_what_is_no_store(tmp_path: Path) -> None:
    made = prepare_store(make_table(clips(tmp_path, 2)), AS_IS, tmp_path / "out", 1, "made")
    with pytest.raises(MerError, match="There is no prepared store"):
        Store.open(tmp_path / "nowhere")
    with pytest.raises(MerError, match="no prepared store: it has no"):
        Store.open(tmp_path)
    facts = json.loads((made.path / "settings.json").read_text())
    of_before = {name: value for name, value in facts.items() if name != "key"}
    for text in (json.dumps(of_before), "{"):
        (made.path / "settings.json").write_text(text)
        with pytest.raises(MerError, match=r"settings.json is damaged(.|\n)*delete"):
            Store.open(made.path)
    (made.path / "settings.json").write_text(json.dumps(facts))
    (made.path / "flow.npy").unlink()
    with pytest.raises(MerError, match=r"is damaged(.|\n)*flow.npy"):
        Store.open(made.path)


def test_a_store_is_read_only_and_travels_as_its_path(tmp_path: Path) -> None:
    made = prepare_store(make_table(clips(tmp_path, 2)), AS_IS, tmp_path / "out", 1, "made")
    assert made.flow is not None
    with pytest.raises(ValueError, match="read-only"):
        made.flow[0] = 1
    packed = pickle.dumps(made)
    assert len(packed) < 500
    assert are_equal(pickle.loads(packed).flow, made.flow)


def test_a_full_or_unwritable_disk_is_a_message(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table(clips(tmp_path, 2))
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "disk_usage", lambda folder: usage)
        with pytest.raises(MerError, match=r"0.00 GB free and the prepared store needs"):
            prepare_store(table, AS_IS, tmp_path / "out", 1, "made")
    (tmp_path / "file").touch()
    with pytest.raises(MerError, match=r"can't be written(.|\n)*paths.cache"):
        prepare_store(table, AS_IS, tmp_path / "file" / "out", 1, "made")


def die(*_chunk: object) -> None:
    os._exit(9)


def test_a_sample_that_kills_every_worker_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    table = make_table(clips(tmp_path, 2))
    monkeypatch.setattr(build, "prepare_chunk", die)
    with pytest.raises(
        MerError, match=r"samples 0 to 1 has ended by itself, 3 times.*prepare.workers=1"
    ):
        prepare_store(table, AS_IS, tmp_path / "out", 2, "made")
