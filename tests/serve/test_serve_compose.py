from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from gnomon.clock import ManualClock
from gnomon.serve.compose import Composer, inert, is_web
from gnomon.serve.errors import ApiError
from gnomon.serve.moments import iso, moment
from gnomon.serve.wire import MAX_DEPTH, _deeper_than
from gnomon.types import Citation, Sentence, Verdict, VerdictKind

hostile = st.lists(
    st.sampled_from(
        ["[", "]", "(", ")", "!", "<", ">", "\\", "`", "img src=x", "a", " ", "\n", ":", "/",
         "http://evil.example", "[[1]]", "](", "![", "&lt;", "script", "*", "_", "#", "𝒳"]
    ),
    max_size=25,
).map("".join)  # fmt: skip

urls = st.one_of(
    st.just("https://a.example/x(1)?q=[y]"),
    st.text(max_size=20).map(lambda t: "https://a.example/" + t),
    st.just("javascript:alert(1)"),
    st.just("file:///etc/passwd"),
    st.just("http://[bad"),
)


def rendered(text: str) -> set[str]:
    tokens = MarkdownIt("commonmark").parse("Before. " + text)
    return {c.type for t in tokens for c in [t, *(t.children or ())]}


@given(hostile)
def test_third_party_words_never_become_links_images_or_markup(text: str) -> None:
    kinds = rendered(inert(text))
    assert not kinds & {"link_open", "image", "html_inline", "html_block", "code_inline"}


@given(st.lists(st.tuples(hostile, st.lists(st.integers(1, 4), max_size=4)), max_size=6), urls)
def test_annotations_and_sentences_locate_their_text(
    written: list[tuple[str, list[int]]], url: str
) -> None:
    composer = Composer(base_url="http://127.0.0.1:1")
    cited = [
        Citation(
            number=n, key=f"k:{n % 2}/({n})", version=n, seq=n, start=0, end=1, quote="x",
            url=url if n % 2 else "",
        )
        for n in range(1, 5)
    ]  # fmt: skip
    verdict = Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
    deltas = [
        composer.add(Sentence(text=t, citations=tuple(ns), verdict=verdict), cited).delta
        for t, ns in written
    ]
    assert "".join(deltas) == composer.text
    numbers: dict[str, str] = {}
    for a in composer.annotations:
        assert composer.text[a["start_index"] : a["end_index"]] == f"[[{a['title']}]]({a['url']})"
        assert numbers.setdefault(a["url"], a["title"]) == a["title"]
        assert is_web(a["url"]) and not set(a["url"]) & set(" ()<>[]\n")
    assert list(dict.fromkeys(numbers.values())) == [str(i + 1) for i in range(len(numbers))]
    for s, (text, _) in zip(composer.sentences, written, strict=True):
        assert composer.text[s["start"] : s["end"]] == inert(text)


@pytest.mark.parametrize(
    ("url", "fine"),
    [
        ("https://a.example", True),
        ("http://127.0.0.1/x", True),
        ("javascript:alert(1)", False),
        ("data:text/html,x", False),
        ("//a.example", False),
        ("https:", False),
        ("", False),
    ],
)
def test_only_web_addresses_become_links(url: str, fine: bool) -> None:
    assert is_web(url) is fine


NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (None, None),
        ("", None),
        (" now ", None),
        ("2026-11-22T10:00:00Z", datetime(2026, 11, 22, 10, tzinfo=UTC)),
        ("2026-11-22T10:00+02:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("2026-11-22T10:00 02:00", datetime(2026, 11, 22, 8, tzinfo=UTC)),
        ("1 hour ago", NOW - timedelta(hours=1)),
        ("90m", NOW - timedelta(minutes=90)),
        ("yesterday 14:05", NOW - timedelta(days=1)),
        ("today at 9:30", datetime(2026, 11, 22, 9, 30, tzinfo=UTC)),
        ("3 Days Ago", NOW - timedelta(days=3)),
    ],
)
def test_moments(text: str | None, expected: datetime | None) -> None:
    assert moment(text, ManualClock(NOW), param="as_of") == expected


def test_a_day_has_no_25th_hour() -> None:
    with pytest.raises(ApiError, match="not a moment"):
        moment("yesterday 25:00", ManualClock(NOW), param="as_of")


@given(st.text(max_size=30))
def test_any_text_is_a_moment_or_a_clear_refusal(text: str) -> None:
    try:
        found = moment(text, ManualClock(NOW), param="as_of")
    except ApiError as refused:
        assert refused.status == 400 and refused.param == "as_of"
    else:
        assert found is None or found.tzinfo is UTC


@given(st.datetimes(timezones=st.just(UTC), max_value=datetime(2026, 1, 1)))
def test_iso_moments_come_back(when: datetime) -> None:
    assert moment(iso(when), ManualClock(NOW), param="as_of") == when


@given(st.integers(0, 3 * MAX_DEPTH))
def test_depth_is_counted(depth: int) -> None:
    value: object = 1
    for i in range(depth):
        value = [value] if i % 2 else {"a": value}
    assert _deeper_than(value, MAX_DEPTH) is (depth > MAX_DEPTH)
