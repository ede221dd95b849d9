"""Feeds: what each field means, JSON Feed, tombstones, dates, and documents that mean harm."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.errors import ContentError
from gnomon.extract.base import Feed
from gnomon.extract.dates import parse_date
from gnomon.extract.feeds import parse_feed

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
URL = "https://news.example/feed.xml"


def parse(body: bytes | str, **options: Any) -> Feed:
    data = body.encode() if isinstance(body, str) else body
    return parse_feed(data, url=URL, now=NOW, **options)


def rss(items: str, head: str = "") -> str:
    return (
        '<?xml version="1.0"?><rss version="2.0" xmlns:dc="http://purl.org/dc/elements/1.1/" '
        'xmlns:content="http://purl.org/rss/1.0/modules/content/" '
        'xmlns:sy="http://purl.org/rss/1.0/modules/syndication/" '
        'xmlns:atom="http://www.w3.org/2005/Atom">'
        f"<channel><title>T</title><link>/home</link>{head}{items}</channel></rss>"
    )


RICH = rss(
    """<item><title>Fire &amp;amp; &lt;b&gt;smoke&lt;/b&gt;</title><link>/1</link>
    <guid isPermaLink="false"> id-1 </guid><description>Short.</description>
    <content:encoded><![CDATA[<p>A long story.</p><p>Second paragraph.</p>]]></content:encoded>
    <dc:creator>Ann Lee</dc:creator><category>Town</category><category>Fire</category>
    <enclosure url="/a.mp3" type="audio/MPEG" length="123"/>
    <pubDate>Fri, 20 Nov 2026 10:00:00 +0200</pubDate></item>""",
    '<language>en-us</language><ttl>30</ttl><atom:link rel="self" href="/feed.xml"/>'
    '<atom:link rel="hub" href="https://hub.example/"/>',
)


def test_rss() -> None:
    feed = parse(RICH)
    assert (feed.title, feed.url, feed.lang) == ("T", "https://news.example/home", "en")
    assert (feed.ttl_s, feed.hub, feed.self_url) == (1_800, "https://hub.example/", URL)
    (entry,) = feed.entries
    assert (entry.id, entry.url) == ("id-1", "https://news.example/1")
    assert entry.title == "Fire & smoke"
    assert entry.text == "A long story.\n\nSecond paragraph."
    assert entry.author == "Ann Lee"
    assert entry.published_at == datetime(2026, 11, 20, 8, tzinfo=UTC)
    assert entry.updated_at is None
    assert entry.extra == {"tags": ["Town", "Fire"], "summary": "Short."}
    (enclosure,) = entry.enclosures
    assert (enclosure.url, enclosure.media_type) == ("https://news.example/a.mp3", "audio/mpeg")
    assert enclosure.body_bytes == 123
    assert feed.skipped == 0 and feed.notes == {}


def test_atom_with_tombstone() -> None:
    feed = parse(
        """<feed xmlns="http://www.w3.org/2005/Atom" xml:lang="de"
        xmlns:at="http://purl.org/atompub/tombstones/1.0"><title>Zeitung</title>
        <author><name>Redaktion</name></author>
        <link rel="alternate" href="https://news.example/"/>
        <entry><id>tag:1</id><title type="html">A &amp;lt;b&amp;gt;</title>
        <link href="https://news.example/1"/><updated>2026-11-20T10:00:00Z</updated>
        <content type="xhtml"><div xmlns="http://www.w3.org/1999/xhtml"><p>Eins</p><p>Zwei</p></div>
        </content></entry>
        <at:deleted-entry ref="tag:0" when="2026-11-20T09:00:00Z"/></feed>"""
    )
    (entry,) = feed.entries
    assert (entry.id, entry.title, entry.author) == ("tag:1", "A <b>", "Redaktion")
    assert entry.text == "Eins\n\nZwei" and entry.lang == "de"
    assert entry.published_at == entry.updated_at == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert feed.removed == ("tag:0",)


def test_rdf() -> None:
    feed = parse(
        """<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"
        xmlns="http://purl.org/rss/1.0/" xmlns:dc="http://purl.org/dc/elements/1.1/">
        <channel rdf:about="x"><title>R</title><link>https://r.example/</link></channel>
        <item rdf:about="https://r.example/1"><title>One</title><link>https://r.example/1</link>
        <description>Text</description><dc:date>2026-11-19</dc:date></item></rdf:RDF>"""
    )
    (entry,) = feed.entries
    assert entry.url == "https://r.example/1"
    assert entry.published_at == datetime(2026, 11, 19, tzinfo=UTC)


def test_syndication_module_tells_the_interval() -> None:
    head = "<sy:updatePeriod>hourly</sy:updatePeriod><sy:updateFrequency>2</sy:updateFrequency>"
    assert parse(rss("<item><title>x</title></item>", head)).ttl_s == 1_800


def test_ids_survive_a_move_of_the_feed() -> None:
    body = rss("<item><guid>17</guid><title>x</title></item>").encode()
    here = parse_feed(body, url="http://a.example/f", now=NOW)
    there = parse_feed(body, url="https://b.example/g", now=NOW)
    assert here.entries[0].id == there.entries[0].id == "17"


def test_identity_falls_back_to_link_then_content() -> None:
    link, bare, again, other = parse(
        rss(
            "<item><link>https://n.example/a</link></item><item><title>A</title></item>"
            "<item><title>A</title></item><item><title>B</title></item>"
        )
    ).entries
    assert link.id == "https://n.example/a"
    assert bare.id == again.id != other.id and bare.id.startswith("hash:")


def test_impossible_dates_are_dropped_and_counted() -> None:
    ahead = (NOW + timedelta(minutes=10)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    near = (NOW + timedelta(minutes=4)).strftime("%a, %d %b %Y %H:%M:%S GMT")
    dates = [ahead, near, "Thu, 01 Jan 1970 00:00:00 GMT", "some day soon", ""]
    body = rss("".join(f"<item><title>{d}</title><pubDate>{d}</pubDate></item>" for d in dates))
    feed = parse(body)
    assert [entry.published_at is None for entry in feed.entries][:4] == [True, False, True, True]
    assert feed.notes["date.future"] == 1
    assert feed.notes["date.implausible"] == 1
    assert feed.notes["date.unreadable"] >= 1
    wide = parse(body, future_tolerance=timedelta(days=1))
    assert wide.entries[0].published_at is not None


@given(st.text(max_size=60) | st.datetimes().map(lambda d: d.isoformat()))
def test_any_text_is_a_utc_date_or_none(text: str) -> None:
    moment = parse_date(text)
    assert moment is None or moment.utcoffset() == timedelta(0)


@pytest.mark.parametrize(
    ("text", "iso"),
    [
        ("2026-11-20T10:00:00+0200", "2026-11-20T08:00:00+00:00"),
        ("2026-11-20T10:00:00.123456789Z", "2026-11-20T10:00:00.123456+00:00"),
        ("2026-11-20 10:00:00 UTC", "2026-11-20T10:00:00+00:00"),
        ("2026-11-20", "2026-11-20T00:00:00+00:00"),
        ("20 Nov 2026 10:00 EST", "2026-11-20T15:00:00+00:00"),
    ],
)
def test_dates(text: str, iso: str) -> None:
    moment = parse_date(text)
    assert moment is not None and moment.isoformat() == iso


# -- encodings ---------------------------------------------------------------------
@pytest.mark.parametrize(
    ("encoding", "declared", "content_type", "notes"),
    [
        ("utf-8", "utf-8", "application/xml", {}),
        ("utf-16", "utf-16", "application/xml", {}),
        ("windows-1252", "iso-8859-1", "application/xml", {}),
        ("koi8-r", "koi8-r", "", {}),
        ("shift_jis", "shift_jis", "text/xml", None),
        ("windows-1252", "utf-8", "application/xml", {"encoding.wrong": 1}),
        ("utf-8", "us-ascii", "application/xml; charset=us-ascii", None),
    ],
)
def test_encodings(
    encoding: str, declared: str, content_type: str, notes: dict[str, int] | None
) -> None:
    word = {"koi8-r": "пожар", "shift_jis": "火事"}.get(encoding, "Bürger")
    body = rss(f"<item><title>{word}</title></item>").replace(
        '<?xml version="1.0"?>', f'<?xml version="1.0" encoding="{declared}"?>'
    )
    feed = parse(body.encode(encoding), content_type=content_type)
    assert feed.entries[0].title == word
    assert notes is None or feed.notes == notes


def test_a_malformed_feed_gives_what_it_has() -> None:
    feed = parse(RICH[: RICH.index("</channel>")] + "<item><title>a &nosuch; <<")
    assert feed.entries[0].id == "id-1"
    assert feed.notes["xml.malformed"] == 1


# -- what is no feed, and what means harm -------------------------------------------
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"   ",
        b"hello",
        b"<!doctype html><title>Sign in</title><p>Accept the terms",
        b"\xef\xbb\xbf<html><body><item><title>x</title></item>",
        b"{}",
        b"[]",
        b'{"items": {}}',
        b"{" * 100_000,
        b"[" * 100_000,
        b'{"items":' + b"9" * 10_000 + b"}",
        b"%PDF-1.7",
        bytes(range(256)) * 10,
        b"\xff\xfe\x00",
        b"<?xml version='1.0'?>",
    ],
)
def test_what_is_no_feed(body: bytes) -> None:
    with pytest.raises(ContentError) as caught:
        parse(body)
    assert caught.value.code == "feed.unreadable"
    assert URL in str(caught.value) and caught.value.hint


def in_item(field: str, value: str) -> str:
    return rss(f"<item><title>t</title><{field}>{value}</{field}></item>")


HOSTILE = {
    "nesting": "<rss><channel><item>" + "<a>" * 300_000,
    "elements": rss("<item>" + "<a/>" * 150_000 + "</item>"),
    "entries": rss("<item/>" * 100_000),
    "attributes": "<rss " + " ".join(f"a{i}='b'" for i in range(100_000)) + "><channel/></rss>",
    "namespaces": "<rss " + " ".join(f"xmlns:a{i}='b{i}'" for i in range(20_000)) + "/>",
    "newlines": "\n" * 1_000_000 + "<rss>",
    "entities": "\n<!ENTITY a 'b'>" * 60_000 + "<rss>",
    "author": in_item("author", "a." * 500_000),
    "author references": in_item("author", "&#97;." * 200_000),
    "category": rss("<item>" + "<category>c</category>" * 30_000 + "</item>"),
    "tags": in_item("tags", "a,b" * 200_000),
    "date": in_item("pubDate", "Mon, " * 200_000),
    "comments": in_item("description", "&lt;!--" * 100_000),
    "open tags": in_item("description", "&lt;a " * 200_000),
    "marks": in_item("title", "a" + "\u0301\u0320" * 300_000),
    "ampersands": "<rss><channel><item><title>" + "&a" * 300_000,
    "punycode": "<?xml version='1.0' encoding='punycode'?><rss>-" + "zz" * 300_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_feeds_are_cheap(name: str) -> None:
    body = HOSTILE[name].encode()
    began = time.process_time()
    try:
        parse(body)
    except ContentError as error:
        assert error.code in ("feed.hostile", "feed.unreadable")
    assert time.process_time() - began < 4


def test_odd_codecs_are_refused_in_any_disguise() -> None:
    declaration = "<?xml version='1.0' encoding='idna'?><rss/>"
    for body in (declaration.encode(), declaration.encode("utf-16")):
        with pytest.raises(ContentError):
            parse(body)
    feed = parse(RICH, content_type="application/xml; charset=punycode")
    assert feed.entries[0].id == "id-1"


def test_a_feed_of_a_gigabyte_is_not_looked_at() -> None:
    with pytest.raises(ContentError) as caught:
        parse(b"<rss>" + bytes(10_000_001))
    assert caught.value.code == "feed.too_large"


def test_entities_neither_read_files_nor_explode(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("TOP SECRET")
    external = (
        f'<?xml version="1.0"?>\n<!DOCTYPE rss [\n<!ENTITY x SYSTEM "{secret.as_uri()}">\n]>\n'
        + rss("<item><title>a&x;b</title></item>").partition("?>")[2]
    )
    inline = external.replace("\n", " ")
    lol = "".join(
        f'<!ENTITY l{i} "{("&l" + str(i - 1) + ";") * 10 if i else "lol"}">\n' for i in range(12)
    )
    laughs = (
        f'<?xml version="1.0"?>\n<!DOCTYPE rss [\n{lol}]>\n'
        + rss("<item><title>&l11;</title></item>").partition("?>")[2]
    )
    for body in (external, inline, laughs, laughs.replace("\n", " ")):
        began = time.process_time()
        try:
            feed = parse(body)
        except ContentError:
            continue
        finally:
            assert time.process_time() - began < 2
        shown = json.dumps([entry.title + entry.text for entry in feed.entries])
        assert "SECRET" not in shown and "lollol" not in shown


def test_a_path_or_address_as_body_opens_nothing(tmp_path: Path) -> None:
    file = tmp_path / "feed.xml"
    file.write_text(RICH)
    for body in (str(file), file.as_uri(), "http://127.0.0.1:1/feed.xml"):
        with pytest.raises(ContentError):
            parse(body)


@settings(max_examples=150)
@given(st.data())
def test_any_damage_is_survived(data: st.DataObject) -> None:
    body = bytearray(RICH.encode())
    for _ in range(data.draw(st.integers(1, 12))):
        at = data.draw(st.integers(0, len(body) - 1))
        action = data.draw(st.sampled_from(["flip", "cut", "insert"]))
        if action == "flip":
            body[at] = data.draw(st.integers(0, 255))
        elif action == "cut":
            del body[at : at + data.draw(st.integers(1, 30))]
        else:
            body[at:at] = data.draw(st.binary(max_size=8))
        if not body:
            break
    try:
        feed = parse(bytes(body))
    except ContentError:
        return
    assert all(entry.id for entry in feed.entries)


# -- JSON Feed -----------------------------------------------------------------------
def json_feed(*items: Any, **head: Any) -> bytes:
    feed = {"version": "https://jsonfeed.org/version/1.1", "title": "J", "items": list(items)}
    return json.dumps(feed | head).encode()


def test_json_feed() -> None:
    feed = parse(
        json_feed(
            {
                "id": "1",
                "url": "/1",
                "title": "One &amp; only",
                "content_html": "<p>A</p><p>B</p>",
                "summary": "S",
                "date_published": "2026-11-20T10:00:00+01:00",
                "date_modified": "2026-11-20T11:00:00Z",
                "authors": [{"name": "Ann"}, {"name": "Bob"}],
                "tags": ["x", 7, "x"],
                "attachments": [{"url": "/a", "mime_type": "audio/mpeg", "size_in_bytes": 5}],
            },
            {"id": 2, "content_text": "plain <b>"},
            "not an item",
            {},
            home_page_url="https://news.example/",
            language="en-GB",
            hubs=[{"type": "WebSub", "url": "https://hub.example/"}],
        )
    )
    one, two = feed.entries
    assert (one.url, one.title, one.text) == ("https://news.example/1", "One &amp; only", "A\n\nB")
    assert one.author == "Ann, Bob" and one.extra["summary"] == "S"
    assert one.published_at == datetime(2026, 11, 20, 9, tzinfo=UTC)
    assert one.updated_at == datetime(2026, 11, 20, 11, tzinfo=UTC)
    assert one.enclosures[0].body_bytes == 5
    assert (two.id, two.text) == ("2", "plain <b>")
    assert (feed.lang, feed.hub, feed.skipped) == ("en", "https://hub.example/", 2)


@given(st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=5) | st.integers(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(
        st.sampled_from(["id", "url", "title", "content_html", "authors", "author", "name", "tags",
            "attachments", "size_in_bytes", "date_published", "language", "hubs"]),
        inner, max_size=4), max_leaves=12))  # fmt: skip
def test_json_values_of_any_type_are_survived(value: Any) -> None:
    parse(json_feed(value, value if isinstance(value, dict) else {"id": value}, authors=value))


def test_the_json_suite_never_breaks_the_reader(json_suite: Mapping[str, bytes]) -> None:
    looked = 0
    for name, body in json_suite.items():
        if "test_parsing/" not in name and "test_transform/" not in name:
            continue
        looked += 1
        for whole in (body, b'{"version":"x","items":[{"id":"1","title":' + body + b"}]}"):
            began = time.process_time()
            try:
                parse(whole)
            except ContentError as error:
                assert error.code in ("feed.unreadable", "feed.hostile"), name
            assert time.process_time() - began < 2, name
    assert looked >= 340
