"""What publishers wish their content to be used for, and who hears of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.net.robots import Rules
from gnomon.net.usage import NOTHING_SAID, Usage, parse_usage
from gnomon.settings import Net
from gnomon.types import Policy

NO = Usage(train=False)
YES = Usage(train=True)


@pytest.mark.parametrize(
    ("text", "usage"),
    [
        ("train-ai=n", NO),
        ("train-ai=y", YES),
        ('TRAIN-AI = N ; why="so" , x=n', NO),
        ("train-genai=n", NO),
        ("search=yes, ai-train=no, ai-input=no", Usage(train=False, search=True, input=False)),
        ("bots=n", Usage(train=False, search=False, input=False)),
        ("bots=n, search=y", Usage(train=False, search=True, input=False)),
        ("train-ai=n, train-ai=y", YES),
        ("train-ai", NOTHING_SAID),
        ("train-ai=maybe", NOTHING_SAID),
        ("", NOTHING_SAID),
    ],
)
def test_wishes(text: str, usage: Usage) -> None:
    assert parse_usage(text) == usage


@pytest.mark.parametrize(
    ("robots", "path", "usage"),
    [
        ("User-agent: *\nContent-Usage: train-ai=n", "/x", NO),
        ("User-agent: *\nAllow: /\nContent-Signal: ai-train=no # so", "/x", NO),
        ("User-agent: *\nContent-Usage: /a train-ai=n", "/a/b", NO),
        ("User-agent: *\nContent-Usage: /a train-ai=n", "/b", NOTHING_SAID),
        ("User-agent: *\nContent-Usage: train-ai=n\nContent-Usage: /a train-ai=y", "/a", YES),
        ("User-agent: *\nContent-Usage: /a train-ai=y\nContent-Usage: /a train-ai=n", "/a", NO),
        ("User-agent: *\nContent-Usage: /*.pdf$ train-ai=n", "/a/b.pdf", NO),
        ("User-agent: *\nContent-Usage: /*.pdf$ train-ai=n", "/a/b.pdfs", NOTHING_SAID),
        ("User-agent: *\nContent-Usage: /\u00e9 train-ai=n", "/%C3%A9", NO),
        (
            "User-agent: *\nContent-Usage: train-ai=n\n\nUser-agent: GnomonBot\nDisallow:",
            "/x",
            NOTHING_SAID,
        ),
        ("User-agent: GPTBot\nContent-Usage: train-ai=n", "/x", NOTHING_SAID),
        ("User-agent: GPTBot\nUser-agent: gnomonbot\nContent-Usage: train-ai=n", "/x", NO),
        ("User-agent: GnomonBot\nUser-agent: a\nAllow: /\nContent-Usage: train-ai=n", "/x", NO),
        (
            "User-agent: GnomonBot\nContent-Usage: train-ai=n\nUser-agent: a\n"
            "Content-Usage: train-ai=y",
            "/x",
            NO,
        ),
        ("Content-Usage: train-ai=n\nUser-agent: *\nDisallow:", "/x", NOTHING_SAID),
    ],
)
def test_rules_of_a_robots_file(robots: str, path: str, usage: Usage) -> None:
    assert Rules(robots).usage(f"https://news.example{path}") == usage


@given(st.text(max_size=200))
def test_nonsense_is_never_fatal(text: str) -> None:
    parse_usage(text)
    Rules(f"User-agent: *\nContent-Usage: {text}").usage("https://news.example/")


def test_wishes_only_ever_limit() -> None:
    everything = Policy(train=True)
    assert Usage(train=True, search=True, input=True).limit(Policy(index=False)) == Policy(
        index=False
    )
    assert NOTHING_SAID.limit(everything) == everything
    assert NO.limit(everything) == Policy(train=False)
    assert Usage(search=False).limit(everything) == Policy(train=True, index=False)
    assert Usage(input=False).limit(everything) == Policy(train=True, snippet=False)


async def test_headers_and_robots_are_heard_together(world: Any) -> None:
    async def handler(head: bytes, reader: Any, writer: Any) -> None:
        if b"GET /robots.txt" in head:
            body = b"User-agent: *\nContent-Usage: train-ai=n, search=y"
            extra = b""
        else:
            body = b"hi"
            extra = b"content-usage: train-ai=y\r\ncontent-signal: search=no\r\n"
        length = b"content-length: %d\r\n" % len(body)
        writer.write(b"HTTP/1.1 200 OK\r\n" + length + extra + b"\r\n" + body)

    world.server.handler = handler
    door = world.door(Net(per_host_delay_s=0))
    crawled = await door.fetch("http://news.example/", purpose="crawl")
    assert crawled.usage == Usage(train=False, search=False)
    asked = await door.fetch("http://news.example/", purpose="user")
    assert asked.usage == Usage(train=True, search=False)
    agents = [world.server.header("user-agent", i).partition("/")[0] for i in range(3)]
    assert agents == ["GnomonBot", "GnomonBot", "Gnomon-User"]
