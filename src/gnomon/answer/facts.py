"""The hard facts of a sentence, found by rule: numbers, moments, names, quotations.

A checker that reads these can say *what* is missing, which no similarity can.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from functools import lru_cache

import msgspec

from gnomon.answer.words import STOP_WORDS, fold, stem, words
from gnomon.index.analyze import digits


class Number(msgspec.Struct, frozen=True):
    """A quantity: its value, and the unit or the noun that it counts (stemmed; may be empty)."""

    value: float
    unit: str
    text: str
    start: int
    end: int


class Moment(msgspec.Struct, frozen=True):
    """A date or time of day, as comparable parts: `y2023`, `m5`, `d12`, `w1`, `t14:05`."""

    parts: frozenset[str]
    text: str
    start: int
    end: int


class Name(msgspec.Struct, frozen=True):
    """A run of capitalised words."""

    text: str
    stems: tuple[str, ...]
    start: int
    end: int


_SMALL = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen "
    "fifteen sixteen seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()
_WORD_VALUES = {w: float(i) for i, w in enumerate(_SMALL)}
_WORD_VALUES |= {w: 10.0 * (i + 2) for i, w in enumerate(_TENS)}
_WORD_VALUES |= {"dozen": 12.0, "both": 2.0, "once": 1.0, "twice": 2.0, "half": 0.5}
_WORD_VALUES |= {
    "first": 1.0, "second": 2.0, "third": 3.0, "fourth": 4.0, "fifth": 5.0, "sixth": 6.0,
    "seventh": 7.0, "eighth": 8.0, "ninth": 9.0, "tenth": 10.0,
}  # fmt: skip
_WORD_VALUES |= {
    "zwei": 2.0, "drei": 3.0, "vier": 4.0, "fünf": 5.0, "sechs": 6.0, "sieben": 7.0, "acht": 8.0,
    "neun": 9.0, "zehn": 10.0, "elf": 11.0, "zwölf": 12.0, "deux": 2.0, "trois": 3.0,
    "quatre": 4.0, "cinq": 5.0, "dos": 2.0, "tres": 3.0, "cuatro": 4.0, "cinco": 5.0,
}  # fmt: skip
# Read as words of language rather than as counts, unless a unit follows.
_WEAK_WORDS = frozenset("zero one once half both second first".split())
_MAGNITUDES = {
    "hundred": 1e2, "thousand": 1e3, "k": 1e3, "million": 1e6, "millions": 1e6, "mn": 1e6,
    "m": 1e6, "billion": 1e9, "billions": 1e9, "bn": 1e9, "b": 1e9, "trillion": 1e12, "tn": 1e12,
    "tausend": 1e3, "millionen": 1e6, "milliarden": 1e9, "mille": 1e3, "milliards": 1e9,
    "mil": 1e3, "millones": 1e6,
}  # fmt: skip
_CURRENCIES = {
    "$": "usd", "us$": "usd", "dollar": "usd", "usd": "usd", "€": "eur", "euro": "eur",
    "eur": "eur", "£": "gbp", "pound": "gbp", "gbp": "gbp", "¥": "jpy", "yen": "jpy", "₹": "inr",
    "rupe": "inr", "crown": "crown", "kron": "crown", "kronen": "crown", "corona": "crown",
    "couronn": "crown", "dolar": "usd",
}  # fmt: skip
_UNITS = {
    "%": "%", "percent": "%", "percentag": "%", "prozent": "%", "pct": "%", "km": "km",
    "kilometer": "km", "kilometr": "km", "mile": "mile", "kg": "kg", "kilogram": "kg", "kilo": "kg",
    "metr": "metre", "meter": "metre", "ft": "foot", "foot": "foot", "feet": "foot",
    "c": "°c", "f": "°f", "°": "°", "degre": "°", "celsius": "°c", "fahrenheit": "°f",
    "mph": "mph", "kmh": "km/h", "hour": "hour", "hr": "hour", "minut": "minute", "min": "minute",
    "person": "person", "people": "person",
}  # fmt: skip
_COMPOSED = {"per": {"cent": "%"}, "pour": {"cent": "%"}, "por": {"ciento": "%"}}
"""Units of two words."""
_SPEEDS = {"km": "km/h", "mile": "mph", "kilometr": "km/h", "kilómetr": "km/h"}
_AN_HOUR = re.compile(
    r"\s?(?:/\s?|(?:an|per|pro|por|par|à l['’]|a la )\s?)(?:h|hour|stunde|hora|heure)\b",
    re.IGNORECASE,
)

_NUMBER = re.compile(
    r"(?<![\w.,:])(?P<currency>(?:US)?\$|[€£¥₹])?\s?(?P<sign>[-−](?=\d))?"
    r"(?P<digits>\d{1,3}(?:[,.\u00a0\u202f]\d{3})+(?![\d])(?:[.,]\d{1,2}(?!\d))?|\d+(?:[.,]\d+)?)"
    r"(?P<ordinal>st|nd|rd|th)?(?P<tail>[ \u00a0-]?(?:[%€£]|°\s?[CF]?\b|[^\W\d_]+))?",
)
_WORD_NUMBER = re.compile(
    r"\b(?P<word>" + "|".join(sorted(_WORD_VALUES, key=len, reverse=True)) + r")"
    r"(?:[- ](?P<ones>" + "|".join(_SMALL[1:10]) + r"))?\b"
    r"(?:[ -](?P<magnitude>hundred|thousand|million|billion|trillion))?"
    r"(?:\s(?P<next>[^\W\d_]+))?",
    re.IGNORECASE,
)
_MONTHS = (
    r"(?P<month>jan(?:uary|uar)?|feb(?:ruary|ruar)?|mar(?:ch)?|märz|apr(?:il)?|may|mai|june?|juni|"
    r"july?|juli|aug(?:ust)?|sept?(?:ember)?|o[ck]t(?:ober)?|nov(?:ember)?|de[cz](?:ember)?)"
)
_MONTH_OF = {m: i for i, m in enumerate(
    "jan feb mar apr may jun jul aug sep oct nov dec".split(), 1)}  # fmt: skip
_MONTH_OF |= {"mär": 3, "mai": 5, "okt": 10, "dez": 12}
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_DATE = re.compile(
    r"(?P<iso>\b\d{4}-\d{2}-\d{2}\b)"
    rf"|\b(?P<dm>\d{{1,2}})(?:st|nd|rd|th|\.)?(?:\sof)?\s{_MONTHS}\b\.?(?:,?\s(?P<dmy>\d{{4}}))?"
    rf"|\b{_MONTHS.replace('month', 'month2')}\b\.?(?:\s(?P<md>\d{{1,2}})(?:st|nd|rd|th)?\b"
    r"(?!:|\.\d|,\d{3}|\s?(?:%|percent)))?(?:,?\s(?P<mdy>\d{4})\b)?"
    r"|\b(?P<clock>\d{1,2})(?::(?P<minute>\d{2}))?\s?(?P<half>[ap]\.?m\.?)(?!\w)"
    r"|\b(?P<clock24>[01]?\d|2[0-3]):(?P<minute24>[0-5]\d)\b"
    r"|\b(?P<weekday>mon|tues|wednes|thurs|fri|satur|sun)day\b"
    r"|\b(?P<year>1[89]\d\d|20\d\d)s?\b(?![,.]\d|\s?(?:%|people|percent))",
    re.IGNORECASE,
)
_CAPITAL = r"[A-ZÀ-ÖØ-ÞŁŚŠŽĄĆĘĐİĞŞА-ЯЁІЇЄҐΑ-Ω]"
_NAME = re.compile(
    rf"(?<![\w])(?:{_CAPITAL}[\w'’.-]*\w|{_CAPITAL}\b)"
    rf"(?:(?:\s(?:of|de|del|da|von|van|al|bin|la|du|y)\s|\s|\s?&\s?)(?:{_CAPITAL}[\w'’.-]*\w|{_CAPITAL}\b))*"
)
_QUOTED = re.compile(r"[\"“„«]([^\"“”„«»]{2,400})[\"”“»]")
_NOT_NAMES = frozenset(
    (
        "i monday tuesday wednesday thursday friday saturday sunday january february march april "
        "may june july august september october november december mr mrs ms dr yes however "
        "meanwhile although since also many most several today yesterday earlier later officials "
        "police according"
    ).split()
)


@lru_cache(maxsize=8192)
def numbers(text: str) -> tuple[Number, ...]:
    """Every quantity in `text` that is no part of a date or a time of day."""
    text = digits(text)
    taken = [(m.start, m.end) for m in moments(text)]
    found = [n for n in _digit_numbers(text) if not _inside(n.start, taken)]
    taken += [(n.start, n.end) for n in found]
    found += [n for n in _spelt_numbers(text) if not _inside(n.start, taken)]
    return tuple(sorted(found, key=lambda n: n.start))


@lru_cache(maxsize=8192)
def moments(text: str) -> tuple[Moment, ...]:
    """Every date, weekday, year and time of day in `text`."""
    out = []
    for match in _DATE.finditer(text):
        parts = _date_parts(match)
        if parts:
            out.append(Moment(frozenset(parts), match[0], match.start(), match.end()))
    return tuple(out)


@lru_cache(maxsize=8192)
def names(text: str) -> tuple[Name, ...]:
    """Runs of capitalised words; a sentence's first word counts only if it is no common one."""
    out = []
    for match in _NAME.finditer(text):
        start, run = match.start(), match[0]
        tokens = words(run)
        while tokens and (fold(tokens[0].text) in STOP_WORDS or fold(tokens[0].text) in _NOT_NAMES):
            tokens = tokens[1:]
        if not tokens:
            continue
        begin = start + tokens[0].start
        end = start + tokens[-1].end
        # "Half-time: 1-0" names nobody: its hyphen does not make it two names, as in "Jean-Luc".
        single = len(tokens) == 1 or text[begin + 1 : end].islower()
        lone = single and _begins_sentence(text, begin)
        if lone and not text[begin:end].isupper():
            continue
        kept = tuple(t.stem for t in tokens if fold(t.text) not in STOP_WORDS)
        out.append(Name(text[begin:end], kept, begin, end))
    return tuple(out)


def quotations(text: str) -> list[str]:
    """What stands in quotation marks and is longer than one word."""
    return [q for q in _QUOTED.findall(text) if " " in q.strip()]


def currencies() -> frozenset[str]:
    """The units that are money."""
    return frozenset(_CURRENCIES.values())


def units_agree(a: str, b: str) -> bool:
    """Whether two units can be the same quantity's: equal, or one of them is not told."""
    return a == b or not a or not b or ({a, b} <= {"°", "°c", "°f"} and "°" in (a, b))


def _digit_numbers(text: str) -> list[Number]:
    out = []
    for match in _NUMBER.finditer(text):
        value = _value(match["digits"])
        if value is None:
            continue
        end = match.end("ordinal") if match["ordinal"] else match.end("digits")
        unit = _CURRENCIES.get((match["currency"] or "").lower(), "")
        tail = (match["tail"] or "").lstrip("-").strip()
        if match["sign"]:
            value = -value
        after = match.end("tail") if match["tail"] else end
        glued = match["tail"] is not None and match["tail"][:1] not in " \u00a0-"
        magnitude = _MAGNITUDES.get(tail.lower()) if len(tail) > 1 or glued else None
        if tail == "m" and not unit and not glued:
            magnitude = None
        if magnitude:
            value *= magnitude
            end = after
            tail = _following(text, after)
        if not unit:
            unit = _COMPOSED.get(tail.lower(), {}).get(_following(text, after).lower(), "")
        if not unit:
            unit = unit_of(tail)
        if unit in _SPEEDS and _AN_HOUR.match(text, after):
            unit = _SPEEDS[unit]
        out.append(Number(value, unit, text[match.start() : end].strip(), match.start(), end))
    return out


def _spelt_numbers(text: str) -> list[Number]:
    out = []
    for match in _WORD_NUMBER.finditer(text):
        word = match["word"].lower()
        value = _WORD_VALUES[word]
        if match["ones"] and value >= 20:
            value += _WORD_VALUES[match["ones"].lower()]
        following = match["next"] or ""
        end = match.end("next") if match["next"] else match.end()
        if match["magnitude"]:
            value *= _MAGNITUDES[match["magnitude"].lower()]
        elif word in _WEAK_WORDS and unit_of(following) not in _UNITS.values():
            continue
        end = match.start("next") if match["next"] else end
        said = text[match.start() : end].strip()
        out.append(
            Number(value, unit_of(following), said, match.start(), match.start() + len(said))
        )
    return out


def _value(digits: str) -> float | None:
    plain = re.sub(r"[\u00a0\u202f ]", "", digits)
    if re.fullmatch(r"\d{1,3}(?:,\d{3})+(?:\.\d+)?", plain):
        plain = plain.replace(",", "")
    elif re.fullmatch(r"\d{1,3}(?:\.\d{3}){2,}(?:,\d+)?|\d{1,3}(?:\.\d{3})+,\d+", plain):
        plain = plain.replace(".", "").replace(",", ".")
    else:
        plain = plain.replace(",", ".")
    try:
        return float(plain)
    except ValueError:
        return None


def _following(text: str, at: int) -> str:
    # "2,2 millones de coronas": the noun that is counted.
    match = re.match(r"\s(?:de\s|d['’]|of\s)?([^\W\d_]+)", text[at : at + 40])
    return match[1] if match else ""


def unit_of(token: str) -> str:
    """The unit or the noun that `token` names, as numbers have it; empty for a mere word."""
    token = token.strip()
    if not token or token.lower() in STOP_WORDS:
        return ""
    if token.startswith("°"):
        return token.replace(" ", "").lower()
    base = stem(token)
    return _CURRENCIES.get(base) or _UNITS.get(base) or base


def _date_parts(match: re.Match[str]) -> set[str]:
    got = match.groupdict()
    parts: set[str] = set()
    if got["iso"]:
        year, month, day = got["iso"].split("-")
        return {f"y{int(year)}", f"m{int(month)}", f"d{int(day)}"}
    month = got["month"] or got["month2"]
    if month:
        day, year = got["dm"] or got["md"], got["dmy"] or got["mdy"]
        # "may" and "march" are months only beside a day or a year, or when capitalised.
        if not day and not year and not month[0].isupper():
            return set()
        if month == "May" and not day and not year and match.start() == 0:
            return set()
        parts.add(f"m{_MONTH_OF[month.lower()[:3]]}")
        parts |= {f"d{int(day)}"} if day else set()
        parts |= {f"y{year}"} if year else set()
    elif got["half"]:
        hour = int(got["clock"]) % 12 + (12 if got["half"][0].lower() == "p" else 0)
        parts.add(f"t{hour}:{got['minute'] or '00'}")
    elif got["clock24"]:
        parts.add(f"t{int(got['clock24'])}:{got['minute24']}")
    elif got["weekday"]:
        parts.add("w" + got["weekday"].lower()[:3])
    elif got["year"]:
        parts.add(f"y{got['year']}")
    return parts


def _begins_sentence(text: str, at: int) -> bool:
    before = text[:at].rstrip(" \t\"'“‘«(")
    return not before or before[-1] in ".!?:\n。"


def _inside(at: int, taken: list[tuple[int, int]]) -> bool:
    return any(start <= at < end for start, end in taken)
