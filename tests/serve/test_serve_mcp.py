"""The official MCP client against `/mcp` and against `gnomon mcp`."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx2
import msgspec
import pytest
from mcp import Client, MCPError
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client

from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts
from gnomon.client import Running, run_file

TOOLS = ["search", "open_document", "ask", "what_changed", "sources"]
KEY = "feed:www.example.org/bridge"


@asynccontextmanager
async def talking(served: Any, house: Any, *, key: str = "", **how: Any) -> AsyncIterator[Client]:
    """A client at `/mcp`."""
    headers = {"authorization": f"Bearer {key}"} if key else {}
    async with (
        served(house) as url,
        httpx2.AsyncClient(headers=headers) as http,
        Client(streamable_http_client(f"{url}/mcp", http_client=http), **how) as client,
    ):
        yield client


@pytest.mark.parametrize("mode", ["legacy", "auto", "2026-07-28"])
async def test_every_generation_of_clients_sees_the_tools(
    house: Any, served: Any, mode: Any
) -> None:
    async with talking(served, house, mode=mode) as client:
        tools = (await client.list_tools()).tools
        assert [tool.name for tool in tools] == TOOLS
        for tool in tools:
            assert "as_of" in tool.input_schema["properties"]
            assert tool.output_schema is not None and tool.annotations.read_only_hint
        if mode != "2026-07-28":  # Pinned to a version, the client asks for nothing first.
            assert "third parties" in (client.instructions or "")
        found = await client.call_tool("search", {"query": "bridge"})
    assert found.structured_content["hits"][0]["key"] == KEY


async def test_an_answer_with_verdicts_and_citations(house: Any, served: Any) -> None:
    async with talking(served, house) as client:
        asked = {"question": "Is the bridge open?", "as_of": "2 hours ago", "domains": ["a.org"]}
        result = await client.call_tool("ask", asked)
    answer = result.structured_content
    (text,) = result.content
    assert json.loads(text.text) == answer  # Nothing stands beside the quotes as if it were ours.
    assert [s["verdict"] for s in answer["sentences"]] == ["supported", "partly"]
    assert answer["sentences"][1]["reasons"]
    cited = answer["citations"][0]
    assert cited["quote"] == "The north bridge is closed."
    assert cited["uri"] == f"gnomon://documents/{KEY}?version=1"
    assert cited["saved_url"].startswith("http://127.0.0.1:")
    assert answer["newest_age_s"] == 1200.0 and answer["as_of"]
    question = house.answerer.asked[0]
    assert question.as_of == house.clock.now() - timedelta(hours=2)
    assert question.domains == ("a.org",) and question.mode == "fast"
    assert not house.threads.conversations("local")


async def test_documents_are_opened_in_pieces_and_as_resources(house: Any, served: Any) -> None:
    async with talking(served, house) as client:
        whole = (await client.call_tool("open_document", {"key": KEY})).structured_content
        assert whole["text"].startswith("The north bridge is closed.") and whole["version"] == 1
        piece = await client.call_tool("open_document", {"key": KEY, "offset": 4, "max_chars": 5})
        cut = piece.structured_content
        assert (cut["text"], cut["next_offset"]) == ("north", 9)
        early = await client.call_tool("open_document", {"key": KEY, "as_of": "3 hours ago"})
        assert early.is_error and "Nothing is known" in early.content[0].text
        hidden = (await client.call_tool("open_document", {"key": "post:quiet"})).structured_content
        assert hidden["withheld"] and not hidden["text"] and not hidden["url"]
        listed = (await client.list_resources()).resources
        assert KEY in [resource.name for resource in listed]
        for resource in listed:
            content = (await client.read_resource(resource.uri)).contents[0]
            assert json.loads(content.text)["key"] == resource.name
        template = (await client.list_resource_templates()).resource_templates[0]
        assert template.uri_template == "gnomon://documents/{+key}{?version,as_of}"
        read = await client.read_resource(f"gnomon://documents/{KEY}?version=1")
        assert json.loads(read.contents[0].text)["text"] == whole["text"]
        for unknown in ("gnomon://documents/none", "https://www.example.org/", f"{KEY}?version=9"):
            with pytest.raises(MCPError):
                await client.read_resource(unknown)


async def test_keys_of_every_kind_are_opened(house: Any, served: Any) -> None:
    keys = ("file:notes.jsonl#7", "feed:a?b=1&c=%2F/d", "page:https://a.org/ü x")
    for seq, key in enumerate(keys, 10):
        first = house.record.documents[0]
        house.record.documents.append(msgspec.structs.replace(first, key=key, seq=seq))
    async with talking(served, house) as client:
        for key in keys:
            opened = await client.call_tool("open_document", {"key": key})
            assert opened.structured_content["key"] == key
            read = await client.read_resource(opened.structured_content["uri"])
            assert json.loads(read.contents[0].text)["key"] == key


async def test_changes_and_sources(house: Any, served: Any) -> None:
    async with talking(served, house) as client:
        asked = {"question": "Is the bridge open?", "since": "2 hours ago"}
        changed = (await client.call_tool("what_changed", asked)).structured_content
        assert changed["summary"] and changed["changes"]
        assert changed["before"]["as_of"] and changed["after"]["sentences"]
        listed = (await client.call_tool("sources", {"as_of": "1 hour ago"})).structured_content
        assert listed["sources"][0]["name"] == "feed:www.example.org"


async def test_prompts_lead_to_the_tools(house: Any, served: Any) -> None:
    async with talking(served, house) as client:
        prompts = {p.name: p for p in (await client.list_prompts()).prompts}
        assert [a.name for a in prompts["since"].arguments] == ["topic", "since"]
        got = await client.get_prompt("brief", {"topic": "the {bridge}"})
        assert "Brief me on the {bridge}." in got.messages[0].content.text
        for name, given in (("brief", {}), ("brief", {"topic": " "}), ("sing", {"topic": "x"})):
            with pytest.raises(MCPError):
                await client.get_prompt(name, given)


@pytest.mark.parametrize(
    ("tool", "given", "words"),
    [
        ("search", {}, "query = {} is not valid"),
        ("search", {"query": "x", "limit": 900}, "limit = 900"),
        ("search", {"query": "x", "colour": "red"}, "colour"),
        ("search", {"query": "x", "as_of": "tomorrowish"}, "is not a moment"),
        ("ask", {"question": "  "}, "is empty"),
        ("open_document", {"key": "post:gone"}, "purged"),
        ("what_changed", {"question": "Open?", "since": "now"}, "nothing to compare"),
    ],
)
async def test_refusals_are_results_that_a_model_can_read(
    house: Any, served: Any, tool: str, given: dict[str, Any], words: str
) -> None:
    async with talking(served, house) as client:
        refused = await client.call_tool(tool, given)
    assert refused.is_error and words in refused.content[0].text


async def test_what_fails_inside_stays_inside(house: Any, served: Any) -> None:
    house.answerer.failure = RuntimeError("secret words")
    async with talking(served, house) as client:
        failed = await client.call_tool("ask", {"question": "Is the bridge open?"})
        assert failed.is_error and "secret" not in failed.content[0].text
        with pytest.raises(MCPError):
            await client.call_tool("drop_everything", {})


async def test_the_guard_stands_before_it(house: Any, served: Any) -> None:
    house = house.configure(api_key="s" * 20)
    ping = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
    async with served(house) as url, httpx2.AsyncClient(base_url=url) as http:
        assert (await http.post("/mcp", json=ping)).status_code == 401
        key = {"authorization": f"Bearer {'s' * 20}", "accept": "application/json"}
        for headers, status in (
            ({"host": "evil.example"}, 421),
            ({"origin": "https://evil.example"}, 403),
        ):
            for method in ("POST", "GET"):
                refused = await http.request(method, "/mcp", json=ping, headers=key | headers)
                assert refused.status_code == status
        for method in ("GET", "DELETE"):
            refused = await http.request(method, "/mcp", headers=key)
            assert (refused.status_code, refused.headers["allow"]) == (405, "POST")
        forged = await http.get("/v1/me", headers={"identity": "admin", "access": "all"})
        assert forged.status_code == 401
    async with talking(served, house, key="s" * 20) as client:
        assert len((await client.list_tools()).tools) == len(TOOLS)


async def test_a_key_reaches_no_further_than_over_http(
    house: Any, served: Any, tmp_path: Path
) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    try:
        accounts.add_user("ada", Role.ADMIN)
        _, secret = accounts.add_key("ada", scopes=["ask"])
        house = replace(house, services=replace(house.services, accounts=accounts))
        async with talking(served, house, key=secret) as client:
            answered = await client.call_tool("ask", {"question": "Is the bridge open?"})
            assert not answered.is_error
            refused = await client.call_tool("search", {"query": "bridge"})
            assert refused.is_error and "scope 'read'" in refused.content[0].text
    finally:
        accounts.close()


async def test_who_leaves_stops_the_answer(house: Any, served: Any) -> None:
    house.answerer.hold = asyncio.Event()
    async with talking(served, house) as client:
        asking = asyncio.create_task(client.call_tool("ask", {"question": "Is the bridge open?"}))
        await asyncio.wait_for(house.answerer.waiting.wait(), 5)
        asking.cancel()
        await asyncio.wait_for(house.answerer.cancelled.wait(), 5)


async def test_over_standard_input_and_output(house: Any, served: Any, tmp_path: Path) -> None:
    async with served(house) as url:
        told = Running(pid=os.getpid(), url=url, version="0.1.0", token="")
        run_file(tmp_path).write_bytes(msgspec.json.encode(told))
        command = StdioServerParameters(
            command=sys.executable,
            args=["-c", "from gnomon.cli import main; main()", "--home", str(tmp_path), "mcp"],
        )
        with (tmp_path / "errors").open("w+") as errors:
            async with Client(stdio_client(command, errlog=errors)) as client:
                assert [tool.name for tool in (await client.list_tools()).tools] == TOOLS
                found = await client.call_tool("search", {"query": "bridge"})
                assert found.structured_content["hits"][0]["key"] == KEY
                answer = await client.call_tool("ask", {"question": "Is the bridge open?"})
                assert answer.structured_content["sentences"][0]["verdict"] == "supported"
                wrong = await client.call_tool("open_document", {"key": "none"})
                assert wrong.is_error and "Nothing is known" in wrong.content[0].text


APPLICABLE = (
    "server-initialize",
    "ping",
    "tools-list",
    "resources-list",
    "prompts-list",
    "dns-rebinding-protection",
)
"""The other scenarios call tools and resources of the suite's own."""


@pytest.mark.slow
@pytest.mark.skipif(
    shutil.which("conformance") is None,
    reason="needs `npm install @modelcontextprotocol/conformance` (Node 22) on the PATH",
)
async def test_the_official_conformance_suite(house: Any, served: Any, tmp_path: Path) -> None:
    async with served(house) as url:
        for scenario in APPLICABLE:
            command = ["conformance", "server", "--url", f"{url}/mcp", "--scenario", scenario]
            done = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, text=True, cwd=tmp_path, timeout=60
            )
            assert done.returncode == 0, done.stdout
