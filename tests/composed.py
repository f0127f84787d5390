"""Composition for tests: Hydra puts each choice of configuration files together once per process.

Most of what a test of seconds does would otherwise be that: 0.2 s each time, and three times for
`mer train`. Reading words, setting values and all errors stay Hydra's.
"""

import copy
from collections.abc import Hashable
from typing import Any

import pytest
from hydra._internal import config_loader_impl
from hydra._internal.config_loader_impl import ConfigLoaderImpl
from hydra.core.override_parser.types import Override

from mer.config.composition import conf_dir

#: Hydra's own functions: which files are chosen, and what they give together.
list_files = config_loader_impl.create_defaults_list
merge_files = ConfigLoaderImpl._compose_config_from_defaults_list


def once_per_choice(patch: pytest.MonkeyPatch) -> None:
    """Let Hydra keep what it made of the package's files, for as long as the patch lasts."""
    lists: dict[Hashable, Any] = {}
    configs: dict[Hashable, Any] = {}

    def create_defaults_list(
        repo: Any, config_name: str, overrides_list: list[Override], **more: Any
    ) -> Any:
        words = [one for one in overrides_list if not one.is_sweep_override()]
        chosen = [_chooses_a_file(one, repo) for one in words]
        files = [one.input_line for one, is_file in zip(words, chosen, strict=True) if is_file]
        key = (config_name, *files, *more.values())
        if not _is_of_the_package(repo):
            return list_files(repo, config_name, overrides_list, **more)
        if key not in lists:
            lists[key] = list_files(repo, config_name, overrides_list, **more)
        found = copy.copy(lists[key])
        found.config_overrides = [
            one for one, is_file in zip(words, chosen, strict=True) if not is_file
        ]
        return found

    def compose_config(self: ConfigLoaderImpl, defaults: list[Any], repo: Any) -> Any:
        if not _is_of_the_package(repo):
            return merge_files(self, defaults, repo)
        key = repr(defaults)
        if key not in configs:
            configs[key] = merge_files(self, defaults, repo)
        return copy.deepcopy(configs[key])

    use(patch, create_defaults_list, compose_config)


def use(patch: pytest.MonkeyPatch, lists: Any, merges: Any) -> None:
    """Let Hydra compose by these two functions."""
    patch.setattr(config_loader_impl, "create_defaults_list", lists)
    patch.setattr(ConfigLoaderImpl, "_compose_config_from_defaults_list", merges)


def _chooses_a_file(word: Override, repo: Any) -> bool:
    return repo.group_exists(word.key_or_group) and not isinstance(word.value(), dict)


def _is_of_the_package(repo: Any) -> bool:
    """Whether no file is one's own, which a test may change."""
    return all(
        source.scheme() in ("pkg", "structured") or source.path == str(conf_dir())
        for source in repo.get_sources()
    )
