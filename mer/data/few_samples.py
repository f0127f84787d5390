"""Few samples of a dataset, for a run that shows whether everything works (`debug=...`)."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pandas as pd

from mer.config.settings import Settings
from mer.datasets import labels
from mer.datasets.index import Reading, Remark


def shortened(settings: Settings) -> Settings:
    """Settings with no more synthetic motion than a debugging run takes."""
    motion, debug = settings.macro.motion, settings.debug
    if debug is None or motion is None or motion.samples <= debug.motion:
        return settings
    fewer = replace(motion, samples=debug.motion)
    return replace(settings, macro=replace(settings.macro, motion=fewer))


def few(settings: Settings, name: str, reading: Reading, scheme: Mapping[str, Any]) -> Reading:
    """Keep the samples of a dataset that a debugging run takes; all of them in another run."""
    if settings.debug is None:
        return reading
    protocol = settings.protocol
    inner = protocol.inner.n_splits
    most = max(settings.debug.persons, protocol.n_splits or 0, 1 + inner if inner else 0)
    table = labels.apply(reading.table, scheme).table
    chosen = table[table["person"].isin(_persons(table, most))].sort_values("sample_id")
    chosen = chosen.groupby(["person", "label"]).head(settings.debug.samples)
    kept = reading.table["sample_id"].isin(chosen["sample_id"])
    reason = f"debug={settings.debug.name}: {int((~kept).sum())} samples left out"
    remarks = [*reading.remarks, Remark(name, "ignored", reason, 0)]
    return Reading(reading.table[kept].reset_index(drop=True), remarks)


def _persons(table: pd.DataFrame, most: int) -> list[str]:
    """The persons with the most classes, then samples, and more until no class is without any."""
    counts = table.groupby("person").agg(classes=("label", "nunique"), samples=("label", "size"))
    order = counts.reset_index().sort_values(
        ["classes", "samples", "person"], ascending=[False, False, True]
    )
    of = table.groupby("person")["label"].agg(set)
    chosen: list[str] = []
    covered: set[str] = set()
    for person in order["person"]:
        if len(chosen) < most or of[person] - covered:
            chosen.append(person)
            covered |= of[person]
    return chosen
