"""Bytes of cached files that change at the same size change no prediction."""

import re
from pathlib import Path

import pandas as pd
import pytest

from mer.training import runner
from tests.builders import Config, OwnCache

pytestmark = pytest.mark.usefixtures("one_thread")

#: One file of each kind of the cache.
FILES = (
    "prepared/smic-*/flow.npy",
    "inputs/*/inputs.npy",
    "features/*/plain.npy",
    "macro/*/best.ckpt",
    "macro/*/pretraining.json",
    "networks/*/outputs.npz",
)


@pytest.mark.slow
def test_changed_caches_are_made_anew(
    tiny_config: Config, own_cache: OwnCache, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = tiny_config(
        own_cache(tmp_path),
        "protocol.n_splits=2",
        "model.epochs=1",
        "macro.epochs=1",
        "model.augment=null",
        "model.transfer.freeze=[conv_stem,blocks.0.*]",
        "model.transfer.input_stats=macro",
        "reuse_networks=true",
    )
    runner.run(config, tmp_path / "first")
    for pattern in FILES:
        for file in tmp_path.glob(pattern):
            content = bytearray(file.read_bytes())
            middle = len(content) // 2
            content[middle : middle + 64] = bytes(64 * [0x41])
            file.write_bytes(content)
    runner.run(config, tmp_path / "second")
    for pattern in FILES:
        assert re.search(rf"\([^)]*{Path(pattern).name}[^)]*\): it is made anew", caplog.text)
    first, second = (
        pd.read_parquet(tmp_path / name / "predictions.parquet") for name in ("first", "second")
    )
    pd.testing.assert_frame_equal(first, second, check_exact=True)
