from __future__ import annotations

import asyncio
import base64
import json
import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, ModelTransient, StoreError
from gnomon.record.database import StoreTransient
from gnomon.serve import guard as guard_module
from gnomon.serve.guard import check_bind, is_loopback
from gnomon.serve.page import is_page
from gnomon.settings import Server, Settings

KEY = {"api_key": "open-sesame"}
OPEN = ("/health", "/v1/session", "/v1/shared/", "/websub/")


def data_folder() -> Path:
    given = os.environ.get("GNOMON_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("no test data: set GNOMON_TEST_DATA to its folder")
    return folder


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.org", ""])
def test_nothing_listens_beyond_loopback_without_a_key(host: str) -> None:
    with pytest.raises(ConfigError) as refused:
        check_bind(Settings(server=Server(host=host)))
    assert refused.value.code == "config.open_bind"
    check_bind(Settings(server=Server(host=host, api_key="k")))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "[::1]", "127.8.0.1"])
def test_loopback_needs_no_key(host: str) -> None:
    assert is_loopback(host)
    check_bind(Settings(server=Server(host=host)))


def test_an_empty_key_is_no_key() -> None:
    with pytest.raises(ConfigError):
        check_bind(Settings(server=Server(host="0.0.0.0", api_key=" ")))


async def test_with_a_key_every_route_but_health_and_signing_in_asks_for_it(house: Any) -> None:
    from starlette.routing import Mount

    from gnomon.serve.app import create_app

    house = house.configure(**KEY)
    paths = {
        getattr(r, "path", "")
        for r in create_app(house.services).routes
        if not isinstance(r, Mount)
    }
    paths |= {"/nothing", *create_app(house.services).openapi()["paths"]}
    assert "/v1/ask" in paths and "/" in paths
    async with house.client() as http:
        for path in sorted(p for p in paths if not p.startswith(OPEN)):
            # The page itself holds no content: it is what asks whoever comes to sign in.
            for method in ("POST", "DELETE") if is_page(path or "/") else ("GET", "POST", "DELETE"):
                r = await http.request(method, path)
                assert r.status_code == 401, (method, path)
        assert (await http.get("/health")).status_code == 200


@pytest.mark.parametrize(
    ("given", "status"),
    [
        ("Bearer open-sesame", 200),
        ("bearer open-sesame", 200),
        ("Bearer open-sesam", 401),
        ("Bearer ", 401),
        ("open-sesame", 401),
        ("Basic " + base64.b64encode(b"me:open-sesame").decode(), 200),
        ("Basic " + base64.b64encode(b"me:other").decode(), 401),
        ("Basic ===", 401),
        ("Bearer é", 401),
    ],
)
async def test_keys(house: Any, given: str, status: int) -> None:
    async with house.configure(**KEY).client() as http:
        r = await http.get("/v1/status", headers={"authorization": given.encode()})
    assert r.status_code == status
    assert "open-sesame" not in r.text
    if status == 401:
        assert r.headers["www-authenticate"] == "Bearer"
        assert r.json()["code"] == "server.key"


async def test_a_browser_is_asked_for_the_key_as_a_password(house: Any) -> None:
    async with house.configure(**KEY).client() as http:
        r = await http.get("/saved/post:1", headers={"accept": "text/html"})
    assert r.status_code == 401 and r.headers["www-authenticate"].startswith("Basic ")


async def test_openai_routes_refuse_in_their_own_shape(house: Any) -> None:
    async with house.configure(**KEY).client() as http:
        r = await http.get("/v1/models")
    assert r.json()["error"]["type"] == "authentication_error"


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8420", 200),
        ("localhost", 200),
        ("[::1]:8420", 200),
        ("gnomon.example.org", 200),
        ("evil.example:8420", 421),
        ("127.0.0.1.evil.example", 421),
        ("", 421),
        ("[", 421),
    ],
)
async def test_only_our_own_names_are_answered_on_loopback(
    house: Any, host: str, status: int
) -> None:
    house = house.configure(public_url="https://gnomon.example.org")
    async with house.client() as http:
        r = await http.get("/v1/status", headers={"host": host})
    assert r.status_code == status


async def test_beyond_loopback_the_key_decides_not_the_name(house: Any) -> None:
    async with house.configure(host="0.0.0.0", **KEY).client() as http:
        headers = {"host": "gnomon.lan", "authorization": "Bearer open-sesame"}
        assert (await http.get("/v1/status", headers=headers)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "http://127.0.0.1:8420"}, 200),
        ({"origin": "https://good.example"}, 200),
        ({"origin": "http://evil.example"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"sec-fetch-site": "same-origin"}, 200),
    ],
)
async def test_pages_of_other_sites_may_not_call(
    house: Any, headers: dict[str, str], status: int
) -> None:
    house = house.configure(cors_origins=("https://good.example",))
    async with house.client() as http:
        posted = await http.post(
            "/v1/ask", json={"question": "x?", "stream": False}, headers=headers
        )
        read = await http.get("/v1/sources", headers=headers)
        page = await http.get("/health", headers=headers)
    assert (posted.status_code, read.status_code) == (status, status)
    assert page.status_code == 200
    if status == 403:
        assert house.answerer.asked == []


async def test_cors_is_off_unless_set(house: Any) -> None:
    ask = {"origin": "https://good.example", "access-control-request-method": "POST"}
    async with house.client() as http:
        r = await http.options("/v1/ask", headers=ask)
        assert "access-control-allow-origin" not in r.headers
    async with house.configure(cors_origins=("https://good.example",), **KEY).client() as http:
        r = await http.options("/v1/ask", headers=ask)
        assert r.headers["access-control-allow-origin"] == "https://good.example"


async def test_every_response_carries_the_security_headers(house: Any) -> None:
    async with house.client() as http:
        for path in ("/", "/v1/status", "/nothing", "/saved/post:gone", "/static/saved.css"):
            h = (await http.get(path)).headers
            assert "script-src 'self'" in h["content-security-policy"]
            assert "unsafe" not in h["content-security-policy"]
            assert "frame-ancestors 'none'" in h["content-security-policy"]
            assert h["x-content-type-options"] == "nosniff"
            assert h["referrer-policy"] == "no-referrer"
            assert h["x-request-id"]


async def test_a_given_request_id_is_kept_if_it_is_harmless(house: Any) -> None:
    async with house.client() as http:
        kept = await http.get("/health", headers={"x-request-id": "abc-1"})
        made = await http.get("/health", headers={"x-request-id": "a b"})
    assert kept.headers["x-request-id"] == "abc-1"
    assert made.headers["x-request-id"].startswith("req_")


async def test_large_bodies_are_refused_by_length_and_by_count(house: Any) -> None:
    async def pieces() -> Any:
        for _ in range(200):
            yield b'{"question": "' + b"x" * 100_000

    async with house.client() as http:
        by_length = await http.post("/v1/ask", content=b"x" * 10_000_000)
        by_count = await http.post("/v1/ask", content=pieces())
        openai = await http.post("/v1/responses", content=b"x" * 10_000_000)
    for r in (by_length, by_count):
        assert r.status_code == 413
        assert r.json()["max_request_bytes"] == 1_000_000
        assert r.headers["content-type"] == "application/problem+json"
    assert openai.status_code == 413 and openai.json()["error"]["code"] == "request.too_large"


async def test_a_body_that_does_not_come_is_given_up(
    house: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard_module, "BODY_DEADLINE_S", 0.05)
    async with served(house) as url:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        writer.write(
            b"POST /v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: 100\r\n\r\n{"
        )
        async with asyncio.timeout(5):
            assert b" 408 " in await reader.readline()
        writer.close()
        await writer.wait_closed()


@pytest.mark.parametrize("path", ["/v1/ask", "/v1/responses", "/v1/chat/completions"])
@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"[]",
        b'"text"',
        b"\xff\xfe",
        b'{"question": "\\ud800"}',
        b'{"question": NaN}',
        b"[" * 100_000,
        b'{"metadata":' + b'{"a":' * 200 + b"1" + b"}" * 201,
        b'{"question": {"a": 1}, "input": {"a": 1}, "messages": {"a": 1}}',
        b'{"question": true, "input": true, "messages": true}',
    ],
)
async def test_malformed_bodies_get_a_clear_400(house: Any, path: str, body: bytes) -> None:
    async with house.client() as http:
        r = await http.post(path, content=body, headers={"content-type": "application/json"})
    assert r.status_code == 400
    told = r.json()["error"]["message"] if "error" in r.json() else r.json()["detail"]
    assert len(told) > 20
    assert house.answerer.asked == []


async def test_form_posts_are_not_json(house: Any) -> None:
    async with house.client() as http:
        r = await http.post(
            "/v1/ask", content=b'{"question": "x?"}', headers={"content-type": "text/plain"}
        )
    assert r.status_code == 400 and "application/json" in r.json()["hint"]


async def test_naughty_strings_are_only_text(house: Any) -> None:
    import gzip

    path = data_folder() / "security" / "naughty_strings.json.gz"
    strings = json.loads(gzip.decompress(path.read_bytes()))
    async with house.client() as http:
        for text in strings:
            r = await http.post("/v1/ask", json={"question": text, "stream": False})
            assert r.status_code in (200, 400), text
            r = await http.get("/v1/search", params={"q": text})
            assert r.status_code == 200, text
            r = await http.post("/v1/responses", json={"input": text, "model": text})
            assert r.status_code in (400, 404)
            r = await http.get("/saved/" + quote(text, safe=""))
            assert r.status_code in (200, 404, 410) and "<script>" not in r.text
    assert len(strings) > 400


async def test_bad_json_files_never_break_the_server(house: Any) -> None:
    import tarfile

    path = data_folder() / "security" / "json_test_suite.tar.gz"
    seen = 0
    async with house.client() as http:
        with tarfile.open(path) as tar:
            for member in tar:
                handle = tar.extractfile(member)
                if handle is None or not member.name.endswith(".json"):
                    continue
                seen += 1
                r = await http.post(
                    "/v1/ask",
                    content=handle.read(2_000_000),
                    headers={"content-type": "application/json"},
                )
                assert r.status_code == 400, member.name
    assert seen > 100


async def test_unknown_failures_are_hidden_and_store_errors_reported(house: Any) -> None:

    told: list[StoreError] = []
    house = replace(house, services=replace(house.services, fatal=told.append))

    def broken() -> Any:
        raise RuntimeError("secret-detail")

    def damaged() -> Any:
        raise StoreError("Page 7 of the record is damaged.", hint="Restore a backup.")

    house.record.stats = broken
    with capture_logs() as logs:
        async with house.client() as http:
            r = await http.get("/v1/status")
            house.record.stats = damaged
            second = await http.get("/v1/status")
    assert [e["event"] for e in logs] == ["request.failed", "request.failed"]
    assert r.status_code == 500 and "secret-detail" not in r.text
    assert r.json()["code"] == "internal"
    assert r.json()["request_id"] == r.headers["x-request-id"]
    assert second.status_code == 500 and second.json()["hint"] == "Restore a backup."
    assert second.headers["x-should-retry"] == "false"
    house.answerer.failure = StoreError("Page 8 of the record is damaged.")
    async with house.client() as http:
        await http.post("/v1/ask", json={"question": "x?"})
        await http.post("/v1/responses", json={"input": "x?", "stream": True})
    assert len(told) == 3


async def test_a_record_that_is_busy_is_no_damage(house: Any) -> None:
    told: list[StoreError] = []
    house = replace(house, services=replace(house.services, fatal=told.append))

    def busy() -> Any:
        raise StoreTransient("Another process has kept the record locked.", code="record.locked")

    house.record.stats = busy
    async with house.client() as http:
        r = await http.get("/v1/status")
    assert (r.status_code, r.json()["code"]) == (503, "record.locked")
    assert r.headers["x-should-retry"] == "true" and not told


async def test_what_may_pass_says_when_to_try_again(house: Any) -> None:
    house.answerer.failure = ModelTransient("The endpoint is busy.", retry_after_s=7.4)
    async with house.client() as http:
        r = await http.post("/v1/ask", json={"question": "x?", "stream": False})
    assert r.status_code == 503
    assert r.headers["retry-after"] == "7" and r.headers["x-should-retry"] == "true"


async def test_unknown_routes_and_methods(house: Any) -> None:
    async with house.client() as http:
        missing = await http.get("/v1/nothing")
        method = await http.put("/v1/ask")
        openai = await http.put("/v1/models")
    assert missing.status_code == 404 and missing.json()["code"] == "http.no_route"
    assert method.status_code == 405 and method.json()["code"] == "http.method"
    assert openai.json()["error"]["code"] == "http.method"


async def test_requests_are_counted_by_route_template(house: Any) -> None:
    from gnomon.metrics import REQUESTS

    def count() -> float:
        return REQUESTS.labels(route="/v1/documents/{key:path}", status="404")._value.get()

    before = count()
    async with house.client() as http:
        await http.get("/v1/documents/no/such")
        metrics = await http.get("/metrics")
    assert count() == before + 1
    assert "gnomon_http_requests_total" in metrics.text


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/ask", {"question": "x?"}),
        ("/v1/ask", {"question": "x?", "stream": False}),
        ("/v1/responses", {"input": "x?", "stream": True}),
        ("/v1/responses", {"input": "x?"}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}], "stream": True}),
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "x"}]}),
    ],
)
async def test_a_client_that_leaves_cancels_the_pipeline(
    house: Any, served: Any, path: str, body: dict[str, Any]
) -> None:
    house.answerer.hold = asyncio.Event()
    async with served(house) as url:
        port = int(url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        content = json.dumps(body).encode()
        writer.write(
            f"POST {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(content)}\r\n\r\n".encode()
            + content
        )
        async with asyncio.timeout(5):
            await house.answerer.waiting.wait()
            writer.close()
            await house.answerer.cancelled.wait()
            await writer.wait_closed()
    assert house.threads.list() == []


async def test_a_quiet_stream_carries_heartbeats(house: Any, served: Any) -> None:
    import httpx2

    house.answerer.hold = asyncio.Event()
    clock: ManualClock = house.clock
    async with (
        served(house) as url,
        httpx2.AsyncClient(base_url=url, timeout=5) as http,
        http.stream("POST", "/v1/ask", json={"question": "x?"}) as r,
    ):
        lines = r.aiter_lines()
        await house.answerer.waiting.wait()
        async for line in lines:
            if line == "event: sentence":
                break
        clock.advance(10)
        async for line in lines:
            if line.startswith(":"):
                break
        else:
            pytest.fail("the stream ended without a heartbeat")
        house.answerer.hold.set()
        rest = [line async for line in lines]
    assert "event: finished" in rest


async def test_a_reader_that_takes_nothing_is_dropped(
    house: Any, served: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gnomon.serve import sse

    monkeypatch.setattr(sse, "SEND_DEADLINE_S", 0.05)
    written, citations = house.answerer.sentences[0]
    long = msgspec.structs.replace(written, text="x" * 500_000)
    house.answerer.sentences = [(long, citations)] * 200
    async with served(house) as url:
        _, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
        body = b'{"question": "x?"}'
        writer.write(
            b"POST /v1/ask HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (len(body), body)
        )
        async with asyncio.timeout(10):
            await house.answerer.cancelled.wait()
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
messages = st.fixed_dictionaries(
    {},
    optional={
        "role": st.sampled_from(["user", "assistant", "system", "tool", "", "x"]) | json_values,
        "type": st.sampled_from(["message", "reasoning", "function_call_output"]) | json_values,
        "content": st.text(max_size=5)
        | st.lists(
            st.fixed_dictionaries(
                {}, optional={"type": st.sampled_from(["input_text", "text"]), "text": json_values}
            ),
            max_size=2,
        )
        | json_values,
    },
)
tools = st.fixed_dictionaries(
    {"type": st.sampled_from(["web_search", "x_search", "live_search", "function"]) | json_values},
    optional={
        name: json_values | st.lists(st.text(max_size=4), max_size=2)
        for name in ("filters", "allowed_domains", "allowed_x_handles", "from_date", "sources")
    },
)
bodies = st.fixed_dictionaries(
    {"input": st.text(max_size=5) | st.lists(messages, max_size=3)},
    optional={
        "stream": st.booleans(),
        "tools": st.lists(tools, max_size=2),
        "include": json_values,
        "text": json_values,
        "metadata": json_values,
        "search_parameters": json_values,
        "max_output_tokens": json_values,
        "as_of": json_values,
        "tool_choice": json_values,
    },
)


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(body=bodies)
def test_any_request_is_answered_or_refused_with_a_reason(house: Any, body: Any) -> None:
    async def check() -> None:
        async with house.client() as http:
            r = await http.post("/v1/responses", json=body)
            assert r.status_code in (200, 400)
            if r.status_code == 200:
                assert "response.failed" not in r.text
                item = r.text if body.get("stream") else r.json()["id"]
                assert item
            else:
                assert r.json()["error"]["message"]
            chat = {k: v for k, v in body.items() if k not in ("input", "text", "include")}
            chat["messages"] = body["input"] if isinstance(body["input"], list) else []
            assert (await http.post("/v1/chat/completions", json=chat)).status_code in (200, 400)

    asyncio.run(check())
