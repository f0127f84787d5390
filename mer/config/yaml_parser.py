"""Let Hydra and OmegaConf parse YAML with the C parser of PyYAML, by their own rules."""

import functools
from typing import Any

import yaml


@functools.cache
def loader() -> type[Any]:
    """Loader class with OmegaConf's rules (no key twice, no dates) on the C parser, if it is there.

    It gives the values of the loader of OmegaConf 2.3, which parses in Python, ten times as fast.
    """
    try:
        from omegaconf._utils import get_yaml_loader
    except ImportError:  # OmegaConf 2.4, whose own loader is on the C parser
        from omegaconf import _yaml  # type: ignore[attr-defined]

        return _yaml.get_yaml_loader()
    rules: type[Any] = get_yaml_loader()
    if not yaml.__with_libyaml__:
        return rules

    class Loader(yaml.cyaml.CParser, rules):  # type: ignore[misc]
        def __init__(self, stream: Any) -> None:
            yaml.cyaml.CParser.__init__(self, stream)
            yaml.constructor.SafeConstructor.__init__(self)
            yaml.resolver.Resolver.__init__(self)

    return Loader


def use() -> None:
    """Make it the loader of OmegaConf, and so of Hydra, in this process."""
    from omegaconf import _utils

    chosen = loader()
    if hasattr(_utils, "get_yaml_loader"):
        _utils.get_yaml_loader = lambda: chosen
