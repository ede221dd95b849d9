"""The town's citizens on the networks: any number of short posts a second, none like another.

What they write depends on nothing but seed, rate and time. Most of it is about nothing much; some
repeat what an outlet just published, in their own words and with their own mistakes. They are no
source of truth: `Truth` does not count them as evidence.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from functools import cache

import msgspec

from gnomon.testing.world.grammar import Grammar, Writer, finish
from gnomon.testing.world.model import OUTLETS, Item
from gnomon.testing.world.talk import LANGS, grammar
from gnomon.testing.world.world import World

_SHARES = (0.7, 0.85, 1.0)
"""Cumulated shares of the languages."""
_ECHOES = 0.12
_ECHOED = timedelta(hours=6)
_ECHOED_ITEMS = 200
_TYPO, _LOWER, _SLANG, _TAG = 0.25, 0.3, 0.25, 0.45
_DELETED, _EDITED = 0.03, 0.03
_AUTHORS = 20_000
_SECOND = timedelta(seconds=1)
_DULL = ("parking", "weather", "herring")
_NOBODY: dict[str, object] = {}


class Post(msgspec.Struct, frozen=True, kw_only=True):
    """One post of a citizen, with its edit and its end if it has one."""

    id: str
    author: str
    lang: str
    text: str
    at: datetime
    edited_at: datetime | None = None
    edited: str = ""
    """What it says after the edit."""
    deleted_at: datetime | None = None
    echoes: str = ""
    """Key of the item that it repeats."""


class Crowd:
    """Everybody who posts in the town, `per_s` posts a second together."""

    def __init__(self, world: World, *, per_s: float, place: str = "") -> None:
        """`place` tells several crowds of one town apart."""
        if not 0 < per_s <= 100_000:
            raise ValueError(f"A crowd writes between 0 and 100,000 posts a second, not {per_s}.")
        self._world = world
        self._per_s = per_s
        self._name = f"{world.seed} crowd {place} {per_s}"
        # Slow crowds are drawn in longer pieces, so that each piece holds about one post.
        self._piece = _SECOND * max(1, round(1 / per_s))
        self._echoed_at: datetime | None = None
        self._echoed: Sequence[tuple[str, str, str]] = ()
        self._voices = [_Voice(lang) for lang in LANGS]

    def posts(self, since: datetime, until: datetime) -> Iterator[Post]:
        """Posts first published in [`since`, `until`), in order."""
        number = (since - self._world.start) // self._piece
        while (begin := self._world.start + number * self._piece) < until:
            for post in self._piece_of(number, begin):
                if since <= post.at < until:
                    yield post
            number += 1

    def _piece_of(self, number: int, begin: datetime) -> Iterator[Post]:
        rng = random.Random(f"{self._name} {number}")
        chance = rng.random
        wanted = self._per_s * self._piece.total_seconds()
        n = int(wanted) + (chance() < wanted % 1)
        us = self._piece // timedelta(microseconds=1)
        for place in range(n):
            share = chance()
            voice = self._voices[0 if share < _SHARES[0] else 1 if share < _SHARES[1] else 2]
            at = begin + timedelta(microseconds=us * place // n)
            text, echoes = self._text(voice, chance, begin)
            fate = chance()
            deleted = (
                at + timedelta(seconds=30 + int(chance() * 3_000)) if fate < _DELETED else None
            )
            edited = None
            if _DELETED <= fate < _DELETED + _EDITED:
                edited = at + timedelta(seconds=20 + int(chance() * 900))
            yield Post(
                id=f"c{number}-{place}",
                author=f"{voice.firsts[int(chance() * len(voice.firsts))]}"
                f"_{int(chance() ** 3 * _AUTHORS)}".lower(),
                lang=voice.lang,
                text=text,
                at=at,
                edited_at=edited,
                edited=f"{text} {voice.write(voice.slang, chance)}" if edited else "",
                deleted_at=deleted,
                echoes=echoes,
            )

    def _text(self, voice: _Voice, chance: Callable[[], float], begin: datetime) -> tuple[str, str]:
        echoes = ""
        text = ""
        if chance() < _ECHOES:
            news = [each for each in self._news(begin) if each[0] == voice.lang]
            if news:
                _, echoes, title = news[int(chance() * len(news))]
                text = f"{voice.write(voice.slang, chance)}: {title}. "
                text += voice.write(voice.remark, chance)
        if not text:
            text = voice.write(voice.post, chance)
        if chance() < _SLANG:
            text = f"{text} {voice.write(voice.slang, chance)}"
        text = finish(text)
        if chance() < _LOWER:
            text = text.lower()
        if chance() < _TYPO:
            text = _mistyped(text, chance)
        while chance() < _TAG:
            text = f"{text} {voice.write(voice.tag, chance)}"
        return text, echoes

    def _news(self, at: datetime) -> Sequence[tuple[str, str, str]]:
        """(language, key, title) of what the outlets published lately; looked up each minute."""
        minute = at.replace(second=0, microsecond=0)
        if minute != self._echoed_at:
            self._echoed_at = minute
            items = list(self._world.items(minute - _ECHOED, minute))[-_ECHOED_ITEMS:]
            self._echoed = [
                (OUTLETS[item.outlet].lang, item.key, item.versions[0].title)
                for item in items
                if item.versions[0].title and _worth_telling(item)
            ]
        return self._echoed


def _worth_telling(item: Item) -> bool:
    topics = [topic for topic, _ in item.versions[0].tells]
    return not item.hostile and any(not topic.startswith(_DULL) for topic in topics)


class _Voice:
    """How people write in one language."""

    def __init__(self, lang: str) -> None:
        words: Grammar = grammar(lang)
        self.lang = lang
        self.firsts = _plain(lang)
        self.post = words.writer("post")
        self.remark = words.writer("remark")
        self.slang = words.writer("slang")
        self.tag = words.writer("tag")

    @staticmethod
    def write(rule: Writer, chance: Callable[[], float]) -> str:
        """One expansion of a rule, unfinished."""
        parts: list[str] = []
        rule(chance, _NOBODY, parts)
        return "".join(parts)


@cache
def _plain(lang: str) -> tuple[str, ...]:
    return tuple(grammar(lang).words("first"))


def _mistyped(text: str, chance: Callable[[], float]) -> str:
    """One letter lost, doubled, or swapped with the next; digits stay what they are."""
    place = 1 + int(chance() * max(len(text) - 3, 1))
    pair = text[place : place + 2]
    if not pair.isalpha():
        return text
    kind = chance()
    wrong = pair[1] + pair[0] if kind < 0.5 else pair[0] if kind < 0.75 else pair[0] + pair
    return text[:place] + wrong + text[place + 2 :]
