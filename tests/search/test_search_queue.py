"""Who gets which trial: totals, killed trials, several workers, grids, storages."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import optuna
import pytest
from filelock import FileLock
from optuna.trial import TrialState

from mer.errors import MerError
from mer.search import trials
from mer.search.queue import Queue, worker
from mer.search.space import Space, parse
from mer.search.study import build, claim, open_storage, open_study, require_alone

SPACE = parse(["x=interval(0, 1)", "y=choice(a, b)"])
MakeQueue = Callable[..., Queue]


@pytest.fixture(params=["sqlite", "journal"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str | None:
    return None if request.param == "sqlite" else f"journal:{tmp_path / 'study.log'}"


@pytest.fixture
def make_queue(tmp_path: Path, address: str | None) -> Iterator[MakeQueue]:
    """Queues of one study; each call is another worker."""
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    home = tmp_path / "search"
    home.mkdir()

    def make(
        total: int | None = 3, folder: Path = home, space: Space = SPACE, attempts: int = 3
    ) -> Queue:
        folder.mkdir(exist_ok=True)
        storage = open_storage(address, home)
        study = open_study("s", storage, ["maximize"], home)
        study.sampler = optuna.samplers.RandomSampler(seed=len(study.trials))
        return Queue(study, storage, folder, space, total, attempts)

    yield make


def numbers(trials: list[optuna.Trial]) -> list[int]:
    return [trial.number for trial in trials]


def test_workers_together_take_the_total_and_no_more(make_queue: MakeQueue) -> None:
    first, second = make_queue(), make_queue()
    assert numbers(first.take(1)) == [0]
    assert numbers(second.take(2)) == [1, 2]
    assert first.take(1) == [] and second.take(1) == []
    first.finish(0, TrialState.COMPLETE, values=[0.5])
    second.finish(1, TrialState.PRUNED, "pruned after 2 of 3 folds")
    assert first.take(1) == []
    second.finish(2, TrialState.FAIL, "raised ValueError: x")
    assert numbers(first.take(1)) == [3]  # a failed trial gives its place free


def test_a_default_setting_that_failed_is_tried_again(make_queue: MakeQueue) -> None:
    default = {"x": 0.25, "y": "a"}
    queue = make_queue()
    queue.begin(default, inside=True)
    (first,) = queue.take(1)
    queue.finish(first.number, TrialState.FAIL, "raised MerError: no data")
    for _ in range(2):  # two workers start again
        make_queue().begin(default, inside=True)
    again, other = queue.take(2)
    assert (again.number, other.number) == (1, 2)
    assert again.params == first.params == default != other.params
    queue.finish(1, TrialState.COMPLETE, values=[0.5])
    queue.begin(default, inside=True)
    assert [trial.number for trial in queue.study.trials] == [0, 1, 2]
    known = trials.default(queue.study)
    assert known is not None and known.number == 1


def test_a_bigger_total_goes_on_behind_the_old_trials(make_queue: MakeQueue) -> None:
    queue = make_queue(total=1)
    queue.take(1)
    queue.finish(0, TrialState.COMPLETE, values=[0.1])
    assert make_queue(total=1).take(1) == []
    assert numbers(make_queue(total=2).take(5)) == [1]


def test_an_interrupted_trial_comes_back_with_number_and_values(make_queue: MakeQueue) -> None:
    queue = make_queue()
    before = queue.take(1)[0]
    queue.put_back([0])
    again = make_queue().take(1)[0]
    assert (again.number, again.params) == (before.number, before.params)
    assert again.user_attrs["attempts"] == 2


def test_the_seconds_of_all_starts_are_added_up(make_queue: MakeQueue) -> None:
    queue = make_queue()
    for last in (7, 18):  # seconds after its start that a start wrote its last file
        trial = queue.take(1)[0]
        began = queue.study.trials[0].datetime_start
        assert began is not None
        for path in (queue.folder / "0" / ".trial.lock", queue.folder / "0" / "train.log"):
            path.touch()
            os.utime(path, (began.timestamp() + last,) * 2)
        queue.put_back([0])
    trial = queue.take(1)[0]
    queue.finish(trial.number, TrialState.COMPLETE, values=[0.5])
    done = queue.study.trials[0]
    assert done.duration is not None
    assert trials.seconds(done) == round(done.duration.total_seconds() + 25, 1)


def test_a_killed_worker_loses_its_trial_to_the_next_one(
    make_queue: MakeQueue, address: str | None
) -> None:
    queue = make_queue()
    code = (
        "import sys, os, signal\n"
        "from pathlib import Path\n"
        "from mer.search.space import parse\n"
        "from mer.search.queue import Queue\n"
        "from mer.search.study import open_storage, open_study\n"
        "folder, address = Path(sys.argv[1]), sys.argv[2] or None\n"
        "storage = open_storage(address, folder)\n"
        "study = open_study('s', storage, ['maximize'], folder)\n"
        "space = parse(['x=interval(0, 1)', 'y=choice(a, b)'])\n"
        "queue = Queue(study, storage, folder, space, 3, 3)\n"
        "print(queue.take(1)[0].params, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run(
        [sys.executable, "-c", code, str(queue.folder), address or ""],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [trial.number for trial in queue.trials(TrialState.RUNNING)] == [0]
    taken = queue.take(1)
    assert numbers(taken) == [0]
    assert str(taken[0].params) == killed.stdout.strip()


def test_a_living_workers_trial_and_one_of_another_folder_are_left_alone(
    make_queue: MakeQueue, tmp_path: Path
) -> None:
    here, elsewhere = make_queue(), make_queue(folder=tmp_path / "elsewhere")
    here.take(1)
    elsewhere.take(1)
    elsewhere.release(1)  # as if killed, but only its own folder's workers can know
    assert numbers(make_queue().take(1)) == [2]
    assert numbers(make_queue(folder=tmp_path / "elsewhere").take(1)) == [1]


def test_a_trial_that_kills_its_process_each_time_fails_in_the_end(make_queue: MakeQueue) -> None:
    for _ in range(2):
        queue = make_queue(attempts=2)
        assert numbers(queue.take(1)) == [0]
        queue.release(0)
    queue = make_queue(attempts=2)
    assert numbers(queue.take(1)) == [1]
    failed = queue.trials(TrialState.FAIL)[0]
    assert (failed.number, failed.user_attrs["outcome"]) == (0, "killed 2 times")


def test_a_trial_too_many_is_given_up(make_queue: MakeQueue) -> None:
    queue = make_queue(total=1)
    other = make_queue(total=1)
    ask = queue.study.ask

    def ask_late() -> optuna.Trial:
        other.study.ask()  # another machine takes the last one in this very moment
        return ask()

    queue.study.ask = ask_late  # type: ignore[assignment,method-assign]
    assert queue.take(1) == []
    states = {t.number: (t.state.name, t.user_attrs.get("outcome")) for t in queue.study.trials}
    assert states == {0: ("RUNNING", None), 1: ("FAIL", "surplus")}


def test_a_grid_is_gone_through_once_by_all_workers(make_queue: MakeQueue) -> None:
    space = parse(["x=choice(a, b, c)", "y=range(0, 2)"])
    queues = [make_queue(total=None, space=space) for _ in range(2)]
    for queue in queues:
        queue.fill(seed=0)
    seen = []
    while any(taken := [queue.take(1) for queue in queues]):
        for queue, mine in zip(queues, taken, strict=True):
            for trial in mine:
                seen.append((trial.params["x"], trial.params["y"]))
                state = TrialState.FAIL if trial.number == 2 else TrialState.COMPLETE
                values = None if state == TrialState.FAIL else [0.0]
                queue.finish(trial.number, state, "raised", values)
    assert sorted(seen) == [(x, y) for x in "abc" for y in (0, 1)]


def test_workers_have_different_numbers_while_they_live(tmp_path: Path) -> None:
    with worker(tmp_path) as first, worker(tmp_path) as second:
        assert (first, second) == (0, 1)
    with worker(tmp_path) as third:
        assert third == 0


def test_a_study_that_searches_something_else_names_every_difference(tmp_path: Path) -> None:
    storage = open_storage(None, tmp_path)
    study = open_study("s", storage, ["maximize"], tmp_path)
    settings = {"model.epochs": 5, "x": 0.3, "input.name": "flow"}
    claim(study, "s", SPACE, settings)
    claim(study, "s", SPACE, settings | {"x": 0.9})  # the default of what is varied plays no part
    other = parse(["x=interval(0, 2)", "z=choice(a, b)"])
    with pytest.raises(MerError) as caught:
        claim(study, "s", other, settings | {"model.epochs": 6})
    text = str(caught.value)
    for key in ("x:", "y:", "z:", "model.epochs: 5 there, 6 now", "search.dir"):
        assert key in text
    assert "input.name" not in text
    with pytest.raises(MerError, match="direction"):
        open_study("s", storage, ["minimize"], tmp_path)


@pytest.mark.parametrize(
    ("before", "now", "said"),
    [
        ("range(0.0,4.0,1.0)", "interval(0,3)", "x: 0.0 to 3.0, in steps of 1.0 there, 0.0 to 3.0"),
        ("range(2,9,2)", "range(2,9,3)", "x: 2 to 8, in steps of 2 there, 2 to 8, in steps of 3"),
        ("int(interval(1,8))", "interval(1,8)", "x: 1 to 8, whole numbers there, 1.0 to 8.0 now"),
        ("choice(1,2)", "choice(1.0,2.0)", "x: 1, 2 there, 1.0, 2.0 now"),
    ],
)
def test_another_step_or_type_is_another_range(
    tmp_path: Path, before: str, now: str, said: str
) -> None:
    study = open_study("s", open_storage(None, tmp_path), ["maximize"], tmp_path)
    claim(study, "s", parse([f"x={before}"]), {})
    claim(study, "s", parse([f"x={before}"]), {})
    with pytest.raises(MerError) as caught:
        claim(study, "s", parse([f"x={now}"]), {})
    assert said in str(caught.value)


def test_a_study_that_has_not_noted_its_samples_is_begun_anew(tmp_path: Path) -> None:
    study = open_study("s-a", open_storage(None, tmp_path), ["maximize"], tmp_path)
    claim(study, "s", SPACE, {"model.epochs": 5})
    with pytest.raises(MerError, match=r"Begin anew: type search.name=s-2 \(or another search.dir"):
        claim(study, "s", SPACE, {"model.epochs": 5, "samples": "45 of 9 persons"})


@pytest.mark.parametrize(
    ("name", "nested", "said"),
    [
        ("tpe", False, "holds the nested search tpe, and this is the search tpe."),
        ("tp", True, "holds the nested search tpe, and this is the nested search tp."),
        ("tpe-a", False, "holds the nested search tpe, and this is the search tpe-a."),
    ],
)
def test_a_folder_belongs_to_one_search(tmp_path: Path, name: str, nested: bool, said: str) -> None:
    storage = open_storage(None, tmp_path)
    for fold in "ab":
        claim(open_study(f"tpe-{fold}", storage, ["maximize"], tmp_path), "tpe", SPACE, {})
    open_study("tpe-c", storage, ["maximize"], tmp_path)  # another worker begins it right now
    require_alone(storage, "tpe", True, tmp_path)
    with pytest.raises(MerError) as caught:
        require_alone(storage, name, nested, tmp_path)
    assert said in str(caught.value)


def test_a_storage_that_cannot_be_opened_says_so_without_the_password(tmp_path: Path) -> None:
    with pytest.raises(MerError) as caught:
        open_storage("postgresql://me:secret@127.0.0.1:9/none", tmp_path)
    assert "hydra.sweeper.storage" in str(caught.value)
    assert "secret" not in str(caught.value)
    with pytest.raises(MerError, match="storage"):
        open_storage("no address", tmp_path)


def test_samplers_and_pruners_come_from_their_nodes(tmp_path: Path) -> None:
    def sampler(name: str, **options: object) -> object:
        node = {"_target_": f"optuna.samplers.{name}", **options}
        return build(node, "sampler", "optuna.samplers.TPESampler", seed=3)

    for name in ("TPESampler", "GPSampler", "CmaEsSampler", "NSGAIISampler", "QMCSampler"):
        assert type(sampler(name)).__name__ == name
    assert isinstance(
        build(None, "sampler", "optuna.samplers.TPESampler"), optuna.samplers.TPESampler
    )
    pruner = build(
        {
            "_target_": "optuna.pruners.PatientPruner",
            "wrapped_pruner": {"_target_": "optuna.pruners.MedianPruner", "n_startup_trials": 1},
            "patience": 2,
        },
        "pruner",
        "optuna.pruners.NopPruner",
    )
    assert isinstance(pruner, optuna.pruners.PatientPruner)
    with pytest.raises(MerError, match=r"hydra.sweeper.sampler is optuna.samplers.TPE;"):
        sampler("TPE")
    with pytest.raises(MerError, match="nonsense"):
        sampler("TPESampler", nonsense=1)


def test_the_seed_decides_the_points_and_the_users_own_seed_wins() -> None:
    def first(node: dict[str, object] | None, seed: int) -> float:
        made = build(node, "sampler", "optuna.samplers.RandomSampler", seed=seed)
        return optuna.create_study(sampler=made).ask(SPACE.params).params["x"]

    assert first(None, 1) == first(None, 1) != first(None, 2)
    own = {"_target_": "optuna.samplers.RandomSampler", "seed": 1}
    assert first(own, 2) == first(None, 1)


def test_locks_of_a_trial_are_held_until_it_is_finished(make_queue: MakeQueue) -> None:
    queue = make_queue()
    queue.take(1)
    lock = FileLock(queue.folder / "0" / ".trial.lock", timeout=0)
    with pytest.raises(TimeoutError):
        lock.acquire()
    queue.finish(0, TrialState.COMPLETE, values=[1.0])
    lock.acquire()
    lock.release()
    assert (queue.folder / "0").is_dir()
