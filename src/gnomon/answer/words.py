"""Words as answers compare them: folded, light-stemmed, without those that say nothing.

English is stemmed by inflection only; other languages are compared as written, lower-case and
without accents. Chinese, Japanese and Thai, which write no spaces, are compared by pairs of
characters.
"""

# ruff: noqa: E501, SIM905 - a list of words reads best as one text

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Sequence
from functools import lru_cache

import msgspec

from gnomon.index.inflect import stem_of

_WIDE = "\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\u0e00-\u0e7f"
# Vowel signs and marks are no letters to `\w`, but a word does not end at them.
_LETTER = (
    rf"(?:[^\W_{_WIDE}]"
    r"|[\u0300-\u036f\u064b-\u065f\u0670\u0900-\u0963\u0981-\u0d7f\u200c\u200d])"
)
_TOKEN = re.compile(
    rf"(?P<wide>[{_WIDE}]+)"
    r"|\d+(?:[.,]\d+)+"
    r"|(?:[^\W\d_]\.){2,}"
    rf"|{_LETTER}+(?:['’]{_LETTER}+)*"
)

_FUNCTION_WORDS = {
    "en": "a an the this that these those some any each every all both either neither such own "
    "same and or but nor so if then else than as of at by for with about against between "
    "into through during before after above below to from up down in out on off over under "
    "again further once here there when where why how what which who whom whose i me my we "
    "our ours us you your yours he him his she her hers it its they them their theirs "
    "himself herself itself themselves is am are was were be been being have has had having "
    "do does did doing will would shall should can could may might must just only also too "
    "very more most much many other others no not now ever still yet even s t re ve ll d m "
    "one ones according whether while because until upon per via get gets getting got say "
    "says said saying",
    "de": "der die das den dem des ein eine einer eines einem einen und oder aber ist sind war "
    "waren wird werden wurde wurden hat haben hatte zu zum zur im in am auf aus bei mit "
    "nach von vor für nicht auch als wie wer wo wann warum was welche welcher welches welchen welchem es er "
    "sie wir ihr sich noch über um an ob wem wen man kann soll gibt seit dass",
    "fr": "le la les un une des du de et ou est sont était a ont au aux en dans sur par pour avec "
    "que qui quoi quand où pourquoi comment quel quelle quels quelles ce cette ces il elle "
    "ils elles ne pas se sa son ses qu'est s'est c'est n'est d'un d'une qu'il qu'elle qu'on "
    "est-ce",
    "es": "el la los las una un unos unas y o es son era fue ha han al del con por para que quien "
    "quién qué cuándo dónde cómo cuál cuánto cuántos cuántas no lo su sus sobre está están "
    "hay desde hasta entre ya se de en estará estarán será serán va este asunto",
    "ru": "и в во не на что он она оно они как это так его её их по к с со у о об от до из за для при "
    "но а ли же бы был была было были есть кто чей какой какая какое какие где когда почему зачем "
    "сколько куда откуда чем чём мы вы я ты",
    "ar": "من هو هي ما ماذا متى أين كيف كم لماذا هل في على إلى عن مع أن إن هذا هذه ذلك التي الذي و أو لا",
    "hi": "का के की को में से पर है हैं था थे थी हो कौन क्या कब कहाँ कहां क्यों कैसे कितना कितने कितनी और या यह वह ने भी "
    "नहीं तक लिए",
    "pt": "o os um uma da dos na nas é foi são quem onde quanto quantos quantas que de em não",
}
STOP_WORDS = frozenset(word for text in _FUNCTION_WORDS.values() for word in text.split())
"""What says nothing by itself in any of these languages."""
_OF_ENGLISH_TOO = frozenset("die man war hat den son comment pour era hay con os dos".split())
"""Words of English that say nothing in another of these languages."""

_PARTICLES = re.compile("[\u3041-\u3096]{2}|[のはがをにでともかへや誰何了吗吧呢的谁么什哪]")
"""In what is written in pairs: two hiragana, or one character that only asks or joins."""

_ELIDED = re.compile(r"^(?:[cdjlmnst]|qu|jusqu|lorsqu|puisqu)'(?=\w\w)")
"""What French writes together with the next word: d'Oldgate, qu'est."""

NEGATIONS = frozenset(
    "not no never none nobody nothing neither nor without cannot denied denies deny refuses "
    "refused hardly kein keine keinen keiner nicht nie niemand ohne pas jamais aucun aucune sans "
    "nunca ningún ninguna nadie sin".split()
)

_IRREGULAR = {
    irregular: base
    for base, forms in {
        "win": "won winner winners winning",
        "lose": "lost loss losses losing",
        "die": "died dying dead death deaths dies",
        "kill": "killed killing killings",
        "go": "went gone",
        "make": "made",
        "take": "took taken",
        "give": "gave given",
        "buy": "bought",
        "sell": "sold",
        "begin": "began begun",
        "find": "found",
        "hold": "held",
        "leave": "left",
        "lead": "led",
        "meet": "met",
        "pay": "paid",
        "rise": "rose risen",
        "fall": "fell fallen",
        "run": "ran",
        "see": "saw seen",
        "send": "sent",
        "speak": "spoke spoken",
        "spend": "spent",
        "steal": "stole stolen",
        "strike": "struck",
        "tell": "told",
        "think": "thought",
        "write": "wrote written",
        "break": "broke broken",
        "build": "built",
        "bring": "brought",
        "choose": "chose chosen",
        "come": "came",
        "fight": "fought",
        "fly": "flew flown",
        "grow": "grew grown",
        "know": "knew known",
        "become": "became",
        "beat": "beaten",
        "shoot": "shot",
        "sing": "sang sung",
        "stand": "stood",
        "swim": "swam swum",
        "throw": "threw thrown",
        "wear": "wore worn",
        "man": "men",
        "woman": "women",
        "child": "children",
        "person": "people persons",
        "foot": "feet",
        "elect": "election elections elected elects",
        "close": "closed closes closing closure",
        "open": "opened opens opening reopened reopens reopen",
        "arrive": "arrival arrived arrives",
        "resign": "resignation resigned resigns",
    }.items()
    for irregular in forms.split()
}


class Word(msgspec.Struct, frozen=True):
    """A word where it stands, and the form in which it is compared."""

    text: str
    stem: str
    start: int
    end: int


def words(text: str) -> list[Word]:
    """All words of `text`, in order."""
    out: list[Word] = []
    for match in _TOKEN.finditer(text):
        token = match[0]
        if match["wide"] is not None:
            out.extend(_pairs(token, match.start()))
        else:
            out.append(Word(token, stem(token), match.start(), match.end()))
    return out


def stems(text: str) -> set[str]:
    """The compared forms of the content words of `text`."""
    return {w.stem for w in content(text)}


def content(text: str) -> list[Word]:
    """The words of `text` that say something, in order.

    What says something in English and nothing in another language, as *war* and *die*, is told by
    the words beside it.
    """
    found = words(text)
    bare = [_bare(w.text) for w in found]
    return [
        word
        for word, form in zip(found, bare, strict=True)
        if word.stem == "usa"
        or not (form in _SAY_NOTHING or _PARTICLES.search(form))
        or (form in _OF_ENGLISH_TOO and not _foreign(form, bare))
    ]


def _foreign(form: str, beside: Sequence[str]) -> bool:
    """Whether more words beside a form are of a language in which it says nothing."""
    english = 1 + sum(b in _ONLY_ENGLISH for b in beside)
    return any(
        sum(b in function and b not in _ENGLISH for b in beside) > english
        for function in _FUNCTIONS
        if form in function
    )


def english(text: str) -> bool:
    """Whether `text` holds a function word that is English alone."""
    return any(_bare(w.text) in _ONLY_ENGLISH for w in words(text))


def nothing_in(lang: str) -> frozenset[str]:
    """Words, without accents, that say nothing in a language given by its code."""
    return _SILENT.get(lang.partition("-")[0], frozenset())


@lru_cache(maxsize=100_000)
def _bare(token: str) -> str:
    """A word without accents and what is contracted with it: `it` for "it's"."""
    folded = _ELIDED.sub("", fold(token))
    return folded.removesuffix("'s").removesuffix("'")


@lru_cache(maxsize=100_000)
def stem(token: str) -> str:
    """The form in which two inflections of one word are equal."""
    if token in ("US", "U.S.", "USA", "U.S.A."):
        return "usa"
    folded = _ELIDED.sub("", fold(token))
    for suffix in ("'s", "s'", "'"):
        folded = folded.removesuffix(suffix)
    folded = folded.replace(".", "") if not folded[:1].isdigit() else folded.replace(",", "")
    if folded in _IRREGULAR:
        return _IRREGULAR[folded]
    if len(folded) <= 3:
        return folded
    if not folded.isascii():
        return stem_of(folded) or folded
    if not folded.isalpha():
        return folded
    inflected = _inflection(folded)
    return _BASES.get(inflected, inflected)


@lru_cache(maxsize=100_000)
def fold(text: str) -> str:
    """Lower case, without accents, with plain quotation marks."""
    decomposed = unicodedata.normalize("NFKD", text.casefold())
    bare = "".join(c for c in decomposed if not unicodedata.combining(c))
    return bare.replace("’", "'").replace("‘", "'").replace("“", '"').replace("”", '"')


def negated(text: str) -> bool:
    """Whether a word of `text` denies."""
    return any(is_negation(w.text) for w in words(text))


def is_negation(token: str) -> bool:
    """Whether the word denies: `not`, `never`, `isn't`, `kein`, `pas`, …"""
    lower = token.lower().replace("’", "'")
    return lower in NEGATIONS or lower.endswith("n't")


def plain(text: str) -> str:
    """`text` as compared word for word: one kind of white space, dash and quotation mark."""
    text = unicodedata.normalize("NFKC", text).casefold()
    text = re.sub("[“”„«»]", '"', text)
    text = re.sub("[‘’‚]", "'", text)
    return re.sub(r"\s+", " ", re.sub("[‐‑–—]", "-", text)).strip()


def share(wanted: Iterable[str], found: set[str]) -> float:
    """The share of `wanted` that is in `found`; 1 if nothing is wanted."""
    listed = set(wanted)
    return len(listed & found) / len(listed) if listed else 1.0


_SHORT = re.compile(r"[^aeiou][aeiou][^aeiouwxy]")


def _inflection(word: str) -> str:
    if word.endswith("ies") and len(word) > 4:
        word = word[:-3] + "y"
    elif word.endswith(("sses", "shes", "ches", "xes", "zes")):
        word = word[:-2]
    elif word.endswith("s") and not word.endswith(("ss", "us", "is")):
        word = word[:-1]
    for ending in ("ing", "ed"):
        base = word.removesuffix(ending)
        if base == word or len(base) < 3 or not re.search("[aeiouy]", base):
            continue
        doubled = len(base) > 3 and base[-1] == base[-2] and base[-1] not in "lsz"
        word = base[:-1] if doubled else base
        if _SHORT.fullmatch(base):
            word += "e"  # voted, vote
        break
    if word.endswith("ied") and len(word) > 4:
        word = word[:-3] + "y"
    if word.endswith("e") and len(word) > 4:
        word = word[:-1]
    return word[:-1] + "y" if word.endswith("i") and len(word) > 3 else word


_BASES = {_inflection(base): base for base in set(_IRREGULAR.values())}
"""So that "leave" and "leaves" are what "left" is."""


def _pairs(run: str, start: int) -> list[Word]:
    if len(run) == 1:
        return [Word(run, run, start, start + 1)]
    return [
        Word(run[i : i + 2], fold(run[i : i + 2]), start + i, start + i + 2)
        for i in range(len(run) - 1)
    ]


def forms(stemmed: str) -> list[str]:
    """Beginnings of words that may have this stem: for finding them before stemming them."""
    if stemmed == "usa":
        return ["US", "U.S"]
    found = [stemmed] + [w for w, base in _IRREGULAR.items() if base == stemmed]
    found.append(_inflection(stemmed))
    if stemmed.endswith("y"):
        found.append(stemmed[:-1] + "ies")
    return found


_SILENT = {lang: frozenset(map(fold, text.split())) for lang, text in _FUNCTION_WORDS.items()}
_ENGLISH, *_FUNCTIONS = _SILENT.values()
_SAY_NOTHING = _ENGLISH.union(*_FUNCTIONS)
_ONLY_ENGLISH = _ENGLISH.difference(*_FUNCTIONS)
