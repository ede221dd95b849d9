"""Events survive any cutting of the bytes."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ModelError
from gnomon.models.sse import MAX_EVENT_BYTES, EventParser

LINE = st.text(st.characters(codec="utf-8", exclude_characters="\r\n"), min_size=1, max_size=30)


def parse(blocks: list[bytes]) -> list[bytes]:
    parser = EventParser()
    return [e for block in blocks for e in parser.feed(block)] + parser.end()


@given(
    events=st.lists(st.lists(LINE, min_size=1, max_size=3), max_size=5),
    newline=st.sampled_from([b"\n", b"\r\n", b"\r"]),
    cuts=st.lists(st.integers(0, 400), max_size=12),
)
def test_any_cutting_gives_the_same_events(
    events: list[list[str]], newline: bytes, cuts: list[int]
) -> None:
    stream = b"".join(
        b"".join(b"data: " + line.encode() + newline for line in lines) + newline
        for lines in events
    )
    edges = sorted({0, *(min(c, len(stream)) for c in cuts), len(stream)})
    blocks = [stream[a:b] for a, b in pairwise(edges)]
    assert parse(blocks) == ["\n".join(lines).encode() for lines in events]


@given(st.lists(st.binary(max_size=60), max_size=8))
def test_any_bytes_are_taken(blocks: list[bytes]) -> None:
    assert all(isinstance(event, bytes) for event in parse(blocks))


def test_comments_and_other_fields_are_passed_over() -> None:
    assert parse([b": keep-alive\n\nevent: x\nid: 3\nretry: 5\ndata:a\n\n"]) == [b"a"]


def test_a_last_event_needs_no_empty_line() -> None:
    assert parse([b"data: a\n\ndata: b"]) == [b"a", b"b"]


def test_a_plain_body_comes_out_at_the_end() -> None:
    assert parse([b'{"error":\n', b' "x"}']) == [b'{"error": "x"}']


def test_an_endless_event_is_refused() -> None:
    parser = EventParser()
    with pytest.raises(ModelError, match="an event of more than"):
        for _ in range(MAX_EVENT_BYTES // 1_000_000 + 2):
            parser.feed(b"x" * 1_000_000)
