"""Texts to judge: real ones, and ones made of them so that every rule has close cases.

All of it is the same in every run.
"""

from __future__ import annotations

import gzip
import json
import random
from collections.abc import Callable, Iterator
from pathlib import Path

Maker = Callable[[random.Random, str, float], str]
_FILES = (
    "realtimeqa-2022-2023/realtimeqa_2022_docs.jsonl.gz",
    "realtimeqa-2022-2023/realtimeqa_2023_docs.jsonl.gz",
    "freshqa-2023/docs.jsonl.gz",
    "retrieval/cisi/docs.jsonl.gz",
    "retrieval/cranfield/docs.jsonl.gz",
)
_SYMBOLS = ["1984", "—", "&", "12.5", "(3)", "*", "//", "2:30", "%", "+1", "[7]", "...", "$5"]


def real_texts(data: Path, megabytes: float) -> list[str]:
    """News articles, encyclopedia pages and abstracts, the files in turn."""
    rows = [_rows(data / name) for name in _FILES if (data / name).exists()]
    found: list[str] = []
    size = 0
    while rows and size < megabytes * 1e6:
        for source in list(rows):
            text = next(source, None)
            if text is None:
                rows.remove(source)
            elif len(text) > 100:
                found.append(text)
                size += len(text.encode())
    return found


def _rows(path: Path) -> Iterator[str]:
    with gzip.open(path, "rt") as file:
        for line in file:
            yield json.loads(line)["text"]


def made_texts(texts: list[str], count: int) -> list[str]:
    """`count` texts, each made from a piece of a real one by one of `MAKERS`."""
    rng = random.Random(11)
    usable = [text for text in texts if len(text) > 2_000]
    out: list[str] = []
    while len(out) < count:
        lines = [line for line in rng.choice(usable).split("\n") if line.strip()]
        start = rng.randrange(len(lines))
        piece, words, wanted = [], 0, rng.choice((60, 120, 250, 500))
        for line in lines[start:]:
            piece.append(line)
            words += len(line.split())
            if words > wanted:
                break
        if words > 40:
            maker = MAKERS[len(out) % len(MAKERS)]
            out.append(maker(rng, "\n".join(piece), rng.random()))
    return out


def _each_word(share: float, change: Callable[[random.Random, str], str]) -> Maker:
    def make(rng: random.Random, text: str, strength: float) -> str:
        lines = []
        for line in text.split("\n"):
            words = line.split(" ")
            lines.append(
                " ".join(change(rng, w) if rng.random() < share * strength else w for w in words)
            )
        return "\n".join(lines)

    return make


def _each_line(least: float, most: float, change: Callable[[random.Random, str], str]) -> Maker:
    def make(rng: random.Random, text: str, strength: float) -> str:
        share = least + (most - least) * strength
        return "\n".join(
            change(rng, line) if rng.random() < share else line for line in text.split("\n")
        )

    return make


def _sentences(text: str) -> list[str]:
    return text.replace("\n", " ").replace(". ", ".\n").split("\n")


def _short(rng: random.Random, text: str, strength: float) -> str:
    return " ".join(text.split()[: 30 + int(50 * strength)])


def _few_sentences(rng: random.Random, text: str, strength: float) -> str:
    whole = _sentences(text)
    return rng.choice(("\n", " ")).join(whole[: 2 + int(6 * strength)])


def _again(unit: str) -> Maker:
    def make(rng: random.Random, text: str, strength: float) -> str:
        parts = _sentences(text)
        copies = rng.sample(parts, int(len(parts) * 0.6 * strength))
        for copy in copies:
            parts.insert(rng.randrange(len(parts) + 1), copy)
        return unit.join(parts)

    return make


def _phrase(length: int) -> Maker:
    def make(rng: random.Random, text: str, strength: float) -> str:
        words = text.split(" ")
        at = rng.randrange(max(1, len(words) - length))
        phrase = " ".join(words[at : at + length]).replace("\n", " ")
        for _ in range(int(len(words) * 0.35 * strength / length)):
            words.insert(rng.randrange(len(words)), phrase)
        return " ".join(words)

    return make


def _runs(rng: random.Random, text: str, strength: float) -> str:
    words = text.split(" ")
    for _ in range(int(len(words) * 0.05 * strength)):
        length, at = rng.randrange(5, 15), rng.randrange(len(words))
        place = rng.randrange(len(words))
        words[place:place] = words[at : at + length]
    return " ".join(words)


def _no_stop_words(rng: random.Random, text: str, strength: float) -> str:
    stop = ["the", "be", "to", "of", "and", "that", "have", "with"]
    kept = set(rng.sample(stop, int(4 * strength)))
    gone = set(stop) - kept
    return "\n".join(
        " ".join(word for word in line.split(" ") if word.strip(".,;:") not in gone)
        for line in text.split("\n")
    )


def _wrapped(rng: random.Random, text: str, strength: float) -> str:
    width, lines = int(2 + 7 * strength), []
    words = text.split()
    for at in range(0, len(words), width):
        lines.append(" ".join(words[at : at + width]) + rng.choice(("", ".", ".")))
    return "\n".join(lines)


def _glued(rng: random.Random, text: str, strength: float) -> str:
    size = rng.choice((1, 2, 3))
    if strength < 0.5:
        return " ".join(word[:size] for word in text.split()) + "."
    words = text.split()
    return " ".join("".join(words[at : at + size]) for at in range(0, len(words), size))


def _with_line(*lines: str) -> Maker:
    def make(rng: random.Random, text: str, strength: float) -> str:
        parts = text.split("\n")
        parts.insert(rng.randrange(len(parts) + 1), rng.choice(lines))
        return "\n".join(parts)

    return make


MAKERS: tuple[Maker, ...] = (
    lambda rng, text, strength: text,
    _short,
    _few_sentences,
    _again("\n"),
    _again("\n\n"),
    _phrase(1),
    _phrase(2),
    _phrase(3),
    _phrase(4),
    _runs,
    _each_word(0.35, lambda rng, w: rng.choice(_SYMBOLS)),
    _each_word(0.25, lambda rng, w: f"#{w}"),
    _each_word(0.25, lambda rng, w: f"{w}..."),
    _each_word(0.30, lambda rng, w: f"“{w}”-‘{w}’"),
    _each_word(0.30, lambda rng, w: f"({w}/{w.upper()}.{w})"),
    _each_line(0.75, 1.0, lambda rng, line: f"{rng.choice('•-')} {line}"),
    _each_line(0.1, 0.5, lambda rng, line: f"{line} ..."),
    _each_line(0.7, 1.0, lambda rng, line: line.rstrip(".!?\"' ")),
    _each_line(0.0, 0.6, lambda rng, line: f"{line}\n{line[:25]}."),
    _each_line(0.0, 0.3, lambda rng, line: f"{line} [12]"),
    _no_stop_words,
    _wrapped,
    _glued,
    _with_line("if (a) { return b; }", "A { stands here.", "One {", "Then lorem ipsum dolor sit."),
    _with_line(
        "Please enable JavaScript to read this page.",
        "We use cookies for you, see our privacy policy.",
        "x" * 1200 + " is a long word.",
    ),
)


def near_texts(texts: list[str], count: int) -> list[str]:
    """Real texts, each followed by a copy in which up to a seventh of the words are others."""
    rng = random.Random(13)
    out: list[str] = []
    for text in rng.sample(texts, min(count, len(texts))):
        words = text[:20_000].split(" ")
        share = rng.random() / 7
        out += [text, " ".join(rng.choice(words) if rng.random() < share else w for w in words)]
    return out
