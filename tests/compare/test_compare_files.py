"""`mer compare`: predictions of other programs, and each way in which such a file can be wrong."""

from pathlib import Path

import pandas as pd
import pytest

from mer import compare
from mer.errors import MerError
from tests.compare.compare_inputs import shown, write_predictions, write_run

SAMPLES = tuple(
    (f"{dataset}/{person}/{label[:3]}", dataset, f"{dataset}/{person}", label)
    for dataset in ("casme2", "samm")
    for person in ("01", "1")
    for label in ("negative", "positive", "surprise")
)
LABELS = [row[3] for row in SAMPLES]
NUMBERS = {"negative": "0", "positive": "1", "surprise": "2"}


def table(**columns: object) -> pd.DataFrame:
    """Sample, person and label as the runs have them, and predictions that are all negative."""
    frame = pd.DataFrame(SAMPLES, columns=["sample_id", "dataset", "person", "label"])
    return frame.assign(**{"prediction": "negative"} | columns)


def csv(path: Path, frame: pd.DataFrame) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(path, index=False)
    return path


def our_run(directory: Path) -> Path:
    run = write_run(directory, {"svm": 0.9}, samples=SAMPLES)
    write_predictions(run, svm=LABELS)
    return run


def test_a_file_alone_is_scored(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = csv(tmp_path / "theirs.csv", table())
    lines = shown(capsys, path)
    # Four of twelve are right: F1 of negative 8 / 16.
    row = next(cells for cells in lines if cells[0] == "theirs.csv")
    assert row[1:3] == ["complete", "file"]
    assert [cell[:5] for cell in row[3:6]] == ["0.167", "0.333", "0.333"]
    assert row[-2:] == ["12", "4"]
    assert ["How the predictions of theirs.csv were made is not known here."] in lines
    parts = compare.read([path])[0].metrics["heads"]["file"]
    assert parts["samm"]["samples"] == 6 and parts["pooled"]["samples"] == 12


def test_classes_may_have_any_names(tmp_path: Path) -> None:
    names = {"negative": "²", "positive": "9" * 5000, "surprise": "10"}
    labels = [names[label] for label in LABELS]
    path = csv(tmp_path / "theirs.csv", table(label=labels, prediction=labels))
    (run,) = compare.read([path])
    assert run.config["labels.classes"] == ["9" * 5000, "²", "10"]  # those that are numbers last
    assert run.metrics["heads"]["file"]["pooled"]["uf1"] == 1


def test_names_numbers_and_parquet_say_the_same(tmp_path: Path) -> None:
    numbers = [int(NUMBERS[label]) for label in LABELS]
    full = csv(tmp_path / "full.csv", table(prediction=LABELS))
    parts = pd.DataFrame(SAMPLES, columns=["id", "Database", "person", "y_true"])
    parts["Subject"] = parts.pop("person").str.split("/").str[1]
    parts["clip"] = parts.pop("id").str.split("/").str[2]
    parts = parts.assign(y_true=numbers, Pred=[float(n) for n in numbers])
    parts.to_parquet(tmp_path / "parts.parquet")
    run = our_run(tmp_path / "run")
    runs = {r.name: r for r in compare.read([run, full, tmp_path / "parts.parquet"])}
    samples = frozenset(SAMPLES)
    assert [runs[name].samples for name in ("run", "full.csv", "parts.parquet")] == [samples] * 3
    for name in ("full.csv", "parts.parquet"):
        assert runs[name].metrics["heads"]["file"]["pooled"]["uf1"] == 1.0
    # Alone, numbers are names of classes, and "01" and "1" stay two persons.
    (alone,) = compare.read([tmp_path / "parts.parquet"])
    assert alone.config["labels.classes"] == ["0", "1", "2"]
    assert alone.metrics["heads"]["file"]["pooled"]["persons"] == 4


def test_a_run_beside_it_gives_labels_and_persons_and_both_are_tested(tmp_path: Path) -> None:
    run = our_run(tmp_path / "run")
    path = csv(tmp_path / "theirs.csv", table()[["sample_id", "prediction"]].iloc[::-1])
    runs = compare.read([run, path])
    comparison = compare.side_by_side(runs)
    assert comparison.frame[["name", "head"]].values.tolist() == [
        ["run", "svm"],
        ["theirs.csv", "file"],
    ]
    assert comparison.keys == {}
    assert not [note for note in comparison.notes if "Not comparable" in note]
    pairs = compare.against_first(runs)
    assert pairs is not None
    assert pairs.frame["uf1_difference"].tolist() == pytest.approx([1 / 6 - 1])


def test_persons_spelled_otherwise_are_those_of_the_run_but_other_labels_show(
    tmp_path: Path,
) -> None:
    run = our_run(tmp_path / "run")
    persons = csv(tmp_path / "persons.csv", table(person="someone"))
    assert compare.read([run, persons])[0].samples == frozenset(SAMPLES)
    turned = csv(tmp_path / "turned.csv", table(label=LABELS[1:] + LABELS[:1]))
    notes = compare.side_by_side(compare.read([run, turned])).notes
    assert notes[0].startswith("Not comparable, different samples, persons or labels: 12 in run")


def test_a_file_with_labels_serves_another_one_without(tmp_path: Path) -> None:
    bare = csv(tmp_path / "a.csv", table()[["sample_id", "prediction"]])
    full = csv(tmp_path / "b.csv", table(prediction=LABELS))
    runs = compare.read([bare, full])
    assert [run.metrics["heads"]["file"]["pooled"]["uf1"] for run in runs] == [
        pytest.approx(1 / 6),
        1.0,
    ]


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            table().drop(columns="prediction").assign(svm="x"),
            "has the columns sample_id, dataset, person, label, svm; it needs prediction or "
            "predicted or pred or y_pred",
        ),
        (
            table().drop(columns="sample_id"),
            "it needs sample_id or sample or id, or instead subject, clip",
        ),
        (
            table().drop(columns=["label", "person"]),
            "has the columns sample_id, dataset, prediction; it needs label or true or y_true or "
            "ground_truth or target and person or subject or subject_id as well, or name a run "
            "with these samples beside it",
        ),
        (table(true="negative"), "label and true both mean label: keep one of them"),
        (table().iloc[:0], "has no row"),
        (table(prediction=[None, None, *LABELS[2:]]), "2 rows have no prediction"),
        (
            pd.concat([table(), table().iloc[:2]]),
            "2 samples (casme2/01/neg, casme2/01/pos) stand in more than one row",
        ),
        (table(prediction="others"), "Classes without a single labelled sample cannot be scored"),
    ],
)
def test_each_fault_of_a_file_is_named(tmp_path: Path, frame: pd.DataFrame, message: str) -> None:
    path = csv(tmp_path / "theirs.csv", frame)
    with pytest.raises(MerError) as caught:
        compare.read([path])
    assert f"{path}" in str(caught.value)
    assert message in str(caught.value)


def test_faults_that_show_beside_a_run(tmp_path: Path) -> None:
    run = our_run(tmp_path / "run")
    for name, frame, message in (
        ("a", table(prediction="others"), "prediction holds others; the classes are negative, "),
        ("b", table(prediction="3"), "prediction holds 3; the classes are negative, positive, "),
        (
            "c",
            table(sample_id=[f"x{n}" for n in range(12)])[["sample_id", "prediction"]],
            "(those named do not have 12 samples (x0, x1, x2, ...))",
        ),
    ):
        with pytest.raises(MerError) as caught:
            compare.read([run, csv(tmp_path / f"{name}.csv", frame)])
        assert message in str(caught.value)


def test_unreadable_files_and_those_of_a_run_are_named_with_a_mend(tmp_path: Path) -> None:
    broken = tmp_path / "broken.parquet"
    broken.write_text("no table")
    run = our_run(tmp_path / "run")
    with pytest.raises(MerError) as caught:
        compare.read([broken, run / "predictions.parquet"])
    assert f"{broken} cannot be read (" in str(caught.value)
    assert f"; or type {run}, the run it lies in" in str(caught.value)
