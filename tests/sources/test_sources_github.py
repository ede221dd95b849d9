"""GitHub: which addresses mean a repository, and that its feed becomes releases."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager

import pytest

from gnomon.clock import SystemClock
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources import feed, github
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.feed_server import FeedServer, Item
from gnomon.types import SourceConfig


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("https://github.com/astral-sh/ruff", "github:astral-sh/ruff", "releases"),
        ("github.com/astral-sh/ruff/", "github:astral-sh/ruff", "releases"),
        ("https://github.com/astral-sh/ruff.git", "github:astral-sh/ruff", "releases"),
        ("https://github.com/astral-sh/ruff/releases.atom", "github:astral-sh/ruff", "releases"),
        ("https://github.com/astral-sh/ruff/releases/tag/v1", "github:astral-sh/ruff", "releases"),
        ("https://github.com/astral-sh/ruff/tags", "github:astral-sh/ruff/tags", "tags"),
        ("github:astral-sh/ruff", "github:astral-sh/ruff", "releases"),
    ],
)
def test_a_repository_is_its_feed(text: str, name: str, url: str) -> None:
    found = github.identify(text)
    assert found is not None and (found.type, found.name) == ("feed", name)
    settings = feed.FeedSettings.model_validate(dict(found.settings))
    assert settings.url == f"https://github.com/astral-sh/ruff/{url}.atom"
    assert settings.kind == "release"


@pytest.mark.parametrize(
    "text",
    ["https://github.com/astral-sh", "https://github.com/topics/python", "https://github.com",
     "https://github.com/astral-sh/ruff/issues/1", "https://gist.github.com/a/b", "github:ruff",
     "https://example.org/astral-sh/ruff", "https://github.com/-x/y", ""],
)  # fmt: skip
def test_other_addresses_are_not(text: str) -> None:
    assert github.identify(text) is None


@asynccontextmanager
async def stage() -> AsyncIterator[Stage]:
    async with FeedServer() as server:
        releases = server.feed("/o/r/releases.atom", format="atom")
        net = Net(allow=(server.host_port,), per_host_delay_s=0, timeout_s=1)
        async with aclosing(Door(net, SystemClock())) as door:
            expected: dict[str, list[str | None]] = {}

            def release(n: int) -> None:
                notes = f"What changed in version {n}."
                releases.post(Item(id=f"tag:v{n}", title=f"v{n}", text=notes, published_at=START))
                expected[f"github:o/r#tag:v{n}"] = [notes]

            release(1)
            yield Stage(
                config=SourceConfig(
                    name="github:o/r", type="feed",
                    settings={"url": server.url("/o/r/releases.atom"), "kind": "release"},
                ),
                fetcher=door, script=[lambda: release(2), lambda: release(3)],
                expected=lambda: expected,
            )  # fmt: skip


async def test_releases_killed_anywhere() -> None:
    ledgers = await check_source(github.SOURCE, stage, rounds=4)
    assert {d.kind for ledger in ledgers for d in ledger.documents.values()} == {"release"}
