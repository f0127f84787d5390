"""A run directory whose numbers are worked out by hand, and a reader of the page made from it."""

import json
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pandas as pd
from omegaconf import OmegaConf

from mer.report.run_page import Choices, write
from mer.runs import results

CLASSES = ("negative", "positive", "surprise")

#: sample, person, label, what the SVM says, by how much, what the softmax says, how surely.
#: SVM: UF1 (2/3 + 1/2 + 2/3) / 3 = .611, UAR (3/4 + 1/2 + 1/2) / 3 = .583, accuracy 5/8.
#: Softmax: UF1 (6/7 + 4/5 + 1) / 3 = .886, UAR .917, accuracy 7/8.
ROWS = (
    ("casme2/s1/a", "casme2/s1", "negative", "negative", 1.0, "positive", 0.95),
    ("casme2/s1/b", "casme2/s1", "negative", "positive", 2.0, "negative", 0.6),
    ("casme2/s1/c", "casme2/s1", "positive", "positive", 1.0, "positive", 0.6),
    ("casme2/s2/a", "casme2/s2", "surprise", "surprise", 1.0, "surprise", 0.6),
    ("casme2/s2/b", "casme2/s2", "negative", "negative", 1.0, "negative", 0.6),
    ("samm/1/a", "samm/1", "negative", "negative", 1.0, "negative", 0.6),
    ("samm/1/b", "samm/1", "positive", "negative", 0.5, "positive", 0.6),
    ("samm/1/c", "samm/1", "surprise", "negative", 1.5, "surprise", 0.6),
)

DROPPED = (
    ("casme2/s1/x", "dropped", "frame 12 is missing"),
    ("casme2/s1/y", "dropped", "frame 7 is missing"),
    ("samm/1/z", "mended", "apex taken from the middle"),
)


def write_run(directory: Path, rename: tuple[str, str] = ("", ""), mark: str = "") -> Path:
    """Write a finished run without its data, networks and folds.

    Args:
        directory: New directory.
        rename: Text in ids, persons and datasets, and what stands there instead.
        mark: `-ORACLE` for a run of `selection=oracle`.
    """
    directory.mkdir(parents=True)
    config = {
        "seed": 0,
        "selection": "oracle" if mark else "last",
        "data": {"name": "composite", "root": "/nowhere", "micro": {"casme2": {"root": "CASME2"}}},
        "labels": {"name": "megc2019", "classes": list(CLASSES)},
        "protocol": {"name": "loso", "validation": 0.0},
        "input": {"name": "flow", "size": 32},
        "backbone": {"name": "tiny"},
        "model": {"epochs": 5, "optimizer": {"name": "adamw", "lr": 0.001}},
    }
    OmegaConf.save(OmegaConf.create(config), directory / "config.yaml")
    frame = predictions()
    for column in ("sample_id", "person", "dataset", "fold"):
        frame[column] = frame[column].str.replace(*rename, regex=False)
    columns = ["sample_id", "dataset", "subject", "person", "label", "emotion", "fold"]
    frame[columns].to_parquet(directory / "manifest.parquet")
    frame.to_parquet(directory / f"predictions{mark}.parquet")
    dropped = pd.DataFrame(DROPPED, columns=["item", "action", "reason"])
    dropped.to_csv(directory / "dropped.csv", index=False)
    metrics = {
        "status": "complete",
        "folds": 3,
        "heads": results.score(frame, CLASSES, seed=0),
        "seconds": 61.4,
    }
    (directory / f"metrics{mark}.json").write_text(json.dumps(metrics))
    start = {"started": "2026-11-25T08:24:30+00:00", "mer": "0.1.0", "data_hash": "aaaa"}
    (directory / "environment.json").write_text(json.dumps([start]))
    (directory / ".hydra").mkdir()
    words = ["data=megc2019", "run.dir=runs/a", "model.epochs=7"]
    OmegaConf.save(words, directory / ".hydra" / "overrides.yaml")
    return directory


def predictions() -> pd.DataFrame:
    """`ROWS` as pooled predictions."""
    rows = []
    for sample, person, label, svm, lead, softmax, sure in ROWS:
        row: dict[str, Any] = {"sample_id": sample, "person": person, "fold": person}
        row |= {"dataset": sample.split("/")[0], "subject": person.split("/")[1]}
        row |= {"label": label, "emotion": label, "svm": svm, "softmax": softmax}
        for name in CLASSES:
            row[f"svm_{name}"] = lead * (name == svm)
            row[f"softmax_{name}"] = sure if name == softmax else (1 - sure) / 2
        rows.append(row)
    return pd.DataFrame(rows)


class Page(HTMLParser):
    """A page as its reader sees it; raises where a tag is not closed or closed twice.

    Attributes:
        sections: Heading -> text below it; the text above the first one under "".
        facts: Name -> value of all lists of facts.
        tables: Rows of cells of each table, in the order of the page.
        sources: Every `src` and `href`.
        alternatives: Descriptions of the pictures.
        tags: Names of all tags.
    """

    VOID = ("meta", "link", "img", "br", "input")

    def __init__(self, html: str) -> None:
        super().__init__()
        self.sections: dict[str, str] = {"": ""}
        self.facts: dict[str, str] = {}
        self.tables: list[list[list[str]]] = []
        self.sources: list[str] = []
        self.alternatives: list[str] = []
        self.tags: set[str] = set()
        self._open: list[str] = []
        self._here = ""
        self.feed(html)
        self.close()
        assert self._open == []
        self.sections = {name: " ".join(text.split()) for name, text in self.sections.items()}
        self.tables = [[[" ".join(c.split()) for c in r] for r in rows] for rows in self.tables]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.tags.add(tag)
        self.sources += [values[name] for name in ("src", "href") if name in values]
        assert not any(name.startswith("on") for name in values), f"a script in <{tag}>"
        if tag == "img":
            self.alternatives.append(values["alt"])
        if tag not in self.VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
        elif tag == "h2":
            self._here = ""
        elif tag == "dt":
            self._name = ""

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag, f"</{tag}> closes nothing"

    def handle_data(self, data: str) -> None:
        if "h2" in self._open:
            self._here += data
            self.sections[self._here] = ""
        elif "style" not in self._open:
            self.sections[self._here] += data
        if "dt" in self._open:
            self._name += data
        elif "dd" in self._open:
            self.facts[self._name] = self.facts.get(self._name, "") + data
        if "td" in self._open or "th" in self._open:
            self.tables[-1][-1][-1] += data

    def table(self, heading: str) -> list[list[str]]:
        """Rows of the first table whose first cell is this."""
        return next(rows for rows in self.tables if rows[0][0] == heading)[1:]

    @property
    def text(self) -> str:
        return "\n".join(self.sections.values())


def read(run_dir: Path, **choices: bool) -> Page:
    """Write the report of a run and read it."""
    return Page(write(run_dir, Choices(**choices))[0].read_text(encoding="utf-8"))
