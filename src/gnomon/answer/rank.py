"""Documents for a plan, best first: found by words and meaning, read by the sentence model.

The index finds; what stands at the top of what it found is read by the sentence model, as much
as a time budget allows, and the scores of both are added. Near copies that say something else
stand by themselves.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import TypeAlias

import msgspec
from msgspec import structs

from gnomon.answer.base import Plan, Question
from gnomon.answer.check import opposed
from gnomon.answer.context import around
from gnomon.answer.facts import numbers
from gnomon.answer.synonyms import in_other_words
from gnomon.answer.words import content, english, negated, share, stems
from gnomon.clock import in_words
from gnomon.index.base import Hit, Index, Query
from gnomon.record.base import Record
from gnomon.types import Context, Document

HITS = 50
_ANSWERED = 8
_REPLIES = 16
"""Of so many of what was found, so many replies and quotations are read along."""
# Chosen on Cranfield; see docs/internals/answer.md.
_VECTORS = 0.4
_MODEL = 3.0
_COVERED_ENOUGH = 0.5
_CROWDS_FROM = 0.2
_LATEST = 12
_COPY_CHARS = 2_000
_WITHIN_HITS = 2_000
"""How many hits are looked through for documents of chosen keys."""


class Found(msgspec.Struct, frozen=True):
    """A document with the hit that found it."""

    document: Document
    hit: Hit
    copies: tuple[Document, ...]
    score: float = 0.0
    alike: float | None = None
    """Cosine with the question by the sentence model; None if it did not read this one."""
    context: tuple[Context, ...] = ()
    """What the document answers and quotes."""

    @property
    def readable(self) -> Document:
        """The document as the sentence model reads it: beneath what it stands beside."""
        if not self.context:
            return self.document
        beside = "\n".join([self.document.title, *(c.text for c in self.context)])
        return structs.replace(self.document, title=beside.strip())


Likeness: TypeAlias = Callable[[str, Sequence[Document]], Mapping[int, float]]
"""Of a text and documents: cosines by `seq`, for those that could be read."""


class Ranking(msgspec.Struct, frozen=True, kw_only=True):
    """Documents, best first, and what a reader must know about how they were found."""

    documents: tuple[Found, ...]
    notes: tuple[str, ...] = ()


def ranked(
    question: Question,
    asked: Plan,
    *,
    record: Record,
    index: Index,
    likeness: Likeness | None = None,
) -> Ranking:
    """What speaks of the question as of its moment, whether it may be quoted or not.

    `likeness` tells how alike the question's text and documents are, of as many of the first as it
    likes; without it the index's order stands.
    """
    notes: list[str] = []
    found = _search(question, asked, record, index, windowed=True)
    named = asked.since is not None or asked.until is not None
    if named and _coverage(found, asked) < _COVERED_ENOUGH:
        wider = _search(question, asked, record, index, windowed=False)
        if wider:
            notes.append(_outside(found, wider, asked))
            found = wider
    found = [
        structs.replace(f, context=around(f.document, record, asked.as_of))
        if f.document.reply_to or f.document.quotes
        else f
        for f in found
    ]
    if asked.terms:
        found = _reranked(found, asked, likeness)
    return Ranking(documents=tuple(found), notes=tuple(notes))


def time_of(document: Document) -> datetime:
    """Published, else observed."""
    moment = document.published_at or document.observed_at
    if moment is None:  # the record stamps every version
        raise ValueError(f"{document.key} has no time")
    return moment


def _reranked(found: Sequence[Found], asked: Plan, likeness: Likeness | None) -> list[Found]:
    """The first, as far as the model has read, by words and meaning; then the index's order."""
    ordered = sorted(found, key=lambda f: -f.hit.score)
    alike = likeness(asked.search_text, [f.readable for f in ordered]) if likeness else {}
    best = max((f.hit.lexical for f in ordered), default=0.0) or 1.0
    out = []
    for f in ordered:
        cosine = alike.get(f.document.seq)
        words = f.hit.lexical / best + _VECTORS * max(f.hit.vector, 0.0)
        match = (words + _MODEL * (cosine or 0.0)) / (1.0 + _VECTORS + _MODEL)
        score = (1.0 - asked.recency) * match + asked.recency * f.hit.recency
        out.append(structs.replace(f, alike=cosine, score=score))
    # As far as all have been read: one that happens to be remembered jumps no queue.
    read = next((i for i, f in enumerate(out) if f.alike is None), len(out))
    return sorted(out[:read], key=lambda f: -f.score) + out[read:]


def _search(
    question: Question, asked: Plan, record: Record, index: Index, *, windowed: bool
) -> list[Found]:
    since, until = question.since, question.until
    if windowed:
        since = max((m for m in (since, asked.since) if m), default=None)
        until = min((m for m in (until, asked.until) if m), default=None)
    # Without a single content word ("What happened today?") the newest is what is asked for.
    browsing = not asked.terms
    query = Query(
        text="" if browsing else _telling(asked.search_text),
        limit=HITS,
        as_of=asked.as_of,
        since=since,
        until=until,
        recency=asked.recency,
        half_life_s=asked.half_life_s,
        newest_first=browsing,
    )
    query = admitted(question, query)
    hits = {hit.seq: hit for hit in _hits(index, query, question.within)}
    if not browsing and asked.recency > _CROWDS_FROM:
        # Much newness can crowd out the older document that alone speaks of the matter.
        settled = structs.replace(query, recency=0.1, limit=HITS // 2)
        hits = {hit.seq: hit for hit in _hits(index, settled, question.within)} | hits
    if not english(asked.search_text) or question.langs:
        hits = {hit.seq: hit for hit in _abroad(index, query, asked, question.within)} | hits
    if not browsing and not question.within:
        hits |= {hit.seq: hit for hit in _replies(index, query, list(hits.values()))} | hits
    if asked.subject:
        hits = {hit.seq: hit for hit in _latest(index, query, asked, question.within)} | hits
    return _read(list(hits.values()), record, asked)


def _abroad(index: Index, query: Query, asked: Plan, within: tuple[str, ...]) -> Sequence[Hit]:
    """What the same is told by in other languages: the mayor, where the Bürgermeister is asked
    for."""
    others = in_other_words(asked.terms)
    if not others:
        return []
    text = " ".join((_telling(asked.search_text), *others))
    return _hits(index, structs.replace(query, text=text, limit=HITS // 2), within)


def _replies(index: Index, query: Query, hits: Sequence[Hit]) -> Sequence[Hit]:
    """What answers or quotes the first of what was found: it need not say those words itself."""
    first = sorted(hits, key=lambda hit: -hit.score)[:_ANSWERED]
    if not first:
        return []
    beside = structs.replace(query, text="", beside=tuple(h.key for h in first), limit=_REPLIES)
    return [structs.replace(hit, score=0.0, lexical=0.0) for hit in index.search(beside).hits]


def _latest(index: Index, query: Query, asked: Plan, within: tuple[str, ...]) -> Sequence[Hit]:
    """The newest documents that speak of what a state is asked of, whatever they say of it.

    Old ones that use the question's own word for the state would crowd out the one that ends it.
    """
    hits: list[Hit] = []
    names = tuple(w for w in asked.subject if w[:1].isupper())
    # "Harbour, 9:00: 7 degrees" tells the temperature at the harbour without that word.
    for must in dict.fromkeys((asked.subject, names)):
        if must:
            text = " ".join(f"+{w}" for w in must)
            latest = structs.replace(query, text=text, newest_first=True, limit=_LATEST)
            hits += _hits(index, latest, within)
    return hits


def _hits(index: Index, query: Query, within: tuple[str, ...]) -> Sequence[Hit]:
    """What the index finds, of keys that begin so."""
    if not within:
        return index.search(query).hits
    wide = index.search(structs.replace(query, limit=_WITHIN_HITS)).hits
    return [hit for hit in wide if hit.key.startswith(within)][: query.limit]


def _telling(text: str) -> str:
    """The words of a question that say something; all of it where none does."""
    return " ".join(w.text for w in content(text)) or text


def _read(hits: Sequence[Hit], record: Record, asked: Plan) -> list[Found]:
    """The documents behind the hits; copies that say something else stand by themselves."""
    seqs = list(dict.fromkeys(seq for hit in hits for seq in (hit.seq, *hit.copies)))
    by_seq = dict(zip(seqs, record.by_seq(seqs), strict=True))
    out: dict[int, Found] = {}
    for hit in hits:
        document = by_seq[hit.seq]
        if document is None or not document.text.strip() or _later(document, asked.as_of):
            continue
        near = [by_seq[seq] for seq in hit.copies]
        copies = [c for c in near if c is not None and not _later(c, asked.as_of)]
        same = [c for c in copies if not _says_otherwise(c, document)]
        out[hit.seq] = Found(document, hit, tuple(same))
        for c in copies:
            if c not in same:
                out.setdefault(c.seq, Found(c, hit, ()))
    return list(out.values())


def _says_otherwise(copy: Document, document: Document) -> bool:
    """Whether a near copy differs in what matters: one word can turn open into closed."""
    mine, theirs = copy.text[:_COPY_CHARS], document.text[:_COPY_CHARS]
    if mine == theirs:
        return False
    return (
        Counter(n.value for n in numbers(mine)) != Counter(n.value for n in numbers(theirs))
        or negated(mine) != negated(theirs)
        or opposed(mine, theirs)
    )


def _later(document: Document, as_of: datetime | None) -> bool:
    return as_of is not None and (document.observed_at is None or document.observed_at > as_of)


def _coverage(found: Sequence[Found], asked: Plan) -> float:
    """How much of the question the best document speaks of."""
    if not asked.terms:
        return 1.0 if found else 0.0
    return max(
        (
            share(asked.terms, stems(f"{f.document.title}\n{f.document.text[:5_000]}"))
            for f in found[:10]
        ),
        default=0.0,
    )


def admitted(question: Question, query: Query) -> Query:
    """`query` with what the question admits as evidence."""
    return structs.replace(
        query,
        sources=question.sources,
        kinds=question.kinds,
        langs=question.langs,
        authors=question.authors,
        domains=question.domains,
        not_domains=question.not_domains,
    )


def _outside(inside: Sequence[Found], wider: Sequence[Found], asked: Plan) -> str:
    newest = max(time_of(f.document) for f in wider)
    when = in_words(newest)
    asked_for = f"{asked.since:%Y-%m-%d}" if asked.since else f"before {asked.until:%Y-%m-%d}"
    about = "Little" if inside else "Nothing"
    return (
        f"{about} from the time asked for (from {asked_for}) speaks of this: "
        f"older and newer evidence was read too; the newest is from {when}."
    )
