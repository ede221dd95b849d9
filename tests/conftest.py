"""For all tests: no server follows the world by itself, and no command leaves its flags behind."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

os.environ.setdefault("GNOMON_STARTER__MODE", "off")


@pytest.fixture(autouse=True)
def _flags_of_one_call() -> Iterator[None]:
    """A command's flags are kept in its process, which tests share."""
    yield
    common = sys.modules.get("gnomon.commands.common")
    if common is not None:
        common.FLAGS.clear()
        common.FILES.clear()
