"""How well a trained model reads text that it was not trained on. Needs PyTorch.

Three figures, each with its 95 % interval: bits per byte and perplexity of the text, and how often
the model picks the word that really comes next out of four. Bits per byte do not depend on the
tokenizer, so they compare any two models. Intervals are by resampling documents (bootstrap), so
they tell what other texts of the same kind would have given, and nothing of other kinds.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray

from gnomon.errors import ConfigError
from gnomon.train.corpus.inputs import find_units, read_unit
from gnomon.train.judgement import Measure
from gnomon.train.models.transformer import Transformer

_DRAWS = 1_000
_BATCH_TOKENS = 4_096
_CHOICES = 4
_BEFORE_CHARS = 160
"""What the model reads before it picks a word."""
_WORD = re.compile(r"(?<=[\w,;:] )[A-Za-z]{4,}\b")
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Subject:
    """A model that can be judged, with the tokenizer that it was trained with."""

    name: str
    model: Transformer
    encode: Callable[[str], list[int]]
    end_id: int
    window: int
    """The most tokens that it is shown at once."""
    decode: Callable[[Sequence[int]], str] | None = None
    """Tokens to text; only what writes text needs it."""


@dataclass(frozen=True)
class Reading:
    """What a judgement rests on: the figures, and the parts by which two models are compared."""

    measures: tuple[Measure, ...]
    text_sha256: str
    bits: _Floats = field(repr=False)
    """Of each document."""
    body_bytes: _Floats = field(repr=False)
    hits: _Floats = field(repr=False)
    """1 for each word that was picked rightly."""

    def measure(self, name: str) -> Measure:
        """The figure `name`; no number where the text gave none."""
        nothing = Measure(name=name, value=math.nan)
        return next((m for m in self.measures if m.name == name), nothing)

    def value(self, name: str) -> float:
        """The value of the figure `name`."""
        return self.measure(name).value


def held_out(paths: Iterable[str | Path]) -> list[str]:
    """The texts of files and folders, as `corpus build` reads them.

    Raises ConfigError where there is none.
    """
    paths = list(paths)
    found = [t.text for unit in find_units(paths) for t in read_unit(unit) if not t.fault]
    found = [text for text in found if text.strip()]
    if not found:
        raise ConfigError(
            f"There is no text in {', '.join(map(str, paths)) or 'nothing'}.",
            code="eval.no_text",
            hint="Name files or folders with text that the model was not trained on.",
        )
    return found


def evaluate(
    subject: Subject,
    texts: Sequence[str],
    *,
    words: int = 200,
    seed: int = 0,
    tell: Callable[[str], None] = lambda _: None,
) -> Reading:
    """Read `texts` with the model. The same texts and seed ask for the same words of any model."""
    rng = np.random.default_rng(seed)
    told = [_nats(subject, text) for text in _counted(texts, tell)]
    nats, tokens = (np.array(column, float) for column in zip(*told, strict=True))
    body_bytes = np.array([len(text.encode()) for text in texts], float)
    bits = nats / math.log(2)
    questions = _questions(texts, words, rng)
    hits = np.array([_picked(subject, q) for q in questions], float)
    draws = rng.integers(0, len(texts), (_DRAWS, len(texts)))
    measures = [
        _ratio("bits_per_byte", bits, body_bytes, draws),
        _ratio("perplexity", nats, tokens, draws, math.exp),
    ]
    if len(hits):
        again = rng.integers(0, len(hits), (_DRAWS, len(hits)))
        measures.append(_ratio("cloze", 100 * hits, np.ones_like(hits), again, unit="%"))
    digest = hashlib.sha256("\0".join(texts).encode()).hexdigest()
    return Reading(tuple(measures), digest, bits, body_bytes, hits)


def difference(name: str, new: _Floats, old: _Floats, of: _Floats, seed: int = 0) -> Measure:
    """By how much the ratio of sums `new / of` exceeds `old / of`, judged on the same items."""
    draws = np.random.default_rng(seed).integers(0, len(of), (_DRAWS, len(of)))
    return _ratio(name, new - old, of, draws)


def _ratio(
    name: str,
    above: _Floats,
    below: _Floats,
    draws: NDArray[np.int64],
    then: Callable[[float], float] = float,
    unit: Literal["", "%"] = "",
) -> Measure:
    value = then(above.sum() / below.sum())
    if len(above) < 2:
        return Measure(name=name, value=value, n=len(above), unit=unit)
    drawn = above[draws].sum(1) / below[draws].sum(1)
    low, high = (then(float(edge)) for edge in np.percentile(drawn, (2.5, 97.5)))
    return Measure(name=name, value=value, low=low, high=high, n=len(above), unit=unit)


def _counted(texts: Sequence[str], tell: Callable[[str], None]) -> Iterable[str]:
    for number, text in enumerate(texts, 1):
        yield text
        if number % 50 == 0 or number == len(texts):
            tell(f"read {number} of {len(texts)} texts")


def _nats(subject: Subject, text: str) -> tuple[float, int]:
    """−log of the text's probability after an end of document, and how many tokens it has.

    Texts longer than the window are read in windows that overlap by half, so every token has at
    least half a window before it.
    """
    ids = subject.encode(text)
    whole = [subject.end_id, *ids]
    length = subject.window
    step = max(1, length // 2)
    rows, firsts = [], []
    for start in range(0, max(1, len(ids) - length + step), step):
        rows.append(whole[start : start + length + 1])
        firsts.append(0 if start == 0 else length - step)
    total = 0.0
    for chances, first in zip(_chances(subject, rows), firsts, strict=True):
        total -= float(chances[first:].sum())
    return total, len(ids)


def _chances(subject: Subject, rows: Sequence[Sequence[int]]) -> Iterable[torch.Tensor]:
    """For each row the log-probability of each of its tokens but the first, in fp64."""
    for logits, row in zip(read_rows(subject, rows), rows, strict=True):
        yield scores(logits, row)


def scores(logits: torch.Tensor, row: Sequence[int]) -> torch.Tensor:
    """The log-probability of each token of `row` but the first, in fp64."""
    following = torch.tensor(row[1:])
    return logits.log_softmax(-1).gather(-1, following[:, None])[:, 0].double()


def read_rows(subject: Subject, rows: Sequence[Sequence[int]]) -> Iterable[torch.Tensor]:
    """For each row the logits after each of its tokens but the last; rows are read together."""
    longest = max(map(len, rows))
    together = max(1, _BATCH_TOKENS // longest)
    for at in range(0, len(rows), together):
        part = rows[at : at + together]
        filled = [[*row, *[subject.end_id] * (longest - len(row))] for row in part]
        with torch.no_grad():
            logits, _, _ = subject.model(torch.tensor(filled)[:, :-1])
        for row, line in zip(part, logits, strict=True):
            yield line[: len(row) - 1]


# -- picking the next word ----------------------------------------------------
@dataclass(frozen=True)
class _Question:
    before: str
    words: tuple[str, ...]
    """The right one first."""


def _questions(texts: Sequence[str], count: int, rng: np.random.Generator) -> list[_Question]:
    """Places in the texts, and for each the word there among others from the same texts."""
    places = [
        (text, found)
        for text in texts
        for found in _WORD.finditer(text)
        if found.start() >= _BEFORE_CHARS // 2
    ]
    if len({found[0].lower() for _, found in places}) < _CHOICES:
        return []
    chosen = rng.permutation(len(places))[:count]
    return [_question(int(at), places, rng) for at in chosen]


def _question(
    at: int, places: Sequence[tuple[str, re.Match[str]]], rng: np.random.Generator
) -> _Question:
    text, found = places[at]
    words = [found[0]]
    while len(words) < _CHOICES:
        other = places[int(rng.integers(len(places)))][1][0]
        if other.lower() not in [word.lower() for word in words]:
            words.append(other)
    begin = max(0, found.start() - _BEFORE_CHARS)
    return _Question(text[begin : found.start() - 1], tuple(words))


def _picked(subject: Subject, question: _Question) -> bool:
    """Whether the right word is likelier than every other one."""
    before = [subject.end_id, *subject.encode(question.before)]
    words = [subject.encode(f" {word}") for word in question.words]
    room = max(1, subject.window + 1 - max(map(len, words)))
    rows = [[*before[-room:], *word] for word in words]
    found = [
        float(line[-len(word) :].sum())
        for line, word in zip(_chances(subject, rows), words, strict=True)
    ]
    return all(found[0] > other for other in found[1:])
