from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.extract.urls import absolute
from gnomon.sources import feed, page
from gnomon.sources.opml import feeds_of, looks_like_opml, read_opml, write_opml
from gnomon.types import SourceConfig

NOW = datetime(2026, 5, 1, tzinfo=UTC)

NESTED = b"""<?xml version="1.0" encoding="UTF-8"?>
<opml version="1.0"><head><title>My &amp; yours</title></head><body>
<outline text="News" title="News">
  <outline type="rss" text="One" title="First  one" xmlUrl="https://one.example/feed"/>
  <outline type="rss" text="Two" XMLURL="feed://two.example/rss"/>
  <outline type="rss" text="Again" xmlurl="https://one.example/feed"/>
</outline>
<outline type="rss" text="Relative" xmlUrl="/feed.xml"/>
<outline type="rss" text="Bad" xmlUrl="javascript:alert(1)"/>
<outline text="A note without an address"/>
</body></opml>"""


def test_nested_lists_with_the_errors_of_the_wild() -> None:
    assert looks_like_opml(NESTED)
    found = read_opml(NESTED)
    assert found.title == "My & yours"
    assert [(c.name, c.title) for c in found.configs] == [
        ("feed:one.example/feed", "First one"),
        ("feed:two.example/rss", "Two"),
    ]
    assert [(s.entry, s.reason) for s in found.skipped] == [
        ("Relative (/feed.xml)", "its xmlUrl is no web address"),
        ("Bad (javascript:alert(1))", "its xmlUrl is no web address"),
    ]
    based = read_opml(NESTED, url="https://lists.example/my/list.opml")
    assert "https://lists.example/feed.xml" in [c.settings["url"] for c in based.configs]


def test_an_entry_without_a_feed_is_told_and_a_folder_is_not() -> None:
    found = read_opml(
        b"""<opml version="2.0"><body><outline text="Folder" htmlUrl="https://a.example/">
        <outline text="Page" type="rss" htmlUrl="https://page.example/"/>
        <outline type="rss"/><outline text="A note"/></outline></body></opml>"""
    )
    assert [(s.entry, s.reason) for s in found.skipped] == [
        ("Page (https://page.example/)", "it names no feed (xmlUrl)"),
        ("an entry without a title", "it names no feed (xmlUrl)"),
    ]


def test_broken_xml_is_read_as_far_as_it_goes() -> None:
    body = b"""<opml version="2.0"><body><outline text="a & b" xmlUrl="https://a.example/f?x=1&y=2"/>
    <outline text="B" xmlUrl="https://b.example/f"></body>"""
    urls = [c.settings["url"] for c in read_opml(body).configs]
    assert urls[-1] == "https://b.example/f" and len(urls) == 2


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"hello",
        b"<rss><channel/></rss>",
        b"\0\0",
        b'<!DOCTYPE opml [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><opml><body>'
        b'<outline xmlUrl="https://x.example/&b;"/></body></opml>',
    ],
)
def test_what_is_no_list_is_refused(body: bytes) -> None:
    with pytest.raises(ContentError, match="cannot be read"):
        read_opml(body)


@given(st.binary(max_size=300))
def test_any_bytes_end_well(noise: bytes) -> None:
    for body in (noise, b"<opml><body>" + noise):
        try:
            read_opml(body)
        except ContentError as error:
            assert error.hint


titles = st.text(max_size=40)
paths = st.text("abcdefghij/&?='\"<>", max_size=20)


@given(st.lists(st.tuples(titles, paths), max_size=8))
def test_what_was_written_is_read_again(rows: list[tuple[str, str]]) -> None:
    configs = [
        feed.config_for(f"https://h{n}.example/{path}", title)
        for n, (title, path) in enumerate(rows)
    ]
    configs.append(page.config_for("https://page.example/"))
    body = write_opml(configs, title="All <mine>", now=NOW)
    found = read_opml(body)
    assert [c.settings["url"] for c in found.configs] == [
        absolute("", str(c.settings["url"])) for c in feeds_of(configs)
    ]
    assert found.title == "All <mine>" and not found.skipped


def test_only_feeds_have_a_place_in_it() -> None:
    other = SourceConfig(name="x", type="x", settings={"url": "https://x.example"})
    assert feeds_of([other, feed.config_for("https://f.example/rss")])[0].type == "feed"
    assert len(feeds_of([other])) == 0
