"""A grammar of prose: `<rule>` expands a rule, `[a|b]` chooses, `{name}` puts in a value.

Texts are parsed once and expanded as often as wanted, each time with the randomness of the
caller; that is what lets one process write tens of thousands of different posts a second.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

_TOKEN: Final = re.compile(r"<([a-z]\w*)>|\{([a-z_]\w*)(?::([a-z]+))?\}|([\[\]|])")
_SENTENCE_START: Final = re.compile(r"(?:^|(?<=[.!?] )|(?<=\n)|(?<=[¡¿]))[a-zäöüáéíóúñ]")
_CONTRACTED: Final = re.compile(r"\b([dD]e|[aA]) el (?=[a-z])")
_STOPS: Final = re.compile(r"(?: +(?=[.,?!])|(?<=[.,?!]) *[.,])()")
_GAP: Final = re.compile(r"[ \n]*\n[ \n]*|  +")

Writer = Callable[[Callable[[], float], Mapping[str, Any], list[str]], None]
"""Appends an expansion: from a source of chance in [0, 1) and the values."""


class Grammar:
    """Rules by name, each a choice of texts."""

    def __init__(self, rules: Mapping[str, Sequence[str]]) -> None:
        self._rules: dict[str, Writer] = {}
        self._texts: dict[str, Writer] = {}
        self._options = dict(rules)
        for name, options in rules.items():
            self._rules[name] = _choice([self._parse(option) for option in options])

    def expand(self, text: str, rng: random.Random, values: Mapping[str, Any]) -> str:
        """`text` written out once, every sentence with a capital first letter.

        Raises KeyError for a rule or a value that nobody defined.
        """
        writer = self._texts.get(text)
        if writer is None:
            writer = self._texts[text] = self._parse(text)
        parts: list[str] = []
        writer(rng.random, values, parts)
        return finish("".join(parts))

    def words(self, rule: str) -> Sequence[str]:
        """The options of a rule, as they are written."""
        return self._options[rule]

    def writer(self, rule: str) -> Writer:
        """The rule itself, for who writes many texts and puts the parts together."""
        return self._rules[rule]

    def _parse(self, text: str) -> Writer:
        stack: list[list[list[Writer]]] = [[[]]]
        last = 0
        for found in _TOKEN.finditer(text):
            if found.start() > last:
                stack[-1][-1].append(_word(text[last : found.start()]))
            last = found.end()
            rule, value, spec, sign = found.groups()
            if rule:
                stack[-1][-1].append(self._rule(rule))
            elif value:
                stack[-1][-1].append(_value(value, spec or ""))
            elif sign == "[":
                stack.append([[]])
            elif sign == "|":
                stack[-1].append([])
            else:
                options = stack.pop()
                stack[-1][-1].append(_choice([_sequence(option) for option in options]))
        if last < len(text):
            stack[-1][-1].append(_word(text[last:]))
        if len(stack) != 1 or len(stack[0]) != 1:
            raise ValueError(f"brackets do not match in {text!r}")
        return _sequence(stack[0][0])

    def _rule(self, name: str) -> Writer:
        rules = self._rules

        def write(chance: Callable[[], float], values: Mapping[str, Any], to: list[str]) -> None:
            rules[name](chance, values, to)

        return write


def finish(text: str) -> str:
    """Spaces, stops and paragraphs in order, a capital letter at the start of every sentence."""
    text = text.strip()
    if " el " in text:
        text = _CONTRACTED.sub(r"\1l ", text)
    text = _STOPS.sub(r"\1", text)
    if "  " in text or "\n" in text:
        text = _GAP.sub(lambda found: "\n\n" if "\n" in found[0] else " ", text)
    return _SENTENCE_START.sub(lambda found: found[0].upper(), text)


def _word(text: str) -> Writer:
    def write(chance: Callable[[], float], values: Mapping[str, Any], to: list[str]) -> None:
        to.append(text)

    return write


def _value(name: str, spec: str) -> Writer:
    def write(chance: Callable[[], float], values: Mapping[str, Any], to: list[str]) -> None:
        to.append(format(values[name], spec))

    return write


def _sequence(parts: Sequence[Writer]) -> Writer:
    if len(parts) == 1:
        return parts[0]

    def write(chance: Callable[[], float], values: Mapping[str, Any], to: list[str]) -> None:
        for part in parts:
            part(chance, values, to)

    return write


def _choice(options: Sequence[Writer]) -> Writer:
    if len(options) == 1:
        return options[0]
    n = len(options)

    def write(chance: Callable[[], float], values: Mapping[str, Any], to: list[str]) -> None:
        options[int(chance() * n)](chance, values, to)

    return write
