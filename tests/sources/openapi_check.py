"""Validates exchanges with a stand-in against a service's OpenAPI document."""

from __future__ import annotations

import gzip
import json
import os
import re
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator

DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


def _modern(schema: Any) -> Any:
    """OpenAPI 3.0's `nullable` as JSON Schema says it; choices need not exclude each other."""
    if isinstance(schema, list):
        return [_modern(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _modern(value) for name, value in schema.items() if name != "discriminator"}
    if isinstance(made.get("oneOf"), list):
        # Generated documents list kinds that overlap (a quote and a shallow quote).
        made["anyOf"] = made.pop("oneOf")
    if schema.get("nullable") and isinstance(schema.get("type"), str):
        made["type"] = [schema["type"], "null"]
        if "enum" in made:
            made["enum"] = [*made["enum"], None]
    return made


class Description:
    """An OpenAPI document that can judge."""

    def __init__(self, name: str) -> None:
        path = DATA / name
        if not path.exists():
            pytest.skip(f"needs {name} in GNOMON_TEST_DATA")
        self.document = _modern(json.loads(gzip.decompress(path.read_bytes())))

    def operation(self, method: str, path: str) -> dict[str, Any] | None:
        paths = self.document["paths"]
        for template in sorted(paths, key=lambda path: "{" in path):
            operations = paths[template]
            pattern = re.sub(r"\\\{\w+\\\}", "[^/]+", re.escape(template))
            if re.fullmatch(pattern, path) and method.lower() in operations:
                found: dict[str, Any] = operations[method.lower()]
                return found
        return None

    def problems(self, schema: dict[str, Any], value: Any) -> list[str]:
        whole = {"components": self.document["components"], **schema}
        found = Draft202012Validator(whole).iter_errors(value)
        return [f"{'/'.join(map(str, e.absolute_path))}: {e.message[:200]}" for e in found]

    def exchange(self, request: Any, reply: Any) -> list[str]:
        """What is wrong with a request and its answer."""
        operation = self.operation(request.method, request.path)
        if operation is None:
            return [f"{request.method} {request.path} is not described"]
        return [*self._request(request, operation), *self._reply(request, reply, operation)]

    def _request(self, request: Any, operation: dict[str, Any]) -> list[str]:
        problems = []
        known = {}
        for parameter in operation.get("parameters", ()):
            ref = parameter.get("$ref", "").rpartition("/")[2]
            found = self.document["components"]["parameters"][ref] if ref else parameter
            known[found["name"]] = found.get("schema", {})
        for name, value in request.params:
            schema = known.get(name.removesuffix("[]"))
            if schema is None:
                problems.append(f"{request.path}: parameter {name} is not described")
                continue
            given: Any = value
            if schema.get("type") == "array" and not name.endswith("[]"):
                given = value.split(",")
            elif schema.get("type") == "array":
                given = [value]
            elif schema.get("type") == "integer":
                given = int(value)
            elif schema.get("type") == "boolean":
                given = value == "true"
            problems += [f"{request.path}?{name}: {p}" for p in self.problems(schema, given)]
        content = operation.get("requestBody", {}).get("content", {}).get("application/json")
        if content and request.body:
            problems += self.problems(content["schema"], json.loads(request.body))
        return problems

    def _reply(self, request: Any, reply: Any, operation: dict[str, Any]) -> list[str]:
        responses = operation["responses"]
        described = responses.get(str(reply.status)) or (
            responses.get("200") if reply.status < 300 else responses.get("default")
        )
        if described is None:
            return [f"{request.path}: status {reply.status} is not described"]
        content = described.get("content", {}).get("application/json")
        if content is None or reply.stream is not None or not reply.body:
            return []
        where = f"{request.method} {request.path}"
        found = self.problems(content["schema"], json.loads(reply.body))
        return [f"{where} answers: {problem}" for problem in found]
