"""How long an answer stays true, as its headers say it."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.net.headers import fresh_s, retry_after_s

NOW = datetime(2026, 5, 1, tzinfo=UTC)
LATER = "Fri, 01 May 2026 01:00:00 GMT"
SAID = "Fri, 01 May 2026 00:59:00 GMT"


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ({"cache-control": "max-age=300"}, 300),
        ({"cache-control": 'public, Max-Age="60"'}, 60),
        ({"cache-control": "max-age=300", "age": "100"}, 200),
        ({"cache-control": "max-age=300", "age": "400"}, 0),
        ({"cache-control": "max-age=300", "age": "old"}, 300),
        ({"cache-control": "max-age=300", "expires": "0"}, 300),
        ({"cache-control": "s-maxage=9"}, None),
        ({"cache-control": "no-cache, max-age=300"}, None),
        ({"cache-control": "max-age=300,No-Store"}, None),
        ({"cache-control": 'no-cache="set-cookie", max-age=3'}, None),
        ({"cache-control": "x-no-storey, max-age=3"}, 3),
        ({"cache-control": "max-age=-1"}, None),
        ({"expires": LATER}, 3_600),
        ({"expires": LATER, "date": SAID}, 60),
        ({"expires": LATER, "date": SAID, "age": "50"}, 10),
        ({"expires": LATER, "date": "today"}, 3_600),
        ({"expires": SAID, "date": LATER}, 0),
        ({"expires": "0"}, None),
        ({"expires": "Fri, 31 Dec 9999 23:59:59 -1200"}, None),
        ({}, None),
    ],
)
def test_freshness(headers: dict[str, str], expected: float | None) -> None:
    assert fresh_s(headers, NOW) == expected


_TEXT = st.text(st.characters(max_codepoint=255), max_size=40)


@given(st.dictionaries(st.sampled_from(["cache-control", "age", "expires", "date"]), _TEXT), _TEXT)
def test_nonsense_is_never_fatal(headers: dict[str, str], retry: str) -> None:
    for seconds in (fresh_s(headers, NOW), retry_after_s(retry, NOW)):
        assert seconds is None or seconds >= 0
