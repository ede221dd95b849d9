"""For all tests: no example has a time limit, no server follows the world by itself, and no command
leaves its flags behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import hypothesis
import pytest

# Machines differ, and a first call may load a library: no test fails for the time it took.
hypothesis.settings.register_profile("untimed", deadline=None)
hypothesis.settings.load_profile("untimed")

os.environ.setdefault("GNOMON_STARTER__MODE", "off")


@pytest.fixture(autouse=True)
def _flags_of_one_call() -> Iterator[None]:
    """A command's flags are kept in its process, which tests share."""
    yield
    common = sys.modules.get("gnomon.commands.common")
    if common is not None:
        common.FLAGS.clear()
        common.FILES.clear()
