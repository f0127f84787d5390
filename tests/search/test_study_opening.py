"""Opening the study of a search: by several workers at once, and when its file is damaged."""

import multiprocessing
from pathlib import Path

import optuna
import pytest

from mer.errors import MerError
from mer.search.study import open_storage, open_study


def test_a_damaged_file_is_named_with_its_mend(tmp_path: Path) -> None:
    (tmp_path / "study.db").write_text("this is no database, but long enough to have a header" * 9)
    with pytest.raises(MerError, match=r"study.db is damaged \(.*\): copy it again; or remove it"):
        open_storage(None, tmp_path)


def test_another_address_is_answered_with_those_there_are(tmp_path: Path) -> None:
    with pytest.raises(MerError, match=r"hydra.sweeper.storage cannot be opened: .* Set null"):
        open_storage("nonsense", tmp_path)


def _open(folder: Path, together: object) -> None:
    together.wait()  # type: ignore[attr-defined]
    study = open_study("search", open_storage(None, folder), ["maximize"], folder)
    study.set_user_attr(str(multiprocessing.current_process().pid), True)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(3))
def test_workers_that_open_a_new_study_at_the_same_moment_share_it(
    tmp_path: Path, number: int
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["mer.search.study"])
    together = context.Barrier(4)
    workers = [context.Process(target=_open, args=(tmp_path, together)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert [worker.exitcode for worker in workers] == [0] * 4
    study = optuna.load_study(study_name="search", storage=f"sqlite:///{tmp_path / 'study.db'}")
    assert len(study.user_attrs) == 4
