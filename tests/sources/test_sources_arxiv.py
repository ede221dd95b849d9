"""arXiv: daily feeds, versions, withdrawals, missed days by the API; killed anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise
from typing import Any

import feedparser
import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.clock import ManualClock
from gnomon.errors import ContentError
from gnomon.sources import arxiv
from gnomon.sources.arxiv_papers import is_withdrawn, read_announced, read_found
from gnomon.testing.arxiv_server import API, ArxivServer, feed_path
from gnomon.testing.check_source import START, Stage, check_source
from gnomon.testing.doors import door_to
from gnomon.types import SourceConfig

CL = feed_path("cs.CL")
DAY = timedelta(days=1)


class Scene:
    """A server, and what a record must hold of it."""

    def __init__(self, server: ArxivServer, clock: ManualClock) -> None:
        self.server = server
        self.clock = clock
        self.expected: dict[str, list[str | None]] = {}

    def submit(self, id: str, text: str, *, wanted: bool = True, **more: Any) -> None:
        self.server.submit(id, title=f"On {id}", abstract=text, **more)
        if wanted:
            self.expected[f"arxiv:{id}"] = [text]

    def replace(self, id: str, text: str) -> None:
        self.server.replace(id, abstract=text)
        self.expected[f"arxiv:{id}"].append(text)

    def withdraw(self, id: str, *, in_comment: bool = False) -> None:
        self.server.withdraw(id, in_comment=in_comment)
        self.expected[f"arxiv:{id}"].append(None)


Play = Callable[[Scene], Sequence[Callable[[], object]]]


def staged(
    play: Play, categories: Sequence[str] = ("cs.CL",), *, stalls: bool = False, **settings: Any
) -> Any:
    """A stage from a play, which sets the scene and returns what happens then."""

    @asynccontextmanager
    async def stage() -> AsyncIterator[Stage]:
        clock = ManualClock(START)
        async with (
            ArxivServer(clock=clock, categories=categories) as server,
            door_to(server.host_port, stalls=stalls) as door,
        ):
            scene = Scene(server, clock)
            script = play(scene)
            told = {
                "categories": list(categories), "rss_url": server.url("/rss"),
                "api_url": server.url(API), "api_interval_s": 0, "interval_s": 43_200, **settings,
            }  # fmt: skip
            yield Stage(
                config=SourceConfig(name="a", type="arxiv", settings=told), fetcher=door,
                script=script, expected=lambda: scene.expected, set_time=clock.set,
                ordered=False,
            )  # fmt: skip

    return stage


def days(*faults: tuple[str, str]) -> Any:
    def play(scene: Scene) -> Sequence[Callable[[], object]]:
        server = scene.server
        # Announced before the first look, and known to the API alone.
        scene.submit("2602.00001", "Of old.", wanted=False, at=START - 9 * DAY)
        scene.submit("2602.09001", "Of Friday.", at=START - DAY)
        server.announce()
        for n in range(3):
            scene.submit(f"2603.0000{n}", f"We show {n} & <more>, at x < y.")
        scene.submit("2603.00009", "Told elsewhere.", wanted=False, categories=("hep-th",))
        scene.submit("2603.00008", "Of both.", categories=("math.CO", "cs.CL"))
        server.announce()
        script: list[Callable[[], object]] = [
            lambda: (scene.submit("2603.00100", "Tuesday's."), server.announce()),
            lambda: (scene.replace("2603.00001", "We show it better."), server.announce()),
            lambda: (scene.withdraw("2603.00002"), server.announce()),
            lambda: server.announce(),
            lambda: (scene.withdraw("2603.00000", in_comment=True), server.announce()),
            lambda: (scene.replace("2603.00002", "Back again, corrected."), server.announce()),
            lambda: (scene.replace("2603.00008", "Of both, better."), server.announce()),
            lambda: None,
        ]
        for i, (path, fault) in enumerate(faults):
            script.insert(2 * i, lambda path=path, fault=fault: server.misbehave(path, fault))
        return script

    return staged(play, stalls="stall" in dict(faults).values())


async def test_killed_anywhere() -> None:
    ledgers = await check_source(arxiv.SOURCE, days(), rounds=12)
    assert sum(ledger.kills for ledger in ledgers) > 5
    assert not any(ledger.gaps for ledger in ledgers)
    papers = ledgers[0].documents
    first = papers["arxiv:2603.00100"]
    assert (first.kind, first.title, first.lang) == ("paper", "On 2603.00100", "en")
    assert first.author == "Ada Lovelace, Alan M. Turing"
    assert first.extra["authors"] == ["Ada Lovelace", "Alan M. Turing"]
    assert first.extra["categories"] == ["cs.CL"]
    assert first.extra["announced_as"] == "new"  # by the feed, not by the API days later
    assert first.url == "https://arxiv.org/abs/2603.00100"
    assert first.published_at is not None and first.updated_at is None
    second = papers["arxiv:2603.00001"]
    assert second.extra["version"] == 2
    assert second.published_at is not None and second.updated_at is not None
    assert second.published_at < second.updated_at
    assert papers["arxiv:2603.00008"].extra["categories"] == ["math.CO", "cs.CL"]


@pytest.mark.parametrize("path", [CL, API])
@pytest.mark.parametrize("fault", ["drop", "stall", "truncated", "503 0", "429 0"])
async def test_raises_and_recovers(path: str, fault: str) -> None:
    (ledger,) = await check_source(arxiv.SOURCE, days((path, fault)), rounds=1)
    assert any(code.startswith("net.") for code in ledger.errors), ledger.errors


@pytest.mark.parametrize("path", [CL, API])
@pytest.mark.parametrize("fault", ["html", "broken_xml", "wrong_encoding"])
async def test_what_is_no_feed_is_asked_for_again(path: str, fault: str) -> None:
    (ledger,) = await check_source(arxiv.SOURCE, days((path, fault)), rounds=1)
    skipped = ledger.skipped
    assert skipped["arxiv.unreadable"] + skipped["feed.unreadable"] == 1


def away(weeks: int, papers: int, **settings: Any) -> Any:
    def play(scene: Scene) -> Sequence[Callable[[], object]]:
        scene.submit("2603.00000", "Of the first day.")
        scene.server.announce()

        def time_passes() -> None:
            for n in range(papers):
                at = START + (n + 1) * timedelta(weeks=weeks) / (papers + 1)
                scene.submit(f"2604.{n:05}", f"Result {n}.", at=at)
                if n % 50 == 49:
                    scene.server.announce()
            scene.server.announce()

        return [time_passes]

    return staged(play, interval_s=weeks * 7 * 86_400, **settings)


async def test_missed_days_are_made_up_for() -> None:
    for ledger in await check_source(arxiv.SOURCE, away(1, 230), rounds=4):
        assert not ledger.gaps
        assert len(ledger.versions) == 231


async def test_a_page_that_came_too_short_is_asked_for_again() -> None:
    def play(scene: Scene) -> Sequence[Callable[[], object]]:
        scene.submit("2602.09001", "Of Friday.", at=START - DAY)
        scene.server.announce()
        scene.server.announce()
        scene.server.short_pages(2)
        return []

    (ledger,) = await check_source(arxiv.SOURCE, staged(play), rounds=1)
    assert ledger.errors["arxiv.short_page"] == 2


async def test_more_than_the_api_is_paged_back_is_a_gap() -> None:
    for ledger in await check_source(arxiv.SOURCE, away(4, 300, max_pages=1), rounds=4):
        (gap,) = ledger.gaps
        assert gap.start is not None and gap.end is not None
        assert gap.start < START + DAY
        # What was read back is held, all of it.
        held = [f"arxiv:2604.{n:05}" for n in range(100, 300)]
        assert set(held) <= set(ledger.versions)
        oldest = ledger.documents[held[0]].published_at
        assert oldest == gap.end


async def test_one_paper_in_two_categories_is_one_document() -> None:
    def play(scene: Scene) -> Sequence[Callable[[], object]]:
        scene.submit("2603.00001", "Of both.", categories=("cs.CL", "cs.LG"))
        scene.submit("2603.00002", "Of the other.", categories=("cs.LG",))
        scene.server.announce()
        return [lambda: (scene.replace("2603.00001", "Better."), scene.server.announce())]

    await check_source(arxiv.SOURCE, staged(play, ("cs.CL", "cs.LG")), rounds=6)


async def test_the_api_is_asked_once_in_three_seconds() -> None:
    asked: list[float] = []

    def play(scene: Scene) -> Sequence[Callable[[], object]]:
        for n in range(450):
            scene.submit(f"2602.{n:05}", f"Result {n}.", at=START - DAY)
        scene.server.announce()
        answer = scene.server._query

        def query(request: Any) -> Any:
            asked.append((scene.clock.now() - START).total_seconds())
            return answer(request)

        scene.server.route(API, query)
        return []

    await check_source(arxiv.SOURCE, staged(play, api_interval_s=3), rounds=1)
    assert len(asked) == 3
    assert all(later - earlier >= 3 for earlier, later in pairwise(asked))


async def test_another_reader_reads_the_stand_in_alike() -> None:
    """feedparser, and the shape that arXiv's user manual shows."""
    clock = ManualClock(START)
    async with ArxivServer(clock=clock) as server, httpx2.AsyncClient() as client:
        server.submit("2603.00001", title="A & B", abstract="We show x < y.")
        server.announce()
        server.replace("2603.00001", comment="12 pages")
        server.announce()
        body = (await client.get(server.url(CL))).content
        feed = feedparser.parse(body)
        assert not feed.bozo
        assert feed.version == "rss20"
        (item,) = feed.entries
        assert item.id == "oai:arXiv.org:2603.00001v2"
        assert item.link == "https://arxiv.org/abs/2603.00001"
        assert item.arxiv_announce_type == "replace"
        assert item.summary.endswith("Abstract: We show x < y.")
        assert [tag.term for tag in item.tags] == ["cs.CL"]
        (ours,) = read_announced(body, server.url(CL), START + DAY)
        assert ours.abstract == "We show x < y."
        assert (ours.id, ours.version, ours.title) == ("2603.00001", 2, item.title)
        assert not ours.whole
        assert list(ours.authors) == item.author.split(", ")
        address = server.url(f"{API}?id_list=2603.00001&max_results=1")
        body = (await client.get(address)).content
        feed = feedparser.parse(body)
        assert not feed.bozo
        assert feed.feed.opensearch_totalresults == "1"
        (entry,) = feed.entries
        assert entry.id == "http://arxiv.org/abs/2603.00001v2"
        assert entry.arxiv_comment == "12 pages"
        (found,), total = read_found(body, address, START + DAY)
        assert total == 1
        assert [author.name for author in entry.authors] == list(found.authors)
        assert (found.title, found.abstract) == (entry.title, entry.summary.strip())
        assert found.extra == {"comment": entry.arxiv_comment}
        assert found.published_at == datetime.fromisoformat(entry.published)


@pytest.mark.parametrize(
    ("abstract", "comment", "withdrawn"),
    [
        ("This paper has been withdrawn by the author.", "", True),
        ("This submission has been withdrawn by arXiv administrators.", "", True),
        ("This paper has been temporarily withdrawn.", "", True),
        ("We show it.", "This paper has been withdrawn due to an error in Lemma 2", True),
        ("We show it.", "12 pages; this article is withdrawn by the authors", True),
        ("We show it.", "Withdrawn", True),
        ("The drug has been withdrawn from the market. We ask why.", "", False),
        ("We study papers. Some have been withdrawn.", "12 pages, not withdrawn", False),
        ("Work on troops that were withdrawn is reviewed.", "", False),
    ],
)
def test_withdrawn(abstract: str, comment: str, withdrawn: bool) -> None:
    assert is_withdrawn(abstract, comment) is withdrawn


@given(st.binary(max_size=120) | st.text(max_size=80).map(lambda t: f"<feed>{t}</feed>".encode()))
def test_any_answer_is_read_or_refused(body: bytes) -> None:
    for read in (read_announced, read_found):
        try:
            read(body, "https://x.example", START)
        except ContentError as error:
            assert error.code in ("arxiv.unreadable", "feed.unreadable", "feed.hostile")


@given(st.text(max_size=200))
def test_any_cursor_is_understood_or_begun_anew(cursor: str) -> None:
    memory = arxiv._Memory.read(cursor) or arxiv._Memory()
    assert arxiv._Memory.read(memory.cursor()) == memory


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("arxiv", "arxiv"),
        ("arxiv:cs.CL", "arxiv:cs.CL"),
        ("arXiv:cs.CL+hep-th", "arxiv:cs.CL+hep-th"),
        ("https://arxiv.org/list/cs.CL/recent", "arxiv:cs.CL"),
        ("arxiv.org/list/cond-mat.mes-hall/new", "arxiv:cond-mat.mes-hall"),
        ("https://rss.arxiv.org/rss/q-bio.PE", "arxiv:q-bio.PE"),
        ("https://arxiv.org/abs/2402.19450", ""),
        ("https://arxiv.org/", ""),
        ("arxiv:2402.19450", ""),
        ("physics", ""),
    ],
)
def test_identify(text: str, name: str) -> None:
    found = arxiv.identify(text)
    assert (found.name if found else "") == name
    if found:
        arxiv.ArxivSettings.model_validate(dict(found.settings))
