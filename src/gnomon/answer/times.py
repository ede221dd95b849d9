"""Words of time in a question become a range: "since Tuesday", "an hour ago", "im März 2023".

A word that introduces a time (`since`, `vor`, `depuis`, …) tells the language; what follows is
read by dateparser, in that language alone, so that nothing is guessed where no time is meant.
What names an event and no time ("before the vote") is no range.
"""

# ruff: noqa: E501 - a pattern reads best in one line

from __future__ import annotations

import re
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from dateparser.date import DateDataParser

Sense: TypeAlias = Literal["since", "until", "during", "between"]

_DAY = timedelta(days=1)
_MAX_WORDS = 6
UNITS = {
    "minute": timedelta(minutes=1),
    "hour": timedelta(hours=1),
    "day": _DAY,
    "week": timedelta(weeks=1),
    "month": timedelta(days=30),
    "year": timedelta(days=365),
}


class Range(NamedTuple):
    """The time that words name."""

    since: datetime | None
    until: datetime | None
    words: str
    """Of the question."""


class _Cue(NamedTuple):
    sense: Sense
    langs: tuple[str, ...]
    pattern: re.Pattern[str]


def _cue(sense: Sense, langs: str, pattern: str) -> _Cue:
    return _Cue(sense, tuple(langs.split()), re.compile(pattern, re.IGNORECASE))


_MONTHS = {
    "en": "january february march april may june july august september october november december",
    "de": "januar februar märz april mai juni juli august september oktober november dezember",
    "fr": "janvier février mars avril mai juin juillet août septembre octobre novembre décembre",
    "es": "enero febrero marzo abril mayo junio julio agosto septiembre octubre noviembre diciembre",
    "pt": "janeiro fevereiro março abril maio junho julho agosto setembro outubro novembro dezembro",
    "ru": "январе феврале марте апреле мае июне июле августе сентябре октябре ноябре декабре",
}
_MONTH = {lang: "|".join(names.split()) for lang, names in _MONTHS.items()}
MONTHS = "|".join(_MONTH.values())
"""A pattern for the month's names in all these languages."""
_TAIL = r"(?P<when>[^?!,;]{1,60})"
_COUNT = r"(?:an?|one|two|three|four|five|six|seven|eight|nine|ten|a few|a couple of|\d+)"

_CUES = (
    _cue("between", "en", r"\bbetween (?P<when>[^?!;]{1,40}?) and (?P<end>[^?!,;]{1,40})"),
    _cue("between", "de", r"\bzwischen (?P<when>[^?!;]{1,40}?) und (?P<end>[^?!,;]{1,40})"),
    _cue("between", "fr", r"\bentre (?P<when>[^?!;]{1,40}?) et (?P<end>[^?!,;]{1,40})"),
    _cue("between", "es pt", r"\bentre (?P<when>[^?!;]{1,40}?) [ye] (?P<end>[^?!,;]{1,40})"),
    _cue(
        "during",
        "en",
        rf"\b(?P<when>{_COUNT} (?:minute|hour|day|week|month|year)s? ago)\b",
    ),
    _cue("during", "de", r"\b(?P<when>vor (?:\w+) (?:Minute|Stunde|Tag|Woche|Monat|Jahr)\w*)"),
    _cue("during", "fr", r"\b(?P<when>il y a (?:\w+) (?:minute|heure|jour|semaine|mois|an)\w*)"),
    _cue("during", "es", r"\b(?P<when>hace (?:\w+) (?:minuto|hora|día|dia|semana|mes|año)\w*)"),
    _cue("during", "pt", r"\b(?P<when>há (?:\w+) (?:minuto|hora|dia|semana|mes|mês|ano)\w*)"),
    _cue("during", "ru", r"(?P<when>(?:\w+ )?(?:минут|час|день|дня|дней|недел|месяц|год|лет)\w* назад)"),
    _cue("during", "ar", r"(?P<when>قبل \w+(?: \w+)?)"),
    _cue("during", "zh ja", r"(?P<when>\d+ ?(?:分钟|分鐘|小时|小時|天|周|週|个月|年|分|時間|日|週間|か月)前)"),
    _cue("during", "hi", r"(?P<when>\d+ (?:मिनट|घंटे|दिन|सप्ताह|महीने|साल) पहले)"),
    _cue("since", "en", rf"\b(?:ever )?since {_TAIL}"),
    _cue("since", "en", rf"\bafter {_TAIL}"),
    _cue("since", "de", rf"\bseit (?:dem |der )?{_TAIL}"),
    _cue("since", "fr", rf"\bdepuis (?:le |la )?{_TAIL}"),
    _cue("since", "es pt", rf"\bdesde (?:el |la |o |a )?{_TAIL}"),
    _cue("since", "ru", rf"\bс {_TAIL}"),
    _cue("since", "ar", rf"منذ {_TAIL}"),
    _cue("since", "ja", r"(?P<when>昨日|今日|一昨日|\d{1,2}月\d{1,2}日)(?:から|以来|以降)"),
    _cue("since", "zh", r"自?(?P<when>昨天|前天|今天|\d{1,2}月\d{1,2}日)(?:以来|以後|以后)"),
    _cue("until", "en", rf"\b(?:before|until|till|up to) {_TAIL}"),
    _cue("until", "de", rf"\b(?:bis|vor dem) (?:zum |zur )?{_TAIL}"),
    _cue("until", "fr", rf"\b(?:avant|jusqu'(?:au|à)) (?:le |la )?{_TAIL}"),
    _cue("until", "es pt", rf"\b(?:antes d[eo]l?|hasta|até) (?:el |la |o |a )?{_TAIL}"),
    _cue("until", "ru", rf"\bдо {_TAIL}"),
    _cue("during", "en", rf"\b(?:in|during) (?P<when>(?:early |late )?(?:{_MONTH['en']})(?:,? \d{{4}})?)\b"),
    _cue("during", "de", rf"\bim (?P<when>(?:{_MONTH['de']})(?: \d{{4}})?)\b"),
    _cue("during", "fr", rf"\ben (?P<when>(?:{_MONTH['fr']})(?: \d{{4}})?)\b"),
    _cue("during", "es", rf"\ben (?P<when>(?:{_MONTH['es']})(?:(?: de)? \d{{4}})?)\b"),
    _cue("during", "pt", rf"\bem (?P<when>(?:{_MONTH['pt']})(?:(?: de)? \d{{4}})?)\b"),
    _cue("during", "ru", rf"\bв (?P<when>(?:{_MONTH['ru']})(?: \d{{4}})?)\b"),
    _cue("during", "en", rf"\bon (?P<when>(?:the )?\d{{1,2}}(?:st|nd|rd|th)?(?: of)? (?:{_MONTH['en']})(?:,? \d{{4}})?)\b"),
    _cue("during", "en", rf"\bon (?P<when>(?:{_MONTH['en']}) \d{{1,2}}(?:st|nd|rd|th)?(?:,? \d{{4}})?)\b"),
    _cue("during", "de", rf"\bam (?P<when>\d{{1,2}}\. ?(?:{_MONTH['de']})(?: \d{{4}})?)\b"),
    _cue("during", "fr", rf"\ble (?P<when>\d{{1,2}}(?:er)? (?:{_MONTH['fr']})(?: \d{{4}})?)\b"),
    _cue("during", "es pt", rf"\b(?:el|em|no dia) (?P<when>\d{{1,2}} de (?:{_MONTH['es']}|{_MONTH['pt']})(?: de \d{{4}})?)\b"),
    _cue("during", "de", r"\b(?P<when>gestern|vorgestern|heute)\b"),
    _cue("during", "fr", r"\b(?P<when>avant-hier|hier|aujourd'hui)\b"),
    _cue("during", "es", r"\b(?P<when>anteayer|ayer|hoy)\b"),
    _cue("during", "pt", r"\b(?P<when>anteontem|ontem|hoje)\b"),
    _cue("during", "ru", r"(?P<when>позавчера|вчера|сегодня)"),
    _cue("during", "ar", r"(?P<when>أمس|الأمس|اليوم)"),
    _cue("during", "zh", r"(?P<when>昨天|前天|今天)"),
    _cue("during", "ja", r"(?P<when>昨日|一昨日|今日)"),
    _cue("during", "hi", r"(?P<when>आज)"),
)  # fmt: skip


def named(text: str, now: datetime) -> Range | None:
    """The range that the words of `text` name, counted from `now`; None if they name none."""
    plain = text.replace("’", "'")
    for cue in _CUES:
        for match in cue.pattern.finditer(plain):
            found = _range(cue, match, now)
            if found is not None:
                return found
    return None


def ends(words: str, now: datetime) -> tuple[datetime | None, int]:
    """When the time that `words` begin with is over ("20 November", "2025"), and how many
    characters name it; a time of day is over at once."""
    found = _read(words, ("en", "de", "fr", "es"), now)
    if found is None:
        return None, 0
    start, stop, said = found
    if stop - start <= timedelta(hours=1):
        return start, len(said)
    return stop - _DAY, len(said)


def _range(cue: _Cue, match: re.Match[str], now: datetime) -> Range | None:
    first = _read(match["when"], cue.langs, now, exact=cue.sense == "during")
    if first is None:
        return None
    start, stop, words = first
    said = match[0][: match.start("when") - match.start()] + words
    if cue.sense == "between":
        last = _read(match["end"], cue.langs, now)
        if last is None or last[1] <= start or start > now:
            return None
        said = match[0][: match.start("end") - match.start()] + last[2]
        return Range(start, last[1], said)
    if cue.sense == "since":
        return Range(start, None, said) if start <= now else None
    if cue.sense == "until":
        return Range(None, start, said)
    if start > now:
        return None
    return Range(start, stop if stop < now else None, said)


def _read(
    words: str, langs: tuple[str, ...], now: datetime, *, exact: bool = False
) -> tuple[datetime, datetime, str] | None:
    """The beginning and the end of a time, and its words: the longest beginning that is one."""
    tokens = words.split(" ")
    shortest = len(tokens) if exact else 1
    for count in range(min(len(tokens), _MAX_WORDS + 2), shortest - 1, -1):
        said = " ".join(tokens[:count]).strip(" .:")
        if not _looks_like_time(said):
            continue
        found = _parser(langs, now.replace(tzinfo=None)).get_date_data(
            _HOURS.sub(r"\g<hour>:00", said)
        )
        if found.date_obj is None:
            continue
        moment = found.date_obj
        moment = moment if moment.tzinfo else moment.replace(tzinfo=now.tzinfo)
        start, stop = _spread(moment, found.period or "day", said)
        return start, stop, said
    return None


def _spread(moment: datetime, period: str, said: str) -> tuple[datetime, datetime]:
    """From when to when a time lasts; what happens on a day is reported until the next one ends."""
    ago = _AGO.search(said)
    if ago is not None:
        unit = next((u for name, u in UNITS.items() if name in said.lower()), None)
        if unit is None:
            unit = timedelta(hours=1) if period == "time" else _DAY
        if unit >= _DAY:
            moment = moment.replace(hour=0, minute=0, second=0, microsecond=0)
            return moment - (unit - _DAY) / 2, moment + (unit + _DAY) / 2 + _DAY
        return moment - unit, moment + unit
    if period == "time":
        return moment, moment + timedelta(hours=1)
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    if period == "month":
        start = start.replace(day=1)
        return start, (start + timedelta(days=32)).replace(day=1) + _DAY
    if period == "year":
        start = start.replace(month=1, day=1)
        return start, start.replace(year=start.year + 1) + _DAY
    return start, start + (timedelta(days=8) if period == "week" else 2 * _DAY)


_AGO = re.compile(r"\bago$|^vor |^il y a |^hace |^há |назад$|^قبل |前$|पहले$", re.IGNORECASE)
# "the vote", "the 5 arrests": only what holds a word of time is a time.
_TIME_WORD = re.compile(
    r"\d{4}|\d{1,2}:\d\d|\d{1,2} ?[ap]\.?m\b|\d[-/.]\d|noon|midnight|today|yesterday|tonight|"
    r"(?:mon|tues|wednes|thurs|fri|satur|sun)day|(?:last|this|past) (?:week|month|year)|"
    r"\b(?:montag|dienstag|mittwoch|donnerstag|freitag|samstag|sonntag|gestern|vorgestern|heute)\b|"
    r"\b(?:lundi|mardi|mercredi|jeudi|vendredi|samedi|dimanche|hier|avant-hier|aujourd'hui)\b|"
    r"\b(?:lunes|martes|miércoles|jueves|viernes|sábado|domingo|ayer|anteayer|hoy)\b|"
    r"\b(?:segunda|terça|quarta|quinta|sexta|ontem|anteontem|hoje)\b|"
    r"понедельник|вторник|сред[аыу]|четверг|пятниц|суббот|воскресень|вчера|сегодня|"
    r"أمس|اليوم|昨|今|前天|月|आज|" + "|".join(rf"\b(?:{names})\b" for names in _MONTH.values()),
    re.IGNORECASE,
)


_HOURS = re.compile(r"\b(?P<hour>\d{1,2}) ?(?:uhr|h)\b", re.IGNORECASE)


def _looks_like_time(said: str) -> bool:
    return bool(_AGO.search(said) or _TIME_WORD.search(said))


@lru_cache(maxsize=64)
def _parser(langs: tuple[str, ...], now: datetime) -> DateDataParser:
    # Here, because it costs half a second, and few questions name a time in such words.
    from dateparser.date import DateDataParser

    return DateDataParser(
        languages=list(langs),
        settings={
            "RELATIVE_BASE": now,
            "TIMEZONE": "UTC",
            "PREFER_DATES_FROM": "past",
            "PREFER_DAY_OF_MONTH": "first",
            "RETURN_TIME_AS_PERIOD": True,
        },
        try_previous_locales=False,
    )
