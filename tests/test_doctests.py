"""Examples in docstrings of the public interface give what they say."""

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["mer.protocols", "mer.metrics", "mer.config.settings"])
def test_examples_give_what_they_say(name: str) -> None:
    result = doctest.testmod(importlib.import_module(name))
    assert result.attempted > 0
    assert result.failed == 0
