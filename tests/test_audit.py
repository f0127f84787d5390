"""`mer audit`: a clean run passes; each planted leak is named by the check that should see it."""

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from omegaconf import DictConfig, OmegaConf

from mer.audit import Artefacts, Audit, audit
from mer.audit.check_persons import check_persons
from mer.audit.check_samples import check_duplicates, check_samples, count, scores
from mer.cli import main
from mer.files import fingerprint
from mer.training import runner

Config = Callable[..., DictConfig]


@pytest.fixture(scope="module")
def finished(tiny_config: Config, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run with macro weights and validation persons."""
    run_dir = tmp_path_factory.mktemp("audited") / "run"
    runner.run(tiny_config("protocol.validation=0.3", "selection=validation"), run_dir)
    return run_dir


@pytest.fixture
def run_dir(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(finished, tmp_path / "run"))


def failures(run_dir: Path) -> dict[str, str]:
    """Name -> evidence of every check that fails."""
    return {
        check.name: check.evidence for check in audit(run_dir).checks if check.verdict == "fail"
    }


def change(path: Path, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table."""
    edit(pd.read_parquet(path)).to_parquet(path, index=False)


def everywhere(run_dir: Path, name: str, edit: Callable[[pd.DataFrame], pd.DataFrame]) -> None:
    """Rewrite a table of the run and those of the same name in its folds."""
    for path in [run_dir / name, *run_dir.glob(f"folds/*/{name}")]:
        change(path, edit)


def say(path: Path, edit: Callable[[dict[str, Any]], Any]) -> None:
    """Change what a checkpoint says of its making."""
    content = torch.load(path, weights_only=True)
    edit(content["mer"])
    torch.save(content, path)


def set_config(run_dir: Path, key: str, value: object) -> None:
    config = OmegaConf.load(run_dir / "config.yaml")
    OmegaConf.update(config, key, value, force_add=True)
    OmegaConf.save(config, run_dir / "config.yaml")


def manifest(run_dir: Path) -> pd.DataFrame:
    return pd.read_parquet(run_dir / "manifest.parquet")


def first_fold(run_dir: Path) -> str:
    return str(manifest(run_dir)["fold"].min())


def pooled(run_dir: Path) -> Path:
    return run_dir / "predictions.parquet"


def in_fold(run_dir: Path, name: str) -> Path:
    return run_dir / "folds" / first_fold(run_dir) / name


def test_a_clean_run_passes_every_check_and_says_so(
    run_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(run_dir)]) == 0
    assert (
        "Nothing speaks against the score of this run: 10 checks passed." in capsys.readouterr().out
    )
    stored = json.loads((run_dir / "audit.json").read_text())
    assert stored["verdict"] == "pass"
    evidence = {check["name"]: check["evidence"] for check in stored["checks"]}
    assert "there is no official count" in evidence["samples"]
    assert "in 3 of 3 folds" in evidence["selection"]


def test_a_flipped_prediction_disagrees_with_fold_scores_and_metrics(run_dir: Path) -> None:
    def flip(table: pd.DataFrame) -> pd.DataFrame:
        old = table.loc[0, "svm"]
        table.loc[0, "svm"] = "positive" if old != "positive" else "negative"
        return table

    change(pooled(run_dir), flip)
    evidence = failures(run_dir)
    assert set(evidence) == {"predictions", "openings"}
    assert "`svm` of 1 samples differs from their fold's file" in evidence["predictions"]
    assert "not those for which the labels were opened" in evidence["openings"]
    assert main(["audit", str(run_dir)]) == 1


def test_a_prediction_that_is_tampered_with_everywhere_contradicts_the_metrics(
    run_dir: Path,
) -> None:
    """Scores and class are changed in pool and fold alike, so that only metrics.json knows."""
    sample = manifest(run_dir)["sample_id"].iloc[0]

    def forge(table: pd.DataFrame) -> pd.DataFrame:
        row = table["sample_id"] == sample
        if not row.any():
            return table
        old = table.loc[row, "svm"].iloc[0]
        new = "positive" if old != "positive" else "negative"
        high, low = table.loc[row, f"svm_{old}"].iloc[0], table.loc[row, f"svm_{new}"].iloc[0]
        table.loc[row, [f"svm_{old}", f"svm_{new}", "svm"]] = [low, high, new]
        return table

    everywhere(run_dir, "predictions.parquet", forge)
    evidence = failures(run_dir)
    assert set(evidence) == {"predictions", "openings"}
    assert "from the rows" in evidence["predictions"]


def test_swapped_rows_are_misaligned_with_their_labels(run_dir: Path) -> None:
    def shift(table: pd.DataFrame) -> pd.DataFrame:
        scores = [name for name in table if str(name).startswith(("svm", "softmax"))]
        table[scores] = np.roll(table[scores].to_numpy(), 1, axis=0)
        return table

    change(pooled(run_dir), shift)
    assert "differs from their fold's file" in failures(run_dir)["predictions"]


def test_labels_other_than_the_manifests_are_seen(run_dir: Path) -> None:
    change(pooled(run_dir), lambda table: table.assign(label=table["label"].iloc[::-1].to_numpy()))
    assert "`label` of" in failures(run_dir)["predictions"]


def test_a_class_without_the_highest_score_is_seen_in_both_heads(run_dir: Path) -> None:
    for head in ("svm", "softmax"):
        everywhere(
            run_dir,
            "predictions.parquet",
            lambda table, head=head: table.assign(**{f"{head}_negative": -1e9}),
        )
    evidence = failures(run_dir)["predictions"]
    assert "svm class without the highest score" in evidence
    assert "softmax class without the highest score" in evidence


def test_a_lost_batch_is_counted_even_if_it_left_fold_and_pool(run_dir: Path) -> None:
    table = manifest(run_dir)
    lost = table[table["fold"] == first_fold(run_dir)]["sample_id"].iloc[:3].tolist()
    everywhere(run_dir, "predictions.parquet", lambda table: table[~table["sample_id"].isin(lost)])
    evidence = failures(run_dir)["samples"]
    assert f"3 samples are lost from the folds' predictions: {', '.join(lost)}" in evidence
    assert f"3 samples are lost from the pooled predictions: {', '.join(lost)}" in evidence


def test_a_finished_run_without_a_folds_predictions_has_lost_that_fold(run_dir: Path) -> None:
    in_fold(run_dir, "predictions.parquet").unlink()
    evidence = failures(run_dir)
    assert "are lost from the folds' predictions" in evidence["samples"]
    assert "1 folds have no predictions" in evidence["complete"]


def test_doubled_foreign_and_moved_rows_are_told_apart(run_dir: Path) -> None:
    table = manifest(run_dir)
    moved = table[table["fold"] != first_fold(run_dir)]["sample_id"].iloc[0]

    def add(frame: pd.DataFrame) -> pd.DataFrame:
        rows = frame.iloc[[0, 0, 0]].copy()
        rows["sample_id"] = [frame["sample_id"].iloc[0], "samm/999/999_1", moved]
        return pd.concat([frame, rows])

    change(in_fold(run_dir, "predictions.parquet"), add)
    evidence = failures(run_dir)["samples"]
    assert "2 samples stand more than once in the folds' predictions" in evidence
    assert "1 samples of the folds' predictions were not expected: samm/999/999_1" in evidence
    assert f"1 samples are predicted by another fold: {moved}" in evidence


def test_weights_that_a_test_person_trained_are_named_with_the_person(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    person = manifest(run_dir).query("fold == @fold")["person"].iloc[0]
    say(in_fold(run_dir, "model.ckpt"), lambda made: made["persons"].append(person))
    evidence = failures(run_dir)
    assert list(evidence) == ["weights"]
    assert f"fold {fold}: weights trained by 1 tested persons: {person}" in evidence["weights"]


def test_a_macro_pool_with_test_persons_is_told_from_micro_training(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    person = manifest(run_dir).query("fold == @fold")["person"].iloc[0]
    for path in run_dir.glob("folds/*/model.ckpt"):
        say(path, lambda made: made["transfer"]["persons"].append(person))
    evidence = failures(run_dir)
    assert list(evidence) == ["weights"]
    expected = f"fold {fold}: macro weights trained by 1 tested persons: {person}"
    assert evidence["weights"] == f"{expected}."


def test_weights_copied_from_another_fold_are_seen(run_dir: Path) -> None:
    one, other = sorted(run_dir.glob("folds/*/model.ckpt"))[:2]
    shutil.copy(one, other)
    evidence = failures(run_dir)["weights"]
    assert f"holds the weights of fold {one.parent.name}" in evidence
    assert f"the same weights in folds {one.parent.name}, {other.parent.name}" in evidence


def test_weights_of_other_data_are_seen(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(data_hash="0" * 12))
    assert "several data hashes: 000000000000" in failures(run_dir)["weights"]


def test_weights_that_hide_who_trained_them_are_seen(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(persons=[]))
    assert "do not name" in failures(run_dir)["weights"]


def test_ids_without_their_dataset_are_seen_and_so_are_persons_who_merged(run_dir: Path) -> None:
    """`casme2/sub02/x` becomes `sub02/x`: two datasets' number 2 is then one person."""

    def strip(table: pd.DataFrame) -> pd.DataFrame:
        for name in {"sample_id", "subject", "person"} & set(table):
            table[name] = table[name].str.replace(r"^[^/]*/", "", regex=True)
        return table

    for name in ("manifest.parquet", "splits.parquet", "predictions.parquet"):
        everywhere(run_dir, name, strip)
    evidence = failures(run_dir)["persons"]
    assert "values of `sample_id` lack their dataset" in evidence
    assert "values of `subject` lack their dataset" in evidence


def write_manifest(
    folder: Path, rows: list[tuple[str, str, str, str]], **data: object
) -> Artefacts:
    """A run directory of a manifest and sides alone: sample, person, label, fold."""
    table = pd.DataFrame(rows, columns=["sample_id", "person", "label", "fold"])
    table["dataset"] = table["sample_id"].str.split("/").str[0]
    table["subject"] = table["sample_id"].str.rsplit("/", n=1).str[0]
    folder.mkdir(parents=True)
    table.to_parquet(folder / "manifest.parquet")
    sides = [
        (fold, sample, "test" if fold == own else "train")
        for fold in table["fold"].unique()
        for sample, own in zip(table["sample_id"], table["fold"], strict=True)
    ]
    columns = ["fold", "sample_id", "side"]
    pd.DataFrame(sides, columns=columns).to_parquet(folder / "splits.parquet")
    OmegaConf.save({"data": data, "labels": {"name": "megc2019"}}, folder / "config.yaml")
    (folder / "metrics.json").write_text('{"status": "incomplete"}')
    return Artefacts(folder)


def test_one_number_in_two_datasets_is_one_person_only_where_a_file_says_so(
    tmp_path: Path,
) -> None:
    rows = [
        ("casme2/sub01/EP01", "casme2/sub01", "negative", "a"),
        ("smic/s1/x", "casme2/sub01", "negative", "a"),
        ("samm/006/006_1", "samm/006", "negative", "b"),
    ]
    merged = check_persons(write_manifest(tmp_path / "merged", rows))
    assert merged.verdict == "fail"
    assert "1 persons are one number in several datasets" in merged.evidence
    said = {"micro": {"smic": {"root": "SMIC", "persons": "people.csv"}}}
    documented = check_persons(write_manifest(tmp_path / "documented", rows, **said))
    assert documented.verdict == "pass"
    assert "which 1 persons have several names" in documented.evidence
    rows[1] = ("smic/s1/x", "01", "negative", "a")
    bare = check_persons(write_manifest(tmp_path / "bare", rows))
    assert "1 persons lack their dataset: 01" in bare.evidence


def test_a_random_split_puts_persons_on_two_sides(run_dir: Path) -> None:
    table = manifest(run_dir)
    folds = sorted(table["fold"].unique())
    drawn = np.random.default_rng(0).permutation(np.arange(len(table)) % len(folds))
    table["fold"] = [folds[number] for number in drawn]
    rows = [
        (fold, sample, "test" if own == fold else "train")
        for fold in folds
        for sample, own in zip(table["sample_id"], table["fold"], strict=True)
    ]
    table.to_parquet(run_dir / "manifest.parquet")
    columns = ["fold", "sample_id", "side"]
    pd.DataFrame(rows, columns=columns).to_parquet(run_dir / "splits.parquet")
    evidence = failures(run_dir)
    assert "persons in train and in test" in evidence["persons"]
    assert "tested persons" in evidence["weights"]


def test_validation_persons_from_the_test_side_are_seen(run_dir: Path) -> None:
    fold = first_fold(run_dir)
    tested = manifest(run_dir).query("fold == @fold")["sample_id"].iloc[0]
    more = pd.DataFrame([(fold, tested, "validation")], columns=["fold", "sample_id", "side"])
    change(run_dir / "splits.parquet", lambda table: pd.concat([table, more]))
    assert f"fold {fold}: 1 persons in validation and in test" in failures(run_dir)["persons"]


def test_a_fold_that_tests_other_samples_than_planned_is_seen(run_dir: Path) -> None:
    fold = first_fold(run_dir)

    def drop(table: pd.DataFrame) -> pd.DataFrame:
        tested = (table["fold"] == fold) & (table["side"] == "test")
        return table.drop(index=table.index[tested][0])

    change(run_dir / "splits.parquet", drop)
    assert f"fold {fold} does not test the samples" in failures(run_dir)["persons"]


def test_a_scaler_fitted_on_all_samples_is_seen_in_network_and_head(run_dir: Path) -> None:
    everyone = fingerprint(manifest(run_dir)["sample_id"])
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.update(fitted_on=everyone))
    path = in_fold(run_dir, "heads.pt")
    heads = torch.load(path, weights_only=True)
    heads["svm"]["fitted_on"] = everyone
    torch.save(heads, path)
    evidence = failures(run_dir)
    assert list(evidence) == ["statistics"]
    fold = first_fold(run_dir)
    for what in ("the normalisation", "svm"):
        expected = f"fold {fold}: {what} was fitted on all samples, the test side included"
        assert expected in evidence["statistics"]


def test_weights_that_do_not_say_whom_they_were_fitted_on_leave_it_open(run_dir: Path) -> None:
    say(in_fold(run_dir, "model.ckpt"), lambda made: made.pop("fitted_on"))
    found = audit(run_dir)
    assert found.verdict == "unknown"
    assert "1 check could not be made: statistics." in found.sentence


def test_an_oracle_fails_and_its_marks_must_agree_with_the_configuration(
    tiny_config: Config, tmp_path: Path
) -> None:
    cfg = tiny_config("selection=oracle", "macro.enabled=false", "protocol.n_splits=2")
    runner.run(cfg, tmp_path / "oracle")
    evidence = failures(tmp_path / "oracle")
    assert list(evidence) == ["selection"]
    assert evidence["selection"].startswith("selection=oracle")
    assert "are named as if" not in evidence["selection"]
    set_config(tmp_path / "oracle", "selection", "validation")
    evidence = failures(tmp_path / "oracle")
    assert "4 files are named as if selection were not validation" in evidence["selection"]
    assert "no validation persons, but values of some" in evidence["selection"]


def test_an_oracle_that_calls_itself_validation_is_unmasked_by_its_history(run_dir: Path) -> None:
    """The validation values of the kept epoch are replaced with those of the test persons."""
    table = pd.read_parquet(in_fold(run_dir, "predictions.parquet"))
    labels = manifest(run_dir).set_index("sample_id")["label"]
    classes = ["negative", "positive", "surprise"]
    tested = scores(count(table["sample_id"].map(labels), table["softmax"], classes))["uf1"]
    path = in_fold(run_dir, "metrics.csv")
    history = pd.read_csv(path)
    own = history["val/uf1"].max()
    assert abs(tested - own) > 1e-3  # or there would be nothing to see
    rows = history["val/uf1"].notna()
    history.loc[rows, "val/uf1"] += tested - own
    history.to_csv(path, index=False)
    assert "is the test persons' score" in failures(run_dir)["selection"]


def test_an_epoch_other_than_the_best_of_the_validation_persons_is_seen(run_dir: Path) -> None:
    path = in_fold(run_dir, "fold.json")
    record = json.loads(path.read_text())
    csv = in_fold(run_dir, "metrics.csv")
    history = pd.read_csv(csv)
    other = 1 - record["best_epoch"]
    best = (history["epoch"] == other) & history["val/uf1"].notna()
    history.loc[best, "val/uf1"] = 0.999
    history.to_csv(csv, index=False)
    fold = first_fold(run_dir)
    expected = f"fold {fold} keeps epoch {record['best_epoch']}, the best of the validation"
    assert expected in failures(run_dir)["selection"]
    path.write_text(json.dumps({**record, "best_epoch": 2}))
    assert f"fold {fold}: the best epoch is 2, of 2" in failures(run_dir)["selection"]


def test_a_second_opening_is_a_peek_and_says_how(run_dir: Path) -> None:
    path = run_dir / "openings.json"
    how = "evaluate callbacks.svm_head.C=10"
    path.write_text(
        json.dumps([*json.loads(path.read_text()), {"at": "", "how": how, "sha256": "0"}])
    )
    evidence = failures(run_dir)
    assert list(evidence) == ["openings"]
    assert f"peek 2: the test labels were opened for run, {how}" in evidence["openings"]


def test_a_clip_under_two_spellings_fails_across_folds_only(tmp_path: Path) -> None:
    rows = [
        ("casme2/sub01/EP02_01f", "casme2/sub01", "negative", "a"),
        ("casme2/sub1/EP02_1f", "casme2/sub1", "negative", "b"),
        ("casme2/sub02/EP02_01f", "casme2/sub02", "negative", "b"),
        ("casme2/sub10/EP02_01f", "casme2/sub10", "negative", "a"),
    ]
    across = check_duplicates(write_manifest(tmp_path / "across", rows))
    assert across.verdict == "fail"
    assert "casme2/sub01/EP02_01f, casme2/sub1/EP02_1f, tested by different" in across.evidence
    rows[1] = (*rows[1][:3], "a")
    inside = check_duplicates(write_manifest(tmp_path / "inside", rows))
    assert inside.verdict == "pass"
    assert inside.evidence.startswith("suspicion, inside one side each: names that say the same")


def test_identical_inputs_on_two_sides_are_seen_by_what_the_network_says(run_dir: Path) -> None:
    """A validation sample gives the same scores to the last bit as a test sample."""
    test = pd.read_parquet(in_fold(run_dir, "predictions.parquet"))
    names = [name for name in test if name.startswith(("svm", "softmax"))]

    def copy(table: pd.DataFrame) -> pd.DataFrame:
        table.loc[0, names] = test.loc[0, names]
        return table

    path = in_fold(run_dir, "validation.parquet")
    change(path, copy)
    pair = sorted([pd.read_parquet(path).loc[0, "sample_id"], test.loc[0, "sample_id"]])
    evidence = failures(run_dir)["duplicates"]
    assert f"identical inputs: {', '.join(pair)}, tested by different folds" in evidence


def test_a_network_that_says_the_same_of_everything_is_no_duplicate(run_dir: Path) -> None:
    table = pd.read_parquet(in_fold(run_dir, "validation.parquet"))
    names = [name for name in table if name.startswith(("svm_", "softmax_"))]
    for name in ("validation.parquet", "predictions.parquet"):
        change(in_fold(run_dir, name), lambda frame: frame.assign(**dict.fromkeys(names, 0.5)))
    assert check_duplicates(Artefacts(run_dir)).verdict == "pass"


def composite() -> list[tuple[str, str, str, str]]:
    """Samples with the counts of MEGC 2019 per dataset, class and subject."""
    counts = {"casme2": (24, 88, 32, 25), "samm": (28, 92, 26, 15), "smic": (16, 70, 51, 43)}
    rows = []
    for dataset, (subjects, *classes) in counts.items():
        labels = np.repeat(["negative", "positive", "surprise"], classes)
        for number, label in enumerate(labels):
            subject = f"{dataset}/{number % subjects:03d}"
            rows.append((f"{subject}/{number}", subject, str(label), subject.replace("/", "-")))
    return rows


def test_official_counts_are_asked_for_by_the_name_of_the_label_scheme(tmp_path: Path) -> None:
    rows = composite()
    good = Artefacts(write_manifest(tmp_path / "good", rows).run_dir)
    (good.run_dir / "metrics.json").write_text('{"status": "complete"}')
    for fold, part in good.manifest.groupby("fold"):
        folder = good.run_dir / "folds" / str(fold)
        folder.mkdir(parents=True)
        part.to_parquet(folder / "predictions.parquet")
    good.manifest.to_parquet(good.run_dir / "predictions.parquet")
    check = check_samples(good)
    assert check.verdict == "pass"
    assert "MEGC 2019's: 442 = 164+145+133, 250/109/83, 68 subjects" in check.evidence
    short = check_samples(write_manifest(tmp_path / "short", rows[:-1]))
    assert "smic: 163 (70 negative, 51 positive, 42 surprise) found, 164" in short.evidence
    merged = [(f"samm/000/{place}", *row[1:]) if row[0].startswith("samm/001/") else row
              for place, row in enumerate(rows)]  # fmt: skip
    fewer = check_samples(write_manifest(tmp_path / "fewer", merged))
    assert "samm: 27 subjects, not 28" in fewer.evidence
    unchecked = check_samples(write_manifest(tmp_path / "own", rows[:-1], check_counts=False))
    assert unchecked.verdict == "unknown"  # no fold is done, but no count is asked for


def write_study(path: Path, value: float, directory: Path) -> None:
    """What Optuna's SQLite storage holds of a study with one complete trial."""
    with sqlite3.connect(path) as database:
        database.executescript(
            "CREATE TABLE trials (trial_id, number, study_id, state);"
            "CREATE TABLE trial_values (trial_id, objective, value);"
            "CREATE TABLE trial_user_attributes (trial_id, key, value_json);"
            "INSERT INTO trials VALUES (1, 0, 1, 'COMPLETE');"
        )
        database.execute("INSERT INTO trial_values VALUES (1, 0, ?)", (value,))
        attribute = (1, "directory", json.dumps(str(directory)))
        database.execute("INSERT INTO trial_user_attributes VALUES (?, ?, ?)", attribute)
    database.close()


def test_a_search_must_store_the_score_of_the_validation_persons(run_dir: Path) -> None:
    set_config(run_dir, "trial.number", 0)
    assert "study.db" in {c.name: c.evidence for c in audit(run_dir).checks}["search"]
    assert audit(run_dir).verdict == "unknown"
    metrics = json.loads((run_dir / "metrics.json").read_text())
    study = run_dir.parent / "study.db"
    write_study(study, metrics["validation"]["svm"]["pooled"]["uf1"], run_dir)
    assert audit(run_dir).verdict == "pass"
    study.unlink()
    write_study(study, metrics["heads"]["svm"]["pooled"]["uf1"], run_dir)
    assert "which is the score of the test persons" in failures(run_dir)["search"]
    study.write_bytes(b"no database at all")
    assert "cannot be read" in failures(run_dir)["search"]


def test_an_incomplete_run_has_no_headline_score(run_dir: Path) -> None:
    in_fold(run_dir, "predictions.parquet").unlink()
    pooled(run_dir).unlink()
    (run_dir / "openings.json").unlink()
    metrics = json.loads((run_dir / "metrics.json").read_text())
    stripped = {key: metrics[key] for key in ("classes", "folds")} | {"status": "incomplete"}
    (run_dir / "metrics.json").write_text(json.dumps(stripped))
    found = audit(run_dir)
    assert found.verdict == "unknown"
    assert found.sentence == (
        "There is nothing to believe yet: no headline score: 1 of 3 folds are missing."
    )
    assert main(["audit", str(run_dir)]) == 4


FILES = [
    "config.yaml",
    "environment.json",
    "manifest.parquet",
    "splits.parquet",
    "openings.json",
    "predictions.parquet",
    "metrics.json",
    "folds/*/model.ckpt",
    "folds/*/heads.pt",
    "folds/*/fold.json",
    "folds/*/metrics.csv",
    "folds/*/validation.parquet",
    "folds/*/predictions.parquet",
]


@pytest.mark.parametrize("name", FILES)
def test_no_artefact_can_be_lost_cut_or_emptied_without_the_audit_saying_which(
    run_dir: Path, name: str
) -> None:
    path = min(run_dir.glob(name))

    def said(found: Audit) -> str:
        assert found.verdict != "pass"
        return " ".join(check.evidence for check in found.checks if check.verdict != "pass")

    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    if name not in ("config.yaml", "folds/*/metrics.csv"):  # half of a text may still be one
        assert f"{path.relative_to(run_dir)} cannot be read" in said(audit(run_dir))
    for content in [b"", b"[]"] if path.suffix == ".json" else [b""]:
        path.write_bytes(content)
        said(audit(run_dir))
    path.unlink()
    text = said(audit(run_dir))
    lost = "are lost from the folds' predictions"
    assert f"{path.relative_to(run_dir)} is missing" in text or lost in text


def test_code_in_a_checkpoint_is_not_run(run_dir: Path, tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return Path.touch, (tmp_path / "sprung",)

    torch.save({"mer": Trap()}, in_fold(run_dir, "model.ckpt"))
    assert "model.ckpt cannot be read" in failures(run_dir)["weights"]
    assert not (tmp_path / "sprung").exists()


def test_runs_compare_on_the_same_data_and_labels_only(
    run_dir: Path, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    twin = shutil.copytree(finished, tmp_path / "twin")
    assert main(["audit", "--json", str(run_dir), str(twin)]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert [entry["verdict"] for entry in printed["runs"]] == ["pass", "pass"]
    assert printed["comparable"]["verdict"] == "pass"
    path = twin / "environment.json"
    path.write_text(json.dumps([{"data_hash": "0" * 12}]))
    assert main(["audit", str(run_dir), str(twin)]) == 1
    assert "Not comparable: the runs have different data (by hash)" in capsys.readouterr().out
    assert not (finished / "audit.json").exists()


def test_a_folder_that_is_no_run_is_an_error_of_the_user(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["audit", str(tmp_path)]) == 2
    assert "is no run directory" in capsys.readouterr().err
