"""Days as people write them, in many languages: `19. Mai 2019`, `May 19, 2019`, `2019年5月19日`.

Buddhist years and the solar calendar of Iran are read as well. Only whole days count (day, month
and year of four digits, or of two between full stops or strokes). The order of day and month in
`04/05/2019` is that of the language; a reading that gives no day is not guessed.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date

import msgspec

_WINDOW = 44
"""Characters before a year in which its day and month can stand."""
_BUDDHIST = 543
_SOLAR_MONTHS = "فروردین اردیبهشت خرداد تیر مرداد شهریور مهر آبان آذر دی بهمن اسفند"
_SOLAR_OF = {name: number for number, name in enumerate(_SOLAR_MONTHS.split(), 1)} | {
    "ابان": 8,
    "اذر": 9,
}
_SOLAR = re.compile(
    r"(?<!\d)(?:(?P<day>\d{1,2})\s?(?:ام|م)?\s(?:ماه\s)?(?P<month>[\u0600-\u06ff]{2,10})\s?(?:ماه)?"
    r"[\s،,]{1,3}(?P<year>1[34]\d\d)|(?P<y>1[34]\d\d)(?P<sep>[/-])(?P<m>\d{1,2})(?P=sep)(?P<d>\d{1,2}))"
    r"(?!\d)"
)
_ARABIC = re.compile(r"[\u0620-\u06cc]")
_SOLAR_YEAR, _SOLAR_NEW_YEAR = 1399, date(2020, 3, 20).toordinal()
_SOLAR_LEAPS = (1, 5, 9, 13, 17, 22, 26, 30)
"""Leap years within each 33; right from 1799 to 2256."""
_SOLAR_LAST = 1411
"""Later years with three figures in common are of the lunar calendar."""

_MONTHS = (
    "january januar jänner janvier enero gennaio janeiro januari styczeń "
    "stycznia leden ledna január januára ianuarie январь января січень січня "
    "януари ιανουάριος ιανουαρίου ocak tammikuuta tammikuu jaanuar sausio gener "
    "มกราคม ม.ค يناير ינואר जनवरी jan ene gen janv sty led янв ιαν oca",
    "february februar feber février febrero febbraio fevereiro februari "
    "februarie luty lutego únor února február februára февраль февраля лютий "
    "лютого февруари φεβρουάριος φεβρουαρίου şubat helmikuuta helmikuu veebruar "
    "vasario febrer กุมภาพันธ์ ก.พ فبراير פברואר फरवरी feb fév févr fev lut úno "
    "фев φεβ şub",
    "march märz maerz mars marzo março maart marts marzec marca březen března "
    "marec március martie март марта березень березня μάρτιος μαρτίου mart "
    "maaliskuuta maaliskuu märts kovo març maret มีนาคม มี.ค مارس מרץ मार्च mar "
    "mär mrz bře мар μαρ",
    "april avril abril aprile kwiecień kwietnia duben dubna apríl apríla "
    "április aprilie апрель апреля квітень квітня април απρίλιος απριλίου nisan "
    "huhtikuuta huhtikuu aprill balandžio เมษายน เม.ย أبريل ابريل אפריל अप्रैल "
    "apr abr avr kwi dub ápr апр απρ nis",
    "may mai mayo maggio maio mei maj maja květen května máj mája május май мая "
    "травень травня μάιος μαΐου mayıs toukokuuta toukokuu gegužės maig พฤษภาคม "
    "พ.ค مايو מאי मई mag kvě μαϊ",
    "june juni juin junio giugno junho czerwiec czerwca červen června jún júna "
    "június iunie июнь июня червень червня юни ιούνιος ιουνίου haziran "
    "kesäkuuta kesäkuu juuni birželio juny มิถุนายน มิ.ย يونيو יוני जून jun giu "
    "cze iun июн ιουν haz",
    "july juli juillet julio luglio julho lipiec lipca červenec července júl "
    "júla július iulie июль июля липень липня юли ιούλιος ιουλίου temmuz "
    "heinäkuuta heinäkuu juuli liepos juliol กรกฎาคม ก.ค يوليو יולי जुलाई jul "
    "juil lug lip iul июл ιουλ tem",
    "august août agosto augustus augusti sierpień sierpnia srpen srpna augusta "
    "augusztus август августа серпень серпня αύγουστος αυγούστου ağustos "
    "elokuuta elokuu rugpjūčio agost agustus สิงหาคม ส.ค أغسطس اغسطس אוגוסט "
    "अगस्त aug aoû ago sie srp авг αυγ ağu agu",
    "september septembre septiembre setiembre settembre setembro wrzesień "
    "września září szeptember septembrie septembra сентябрь сентября вересень "
    "вересня септември σεπτέμβριος σεπτεμβρίου eylül syyskuuta syyskuu rugsėjo "
    "setembre กันยายน ก.ย سبتمبر ספטמבר सितंबर sep sept set wrz szept сен σεπ "
    "eyl",
    "october oktober octobre octubre ottobre outubro październik października "
    "říjen října október októbra octombrie октябрь октября жовтень жовтня "
    "октомври οκτώβριος οκτωβρίου ekim lokakuuta lokakuu oktoober spalio ตุลาคม "
    "ต.ค أكتوبر اكتوبر אוקטובר अक्टूबर oct okt ott out paź říj окт οκτ eki",
    "november novembre noviembre novembro listopad listopada listopadu листопад "
    "листопада novembra noiembrie ноябрь ноября ноември νοέμβριος νοεμβρίου "
    "kasım marraskuuta marraskuu lapkričio พฤศจิกายน พ.ย نوفمبر נובמבר नवंबर "
    "nov lis noi ноя νοε kas",
    "december dezember décembre diciembre dicembre dezembro grudzień grudnia "
    "prosinec prosince decembra decembrie декабрь декабря грудень грудня "
    "декември δεκέμβριος δεκεμβρίου aralık joulukuuta joulukuu detsember "
    "gruodžio desember desembre ธันวาคม ธ.ค ديسمبر דצמבר दिसंबर dec dez déc dic "
    "gru pro дек δεκ ara des",
)
_MONTH_OF = {
    unicodedata.normalize("NFC", name): number
    for number, names in enumerate(_MONTHS, 1)
    for name in names.split()
}
_WORD = r"([^\W\d_][\w.\u0300-\u036f\u0900-\u097f\u0e00-\u0e7f]{1,14})"
_DAY = r"(?<!\d)(\d{1,2})"
_YEAR = re.compile(r"(?<!\d)(?:19|20|25)\d\d(?!\d)")
_SHORT = re.compile(r"(?<![\d./])(\d{1,2})([./])(\d{1,2})\2([012]\d)(?![\d./])")
# Each ends where the year begins.
_NUMBERS_BEFORE = re.compile(_DAY + r"\s?([./-])\s?(\d{1,2})\s?\2\s?$")
_WORD_BEFORE = re.compile(
    _DAY + r"(?:st|nd|rd|th|er|º|ª|\.)?[\s\xa0,/-]{0,3}(?:de |of |d[’'])?"
    r"[\s-]?" + _WORD + r"[\s\xa0,./-]{1,3}(?:de |del )?$",
    re.IGNORECASE,
)
_AMERICAN = re.compile(_WORD + r"[\s\xa0]{1,2}(\d{1,2})(?:st|nd|rd|th)?[\s\xa0]?,?[\s\xa0]{1,2}$")
_BETWEEN = re.compile(r"\d{1,2}:\d{2}\s$")
"""A time of day between the day and its year, as date boxes have it."""
_VIETNAMESE = re.compile(_DAY + r" tháng (\d{1,2}),? (?:năm )?$", re.IGNORECASE)
# Each begins where the year begins.
_NUMBERS_AFTER = re.compile(r"\d{4}([./-])\s?(\d{1,2})\1\s?(\d{1,2})(?!\d)")
_CJK = re.compile(r"\d{4}\s?[年년]\s?(\d{1,2})\s?[月월]\s?(\d{1,2})\s?[日號号일]")
_HUNGARIAN = re.compile(r"\d{4}\.? " + _WORD + r" (\d{1,2})(?!\d)")


class Written(msgspec.Struct, frozen=True):
    """A day that a text names, and where."""

    day: date
    start: int
    end: int


def plain_digits(text: str) -> str:
    """`text` with the digits of every script as 0 to 9, of the same length."""
    if text.isascii():
        return text
    others = {c for c in set(text) if c.isdecimal() and c > "9"}
    return text.translate({ord(c): str(unicodedata.decimal(c)) for c in others}) if others else text


def month_first(lang: str) -> bool:
    """Whether `04/05/2019` is the fifth of April there."""
    tag = lang.lower().replace("_", "-")
    return tag in ("", "en", "und") or tag.startswith(("en-us", "en-ph", "es-us"))


def day_order(text: str, lang: str, host: str) -> str:
    """The language in whose order the numbers of a page's dates are read.

    Dates of the page that can be read in one way only decide; then the language with its country,
    then for English the country of the site.
    """
    orders = {
        "en-us" if second > 12 else "en-gb"
        for match in _SLASHED.finditer(text)
        if (first := int(match[1])) <= 31 and (second := int(match[2])) <= 31
        if (first > 12) != (second > 12)
    }
    if len(orders) == 1:
        return orders.pop()
    if month_first(lang) and "-" not in lang.replace("_", "-"):
        country = host.rpartition(".")[2]
        return "en-gb" if country in _DAY_FIRST else lang
    return lang


_SLASHED = re.compile(r"(?<![\d/])(\d{1,2})/(\d{1,2})/(?:19|20)\d\d(?![\d/])")
_DAY_FIRST = frozenset(
    ("uk", "ie", "au", "nz", "in", "pk", "bd", "lk", "sg", "my", "hk", "za", "ng", "ke", "gh", "eu")
)
"""Countries that write English, but not the month first."""


def days_in(text: str, lang: str = "") -> Iterator[Written]:
    """The days that `text` names, in order of their years. `text` has plain digits."""
    american = month_first(lang)
    for year in _YEAR.finditer(text):
        found = _before(text, year, american) or _after(text, year)
        if found is not None:
            yield found
    iranian = lang.startswith("fa") or _ARABIC.search(text)
    for solar in _SOLAR.finditer(text) if iranian else ():
        day = _solar_day(solar)
        if day is not None:
            yield Written(day, solar.start(), solar.end())
    for short in _SHORT.finditer(text):
        first, second, number = int(short[1]), int(short[3]), 2000 + int(short[4])
        day = _numbers(number, first, second, american and short[2] == "/")
        if day is not None:
            yield Written(day, short.start(), short.end())


def day_in_path(url: str) -> date | None:
    """The day that an address carries, as `/2019/11/19/` or `2019-11-19`, if it is one alone."""
    found = {
        day
        for match in _PATH.finditer(url[:2_000].partition("?")[0])
        if (day := _day(int(match[1]), int(match[3]), int(match[4])))
    }
    return found.pop() if len(found) == 1 else None


def month_in_path(url: str) -> tuple[int, int] | None:
    """The year and month that an address carries, as `/2019/11/`, if it is one alone."""
    found = {
        (int(match[1]), int(match[2]))
        for match in _MONTH_PATH.finditer(url[:2_000].partition("?")[0])
    }
    return found.pop() if len(found) == 1 else None


_MONTH_PATH = re.compile(r"/((?:19|20)\d\d)/(0?[1-9]|1[0-2])(?=/)")
_PATH = re.compile(r"(?<!\d)((?:19|20)\d\d)([/-]?)(\d{2})\2(\d{2})(?=[/_-]|$|\.html?$)")


def _before(text: str, year: re.Match[str], american: bool) -> Written | None:
    at, end, number = year.start(), year.end(), int(year[0])
    window = text[max(0, at - _WINDOW) : at]
    offset = at - len(window)
    window = _BETWEEN.sub("", window)
    if match := _NUMBERS_BEFORE.search(window):
        # Full stops are never American.
        day = _numbers(number, int(match[1]), int(match[3]), american and match[2] != ".")
        return Written(day, offset + match.start(), end) if day else None
    for pattern, day_at, month_at in ((_WORD_BEFORE, 1, 2), (_AMERICAN, 2, 1)):
        if (match := pattern.search(window)) and (month := _month(match[month_at])):
            day = _day(number, month, int(match[day_at]))
            return Written(day, offset + match.start(), end) if day else None
    if match := _VIETNAMESE.search(window):
        day = _day(number, int(match[2]), int(match[1]))
        return Written(day, offset + match.start(), end) if day else None
    return None


def _numbers(year: int, first: int, second: int, american: bool) -> date | None:
    """The day of two numbers; a month above 12 turns their order round."""
    swapped = (american and first <= 12) or second > 12
    return _day(year, first, second) if swapped else _day(year, second, first)


def _after(text: str, year: re.Match[str]) -> Written | None:
    number, at = int(year[0]), year.start()
    if match := _NUMBERS_AFTER.match(text, at):
        day = _day(number, int(match[2]), int(match[3]))
    elif match := _CJK.match(text, at):
        day = _day(number, int(match[1]), int(match[2]))
    elif (match := _HUNGARIAN.match(text, at)) and (month := _month(match[1])):
        day = _day(number, month, int(match[2]))
    else:
        return None
    return Written(day, at, match.end()) if day else None


def _solar_day(match: re.Match[str]) -> date | None:
    if match["y"]:
        year, month, day = int(match["y"]), int(match["m"]), int(match["d"])
    else:
        name = match["month"].replace("ي", "ی").replace("ك", "ک")
        year, month, day = int(match["year"]), _SOLAR_OF.get(name, 0), int(match["day"])
    days = 31 if month < 7 else 30
    if not (1 <= month <= 12 and 1 <= day <= days and 1300 < year <= _SOLAR_LAST):
        return None
    before = 31 * (month - 1) if month < 7 else 186 + 30 * (month - 7)
    since = 365 * (year - _SOLAR_YEAR) + _solar_leaps(year) - _solar_leaps(_SOLAR_YEAR)
    return date.fromordinal(_SOLAR_NEW_YEAR + since + before + day - 1)


def _solar_leaps(year: int) -> int:
    """How many leap years come before `year`."""
    cycles, rest = divmod(year, 33)
    return cycles * len(_SOLAR_LEAPS) + sum(leap < rest for leap in _SOLAR_LEAPS)


def _month(word: str) -> int:
    return _MONTH_OF.get(unicodedata.normalize("NFC", word).rstrip(".").lower(), 0)


def _day(year: int, month: int, day: int) -> date | None:
    if year >= 2400:
        year -= _BUDDHIST
    try:
        return date(year, month, day)
    except ValueError:
        return None
