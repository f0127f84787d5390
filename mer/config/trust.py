"""Trust in files: every `_target_` is imported here, and what a file may name is decided here.

What a user types or composes (`conf/`, `--config-dir`, Python) is the user's own and may name any
class or function. A configuration or checkpoint that is read from a file may come from somebody
else. It may name the objects of mer that `LISTED` holds, and those of packages that the user
trusts by name (`--trust mypackage`, or the variable `MER_TRUST=mypackage,another`). Files of a run
that this user made (`mer.config.maker`) may also name what its configuration names.
"""

import hashlib
import importlib
import inspect
import logging
import os
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mer.config.arguments import misfit
from mer.errors import MerError, raise_all

if TYPE_CHECKING:
    from omegaconf import DictConfig

log = logging.getLogger(__name__)

#: Objects of mer that a file may name: exact names, never a beginning of one.
LISTED = frozenset(
    {
        "mer.callbacks.svm_head.SVMHead",
        "mer.data.bi_woof.BiWOOF",
        "mer.models.flow_networks.DualInception",
        "mer.models.flow_networks.OFFApexNet",
        "mer.models.flow_networks.Perceptron",
        "mer.models.flow_networks.RCNA",
        "mer.models.flow_networks.RegionTransformer",
        "mer.models.flow_networks.STSTNet",
        "mer.models.motion_mlps.MotionMLPs",
        "mer.models.pixels.Pixels",
    }
)

#: Packages of which a refusal suggests to trust a single name, not all that they define.
LIBRARIES = ("albumentations", "pytorch_lightning", "sklearn", "timm", "torch", "torchvision")

#: Sections of a run's configuration that no command reads from a file.
UNREAD = ("logger",)


def resolve(target: Any, key: str) -> Any:
    """Import the object that a `_target_` names, without calling it.

    Args:
        target: Dotted name, `package.module.Name`.
        key: Dotted key of the node, for messages; may be empty.

    Raises:
        MerError: If there is no such object.
    """
    where = f"{key}._target_={target}".lstrip(".")
    if not isinstance(target, str) or not all(map(str.isidentifier, target.split("."))):
        raise MerError(f"{where}: set the dotted name of a class or function: package.module.Name")
    parts = target.split(".")
    for length in range(len(parts) - 1, 0, -1):
        name = ".".join(parts[:length])
        try:
            made: Any = importlib.import_module(name)
        except ModuleNotFoundError as error:
            if error.name and f"{name}.".startswith(f"{error.name}."):
                continue  # the rest may be attributes
            raise MerError(f"{where}: {name} cannot be imported: {error}") from error
        except Exception as error:
            raise MerError(f"{where}: {name} cannot be imported: {error}") from error
        return _attribute(made, parts[length:], where)
    raise MerError(no_package(target, key))


def no_package(target: str, key: str) -> str:
    """Say that the package of a `_target_` is not installed."""
    where = f"{key}._target_={target}".lstrip(".")
    return (
        f"{where}: there is no package {target.partition('.')[0]}. Install it, or name the folder "
        "that holds it: export PYTHONPATH=FOLDER"
    )


def build(node: Any, key: str, nested: bool = False, **arguments: Any) -> Any:
    """Call what a node's `_target_` names with the node's other keys.

    Args:
        node: A mapping with `_target_`.
        key: Dotted key of the node, for messages.
        nested: Whether nodes inside the arguments are built too; otherwise they are passed on as
            plain mappings.
        **arguments: Further arguments; they win over keys of the node.

    Raises:
        MerError: If there is no such object, or it does not take these arguments.
    """
    options = {**as_plain(node), **arguments}
    target = options.pop("_target_", None)
    if nested:
        options = {name: _built(value, f"{key}.{name}") for name, value in options.items()}
    return call(resolve(target, key), key, target, options)


def call(function: Any, key: str, target: str, options: Mapping[str, Any], *arguments: Any) -> Any:
    """Call a class or function with arguments that it has been checked to take.

    Raises:
        MerError: If it cannot be called, or not with these arguments.
    """
    where = f"{key}._target_={target}"
    if not callable(function) or isinstance(function, ModuleType):
        raise MerError(f"{where} is no class or function")
    if inspect.isabstract(function):
        lacks = ", ".join(sorted(function.__abstractmethods__))
        raise MerError(f"{where} is incomplete: define its methods {lacks}")
    special = [f"{key}.{name}: remove it" for name in options if name.startswith("_")]
    raise_all("Of the keys with an underscore only `_target_` has a meaning:", special)
    try:
        signature = inspect.signature(function)
    except ValueError:  # a builtin that does not tell its arguments
        return function(*arguments, **options)
    try:
        signature.bind(*arguments, **options)
    except TypeError as error:
        raise MerError(f"{where} {misfit(signature, options, len(arguments), error)}") from error
    return function(*arguments, **options)


def describe(made: Any) -> dict[str, Any]:
    """Describe an object as the node that `build` makes it from: its class and its arguments.

    Raises:
        MerError: If it does not keep an argument of its constructor under the argument's name.
    """
    kind = type(made)
    arguments = [name for name in inspect.signature(kind).parameters]
    lost = [name for name in arguments if not hasattr(made, name)]
    raise_all(
        f"{kind.__qualname__} must keep its arguments under their names; it has no:",
        (f"self.{name}" for name in lost),
    )
    target = f"{kind.__module__}.{kind.__qualname__}"
    return {"_target_": target, **{name: getattr(made, name) for name in arguments}}


def names(node: Any, key: str = "") -> dict[str, Any]:
    """Every `_target_` of a configuration: dotted key of its node -> what it names."""
    plain = as_plain(node)
    found: dict[str, Any] = {}
    if isinstance(plain, dict):
        if plain.get("_target_") is not None:
            found[key] = plain["_target_"]
        children: Iterable[tuple[Any, Any]] = plain.items()
    elif isinstance(plain, list | tuple):
        children = enumerate(plain)
    else:
        return {}
    for name, value in children:
        found |= names(value, f"{key}.{name}" if key else str(name))
    return found


def load(path: Path, trust: Iterable[str] = ()) -> "DictConfig":
    """Read the configuration of a run whose objects will be built.

    Nothing is generated by it. Where this user has not made it, its paths and devices are those of
    this machine, see `mer.config.stored.use_here`.

    Raises:
        MerError: See `mer.config.stored.read` and `check`.
    """
    from omegaconf import OmegaConf

    from mer.config import maker, stored

    config = stored.read(path)
    check({key: node for key, node in as_plain(config).items() if key not in UNREAD}, path, trust)
    for key in UNREAD:
        if key in config:
            config[key] = None
    if config.get("data"):
        config.data.generate = False
    if not maker.is_own(path):
        stored.use_here(config)
        log.info(
            "%s was not written by you on this machine, or was changed: data are looked for in %s, "
            "the cache in %s",
            path,
            OmegaConf.select(config, "data.root"),
            config.paths.cache,
        )
    return config


def check(node: Any, path: Path, trust: Iterable[str] = ()) -> None:
    """Refuse what a file must not name; only modules of trusted packages are imported.

    Args:
        node: Content of the file.
        path: The file, for messages.
        trust: Packages, or exact names.

    Raises:
        MerError: With every such `_target_`.
    """
    trusted, targets = packages(trust), names(node)
    if any(target not in LISTED | trusted for target in map(str, targets.values())):
        trusted |= _own_names(path)
    problems, suggested = [], set()
    for key, target in targets.items():
        if isinstance(target, str) and (target in LISTED or target in trusted):
            continue
        package = str(target).partition(".")[0]
        if package in trusted:
            made = resolve(target, key)
            package = str(getattr(made, "__module__", "")).partition(".")[0]
            if package in trusted or not package:
                continue
            problems.append(f"{key}._target_={target}, which is of the package {package}")
        else:
            problems.append(f"{key}._target_={target}")
        suggested.add(str(target) if package in LIBRARIES else package)
    suggested.discard("mer")
    mend = f", add --trust {','.join(sorted(suggested))} or set MER_TRUST" if suggested else ""
    raise_all(
        f"{path} names code that is not among the listed objects of mer. If you trust whoever made "
        f"it{mend or ', run it again from your own configuration'}:",
        problems,
    )


def _own_names(path: Path) -> set[str]:
    """Exact names in the configuration of the run that a file belongs to, if this user made it.

    What else lies in such a run may have been changed by others, and can name nothing more.
    """
    from mer.config import maker, stored

    folders = (path.parent, path.parent.parent.parent)  # of the run, and of the run of a fold
    configs = [folder / "config.yaml" for folder in folders]
    found = [names(stored.read_plain(config)) for config in configs if maker.is_own(config)]
    return {str(target) for targets in found for target in targets.values()}


def packages(trust: Iterable[str] = ()) -> set[str]:
    """Packages and exact names that the user trusts: those given, and those of MER_TRUST.

    Raises:
        MerError: If one is no name of a package.
    """
    trusted = {*trust, *os.environ.get("MER_TRUST", "").replace(",", " ").split()}
    _check_packages(trusted)
    return trusted


def with_sources(node: Any) -> Any:
    """Copy a configuration with a digest of the source beside each `_target_` from elsewhere.

    Caches use it as part of their key, so that a changed class is computed anew.
    """
    plain = as_plain(node)
    if isinstance(plain, list | tuple):
        return [with_sources(value) for value in plain]
    if not isinstance(plain, dict):
        return plain
    copy = {key: with_sources(value) for key, value in plain.items()}
    target = plain.get("_target_")
    return copy if target is None or target in LISTED else {**copy, "_source_": _source(target)}


def _source(target: str) -> str:
    """Digest of the file that defines an object, and the version of its package."""
    made = resolve(target, "cache key")
    module = sys.modules.get(getattr(made, "__module__", ""))
    file = getattr(module, "__file__", None)
    text = Path(file).read_bytes() if file and Path(file).is_file() else b""
    package = sys.modules.get(target.partition(".")[0])
    version = str(getattr(package, "__version__", ""))
    return hashlib.sha256(text + version.encode()).hexdigest()[:16]


def _attribute(made: Any, path: list[str], where: str) -> Any:
    """Follow attributes; never through a module that was imported for other reasons."""
    for name in path:
        if not hasattr(made, name):
            owner = getattr(made, "__name__", type(made).__name__)
            raise MerError(f"{where}: {owner} has no {name}")
        made = getattr(made, name)
        if isinstance(made, ModuleType):
            raise MerError(f"{where}: {name} is a module; name it by its own path, {made.__name__}")
    return made


def _built(value: Any, key: str) -> Any:
    if isinstance(value, dict) and "_target_" in value:
        return build(value, key, nested=True)
    if isinstance(value, dict):
        return {name: _built(one, f"{key}.{name}") for name, one in value.items()}
    if isinstance(value, list):
        return [_built(one, f"{key}.{place}") for place, one in enumerate(value)]
    return value


def _check_packages(trusted: Iterable[str]) -> None:
    problems = [
        f"{name}: its objects are trusted one by one" if name == "mer" else f"{name}: no package"
        for name in sorted(trusted)
        if name == "mer" or not all(map(str.isidentifier, name.split(".")))
    ]
    raise_all("--trust and MER_TRUST take names of packages, such as mypackage:", problems)


def as_plain(node: Any) -> Any:
    """A configuration as plain values; interpolations of one's own are resolved."""
    from omegaconf import OmegaConf

    return OmegaConf.to_container(node, resolve=True) if OmegaConf.is_config(node) else node
