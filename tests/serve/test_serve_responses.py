from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from openai import AsyncOpenAI, NotFoundError, OpenAI
from structlog.testing import capture_logs

from gnomon.errors import ModelError
from gnomon.types import VerdictKind


def events(body: str) -> list[tuple[str, dict[str, Any]]]:
    found = []
    for block in body.strip().split("\n\n"):
        if block.startswith(":"):
            continue
        name, data = block.split("\n")
        found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
    return found


async def test_answer_has_inline_citations_that_its_annotations_locate(house: Any) -> None:
    async with house.client() as http:
        r = (await http.post("/v1/responses", json={"input": "Is the bridge open?"})).json()
    message = r["output"][-1]
    part = message["content"][0]
    saved = "http://127.0.0.1:8420/saved/file:notes.jsonl%237?version=3"
    assert part["text"] == (
        "The north bridge is closed.[[1]](https://www.example.org/bridge) "
        f"Repairs began at noon.[[2]]({saved})[[1]](https://www.example.org/bridge)"
        " (partly supported)"
    )
    assert [a["title"] for a in part["annotations"]] == ["1", "2", "1"]
    for a in part["annotations"]:
        shown = part["text"][a["start_index"] : a["end_index"]]
        assert shown == f"[[{a['title']}]]({a['url']})"
    assert r["citations"] == ["https://www.example.org/bridge", saved]
    own = r["gnomon"]
    assert own == message["gnomon"]
    for s in own["sentences"]:
        assert part["text"][s["start"] : s["end"]] == s["text"]
    assert [s["verdict"] for s in own["sentences"]] == ["supported", "partly"]
    assert own["sentences"][1]["reasons"] == ["“noon” is not in the quoted words"]
    assert [c["reference"] for c in own["citations"]] == [1, 2]
    assert own["freshness"]["newest_age_s"] == 1200.0
    assert own["notes"] == ["No language model is installed."]
    assert r["status"] == "completed" and r["object"] == "response"


async def test_inline_citations_can_be_left_out(house: Any) -> None:
    body = {"input": "Bridge?", "include": ["no_inline_citations"]}
    async with house.client() as http:
        r = (await http.post("/v1/responses", json=body)).json()
    part = r["output"][-1]["content"][0]
    assert part["text"].startswith("The north bridge is closed. Repairs began at noon.")
    assert part["annotations"] == []
    assert len(r["citations"]) == 2


async def test_stream_has_exactly_the_documented_order(house: Any) -> None:
    body = {"input": "Is it open?", "stream": True, "tools": [{"type": "web_search"}]}
    async with house.client() as http:
        r = await http.post("/v1/responses", json=body)
    assert r.headers["content-type"].startswith("text/event-stream")
    found = events(r.text)
    assert [name for name, _ in found] == [
        "response.created",
        "response.in_progress",
        "response.output_item.added",
        "response.web_search_call.in_progress",
        "response.web_search_call.searching",
        "response.web_search_call.completed",
        "response.output_item.done",
        "response.output_item.added",
        "response.content_part.added",
        "response.output_text.delta",
        "response.output_text.delta",
        "response.output_text.annotation.added",
        "response.output_text.annotation.added",
        "response.output_text.annotation.added",
        "response.output_text.done",
        "response.content_part.done",
        "response.output_item.done",
        "response.completed",
    ]
    assert [d["sequence_number"] for _, d in found] == list(range(len(found)))
    assert all(d["type"] == name for name, d in found)
    by_name = dict(found)
    assert by_name["response.created"]["response"]["output"] == []
    deltas = [d for name, d in found if name == "response.output_text.delta"]
    text = "".join(d["delta"] for d in deltas)
    assert text == by_name["response.output_text.done"]["text"]
    assert deltas[1]["gnomon"]["sentence"]["verdict"] == "partly"
    # Clients that gather annotations from several places would list each source twice.
    assert by_name["response.output_item.done"]["item"]["content"][0]["annotations"] == []
    final = by_name["response.completed"]["response"]
    assert [i["type"] for i in final["output"]] == ["web_search_call", "message"]
    assert all(i["id"] and i["status"] == "completed" for i in final["output"])
    assert len(final["output"][1]["content"][0]["annotations"]) == 3
    indices = [d["output_index"] for _, d in found if "output_index" in d]
    assert indices == sorted(indices)
    places = {d["item_id"] for _, d in found if d.get("output_index") == 1 and "item_id" in d}
    assert places == {final["output"][1]["id"]}


async def test_x_search_narrows_to_posts_and_shows_its_own_call(house: Any) -> None:
    tool = {
        "type": "x_search",
        "allowed_x_handles": ["@mayor"],
        "from_date": "2026-11-20",
        "to_date": "2026-11-22",
    }
    async with house.client() as http:
        r = (await http.post("/v1/responses", json={"input": "News?", "tools": [tool]})).json()
    asked = house.answerer.asked[0]
    assert asked.kinds == ("post",) and asked.authors == ("mayor",)
    assert asked.since.isoformat() == "2026-11-20T00:00:00+00:00"
    assert asked.until.isoformat() == "2026-11-22T00:00:00+00:00"
    assert r["output"][0]["type"] == "x_search_call"


async def test_web_search_domains_become_filters_in_both_spellings(house: Any) -> None:
    flat = {"type": "web_search", "allowed_domains": ["a.org"]}
    nested = {"type": "web_search", "filters": {"excluded_domains": ["b.org"]}}
    async with house.client() as http:
        for tool in (flat, nested):
            await http.post("/v1/responses", json={"input": "News?", "tools": [tool]})
    assert house.answerer.asked[0].domains == ("a.org",)
    assert house.answerer.asked[1].not_domains == ("b.org",)


@pytest.mark.parametrize(
    ("body", "param", "said"),
    [
        ({"input": "x", "tools": [{"type": "shell"}]}, "tools.0", "shell"),
        ({"input": "x", "tools": [{"type": "function"}]}, "tools.0", "name"),
        ({"input": "x", "model": "gpt-9"}, "model", "gpt-9"),
        ({"input": "  \n "}, "input", "empty"),
        ({"input": "\u0000\u0007"}, "input", "empty"),
        ({"input": []}, "input", "must end with"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input.0.role", "robot"),
        ({"input": [{"role": "user", "content": [{"type": "input_image"}]}]}, None, "input_image"),
        ({"input": 7}, None, ""),
        ({}, "input", "missing"),
        ({"input": "x", "as_of": "2026-11-22T10:00:00"}, "as_of", "2026-11-22T10:00:00Z"),
        ({"input": "x", "as_of": "2027-01-01T00:00:00Z"}, "as_of", "future"),
        ({"input": "x", "as_of": "soonish"}, "as_of", "soonish"),
        (
            {"input": "x", "text": {"format": {"type": "json_schema"}}},
            "text.format.schema",
            "no schema",
        ),
        ({"input": "x", "previous_response_id": "resp_no"}, "previous_response_id", "resp_no"),
        ({"input": "x", "search_parameters": {"mode": "off"}}, "search_parameters.mode", "off"),
        ({"input": "x", "max_output_tokens": "many"}, "max_output_tokens", "many"),
        ({"input": "y" * 20_001}, "input", "20,001"),
        (
            {
                "input": "x",
                "tools": [
                    {"type": "web_search"},
                    {"type": "x_search", "allowed_x_handles": ["a"]},
                ],
            },
            "tools",
            "one question",
        ),
    ],
)
async def test_what_cannot_be_served_is_refused_in_openais_shape(
    house: Any, body: dict[str, Any], param: str | None, said: str
) -> None:
    async with house.client() as http:
        r = await http.post("/v1/responses", json=body)
    assert r.status_code == (404 if "model" in body else 400)
    error = r.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["type"] == "invalid_request_error"
    assert said in error["message"]
    if param is not None:
        assert param in error["param"]
    assert house.answerer.asked == []


async def test_abstention_shows_the_closest_passage_inertly(house: Any) -> None:
    import msgspec

    house.answerer.sentences = []
    from_page = "Ignore this ![x](http://evil.example/?q=1) <img src=x> [[9]](http://evil.example)"
    cited = msgspec.structs.replace(CITED_LIKE(house), quote=from_page)
    house.answerer.closest = cited
    async with house.client() as http:
        r = (await http.post("/v1/responses", json={"input": "Who?"})).json()
    text = r["output"][-1]["content"][0]["text"]
    assert text.startswith("The evidence does not contain an answer. Closest passage: “Ignore")
    assert "](http://evil" not in text and " <img" not in text
    assert r["gnomon"]["abstained"] is True
    assert r["gnomon"]["closest"]["quote"] == from_page
    (annotation,) = r["output"][-1]["content"][0]["annotations"]
    assert text[annotation["start_index"] : annotation["end_index"]] == f"[[1]]({cited.url})"


def CITED_LIKE(house: Any) -> Any:
    from gnomon.types import Citation

    d = house.record.documents[0]
    return Citation(
        number=1, key=d.key, version=1, seq=1, start=0, end=9, quote=d.text[:9], url=d.url
    )


async def test_conversations_continue_and_can_be_forgotten(house: Any) -> None:
    async with house.client() as http:
        first = (await http.post("/v1/responses", json={"input": "Is it open?"})).json()
        body = {"input": "And since?", "previous_response_id": first["id"]}
        second = (await http.post("/v1/responses", json=body)).json()
        assert second["previous_response_id"] == first["id"]
        assert [t.question for t in house.answerer.asked[1].history] == ["Is it open?"]
        stored = (await http.get(f"/v1/responses/{first['id']}")).json()
        assert stored == first
        items = (await http.get(f"/v1/responses/{first['id']}/input_items")).json()
        assert items["data"][0]["content"][0]["text"] == "Is it open?"
        gone = (await http.delete(f"/v1/responses/{first['id']}")).json()
        assert gone == {"id": first["id"], "object": "response", "deleted": True}
        assert (await http.get(f"/v1/responses/{first['id']}")).status_code == 404
        assert (await http.delete(f"/v1/responses/{first['id']}")).status_code == 404
        kept = len(house.threads.list())
        await http.post("/v1/responses", json={"input": "Quietly?", "store": False})
    assert len(house.threads.list()) == kept


async def test_input_items_can_be_paged(house: Any) -> None:
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "Yes.[[1]](https://a.org)"},
        {"role": "user", "content": [{"type": "input_text", "text": "Two?"}]},
    ]
    async with house.client() as http:
        made = (await http.post("/v1/responses", json={"input": messages})).json()
        path = f"/v1/responses/{made['id']}/input_items"
        page = (await http.get(path, params={"order": "asc", "limit": 3})).json()
        rest = (await http.get(path, params={"order": "asc", "after": page["last_id"]})).json()
        bad = await http.get(path, params={"after": "nope"})
    assert page["has_more"] and not rest["has_more"]
    assert [i["role"] for i in page["data"] + rest["data"]] == [m["role"] for m in messages]
    assert bad.status_code == 400
    asked = house.answerer.asked[0]
    assert asked.text == "Two?" and asked.instructions == "Be brief."
    assert asked.history[0].answer == "Yes."


async def test_wishes_without_effect_are_listed(house: Any) -> None:
    async with house.client() as http:
        r = await http.post("/v1/responses", json={"input": "x?", "temperature": 0.4, "user": "u"})
    assert r.json()["gnomon"]["ignored"] == ["temperature"]


async def test_a_failure_in_the_stream_is_an_event_and_leaks_nothing(house: Any) -> None:
    async def names(error: Exception) -> dict[str, Any]:
        house.answerer.failure = error
        async with house.client() as http:
            r = await http.post("/v1/responses", json={"input": "x?", "stream": True})
        last = events(r.text)[-1]
        assert last[0] == "response.failed"
        return dict(last[1]["response"])

    with capture_logs() as logs:
        known = await names(ModelError("The model stopped.", code="model.stopped"))
        hidden = await names(RuntimeError("secret path /home/x"))
        async with house.client() as http:
            r = await http.post("/v1/responses", json={"input": "x?"})
    assert known["error"] == {"code": "model.stopped", "message": "The model stopped."}
    assert "secret" not in json.dumps(hidden)
    assert [e["event"] for e in logs] == ["response.failed", "response.failed", "request.failed"]
    assert r.status_code == 500 and "secret" not in r.text
    assert r.headers["x-request-id"] in r.json()["error"]["message"]


async def test_the_openai_client_reads_answers_and_streams(house: Any, served: Any) -> None:
    async with served(house) as url, AsyncOpenAI(api_key="k", base_url=f"{url}/v1") as client:
        r = await client.responses.create(
            model="gnomon",
            input="What happened?",
            tools=[{"type": "web_search"}],
            extra_body={"as_of": "2026-11-22T14:00:00Z"},
        )
        assert r.output_text.startswith("The north bridge is closed.")
        assert r.output[-1].content[0].annotations[0].type == "url_citation"  # type: ignore[union-attr]
        assert r.model_extra and r.model_extra["gnomon"]["as_of"] == "2026-11-22T14:00:00Z"
        kinds = []
        async with client.responses.stream(
            model="gnomon", input="And since?", previous_response_id=r.id
        ) as stream:
            async for event in stream:
                kinds.append(event.type)
            final = await stream.get_final_response()
        assert kinds[0] == "response.created" and kinds[-1] == "response.completed"
        assert final.output_text == r.output_text
        assert (await client.responses.retrieve(final.id)).output_text == r.output_text
        listed = await client.responses.input_items.list(final.id)
        assert len(listed.data) == 1
        await client.responses.delete(final.id)
        with pytest.raises(NotFoundError) as missing:
            await client.responses.retrieve(final.id)
        assert missing.value.code == "response_not_found"
        assert [m.id async for m in client.models.list()] == ["gnomon", "gnomon-extract"]
        with pytest.raises(NotFoundError):
            await client.models.retrieve("grok-9")


async def test_the_synchronous_openai_client_works_too(house: Any, served: Any) -> None:
    def talk(url: str) -> tuple[str, str]:
        with OpenAI(api_key="k", base_url=f"{url}/v1") as client:
            whole = client.responses.create(model="gnomon-extract", input="What happened?")
            with client.responses.stream(model="gnomon", input="And since?") as stream:
                for _ in stream:
                    pass
                return whole.output_text, stream.get_final_response().output_text

    async with served(house) as url:
        whole, streamed = await asyncio.to_thread(talk, url)
    assert whole == streamed != ""
    assert [q.mode for q in house.answerer.asked] == ["extract", "fast"]


async def test_unsupported_sentences_say_so_in_plain_text(house: Any) -> None:
    made = house.answerer.sentences[0][0]
    import msgspec

    wrong = msgspec.structs.replace(
        made, verdict=msgspec.structs.replace(made.verdict, kind=VerdictKind.CONTRADICTED)
    )
    house.answerer.sentences = [(wrong, house.answerer.sentences[0][1])]
    async with house.client() as http:
        r = (await http.post("/v1/responses", json={"input": "x?"})).json()
    assert r["output"][-1]["content"][0]["text"].endswith("(contradicted)")
