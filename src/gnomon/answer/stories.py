"""What is happening: the newest documents gathered into stories.

A story is a group of documents of one day that share the words which are rare on that day. It is
made anew from the newest few hundred documents, so that its cost does not grow with the record, and
nothing seen after the moment that is asked about takes part in it.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import msgspec
from msgspec import structs

from gnomon.answer.reliability import of
from gnomon.answer.text import Span, sentences
from gnomon.answer.words import content, stems
from gnomon.index.base import Hit, Index, Query
from gnomon.record.base import Record
from gnomon.types import Document

WINDOW = timedelta(hours=24)
BUCKETS = 24
NEWEST = 300
"""Documents looked at, of reports and of posts each."""
_REPORTS = ("article", "page", "alert", "paper", "release")
_POSTS = ("post", "comment")
_READ_CHARS = 300
"""How much of a text takes part: news says first what it is about."""
_ALIKE = 0.18
"""Cosine from which a document belongs to a story. In three demo towns hardly anything strange is
mixed into a story from 0.15 on (purity 0.98 to 1); lower joins more of what belongs together."""
_LATER = 0.85
"""What a sentence's likeness to its story weighs, beside that of the sentence before it."""
_CENTRAL = 0.7
"""How near to the middle of a story its headline must be, beside the nearest one."""
_BELIEVED = (0.65, 0.5)
"""A headline comes from a report that is believed so much, if there is one: else from a page."""
_TITLE_CHARS = 140
_HALF_LIFE_S = 4 * 3600.0
_NAME = re.compile(
    r"(?:^|(?<=[\w,] ))[^\W\d_a-z][\w'’-]+(?: [^\W\d_a-z][\w'’-]+)+"
    r"|(?<=[\w,] )[^\W\d_a-z][\w'’-]+"
)
"""Two or more capitalised words, or one that does not begin the text."""

Vector = dict[str, float]


class Story(msgspec.Struct, frozen=True, kw_only=True):
    """Documents of one day that tell of the same."""

    id: str
    """The key of its earliest document."""
    title: str
    """Word for word from one of them."""
    key: str
    """The document that the title is from."""
    version: int
    newest_at: datetime
    first_at: datetime
    outlets: int
    """Sources that tell it; near copies count once."""
    documents: int
    spark: tuple[int, ...]
    """Documents in each of `BUCKETS` equal parts of the window, oldest first."""
    bucket_s: int
    sources: tuple[str, ...]
    lang: str
    question: str
    """What one could ask about it."""


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """A story and the report that its title is from."""

    story: Story
    document: Document
    span: Span
    """Of that report, the sentence that says best what the story says."""
    copies: int
    """Near copies of that report."""
    lively: float


class _Item(msgspec.Struct):
    hit: Hit
    document: Document
    vector: Vector


class _Group(msgspec.Struct):
    items: list[_Item]
    sum: Vector


def stories(
    record: Record, index: Index, now: datetime, *, as_of: datetime | None = None, limit: int = 6
) -> list[Story]:
    """The liveliest stories of the day before `now` (or `as_of`), most first."""
    until = as_of or now
    among = Query(as_of=as_of, since=until - WINDOW, until=until + timedelta(minutes=5))
    return [told.story for told in reported(record, index, until, among, limit=limit)]


def reported(
    record: Record, index: Index, now: datetime, among: Query, *, limit: int, lang: str = ""
) -> list[Told]:
    """The liveliest stories at `now` of what `among` admits, each with the report that heads it:
    in `lang` where one is, else in the language of most.
    """
    found: list[tuple[Hit, Document]] = []
    for kinds in (among.kinds,) if among.kinds else (_REPORTS, _POSTS):
        query = structs.replace(among, limit=NEWEST, kinds=kinds, newest_first=True)
        hits = index.search(query).hits
        documents = record.by_seq([hit.seq for hit in hits])
        found += [
            (hit, document)
            for hit, document in zip(hits, documents, strict=True)
            if document is not None and document.policy.display and document.policy.snippet
        ]
    told = [_told(group, now, lang) for group in _grouped(_weighed(found))]
    return sorted(told, key=lambda one: -one.lively)[:limit]


def _weighed(found: Sequence[tuple[Hit, Document]]) -> list[_Item]:
    """Each document with its words by how rare they are among all; oldest first."""
    bags: list[Counter[str]] = []
    for _, document in found:
        bag = Counter(w.stem for w in content(document.text[:_READ_CHARS]))
        for word in content(document.title):
            bag[word.stem] += 2
        bags.append(bag)
    spread = Counter(stem for bag in bags for stem in bag)
    # What a fifth of the day's documents says tells none of them apart.
    common = {stem for stem, n in spread.items() if n > max(8, len(found) / 5)}
    items = []
    for (hit, document), bag in zip(found, bags, strict=True):
        vector = {
            stem: (1 + math.log(n)) * math.log(1 + len(found) / spread[stem])
            for stem, n in bag.items()
            if stem not in common
        }
        items.append(_Item(hit=hit, document=document, vector=_unit(vector)))
    items.sort(key=lambda item: item.hit.time)
    return items


def _grouped(items: Sequence[_Item]) -> list[_Group]:
    groups: list[_Group] = []
    having: dict[str, set[int]] = {}
    for item in items:
        near = {at for stem in item.vector for at in having.get(stem, ())}
        best, likeness = -1, _ALIKE
        for at in sorted(near):
            alike = _cosine(item.vector, groups[at].sum)
            if alike >= likeness:
                best, likeness = at, alike
        if best < 0:
            best = len(groups)
            groups.append(_Group(items=[], sum={}))
        group = groups[best]
        group.items.append(item)
        for stem, weight in item.vector.items():
            group.sum[stem] = group.sum.get(stem, 0.0) + weight
            having.setdefault(stem, set()).add(best)
    return groups


def _told(group: _Group, now: datetime, lang: str) -> Told:
    """A group as a story."""
    items = group.items
    first, newest = items[0], items[-1]
    outlets = {item.document.source for item in items}
    # The newest headline among those that say what the others say: a report's rather than a post's,
    # in the language in which most of it is told.
    titled = [item for item in items if item.document.title] or items
    for least in _BELIEVED:
        if reports := [item for item in titled if of(item.document, {}) >= least]:
            titled = reports
            break
    langs = Counter(item.document.lang for item in titled)
    spoken = lang if lang in langs else langs.most_common(1)[0][0]
    titled = [item for item in titled if item.document.lang == spoken]
    central = [_cosine(item.vector, group.sum) for item in titled]
    about = (item for item, c in zip(titled, central, strict=True) if c >= _CENTRAL * max(central))
    chosen = max(about, key=lambda item: item.hit.time)
    sources = Counter(item.document.source for item in items)
    age_s = max(0.0, (now - newest.hit.time).total_seconds())
    believed = {item.document.source: of(item.document, {}) for item in items}
    # Ten posts of one account are no ten reports.
    said = sum(math.sqrt(n) for n in sources.values())
    lively = 2 * math.log2(1 + 2 * sum(believed.values())) + math.log2(1 + said)
    title = headline(chosen.document)
    story = Story(
        id=first.document.key,
        title=title,
        key=chosen.document.key,
        version=chosen.document.version,
        newest_at=newest.hit.time,
        first_at=first.hit.time,
        outlets=len(outlets),
        documents=sum(1 + len(item.hit.copies) for item in items),
        spark=_spark([item.hit for item in items], now),
        bucket_s=int(WINDOW.total_seconds()) // BUCKETS,
        sources=tuple(name for name, _ in sources.most_common()),
        lang=chosen.document.lang,
        question=question_about(title, [item.document for item in items]),
    )
    return Told(
        story=story,
        document=chosen.document,
        span=_telling(chosen.document, group.sum),
        copies=len(chosen.hit.copies),
        lively=lively * 0.5 ** (age_s / _HALF_LIFE_S),
    )


def _telling(document: Document, about: Mapping[str, float]) -> Span:
    """Of the first sentences of a report, the one nearest to what its story is about; reports tell
    the chief matter first."""
    text = document.text[:_READ_CHARS]
    spans = [s for s in sentences(text) if any(c.isalpha() for c in text[s.start : s.end])]
    if not spans:
        return Span(0, len(text))

    def likeness(at: int) -> float:
        held = stems(text[spans[at].start : spans[at].end])
        alike = sum(about.get(stem, 0.0) for stem in held) / math.sqrt(len(held) or 1)
        return alike * _LATER**at

    return spans[max(range(len(spans)), key=likeness)]


def headline(document: Document) -> str:
    """The title of a document, else its first sentence, cut at a word."""
    text = document.title.strip()
    if not text:
        spans = sentences(document.text)
        text = document.text[spans[0].start : spans[0].end] if spans else document.key
    text = " ".join(text.split())
    if len(text) <= _TITLE_CHARS:
        return text
    return text[:_TITLE_CHARS].rsplit(" ", 1)[0] + " …"


def question_about(title: str, documents: Sequence[Document]) -> str:
    """A question that the documents of a story could answer, made from its title."""
    whole = " ".join(document.text[:_READ_CHARS] for document in documents)
    names = [name.strip() for name in _NAME.findall(title)]
    known = [name for name in names if whole.count(name) >= min(2, len(documents))]
    if known:
        return f"What is the latest on {max(known, key=len)}?"
    return f"What is known about “{title}”?"


def _spark(hits: Sequence[Hit], now: datetime) -> tuple[int, ...]:
    counts = [0] * BUCKETS
    part = WINDOW / BUCKETS
    for hit in hits:
        at = BUCKETS - 1 - int((now - hit.time) / part)
        counts[min(BUCKETS - 1, max(0, at))] += 1 + len(hit.copies)
    return tuple(counts)


def _unit(vector: Vector) -> Vector:
    length = math.sqrt(sum(weight * weight for weight in vector.values())) or 1.0
    return {stem: weight / length for stem, weight in vector.items()}


def _cosine(one: Mapping[str, float], other: Mapping[str, float]) -> float:
    """Of a unit vector and any other."""
    dot = sum(weight * other.get(stem, 0.0) for stem, weight in one.items())
    length = math.sqrt(sum(weight * weight for weight in other.values())) or 1.0
    return dot / length
