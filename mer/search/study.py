"""The Optuna study of a search: where it is kept, what it searches, how it samples and prunes."""

import contextlib
import inspect
import json
import logging
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import optuna
from filelock import FileLock
from optuna.distributions import json_to_distribution
from optuna.samplers import BaseSampler
from optuna.storages import BaseStorage, JournalStorage, RDBStorage
from optuna.storages.journal import JournalFileBackend

from mer.config import maker, trust
from mer.errors import MerError, one_line, raise_all
from mer.files import DISK_FULL
from mer.runs.claims import differences
from mer.search.space import Space, described, option

log = logging.getLogger(__name__)

#: User attribute of a study that holds the mark of its maker.
MAKER = "made_here"


def open_storage(address: str | None, folder: Path) -> BaseStorage:
    """Open the storage of a study.

    Args:
        address: `hydra.sweeper.storage`: None for SQLite in `folder`, `journal:FILE`, or an
            SQLAlchemy address. It is never logged, since it may hold a password.
        folder: Directory of the search.

    Raises:
        MerError: If it cannot be opened.
    """
    file = folder.resolve() / "study.db"
    try:
        with FileLock(folder / ".study.lock"):  # two workers may create the tables at once
            return _open(f"sqlite:///{file}" if address is None else address)
    except Exception as error:
        reason = re.sub(r"://\S*@", "://...@", one_line(error))
        if isinstance(error, OSError) or DISK_FULL.search(reason):
            raise
        if address is None:
            raise MerError(
                f"{file} is damaged ({reason}): copy it again; or remove it, and the same command "
                "searches anew (the trials' own folders stay as they are)"
            ) from error
        raise MerError(
            f"hydra.sweeper.storage cannot be opened: {reason}. Set null for a file in the "
            "search's directory, journal:FILE, or sqlite:///FILE, postgresql://USER@HOST/NAME (pip "
            "install 'mer[postgres]'); keep a password in ~/.pgpass or write ${oc.env:NAME}."
        ) from error


def _open(address: str) -> BaseStorage:
    if address.startswith("journal:"):
        path = Path(address.removeprefix("journal:")).expanduser().resolve()
        path.parent.mkdir(parents=True, exist_ok=True)
        return JournalStorage(JournalFileBackend(str(path)))
    if address.startswith("sqlite:"):
        # Several workers write to one file; each waits for its turn.
        return RDBStorage(address, engine_kwargs={"connect_args": {"timeout": 120}})
    if address.startswith("postgresql:"):
        address = address.replace("postgresql:", "postgresql+psycopg:", 1)
    return RDBStorage(address, engine_kwargs={"pool_pre_ping": True})


def open_study(
    name: str, storage: BaseStorage, directions: Sequence[str], folder: Path
) -> optuna.Study:
    """Create a study, or open the one of that name.

    Raises:
        MerError: If the stored study has other directions.
    """
    quiet = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        with FileLock(folder / ".study.lock"):  # two workers may create the tables at once
            study = optuna.create_study(
                study_name=name,
                storage=storage,
                directions=cast("Any", list(directions)),
                load_if_exists=True,
            )
    finally:
        optuna.logging.set_verbosity(max(quiet, optuna.logging.WARNING))
    stored = [direction.name.lower() for direction in study.directions]
    if stored != list(directions):
        raise MerError(
            f"The study {name} was made with hydra.sweeper.direction={stored}; now it is "
            f"{list(directions)}. Set the old one, or another search.dir."
        )
    return study


def require_alone(storage: BaseStorage, name: str, nested: bool, folder: Path) -> None:
    """Refuse a folder that holds another search, whose trials lie in it.

    Args:
        storage: That of the folder.
        name: Name of the search.
        nested: Whether each fold has a study of its own.
        folder: Directory of the search.

    Raises:
        MerError: With the other search.
    """
    for study in storage.get_all_studies():
        search = json.loads(study.user_attrs.get("mer", "{}")).get("search")
        there = (search, search != study.study_name)
        if search is not None and there != (name, nested):
            raise MerError(
                f"{folder} holds {_titled(*there)}, and this is {_titled(name, nested)}. Set "
                "another search.dir."
            )


def _titled(name: str, nested: bool) -> str:
    return f"the nested search {name}" if nested else f"the search {name}"


def require_maker(study: optuna.Study, sampler: Any, folder: Path) -> None:
    """Refuse a sampler that unpickles what the study holds, where somebody else may have made it.

    A study is this user's while it is in the folder where this user began it.

    Args:
        study: New or stored. A new one is marked.
        sampler: Its sampler, whose inner samplers count too.
        folder: Directory of the search.

    Raises:
        MerError: If the study has trials and no mark of this user.
    """
    content = f"{folder.resolve()}\n{study.study_name}".encode()
    mark = study.user_attrs.get(MAKER)
    if mark is None and not study.get_trials(deepcopy=False):
        if new := maker.mark_of(content):
            study.set_user_attr(MAKER, new)
        return
    if not _unpickles(sampler) or "cmaes" in trust.packages():
        return
    if not maker.is_mark(str(mark), content):
        raise MerError(
            f"The study {study.study_name} was not begun by you in {folder}, and CMA-ES unpickles "
            "what it finds there, which may run code. If you trust whoever made it, add --trust "
            "cmaes (or set MER_TRUST=cmaes); or choose another sampler."
        )


def _unpickles(sampler: Any, depth: int = 3) -> bool:
    """Whether a sampler, or one inside it, is CMA-ES, the one sampler of Optuna that unpickles."""
    if isinstance(sampler, optuna.samplers.CmaEsSampler):
        return True
    inner = vars(sampler).values() if depth and isinstance(sampler, BaseSampler) else ()
    return any(_unpickles(one, depth - 1) for one in inner)


def claim(study: optuna.Study, search: str, space: Space, settings: Mapping[str, Any]) -> None:
    """Remember what a study searches, or check that a stored one searches the same.

    Args:
        study: New or stored.
        search: Name of its search.
        space: Searched parameters and shared overrides.
        settings: Flat configuration of its trials, without what may differ.

    Raises:
        MerError: With every difference.
    """
    now = {"space": space.as_json(), "settings": {k: _plain(v) for k, v in settings.items()}}
    stored = study.user_attrs.get("mer")
    if stored is None:
        study.set_user_attr("mer", json.dumps({"search": search, **now}))
        return
    before = json.loads(stored)
    new = f"search.name={search}-2 (or another search.dir where you have named that)"
    if "samples" in settings and "samples" not in before["settings"]:
        raise MerError(
            f"The study {study.study_name} was begun when mer did not note the samples of a "
            f"search, so nobody can tell whether they are the same. Begin anew: type {new}."
        )
    searched = {**before["space"], **now["space"]}
    old, own = (
        {k: v for k, v in one["settings"].items() if k not in searched} for one in (before, now)
    )
    raise_all(
        f"The study {study.study_name} searches something else. For a search of its own type "
        f"{new}; or the old values:",
        _other_ranges(before["space"], now["space"]) + differences(old, own),
    )


def _plain(value: Any) -> Any:
    return json.loads(json.dumps(value, default=str))


def _other_ranges(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """Say which ranges differ; each is Optuna's JSON, which tells 1 from 1.0."""
    in_words = [
        {key: described(json_to_distribution(text)) for key, text in one.items()}
        for one in (old, new)
    ]
    return [
        f"{key}: {' there, '.join(one.get(key, 'not searched') for one in in_words)} now"
        for key in sorted({*old, *new})
        if old.get(key) != new.get(key)
    ]


def build(node: Mapping[str, Any] | str | None, what: str, default: str, **offered: Any) -> Any:
    """Make a sampler or pruner from its node; only what the user wrote overrides its defaults.

    Args:
        node: `_target_` and options, the target alone, or None.
        what: sampler or pruner, for errors.
        default: Target of None.
        **offered: Arguments that are passed on if the class takes them and the node is silent.

    Raises:
        MerError: If it cannot be made.
    """
    options = {"_target_": node} if isinstance(node, str) else dict(node or {})
    target = str(options.pop("_target_", default))
    try:
        made = trust.resolve(target, f"hydra.sweeper.{what}")
        taken = inspect.signature(made).parameters
        options = {**{k: v for k, v in offered.items() if k in taken}, **options}
        with contextlib.suppress(KeyError):  # pruners and samplers that wrap another
            for key in ("wrapped_pruner", "independent_sampler", "base_sampler"):
                if isinstance(options.get(key), Mapping | str):
                    options[key] = build(options[key], what, default, **offered)
        return made(**options)
    except Exception as error:
        raise option(
            what, target, f"a class of optuna.{what}s with options that it takes ({error})"
        ) from error
