"""From a question to a plan, by rule: what to search, what kind of answer, how newness counts.

No model is asked, so that a plan costs nothing and the same question always gets the same one.
English is read best; German, French and Spanish in their simple forms; any other language is
searched as it stands. Times without a zone are those of the asker.
"""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from gnomon.answer import overview
from gnomon.answer.base import Plan, Question
from gnomon.answer.check import kindred
from gnomon.answer.leaning import lean
from gnomon.answer.when import REPORTED, when
from gnomon.answer.words import Word, content, fold, stem, words
from gnomon.clock import in_utc, in_zone
from gnomon.errors import ContentError

MAX_QUESTION_CHARS = 4_000
_DAY = 86_400.0
_BARE = 3
"""So few words ("what happened?") ask what happened in the matter that is spoken of."""
_AT_LARGE = 0.8
"""Weight of newness where it is asked what happened."""

_EXPECTS: tuple[tuple[str, str], ...] = tuple(
    (kind, pattern)
    for kind, patterns in {
        "reason": (
            r"\bwhy\b", r"\bwhat (?:is |was )?(?:the )?(?:caused?|reasons?)\b",
            r"\bwarum\b", r"\bwieso\b", r"\bpourquoi\b", r"\bpor qu[eêé]\b",
            r"\bпочему\b|\bلماذا\b|क्यों|なぜ|为什么",
        ),
        "number": (
            r"\bhow (?:many|much|old|far|high|tall|long|big|large|fast|deep|heavy|often|strong|hot|"
            r"cold|warm|wide|thick|loud|expensive)\b",
            r"\b(?:what|which)(?: is| was)?(?: \w+){0,2} (?:percent\w*|number|share|proportion|"
            r"price|amount|sum|total|toll|turnout|profit|loss|cost|salary|wage|fine|fee|fare|rent|"
            r"bonus|dividend|revenue|income|budget|debt|rate|tax|score|temperature|speed|limit|"
            r"population|rise|raise|distance|height|weight|age)\b",
            r"\bwhat (?:will|does|did|do|would)\b.{1,80}\bcosts?\b",
            r"\bwie ?viele?\b", r"\bcombien\b", r"\bcu[aá]nt[oa]s?\b", r"\bquant[oa]s?\b",
            r"\bwas kosten?t?\b|\bwelche[nrsm]? (?:gewinn|verlust|preis|betrag|anteil|zahl|höhe)\b",
            r"\bсколько\b|\bكم\b|कितन|いくつ|いくら|何人|多少",
        ),
        "time": (
            r"\bwhen\b", r"\b(?:what|which) (?:year|day|date|month|week|time)\b",
            r"\bwhat(?:'s| is| was) the (?:\w+ ){0,2}date\b",
            r"\bhow (?:soon|recently)\b", r"\bsince\s*[:?]?$",
            r"\bwann\b", r"\bquand\b", r"\bcu[aá]ndo\b", r"\bquando\b",
            r"\bкогда\b|\bمتى\b|कब|いつ|什么时候|何时",
        ),
        "place": (
            r"\bwhere\b",
            r"\b(?:what|which)(?: \w+){0,2} (?:country|city|town|state(?! of\b)|continent|place|"
            r"county|region|island|village|street|nation)\b",
            r"\bwohin\b", r"\bwo\b", r"^\W*où\b", r"\bd[oó]nde\b", r"\bonde\b",
            r"\bгде\b|\bأين\b|कहाँ|कहां|どこ|哪里|哪儿",
        ),
        "person": (
            r"\bwho(?:m|se)?\b",
            r"\b(?:what|which)(?: \w+){0,2} (?:person|actor|actress|singer|politician|"
            r"player|minister|president|senator|celebrity|author|director|star|billionaire|mayor|judge|"
            r"councillor|builder|driver|officer|leader|lawyer|doctor|teacher|reporter|scientist|"
            r"artist|founder|owner|winner|candidate|coach|lawmaker|official|king|queen|ceo)\b",
            r"\bwer\b", r"\bwen\b", r"\bwem\b", r"^\W*qui\b", r"\bqui[eé]n(?:es)?\b",
            r"\bquem\b", r"\bкто\b|\bمن هو\b|\bمن هي\b|कौन|誰|谁",
        ),
        "list": (
            r"^\W*(?:list|name)\b", r"\bwhat are the\b", r"\bwhich (?:\w+ )?(?:are|were)\b",
            r"\bwhat (?:happened|changed)\b", r"\bwhat'?s (?:new|happening|going on)\b",
        ),
        "definition": (r"^\W*(?:what|who) (?:is|was) an? ", r"\bwhat does .{1,60} mean\b",
                       r"^\W*was ist ein", r"^\W*qu'est-ce qu", r"^\W*qu[eé] es un"),
        "yes_no": (
            r"^\W*(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may)\b",
            r"^\W*(?:ist|sind|hat|haben|wird|kann|war|fährt|est-ce|est-il|est|es|est[aá]n?|"
            r"se puede|funciona)\b|\bли\b|^\W*هل\b|か[？?]$|吗",
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
    r"\b(?:what|which)\b.{1,40}\b(?:appl(?:y|ies)|in (?:force|effect))\b|"
    r"\b(?:wie ?viele?|cu[aá]nt[oa]s?|combien|gilt|rige|jetzt|noch|derzeit|ahora|todavía|aún|"
    r"encore|actuellement|maintenant|actualmente|kostet|cuesta|coûte)\b|"
    r"\b(?:state|situation|standing) (?:of|with) |\bknown (?:about|of|on)\b|"
    r"^\W*(?:is|are|has|have|who is|what is|ist|sind|fährt|wer ist|est|sont|est-ce que|qui est|"
    r"est[aá]n?|qui[eé]n es|quem é|funciona)\b|\bкто\b|誰|谁|कौन|\bمن هو\b",
    re.IGNORECASE,
)
_MAY_I = re.compile(
    r"^\W*(?:can|may|could|kann|darf|puedo|puede|se puede|peut|puis)\b[- ]?"
    r"(?:i|we|you|one|people|ich|man|wir|on|se|je)?\b",
    re.IGNORECASE,
)
_USES = frozenset(
    stem(w)
    for w in "drive go get use visit enter cross travel reach take still walk ride right now "
    "fahren nutzen possible usar cruzar pasar utiliser passer puede".split()
)
"""What one may want to do somewhere, as stems."""
_TIMELESS = re.compile(
    r"\b(?:who (?:was|wrote|invented|founded)|history of|in (?:1[0-9]\d\d|19\d\d)|what does)\b"
    r"|^\W*what is an? ",
    re.IGNORECASE,
)
_SAYS_NOTHING = frozenset(
    "today tonight yesterday now currently current latest newest recent recently happen happened "
    "happening happens change changed changes new news going last past morning evening week lately "
    "hour hours minute minutes heute gestern jetzt passiert neues aujourd'hui hier ahora hoy ayer "
    "monday tuesday wednesday thursday friday saturday sunday "
    "since seit long far old alt tall big large often kind type sort moment apply applies "
    "applied gilt rige".split()
)
"""Words that ask without saying what about."""
_KIND = re.compile(
    r"\b(?:what|which|welche[mnrs]?|quelle?|qu[eé])\s(?:exact )?(?P<kind>year|month|week|day|date|"
    r"weekday|hour|time|sum|amount|number|jahr|monat|tag|datum|année|mois|jour|date|año|mes|día)\b"
    r"|\b(?:what|which)\b(?: (?!of\b)\w+){0,3} (?P<scale>level(?! of\b)|status|stage)\b"
    r"|\bwhat(?:'s| is| was) the (?:present |latest )?"
    r"(?P<state>state|situation|position) (?:of|with|on)\b"
    r"|\bwhat (?:is|was) (?P<known>known) (?:about|of|on)\b"
    r"|\bhow (?P<degree>strong|hot|cold|warm|high|deep|fast|heavy|wide|thick|loud|expensive)\b"
    r"|\bis it (?P<true>true|right|correct) that\b",
    re.IGNORECASE,
)
"""What names the kind of answer: "in which year" wants a year told, not the word."""


def plan(question: Question, now: datetime) -> Plan:
    """What to search for. Raises ContentError `question.empty` or `question.too_long`."""
    text = clean(question.text)
    time = when(text, in_zone(question.as_of or now, question.zone))
    asked, since, until = time.text, time.since, time.until
    notes = list(time.notes)
    told = [w for w in _telling(asked) if w.start not in time.words]
    kinds = {match.start(name) for match in _KIND.finditer(asked) for name in _KIND.groupindex}
    own = [w for w in told if w.start not in kinds] or told
    place = overview.place(asked, told)
    leaning = None
    if place is None or (since is None and len(words(asked)) <= _BARE):
        leaning = lean(asked, own, question.history, _telling)
    carried: tuple[Word, ...] = ()
    form = asked
    if leaning is not None:
        place, own, carried = None, list(leaning.own), leaning.words
        form = leaning.form or asked
        notes.append(f"Read as a follow-up on: “{_short(question.history[-1].question)}”.")
    recency, half_life_s = _newness(form, since)
    if place is not None:
        own = [w for w in told if any(w.text in name for name in place)]
        if since and until and until - since == REPORTED:
            until -= timedelta(days=1)  # the news of a day, not of what was done on it
        elif until is None:
            recency = max(recency, _AT_LARGE)
    expected = expects(form) if place is None else "list"
    allowed = expected == "yes_no" and bool(_MAY_I.match(form))
    # "The strike of the refuse collectors": of a bare matter, how it stands.
    state = allowed or bool(_STATE.search(form)) or (expected == "text" and "?" not in form)
    if allowed:
        # "Can I drive through it?" asks whether it is open, whatever one wants there.
        own = [w for w in own if w.stem not in _USES] or own
    return Plan(
        search_text=_search_text(asked if own or not carried else "", carried),
        expects=expected,
        recency=recency,
        half_life_s=half_life_s,
        terms=tuple(dict.fromkeys(w.stem for w in [*own, *carried])),
        notes=tuple(notes),
        since=since,
        until=until,
        as_of=time.as_of or question.as_of,
        focus=focus(asked),
        state=state,
        allowed=allowed,
        overview=place,
        leans=leaning is not None and leaning.how == "perhaps",
        subject=_subject([*own, *carried]) if state else (),
    )


def _telling(text: str) -> list[Word]:
    """The words of a question that say what it is about."""
    return [w for w in content(text[:MAX_QUESTION_CHARS]) if fold(w.text) not in _SAYS_NOTHING]


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
        parts.append(f"since {in_utc(question.since)}")
    if question.until:
        parts.append(f"before {in_utc(question.until)}")
    return f"Only this was searched: {'; '.join(parts)}." if parts else ""
