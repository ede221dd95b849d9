from __future__ import annotations

import asyncio
import json
from typing import Any

import httpx2
import pytest
from openai import AsyncOpenAI, BadRequestError

from gnomon.errors import ModelError

ASK = {"messages": [{"role": "user", "content": "Is the bridge open?"}]}


def chunks(body: str) -> list[Any]:
    lines = [b.removeprefix("data: ") for b in body.strip().split("\n\n")]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


async def settled(http: httpx2.AsyncClient, where: str) -> httpx2.Response:
    async with asyncio.timeout(5):
        while (found := await http.get(where)).status_code == 202:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    return found


async def test_stream_ends_with_citations_then_usage_then_done(house: Any) -> None:
    body = ASK | {"stream": True, "stream_options": {"include_usage": True}}
    async with house.client() as http:
        r = await http.post("/v1/chat/completions", json=body)
    *texts, last, usage, done = chunks(r.text)
    assert done == "[DONE]"
    assert usage["choices"] == [] and usage["usage"]["completion_tokens"] == 12
    assert "citations" not in usage
    assert last["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    located = texts[-1]["choices"][0]["delta"]["annotations"]
    assert [a["url_citation"]["title"] for a in located] == ["1", "2", "1"]
    assert last["citations"][0] == "https://www.example.org/bridge"
    assert [s["verdict"] for s in last["gnomon"]["sentences"]] == ["supported", "partly"]
    assert all(t["choices"][0]["delta"]["role"] == "assistant" for t in texts)
    heads = {(c["id"], c["created"], c["model"], c["object"]) for c in [*texts, last, usage]}
    assert len(heads) == 1 and heads.pop()[3] == "chat.completion.chunk"


async def test_usage_comes_only_when_asked_for(house: Any) -> None:
    async with house.client() as http:
        r = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    assert all("usage" not in c for c in chunks(r.text)[:-1])


async def test_answer_carries_annotations_citations_and_verdicts(house: Any) -> None:
    async with house.client() as http:
        r = (await http.post("/v1/chat/completions", json=ASK)).json()
    message = r["choices"][0]["message"]
    for a in message["annotations"]:
        c = a["url_citation"]
        shown = message["content"][c["start_index"] : c["end_index"]]
        assert shown == f"[[{c['title']}]]({c['url']})"
    assert len(r["citations"]) == 2
    assert r["gnomon"]["freshness"]["searched"] == 2


async def test_search_parameters_become_filters(house: Any) -> None:
    parameters = {
        "mode": "on",
        "from_date": "2026-11-01",
        "to_date": "2026-11-20",
        "return_citations": False,
        "sources": [{"type": "web", "excluded_websites": ["b.org"]}],
    }
    async with house.client() as http:
        r = await http.post("/v1/chat/completions", json=ASK | {"search_parameters": parameters})
    asked = house.answerer.asked[0]
    assert asked.not_domains == ("b.org",) and asked.kinds == ()
    assert asked.since.day == 1
    assert asked.until.day == 21  # The last day named belongs to the search.
    assert "citations" not in r.json() and "[[" not in r.json()["choices"][0]["message"]["content"]


async def test_x_sources_mean_posts(house: Any) -> None:
    parameters = {"sources": [{"type": "x", "included_x_handles": ["mayor"]}]}
    async with house.client() as http:
        await http.post("/v1/chat/completions", json=ASK | {"search_parameters": parameters})
    assert house.answerer.asked[0].kinds == ("post",)
    assert house.answerer.asked[0].authors == ("mayor",)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"n": 2}, "n = 2"),
        ({"deferred": True, "stream": True}, "deferred"),
        ({"response_format": {"type": "yaml"}}, "yaml"),
        ({"tools": [{"type": "function", "function": {}}]}, "name"),
        ({"functions": [{"name": "f"}]}, "functions"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "was not made"),
        ({"messages": []}, "must end with"),
        ({"messages": "hello"}, "messages"),
        ({"search_parameters": {"sources": [{"type": "rss", "links": ["x"]}]}}, "feeds"),
        ({"search_parameters": {"sources": "web"}}, "list"),
        ({"search_parameters": {"sources": [{"type": "web", "allowed_websites": 3}]}}, "strings"),
        ({"search_parameters": {"from_date": 3}}, "string"),
    ],
)
async def test_refusals_are_clear(house: Any, more: dict[str, Any], said: str) -> None:
    async with house.client() as http:
        r = await http.post("/v1/chat/completions", json=ASK | more)
    assert r.status_code == 400
    assert said in r.json()["error"]["message"]


async def test_a_failure_in_the_stream_is_an_error_object(house: Any) -> None:
    house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
    async with house.client() as http:
        r = await http.post("/v1/chat/completions", json=ASK | {"stream": True})
    last = chunks(r.text)[-1]
    assert last["error"]["code"] == "model.stopped"


async def test_the_openai_client_chats(house: Any, served: Any) -> None:
    async with served(house) as url, AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as client:
        messages: Any = ASK["messages"]
        whole = await client.chat.completions.create(model="gnomon", messages=messages)
        stream = await client.chat.completions.create(
            model="gnomon", messages=messages, stream=True, stream_options={"include_usage": True}
        )
        text, usage = "", None
        async for chunk in stream:
            usage = chunk.usage or usage
            text += "".join(c.delta.content or "" for c in chunk.choices)
        assert whole.choices[0].message.content == text != ""
        assert usage is not None and usage.completion_tokens == 12
        with pytest.raises(BadRequestError) as refused:
            await client.chat.completions.create(model="gnomon", messages=messages, n=3)
        assert refused.value.code == "request.invalid"


async def test_a_deferred_completion_is_fetched_later(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        begun = (await http.post("/v1/chat/completions", json=ASK | {"deferred": True})).json()
        where = f"/v1/chat/deferred-completion/{begun['request_id']}"
        await asyncio.wait_for(house.answerer.waiting.wait(), 5)
        pending = await http.get(where)
        assert (pending.status_code, pending.content) == (202, b"")
        house.answerer.hold.set()
        done = await settled(http, where)
        assert done.json()["object"] == "chat.completion" and done.json()["citations"]
        assert done.json()["choices"][0]["message"]["content"].startswith("The north bridge")
        assert (await http.get(where)).json() == done.json()
        assert not house.threads.conversations("local")
        house.clock.advance(601)
        gone = await http.get(where)
    assert gone.status_code == 404 and gone.json()["error"]["code"] == "deferred_not_found"


async def test_a_deferred_completion_that_failed_says_so(house: Any, served: Any) -> None:
    house.answerer.failure = ModelError("The model stopped.", code="model.stopped")
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        begun = (await http.post("/v1/chat/completions", json=ASK | {"deferred": True})).json()
        where = f"/v1/chat/deferred-completion/{begun['request_id']}"
        failed = await settled(http, where)
    assert failed.status_code == 503
    assert failed.json()["error"]["code"] == "model.stopped"
