"""A source's budget a day, and a publisher's wishes, through the whole house."""

from __future__ import annotations

from typing import Any

from gnomon.index.base import Query
from gnomon.testing.feed_server import FeedServer, Item, Reply, Request
from gnomon.types import SourceConfig

TEXT = "The harbour opened again on Monday after three weeks of repairs. " * 12


async def test_a_spent_budget_pauses_one_source_and_says_so(house: Any, eventually: Any) -> None:
    async with FeedServer() as server:
        for path in ("/a", "/b"):
            server.feed(path).post(Item(id="1", title="Harbour", text="The harbour is open."))
        async with house(allow=(server.host_port,)) as h:
            frugal = {"url": server.url("/a"), "max_requests_per_day": 1}
            await h.runner.add(SourceConfig(name="a", type="feed", settings=frugal))
            usual = {"url": server.url("/b")}
            await h.runner.add(SourceConfig(name="b", type="feed", settings=usual))
            await eventually(lambda: h.state("a").documents == h.state("b").documents == 1)
            for name in ("a", "b"):
                h.runner.poll_now(name)
            await eventually(lambda: len(server.asked("/b")) == 2)
            await eventually(lambda: "spent its 1 requests" in h.state("a").text)
            # Pausing does not give a new day.
            await h.runner.pause("a")
            await h.runner.resume("a")
            await eventually(lambda: "spent its 1 requests" in h.state("a").text)
            assert len(server.asked("/a")) == 1


async def test_a_page_that_refuses_search_is_kept_but_not_found(
    house: Any, eventually: Any
) -> None:
    def page(request: Request) -> Reply:
        body = f"<html><title>Harbour</title><article><p>{TEXT}</p></article></html>"
        wishes = {"content-type": "text/html", "content-usage": "search=n, train-ai=n"}
        return Reply(body=body.encode(), headers=wishes)

    async with FeedServer() as server:
        server.route("/page", page)
        async with house(allow=(server.host_port,)) as h:
            settings = {"url": server.url("/page")}
            await h.runner.add(SourceConfig(name="page", type="page", settings=settings))
            await eventually(lambda: h.state("page").documents == 1)
            await eventually(lambda: h.runner.index_lag_s == 0)
            (entry,) = [e for e in h.record.entries(0, source="page") if e.document is not None]
            assert not entry.document.policy.index and not entry.document.policy.train
            assert entry.document.policy.display
            assert not h.index.search(Query(text="harbour", limit=5)).hits
