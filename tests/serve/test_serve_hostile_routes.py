"""Every route of a real house under what no client means: broken and monstrous bodies, numbers
without end, other people's ids, and roles that may not."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx2
import pytest
import pytest_asyncio

from gnomon.accounts.base import Role
from gnomon.app import opened
from gnomon.serve.app import create_app
from gnomon.settings import Demo, Loaded, Models, Settings

JSON = {"content-type": "application/json"}
SECRET = "zanzibar-quarry"
"""A word of ann's that nobody else may meet."""
BROKEN = {
    "nothing": b"",
    "half an object": b"{",
    "null": b"null",
    "a list": b"[]",
    "a number": b"1e999",
    "no UTF-8": b'{"question": "\xff\xfe"}',
    "half a surrogate": b'{"question": "\\ud800", "text": "\\ud800", "input": "\\ud800"}',
    "not a number": b'{"question": NaN}',
    "a deep list": b"[" * 100_000,
    "a deep object": b'{"metadata":' + b'{"a":' * 5_000 + b"1" + b"}" * 5_001,
}
WRONG: tuple[Any, ...] = (
    None,
    True,
    -1,
    2**63,
    2**80,
    1.5,
    "",
    "\x00",
    "x" * 100_000,
    [],
    {},
    [[{}]],
)
"""What a field may be set to that was never meant for it."""
MONSTERS = ("99999999999999999999", "-1", "0x10", "1e9", "NaN", "\u0663", "", "a" * 5_000)
"""What a number of a query or a header may be."""


@dataclass
class Town:
    """A house, its application, and a key for each person."""

    house: Any
    app: Any
    keys: dict[str, dict[str, str]]

    def client(self, name: str) -> httpx2.AsyncClient:
        transport = httpx2.ASGITransport(app=self.app, raise_app_exceptions=False)
        return httpx2.AsyncClient(
            transport=transport, base_url="http://127.0.0.1:8420", headers=self.keys[name]
        )

    def operations(self) -> Iterator[tuple[str, str, dict[str, Any]]]:
        """Method, path and description of every documented route."""
        for path, operations in self.app.openapi()["paths"].items():
            for method, operation in operations.items():
                yield method.upper(), path, operation

    def fields(self, operation: dict[str, Any]) -> dict[str, Any]:
        """The fields of a route's body."""
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        while "$ref" in schema:
            schema = self.app.openapi()["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        found = schema.get("properties", {})
        assert isinstance(found, dict)
        return found


@pytest_asyncio.fixture
async def town(tmp_path: Path) -> AsyncIterator[Town]:
    settings = Settings(
        home=tmp_path / "home", demo=Demo(mode="off"), models=Models(dir=tmp_path / "none")
    )
    async with opened(settings, follow=False) as house:
        loaded = Loaded(settings=settings, origins={})
        app = create_app(house.services(pytest.fail, loaded=loaded))
        keys = {}
        for name, role in (("root", Role.ADMIN), ("ann", Role.EDITOR), ("bob", Role.READER)):
            house.accounts.add_user(name, role)
            _, secret = house.accounts.add_key(name)
            keys[name] = {"authorization": f"Bearer {secret}"}
        yield Town(house, app, keys)
        await app.state.jobs.aclose()
        await app.state.batches.aclose()
        await app.state.mcp.aclose()


def filled(path: str, value: str = "x") -> str:
    """A path with something in place of its parameters."""
    parts = [value if part.startswith("{") else part for part in path.split("/")]
    return "/".join(parts)


def refused(answer: Any, where: str) -> None:
    """Answered with a client's error that says what is wrong, and nothing of our insides."""
    assert 400 <= answer.status_code < 500, f"{where}: {answer.status_code} {answer.text[:300]}"
    told = answer.json()
    message = told["error"]["message"] if "error" in told else told["detail"]
    assert len(message) > 15, where
    assert "Traceback" not in answer.text and "gnomon/" not in answer.text, where
    assert len(answer.content) < 5_000, where


async def test_broken_bodies_are_refused_everywhere(town: Town) -> None:
    tried = 0
    async with town.client("root") as http:
        for method, path, operation in town.operations():
            if "requestBody" not in operation:
                continue
            for name, body in BROKEN.items():
                answer = await http.request(method, filled(path), content=body, headers=JSON)
                tried += 1
                refused(answer, f"{method} {path} with {name}")
    assert tried > 250


async def test_giant_bodies_are_refused_unread(town: Town) -> None:
    giant = b'{"question": "' + b"x" * 9_000_000 + b'"}'
    async with town.client("root") as http:
        for method, path, operation in town.operations():
            if "requestBody" in operation and "multipart" not in str(operation["requestBody"]):
                answer = await http.request(method, filled(path), content=giant, headers=JSON)
                assert answer.status_code == 413, path


async def test_wrong_types_never_break_a_route(town: Town) -> None:
    tried = 0
    async with town.client("root") as http:
        for method, path, operation in town.operations():
            if "requestBody" not in operation:
                continue
            known = town.fields(operation)
            for field in known:
                for value in WRONG:
                    body = dict.fromkeys(("question", "text", "input"), "Is it?") | {field: value}
                    body = {name: v for name, v in body.items() if name in known}
                    body.setdefault("stream", False) if "stream" in known else None
                    answer = await http.request(
                        method, filled(path), content=json.dumps(body), headers=JSON
                    )
                    tried += 1
                    where = f"{method} {path} with {field} = {str(value)[:20]!r}"
                    said = f"{where}: {answer.status_code} {answer.text[:300]}"
                    # No model is here, and nobody to sign in with: that may be said.
                    assert answer.status_code < 500 or answer.status_code in (501, 503), said
                    assert "internal" not in answer.text[:200], said
    assert tried > 1_000


async def test_monstrous_numbers_never_break_a_route(town: Town) -> None:
    ids = await belongings(town, "root")
    tried = 0
    async with town.client("root") as http:
        for method, path, operation in town.operations():
            if method != "GET" or path in ("/v1/changes", "/v1/watches/{id}/stream"):
                continue
            place = fitting(path, ids)
            for monster in MONSTERS:
                for parameter in operation.get("parameters", ()):
                    if parameter["in"] != "query":
                        continue
                    answer = await http.get(place, params={parameter["name"]: monster})
                    tried += 1
                    said = f"{place} {parameter['name']}={monster[:30]}: {answer.text[:300]}"
                    assert answer.status_code < 500 or answer.status_code in (501, 503), said
                    assert "internal" not in answer.text, said
                if path.endswith("/events"):
                    headers = {"last-event-id": monster.encode("utf-8")}
                    answer = await http.get(place, headers=headers)  # type: ignore[arg-type]
                    said = f"{place} Last-Event-ID {monster[:30]}: {answer.text[:300]}"
                    assert answer.status_code < 500 and "internal" not in answer.text, said
    assert tried > 100


async def test_strange_ids_are_unknown_everywhere(town: Town) -> None:
    strange = ("%00", "..%2F..%2Fetc%2Fpasswd", "%F0%9F%A6%94", "x" * 3_000, "%ff%fe", "'--", "%7B")
    async with town.client("root") as http:
        for method, path, _ in town.operations():
            if "{" not in path:
                continue
            for id in strange:
                answer = await http.request(method, filled(path, id))
                said = f"{method} {path} {id[:20]}: {answer.status_code} {answer.text[:300]}"
                assert answer.status_code < 500 or answer.status_code in (501, 503), said
                assert "internal" not in answer.text[:300], said


# -- other people's things ------------------------------------------------------
async def belongings(town: Town, name: str) -> dict[str, str]:
    """One of everything that somebody can have, by the part of the path that shows it."""
    async with town.client(name) as http:

        async def made(path: str, body: Any) -> dict[str, Any]:
            answer = await http.post(path, json=body)
            assert answer.is_success, f"{path}: {answer.text}"
            found = answer.json()
            assert isinstance(found, dict)
            return found

        await http.put("/v1/memory/settings", json={"on": True})
        asked = f"Is the {SECRET} open?"
        line = {"custom_id": SECRET, "method": "POST", "url": "/v1/responses"}
        line["body"] = {"model": "gnomon", "input": asked}  # type: ignore[assignment]
        file = await http.post(
            "/v1/files",
            files={"file": (f"{SECRET}.jsonl", json.dumps(line).encode())},
            data={"purpose": "batch"},
        )
        ids = {
            "answers": (await made("/v1/ask", {"question": asked, "stream": False}))["id"],
            "responses": (await made("/v1/responses", {"input": asked}))["id"],
            "watches": (await made("/v1/watches", {"question": asked}))["id"],
            "memory": (await made("/v1/memory", {"text": f"I live in {SECRET}."}))["id"],
            "runs": (await made("/v1/runs", {"question": asked, "steps": 1}))["id"],
            "keys": (await made("/v1/keys", {"label": SECRET}))["id"],
        }
        room = await http.post("/v1/containers", json={"name": SECRET})
        if room.is_success:  # Where code can be run.
            ids["containers"] = room.json()["id"]
        ids["threads"] = (await http.get("/v1/threads")).json()["threads"][0]["id"]
        if file.is_success:
            ids["files"] = file.json()["id"]
            batch = {"input_file_id": ids["files"], "endpoint": "/v1/responses"}
            ids["batches"] = (await made("/v1/batches", batch | {"completion_window": "24h"}))["id"]
        return ids


def fitting(path: str, ids: dict[str, str]) -> str:
    """A path with the id that belongs there, or with one that nobody has."""
    return filled(path, ids.get(path.split("/")[2] if path.count("/") > 1 else "", "x"))


async def test_other_peoples_ids_are_as_unknown_as_nobodys(town: Town) -> None:
    ids = await belongings(town, "ann")
    assert set(ids) >= {"answers", "batches", "watches", "memory", "runs", "responses", "threads"}
    tried = set()
    async with town.client("bob") as http:
        for method, path, _ in town.operations():
            owned = path.split("/")[2] if path.count("/") > 2 else ""
            if owned not in ids or "{" not in path or path == "/v1/threads/shared":
                continue
            id = ids[owned]
            nobodys = id[:-4] + "zzzz"
            answers = []
            for one in (id, nobodys):
                body = {} if method in ("POST", "PATCH", "PUT") else None
                if owned == "memory" and method == "PATCH":
                    body = {"text": "mine"}
                elif owned == "threads" and method == "PATCH":
                    body = {"title": "mine"}
                answers.append(await http.request(method, filled(path, one), json=body))
            theirs, none = answers
            where = f"{method} {path}: {theirs.status_code} {theirs.text[:200]}"
            if theirs.status_code == 403:  # Readers may not do that with their own, either.
                assert owned in ("files",), where
                continue
            assert theirs.status_code == 404, where
            assert SECRET not in theirs.text, where
            assert without(theirs, id) == without(none, nobodys), where
            tried.add(owned)
        for listing in ("watches", "runs", "threads", "batches", "files", "memory", "keys"):
            answer = await http.get(f"/v1/{listing}")
            assert answer.status_code == 200 and SECRET not in answer.text, listing
            assert not any(id in answer.text for id in ids.values()), listing
        follow = {"question": "And then?", "previous_id": ids["answers"], "stream": False}
        refused(await http.post("/v1/ask", json=follow), "previous_id")
        follow = {"input": "And then?", "previous_response_id": ids["responses"]}
        refused(await http.post("/v1/responses", json=follow), "previous_response_id")
        batch = {"endpoint": "/v1/responses", "completion_window": "24h"}
        theirs = await http.post("/v1/batches", json=batch | {"input_file_id": ids["files"]})
        refused(theirs, "input_file_id")
    assert tried >= {"answers", "batches", "watches", "memory", "runs", "responses", "threads"}
    async with town.client("ann") as http:  # All of it is still hers.
        for owned in ("watches", "runs", "batches", "threads", "responses", "answers"):
            assert (await http.get(f"/v1/{owned}/{ids[owned]}")).status_code == 200, owned
        assert SECRET in (await http.get("/v1/memory")).text


def without(answer: Any, id: str) -> str:
    """A refusal without what differs in every one."""
    told = answer.json()
    told.pop("request_id", None)
    return json.dumps(told).replace(id, "ID")


async def test_a_resumable_answer_is_its_askers_while_it_is_written(town: Town) -> None:
    question = {"question": f"Is the {SECRET} open?", "resumable": True}
    async with town.client("ann") as mine, town.client("bob") as theirs:
        async with asyncio.timeout(30):
            answer = await mine.post("/v1/ask", json=question)
        first = next(line for line in answer.text.splitlines() if line.startswith("data: "))
        id = json.loads(first.removeprefix("data: "))["id"]
        assert (await mine.get(f"/v1/answers/{id}/events")).status_code == 200
        for method, path in (("GET", "/events"), ("POST", "/cancel"), ("GET", "")):
            other = await theirs.request(method, f"/v1/answers/{id}{path}")
            assert other.status_code == 404 and SECRET not in other.text


# -- roles ----------------------------------------------------------------------
BEYOND_READERS = [
    ("GET", "/v1/settings"),
    ("PATCH", "/v1/settings"),
    ("POST", "/v1/registry/rollback"),
    ("POST", "/v1/record/refresh"),
    ("POST", "/v1/registry/mine/use"),
    ("GET", "/v1/users"),
    ("POST", "/v1/users"),
    ("PATCH", "/v1/users/root"),
    ("DELETE", "/v1/users/root"),
    ("GET", "/v1/audit"),
    ("POST", "/v1/sources"),
    ("GET", "/v1/sources.opml"),
    ("DELETE", "/v1/sources/x"),
    ("PATCH", "/v1/sources/x"),
    ("POST", "/v1/files"),
    ("DELETE", "/v1/files/x"),
    ("POST", "/v1/vector_stores"),
]


async def test_readers_may_read_and_ask_and_no_more(town: Town) -> None:
    async with town.client("bob") as http:
        for method, path in BEYOND_READERS:
            answer = await http.request(method, path, json={})
            assert answer.status_code == 403, f"{method} {path}: {answer.text}"
            told = answer.json()
            assert "scope" in (told.get("detail") or told["error"]["message"])
            # However the path is written, it opens nothing.
            for spelled in (
                path.replace("/v1/", "/v1//"),
                path.replace("/v1/", "/V1/"),
                path + "/",
            ):
                other = await http.request(method, spelled, json={})
                assert other.status_code in (307, 403, 404, 405), spelled
