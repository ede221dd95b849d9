"""The grammars of the town's three languages."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files

from gnomon.testing.world.grammar import Grammar

LANGS = ("en", "de", "es")


_NAMES = ("street", "district", "first", "last", "weekday", "club", "shop", "ship")


@cache
def _rules(lang: str) -> dict[str, list[str]]:
    return tomllib.loads((files(__package__) / f"talk_{lang}.toml").read_text("utf-8"))


@cache
def grammar(lang: str) -> Grammar:
    """The rules of a language."""
    return Grammar(_rules(lang))


def proper_names() -> frozenset[str]:
    """Names of people, places and clubs: what changes while a template stays the same."""
    return frozenset(
        name for lang in LANGS for rule in _NAMES for name in _rules(lang).get(rule, ())
    )
