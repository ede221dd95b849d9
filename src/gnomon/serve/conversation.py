"""From a client's messages to one question with its history."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from gnomon.answer.base import AnswerMode, Turn
from gnomon.serve.errors import ApiError, bad_request, shown

MODELS: Mapping[str, AnswerMode] = {"gnomon": "fast", "gnomon-extract": "extract"}
"""Model ids that we serve, and how each answers."""

MAX_QUESTION_CHARS = 20_000
MAX_TURNS = 50
"""Earlier turns beyond this many, counted from the newest, are not read."""

_LINK = re.compile(r"\[\[\d+\]\]\([^)\s]*\)")
# Tuples: what clients send may be unhashable.
_OUTPUT_ITEMS = (
    "reasoning",
    "web_search_call",
    "x_search_call",
    "custom_tool_call",
    "file_search_call",
    "mcp_call",
)
_TEXT_PARTS = ("text", "input_text", "output_text")
IGNORED = (
    "temperature",
    "top_p",
    "top_k",
    "min_p",
    "seed",
    "stop",
    "logprobs",
    "top_logprobs",
    "frequency_penalty",
    "presence_penalty",
    "logit_bias",
    "reasoning",
    "reasoning_effort",
    "max_turns",
)
"""Wishes that our writers do not follow; those given are listed in the answer."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """What is asked, and what was said before."""

    question: str
    history: tuple[Turn, ...] = ()
    instructions: str = ""


def mode_of(model: str) -> AnswerMode:
    """How the model `model` answers; a 404 for a model that we do not have."""
    if model not in MODELS:
        raise ApiError(
            404,
            f"There is no model {shown(model)} here.",
            code="model_not_found",
            param="model",
            hint=f"Use {' or '.join(MODELS)}.",
        )
    return MODELS[model]


def question_text(text: str, param: str) -> str:
    """A question that can be asked, or a 400."""
    text = text.strip()
    if not text or not any(c.isprintable() and not c.isspace() for c in text):
        raise bad_request(f"{param} is empty: there is no question.", param=param)
    if len(text) > MAX_QUESTION_CHARS:
        raise bad_request(
            f"{param} has {len(text):,} characters; a question may have {MAX_QUESTION_CHARS:,}.",
            param=param,
            code="request.too_long",
        )
    return text


def converse(items: Sequence[Mapping[str, Any]], *, param: str) -> Conversation:
    """Read messages (of either API) in order; the last user messages are the question."""
    instructions: list[str] = []
    turns: list[Turn] = []
    asked: list[str] = []
    for i, item in enumerate(items):
        here = f"{param}.{i}"
        kind = item.get("type") or "message"
        if kind in _OUTPUT_ITEMS:
            continue
        if kind != "message":
            raise bad_request(f"{here}.type = {shown(kind)} cannot be read here.", param=here)
        role = item.get("role")
        text = _text(item.get("content"), here)
        if role in ("system", "developer"):
            instructions.append(text)
        elif role == "user":
            asked.append(text)
        elif role == "assistant":
            turns.append(Turn(question="\n".join(asked), answer=_LINK.sub("", text)))
            asked = []
        else:
            raise bad_request(
                f"{here}.role = {shown(role)} is none of user, assistant, system, developer.",
                param=f"{here}.role",
            )
    if not asked:
        raise bad_request(f"{param} must end with a message of the user.", param=param)
    return Conversation(
        question=question_text("\n".join(asked), param),
        history=tuple(turns[-MAX_TURNS:]),
        instructions="\n".join(t for t in instructions if t),
    )


def text_format_only(form: Mapping[str, Any] | None, param: str) -> None:
    """Refuse formats other than text."""
    kind = (form or {}).get("type", "text")
    if kind != "text":
        raise ApiError(
            400,
            f"{param}.type = {shown(kind)} is not possible: checked answers are sentences.",
            code="request.format",
            param=f"{param}.type",
            hint="The extra key `gnomon` of the answer holds it as structured data.",
        )


def limits(max_output_tokens: int | None) -> dict[str, Any]:
    """The client's limit as keyword arguments of a Question; nothing keeps our default."""
    return {} if max_output_tokens is None else {"max_output_tokens": max_output_tokens}


def ignored(extra: Mapping[str, Any] | None) -> list[str]:
    """Which given wishes have no effect."""
    return [name for name in IGNORED if (extra or {}).get(name) is not None]


def _text(content: Any, param: str) -> str:
    if content is None:
        return ""
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        raise bad_request(
            f"{param}.content must be a string or a list of parts.", param=f"{param}.content"
        )
    texts = []
    for j, part in enumerate(content):
        here = f"{param}.content.{j}"
        if not isinstance(part, Mapping):
            raise bad_request(f"{here} must be an object.", param=here)
        kind = part.get("type")
        if kind == "refusal":
            continue
        text = part.get("text")
        if kind not in _TEXT_PARTS or not isinstance(text, str):
            raise bad_request(
                f"{here}.type = {shown(kind)} cannot be read: only text can.", param=here
            )
        texts.append(text)
    return "\n".join(texts)
