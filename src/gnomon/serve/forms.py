"""Answers in a form that the client prescribes: checked sentences, filled into a JSON schema."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import aclosing
from typing import Any

import msgspec

from gnomon.models.base import GenerateRequest, Generator, Message
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.types import Usage

_RULES = (
    "Fill in the JSON from the statements alone. Copy names, numbers and dates as they stand "
    "there. Where the statements say nothing, use an empty or null value."
)
_TRIES = 2
_STATEMENT_CHARS = 4_000


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """A format that was asked for: text, or JSON that a schema describes."""

    schema: Mapping[str, Any] | None = None
    wanted: Mapping[str, Any] = msgspec.field(default_factory=lambda: {"type": "text"})
    """As the client gave it, to be repeated in the response."""


class Filled(msgspec.Struct, frozen=True, kw_only=True):
    """JSON that fits the schema."""

    text: str
    unsupported: tuple[str, ...] = ()
    """Places (JSON pointers) of strings and numbers that no statement contains."""
    usage: Usage = Usage()


def form_of(wanted: Mapping[str, Any] | None, param: str) -> Form:
    """The form that `text.format` or `response_format` asks for. Raises ApiError 400."""
    kind = (wanted or {}).get("type", "text")
    if wanted is None or kind == "text":
        return Form()
    if kind == "json_object":
        return Form(schema={"type": "object"}, wanted=wanted)
    if kind != "json_schema":
        raise bad_request(
            f"{param}.type = {shown(kind)} is none of text, json_object, json_schema.",
            param=f"{param}.type",
            code="request.format",
        )
    schema = wanted.get("schema") or (wanted.get("json_schema") or {}).get("schema")
    if not isinstance(schema, Mapping):
        raise bad_request(f"{param} has no schema.", param=f"{param}.schema")
    from jsonschema import SchemaError, validators  # here: it costs the start of the program

    try:
        validators.validator_for(schema).check_schema(dict(schema))
    except SchemaError as error:
        raise bad_request(
            f"{param}.schema is no JSON schema: {shown(error.message)}.", param=f"{param}.schema"
        ) from None
    return Form(schema=schema, wanted=wanted)


async def fill(form: Form, generator: Generator | None, question: str, statements: str) -> Filled:
    """The statements as JSON. Raises ApiError where no model can, or does, keep to the schema."""
    schema = form.schema or {}
    if generator is None:
        raise ApiError(
            400,
            "Filling in a JSON schema needs a language model, and none is ready.",
            code="request.format",
            hint="The extra key `gnomon` of a text answer holds it as structured data.",
        )
    trouble = ""
    read = wrote = 0
    for _ in range(_TRIES):
        rules = f"{_RULES}\nSchema: {json.dumps(schema)}" if generator.capable else _RULES
        again = f"\nThe last try did not fit: {trouble}" if trouble else ""
        said = f"Question: {question}\nStatements: {statements[:_STATEMENT_CHARS]}{again}"
        request = GenerateRequest(
            messages=(Message(role="system", content=rules), Message(role="user", content=said)),
            max_tokens=512 if not generator.capable else 2_000,
            json_schema=schema,
        )
        written = ""
        async with aclosing(generator.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                written += chunk.text
                read, wrote = read + chunk.input_tokens, wrote + chunk.output_tokens
        try:
            value = json.loads(written)
            _check(value, schema)
        except ValueError as error:
            trouble = str(error)[:300]
            continue
        return Filled(
            text=json.dumps(value, ensure_ascii=False),
            unsupported=tuple(_unsupported(value, statements.casefold())),
            usage=Usage(input_tokens=read, output_tokens=wrote),
        )
    raise ApiError(
        502,
        f"{generator.name} did not keep to the schema: {shown(trouble)}.",
        code="model.schema",
        hint="Simplify the schema, or use a more capable model.",
    )


def _check(value: Any, schema: Mapping[str, Any]) -> None:
    """Raise ValueError if the value does not fit. Patterns are not run: a client could send one
    that takes for ever. References lead nowhere but into the schema itself."""
    from jsonschema import ValidationError, validators
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    kind = validators.validator_for(schema)
    plain = validators.extend(  # type: ignore[no-untyped-call]
        kind, {"pattern": lambda *_: None, "patternProperties": lambda *_: None}
    )
    try:
        plain(dict(schema), registry=Registry()).validate(value)
    except (ValidationError, Unresolvable) as error:
        raise ValueError(getattr(error, "message", f"a reference leads nowhere: {error}")) from None


def _unsupported(value: Any, statements: str, place: str = "") -> Iterator[str]:
    """Where a string or number stands that the statements do not contain."""
    if isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _unsupported(inner, statements, f"{place}/{name}")
    elif isinstance(value, list):
        for i, inner in enumerate(value):
            yield from _unsupported(inner, statements, f"{place}/{i}")
    elif isinstance(value, bool) or value is None:
        return
    elif str(value).strip() and str(value).strip().casefold() not in statements:
        yield place or "/"
