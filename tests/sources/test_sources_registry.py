from __future__ import annotations

import gzip
import sys
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from pydantic import SecretStr

from gnomon.clock import SystemClock
from gnomon.errors import ConfigError, UpstreamTerminal
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.sources.base import reveal
from gnomon.sources.registry import Registry
from gnomon.testing.feed_server import FeedServer, Item, Reply
from gnomon.types import SourceConfig

NOW = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.installed()


def test_our_connectors_are_installed(registry: Registry) -> None:
    assert {"feed", "page", "replay"} <= set(registry.specs)
    assert not registry.broken


@pytest.fixture
def plugins(tmp_path: Path) -> Iterator[Path]:
    info = tmp_path / "bad_plugin-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: bad-plugin\nVersion: 1\n")
    (info / "entry_points.txt").write_text(
        "[gnomon.sources]\nexplodes = bad_plugin:SOURCE\nnonsense = json:loads\n"
    )
    (tmp_path / "bad_plugin.py").write_text("raise RuntimeError('no such camera')\n")
    sys.path.insert(0, str(tmp_path))
    yield tmp_path
    sys.path.remove(str(tmp_path))


def test_a_broken_plugin_is_reported_and_harms_nobody(plugins: Path) -> None:
    registry = Registry.installed()
    assert "no such camera" in registry.broken["explodes"]
    assert "no SourceSpec" in registry.broken["nonsense"]
    assert "feed" in registry.specs
    with pytest.raises(ConfigError, match="no such camera"):
        registry.get("explodes")


def test_unknown_connector_with_suggestion(registry: Registry) -> None:
    with pytest.raises(ConfigError, match="Did you mean 'feed'"):
        registry.get("feeds")


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"url": "https://e.org/f", "intervall_s": 5}, "Did you mean interval_s"),
        ({}, "Known settings: url"),
        ({"url": "https://e.org/f", "interval_s": -1}, "interval_s = -1"),
    ],
)
def test_wrong_settings_name_the_key(
    registry: Registry, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.settings(SourceConfig(name="f", type="feed", settings=settings))


@pytest.mark.parametrize(
    ("text", "type", "name"),
    [
        ("https://www.example.org/news.xml", "feed", "feed:www.example.org/news.xml"),
        ("http://example.org/feed/", "feed", "feed:example.org/feed"),
        ("example.org/blog/atom.xml", "feed", "feed:example.org/blog/atom.xml"),
        ("https://example.org/feed.json", "feed", "feed:example.org/feed.json"),
        ("https://Example.org/a?b=c", "page", "page:example.org/a?b=c"),
        ("https://user:secret@example.org/a", "page", "page:example.org/a"),
        ("example.org", "page", "page:example.org"),
        ("page:https://example.org/news.xml", "page", "page:example.org/news.xml"),
        ("feed:https://example.org/odd", "feed", "feed:example.org/odd"),
        ("feed://example.org/odd", "feed", "feed:example.org/odd"),
        ("http://127.0.0.1:8000/news", "page", "page:127.0.0.1:8000/news"),
        ("localhost:8000/rss", "feed", "feed:localhost:8000/rss"),
        ("north  bridge closed", "search", "search:north bridge closed"),
        ("search:zeppelin", "search", "search:zeppelin"),
        ("https://example.org/news-sitemap.xml", "sitemap", "sitemap:example.org/news-sitemap.xml"),
        ("sitemap:example.org", "sitemap", "sitemap:example.org"),
        ("gdelt", "gdelt", "gdelt"),
    ],
)
def test_what_was_pasted(registry: Registry, text: str, type: str, name: str) -> None:
    config = registry.identify(text)
    assert (config.type, config.name) == (type, name)
    assert registry.settings(config)


def test_a_file_is_replayed(registry: Registry, tmp_path: Path) -> None:
    path = tmp_path / "posts.jsonl"
    path.write_text('{"text": "x"}\n')
    config = registry.identify(str(path))
    assert (config.type, config.name) == ("replay", "replay:posts.jsonl")
    assert config.settings == {"path": str(path)}


@pytest.mark.parametrize(
    "text",
    ["", "  ", "hello", "ftp://example.org/x", "/no/such/file.jsonl", "http://", "a\0b",
     "https://exa mple.org", "https://[::1", "http://example.org:notaport/", "./x", "@someone",
     "javascript:alert(1)", "feed:", "replay:/no/such.jsonl", "x" * 5_000],
)  # fmt: skip
def test_nothing_we_know(registry: Registry, text: str) -> None:
    with pytest.raises(ConfigError):
        registry.identify(text)


@pytest.fixture
async def server() -> AsyncIterator[FeedServer]:
    async with FeedServer() as server:
        yield server


@pytest.fixture
async def door(server: FeedServer) -> AsyncIterator[Door]:
    door = Door(Net(allow=(server.host_port,), per_host_delay_s=0, timeout_s=2), SystemClock())
    yield door
    await door.aclose()


TEXT = "The ferry runs every hour from the old harbour to the island, also on public holidays."


async def test_probe_tells_feeds_from_pages(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    server.feed("/odd-name", title="The Tidings").post(Item(id="1", title="a", text="b"))
    server.page("/home", title="Home", text=TEXT, feeds=("/odd-name",))
    server.page("/plain", title="Plain", text=TEXT)

    async def probe(path: str) -> SourceConfig:
        return await registry.probe(server.url(path), fetcher=door, now=NOW)

    direct = await probe("/odd-name")
    assert (direct.type, direct.title) == ("feed", "The Tidings")
    found = await probe("/home")
    assert (found.type, found.settings["url"]) == ("feed", server.url("/odd-name"))
    plain = await probe("/plain")
    assert (plain.type, plain.settings["url"]) == ("page", server.url("/plain"))
    with pytest.raises(UpstreamTerminal, match="404"):
        await probe("/nothing")


async def test_probe_follows_a_move_and_obeys_a_prefix(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    server.feed("/new").post(Item(id="1", title="a", text="b"))
    server.misbehave("/old", "301 /new")
    moved = await registry.probe(server.url("/old"), fetcher=door, now=NOW)
    assert moved.settings["url"] == server.url("/new")
    asked = len(server.requests)
    forced = await registry.probe(f"page:{server.url('/new')}", fetcher=door, now=NOW)
    assert forced.type == "page" and len(server.requests) == asked


LIST = """<opml version="2.0"><body><outline text="One" xmlUrl="https://one.example/feed"/>
<outline text="Two" xmlUrl="/two.xml"/></body></opml>"""


async def test_survey_of_lists_sitemaps_and_home_pages(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    async def survey(path: str) -> list[tuple[str, object]]:
        found = await registry.survey(server.url(path), fetcher=door, now=NOW)
        return [(c.type, c.settings["url"]) for c in found.configs]

    def serve(path: str, body: bytes, media_type: str) -> None:
        server.route(path, lambda _: Reply(body=body, headers={"content-type": media_type}))

    serve("/my.opml", LIST.encode(), "text/x-opml")
    assert await survey("/my.opml") == [
        ("feed", "https://one.example/feed"),
        ("feed", server.url("/two.xml")),
    ]
    with pytest.raises(ConfigError, match="a list of 2 feeds"):
        await registry.probe(server.url("/my.opml"), fetcher=door, now=NOW)
    serve("/none.opml", b"<opml><body/></opml>", "text/xml")
    with pytest.raises(UpstreamTerminal, match="without feeds"):
        await survey("/none.opml")

    sitemap = b"<urlset><url><loc>https://x.example/</loc></url></urlset>"
    serve("/pages.xml", sitemap, "application/xml")
    serve("/pages.gz", gzip.compress(sitemap), "application/octet-stream")
    assert await survey("/pages.xml") == [("sitemap", server.url("/pages.xml"))]
    assert await survey("/pages.gz") == [("sitemap", server.url("/pages.gz"))]

    server.page("/", title="Home", text=TEXT)
    assert await survey("/") == [("page", server.url("/"))]
    server.feed("/atom.xml", title="Hidden").post(Item(id="1", title="a", text="b"))
    assert await survey("/") == [("feed", server.url("/atom.xml"))]
    server.feed("/real")
    server.feed("/comments/feed")
    server.page("/with-comments", title="x", text=TEXT, feeds=("/comments/feed", "/real"))
    assert await survey("/with-comments") == [("feed", server.url("/real"))]


@pytest.mark.parametrize(
    ("provider", "said"),
    [("brave", "Brave Search needs a key: set key to env:NAME"), ("searxng", "set url to it")],
)
def test_what_a_search_lacks_is_said_without_a_list_of_settings(
    registry: Registry, provider: str, said: str
) -> None:
    settings = {"query": "bridge", "provider": provider}
    with pytest.raises(ConfigError, match=said) as caught:
        registry.settings(SourceConfig(name="s", type="search", settings=settings))
    assert caught.value.hint == "See docs/reference/sources/search.md."


@pytest.mark.parametrize(
    ("type", "settings", "said"),
    [
        ("gdelt", {"theme": "X"}, r"g: there is no setting theme\. Did you mean themes\?"),
        ("usgs", {"magnitude": 9}, r"magnitude = 9 is not valid: .*'all'\. See docs/.*usgs\.md"),
    ],
)
def test_a_wrong_setting_and_a_wrong_value_are_told_apart(
    registry: Registry, type: str, settings: dict[str, object], said: str
) -> None:
    with pytest.raises(ConfigError, match=said):
        registry.settings(SourceConfig(name="g", type=type, settings=settings))


def test_an_empty_secret_names_the_next_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    (tmp_path / "empty").write_text(" ")
    (tmp_path / "odd").write_bytes(b"\xff")
    for reference, said in (
        ("env:NO_SUCH_KEY", "env:NO_SUCH_KEY is empty. Set that variable where"),
        (f"file:{tmp_path}/empty", "is empty. Write the secret into that file"),
        (f"file:{tmp_path}/none", "cannot be read: No such file or directory. Correct the path"),
        (f"file:{tmp_path}/odd", "holds no text"),
    ):
        with pytest.raises(ConfigError) as caught:
            reveal(SecretStr(reference))
        assert said in str(caught.value)


async def test_a_list_by_its_address_tells_what_it_holds_besides(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    odd = b'<outline text="Odd" xmlUrl="gopher://three.example/"/>'
    server.route(
        "/some.opml", lambda _: Reply(body=LIST.encode().replace(b"<body>", b"<body>" + odd))
    )
    found = await registry.survey(server.url("/some.opml"), fetcher=door, now=NOW)
    assert len(found.configs) == 2
    assert [(s.entry, s.reason) for s in found.skipped] == [
        ("Odd (gopher://three.example/)", "its xmlUrl is no web address")
    ]
    server.route("/odd.opml", lambda _: Reply(body=b"<opml><body>" + odd + b"</body></opml>"))
    with pytest.raises(UpstreamTerminal, match=r"without feeds\. Odd .* is no web address\."):
        await registry.survey(server.url("/odd.opml"), fetcher=door, now=NOW)


async def test_the_address_of_a_repository_means_its_releases_whatever_its_page_announces(
    registry: Registry, door: Door
) -> None:
    address = "https://github.com/astral-sh/ruff"
    (found,) = (await registry.survey(address, fetcher=door, now=NOW)).configs
    assert found.name == "github:astral-sh/ruff"
    assert found.settings["url"] == f"{address}/releases.atom"


async def test_an_error_says_what_was_tried(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    picture = Reply(body=b"\x89PNG\r\n\0", headers={"content-type": "image/png"})
    server.route("/a.png", lambda _: picture)
    with pytest.raises(UpstreamTerminal) as caught:
        await registry.probe(server.url("/a.png"), fetcher=door, now=NOW)
    for word in ("no feed", "no OPML list", "no sitemap", "it is image/png"):
        assert word in str(caught.value)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("htp://example.org/feed", r"https://example\.org/feed"),
        ("/no/such/list.opml", "no such file"),
        ("@ann", r"bluesky:ann\.bsky\.social, @ann@mastodon\.social for Mastodon, x:@ann for X"),
        ("githb:owner/repository", "did you mean github:owner/repository"),
        ("mastodon", r"@name@mastodon\.social .*--type mastodon .*sources/mastodon\.md"),
        ("nostr", "--type nostr --set KEY=VALUE"),
        ("strange:thing", "there are arxiv, bluesky"),
        ("bridge", "gnomon sources add 'search:bridge'"),
        ("edgar:AAPL", r"CIK0000320193.*docs/reference/sources/edgar\.md"),
        ("@", "Give a full address"),
    ],
)
def test_an_error_says_what_may_be_meant(registry: Registry, text: str, meant: str) -> None:
    with pytest.raises(ConfigError, match=meant) as caught:
        registry.identify(text)
    assert caught.value.code == "source.unidentified"


def test_every_example_is_understood(registry: Registry, tmp_path: Path) -> None:
    posts = tmp_path / "posts.jsonl"
    posts.write_text("")
    for spec in registry.specs.values():
        assert spec.examples, spec.name
        for example in spec.examples:
            text = example.replace("/path/to/posts.jsonl", str(posts))
            text = text.replace("npub1…", "npub1" + "q" * 58)
            try:
                registry.identify(text)
            except ConfigError as error:
                assert spec.name == "nostr", error  # its check sum is wrong


async def test_of_the_feeds_that_a_page_announces_one_that_answers_is_followed(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    def page(text: str, *feeds: str) -> Reply:
        links = "".join(
            f"<link rel=alternate type='application/rss+xml' href='{feed}'>" for feed in feeds
        )
        html = f"<title>Herald</title>{links}<p>{text}</p>"
        return Reply(body=html.encode(), headers={"content-type": "text/html"})

    server.feed("/news.xml", title="News").post(Item(id="1", title="One", text="Of one."))
    server.route("/both", lambda _: page("Home", "/gone.xml", "/news.xml"))
    server.route("/dead", lambda _: page("It is open. " * 20, "/gone.xml"))
    server.route("/bare", lambda _: page("", "/gone.xml"))
    found = await registry.probe(server.url("/both"), fetcher=door, now=NOW)
    assert found.settings["url"] == server.url("/news.xml")
    assert (await registry.probe(server.url("/dead"), fetcher=door, now=NOW)).type == "page"
    with pytest.raises(UpstreamTerminal, match="no feed that answers, and holds no readable text"):
        await registry.probe(server.url("/bare"), fetcher=door, now=NOW)


async def test_who_adds_a_source_is_not_told_that_it_is_tried_again(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    server.feed("/news.xml")
    server.misbehave("/news.xml", "drop")
    with pytest.raises(UpstreamTerminal) as caught:
        await registry.probe(server.url("/news.xml"), fetcher=door, now=NOW)
    assert caught.value.code.startswith("net.") and "Nothing is followed yet" in caught.value.hint


async def test_a_feed_without_an_end_is_refused(
    registry: Registry, server: FeedServer, door: Door
) -> None:
    server.feed("/endless.xml")
    server.misbehave("/endless.xml", "huge")
    with pytest.raises(
        UpstreamTerminal, match=r"endless\.xml cannot be followed\. The body is larger"
    ):
        await registry.probe(server.url("/endless.xml"), fetcher=door, now=NOW)


@pytest.mark.parametrize("type", ["feed", "page", "sitemap"])
def test_an_address_in_the_settings_is_whole(registry: Registry, type: str) -> None:
    for url in ("xyz", "example.org/feed", "ftp://example.org/", "https://"):
        with pytest.raises(ConfigError, match="no http or https address"):
            registry.settings(SourceConfig(name="a", type=type, settings={"url": url}))
    with pytest.raises(ConfigError, match="the setting url is missing"):
        registry.settings(SourceConfig(name="a", type=type))
