"""Made-up requests, from the served OpenAPI document, against a real house: no 5xx, and every
reply as the document says."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
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
    assert tried > 65
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
            _try(operation, checks)
        except AssertionError as failure:
            failures.append(f"{operation.label}: {failure}"[:900])
        except BaseExceptionGroup as group:
            failures.append(f"{operation.label}: {group.exceptions[0]}"[:900])
    return tried, failures


def _try(operation: Any, checks: list[Any]) -> None:
    @settings(
        max_examples=20,
        deadline=None,
        database=None,
        derandomize=True,
        phases=[Phase.explicit, Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy())
    def check(case: Any) -> None:
        answer = case.call(headers=KEY, timeout=20)
        case.validate_response(answer, checks=checks)

    check()
