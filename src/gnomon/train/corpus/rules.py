"""Quality rules: is this text prose that a model should learn from?

The rules, their order and thresholds are those of three published recipes:

- Gopher: Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
  2021, arXiv:2112.11446, section A.1.1 and table A1 (repetition and quality).
- C4: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
  Transformer", JMLR 21 (2020), section 2.2 (lines and pages).
- FineWeb: Penedo et al., "The FineWeb Datasets: Decanting the Web for the Finest Text Data at
  Scale", 2024, arXiv:2406.17557, section 3.6 (line ends, short lines, repeated characters).

What the papers leave open (what a word is, which characters are punctuation) is as in datatrove, so
that both decide alike. Each text is judged alone and always alike. Costly counts are made only
where a cheap upper bound leaves the outcome open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gnomon.train.corpus.words import (
    ALPHABETIC,
    STOPS,
    SYMBOLIC,
    Hashes,
    Ids,
    Vocabulary,
    longer,
)


class Verdict(NamedTuple):
    """`reason` is empty for a text to keep; `text` is what the line rules leave of it."""

    reason: str
    text: str


_TOP_GRAMS = ((2, 0.20), (3, 0.18), (4, 0.16))
_REPEATED_GRAMS = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
_BULLETS = ("•", "-")
_ELLIPSES = ("...", "…")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LINE_END = frozenset(".?!\"'")
_MAYBE_STOP = re.compile(r"[.!?]|[^\x00-\x7f]")
_SENTENCES = 5


class Rules:
    """The three recipes, one after the other. Keeps tables of words: one for each process."""

    def __init__(self, *, line_ends: bool = False) -> None:
        """`line_ends` applies C4's rule that a line ends in punctuation; FineWeb leaves it out."""
        self._vocabulary = Vocabulary()
        self._line_ends = line_ends

    def judge(self, text: str, lang: str = "en") -> Verdict:
        """Apply every rule. Rules on words of English are skipped for other languages."""
        if not text or text.isspace():
            return Verdict("empty", text)
        if reason := _repeated_parts(text):
            return Verdict(reason, text)
        ids = self._vocabulary.ids(text)
        lines = text.splitlines()
        reason = self._repetition(len(text), ids) or self._quality(text, lines, ids, lang)
        if reason:
            return Verdict(reason, text)
        reason, text = self._c4(text, lines)
        return Verdict(reason or self._fineweb(text), text)

    # -- Gopher -----------------------------------------------------------------
    def _repetition(self, size: int, ids: Ids) -> str:
        lengths = self._vocabulary.lengths.take(ids)
        hashes = self._vocabulary.hashes.take(ids)
        longest = int(lengths.max(initial=0))
        runs, most = hashes, len(ids)
        for n, share in _TOP_GRAMS:
            runs = longer(runs, hashes, n)
            # A run of more words is at most as frequent as the runs that it begins with.
            if most * (n * longest + n - 1) > share * size and len(runs):
                most, taken = _top(runs, lengths, n)
                if taken > share * size:
                    return f"gopher.top_{n}_gram"
        runs = longer(runs, hashes, 5)
        least = _REPEATED_GRAMS[-1][1] * size
        ordered = np.sort(runs)
        if np.count_nonzero(ordered[1:] == ordered[:-1]) * 5 * longest <= least:
            return ""
        ends = np.concatenate([[0], np.cumsum(lengths)])
        for n, share in _REPEATED_GRAMS:
            runs = runs if n == 5 else longer(runs, hashes, n)
            bound, again, first = _again(runs, lengths, n)
            if bound > share * size and _repeated(again, first, ends, n) > share * size:
                return f"gopher.repeated_{n}_grams"
            if bound <= least:  # every longer repeat consists of these
                return ""
        return ""

    def _quality(self, text: str, lines: list[str], ids: Ids, lang: str) -> str:
        known = self._vocabulary
        total = len(ids)
        flags = known.flags.take(ids)
        symbols = (flags & SYMBOLIC) != 0
        wordy = total - int(np.count_nonzero(symbols))
        if not 50 <= wordy <= 100_000:
            return "gopher.short" if wordy < 50 else "gopher.long"
        lengths = known.lengths.take(ids)
        mean = int(lengths.sum() - lengths[symbols].sum()) / wordy
        if not 3 <= mean <= 10:
            return "gopher.word_length"
        if text.count("#") / total > 0.1:
            return "gopher.hashes"
        ellipses = text.count("...") + text.count("…")
        if ellipses / total > 0.1:
            return "gopher.ellipses"
        if _mostly_bullets(lines):
            return "gopher.bullets"
        if ellipses and (
            sum(line.rstrip().endswith(_ELLIPSES) for line in lines) / len(lines) > 0.3
        ):
            return "gopher.line_ellipses"
        if int(np.count_nonzero(flags & ALPHABETIC)) / total < 0.8:
            return "gopher.no_letters"
        if lang == "en" and int(np.bitwise_or.reduce(known.stops.take(ids))).bit_count() < 2:
            return "gopher.stop_words"
        return ""

    # -- C4 -----------------------------------------------------------------------
    def _c4(self, text: str, lines: list[str]) -> tuple[str, str]:
        lowered = text.lower()
        lorem, script = "lorem ipsum" in lowered, "javascript" in lowered
        bracket, cited = "{" in text, "[" in text
        policies = [p for p in _POLICIES if p in lowered]
        sentences, kept = 0, []
        for raw in lines:
            line = raw.strip()
            if len(line.split(None, 2)) < 3:
                continue
            if len(line) > 1000 and max(map(len, line.split())) > 1000:
                continue
            if cited:
                line = _CITATION.sub("", line)
            if self._line_ends and (line[-1:] not in _LINE_END or line.endswith("...")):
                continue
            if lorem or script or policies:
                low = line.lower()
                if "lorem ipsum" in low:
                    return "c4.lorem_ipsum", text
                if "javascript" in low:
                    continue
            if bracket and "{" in line:
                return "c4.curly_bracket", text
            if policies and any(p in low for p in policies):
                continue
            if sentences < _SENTENCES:
                sentences += self._sentences(line)
            kept.append(line)
        if sentences < _SENTENCES:
            return "c4.few_sentences", text
        return "", "\n".join(kept).strip()

    def _sentences(self, line: str) -> int:
        if _MAYBE_STOP.search(line.rstrip(".!?\"')]")):
            return self._vocabulary.sentences(line)
        return 1

    # -- FineWeb --------------------------------------------------------------------
    def _fineweb(self, text: str) -> str:
        lines = [line for line in text.split("\n") if line and not line.isspace()]
        if not lines:
            return "empty"
        if sum(line[-1] in STOPS for line in lines) / len(lines) < 0.12:
            return "fineweb.line_ends"
        if sum(len(line) <= 30 for line in lines) / len(lines) > 0.67:
            return "fineweb.short_lines"
        breaks = text.count("\n")
        if _repeats(lines)[1] / (len(text) - breaks) > 0.01:
            return "fineweb.repeated_lines"
        if breaks / len(text.split()) > 0.3 and breaks / len(self._vocabulary.ids(text)) > 0.3:
            return "fineweb.list"
        return ""


def _repeated_parts(text: str) -> str:
    paragraphs = _PARAGRAPHS.split(text.strip())
    count, size = _repeats(paragraphs)
    if count / len(paragraphs) > 0.30 or size / len(text) > 0.20:
        return "gopher.repeated_paragraphs"
    lines = _LINES.split(text)
    count, size = _repeats(lines)
    if count / len(lines) > 0.30 or size / len(text) > 0.20:
        return "gopher.repeated_lines"
    return ""


def _repeats(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts were there before, and their characters."""
    different = set(parts)
    if len(different) == len(parts):
        return 0, 0
    # What is there more often than once, less once each.
    size = sum(map(len, parts)) - sum(map(len, different))
    return len(parts) - len(different), size


def _mostly_bullets(lines: list[str]) -> bool:
    others, allowed = 0, len(lines) // 10 + 1
    for line in lines:
        if not line.lstrip().startswith(_BULLETS):
            others += 1
            if others > allowed:
                return False
    return (len(lines) - others) / len(lines) > 0.9


def _top(runs: Hashes, lengths: Ids, n: int) -> tuple[int, int]:
    """How often the most frequent run is there, and the characters that the first of them takes."""
    ordered = np.sort(runs)
    starts = np.flatnonzero(np.concatenate([[True], ordered[1:] != ordered[:-1], [True]]))
    counts = np.diff(starts)
    most = int(counts.max())
    values = ordered[starts[:-1][counts == most]]
    at = int(np.argmax(runs == values[0] if len(values) == 1 else np.isin(runs, values)))
    return most, most * (int(lengths[at : at + n].sum()) + n - 1)


def _again(runs: Hashes, lengths: Ids, n: int) -> tuple[int, Ids, Ids]:
    """Where runs stand that stand earlier too, where those stand first, and what all cover."""
    order = np.argsort(runs, kind="stable")
    ordered = runs[order]
    same = np.concatenate([[False], ordered[1:] == ordered[:-1]])
    starts = np.maximum.accumulate(np.where(same, 0, np.arange(len(runs))))
    again, first = order[same], order[starts[same]]
    by_place = np.argsort(again)
    again, first = again[by_place], first[by_place]
    covered = np.zeros(len(lengths), bool)
    for at in range(n):
        covered[again + at] = True
    return int(lengths[covered].sum()), again, first


def _repeated(again: Ids, first: Ids, ends: Ids, n: int) -> int:
    """Characters in runs that stood earlier, each word counted once, from left to right."""
    passed = bytearray(len(ends))  # places inside of a counted run: what begins there is not met
    met: set[int] = set()
    size = at = 0
    for place, origin in zip(again.tolist(), first.tolist(), strict=True):
        if place < at:
            continue
        if passed[origin] and origin not in met:
            met.add(origin)
            continue
        at = place + n
        size += int(ends[at] - ends[place])
        passed[place + 1 : at] = b"\1" * (n - 1)
    return size
