"""Enough of X's query language for a stand-in: terms, phrases, operators, OR, brackets, minus."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

Match = Callable[[Mapping[str, Any], Mapping[str, Any]], bool]
"""(post, author) to whether it matches."""

_TOKEN = re.compile(r'-?\(|\)|-?"[^"]*"|-?[^\s()"]+')
STREAM_ONLY = ("sample", "bio")
_OPERATORS = ("from", "to", "lang", "is", "has", "conversation_id", "url", *STREAM_ONLY)


class QueryError(ValueError):
    """The query cannot be read; the text says why, as X would."""


def parse_query(query: str, *, search: bool = False) -> Match:
    """What a query matches. `search` refuses what recent search does not know."""
    tokens = _TOKEN.findall(query)
    if not tokens:
        raise QueryError("Rule is empty.")
    match, rest = _any(tokens, search)
    if rest:
        raise QueryError(f"Unexpected {rest[0]!r}.")
    return match


def _any(tokens: list[str], search: bool) -> tuple[Match, list[str]]:
    first, tokens = _all(tokens, search)
    choices = [first]
    while tokens and tokens[0] == "OR":
        choice, tokens = _all(tokens[1:], search)
        choices.append(choice)
    return lambda post, author: any(match(post, author) for match in choices), tokens


def _all(tokens: list[str], search: bool) -> tuple[Match, list[str]]:
    wanted: list[Match] = []
    while tokens and tokens[0] not in (")", "OR"):
        if tokens[0] in ("(", "-("):
            negated = tokens[0] == "-("
            match, tokens = _any(tokens[1:], search)
            if not tokens:
                raise QueryError("A bracket is not closed.")
            tokens = tokens[1:]
        else:
            negated = tokens[0].startswith("-") and len(tokens[0]) > 1
            match, tokens = _term(tokens[0].removeprefix("-"), search), tokens[1:]
        wanted.append(_not(match) if negated else match)
    if not wanted:
        raise QueryError("Something is missing.")
    return lambda post, author: all(match(post, author) for match in wanted), tokens


def _not(match: Match) -> Match:
    return lambda post, author: not match(post, author)


def _term(term: str, search: bool) -> Match:
    name, colon, value = term.partition(":")
    if colon and name in _OPERATORS and not term.startswith('"'):
        if search and name in STREAM_ONLY:
            raise QueryError(f"Reference to invalid operator '{name}'.")
        return _operator(name, value)
    wanted = term.strip('"').lower()
    whole = re.compile(rf"(?<![\w#@]){re.escape(wanted)}(?!\w)")
    return lambda post, author: bool(whole.search(str(post["text"]).lower()))


def _operator(name: str, value: str) -> Match:
    value = value.lower()
    if name == "from":
        return lambda post, author: (
            value.removeprefix("@")
            in (
                str(author["username"]).lower(),
                author["id"],
            )
        )
    if name == "lang":
        return lambda post, author: post["lang"] == value
    if name == "is":
        kind = {"retweet": "retweeted", "reply": "replied_to", "quote": "quoted"}.get(value, value)
        return lambda post, author: any(r["type"] == kind for r in post["references"])
    if name == "has":
        return lambda post, author: "http" in post["text"] if value == "links" else False
    if name == "conversation_id":
        return lambda post, author: post["conversation_id"] == value
    if name == "sample":
        return lambda post, author: int(post["id"]) % 100 < int(value or 0)
    return lambda post, author: value in str(post["text"]).lower()
