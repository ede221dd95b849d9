"""From a question to a plan, by rule: what to search, what kind of answer, how newness counts.

No model is asked, so that a plan costs nothing and the same question always gets the same one.
English is read best; German, French and Spanish in their simple forms; any other language is
searched as it stands. Times without a zone are UTC.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from gnomon.answer import overview, times
from gnomon.answer.base import Plan, Question, Turn
from gnomon.answer.check import kindred
from gnomon.answer.words import Word, content, fold, stem, words
from gnomon.errors import ContentError

MAX_QUESTION_CHARS = 4_000
_DAY = 86_400.0
_HISTORY_TERMS = 8
_REPORTED = timedelta(days=2)
"""How long what happened on a day is told, from its beginning."""
_AT_LARGE = 0.8
"""Weight of newness where it is asked what happened."""

_EXPECTS: tuple[tuple[str, str], ...] = tuple(
    (kind, pattern)
    for kind, patterns in {
        "reason": (
            r"\bwhy\b", r"\bwhat (?:is |was )?(?:the )?(?:caused?|reasons?)\b",
            r"\bwarum\b", r"\bwieso\b", r"\bpourquoi\b", r"\bpor qu[eé]\b",
        ),
        "number": (
            r"\bhow (?:many|much|old|far|high|tall|long|big|large|fast|deep|heavy|often|strong|hot|"
            r"cold|warm|wide|thick|loud|expensive)\b",
            r"\b(?:what|which)(?: is| was)?(?: \w+){0,2} (?:percent\w*|number|share|proportion|"
            r"price|amount|sum|total|toll|turnout|profit|loss|cost|salary|wage|fine|fee|fare|rent|"
            r"bonus|dividend|revenue|income|budget|debt|rate|tax|score|temperature|speed|limit|"
            r"population|rise|raise|distance|height|weight|age)\b",
            r"\bwhat (?:will|does|did|do|would)\b.{1,80}\bcosts?\b",
            r"\bwie ?viele?\b", r"\bcombien\b", r"\bcu[aá]nt[oa]s?\b",
        ),
        "time": (
            r"\bwhen\b", r"\b(?:what|which) (?:year|day|date|month|week|time)\b",
            r"\bwhat(?:'s| is| was) the (?:\w+ ){0,2}date\b",
            r"\bhow (?:soon|recently)\b", r"\bsince\s*[:?]?$",
            r"\bwann\b", r"\bquand\b", r"\bcu[aá]ndo\b",
        ),
        "place": (
            r"\bwhere\b",
            r"\b(?:what|which)(?: \w+){0,2} (?:country|city|town|state|continent|place|county|"
            r"region|island|village|street|nation)\b",
            r"\bwohin\b", r"\bwo\b", r"^\W*où\b", r"\bd[oó]nde\b",
        ),
        "person": (
            r"\bwho(?:m|se)?\b",
            r"\b(?:what|which)(?: \w+){0,2} (?:person|actor|actress|singer|politician|"
            r"player|minister|president|senator|celebrity|author|director|star|billionaire|mayor|judge|"
            r"councillor|builder|driver|officer|leader|lawyer|doctor|teacher|reporter|scientist|"
            r"artist|founder|owner|winner|candidate|coach|lawmaker|official|king|queen|ceo)\b",
            r"\bwer\b", r"\bwen\b", r"\bwem\b", r"^\W*qui\b", r"\bqui[eé]n(?:es)?\b",
        ),
        "list": (
            r"^\W*(?:list|name)\b", r"\bwhat are the\b", r"\bwhich (?:\w+ )?(?:are|were)\b",
            r"\bwhat (?:happened|changed)\b", r"\bwhat'?s (?:new|happening|going on)\b",
        ),
        "definition": (r"^\W*(?:what|who) (?:is|was) an? ", r"\bwhat does .{1,60} mean\b",
                       r"^\W*was ist ein", r"^\W*qu'est-ce qu", r"^\W*qu[eé] es un"),
        "yes_no": (
            r"^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may)\b",
            r"^\W*(?:ist|sind|hat|haben|wird|kann|war|est-ce|est-il|¿?est[aá]n?)\b",
        ),
    }.items()
    for pattern in patterns
)  # fmt: skip

_FRESH = re.compile(
    r"\b(?:latest|newest|now|right now|currently|current|today|tonight|still|breaking|just|"
    r"at the moment|so far|this (?:morning|afternoon|evening|hour)|live|aktuell\w*|jetzt|heute|"
    r"gerade|neueste\w*|maintenant|aujourd'hui|actuellement|dernière?s?|ahora|hoy|actualmente|"
    r"últim[oa]s?)\b",
    re.IGNORECASE,
)
_RECENT = re.compile(
    r"\b(?:recent(?:ly)?|this week|new|yesterday|last night|lately|this month|gestern|hier|ayer|"
    r"diese woche|cette semaine|esta semana)\b",
    re.IGNORECASE,
)
_STATE = re.compile(
    r"\b(?:still|now|current(?:ly)?|right now|at the moment|today|latest|open|closed|status|"
    r"how many|how much|when (?:will|does|is)|so far)\b|"
    r"\b(?:has|have)\b.{1,60}\b(?:reached|raised|collected|gathered|become)\b|"
    r"\b(?:what|which)\b.{1,40}\bappl(?:y|ies)\b|"
    r"^\W*(?:is|are|has|have|who is|what is)\b",
    re.IGNORECASE,
)
_MAY_I = re.compile(
    r"^\W*(?:can|may|could|kann|darf|puedo|puede|peut|puis)\b[- ]?"
    r"(?:i|we|you|one|people|ich|man|wir|on|se|je)?\b",
    re.IGNORECASE,
)
_USES = frozenset(
    stem(w)
    for w in "drive go get use visit enter cross travel reach take still walk ride right now "
    "fahren nutzen possible".split()
)
"""What one may want to do somewhere, as stems."""
_TIMELESS = re.compile(
    r"\b(?:who (?:was|wrote|invented|founded)|history of|in (?:1[0-9]\d\d|19\d\d)|what does)\b"
    r"|^\W*what is an? ",
    re.IGNORECASE,
)
_PRONOUN = re.compile(
    r"\b(?:it|its|he|she|they|them|him|her|his|their|this|that|these|those|there|er|sie|ihn|ihm|"
    r"dort|il|elle|ils|elles|él|ella|ellos|ellas|allí)\b",
    re.IGNORECASE,
)
_ELLIPSIS = re.compile(
    r"^\W*(?:and|but|what about|how about|why|when|where|who|how|und|aber|et|pero|y)\b"
    r"(?:\s+\S+){0,3}\W*$",
    re.IGNORECASE,
)
_WEEKDAYS = "monday tuesday wednesday thursday friday saturday sunday".split()
_OFFSETS_H = {
    "utc": 0, "gmt": 0, "z": 0, "wet": 0, "bst": 1, "west": 1, "cet": 1, "cest": 2, "eet": 2,
    "eest": 3, "msk": 3, "ist": 5.5, "jst": 9, "kst": 9, "aest": 10, "aedt": 11, "brt": -3,
    "est": -5, "edt": -4, "cst": -6, "cdt": -5, "mst": -7, "mdt": -6, "pst": -8, "pdt": -7,
}  # fmt: skip
_ZONE = rf"(?:\s?(?P<zone>(?:utc|gmt)[+-]\d{{1,2}}(?::?\d\d)?|(?:{'|'.join(_OFFSETS_H)})\b))?"
_CLOCK = r"(?P<hour>\d{1,2})(?::(?P<minute>\d{2}))?\s?(?P<half>[ap]\.?m\b\.?)?" + _ZONE
_DAY_WORD = (
    rf"(?P<day>today|yesterday|(?:last |on )?(?:{'|'.join(_WEEKDAYS)})|\d{{4}}-\d{{2}}-\d{{2}})"
)
_ISO = r"\d{4}-\d{2}-\d{2}(?:[T ]\d{2}:\d{2}(?::\d{2})?(?:Z|[+-]\d{2}:?\d{2})?)?"
_AS_OF = (
    re.compile(r"[,(]?\s*\bas of (?P<count>\d+|an?|one) (?P<unit>minute|hour|day|week)s? ago[)]?",
               re.IGNORECASE),
    re.compile(rf"[,(]?\s*\bas of (?P<iso>{_ISO})[)]?", re.IGNORECASE),
    re.compile(
        rf"[,(]?\s*\b(?:as of|as known)\s+(?:at )?(?:{_CLOCK})(?:\s+{_DAY_WORD})?[)]?",
        re.IGNORECASE,
    ),
    re.compile(rf"[,(]?\s*\bas of {_DAY_WORD}[)]?", re.IGNORECASE),
    re.compile(
        r"[,(]?\s*\bat (?P<hour>\d{1,2})(?::(?P<minute>\d{2})\s?(?P<half>[ap]\.?m\b\.?)?"
        rf"|\s?(?P<half2>[ap]\.?m\b\.?)){_ZONE}\s+{_DAY_WORD}[)]?",
        re.IGNORECASE,
    ),
)  # fmt: skip
_UNIT = {"minute": 60.0, "hour": 3600.0, "day": _DAY, "week": 7 * _DAY, "month": 30 * _DAY}
_LAST = re.compile(
    r"\b(?:in |within |over |during )?(?:the )?(?:last|past) (?:(?P<count>\d+) )?"
    r"(?P<unit>minute|hour|day|week|month)s?\b",
    re.IGNORECASE,
)
_SINCE = re.compile(
    rf"\bsince (?P<day>yesterday|{'|'.join(_WEEKDAYS)}|{_ISO}|this morning)\b(?! (?:at )?\d)",
    re.IGNORECASE,
)
_NAMED_DAY = re.compile(
    r"\b(?P<day>today|tonight|this morning|yesterday|last night|heute|gestern|aujourd'hui|hoy"
    r"|ayer)\b"
    r"|\bon (?P<iso>\d{4}-\d{2}-\d{2})\b"
    rf"|\b(?:on|last) (?P<weekday>{'|'.join(_WEEKDAYS)})\b",
    re.IGNORECASE,
)
_SAYS_NOTHING = frozenset(
    "today tonight yesterday now currently current latest newest recent recently happen happened "
    "happening happens change changed changes new news going last past morning evening week lately "
    "hour hours minute minutes heute gestern jetzt passiert neues aujourd'hui hier ahora hoy ayer "
    "monday tuesday wednesday thursday friday saturday sunday "
    "long far old tall big large often kind type sort moment apply applies applied".split()
)
"""Words that ask without saying what about."""
_KIND = re.compile(
    r"\b(?:what|which|welche[mnrs]?|quelle?|qu[eé])\s(?:exact )?(?P<kind>year|month|week|day|date|"
    r"weekday|hour|time|sum|amount|number|jahr|monat|tag|datum|année|mois|jour|date|año|mes|día)\b"
    r"|\b(?:what|which)\b(?: (?!of\b)\w+){0,3} (?P<scale>level(?! of\b)|status|stage)\b",
    re.IGNORECASE,
)
"""What names the kind of answer: "in which year" wants a year told, not the word."""
_YEAR = re.compile(r"\b(?:in|during) (?P<year>(?:19|20)\d\d)\b")


def plan(question: Question, now: datetime) -> Plan:
    """What to search for. Raises ContentError `question.empty` or `question.too_long`."""
    text = clean(question.text)
    asked, moment = _as_of(text, question.as_of or now)
    as_of = question.as_of
    notes: list[str] = []
    if moment is not None and moment < (question.as_of or now):
        as_of = moment
        notes.append(f"Answered as of {_shown(moment)}, as the question asks.")
    else:
        asked = text
    since, until, said = _window(asked, as_of or now)
    if said:
        notes.append(said)
    told = [w for w in content(asked) if fold(w.text) not in _SAYS_NOTHING]
    kinds = {match.start(name) for match in _KIND.finditer(asked) for name in ("kind", "scale")}
    own = [w for w in told if w.start not in kinds] or told
    carried = _carried(asked, own, question.history)
    if carried:
        notes.append(f"Read as a follow-up on: “{_short(question.history[-1].question)}”.")
    recency, half_life_s = _newness(asked, since)
    place = None if carried else overview.place(asked, told)
    if place is not None:
        own = [w for w in told if any(w.text in name for name in place)]
        if since and until and until - since == _REPORTED:
            until -= timedelta(days=1)  # the news of a day, not of what was done on it
        elif until is None:
            recency = max(recency, _AT_LARGE)
    expected = expects(asked) if place is None else "list"
    allowed = expected == "yes_no" and bool(_MAY_I.match(asked))
    state = allowed or bool(_STATE.search(asked))
    if allowed:
        # "Can I drive through it?" asks whether it is open, whatever one wants there.
        own = [w for w in own if w.stem not in _USES] or own
    return Plan(
        search_text=_search_text(asked, carried),
        expects=expected,
        recency=recency,
        half_life_s=half_life_s,
        terms=tuple(dict.fromkeys(w.stem for w in [*own, *carried])),
        notes=tuple(notes),
        since=since,
        until=until,
        as_of=as_of,
        focus=focus(asked),
        state=state,
        allowed=allowed,
        overview=place,
        subject=_subject([*own, *carried]) if state else (),
    )


def _subject(own: Sequence[Word]) -> tuple[str, ...]:
    """What a state is asked of: without the words for states, since the news may be another one."""
    told = [w for w in own if not kindred(w.stem) and w.stem not in _USES]
    return tuple(dict.fromkeys(w.text for w in told))


def clean(text: str) -> str:
    """The question without control characters and doubled white space, or a ContentError."""
    if len(text) > MAX_QUESTION_CHARS:
        raise ContentError(
            f"The question has {len(text):,} characters; at most {MAX_QUESTION_CHARS:,} are read.",
            code="question.too_long",
            hint="Ask the question alone; leave texts to be compared to the sources.",
            chars=len(text),
            limit=MAX_QUESTION_CHARS,
        )
    printable = "".join(c if c.isprintable() else " " for c in text)
    kept = " ".join(printable.split())
    if not any(c.isalnum() for c in kept):
        raise ContentError(
            "The question is empty: it holds no letter and no digit.",
            code="question.empty",
            hint="Ask in a sentence, for example: What changed at the harbour today?",
        )
    return kept


def expects(text: str) -> str:
    """The answer type that the form of a question asks for; `text` where the form tells none."""
    folded = text.lower().replace("’", "'")
    found = [
        (match.start(), order, kind)
        for order, (kind, pattern) in enumerate(_EXPECTS)
        if (match := re.search(pattern, folded))
    ]
    kinds = {kind for *_, kind in found}
    if "definition" in kinds:
        return "definition"
    if "yes_no" in kinds and folded.split()[0].strip("¿¡\"'“(") not in ("may",):
        return "yes_no"
    # The question word stands near the end in quizzes ("…. Where was the event?").
    return max(found, key=lambda f: (_last_clause(folded) <= f[0], -f[1]))[2] if found else "text"


def focus(text: str) -> str:
    """The clause of a question that asks: the last sentence of a quiz's two or three."""
    return text[_last_clause(text) :] or text


def _last_clause(text: str) -> int:
    body = text.rstrip(" ?!.")
    return max(body.rfind(". "), body.rfind("? "), body.rfind("! "), -1) + 1


def _carried(asked: str, own: Sequence[Word], history: Sequence[Turn]) -> list[Word]:
    """Terms of the last question that this one leans on."""
    if not history:
        return []
    lean = len(own) <= 1 or _ELLIPSIS.match(asked) or (_PRONOUN.search(asked) and len(own) <= 5)
    if not lean:
        return []
    mine = {w.stem for w in own}
    before = [w for w in content(history[-1].question[:MAX_QUESTION_CHARS]) if w.stem not in mine]
    return before[:_HISTORY_TERMS]


def _search_text(asked: str, carried: Sequence[Word]) -> str:
    # What a person asks is no query: operators of the query language would change its meaning.
    bare = re.sub(r'(?<!\w)[+-](?=\w)|["“”]', " ", asked)
    kept = [w.text for w in words(bare)]
    return " ".join([*kept, *(w.text for w in carried)])


def _newness(text: str, since: datetime | None) -> tuple[float, float]:
    """Weight and half-life of newness."""
    if _FRESH.search(text):
        return 0.8, 6 * 3600.0
    if since is not None or _RECENT.search(text):
        return 0.5, 1.5 * _DAY
    if _TIMELESS.search(text):
        return 0.05, 365 * _DAY
    if _STATE.search(text):
        return 0.4, _DAY / 2
    return 0.3, 3 * _DAY


def _as_of(text: str, now: datetime) -> tuple[str, datetime | None]:
    """The question without "as of …", and the moment that it names."""
    for pattern in _AS_OF:
        match = pattern.search(text)
        if match is None:
            continue
        moment = _moment(match, now)
        if moment is not None:
            rest = f"{text[: match.start()].rstrip()} {text[match.end() :].lstrip()}".strip()
            if any(c.isalnum() for c in rest):
                return rest, moment
    return text, None


def _moment(match: re.Match[str], now: datetime) -> datetime | None:
    got = match.groupdict()
    if got.get("iso"):
        return _iso(got["iso"], end=True)
    if got.get("unit"):
        count = int(got["count"]) if got["count"].isdigit() else 1
        return _back(now, count * _UNIT[got["unit"].lower()])
    day = _day(got["day"], now) if got.get("day") else _midnight(now)
    if day is None:
        return None
    if not got.get("hour"):
        return min(now, day + timedelta(days=1))
    hour, minute = int(got["hour"]), int(got.get("minute") or 0)
    half = (got.get("half") or got.get("half2") or "").lower()
    if half:
        hour = hour % 12 + (12 if half.startswith("p") else 0)
    if hour > 23 or minute > 59:
        return None
    return day + timedelta(hours=hour, minutes=minute) - _offset(got.get("zone") or "")


def _offset(zone: str) -> timedelta:
    """How far a zone is ahead of UTC."""
    zone = zone.lower()
    if zone in _OFFSETS_H:
        return timedelta(hours=_OFFSETS_H[zone])
    match = re.fullmatch(r"(?:utc|gmt)([+-])(\d{1,2}):?(\d\d)?", zone)
    if match is None:
        return timedelta()
    ahead = timedelta(hours=int(match[2]), minutes=int(match[3] or 0))
    return ahead if match[1] == "+" else -ahead


def _window(text: str, now: datetime) -> tuple[datetime | None, datetime | None, str]:
    """The time that the words name, and how they were understood."""
    if (start := _spell(text, now)) is not None:
        return start
    if (found := times.named(text, now)) is not None:
        parts = [f"since {_shown(found.since)}"] if found.since else []
        parts += [f"before {_shown(found.until)}"] if found.until else []
        return found.since, found.until, f"“{found.words}” was read as {' and '.join(parts)}."
    return _day_or_year(text, now)


def _spell(text: str, now: datetime) -> tuple[datetime, None, str] | None:
    """`since Tuesday`, `the last 3 days`: the commonest forms, without any library."""
    today = _midnight(now)
    if match := _SINCE.search(text):
        day = match["day"].lower()
        start = today if day == "this morning" else _day(day, now)
        if start is not None and start <= now:
            return start, None, f"“{match[0]}” was read as since {_shown(start)}."
    if match := _LAST.search(text):
        start = _back(now, int(match["count"] or 1) * _UNIT[match["unit"].lower()])
        if start is not None:
            return start, None, f"“{match[0]}” was read as since {_shown(start)}."
    return None


def _day_or_year(text: str, now: datetime) -> tuple[datetime | None, datetime | None, str]:
    today = _midnight(now)
    if match := _NAMED_DAY.search(text):
        word = (match["day"] or match["iso"] or match["weekday"]).lower()
        start = _day(word, now)
        if start is not None and start <= now:
            # What happened on a day is reported on that day and the next.
            until = None if start >= today else start + _REPORTED
            return start, until, f"“{match[0]}” was read as {_shown(start)[:10]} (UTC)."
    if (match := _YEAR.search(text)) and 1990 <= int(match["year"]) <= now.year:
        start = datetime(int(match["year"]), 1, 1, tzinfo=UTC)
        return start, start.replace(year=start.year + 1), ""
    return None, None, ""


def _day(word: str, now: datetime) -> datetime | None:
    today = _midnight(now)
    word = fold(word.lower().removeprefix("last ").removeprefix("on "))
    if word in ("today", "tonight", "this morning", "heute", "aujourd'hui", "hoy"):
        return today
    if word in ("yesterday", "last night", "night", "gestern", "ayer"):
        return _back(today, _DAY)
    if word in _WEEKDAYS:
        return _back(today, ((today.weekday() - _WEEKDAYS.index(word) - 1) % 7 + 1) * _DAY)
    return _iso(word, end=False)


def _iso(text: str, *, end: bool) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text.upper().replace(" ", "T"))
    except ValueError:
        return None
    if end and len(text) == 10 and moment.year < 9999:
        moment += timedelta(days=1)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _back(now: datetime, seconds: float) -> datetime | None:
    try:
        return now - timedelta(seconds=seconds)
    except OverflowError:
        return None


def _midnight(now: datetime) -> datetime:
    return now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def _shown(moment: datetime) -> str:
    return moment.astimezone(UTC).strftime("%Y-%m-%d %H:%M UTC")


def _short(text: str) -> str:
    return text if len(text) <= 80 else text[:79].rstrip() + "…"


def narrowed(question: Question) -> str:
    """The filters that the asker set, in one sentence; empty if none."""
    parts = [
        f"{label} {', '.join(values)}"
        for label, values in (
            ("sources", question.sources),
            ("kinds", question.kinds),
            ("languages", question.langs),
            ("authors", question.authors),
            ("sites", question.domains),
            ("not from", question.not_domains),
        )
        if values
    ]
    if question.since:
        parts.append(f"since {_shown(question.since)}")
    if question.until:
        parts.append(f"before {_shown(question.until)}")
    return f"Only this was searched: {'; '.join(parts)}." if parts else ""
