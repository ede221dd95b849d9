"""The verdict on a sentence that is written in another language than the words it cites.

Nothing is translated, so its words cannot be compared. What can be is: numbers, quotations, names
(also by their sound in another script), denials, and a few opposites of the news. A sentence that
passes is carried *partly*, and its reason says what was not compared; it is never *supported*.
"""

# ruff: noqa: E501, SIM905 - a group of words reads best as one line

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from gnomon.answer import facts
from gnomon.answer.words import content, fold, is_negation, nothing_in, stem, words
from gnomon.index import sounds
from gnomon.types import Verdict, VerdictKind

_LANGS = ("en", "de", "fr", "es", "pt", "ru", "ar", "hi")
_SCRIPTS = (
    ("ja", re.compile("[\u3041-\u30fa]")),
    ("zh", re.compile("[\u3400-\u9fff]")),
    ("ko", re.compile("[\uac00-\ud7a3]")),
    ("th", re.compile("[\u0e01-\u0e5b]")),
)
_ENGLISH_TOO = frozenset(
    "die man war hat den son comment pour era hay con os dos a an am in also was so on no me as es do to us or la le el y o de des".split()
)
"""Small words of one of them that English writes too, or has in its names."""
_ALIKE = 0.34
"""Share of words, but for names and numbers, from which two texts are of one language."""
_CARRIED, _DOUBTED = 0.5, 0.4
_GROUPED = re.compile(r"(?<!\d)\d{1,3}(?:[.,'\u2019\u00a0\u202f ]\d{3})+(?!\d)")
_DIGITS = re.compile(r"\d+(?:[.,]\d{1,2}(?!\d))?")
_RUN = re.compile(r"[^\W\d_a-zß-öø-ÿ][\w'’-]*(?: [^\W\d_a-zß-öø-ÿ][\w'’-]*)+")
_DENIES = frozenset(
    "не нет никогда никто ничего لا لم لن ليس ليست नहीं मत não nunca ninguém nem personne rien ningun ninguno tampoco keinem keines".split()
)
_DENIES_WITHIN = re.compile("没|沒|未|不(?=[是会會能再在])|ない|ません|なかった")
_OPPOSITES = (
    (
        "open opened reopened offen geöffnet freigegeben ouvert ouverte rouvert abierto abierta reabierto aberto aberta открыт открыта открыто 开放 開放 再開 مفتوح खुला",
        "closed shut closes geschlossen gesperrt fermé fermée cerrado cerrada cortado cortada fechado fechada закрыт закрыта закрыто 关闭 閉鎖 封闭 مغلق बंद",
    ),
    (
        "running runs resumed fährt verkehrt circule fonctionne circula funciona ходит 运行 運行中",
        "suspended halted cancelled eingestellt ausgefallen suspendu interrompu suspendido interrumpido suspenso отменен приостановлен 停运 運休 معلق",
    ),
    (
        "rose rises increased climbed gestiegen stieg augmenté hausse subió aumentó subiu выросла вырос 上涨 上升 上昇",
        "fell falls dropped decreased gefallen gesunken fiel baissé baisse bajó cayó caiu упал снизился 下跌 下降",
    ),
    (
        "won wins gewann gewonnen gagné ganó venceu выиграл 获胜 勝利",
        "lost loses verlor verloren perdu perdió perdeu проиграл 失利 敗北",
    ),
    (
        "safe sicher sûr sûre seguro segura безопасно безопасна 安全",
        "unsafe dangerous gefährlich dangereux peligroso perigoso опасно 危险 危険",
    ),
)
_STATES = tuple(tuple(frozenset(side.split()) for side in pair) for pair in _OPPOSITES)


@lru_cache(maxsize=2_048)
def language(text: str) -> str:
    """The language of a text by its script or its small words; empty where neither tells."""
    for lang, letters in _SCRIPTS:
        if letters.search(text):
            return lang
    said = [fold(w.text) for w in words(text)]
    counts = sorted(
        (
            (
                sum(w in nothing_in(c) for w in said),
                sum(w in nothing_in(c) and w not in _ENGLISH_TOO for w in said),
                c,
            )
            for c in _LANGS
        ),
        reverse=True,
    )
    (most, own, lang), (next_most, *_) = counts[0], counts[1]
    surely = own > 0 or most > 1 or lang not in ("de", "es", "fr", "pt")
    return lang if most > next_most and surely else ""


def abroad(sentence: str, quotes: str) -> bool:
    """Whether sentence and quotation are surely of different languages."""
    mine, theirs = language(sentence), language(quotes)
    if not (mine and theirs) or mine == theirs:
        return False
    said = [w.stem for w in content(sentence) if w.text.islower() or not w.text.isascii()]
    held = {w.stem for w in content(quotes)}
    return sum(s in held for s in said) < _ALIKE * max(1, len(said))


def judge_abroad(sentence: str, quotes: str) -> Verdict:
    """The verdict on `sentence`, whose language is not that of `quotes`."""
    wrong = _missing_digits(sentence, quotes) + _otherwise(sentence, quotes)
    wrong += [
        f"The quotation “{q}” does not stand in the cited words."
        for q in facts.quotations(sentence)
        if _compact(q) not in _compact(quotes)
    ]
    held, lacking = _names(sentence, quotes)
    wrong += [f"The name {name} does not stand in the cited words." for name in lacking]
    anchors = len(held) + len(_digits(sentence))
    if not anchors:
        wrong.append(
            "It is in another language than the cited words, and no name or number ties them."
        )
    if wrong:
        return Verdict(kind=VerdictKind.NOT_SUPPORTED, score=0.1, reasons=tuple(wrong[:4]))
    return Verdict(
        kind=VerdictKind.PARTLY,
        score=_CARRIED if anchors > 1 else _DOUBTED,
        reasons=(
            "It is in another language than the cited words: its names and numbers stand there, "
            "its other words were not compared.",
        ),
    )


def _missing_digits(sentence: str, quotes: str) -> list[str]:
    theirs = set(_digits(quotes))
    return [
        f"The number {n} does not stand in the cited words."
        for n in _digits(sentence)
        if n not in theirs
    ]


def _digits(text: str) -> list[str]:
    """Numbers in digits, written one way: 200.000 and 200,000 alike, 3,1 and 3.1 alike."""
    text = "".join(str(unicodedata.digit(c, 0)) if c.isdigit() and not c.isascii() else c
                   for c in text)  # fmt: skip
    text = _GROUPED.sub(lambda m: re.sub(r"\D", "", m[0]), text)
    return list(dict.fromkeys(m[0].replace(",", ".") for m in _DIGITS.finditer(text)))


def _otherwise(sentence: str, quotes: str) -> list[str]:
    """A denial on one side alone, or opposite states."""
    reasons = []
    mine, theirs = _flat(sentence), _flat(quotes)
    for pair in _STATES:
        for one, other in (pair, pair[::-1]):
            says, said = _has(mine, sentence, one), _has(theirs, quotes, other)
            if says and said and not _has(theirs, quotes, one) and not _denied(sentence, quotes):
                reasons.append(f"It says “{says}” where the cited words say “{said}”.")
    if _denied(sentence, quotes) and not reasons and not _opposed(sentence, quotes, mine, theirs):
        reasons.append("One denies what the other states.")
    return reasons


def _opposed(sentence: str, quotes: str, mine: set[str], theirs: set[str]) -> bool:
    """Whether a denial only says the opposite word's opposite: closed, not open."""
    return any(
        _has(mine, sentence, one) and _has(theirs, quotes, other)
        for pair in _STATES
        for one, other in (pair, pair[::-1])
    )


def _has(flat: set[str], text: str, group: frozenset[str]) -> str:
    return next((w for w in sorted(group) if fold(w) in flat or (not _spaced(w) and w in text)), "")


def _spaced(word: str) -> bool:
    return not any(letters.search(word) for _, letters in _SCRIPTS)


def _denied(sentence: str, quotes: str) -> bool:
    return _denials(sentence) % 2 != _denials(quotes) % 2


def _denials(text: str) -> int:
    said = [w.text.lower() for w in words(text)]
    if "pas" in said:  # "ne … pas" denies once
        said = [w for w in said if w not in ("ne", "n")]
    mere = {"without", "ohne", "sans", "sin", "sem"}
    return sum((is_negation(w) and w not in mere) or fold(w) in _DENIES or w in _DENIES
               for w in said) + len(_DENIES_WITHIN.findall(text))  # fmt: skip


def _names(sentence: str, quotes: str) -> tuple[list[str], list[str]]:
    """The sentence's names that stand in `quotes`, and those that do not."""
    spoken = language(sentence)
    stems = {stem(w.text) for w in words(quotes)}
    heard = {(w.text.isascii(), key) for w in words(quotes) for key in sounds.of_name(w.text)}
    if spoken == "de":  # which writes every noun like a name
        named = [m[0] for m in _RUN.finditer(sentence)]
    else:
        named = [n.text for n in facts.names(sentence)]
    held, lacking = [], []
    for name in named:
        parts = [w.text for w in words(name)]
        known = [
            p
            for p in parts
            if stem(p) in stems or any((not p.isascii(), k) in heard for k in sounds.of_name(p))
        ]
        if known:
            held.append(name)
        elif spoken != "de" or len(parts) > 1:
            lacking.append(name)
    if spoken in ("zh", "ja", "ko", "th") or not named:
        shown = fold(sentence)
        held += [n.text for n in facts.names(quotes) if fold(n.text) in shown]
    if spoken == "de":
        held += [w.text for w in words(sentence) if w.text[:1].isupper() and stem(w.text) in stems][
            : max(0, 2 - len(held))
        ]
    return held, lacking


def _flat(text: str) -> set[str]:
    return {fold(w.text) for w in words(text)}


def _compact(text: str) -> str:
    return "".join(c for c in fold(text) if c.isalnum())
