"""Which samples a debugging run takes, and which drops `data.strict` refuses."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pytest

from mer.config.composition import compose, typed
from mer.config.settings import Debug, Motion, Pretrain, Settings
from mer.data import sources
from mer.data.few_samples import few, shortened
from mer.datasets.index import Reading, Remark
from mer.errors import MerError
from mer.prepare import store
from tests.builders import Config

SCHEME: dict[str, Any] = {
    "name": "own", "version": 1, "classes": ["negative", "positive", "surprise"], "map": {},
}  # fmt: skip


def reading(persons: dict[str, str]) -> Reading:
    """A table of persons, a letter for each sample: n, p or s, or x for no class."""
    words = {"n": "negative", "p": "positive", "s": "surprise", "x": "other"}
    rows = [
        (f"mine/{person}/{place}", "mine", person, words[letter])
        for person, letters in persons.items()
        for place, letter in enumerate(letters)
    ]
    table = pd.DataFrame(rows, columns=["sample_id", "dataset", "person", "emotion"])
    return Reading(table, [Remark("mine/z/0", "dropped", "no picture")])


def kept(letters: dict[str, str], **debug: Any) -> list[str]:
    settings = Settings(debug=Debug(**debug))
    table = few(settings, "mine", reading(letters), SCHEME).table
    return [name.removeprefix("mine/") for name in table["sample_id"]]


def test_the_persons_with_most_classes_give_some_samples_of_each() -> None:
    persons = {"a": "nnnnnn", "b": "npsnn", "c": "xnps", "d": "np"}
    assert kept(persons, persons=2, samples=1) == ["b/0", "b/1", "b/2", "c/1", "c/2", "c/3"]
    assert kept(persons, persons=1, samples=2) == ["b/0", "b/1", "b/2", "b/3"]


def test_persons_are_added_until_no_class_is_without_a_sample() -> None:
    assert kept({"a": "npp", "b": "np", "c": "s"}, persons=1, samples=5) == [
        "a/0", "a/1", "a/2", "c/0",
    ]  # fmt: skip


def test_folds_by_person_have_enough_persons() -> None:
    settings = typed(compose(["debug=fast", "protocol=group_kfold", "protocol.n_splits=3"]))
    table = few(settings, "mine", reading({name: "nps" for name in "abcd"}), SCHEME).table
    assert table["person"].unique().tolist() == ["a", "b", "c"]


def test_what_is_left_out_is_said_and_other_runs_take_everything() -> None:
    given = reading({"a": "nps", "b": "nps", "c": "nps"})
    assert few(Settings(), "mine", given, SCHEME) is given
    remarks = few(Settings(debug=Debug(persons=2)), "mine", given, SCHEME).remarks
    assert remarks[1] == ("mine", "ignored", "debug=fast: 3 samples left out", 0)


def test_synthetic_motion_is_short_too() -> None:
    long = Pretrain(motion=Motion(samples=9000))
    short = shortened(Settings(debug=Debug(motion=64), macro=long))
    assert short.macro.motion == Motion(samples=64)
    assert shortened(Settings(macro=long)).macro is long


def test_strict_names_every_dropped_sample_but_those_that_the_scheme_leaves_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    found = reading({"a": "npsx", "b": "nps"})
    corpus = SimpleNamespace(
        table=found.table, remarks=[Remark("mine/a/1", "dropped", "no face")], stores=[]
    )
    monkeypatch.setattr(sources, "prepare", lambda _, source: (None, source.reading.remarks))
    monkeypatch.setattr(sources, "combine", lambda *_: corpus)
    monkeypatch.setattr(sources, "_check_classes", lambda *_: None)
    given = [sources.Source("mine", {}, found)]
    settings = typed(compose(["data=mine", "data.strict=true"]))
    settings.labels.update(SCHEME)
    with pytest.raises(MerError, match="strict=true refuses") as refused:
        sources.load(settings, "micro", given)
    assert "mine/z/0: no picture" in str(refused.value)
    clean = [sources.Source("mine", {}, found._replace(remarks=[]))]
    with pytest.raises(MerError, match="mine/a/1: no face"):
        sources.load(settings, "micro", clean)


def test_one_line_says_what_was_prepared_and_how_to_do_it_again(
    tiny_stores: list[Path],
    tiny_config: Config,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level("INFO")
    sources.load(typed(tiny_config()), "micro")
    (line,) = caplog.messages
    folder = tiny_stores[0].parent
    assert line.startswith(f"micro: 45 samples of 9 persons, prepared in {folder}; 19 of 64 ")
    assert "again" not in line
    drops = pd.DataFrame({"sample_id": ["casme2/a"], "reason": ["no face"], "detail": [""]})
    reuse = store._reuse
    monkeypatch.setattr(store, "_reuse", lambda path: replace(reuse(path), drops=drops))
    sources.load(typed(tiny_config()), "micro")
    names = ", ".join(path.name for path in tiny_stores[:3])
    assert f"; to prepare the dropped ones again, delete {names} there" in caplog.messages[1]


@pytest.mark.slow
def test_what_a_label_scheme_leaves_out_of_a_known_dataset_is_no_fault(
    tiny_config: Config,
) -> None:
    corpus = sources.load(typed(tiny_config("data.strict=true")), "micro")
    assert any("without class" in remark.reason for remark in corpus.remarks)
    assert isinstance(corpus.stores[0].path, Path)
