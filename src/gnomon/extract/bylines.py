"""The day of publication as it stands on the page: marked, labelled, or in the by-line.

Comments, related stories, menus and the foot of the page are left out: their dates are not the
page's. A day under a word such as "updated" is never taken as the day of publication.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import date, datetime, time
from enum import IntEnum

import msgspec
from lxml import etree

from gnomon.extract.dates import read_date
from gnomon.extract.written import Written, days_in, plain_digits

_MAX_ELEMENTS = 15_000
_MAX_BLOCK_CHARS = 200
"""Longer runs of text are prose, whose dates are of what it tells."""
_MAX_FOUND = 100
_MAX_TITLES = 3
_GAP_CHARS = 40
_MAX_NAME_CHARS = 500
_LEAD_CHARS, _MAX_LEAD_CHARS = 16, 60
"""How much may stand before a date under the label of the line before, or of its own line."""
_BEFORE_TITLE, _AFTER_TITLE = 15, 60
"""Elements before and after a title among which its by-line stands."""
_DETAILS_CHARS = 400
"""An aside or foot inside the article that says no more than this tells who wrote it and when."""
_BOX_CHARS, _BOX_PARTS = 14, 4
"""Day, month and year in elements of their own: how long they are, and how many."""
_BESIDE_CHARS, _BESIDE_WORDS = 16, 3
_BEHIND_CHARS, _BEHIND_WORDS = 40, 6
"""What may stand beside a date that is alone: a weekday, a town, a name; more if it comes first."""
_DATELINE = re.compile(
    r"\W{0,2}(?:[^\W\d_a-z][\w.’'-]*[ /]?){0,4}(?:\([^()]{2,30}\))?[,:/–—-]?\s?(?:den |am |le )?"
    r"(?P<day>(?:[^\W\d_]{2,10}\.? )?\d[\w .,/-]{5,22}?)\s?(?:[()–—:|•]|-\s|\.[-–—])"
)
"""How a press release begins: "Berlin, 5 May 2019 –"."""
_OTHER_DAY = re.compile(
    r"\b(?:version|until|till|expires?|deadline|valid|available|bis|gültig|verfügbar|jusqu\w*|hasta"
    r"|até|fino|tot|born|geboren|\*)\W*(?:\w+\W+)?$",
    re.IGNORECASE,
)
"""What a date after these words tells is another day."""
_CLOCK = re.compile(
    r"\d{1,2}\s?[:.h]\s?\d{2}(?:[:.]\d{2})?\s?(?:uhr\b|[ap]\.?m\b\.?|hrs?\b)?"
    r"|\b\d{1,2}\s?(?:uhr|[ap]\.?m)\b|\b(?:GMT|UTC|[A-Z]{1,4}[SD]?T)\b(?:\s?[+-]\d{1,4})?"
    r"|\d+\+?\s?(?:min(?:ute)?[ns]?)\.?(?:[ -](?:read|de lecture|lesezeit|di lettura))?",
    re.IGNORECASE,
)
"""The time of day, its zone, and how long reading takes."""
_HEADINGS = ("h1", "h2", "h3", "h4")
_TITLE_CHARS = 8
_LIST_DAYS = 4
"""So many days in places of one kind are a list of stories."""
_TIMES = ("time", "abbr")
_MARKS = ("datePublished", "dateModified")
_PARTED = re.compile(r"\d{4}|[.!?]\s|[。！？]|[\u3040-\u30ff\u4e00-\u9fff]{2}")
_AWAY = re.compile(
    r"comment|kommentar|coment[aá]r|disqus|respond|repl(?:y|ies)|related|sidebar|side-bar|widget"
    r"|recent|popular|archiv|recommend|trending|most-?read|footer|breadcrumb|calend[ae]r|newsletter"
    r"|promo|teaser|ticker|slider|similar|(?:^|[\s_-])(?:nav|menu|ads?)(?:$|[\s_-])|carousel|read-?more|also-?read",
    re.IGNORECASE,
)
_AWAY_TAGS = {"aside", "footer", "nav", "form", "select", "button", "textarea", "blockquote"}
_SILENT_TAGS = {"script", "style", "noscript", "template", "svg", "iframe", "head", "figure"}
_INLINE_TAGS = {
    *("a", "abbr", "acronym", "b", "bdi", "big", "cite", "em", "font", "i", "ins", "label"),
    *("mark", "nobr", "small", "span", "strong", "sup", "time", "u", "wbr", "dt", "dd"),
}
_CUES = re.compile(
    r"(?<!status-)publi(?:sh|e|é|k|c[ao])|posted|postdate|entry-?date|by-?line|date-?line"
    r"|(?:^|[\s_-])(?:date|datum|fecha|data)(?:$|[\s_-])|[a-z]-?date$|date-?time|timestamp|-time$"
    r"|autor|author|meta-?info|(?:post|entry|article)-?meta",
    re.IGNORECASE,
)
_BY = re.compile(
    r"(?:by|von|par|por|di|door|af|av|od|przez|autora?|от|автор|da|oleh|bởi)[\s:]", re.IGNORECASE
)
_PUBLISHED = (
    r"publi(?:shed|cation|ziert|é|ée|cad[oa]|cação|cación|kacji|kováno|kované|cerad|ceret"
    r"|cat|sert)|published|posted|date posted|release date|issued|veröffentlich\w*"
    r"|erschienen|erstellt|eingestellt|paru|mise? en ligne|posté|pubblicat[oa]"
    r"|pubblicazione|postado|gepubliceerd|geplaatst|opublikowan\w*|dodan[oay]|dodania"
    r"|zveřejněno|zverejnené|vydáno|опубликован\w*|публикации|размещен\w*|опубліковано"
    r"|публікації|публикуван\w*|yayınlan\w*|yayım\w*|eklenme|udgivet|offentliggjort"
    r"|julkaistu|közzétéve|megjelent|postat|δημοσι\w+|diterbitkan|dipublikasikan|xuất bản"
    r"|ngày đăng|đăng ngày|公開日?|掲載日?|投稿日?|配信日?|公開日時"
    r"|发布\w{0,4}|發布\w{0,4}|發佈\w{0,4}"
    r"|发表\w{0,4}|發表\w{0,4}|입력|등록일?|게재|تاريخ النشر|نشر|פורסם|انتشار|เผยแพร่|प्रकाशित"
)
_UPDATED = (
    r"updated?|modified|edited|revised|revision|reviewed|aktualisier\w*|letzte änderung"
    r"|geändert|überarbeitet|stand\b|mise? à jour|modifié|actualis\w*|actualiza\w*"
    r"|modificad[oa]|atualiza\w*|aggiorna\w*|modifica|bijgewerkt|gewijzigd"
    r"|zaktualizowan\w*|aktualiz\w*|обновлен\w*|изменен\w*|оновлен\w*|güncelle\w*"
    r"|uppdatera\w*|ändrad|opdater\w*|oppdater\w*|endret|päivitetty|muokattu|frissít\w*"
    r"|actualizat|ενημερ\w+|ενημέρ\w+|diperbarui|cập nhật|更新日?時?間?|最終更新|수정|تحديث|עודכן"
    r"|แก้ไข"
)
_LABELS = re.compile(
    rf"(?<![A-Za-z])(?:(?P<updated>{_UPDATED})|(?P<published>{_PUBLISHED}))", re.IGNORECASE
)


_LABEL_AFTER = re.compile(
    rf".{{0,80}}?(?<![A-Za-z])(?:{_PUBLISHED}|gepostet|geschrieben|verfasst)", re.IGNORECASE
)
_THIS = re.compile(r"\b(?:beitrag|eintrag|artikel|posting|bericht) wurde am $", re.IGNORECASE)
"""How sentences begin that tell the day first and the word for it later."""
_SENTENCE_CHARS = 300


class Rank(IntEnum):
    """How plainly the page says that this is its day, the plainest first."""

    MARKED = 1
    """itemprop=datePublished, or `<time pubdate>`."""
    LABELLED = 2
    """Under a word such as "published"."""
    TIMED = 3
    """A `<time>` with a machine's date, outside comments."""
    BYLINE = 4
    """In an element whose name speaks of date, author or publication."""
    ALONE = 5
    """A line of its own that holds hardly anything else."""
    UPDATED = 6
    """Under a word such as "updated": known, but no day of publication."""


_UNSURE = (Rank.TIMED, Rank.BYLINE, Rank.ALONE)


class Found(msgspec.Struct, frozen=True):
    """A day on the page; the moment too where it is given."""

    rank: Rank
    day: date
    moment: datetime | None = None
    place: str = ""
    """Tag and class of the element in which it stands."""
    position: int = 0
    """How many elements come before it."""
    timed: bool = False
    """Whether the time of day stands beside it."""


class _Block(msgspec.Struct):
    """Text between two breaks of a line, and the element in which it begins."""

    element: etree._Element
    text: list[str] = []
    chars: int = 0


class DaysOn(msgspec.Struct, frozen=True):
    """The days of a page in its order, and where its headings of the first level stand."""

    found: list[Found]
    titles: list[int]

    def best(self) -> Iterator[Found]:
        """The days that can be the page's own, the likeliest first.

        A `<time>` or by-line far from the title counts only if nothing like it tells another day:
        else it is one of a list.
        """
        days = defaultdict(set)
        for one in self.found:
            days[one.place].add(one.day)
        sure = [one for one in self.found if one.rank not in _UNSURE]
        unsure = [one for one in self.found if one.rank in _UNSURE]
        near = [
            one
            for one in unsure
            if self._is_near(one) and (one.rank == Rank.ALONE or len(days[one.place]) < _LIST_DAYS)
        ]
        far = [
            one
            for one in unsure
            if not self._is_near(one) and len(days[one.place]) == 1 and one.rank != Rank.ALONE
        ]
        timed = [one for one in unsure if one.timed and one.rank == Rank.ALONE]
        if len({one.day for one in timed}) == 1:
            far += timed
        # Sorting is stable: the page's order decides within a rank.
        yield from sorted((one for one in sure if one.rank != Rank.UPDATED), key=_rank)
        yield from sorted(near, key=_rank)
        yield from sorted(far, key=_rank)
        yield from (one for one in sure if one.rank == Rank.UPDATED)

    def _is_near(self, one: Found) -> bool:
        return any(-_BEFORE_TITLE <= one.position - title <= _AFTER_TITLE for title in self.titles)


def _rank(found: Found) -> Rank:
    return found.rank


def days_on(tree: etree._Element, lang: str) -> DaysOn:
    """The days that the page calls its own, or that stand where such a day stands.

    Numbers are read in the order of `lang`.
    """
    found: list[Found] = []
    titles: list[int] = []
    before = ""
    box: list[str] = []
    for block, element, position in _walk(tree):
        text = plain_digits(" ".join("".join(block.text).split())) if block is not None else ""
        if element is not None and element.tag in _HEADINGS:
            titles = [*titles, position][:_MAX_TITLES]
        elif element is not None:
            found += _machine_read(element, f"{before} {text}", position)
        elif text and block is not None:
            here = _in_text(text, block, before, lang, position)
            box = [*box, text][-_BOX_PARTS:] if len(text) <= _BOX_CHARS else []
            found += here or _in_box(box, block, lang, position)
            before = text[-_GAP_CHARS:]
        if len(found) >= _MAX_FOUND:
            break
    return DaysOn(found[:_MAX_FOUND], titles)


def day_of_sentence(tree: etree._Element, title: str, lang: str) -> date | None:
    """The day in a paragraph, wherever it stands, that tells when what has this title appeared."""
    if len(title) < _TITLE_CHARS:
        return None
    for paragraph in tree.iter("p"):
        text = " ".join("".join(paragraph.itertext())[: 2 * _SENTENCE_CHARS].split())
        if len(text) > _SENTENCE_CHARS or title not in text:
            continue
        for written in days_in(plain_digits(text), lang):
            if _label(text[: written.start]) == Rank.LABELLED or _LABEL_AFTER.match(
                text, written.end
            ):
                return written.day
    return None


def _walk(
    tree: etree._Element,
) -> Iterator[tuple[_Block | None, etree._Element | None, int]]:
    """Blocks of text; and, with the block so far, titles and what carries a date for machines."""
    titles = _titles(tree)
    kept = {above for title in titles for above in (title, *title.iterancestors())}
    block: _Block | None = None
    walker = etree.iterwalk(tree, events=("start", "end"))
    elements = 0
    for event, element in walker:
        tag = element.tag
        inline = tag in _INLINE_TAGS
        if not inline and block is not None:
            yield block, None, elements
            block = None
        if event == "start":
            elements += 1
            if elements > _MAX_ELEMENTS:
                break
            if tag in _SILENT_TAGS or (_is_away(element, kept) and not _is_details(element, kept)):
                walker.skip_subtree()
                continue
            if tag in _TIMES or element in titles or element.get("itemprop") in _MARKS:
                yield block, element, elements
            inside, text = element, element.text
        else:
            parent = element.getparent()
            if parent is None:
                continue
            inside, text = parent, element.tail
        if text and not text.isspace():
            if block is None:
                block = _Block(inside)
            if block.chars <= _MAX_BLOCK_CHARS:
                block.text.append(("" if inline else " ") + text[:_MAX_BLOCK_CHARS])
            block.chars += len(text)
        elif text and block is not None and block.text[-1] != " ":
            block.text.append(" ")
    if block is not None:
        yield block, None, elements


def _titles(tree: etree._Element) -> list[etree._Element]:
    """The headings of the first level; where there is none, those that repeat the page's title."""
    if found := [h1 for _, h1 in zip(range(_MAX_TITLES), tree.iter("h1"), strict=False)]:
        return found
    title = next(tree.iter("title"), None)
    whole = _squeezed("".join(title.itertext())) if title is not None else ""
    for heading in tree.iter("h2", "h3", "h4"):
        text = _squeezed("".join(heading.itertext())[:_MAX_NAME_CHARS])
        if len(text) >= _TITLE_CHARS and text in whole:
            found.append(heading)
        if len(found) == _MAX_TITLES:
            break
    return found


def _squeezed(text: str) -> str:
    return "".join(text.split()).lower()


def _is_away(element: etree._Element, kept: set[etree._Element]) -> bool:
    if element in kept or element.tag in ("html", "body", "main"):
        return False
    if element.tag in _AWAY_TAGS:
        return True
    names = _names(element)
    return bool(names) and "hentry" not in names and _AWAY.search(names) is not None


def _is_details(element: etree._Element, kept: set[etree._Element]) -> bool:
    """Whether it is a small aside or foot of the article itself."""
    if element.tag not in ("aside", "footer") or _AWAY.search(_names(element)):
        return False
    if not any(above.tag == "article" and above in kept for above in element.iterancestors()):
        return False
    chars = 0
    for text in element.itertext():
        chars += len(text.strip())
        if chars > _DETAILS_CHARS:
            return False
    return True


def _names(element: etree._Element) -> str:
    return f"{element.get('class', '')} {element.get('id', '')}".strip()[:_MAX_NAME_CHARS]


def _machine_read(element: etree._Element, before: str, position: int) -> list[Found]:
    raw = element.get("datetime") or element.get("content") or element.get("title") or ""
    moment = read_date(raw) if len(raw) <= _GAP_CHARS else None
    if moment is None and (written := next(days_in(plain_digits(raw[:_GAP_CHARS])), None)):
        moment = datetime.combine(written.day, time.min)
    if moment is None:
        return []
    mark, names = element.get("itemprop", ""), element.get("class", "").lower().split()
    if mark == "datePublished" or "published" in names or "pubdate" in element.attrib:
        rank = Rank.MARKED
    elif mark == "dateModified" or "updated" in names or "modified" in names:
        rank = Rank.UPDATED
    else:
        rank = _label(before) or Rank.TIMED
    return [Found(rank, moment.date(), moment, _signature(element), position)]


def _in_text(text: str, block: _Block, before: str, lang: str, position: int) -> list[Found]:
    if block.chars > _MAX_BLOCK_CHARS:
        opening = _DATELINE.match(text)
        day = next(days_in(opening["day"], lang), None) if opening else None
        return [Found(Rank.ALONE, day.day, None, _place(block.element)[1], position)] if day else []
    found = []
    for written in days_in(text, lang):
        lead = text[: written.start]
        rank, place = _place(block.element)
        alone = len(lead) <= _LEAD_CHARS
        if len(lead) <= _MAX_LEAD_CHARS:  # later in a line it is prose
            rank = _label(f"{before} {lead}" if alone else lead) or rank
            if rank is None and _THIS.search(lead) and _LABEL_AFTER.match(text, written.end):
                rank = Rank.BYLINE
        if rank is None and (_BY.match(text) or (alone and _BY.match(before))):
            rank = Rank.BYLINE
        if rank is None and not _OTHER_DAY.search(f"{before} {lead}") and _is_alone(text, written):
            rank = Rank.ALONE
        if rank is not None:
            timed = _CLOCK.search(text, written.end) is not None
            found.append(Found(rank, written.day, None, place, position, timed))
    return found


def _in_box(parts: list[str], block: _Block, lang: str, position: int) -> list[Found]:
    """A day whose parts stand in elements of their own, the last of them in `block`."""
    for first in range(len(parts) - 1):
        text = " ".join(parts[first:])
        written = next(iter(days_in(text, lang)), None)
        if written is not None and written.start == 0 and written.end == len(text):
            rank, place = _place(block.element)
            return [Found(rank or Rank.ALONE, written.day, None, place, position)]
    return []


def _is_alone(text: str, written: Written) -> bool:
    beside = f"{text[: written.start]} {text[written.end :]}"
    words = re.findall(r"[^\W\d_]+", _CLOCK.sub(" ", beside))
    chars = sum(map(len, words))
    if written.start == 0:
        return len(words) <= _BEHIND_WORDS and chars <= _BEHIND_CHARS
    return len(words) <= _BESIDE_WORDS and chars <= _BESIDE_CHARS


def _label(before: str) -> Rank | None:
    """What the nearest word before a date calls it, if no other date stands between."""
    last = next(reversed(list(_LABELS.finditer(before[-_GAP_CHARS:]))), None)
    if last is None or _PARTED.search(before[-_GAP_CHARS:], last.end()):
        return None
    return Rank.UPDATED if last["updated"] else Rank.LABELLED


def _place(element: etree._Element) -> tuple[Rank | None, str]:
    """What the name of an element, or of one of the next two around it, says of a date in it."""
    place: etree._Element | None = element
    for _ in range(3):
        if place is None or place.tag in ("body", "html", "h1"):  # an h1: what the story is about
            break
        if place.tag == "time":
            return Rank.TIMED, _signature(place)
        if _CUES.search(_names(place)):
            return Rank.BYLINE, _signature(place)
        place = place.getparent()
    return None, _signature(element)


def _signature(element: etree._Element) -> str:
    return f"{element.tag} {element.get('class', '')[:_MAX_NAME_CHARS]}"
