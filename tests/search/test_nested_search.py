"""A search per fold: judged by its validation persons, assembled into one run, opened once."""

import json
import shutil
from pathlib import Path

import numpy as np
import optuna
import pandas as pd
import pytest
from omegaconf import DictConfig, OmegaConf

from mer.audit import Artefacts, audit
from mer.audit.check_choices import check_search
from mer.cli import main, train
from mer.runs import rundir
from mer.search import nested
from tests.builders import with_scores

LR = "model.optimizer.lr=interval(0.001, 0.1)"
FOLDS = ("group-00", "group-01")


def command(home: Path, tiny_words: list[str], *words: str) -> list[str]:
    start = ["train", "-m", "search=optuna", "search.nested=true", f"search.dir={home}"]
    own = ["protocol.n_splits=2", "model.epochs=1", "macro.enabled=false", "search.n_trials=2"]
    return [*start, *tiny_words, *own, "trainer.enable_progress_bar=false", *words]


def validated(folder: Path, said: list[str]) -> None:
    """A finished fold whose five validation persons were said to be this."""
    folder.mkdir(parents=True)
    ids = [f"a/{number}/x" for number in range(5)]
    frame = pd.DataFrame({"sample_id": ids, "svm": said, "softmax": "y"})
    frame = with_scores(frame, ["y", "z"], "svm", "softmax")
    frame.to_parquet(folder / "validation.parquet", index=False)
    frame.iloc[:0].to_parquet(folder / "predictions.parquet", index=False)


def planned(run_dir: Path, settings: dict[str, object]) -> None:
    """A manifest of six samples in two folds, and a configuration."""
    run_dir.mkdir(parents=True, exist_ok=True)
    who = [f"a/{number}" for number in range(6)]
    manifest = pd.DataFrame({"sample_id": [f"{name}/x" for name in who], "dataset": "a"})
    manifest = manifest.assign(subject=who, person=who, label=list("yyzzzy"), fold=list("FFFGGG"))
    manifest.to_parquet(run_dir / "manifest.parquet", index=False)
    OmegaConf.save({"labels": {"classes": ["y", "z"]}, **settings}, run_dir / "config.yaml")


#: Of y y z z z, said y y z z y: UF1 (4/5 + 4/5) / 2; said y z z z z: (2/3 + 6/7) / 2.
BETTER, WORSE = list("yyzzy"), list("yzzzz")


def test_a_trial_is_worth_the_score_of_its_one_folds_validation_persons(tmp_path: Path) -> None:
    planned(tmp_path, {})
    assert nested.value(tmp_path, "F", "uf1") is None
    validated(tmp_path / "folds" / "F", WORSE)
    assert nested.value(tmp_path, "F", "uf1") == pytest.approx((2 / 3 + 6 / 7) / 2)
    assert nested.value(tmp_path, "F", "accuracy") == pytest.approx(0.8)
    assert nested.value(tmp_path, "G", "uf1") is None


def test_the_audit_takes_no_fold_that_is_not_the_best_of_its_trials(tmp_path: Path) -> None:
    run_dir, storage = tmp_path / "nested", f"sqlite:///{tmp_path / 'study.db'}"
    node = {"trial": {"number": None}, "search": {"nested": True}}
    planned(run_dir, {**node, "protocol": {"validation": 0.2}, "lr": 0.1})
    values = [(2 / 3 + 6 / 7) / 2, 0.8]
    entries = []
    for fold in "FG":
        validated(run_dir / "folds" / fold, BETTER)
        config = OmegaConf.merge(OmegaConf.load(run_dir / "config.yaml"), {"lr": 0.3})
        OmegaConf.save(config, run_dir / "folds" / fold / "config.yaml")
        study = optuna.create_study(study_name=f"s-{fold}", storage=storage, direction="maximize")
        for value in values:
            study.add_trial(optuna.trial.create_trial(value=value))
        tried = [{"number": n, "state": "complete", "value": v} for n, v in enumerate(values)]
        chosen = {"fold": fold, "study": f"s-{fold}", "trial": 1, "value": 0.8}
        entries.append({**chosen, "overrides": {"lr": 0.3}, "trials": tried})

    def found() -> tuple[str, str]:
        content = {"objective": "uf1", "direction": "maximize", "folds": entries}
        (run_dir / "nested.json").write_text(json.dumps(content))
        check = check_search(Artefacts(run_dir))
        return check.verdict, check.evidence

    verdict, evidence = found()
    assert verdict == "pass", evidence
    assert "2 folds is the best trial of its own search, 4 trials in all" in evidence
    entries[0]["trial"] = 0
    assert "fold F uses trial 0 (uf1 0.7619), the best" in found()[1]
    entries[0]["trial"], entries[0]["overrides"] = 1, {"lr": 0.5}
    assert found() == ("fail", "fold F: lr is 0.3, nested.json says 0.5.")
    entries[0]["overrides"] = {}
    assert "1 settings differ from the run's and were not searched: lr" in found()[1]
    entries[0]["overrides"] = {"lr": 0.3}
    entries[1]["trials"][0]["value"] = 0.5
    assert "fold G: the study has other values" in found()[1]
    (tmp_path / "study.db").unlink()
    assert found()[0] == "unknown"


@pytest.fixture(scope="module")
def finished(tiny_words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a nested search of two folds with two trials each."""
    home = tmp_path_factory.mktemp("nested") / "search"
    assert main(command(home, tiny_words, LR)) == 0
    return home


@pytest.fixture
def home(finished: Path, tmp_path: Path) -> Path:
    """A copy of it to tamper with."""
    return Path(shutil.copytree(finished, tmp_path / "search"))


def studies(home: Path) -> dict[str, list[optuna.trial.FrozenTrial]]:
    storage = f"sqlite:///{home / 'study.db'}"
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage).trials for name in names}


def failures(run_dir: Path) -> dict[str, str]:
    checks = audit(run_dir).checks
    return {check.name: check.evidence for check in checks if check.verdict == "fail"}


@pytest.mark.slow
def test_the_run_holds_the_best_trial_of_each_fold_and_opens_the_test_labels_once(
    finished: Path,
) -> None:
    found = studies(finished)
    assert sorted(found) == [f"optuna-{fold}" for fold in FOLDS]
    content = json.loads((finished / "nested" / "nested.json").read_text())
    for entry in content["folds"]:
        trials = found[f"optuna-{entry['fold']}"]
        best = max(trials, key=lambda trial: trial.value)
        assert (entry["trial"], entry["value"]) == (best.number, best.value)
        assert entry["overrides"] == best.params
        assert [one["value"] for one in entry["trials"]] == [trial.value for trial in trials]
        for name in ("predictions.parquet", "validation.parquet", "model.ckpt"):
            own = finished / "nested" / "folds" / entry["fold"] / name
            source = finished / entry["fold"] / str(best.number) / "folds" / entry["fold"] / name
            assert own.read_bytes() == source.read_bytes()
    metrics = json.loads((finished / "nested" / "metrics.json").read_text())
    assert metrics["status"] == "complete" and metrics["looks"] == 1
    assert not metrics["warnings"]


@pytest.mark.slow
def test_no_trial_computes_a_test_score(finished: Path) -> None:
    for fold in FOLDS:
        for number in range(2):
            run_dir = finished / fold / str(number)
            assert [path.name for path in (run_dir / "folds").iterdir()] == [fold]
            metrics = json.loads((run_dir / "metrics.json").read_text())
            assert metrics["status"] == "incomplete" and "heads" not in metrics
            assert not (run_dir / "label_access.json").exists()
            assert not (run_dir / "predictions.parquet").exists()


@pytest.mark.slow
def test_a_trial_is_worth_its_validation_persons_score_whatever_the_test_labels_are(
    home: Path,
) -> None:
    run_dir = home / "group-00" / "0"
    (trial, _) = studies(home)["optuna-group-00"]
    frame = pd.read_parquet(run_dir / "folds" / "group-00" / "validation.parquet")
    manifest = pd.read_parquet(run_dir / "manifest.parquet")
    label = manifest.set_index("sample_id")["label"]
    true, said = label[frame["sample_id"]].to_numpy(), frame["svm"].to_numpy()
    f1 = [
        2 * ((true == name) & (said == name)).sum() / ((true == name).sum() + (said == name).sum())
        for name in sorted(set(true))
    ]
    assert trial.value == pytest.approx(np.mean(f1))
    tested = manifest["fold"] == "group-00"
    manifest.loc[tested, "label"] = np.roll(manifest.loc[tested, "label"], 3)
    manifest.to_parquet(run_dir / "manifest.parquet", index=False)
    assert nested.value(run_dir, "group-00", "uf1") == trial.value
    assert nested.value(run_dir, "group-01", "uf1") is None


@pytest.mark.slow
def test_the_audit_of_the_run_passes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["audit", str(home / "nested")]) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert "Nothing in the files of this run speaks against its score" in said
    assert not failures(home / "group-00" / "0")


@pytest.mark.slow
def test_the_audit_names_a_fold_that_is_not_the_best_by_validation(home: Path) -> None:
    path = home / "nested" / "nested.json"
    content = json.loads(path.read_text())
    entry = content["folds"][0]
    chosen, other = entry["trial"], 1 - entry["trial"]
    entry["trial"] = other
    path.write_text(json.dumps(content))
    evidence = failures(home / "nested")
    assert set(evidence) == {"search"}
    assert f"group-00 uses trial {other}" in evidence["search"]
    assert f"is trial {chosen}" in evidence["search"]
    # Values that are forged as well contradict the study and the fold's own predictions.
    entry["value"] = entry["trials"][other]["value"] = 0.99
    path.write_text(json.dumps(content))
    evidence = failures(home / "nested")
    assert "the study has other values" in evidence["search"]
    assert "nested.json says 0.99" in evidence["search"]


@pytest.mark.slow
def test_the_audit_misses_the_file_that_says_who_was_chosen(home: Path) -> None:
    (home / "nested" / "nested.json").unlink()
    checks = {check.name: check for check in audit(home / "nested").checks}
    assert checks["search"].verdict == "unknown"
    assert "nested.json is missing" in checks["search"].evidence


@pytest.mark.slow
def test_the_same_command_again_trains_and_looks_at_nothing(
    home: Path, tiny_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(*_: object) -> None:
        raise AssertionError("a trial was started")

    before = (home / "nested" / "label_access.json").read_bytes()
    monkeypatch.setattr(train, "train", never)
    assert main(command(home, tiny_words, LR)) == 0
    assert (home / "nested" / "label_access.json").read_bytes() == before


@pytest.mark.slow
def test_a_stopped_search_goes_on_in_its_fold(
    tmp_path: Path, tiny_words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    home, calls = tmp_path / "search", []

    def toy(cfg: DictConfig, run_dir: Path, *_: object) -> None:
        calls.append((cfg.protocol.folds, cfg.trial.number))
        if len(calls) == 4:
            raise KeyboardInterrupt
        assert run_dir == home / cfg.protocol.folds / str(cfg.trial.number)

    assembled: list[dict[str, optuna.Study]] = []
    monkeypatch.setattr(train, "train", toy)
    monkeypatch.setattr(nested, "value", lambda run_dir, *_: int(run_dir.name) / 10)
    monkeypatch.setattr(nested, "_assemble", lambda *words: assembled.append(words[-1]))
    words = command(home, tiny_words, LR, "search.n_trials=3")
    assert main(words) == 130
    assert not assembled
    stopped = calls[3]
    assert main(words) == 0
    assert calls[4] == stopped  # the same trial, before any new one
    assert len(calls) == 7
    for found in studies(home).values():
        assert [trial.state.name for trial in found] == ["COMPLETE"] * 3
        assert [trial.value for trial in found] == [0.0, 0.1, 0.2]
    assert set(assembled[0]) == set(FOLDS)


def test_what_a_nested_search_cannot_do_is_said_before_the_first_trial(
    tmp_path: Path, tiny_words: list[str], capfd: pytest.CaptureFixture[str]
) -> None:
    words = [LR, "seed=1,2", "search.n_trials=null"]
    assert main(command(tmp_path / "search", tiny_words, *words)) == 2
    said = capfd.readouterr().err
    assert "seed is searched" in said and "n_trials is null" in said


@pytest.mark.slow
def test_another_choice_later_counts_as_a_second_look(home: Path, tiny_words: list[str]) -> None:
    storage = f"sqlite:///{home / 'study.db'}"
    study = optuna.load_study(study_name="optuna-group-00", storage=storage)
    entry = json.loads((home / "nested" / "nested.json").read_text())["folds"][0]
    source = home / "group-00" / str(1 - entry["trial"])
    folder = rundir.fold_folder(source, "group-00")
    frame = pd.read_parquet(folder / "predictions.parquet")
    frame["svm"] = np.roll(frame["svm"].to_numpy(), 1)
    frame.to_parquet(folder / "predictions.parquet", index=False)
    study.add_trial(
        optuna.trial.create_trial(
            value=2.0,
            params=study.trials[0].params,
            distributions=study.trials[0].distributions,
            user_attrs={"directory": str(source)},
        )
    )
    assert main(command(home, tiny_words, LR)) == 0
    metrics = json.loads((home / "nested" / "metrics.json").read_text())
    assert metrics["looks"] == 2
    assert "look 2 at the test labels" in failures(home / "nested")["label access"]
