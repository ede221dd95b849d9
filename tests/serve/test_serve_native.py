from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from gnomon.answer.base import Question
from gnomon.answer.plan import plan
from gnomon.record.base import Entry, Op
from gnomon.serve.ask import newness
from gnomon.types import Document


def stream(body: str) -> list[tuple[str, Any]]:
    blocks = [b.split("\n") for b in body.strip().split("\n\n") if not b.startswith(":")]
    return [(b[0].removeprefix("event: "), json.loads(b[1].removeprefix("data: "))) for b in blocks]


async def test_ask_streams_every_step(house: Any) -> None:
    body = {"question": "Is it open?", "as_of": "1 hour ago", "domains": ["example.org"]}
    async with house.client() as http:
        r = await http.post("/v1/ask", json=body)
    found = stream(r.text)
    assert [n for n, _ in found] == ["planned", "retrieved", "sentence", "sentence", "finished"]
    assert "newness weighs" in found[0][1]["newness"]
    assert found[1][1]["freshness"]["searched"] == 2
    first = found[2][1]
    assert first["sentence"]["verdict"]["kind"] == "supported"
    assert first["citations"][0]["copies"] == 6
    assert first["citations"][0]["saved_url"].endswith("bridge?version=1&start=0&end=27")
    answer = found[-1][1]["answer"]
    assert answer["as_of"] == "2026-11-22T13:05:00Z"
    assert answer["text"].startswith("The north bridge is closed. [1]")
    assert house.answerer.asked[0].domains == ("example.org",)


async def test_ask_can_answer_whole_and_follow_on(house: Any) -> None:
    async with house.client() as http:
        first = await http.post("/v1/ask", json={"question": "Open?", "stream": False})
        body = {"question": "Since when?", "stream": False, "previous_id": first.json()["id"]}
        await http.post("/v1/ask", json=body)
        unknown = await http.post("/v1/ask", json=body | {"previous_id": "ask_none"})
    assert house.answerer.asked[1].history[0].question == "Open?"
    assert unknown.status_code == 400
    assert "beside `answer`" in unknown.json()["hint"]


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        ("What is happening right now?", "this very moment: newness weighs 80%"),
        ("Is the Mill Bridge open?", "how things stand: newness weighs 40%, and half as much at an "
         "age of 12 hours."),
        ("Who wrote Faust?", "does not change: newness weighs 5%, and half as much at an age of"),
    ],
)  # fmt: skip
def test_how_much_newness_counts_is_told(asked: str, told: str) -> None:
    made = plan(Question(text=asked), datetime(2026, 5, 4, tzinfo=UTC))
    assert told in newness(made)


async def test_words_of_time_are_meant_in_the_zone_of_the_asker(house: Any) -> None:
    body = {"question": "Open?", "stream": False, "time_zone": "America/New_York"}
    place = {"type": "approximate", "timezone": "Asia/Tokyo"}
    web = {"type": "web_search", "user_location": place}
    async with house.client() as http:
        await http.post("/v1/ask", json=body | {"as_of": "yesterday 09:00", "since": "2026-11-01"})
        utc = body | {"as_of": "yesterday 09:00 UTC"}
        await http.post("/v1/ask", json=utc)
        await http.post("/v1/responses", json={"model": "gnomon", "input": "Open?", "tools": [web]})
        options = {"user_location": {"type": "approximate", "approximate": place}}
        chat = {"model": "gnomon", "messages": [{"role": "user", "content": "Open?"}]}
        await http.post("/v1/chat/completions", json=chat | {"web_search_options": options})
        refused = [
            await http.post("/v1/ask", json=body | {"time_zone": "Mars/Base"}),
            await http.post("/v1/diff", json={"question": "Open?", "from": "1h", "time_zone": "x"}),
        ]
    local, stated, responded, completed = house.answerer.asked
    assert local.zone == "America/New_York"
    assert local.as_of.isoformat() == "2026-11-21T14:00:00+00:00"
    assert local.since.isoformat() == "2026-11-01T04:00:00+00:00"
    assert stated.as_of.isoformat() == "2026-11-21T09:00:00+00:00"
    assert responded.zone == completed.zone == "Asia/Tokyo"
    assert [r.status_code for r in refused] == [422, 422]
    assert "Mars/Base" in refused[0].text and "Europe/Berlin" in refused[0].text


async def test_unknown_fields_of_our_own_routes_are_errors(house: Any) -> None:
    async with house.client() as http:
        r = await http.post("/v1/ask", json={"question": "x?", "asof": "now"})
    assert r.status_code == 400 and r.json()["param"] == "asof"
    assert r.json()["detail"] == "There is no field asof here."


async def test_search_marks_what_matched_and_respects_terms(house: Any) -> None:
    async with house.client() as http:
        r = (await http.get("/v1/search", params={"q": "bridge", "limit": 5})).json()
        quiet = (await http.get("/v1/search", params={"q": "hush"})).json()["hits"][0]
    (hit,) = r["hits"]
    assert hit["copies"] == 3
    assert [hit["snippet"][a:b].lower() for a, b in hit["highlights"]] == ["bridge"]
    assert [hit["title"][a:b] for a, b in hit["title_highlights"]] == ["bridge"]
    assert hit["published_at"] == "2026-11-22T13:45:00Z"
    assert quiet["withheld"] and quiet["snippet"] == "" and quiet["url"] == ""


async def test_search_passes_every_filter_on(house: Any) -> None:
    params = {
        "q": "x",
        "limit": 3,
        "as_of": "2026-11-22T12:00:00+01:00",
        "since": "2026-11-01",
        "until": "2 days ago",
        "source": ["a", "b"],
        "kind": "post",
        "lang": "en",
        "author": "mayor",
        "domain": "example.org",
        "mode": "lexical",
        "newest": "true",
    }
    async with house.client() as http:
        assert (await http.get("/v1/search", params=params)).status_code == 200
        unescaped = "/v1/search?as_of=2026-11-22T12:00:00+01:00"
        assert (await http.get(unescaped)).status_code == 200
    q = house.index.queries[0]
    assert q.as_of.isoformat() == "2026-11-22T11:00:00+00:00"
    assert q.since.isoformat() == "2026-11-01T00:00:00+00:00"
    assert q.until.isoformat() == "2026-11-20T14:05:00+00:00"
    assert q.sources == ("a", "b") and q.kinds == ("post",) and q.langs == ("en",)
    assert q.authors == ("mayor",) and q.domains == ("example.org",)
    assert q.mode == "lexical" and q.newest_first and q.limit == 3
    assert house.index.queries[1].as_of == q.as_of


@pytest.mark.parametrize(
    ("params", "param"),
    [
        ({"limit": "0"}, "limit"),
        ({"limit": "1000"}, "limit"),
        ({"mode": "psychic"}, "mode"),
        ({"as_of": "2026-11-22 10:00"}, "as_of"),
        ({"as_of": "99999999999 days ago"}, "as_of"),
        ({"as_of": "999999 weeks ago"}, "as_of"),
        ({"since": "0001-01-01T00:00:00+14:00"}, "since"),
        ({"q": "x" * 2_001}, "q"),
    ],
)
async def test_bad_search_parameters_are_named(
    house: Any, params: dict[str, str], param: str
) -> None:
    async with house.client() as http:
        r = await http.get("/v1/search", params=params)
    assert r.status_code == 400
    assert r.headers["content-type"] == "application/problem+json"
    assert r.json()["param"] == param
    assert {"title", "status", "detail", "code", "request_id"} <= set(r.json())


async def test_a_long_document_is_cut_where_it_matches(house: Any) -> None:
    d: Document = house.record.documents[0]
    import msgspec

    text = "Nothing of note. " * 200 + "The ferry\nsails at nine. " + "Nothing of note. " * 50
    house.record.documents[0] = msgspec.structs.replace(d, text=text)
    async with house.client() as http:
        (hit,) = (await http.get("/v1/search", params={"q": "ferry nine"})).json()["hits"]
    assert "The ferry sails at nine." in hit["snippet"] and len(hit["snippet"]) < 300
    assert [hit["snippet"][a:b] for a, b in hit["highlights"]] == ["ferry", "nine"]


async def test_documents_open_as_they_were(house: Any) -> None:
    import msgspec

    old = house.record.documents[0]
    edit = msgspec.structs.replace(
        old, text="It is open again.", version=2, seq=3,
        observed_at=old.observed_at + timedelta(minutes=10),
    )  # fmt: skip
    house.record.documents.append(edit)
    path = "/v1/documents/feed:www.example.org/bridge"
    async with house.client() as http:
        now = (await http.get(path)).json()
        then = (await http.get(path, params={"as_of": "2026-11-22T13:50:00Z"})).json()
        first = (await http.get(path, params={"version": 1})).json()
        both = await http.get(path, params={"version": 1, "as_of": "1 hour ago"})
        never = await http.get(path, params={"as_of": "2 hours ago"})
    assert now["document"]["text"] == "It is open again." and len(now["versions"]) == 2
    assert then["document"]["text"].startswith("The north bridge is closed")
    assert [v["version"] for v in then["versions"]] == [1]
    assert first["document"]["version"] == 1
    assert "text" not in now["versions"][0]
    assert both.status_code == 400
    assert never.status_code == 404


async def test_purged_and_withheld_documents_show_nothing(house: Any) -> None:
    async with house.client() as http:
        gone = await http.get("/v1/documents/post:gone")
        page = await http.get("/saved/post:gone")
        quiet = (await http.get("/v1/documents/post:quiet")).json()
        quiet_page = await http.get("/saved/post:quiet")
        unknown = await http.get("/saved/post:unknown")
    assert gone.status_code == page.status_code == 410
    assert gone.json()["life"] == "purged" and "account was deleted" in gone.json()["detail"]
    assert "Purged" in page.text and "account was deleted" in page.text
    assert quiet["document"]["withheld"] and "text" not in quiet["document"]
    assert quiet["document"]["title"] == "" and quiet["document"]["url"] == ""
    assert "withhold" not in quiet_page.text and "javascript:" not in quiet_page.text
    assert unknown.status_code == 404


async def test_the_saved_copy_is_escaped_and_marks_the_quote(house: Any) -> None:
    path = "/saved/feed:www.example.org%2Fbridge"
    async with house.client() as http:
        r = await http.get(path, params={"version": 1, "start": 0, "end": 27})
        off = await http.get(path, params={"version": 1, "start": 9, "end": 99_999})
    assert '<mark id="quote">The north bridge is closed.</mark>' in r.text
    assert "&lt;b&gt;today&lt;/b&gt;" in r.text and "<b>" not in r.text
    assert 'rel="noopener noreferrer nofollow"' in r.text
    assert "<mark" not in off.text


async def test_sources_are_added_paused_resumed_and_removed(house: Any) -> None:
    async with house.client() as http:
        url = "https://news.example/a/b.xml?x=1"
        added = await http.post("/v1/sources", json={"url": url})
        assert added.status_code == 201
        name = added.json()["name"]
        assert added.json()["type"] == "feed" and name == "feed:news.example/a/b.xml?x=1"
        again = await http.post("/v1/sources", json={"text": url})
        assert again.status_code == 409 and again.json()["code"] == "source.exists"
        named = await http.post("/v1/sources", json={"text": url, "name": "mine"})
        assert named.json()["name"] == "mine"
        quoted = "/v1/sources/feed%3Anews.example%2Fa%2Fb.xml%3Fx%3D1"
        paused = await http.post(f"{quoted}/pause")
        assert paused.json()["state"] == "paused"
        resumed = await http.post(f"{quoted}/resume")
        assert resumed.json()["state"] == "polling"
        assert (await http.delete(quoted)).status_code == 204
        assert (await http.delete(quoted)).status_code == 404
        names = [s["name"] for s in (await http.get("/v1/sources")).json()["sources"]]
        assert names == ["feed:www.example.org", "mine"]
        bad = await http.post("/v1/sources", json={"text": "???"})
        assert bad.status_code == 400 and bad.json()["hint"] == "Give a URL."
        for body in ({}, {"url": " "}, {"url": url, "name": "a\nb"}, {"url": 3}):
            assert (await http.post("/v1/sources", json=body)).status_code == 400


async def test_a_source_can_be_named_by_its_connector_with_settings(house: Any) -> None:
    async with house.client() as http:
        body = {"type": "bluesky", "settings": {"langs": ["en"]}, "keep_days": 2, "title": "Sky"}
        added = await http.post("/v1/sources", json=body)
        assert added.status_code == 201
        assert (added.json()["name"], added.json()["title"]) == ("bluesky", "Sky")
        assert "settings" not in added.json()
        more = {"url": "https://news.example/f", "settings": {"interval_s": 60}}
        await http.post("/v1/sources", json=more)
    stored = {config.name: config for config in house.record.sources()}
    assert stored["bluesky"].settings == {"langs": ["en"]}
    assert stored["bluesky"].keep == timedelta(days=2)
    settings = {"url": "https://news.example/f", "interval_s": 60}
    assert stored["feed:news.example/f"].settings == settings


async def test_settings_of_a_source_are_changed_and_unset(house: Any) -> None:
    async with house.client() as http:
        path = "/v1/sources/feed%3Awww.example.org"
        changed = await http.patch(path, json={"settings": {"reliability": 0.4, "interval_s": 60}})
        assert changed.status_code == 200 and "settings" not in changed.json()
        await http.patch(path, json={"settings": {"interval_s": None}, "title": "Mine"})
        (stored,) = house.record.sources()
        assert stored.settings["reliability"] == 0.4 and "interval_s" not in stored.settings
        assert stored.title == "Mine"
        listed = (await http.get("/v1/sources")).json()
        assert listed["reliability_by_kind"]["post"] < 0.5 < listed["reliability_by_kind"]["alert"]
        assert "reliability" in listed["sources"][0]
        missing = await http.patch("/v1/sources/feed:nothing", json={"settings": {}})
        assert missing.status_code == 404
        assert (await http.patch(path, json={"url": "https://x.example"})).status_code == 400


async def test_status_and_health_tell_how_things_stand(house: Any) -> None:
    async with house.client() as http:
        status = (await http.get("/v1/status")).json()
        health = (await http.get("/health")).json()
        await http.post("/v1/sources/feed:www.example.org/pause")
        later = (await http.get("/v1/status")).json()
    assert status["summary"]["fresh"] == 1 and later["summary"]["fresh"] == 0
    assert status["summary"]["newest_age_s"] == 40
    assert status["demo"]["banner"].startswith("A simulated town")
    assert status["examples"] == ["Is the north bridge open?"]
    assert status["models"][0]["state"] == "missing"
    assert status["sources"][0]["text"] == "Answers every 15 minutes."
    assert health["status"] == "ok" and health["index_behind"] == 0
    assert health["sources"] == {"total": 1, "fresh": 1}


async def test_changes_stream_and_resume(house: Any, served: Any) -> None:
    async with served(house) as url, httpx2.AsyncClient(base_url=url, timeout=5) as http:
        async with http.stream(
            "GET", "/v1/changes", params={"since": 0}, headers={"last-event-id": "1"}
        ) as r:
            await house.runner.queue.put(Entry(seq=9, op=Op.DROP, source="s", key="k"))
            ids, datas = [], []
            async for line in r.aiter_lines():
                if line.startswith("id: "):
                    ids.append(line[4:])
                if line.startswith("data: "):
                    datas.append(json.loads(line[6:]))
                if len(datas) == 2:
                    break
        async with asyncio.timeout(5):
            await house.runner.left.wait()
    assert house.runner.subscribed == [1]
    assert ids == ["2", "9"]
    assert datas[0]["title"] == "" and datas[0]["url"] == ""  # Its terms withhold it.
    assert datas[1] == {"seq": 9, "op": "drop", "source": "s", "key": "k"}


async def test_openapi_describes_the_routes(house: Any) -> None:
    async with house.client() as http:
        described = (await http.get("/openapi.json")).json()
    assert {"/v1/ask", "/v1/search", "/v1/responses", "/health"} <= set(described["paths"])
    assert all(
        operation["summary"] and operation["tags"]
        for item in described["paths"].values()
        for operation in item.values()
    )
