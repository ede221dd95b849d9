"""Evidence for a plan: documents found, cut into passages, near copies folded, ranked.

A question as of T reads only versions observed at or before T; the index promises that, and it
is checked here once more, because nothing else in an answer may be wrong about it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set

import msgspec

from gnomon.answer.across import Names
from gnomon.answer.base import Plan, Question
from gnomon.answer.layout import block_at
from gnomon.answer.rank import Found, Likeness, ranked, time_of
from gnomon.answer.reliability import in_order, of
from gnomon.answer.synonyms import others
from gnomon.answer.text import BLOCK_CHARS, Span, boundary, passages
from gnomon.answer.words import english, forms, nothing_in, stem, stems
from gnomon.index.base import Index
from gnomon.record.base import Record
from gnomon.types import Citation, Passage

_GIVEN_CHARS = 4_000
_READ_CHARS = 60_000
# Chosen on one half of FreshQA and on RealTime QA 2022; see docs/internals/answer.md.
_LEXICAL_BEST = 30
_PER_DOCUMENT = 5
_READ_WHOLE = 6
"""The first documents are cut whole: where they answer, their words may be none of the question."""
_DOCUMENT = 0.4
"""What the rank of its document counts for in a passage's score."""
_NEWEST_BESIDES = 4
_SHORT_CHARS = 3_000
_BLOCK_CHARS = 500
_BLOCKS = 3


class Evidence(msgspec.Struct, frozen=True, kw_only=True):
    """Ranked passages and what a reader must know about how they were found."""

    passages: tuple[Passage, ...] = ()
    weights: Mapping[str, float] = {}
    """How much each of the plan's terms tells: rare ones more."""
    notes: tuple[str, ...] = ()
    hits: int = 0
    surveyed: bool = False
    """Whether the passages are the stories of a time, of no matter asked about."""


class _Candidate(msgspec.Struct):
    """A passage on its way up the ranking."""

    found: Found
    span: Span
    score: float
    reliability: float


def retrieve(
    question: Question,
    asked: Plan,
    *,
    record: Record,
    index: Index,
    limit: int,
    likeness: Likeness | None = None,
    believed: Mapping[str, float] | None = None,
) -> Evidence:
    """The best `limit` passages for `asked`; `believed` is the reliability set for sources.

    The sentence model is not asked here: reading whole passages with it took four times as long
    and found no more answers than reading single sentences with it does later.
    """
    ranking = ranked(question, asked, record=record, index=index, likeness=likeness)
    found, notes = ranking.documents, list(ranking.notes)
    quotable = [f for f in found if f.document.policy.snippet and f.document.policy.display]
    if kept_back := len(found) - len(quotable):
        notes.append(f"{kept_back} matching documents may not be quoted, by their sources' terms.")
    weights, candidates = _lexical(quotable, asked, believed or {})
    _add_similarity(candidates, asked, index)
    return Evidence(
        passages=_diverse(candidates, limit, asked),
        weights=weights,
        notes=tuple(notes),
        hits=len(found),
    )


def given(question: Question) -> tuple[Passage, ...]:
    """What came with the question, as passages; only the beginning of a long text is read."""
    return tuple(
        Passage(
            document=document,
            start=0,
            end=min(len(document.text), _GIVEN_CHARS),
            text=document.text[:_GIVEN_CHARS],
            score=1.0,
            origin=document.key,
        )
        for document in question.given
    )


def citation(passage: Passage, number: int, start: int, end: int) -> Citation:
    """A citation of `document.text[start:end]`, as the passage carries it."""
    document = passage.document
    return Citation(
        number=number,
        key=document.key,
        version=document.version,
        seq=document.seq,
        start=start,
        end=end,
        quote=document.text[start:end],
        title=document.title,
        url=document.url,
        source=document.source,
        author=document.author,
        kind=document.kind,
        lang=document.lang,
        published_at=document.published_at,
        observed_at=document.observed_at,
        copies=passage.copies,
        copy_sources=passage.copy_sources,
        context=passage.context,
    )


def _lexical(
    found: Sequence[Found], asked: Plan, believed: Mapping[str, float]
) -> tuple[dict[str, float], list[_Candidate]]:
    """Passages that hold the question's words, weighed by how rare each is among what was found."""
    own = {t: t for t in asked.terms}
    translated = {o: t for t in asked.terms for o in others(t)} | own
    pattern = _pattern(tuple(translated))
    abroad = not english(asked.search_text)
    placed = [
        _places(
            pattern,
            f.document.text[:_READ_CHARS],
            translated if abroad or f.document.lang not in ("en", "und") else own,
            nothing_in(f.document.lang),
        )
        for f in found
    ]
    # What a post answers or quotes speaks for it, like a title.
    titled = [{t for _, t in _places(pattern, f.readable.title, own)} for f in found]
    names = Names(asked)
    for f, places, title in zip(found, placed, titled, strict=True):
        places += names.places(f.document.text[:_READ_CHARS])
        title |= {t for _, t in names.places(f.readable.title)}
    held: Counter[str] = Counter()
    for places, title in zip(placed, titled, strict=True):
        held.update(title.union(t for _, t in places))
    weights = {t: math.log(1.0 + (len(found) + 1) / (held[t] + 0.5)) for t in asked.terms}
    total = sum(weights.values()) or 1.0
    best_hit = max((f.hit.lexical for f in found), default=0.0) or 1.0
    best_found = max((f.score for f in found), default=0.0) or 1.0
    newest = max((time_of(f.document) for f in found), default=None)
    candidates: list[_Candidate] = []
    for nth, (f, places, title) in enumerate(zip(found, placed, titled, strict=True)):
        behind_s = (newest - time_of(f.document)).total_seconds() if newest else 0.0
        recency = 0.5 ** (behind_s / asked.half_life_s)
        reliability = of(f.document, believed)
        rank = 0.25 * f.hit.lexical / best_hit + _DOCUMENT * f.score / best_found
        text = f.document.text[:_READ_CHARS]
        whole = nth < _READ_WHOLE or len(text) <= _SHORT_CHARS
        for span in passages(text) if whole else _spans(text, places, weights):
            # A title speaks for the passages under it.
            terms = title.union(t for at, t in places if span.start <= at < span.end)
            covered = sum(weights[t] for t in terms) / total
            # Newness tells among those that speak of the matter; alone it tells nothing.
            score = covered * (1.0 + 0.5 * asked.recency * recency) * in_order(reliability)
            score += rank + 0.1 * _lead(span)
            candidates.append(_Candidate(f, span, score, reliability))
    candidates.sort(key=lambda c: -c.score)
    best = _few_each(candidates)
    return weights, [*best[:_LEXICAL_BEST], *_latest(best[_LEXICAL_BEST:], asked)]


def _spans(
    text: str, places: Sequence[tuple[int, str]], weights: Mapping[str, float]
) -> Iterator[Span]:
    """The passages of a long text that lie in the blocks that hold most."""
    blocks: dict[int, set[str]] = {0: set()}
    for at, term in places:
        for block in (at // _BLOCK_CHARS, max(0, at // _BLOCK_CHARS - 1)):
            blocks.setdefault(block, set()).add(term)
    ranked = sorted(blocks, key=lambda b: (-sum(weights[t] for t in blocks[b]), b))
    done = -1
    for block in sorted({0, *ranked[:_BLOCKS]}):
        start = max(done, boundary(text, block * _BLOCK_CHARS))
        end = (block + 2) * _BLOCK_CHARS
        # Read a little further, and drop the last run, which the end of the block may have cut.
        further = end + _BLOCK_CHARS
        laid_out = block_at(text, end)
        if laid_out is not None:
            further = max(further, min(laid_out.end, end + BLOCK_CHARS))
        runs = [s for s in passages(text, start, further) if s.start < end]
        yield from runs
        done = runs[-1].end if runs else done


def _few_each(candidates: Sequence[_Candidate]) -> list[_Candidate]:
    taken: Counter[int] = Counter()
    kept = []
    for c in candidates:
        taken[c.found.document.seq] += 1
        if taken[c.found.document.seq] <= _PER_DOCUMENT:
            kept.append(c)
    return kept


def _lead(span: Span) -> float:
    return 1.0 / (1.0 + span.start / 1_000)


def _pattern(terms: Sequence[str]) -> re.Pattern[str]:
    known = sorted({form.lower() for term in terms for form in forms(term)}, key=len, reverse=True)
    spaced = [re.escape(f) for f in known if f.isascii() or not _WIDE.match(f)]
    wide = [re.escape(f) for f in known if _WIDE.match(f)]
    parts = []
    if spaced:
        parts.append(rf"(?<!\w)(?:{'|'.join(spaced)})[\w'’.\u064b-\u065f\u0900-\u0963]*")
    parts += wide
    return re.compile("|".join(parts) or r"(?!)")


_WIDE = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f]")


def _places(
    pattern: re.Pattern[str], text: str, wanted: Mapping[str, str], silent: Set[str] = frozenset()
) -> list[tuple[int, str]]:
    """Where stems stand in `text` that tell a term, and which; `silent` ones tell nothing there."""
    out = []
    lowered = text.lower()
    if len(lowered) != len(text):  # rare letters grow; offsets matter more than their case
        lowered = text
    for match in pattern.finditer(lowered):
        said = text[match.start() : match.end()]
        token = said if _ACRONYM.fullmatch(said) else said.rstrip(".'’")
        for form in (token, token.partition("'")[0], token.partition("’")[0]):
            if (s := stem(form)) in wanted and s not in silent:
                out.append((match.start(), wanted[s]))
                break
    return out


_ACRONYM = re.compile(r"(?:\w\.){2,}")


def _add_similarity(candidates: Sequence[_Candidate], asked: Plan, index: Index) -> None:
    if not candidates:
        return
    texts = [asked.search_text, *(_text(c) for c in candidates)]
    vectors = index.embed(texts)
    if vectors is None:
        return
    for c, similarity in zip(candidates, vectors[1:] @ vectors[0], strict=True):
        c.score += 0.5 * float(similarity)


def _text(c: _Candidate) -> str:
    return c.found.document.text[c.span.start : c.span.end]


def _latest(candidates: Sequence[_Candidate], asked: Plan) -> list[_Candidate]:
    """A passage of each of the newest documents that speak of what a state is asked of."""
    if not asked.subject:
        return []
    names = {stem(w) for w in asked.subject if w[:1].isupper()}
    newest: dict[int, _Candidate] = {}
    held = [(c, stems(f"{c.found.readable.title}\n{_text(c)}")) for c in candidates]
    held.sort(key=lambda each: time_of(each[0].found.document), reverse=True)
    for wanted in ({stem(w) for w in asked.subject}, names):
        for c, found in held:
            if len(newest) >= _NEWEST_BESIDES:
                break
            if wanted and wanted <= found:
                newest.setdefault(c.found.document.seq, c)
    return list(newest.values())


def _diverse(candidates: list[_Candidate], limit: int, asked: Plan) -> tuple[Passage, ...]:
    """The best, each further passage of one document or of one source at a discount.

    The newest ones of a state come in besides: their words may be quite other ones.
    """
    candidates.sort(key=lambda c: -c.score)
    documents: Counter[str] = Counter()
    sources: Counter[str] = Counter()
    ranked = []
    for c in candidates:
        document = c.found.document
        c.score -= 0.06 * documents[document.key] + 0.01 * sources[document.source]
        documents[document.key] += 1
        sources[document.source] += 1
        ranked.append(c)
    ranked.sort(key=lambda c: -c.score)
    chosen = {id(c) for c in (*ranked[:limit], *_latest(ranked, asked))}
    return tuple(_passage(c) for c in ranked if id(c) in chosen)


def _passage(c: _Candidate) -> Passage:
    document, copies = c.found.document, c.found.copies
    return Passage(
        document=document,
        start=c.span.start,
        end=c.span.end,
        text=_text(c),
        score=round(c.score, 4),
        origin=document.key,
        copies=1 + len(copies),
        copy_sources=tuple(dict.fromkeys(c.source for c in (document, *copies))) if copies else (),
        context=c.found.context,
        reliability=c.reliability,
    )
