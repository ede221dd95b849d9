"""Where the third-party material lies, and the moment at which the tests read it."""

from __future__ import annotations

import gzip
import json
import os
import tarfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.fixture(scope="session")
def now() -> datetime:
    return datetime(2026, 11, 20, 12, tzinfo=UTC)


@pytest.fixture(scope="session")
def data() -> Callable[[str], Path]:
    """Path of a file below the data folder; skips where it is missing."""

    def find(name: str) -> Path:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"needs {name} in GNOMON_TEST_DATA")
        return path

    return find


def members(path: Path) -> dict[str, bytes]:
    """Name and content of every file in a tar archive."""
    with tarfile.open(path) as archive:
        return {
            member.name: file.read()
            for member in archive.getmembers()
            if member.isfile() and (file := archive.extractfile(member)) is not None
        }


@pytest.fixture(scope="session")
def feed_files(data: Callable[[str], Path]) -> Mapping[str, bytes]:
    return members(data("feeds/feedparser_tests.tar.gz"))


@pytest.fixture(scope="session")
def feed_cases(data: Callable[[str], Path]) -> list[dict[str, Any]]:
    with gzip.open(data("feeds/cases.jsonl.gz"), "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


@pytest.fixture(scope="session")
def json_suite(data: Callable[[str], Path]) -> Mapping[str, bytes]:
    return members(data("security/json_test_suite.tar.gz"))


@pytest.fixture(scope="session")
def naughty(data: Callable[[str], Path]) -> list[str]:
    with gzip.open(data("security/naughty_strings.json.gz"), "rt", encoding="utf-8") as file:
        strings: list[str] = json.load(file)
    return strings
