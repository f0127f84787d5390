"""Files of predictions, as `mer compare` reads them beside a run and alone."""

from pathlib import Path
from typing import Any

import pandas as pd
from hypothesis import strategies as st

from mer import compare
from tests.compare.compare_inputs import SAMPLES, write_run
from tests.fuzz.fuzz_inputs import fuzz, mutated, sizes

FILE = "sample_id,person,label,prediction\n" + "".join(
    f"{sample},{person},{label},{label}\n" for sample, _, person, label in SAMPLES
)
FILES = [FILE, FILE.replace("negative", "0").replace("positive", "1").replace("surprise", "2")]
FILES += ["dataset,subject,clip,true,pred\na,1,x,²,1\na,2,y,1,²\n", FILE.replace(",", ";")]


@sizes(20, 2_000)
def test_csv_files_of_predictions(examples: int, tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", {"svm": 0.5})
    path = tmp_path / "theirs.csv"

    def check(value: tuple[str, bool]) -> None:
        text, alone = value
        path.write_bytes(text.encode())
        compare.side_by_side(compare.read([path] if alone else [run, path]))

    fuzz(st.tuples(mutated(FILES, 6), st.booleans()), examples, check)


@sizes(30, 1_000)
def test_parquet_files_of_predictions(examples: int, tmp_path: Path) -> None:
    path = tmp_path / "theirs.parquet"
    cells = st.one_of(
        st.none(), st.booleans(), st.integers(-(2**62), 2**62), st.floats(), st.text(max_size=4)
    )
    columns = ["sample_id", "person", "label", "prediction", "dataset"]

    def check(rows: list[dict[str, Any]]) -> None:
        path.unlink(missing_ok=True)
        try:
            pd.DataFrame(rows, columns=columns).to_parquet(path)
        except Exception:  # not every mixture can be written
            return
        compare.read([path])

    fuzz(
        st.lists(st.fixed_dictionaries(dict.fromkeys(columns, cells)), max_size=4), examples, check
    )
