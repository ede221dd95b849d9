"""Text cut into sentences and passages whose offsets are exact.

Nothing is normalised on the way: every span satisfies `text[start:end]` of the text that was
given. Rules instead of a model, so that any language is cut somewhere sensible in linear time.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from gnomon.answer.layout import CELL, Block, block_at, blocks

MAX_SENTENCE_CHARS = 1_000
"""Longer runs without an end (tables, lists of tags) are cut at white space."""
PASSAGE_SENTENCES = 5
PASSAGE_CHARS = 700
BLOCK_CHARS = 2_000
"""Longest table or list that is one passage."""


class Span(msgspec.Struct, frozen=True):
    """A half-open range of code points."""

    start: int
    end: int


_CLOSERS = "\"'”’»›)\\]}」』）】"
_END = re.compile(
    rf"(?P<wide>[。！？｡．][{_CLOSERS}]*)"  # needs no white space after it
    rf"|(?P<full>[.!?…؟۔।॥]+[{_CLOSERS}]*)(?=\s|$)"
    r"|(?P<paragraph>\n[ \t\r\f\v]*\n\s*)"
    r"|(?P<line>\n)"
)
_WORD_BEFORE = re.compile(r"[^\s(\[\"'“‘]*$")
_NEXT = re.compile(r"\s*([\"'“‘«„(\[]*)(\S*)")
_BULLET = re.compile(r"\s*(?:[-*•·–—▪◦]|\d{1,3}[.)])\s")
_ENUMERATION = re.compile(r"(?:^|\n)\s*\d{1,3}$")

_ABBREVIATIONS = frozenset(
    "mr mrs ms dr prof rev hon st sen rep gov gen lt col sgt capt cmdr adm maj pres supt jr sr "
    "vs etc al cf ca approx no nos vol pp fig ed eds inc ltd co corp dept univ est ave blvd rd "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun "
    "e.g i.e a.m p.m a.k.a "
    "z.b d.h u.a bzw ca nr str hr fr dipl ing usw evtl ggf inkl "
    "m mme mlle mgr sr sra srta ud uds dña".split()
)
_MONTH = re.compile(r"(?:Jan|Feb|M[aä]r|Apr|Ma[iy]|Jun|Jul|Aug|Sep|O[kc]t|Nov|De[zc])[a-z]*\b")
# After these a new sentence may well begin, if a capital letter follows.
_ENDING_TOO = frozenset("inc ltd co corp etc jr sr a.m p.m usw st no".split())
_STARTERS = frozenset(
    "the a an in on at it its he she they we i you this that these those there but and for as "
    "when after before while however meanwhile his her their our if with by from to not".split()
)


def sentences(text: str) -> list[Span]:
    """The sentences of `text`, in order, trimmed of white space, not overlapping."""
    spans: list[Span] = []
    start = 0
    tables = [b for b in blocks(text) if b.kind == "table"] if CELL in text else []
    for match in _END.finditer(text):
        end = match.end()
        if tables and tables[0].end <= match.start():
            tables.pop(0)
        if tables and tables[0].start <= match.start() and match["paragraph"] is None:
            if match["line"] is None:
                continue  # a row is told whole
        elif match["paragraph"] is None and not _ends(text, start, match):
            continue
        _add(spans, text, start, end)
        start = end
    _add(spans, text, start, len(text))
    return spans


def paragraphs(text: str) -> list[Span]:
    """Blocks separated by empty lines, trimmed."""
    spans: list[Span] = []
    start = 0
    for match in re.finditer(r"\n[ \t\r\f\v]*\n\s*", text):
        _add_trimmed(spans, text, start, match.start())
        start = match.end()
    _add_trimmed(spans, text, start, len(text))
    return spans


def passages(text: str, start: int = 0, end: int | None = None) -> Iterator[Span]:
    """Runs of 1 to 5 neighbouring sentences; together they cover `text[start:end]`.

    Short paragraphs are read together, long ones are cut. A table or a list stays whole, with what
    introduces it, up to BLOCK_CHARS; longer ones are cut between rows or items.
    """
    run: list[Span] = []
    part = text[start:end]
    whole = list(blocks(part))
    breaks = {p.start for p in paragraphs(part)}
    inside: Block | None = None
    for sentence in sentences(part):
        while whole and whole[0].end <= sentence.start:
            whole.pop(0)
        before, inside = inside, None
        if whole and whole[0].start <= sentence.start:
            inside = whole[0]
        most = PASSAGE_CHARS if inside is None else BLOCK_CHARS
        room = not run or sentence.end - run[0].start <= most
        many = inside is None and len(run) >= PASSAGE_SENTENCES
        settled = len(run) >= 3 and inside is None and sentence.start in breaks
        if run and (many or not room or settled or inside is not before):
            yield Span(start + run[0].start, start + run[-1].end)
            run = []
        run.append(sentence)
    if run:
        yield Span(start + run[0].start, start + run[-1].end)


def boundary(text: str, at: int, reach: int = 600) -> int:
    """The beginning of a table or list that is not too long, of a paragraph, else of a line, else
    of a sentence, at or before `at`."""
    if at <= 0:
        return 0
    block = block_at(text, at)
    if block is not None and block.end - block.start <= BLOCK_CHARS:
        return block.start
    low = max(0, at - reach)
    for mark in ("\n\n", "\n"):
        found = text.rfind(mark, low, at)
        if found >= 0:
            return found + len(mark)
    ends = [s.start for s in sentences(text[low:at])]
    return low + ends[-1] if len(ends) > 1 else low


def around(text: str, start: int, end: int) -> Span:
    """The whole sentences of `text` that [`start`, `end`) touches, its neighbourhood only."""
    left = max(0, start - MAX_SENTENCE_CHARS)
    right = min(len(text), end + MAX_SENTENCE_CHARS)
    touched = [
        s for s in sentences(text[left:right]) if s.start + left < end and s.end + left > start
    ]
    if not touched:
        return Span(start, end)
    return Span(min(start, touched[0].start + left), max(end, touched[-1].end + left))


def _ends(text: str, start: int, match: re.Match[str]) -> bool:
    if match["wide"] is not None:
        # A closing quotation followed by a particle goes on: 「…。」と述べた。
        return not (
            match["wide"][-1] in "」』" and text[match.end() : match.end() + 1] in "とはがの"
        )
    if match["line"] is not None:
        return _line_ends(text, start, match.start())
    return _full_stop_ends(text, start, match)


def _line_ends(text: str, start: int, at: int) -> bool:
    """A line break ends a sentence unless the text is merely wrapped there."""
    before, after = text[start:at].rstrip(), text[at + 1 : at + 80]
    if not before or not after.strip() or _BULLET.match(after):
        return True
    following = after.lstrip()[0]
    wrapped = following.islower() or before[-1] in ",;:–—-"
    return not wrapped


def _full_stop_ends(text: str, start: int, match: re.Match[str]) -> bool:
    following = _NEXT.match(text[match.end() : match.end() + 60])
    opener, word = (following[1], following[2]) if following else ("", "")
    mark = match["full"]
    if not word and not opener:
        return True
    if word[:1].islower():
        # `"Stop!" he said.` and abbreviations go on; only a bare mark before a lower-case word
        # that is no continuation (posts without capitals) ends.
        return mark[0] in "!?" and len(mark) == 1
    if mark[0] != "." or len(mark) > 1:
        return True
    before = _WORD_BEFORE.search(text[max(start, match.start() - 30) : match.start()])
    last = before[0] if before else ""
    if (
        _ENUMERATION.search(text[start : match.start()][-5:])
        and len(text[start : match.start()]) < 5
    ):
        return False
    if re.fullmatch(r"\d{1,2}", last) and _MONTH.match(word):
        return False  # "am 5. Mai"
    lower = last.lower()
    starter = word.strip(",;:").lower() in _STARTERS
    if lower in _ABBREVIATIONS:
        return lower in _ENDING_TOO and starter
    if re.fullmatch(r"[^\W\d_]", last):
        return starter and not last.isupper()
    if re.fullmatch(r"(?:[^\W\d_]\.)+[^\W\d_]", last):
        return starter
    return True


def _add(spans: list[Span], text: str, start: int, end: int) -> None:
    while end - start > MAX_SENTENCE_CHARS:
        cut = text.rfind(" ", start + MAX_SENTENCE_CHARS // 2, start + MAX_SENTENCE_CHARS)
        cut = start + MAX_SENTENCE_CHARS if cut < 0 else cut
        _add_trimmed(spans, text, start, cut)
        start = cut
    _add_trimmed(spans, text, start, end)


def _add_trimmed(spans: list[Span], text: str, start: int, end: int) -> None:
    piece = text[start:end]
    kept = piece.strip()
    if kept:
        start += piece.index(kept[0])
        spans.append(Span(start, start + len(kept)))
