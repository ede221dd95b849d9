"""A small house of fakes that speak the protocols of `gnomon.serve.services`."""

from __future__ import annotations

import asyncio
import gzip
import json
import os
import random
import re
from collections.abc import AsyncGenerator, AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from jsonschema import Draft202012Validator
from jsonschema.exceptions import best_match
from referencing import Registry, Resource
from referencing.jsonschema import DRAFT202012

from gnomon.answer.base import (
    AnswerEvent,
    Finished,
    Plan,
    Planned,
    Question,
    Retrieved,
    Written,
)
from gnomon.answer.diff import Differ
from gnomon.answer.threads import Threads
from gnomon.answer.watches import Watching, WatchStore
from gnomon.clock import ManualClock, RandomIds, to_us
from gnomon.errors import ConfigError
from gnomon.index.base import Hit, IndexStats, Query, Results
from gnomon.models.base import ModelState
from gnomon.record.base import Entry, Found, Life, Op, Stats
from gnomon.serve.app import create_app
from gnomon.serve.services import Services
from gnomon.settings import Server, Settings
from gnomon.types import (
    Answer,
    Citation,
    Document,
    Freshness,
    Policy,
    Sentence,
    SourceConfig,
    SourceState,
    Usage,
    Verdict,
    VerdictKind,
)

NOW = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)
BRIDGE = "The north bridge is closed. Repairs began at noon <b>today</b>, the mayor said."


def document(key: str, text: str, *, version: int = 1, seq: int = 1, **more: Any) -> Document:
    given = {
        "source": "feed:www.example.org",
        "kind": "article",
        "title": "North bridge closed",
        "url": "https://www.example.org/bridge",
        "published_at": NOW - timedelta(minutes=20),
        "observed_at": NOW - timedelta(minutes=19),
    }
    return Document(key=key, text=text, version=version, seq=seq, **(given | more))


@dataclass
class FakeRecord:
    documents: list[Document]
    purged: dict[str, tuple[datetime, str]] = field(default_factory=dict)
    configs: dict[str, SourceConfig] = field(default_factory=dict)

    def last_seq(self) -> int:
        return max((d.seq for d in self.documents), default=0)

    def get(self, key: str, as_of: datetime | None = None) -> Found:
        if key in self.purged:
            since, reason = self.purged[key]
            return Found(life=Life.PURGED, since=since, reason=reason)
        seen = [
            d
            for d in self.documents
            if d.key == key and (as_of is None or (d.observed_at or NOW) <= as_of)
        ]
        if not seen:
            return Found(life=Life.UNKNOWN)
        return Found(life=Life.ALIVE, document=seen[-1], since=seen[-1].observed_at)

    def version(self, key: str, version: int) -> Found:
        for d in self.documents:
            if d.key == key and d.version == version and key not in self.purged:
                return Found(life=Life.ALIVE, document=d, since=d.observed_at)
        return self.get(key) if key in self.purged else Found(life=Life.UNKNOWN)

    def versions(self, key: str) -> list[Document]:
        return [d for d in self.documents if d.key == key]

    def by_seq(self, seqs: Sequence[int]) -> list[Document | None]:
        found = {d.seq: d for d in self.documents}
        return [found.get(s) for s in seqs]

    def stats(self) -> Stats:
        n = len(self.documents)
        return Stats(documents=n, versions=n, purged=0, gaps=0, last_seq=n, body_bytes=4096)

    def sources(self) -> list[SourceConfig]:
        return list(self.configs.values())


@dataclass
class FakeIndex:
    record: FakeRecord
    queries: list[Query] = field(default_factory=list)
    applied_seq: int = 2

    def search(self, query: Query) -> Results:
        self.queries.append(query)
        words = [w.lower() for w in query.text.split()]
        hits = [
            Hit(seq=d.seq, key=d.key, score=1.0, time=d.published_at or NOW, copies=(98, 99))
            for d in self.record.documents
            if all(w in (d.title + d.text).lower() for w in words)
        ]
        return Results(hits=tuple(hits[: query.limit]), applied_seq=2, took_ms=0.5, vectors=False)

    def highlight(self, text: str, query: str) -> list[tuple[int, int]]:
        words = "|".join(re.escape(w) for w in query.split())
        return [m.span() for m in re.finditer(words, text, re.I)] if words else []

    def stats(self) -> IndexStats:
        return IndexStats(
            documents=2, versions=2, applied_seq=2, committed_seq=2, body_bytes=1, vectors=""
        )


@dataclass
class FakeRunner:
    record: FakeRecord
    paused: set[str] = field(default_factory=set)
    queue: asyncio.Queue[Entry] = field(default_factory=asyncio.Queue)
    subscribed: list[int] = field(default_factory=list)
    told_of_changes: int = 0
    left: asyncio.Event = field(default_factory=asyncio.Event)

    def states(self, as_of: datetime | None = None) -> list[SourceState]:
        return [
            SourceState(
                name=c.name,
                type=c.type,
                title=c.title,
                state="paused" if c.name in self.paused else "polling",
                text="Answers every 15 minutes.",
                last_seen_at=NOW - timedelta(seconds=40),
                last_document_at=NOW - timedelta(seconds=40),
                lag_s=3.5,
                documents=2,
            )
            for c in self.record.configs.values()
        ]

    async def add(self, config: SourceConfig) -> None:
        self.record.configs[config.name] = config

    async def remove(self, name: str) -> None:
        del self.record.configs[name]

    async def pause(self, name: str) -> None:
        self.paused.add(name)

    async def resume(self, name: str) -> None:
        self.paused.discard(name)

    def changed(self) -> None:
        self.told_of_changes += 1

    async def wait_indexed(self, seq: int, timeout_s: float) -> bool:
        return True

    async def subscribe(self, after_seq: int) -> AsyncIterator[Entry]:
        self.subscribed.append(after_seq)
        try:
            for d in self.record.documents:
                if d.seq > after_seq:
                    yield Entry(
                        seq=d.seq,
                        op=Op.PUT,
                        source=d.source,
                        key=d.key,
                        start_us=to_us(d.observed_at or NOW),
                        document=d,
                    )
            while True:
                yield await self.queue.get()
        finally:
            self.left.set()


CITED = Citation(
    number=1,
    key="feed:www.example.org/bridge",
    version=1,
    seq=1,
    start=0,
    end=27,
    quote="The north bridge is closed.",
    title="North bridge closed",
    url="https://www.example.org/bridge",
    source="feed:www.example.org",
    kind="article",
    published_at=NOW - timedelta(minutes=20),
    observed_at=NOW - timedelta(minutes=19),
    copies=6,
    copy_sources=("radio",),
)
FILED = Citation(
    number=2, key="file:notes.jsonl#7", version=3, seq=2, start=0, end=5, quote="Noon.",
    source="file:notes", title="Notes",
)  # fmt: skip


def sentence(
    text: str, *citations: int, kind: VerdictKind = VerdictKind.SUPPORTED, score: float = 0.97
) -> Sentence:
    reasons = () if kind is VerdictKind.SUPPORTED else ("“noon” is not in the quoted words",)
    return Sentence(
        text=text, citations=citations, verdict=Verdict(kind=kind, score=score, reasons=reasons)
    )


@dataclass
class FakeAnswerer:
    """Writes what `steps` says; `hold` stops before the second sentence until set."""

    sentences: list[tuple[Sentence, tuple[Citation, ...]]] = field(
        default_factory=lambda: [
            (sentence("The north bridge is closed.", 1), (CITED,)),
            (
                sentence("Repairs began at noon.", 2, 1, kind=VerdictKind.PARTLY, score=0.6),
                (FILED,),
            ),
        ]
    )
    closest: Citation | None = None
    follow_ups: tuple[str, ...] = ()
    hold: asyncio.Event | None = None
    failure: Exception | None = None
    asked: list[Question] = field(default_factory=list)
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        self.asked.append(question)
        freshness = Freshness(newest_at=CITED.published_at, newest_age_s=1200.0, searched=2)
        try:
            yield Planned(plan=Plan(search_text=question.text))
            yield Retrieved(citations=(CITED,), freshness=freshness, took_ms=2.0)
            for i, (written, citations) in enumerate(self.sentences):
                if i == 1:
                    self.waiting.set()
                    if self.failure is not None:
                        raise self.failure
                    if self.hold is not None:
                        await self.hold.wait()
                yield Written(sentence=written, citations=citations)
        except (asyncio.CancelledError, GeneratorExit):
            self.cancelled.set()
            raise
        used = [c for _, cs in self.sentences for c in cs]
        yield Finished(
            answer=Answer(
                id="ans_1",
                question=question.text,
                created_at=NOW,
                as_of=question.as_of,
                sentences=tuple(s for s, _ in self.sentences),
                citations=tuple(used),
                abstained=not self.sentences,
                closest=self.closest,
                follow_ups=self.follow_ups if question.follow_ups else (),
                freshness=freshness,
                notes=("No language model is installed.",),
                usage=Usage(input_tokens=0, output_tokens=12),
                timings_ms={"whole": 5.0},
            )
        )


@dataclass
class FakeHub:
    writer: Any = None
    sentences: Any = None
    tokens: Any = None

    def generator(self) -> Any:
        return self.writer

    def embedder(self) -> Any:
        return self.sentences

    def tokenizer(self) -> Any:
        return self.tokens

    def states(self) -> list[ModelState]:
        return [ModelState(name="writer", role="generator", state="missing", text="Not fetched.")]


@dataclass(frozen=True)
class FakeDemo:
    banner: str = "A simulated town. Nothing here is real."
    questions: tuple[str, ...] = ("Is the north bridge open?",)


async def identify(text: str) -> SourceConfig:
    if not text.startswith("http"):
        raise ConfigError(
            f"{text} is nothing that can be followed.", code="source.unknown", hint="Give a URL."
        )
    name = f"feed:{text.partition('://')[2]}"
    return SourceConfig(name=name, type="feed", settings={"url": text}, title="News")


@dataclass(repr=False)
class House:
    """The fakes, and the application over them."""

    services: Services
    record: FakeRecord
    index: FakeIndex
    runner: FakeRunner
    answerer: FakeAnswerer
    threads: Threads
    clock: ManualClock

    def configure(self, **server: Any) -> House:
        settings = Settings(server=Server(**server))
        return replace(self, services=replace(self.services, settings=settings))

    def client(self, **options: Any) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=create_app(self.services), raise_app_exceptions=False)
        return httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8420", **options)


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    record = FakeRecord(
        documents=[
            document("feed:www.example.org/bridge", BRIDGE, seq=1),
            document(
                "post:quiet",
                "What the terms withhold.",
                seq=2,
                title="Hush",
                url="javascript:alert(1)",
                policy=Policy(display=False, snippet=False),
            ),
        ],
        purged={"post:gone": (NOW - timedelta(hours=1), "The account was deleted.")},
        configs={"feed:www.example.org": SourceConfig(name="feed:www.example.org", type="feed")},
    )
    index = FakeIndex(record)
    runner = FakeRunner(record)
    answerer = FakeAnswerer()
    threads = Threads(tmp_path / "answers.db")
    clock = ManualClock(NOW)
    services = Services(
        record=record,  # type: ignore[arg-type]
        index=index,  # type: ignore[arg-type]
        runner=runner,
        answerer=answerer,
        threads=threads,
        models=FakeHub(),
        clock=clock,
        ids=RandomIds(random.Random(7)),
        settings=Settings(),
        identify=identify,
        version="0.1.0",
        demo=FakeDemo(),
    )
    store = WatchStore(tmp_path / "watches.db")
    differ = Differ(answerer, services.record, clock, services.ids)
    watching = Watching(store, differ, clock, services.ids, follow=_nothing, wait_indexed=_indexed)
    services = replace(services, watching=watching)
    yield House(services, record, index, runner, answerer, threads, clock)
    store.close()
    threads.close()


async def _nothing() -> AsyncGenerator[Entry]:
    return
    yield


async def _indexed(seq: int) -> bool:
    return True


@asynccontextmanager
async def _served(house: House) -> AsyncIterator[str]:
    config = uvicorn.Config(
        create_app(house.services), host="127.0.0.1", port=0, log_level="warning", lifespan="off"
    )
    server = uvicorn.Server(config)
    task = asyncio.create_task(server.serve())
    async with asyncio.timeout(10):
        while not server.started:  # noqa: ASYNC110 - uvicorn offers nothing to wait on
            await asyncio.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        async with asyncio.timeout(10):
            await task


@pytest.fixture
def served() -> Any:
    """`async with served(house) as url`: a real server on a free loopback port."""
    return _served


DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))
DOCUMENT = DATA / "openai" / "openapi.json.gz"


def _with_null(schema: dict[str, Any]) -> dict[str, Any]:
    """`nullable`, a word of OpenAPI 3.0 that the document still has, as JSON Schema says it."""
    if schema.get("nullable") is not True or not isinstance(schema.get("type"), str):
        return schema
    more = {"enum": [*schema["enum"], None]} if "enum" in schema else {}
    return {**schema, **more, "type": [schema["type"], "null"]}


class Schemas:
    """The document's schemas by name."""

    def __init__(self) -> None:
        self.document = json.loads(gzip.decompress(DOCUMENT.read_bytes()), object_hook=_with_null)
        resource = Resource.from_contents(self.document, default_specification=DRAFT202012)
        self._registry: Any = Registry().with_resource("urn:openai", resource)
        self._events = {
            kind: name
            for name in self._alternatives("ResponseStreamEvent")
            for kind in self.document["components"]["schemas"][name]["properties"]["type"]["enum"]
        }

    def _alternatives(self, name: str) -> Iterator[str]:
        for one in self.document["components"]["schemas"][name]["anyOf"]:
            yield one["$ref"].rpartition("/")[2]

    def check(self, name: str, value: Any) -> None:
        schema = {"$ref": f"urn:openai#/components/schemas/{name}"}
        errors = list(Draft202012Validator(schema, registry=self._registry).iter_errors(value))
        if errors:
            worst = best_match(errors)
            pytest.fail(f"{name}: {worst.json_path}: {worst.message}\n{json.dumps(value)[:2000]}")

    def check_event(self, event: dict[str, Any]) -> None:
        assert event["type"] in self._events, event["type"]
        self.check(self._events[event["type"]], event)


@pytest.fixture(scope="session")
def schemas() -> Schemas:
    """OpenAI's own document, to hold replies and events to."""
    if not DOCUMENT.is_file():
        pytest.skip("needs openai/openapi.json.gz in GNOMON_TEST_DATA")
    return Schemas()
