"""One text at a time: its language, its quality, whether it is held out, what it is like."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np

from gnomon.extract.text import detect_lang
from gnomon.record.files import open_rows
from gnomon.train.corpus.inputs import ROWS, Text, find_units, read_unit
from gnomon.train.corpus.minhash import bands
from gnomon.train.corpus.rules import Rules
from gnomon.train.corpus.scrub import scrub
from gnomon.train.corpus.words import Hashes, plain_words, word_runs

_HELD_OUT_WORDS = 13


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """What decides which texts stay."""

    langs: tuple[str, ...] = ("en",)
    """Languages to keep; empty keeps all."""
    quality: bool = True
    line_ends: bool = False
    near: bool = True
    scrub: bool = True


class Judged(NamedTuple):
    """A text that stays: its row, its hash, its bands unless it is too short for them."""

    row: dict[str, str]
    exact: int
    bands: Hashes | None
    scrubbed: Counter[str]


class Judge:
    """Keeps tables that grow faster with use: one for each process."""

    def __init__(self, options: Options, held_out: Hashes) -> None:
        """`held_out` are the runs of words of evaluation sets, from `held_out_runs`."""
        self._options, self._held_out = options, held_out
        self._rules = Rules(line_ends=options.line_ends)

    def look(self, raw: Text) -> Judged | str:
        """What is kept of a text, or the reason why nothing is."""
        options, text, lang = self._options, raw.text, ""
        if raw.fault:
            return raw.fault
        if not text.strip():
            return "empty"
        lang = detect_lang(text, raw.lang)
        if options.langs and lang not in options.langs:
            return "lang"
        if options.quality:
            reason, text = self._rules.judge(text, lang)
            if reason:
                return reason
        if not text.strip():
            return "empty"
        words = plain_words(text) if options.near or len(self._held_out) else []
        if self._held(words):
            return "held_out"
        whole = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=8).digest()
        signature = bands(words) if options.near else None
        replaced: Counter[str] = Counter()
        if options.scrub:
            text, replaced = scrub(text)
        row = {"key": raw.key, "text": text, "source": raw.source, "url": raw.url, "lang": lang}
        kept = {name: value for name, value in row.items() if value}
        return Judged(kept, int.from_bytes(whole), signature, replaced)

    def _held(self, words: list[bytes]) -> bool:
        if not len(self._held_out):
            return False
        found = word_runs(words, _HELD_OUT_WORDS)
        at = np.searchsorted(self._held_out, found)
        return bool(np.any(self._held_out[np.minimum(at, len(self._held_out) - 1)] == found))


def held_out_runs(paths: Sequence[Path]) -> Hashes:
    """A hash for each run of 13 words in the texts of files, in order; of rows, in all fields.

    Runs of numbers alone do not count: words are compared without their digits' values.
    """
    found = [np.empty(0, np.uint64)]
    for text in _held_out_texts(paths):
        found.append(word_runs(plain_words(text), _HELD_OUT_WORDS))
    numbers = word_runs(plain_words("0 " * _HELD_OUT_WORDS), _HELD_OUT_WORDS)
    return np.setdiff1d(np.concatenate(found), numbers)


def _held_out_texts(paths: Sequence[Path]) -> Iterator[str]:
    for path in paths:
        if not path.name.lower().endswith(ROWS):
            yield from (text.text for unit in find_units([path]) for text in read_unit(unit))
            continue
        with open_rows(path) as rows:
            for _, row in rows:
                if isinstance(row, dict):
                    yield from (value for value in row.values() if isinstance(value, str))
