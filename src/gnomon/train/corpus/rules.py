"""Quality rules: is this text prose that a model should learn from?

The rules, their order and thresholds are those of three published recipes:

- Gopher: Rae et al., "Scaling Language Models: Methods, Analysis & Insights from Training Gopher",
  2021, arXiv:2112.11446, section A.1.1 and table A1 (repetition and quality).
- C4: Raffel et al., "Exploring the Limits of Transfer Learning with a Unified Text-to-Text
  Transformer", JMLR 21 (2020), section 2.2 (lines and pages).
- FineWeb: Penedo et al., "The FineWeb Datasets: Decanting the Web for the Finest Text Data at
  Scale", 2024, arXiv:2406.17557, section 3.6 (line ends, short lines, repeated characters).

Each text is judged alone and always alike. Costly counts are made only where a cheap upper bound
leaves the outcome open.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gnomon.train.corpus.words import Hashes, Ids, Vocabulary, grams


class Verdict(NamedTuple):
    """`reason` is empty for a text to keep; `text` is what the line rules leave of it."""

    reason: str
    text: str


_TOP_GRAMS = ((2, 0.20), (3, 0.18), (4, 0.16))
_REPEATED_GRAMS = ((5, 0.15), (6, 0.14), (7, 0.13), (8, 0.12), (9, 0.11), (10, 0.10))
_PARAGRAPHS = re.compile(r"\n{2,}")
_LINES = re.compile(r"\n+")
_CITATION = re.compile(r"\[\d*\]|\[edit\]|\[citation needed\]")
_POLICIES = (
    "terms of use",
    "privacy policy",
    "cookie policy",
    "uses cookies",
    "use of cookies",
    "use cookies",
)
_LINE_END = (".", "?", "!", '"', "'")
_STOPS = tuple(".?!。．？！…‼‽⁇⁈⁉؟۔।॥։።၊။។៕᙮｡⸮")
_SENTENCES = 5


class Rules:
    """The three recipes, one after the other. Keeps tables of words: one for each process."""

    def __init__(self, *, line_ends: bool = False) -> None:
        """`line_ends` applies C4's rule that a line ends in punctuation; FineWeb leaves it out."""
        self._vocabulary = Vocabulary()
        self._line_ends = line_ends

    def judge(self, text: str, lang: str = "en") -> Verdict:
        """Apply every rule. Rules on words of English are skipped for other languages."""
        if not text.strip():
            return Verdict("empty", text)
        if reason := _repeated_parts(text):
            return Verdict(reason, text)
        ids = self._vocabulary.ids(text)
        reason = self._repetition(text, ids) or self._quality(text, ids, lang)
        if reason:
            return Verdict(reason, text)
        reason, text = self._c4(text)
        return Verdict(reason or self._fineweb(text), text)

    # -- Gopher -----------------------------------------------------------------
    def _repetition(self, text: str, ids: Ids) -> str:
        lengths = self._vocabulary.lengths[ids]
        size = len(text)
        for n, share in _TOP_GRAMS:
            hashes = grams(ids, n)
            if len(hashes) and self._top(hashes, lengths, n, share * size):
                return f"gopher.top_{n}_gram"
        hashes = grams(ids, 5)
        covered = np.zeros(len(ids) + 1, np.int64)
        again = _again(hashes)
        # Every longer repeat consists of repeated 5-grams: what they cover bounds them all.
        np.add.at(covered, again, 1)
        np.add.at(covered, np.minimum(again + 5, len(ids)), -1)
        bound = int(lengths[np.cumsum(covered[:-1]) > 0].sum())
        if bound <= _REPEATED_GRAMS[-1][1] * size:
            return ""
        ends = np.concatenate([[0], np.cumsum(lengths)])
        for n, share in _REPEATED_GRAMS:
            if bound > share * size and _repeated(grams(ids, n), ends, n) > share * size:
                return f"gopher.repeated_{n}_grams"
        return ""

    @staticmethod
    def _top(hashes: Hashes, lengths: Ids, n: int, allowed: float) -> bool:
        """Whether the most frequent n-gram, the first of equals, takes more than `allowed`."""
        ordered = np.sort(hashes)
        changes = np.flatnonzero(ordered[1:] != ordered[:-1])
        runs = np.diff(np.concatenate([[-1], changes, [len(ordered) - 1]]))
        most = int(runs.max())
        sums = np.concatenate([[0], np.cumsum(lengths)])
        sizes = sums[n:] - sums[:-n] + n - 1
        if most * int(sizes.max()) <= allowed:
            return False
        values = ordered[np.concatenate([changes, [len(ordered) - 1]])][runs == most]
        first = int(np.flatnonzero(np.isin(hashes, values))[0])
        return most * int(sizes[first]) > allowed

    def _quality(self, text: str, ids: Ids, lang: str) -> str:
        known = self._vocabulary
        total = len(ids)
        wordy = ids[~known.symbolic[ids]]
        if not 50 <= len(wordy) <= 100_000:
            return "gopher.short" if len(wordy) < 50 else "gopher.long"
        mean = known.lengths[wordy].mean()
        if not 3 <= mean <= 10:
            return "gopher.word_length"
        if text.count("#") / total > 0.1:
            return "gopher.hashes"
        if (text.count("...") + text.count("…")) / total > 0.1:
            return "gopher.ellipses"
        lines = text.splitlines()
        if sum(line.lstrip().startswith(("•", "-")) for line in lines) / len(lines) > 0.9:
            return "gopher.bullets"
        if sum(line.rstrip().endswith(("...", "…")) for line in lines) / len(lines) > 0.3:
            return "gopher.line_ellipses"
        if np.count_nonzero(known.alphabetic[ids]) / total < 0.8:
            return "gopher.no_letters"
        if lang == "en" and len(np.unique(ids[known.stop[ids]])) < 2:
            return "gopher.stop_words"
        return ""

    # -- C4 -----------------------------------------------------------------------
    def _c4(self, text: str) -> tuple[str, str]:
        lowered = text.lower()
        lorem, script = "lorem ipsum" in lowered, "javascript" in lowered
        bracket, cited = "{" in text, "[" in text
        policies = [p for p in _POLICIES if p in lowered]
        sentences, kept = 0, []
        for raw in text.splitlines():
            line = raw.strip()
            words = line.split(None, 2)
            if len(words) < 3:
                continue
            if len(line) > 1000 and any(len(word) > 1000 for word in line.split()):
                continue
            if cited:
                line = _CITATION.sub("", line)
            if self._line_ends and (not line.endswith(_LINE_END) or line.endswith("...")):
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
                sentences += self._vocabulary.sentences(line)
            kept.append(line)
        if sentences < _SENTENCES:
            return "c4.few_sentences", text
        return "", "\n".join(kept).strip()

    # -- FineWeb --------------------------------------------------------------------
    def _fineweb(self, text: str) -> str:
        lines = [line for line in text.split("\n") if line.strip()]
        if not lines:
            return "empty"
        if sum(line.endswith(_STOPS) for line in lines) / len(lines) < 0.12:
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
    for name, parts in (
        ("paragraphs", _PARAGRAPHS.split(text.strip())),
        ("lines", _LINES.split(text)),
    ):
        count, size = _repeats(parts)
        if count / len(parts) > 0.3 or size / len(text) > 0.2:
            return f"gopher.repeated_{name}"
    return ""


def _repeats(parts: Sequence[str]) -> tuple[int, int]:
    """How many parts were there before, and their characters."""
    if len(set(parts)) == len(parts):
        return 0, 0
    seen: set[str] = set()
    count = size = 0
    for part in parts:
        if part in seen:
            count += 1
            size += len(part)
        seen.add(part)
    return count, size


def _again(hashes: Hashes) -> Ids:
    """Positions of values that stand earlier too."""
    order = np.argsort(hashes, kind="stable")
    ordered = hashes[order]
    again: Ids = order[1:][ordered[1:] == ordered[:-1]]
    return again


def _repeated(hashes: Hashes, ends: Ids, n: int) -> int:
    """Characters in n-grams that stood earlier, each word counted once, from left to right."""
    seen: set[int] = set()
    size = at = 0
    values = hashes.tolist()
    while at < len(values):
        if values[at] in seen:
            size += int(ends[at + n] - ends[at])
            at += n
        else:
            seen.add(values[at])
            at += 1
    return size
