"""Made-up requests, from the served OpenAPI document, against a real house: no 5xx, and every
reply as the document says."""

from __future__ import annotations

import asyncio
import itertools
import os
from pathlib import Path
from typing import Any

import httpx2
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from gnomon.app import opened
from gnomon.settings import Demo, Models, Server, Settings

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]
ENDLESS = ("/v1/changes",)
ENDLESS_OF_ITS_OWN = ("/v1/watches/{id}/stream",)
"""Ends for a watch that is not there only."""
EXAMPLES = int(os.environ.get("GNOMON_TEST_EXAMPLES", "20"))
ASKED = {"question": "Is the bridge open?"}
LINE = b'{"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": {"input": "Open?"}}'
MADE: dict[str, tuple[dict[str, Any], str]] = {
    "answers": (ASKED | {"stream": False}, "id"),
    "threads": (ASKED | {"stream": False}, "id"),
    "watches": (ASKED, "id"),
    "runs": (ASKED | {"steps": 1}, "id"),
    "responses": ({"input": "Is the bridge open?"}, "response_id"),
    "memory": ({"text": "I live in the harbour."}, "note_id"),
    "files": ({"purpose": "assistants"}, "file_id"),
    "vector_stores": ({"name": "Papers"}, "store_id"),
    "batches": ({"endpoint": "/v1/responses", "completion_window": "24h"}, "batch_id"),
    "keys": ({"label": "a"}, "id"),
    "users": ({"role": "reader"}, "name"),
}
"""How to make one of what a route shows, and the name of its id in the path."""
PEOPLE = itertools.count()
ABROAD = ("/v1/session/oidc", "/v1/session/oidc/callback")
NO_MODEL = ("/v1/embeddings", "/v1/tokenize-text")
KEY = {"Authorization": "Bearer a-long-enough-key-for-tests"}

pytestmark = pytest.mark.slow


class _Served:
    def __init__(self, services: Any) -> None:
        self.services = services


async def test_no_request_breaks_the_server_or_its_document(tmp_path: Path, served: Any) -> None:
    made = Settings(
        home=tmp_path / "home",
        demo=Demo(mode="off"),
        models=Models(dir=tmp_path / "none"),
        server=Server(api_key=KEY["Authorization"].removeprefix("Bearer ")),
    )
    async with (
        opened(made, follow=False) as house,
        served(_Served(house.services(on_damage=pytest.fail))) as url,
    ):
        tried, failures = await asyncio.to_thread(try_all, url)
    assert tried > 90
    assert not failures, "\n\n".join(failures)


def try_all(url: str) -> tuple[int, list[str]]:
    document = schemathesis.openapi.from_url(f"{url}/openapi.json", headers=KEY)
    failures: list[str] = []
    tried = 0
    for found in document.get_all_operations():
        operation = found.ok()
        if operation.path in ENDLESS:
            continue
        tried += 1
        # Without models, these say that they need one; what they refuse is tested with fakes.
        checks = CHECKS[1:] if operation.path in (*NO_MODEL, *ABROAD) else CHECKS

        try:
            _try(operation, checks, belonging(url, operation.path))
        except AssertionError as failure:
            failures.append(f"{operation.label}: {failure}"[:900])
        except BaseExceptionGroup as group:
            failures.append(f"{operation.label}: {group.exceptions[0]}"[:900])
    return tried, failures


def belonging(url: str, path: str) -> dict[str, Any]:
    """Ids of things that are there, for the parameters of a path: made anew for every route,
    because one of them deletes."""
    owned = path.split("/")[2] if path.count("/") > 2 else ""
    if "{" not in path or owned not in MADE:
        return {}
    body, parameter = MADE[owned]
    with httpx2.Client(base_url=url, headers=KEY, timeout=30) as http:
        if owned == "memory":
            http.put("/v1/memory/settings", json={"on": True}).raise_for_status()
        if owned in ("keys", "users"):
            name = f"ann{next(PEOPLE)}"
            http.post("/v1/users", json=MADE["users"][0] | {"name": name}).raise_for_status()
            if owned == "users":
                return {parameter: name}
            body = body | {"user": name}
        if owned == "batches":
            sent = {"file": ("in.jsonl", LINE)}
            file = http.post("/v1/files", files=sent, data={"purpose": "batch"})
            body = body | {"input_file_id": file.json()["id"]}
        if owned in ("answers", "threads"):
            id = http.post("/v1/ask", json=body).raise_for_status().json()["id"]
            if owned == "threads":
                id = http.get("/v1/threads").json()["threads"][0]["id"]
            return {parameter: id}
        if owned == "files":
            made = http.post("/v1/files", files={"file": ("a.txt", b"Bridge.")}, data=body)
        else:
            made = http.post(f"/v1/{owned}", json=body)
        return {parameter: made.raise_for_status().json()["id"]}


def _try(operation: Any, checks: list[Any], there: dict[str, Any]) -> None:
    endless = operation.path in ENDLESS_OF_ITS_OWN

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(), real=st.booleans())
    def check(case: Any, real: bool) -> None:
        if real and there and not endless:
            case.path_parameters = {**case.path_parameters, **there}
        answer = case.call(headers=KEY, timeout=20)
        case.validate_response(answer, checks=checks)

    check()
