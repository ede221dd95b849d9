"""How a piece of English text without white space is parted into words.

The words are those of spaCy's English tokenizer, on which datatrove's filters count, so that rules
over words decide alike: punctuation is parted from both ends, contractions and abbreviations are
known, what is left is parted at hyphens and the like, and addresses stay whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import product


def code_points(ranges: str) -> frozenset[str]:
    """The characters of ranges in hexadecimal, such as `21-2f 3a`."""
    out: set[str] = set()
    for span in ranges.split():
        first, _, last = span.partition("-")
        out.update(map(chr, range(int(first, 16), int(last or first, 16) + 1)))
    return frozenset(out)


_MARKS = code_points(
    "21 23 26 28-2a 2c 3a-3c 3e-3f 5b 5d 5f 7b 7d a1 b7 bf 60c 61b 61f 66a 6d4 964 2026 3001-3002 "
    "ff01 ff0c ff1a-ff1b ff1f ff5e"
)
_QUOTES = code_points(
    "22 27 60 ab b4 bb 2018-201a 201c-201e 2329-232a 27e6-27e7 3008-3011 3014-3015 ff08-ff09"
)
_SIGNS = code_points(
    "a6 a9 ae b0 2100-2101 2103-2106 2108-2109 2114 2116-2117 211e-2123 2195-2199 219c-219f "
    "21a1-21a2 21a4-21a5 21a7-21ad 21af-21cd 21d0-21d1 21d3 21d5-21f3 2300-2307 230c-231f "
    "2322-2328 232b-237b 237d-239a 23b4-23db 23e2-2426 2440-244a 249c-24e9 2500-25b6 25b8-25c0 "
    "25c2-25f7 2600-266e 2670-2767 2794-27bf 2800-28ff 2b00-2b2f 2b45-2b46 fffc-fffd 1f000-1f02b "
    "1f0a0-1f0f5 1f110-1f1ac 1f1e6-1f202 1f300-1f3fa 1f400-1f6f9 1f700-1f7d8 1f900-1f9ff"
)
_CURRENCY = code_points("24 a3 a5 e3f 20a0-20bf fdfc")
_OPENING = _MARKS | _QUOTES | _SIGNS | _CURRENCY | frozenset("§%=—–")
_CLOSING = _MARKS | _QUOTES | _SIGNS | frozenset("—–")
_BEFORE_STOP = _MARKS | _QUOTES | frozenset("0123456789%²-+|")
_DOTS = re.compile(r"\.\.+")
_LONG = 1_000
_SIMPLE = re.compile(r"[^\W_]+|[\W_]")
"""For pieces that no language has: parting those as words takes the square of their length."""
_MEASURED = re.compile(
    r"(?<=[0-9])(?:[kdcm]?m[²³]?|ha|µm|nm|yd|in|ft|[km]?g|µg|t|lb|oz|[mk]m?/[sh]|kmh|mph|h?Pa|mbar"
    r"|mb|[MKGT]B|[kgt]b|[TGMK]|%|US\$|[CA]\$|[$£€¥฿₠-₿])\Z"
)
_MEASURE_ENDS = frozenset("m²³adntgbzshBTGMKr%$£€¥฿") | _CURRENCY
_LETTER = r"[^\W\d_]"


def _within(signs: str, quotes: str) -> tuple[re.Pattern[str], re.Pattern[str]]:
    """Where a word inside of a piece may begin, and what parts the words there."""
    return re.compile(f"[-+*^.,:<>=/~–—{signs}]"), re.compile(
        rf"\.\.+|[{signs}]|(?<=[0-9])[+\-*^](?=[0-9-])"
        rf"|(?:(?<=[^\W\d_A-Z])|(?<=[{quotes}]))\.(?=[^\W\d_a-z]|[{quotes}])"
        rf"|(?<={_LETTER}),(?={_LETTER})"
        rf"|(?:(?<={_LETTER})|(?<=[0-9]))(?:--|---|——|[-–—~])(?={_LETTER})"
        rf"|(?:(?<={_LETTER})|(?<=[0-9]))[:<>=/](?={_LETTER})"
    )


_ANY_WITHIN = _within("…" + "".join(sorted(_SIGNS)), "'\"”“`‘´’‚,„»«")
_ASCII_WITHIN = _within("…", "'\"`,")  # many times faster: a class of all signs is a long list

_ADDRESS = re.compile(
    r"(?:[\w+.-]{2,}://)?(?:\S+@)?(?:(?:[^\W_](?:[\w-]{0,62}[^\W_])?\.)+[^\W\dA-Z_]{2,63}"
    r"|(?!10\.|127\.|192\.168\.|169\.254\.)[1-9]\d{0,2}(?:\.\d{1,3}){3})(?::\d{2,5})?(?:[/?#]\S*)?\Z"
)


def _contracted() -> Iterator[tuple[str, ...]]:
    """The parts of words that English writes together, with and without the apostrophe."""
    for known, ends in (
        ("i", "'m|m|'m a|m a"),
        ("i you he she it we they", "'ll|ll|'ll 've|ll ve|'d|d|'d 've|d ve"),
        ("i you we they", "'ve|ve"),
        ("you we they", "'re|re"),
        ("he she it who what when where why how there that this", "'s|s"),
        (
            "who what when where why how there that this these those",
            "'ll|ll|'ll 've|ll ve|'d|d|'d 've|d ve",
        ),
        ("who what when where why how there these those", "'re|re|'ve|ve"),
        (
            "ca could do does did had may might must need ought sha should wo would",
            "n't|nt|n't 've|nt ve",
        ),
        ("could might must should would", "'ve|ve"),
        ("ai are is was were have has dare", "n't|nt"),
    ):
        for word, end in product(known.split(), ends.split("|")):
            yield word, *end.split()
            yield word.title(), *end.split()
    for hour, half in product(range(1, 13), ("a.m.", "am", "p.m.", "pm")):
        yield str(hour), half
    for other in (
        *("y' all", "y all", "how 'd 'y", "How 'd 'y", "not 've", "not ve", "Not 've", "Not ve"),
        *("can not", "Can not", "gon na", "Gon na", "got ta", "Got ta", "let 's", "Let 's"),
        *("c'm on", "C'm on"),
    ):
        yield tuple(other.split())
    for letter in "cfkCFK":
        yield "°", letter, "."


_WHOLE = r"""
doin goin nothin nuthin ol somethin Doin Goin Nothin Nuthin Ol Somethin lovin havin Lovin Havin
doin' goin' nothin' nuthin' ol' somethin' Doin' Goin' Nothin' Nuthin' Ol' Somethin' lovin' Lovin'
havin' Havin' em 'em ll 'll nuff 'nuff 'S 's ‘S ‘s and/or w/o 're 'Cause 'cause 'cos 'Cos 'coz
'Coz 'cuz 'Cuz 'bout ma'am Ma'am o'clock O'clock 'd a.m. p.m. Mt. Ak. Ala. Apr. Ariz. Ark. Aug.
Calif. Colo. Conn. Dec. Del. Feb. Fla. Ga. Ia. Id. Ill. Ind. Jan. Jul. Jun. Kan. Kans. Ky. La.
Mar. Mass. Mich. Minn. Miss. N.C. N.D. N.H. N.J. N.M. N.Y. Neb. Nebr. Nev. Nov. Oct. Okla. Ore.
Pa. S.C. Sep. Sept. Tenn. Va. Wash. Wis. Adm. Bros. co. Co. Corp. D.C. Dr. e.g. E.g. E.G. Gen.
Gov. i.e. I.e. I.E. Inc. Jr. Ltd. Md. Messrs. Mo. Mont. Mr. Mrs. Ms. Ph.D. Prof. Rep. Rev. Sen.
St. vs. v.s. — \t \n ' \") <space> '' C++ a. b. c. d. e. f. g. h. i. j. k. l. m. n. o. p. q. r. s.
t. u. v. w. x. y. z. ä. ö. ü. :) :-) :)) :-)) :))) :-))) (: (-: =) (= :] :-] [: [-: [= =] :o) (o:
:} :-} 8) 8-) (-8 ;) ;-) (; (-; :( :-( :(( :-(( :((( :-((( ): )-: =( >:( :') :'-) :'( :'-( :/ :-/
=/ =| :| :-| ]= =[ :1 :P :-P :p :-p :O :-O :o :-o :0 :-0 :() >:o :* :-* :3 :-3 =3 :> :-> :X :-X
:x :-x :D :-D ;D ;-D =D xD XD xDD XDD 8D 8-D ^_^ ^__^ ^___^ >.< >.> <.< ._. ;_; -_- -__- v.v V.V
v_v V_V o_o o_O O_o O_O 0_o o_0 0_0 o.O O.o O.O o.o 0.0 o.0 0.o @_@ <3 <33 <333 </3
"""
_PLAIN_WORDS = "Ill ill Its its Hell hell Shell shell Shed shed were Were Well well Whore whore"


def _known() -> dict[str, tuple[str, ...]]:
    found = {"".join(parts): parts for parts in _contracted()}
    found |= {word: (word,) for word in _WHOLE.split()}
    for word in _PLAIN_WORDS.split():
        found.pop(word, None)
    curly = {
        whole.replace("'", "’"): tuple(part.replace("'", "’") for part in parts)
        for whole, parts in found.items()
        if "'" in whole
    }
    return curly | found


KNOWN = _known()
"""Pieces that the rules below do not part rightly, with their words."""


def split_piece(piece: str) -> list[str]:
    """The words of a piece of text without white space."""
    if len(piece) > _LONG:
        return _SIMPLE.findall(piece)
    bare = piece[:-1]
    if bare.isalpha() and piece not in KNOWN and bare not in KNOWN:  # most new pieces are such
        return [bare, piece[-1]] if _closing(piece) else [piece]
    words = _split(piece, KNOWN)
    return _joined(words) if len(words) > 1 and not _BEGINNINGS.isdisjoint(words) else words


def _split(piece: str, known: Mapping[str, tuple[str, ...]]) -> list[str]:
    head: list[str] = []
    tail: list[str] = []
    while piece and piece not in known:
        before = _opening(piece)
        if before and piece[before:] in known:
            head.append(piece[:before])
            piece = piece[before:]
            break
        after = _closing(piece[before:]) if before < len(piece) else 0
        if after and piece[:-after] in known:
            tail.append(piece[-after:])
            piece = piece[:-after]
            break
        if not before and not after:
            break
        if before:
            head.append(piece[:before])
        if after:
            tail.append(piece[-after:])
        piece = piece[before : len(piece) - after]
    if piece in known:
        head.extend(known[piece])
    elif piece:
        head.extend([piece] if piece.isalnum() or _address(piece) else _parted(piece))
    tail.reverse()
    return head + tail


def _joined(words: list[str]) -> list[str]:
    """Words that together are a known piece become its words, the longest pieces first."""
    spans = [
        (length, start)
        for length in range(min(_LONGEST, len(words)), 1, -1)
        for start in range(len(words) - length + 1)
        if words[start] in _BEGINNINGS and tuple(words[start : start + length]) in _TOGETHER
    ]
    if not spans:
        return words
    taken = [False] * len(words)
    chosen: dict[int, int] = {}
    for length, start in spans:
        if not taken[start] and not taken[start + length - 1]:
            chosen[start] = length
        taken[start : start + length] = [True] * length
    out: list[str] = []
    at = 0
    while at < len(words):
        length = chosen.get(at, 1)
        out += _TOGETHER[tuple(words[at : at + length])] if length > 1 else [words[at]]
        at += length
    return out


def _opening(piece: str) -> int:
    """How many characters at the start are a word of their own."""
    first = piece[0]
    if first in _OPENING:
        return 1
    if first == "." and (dots := _DOTS.match(piece)):
        return dots.end()
    if first == "+":
        return 0 if piece[1:2] and piece[1] in "0123456789" else 1
    if first in "UCA" and piece.startswith(("US$", "C$", "A$")):
        return piece.index("$") + 1
    return 0


def _closing(piece: str) -> int:
    """How many characters at the end are a word of their own."""
    last = piece[-1]
    if last == ".":
        dots = len(piece) - len(piece.rstrip("."))
        return dots if dots > 1 else _stop(piece)
    if last in "sS" and piece[-2:-1] in ("'", "’"):
        return 2
    if last in _MEASURE_ENDS and (found := _MEASURED.search(piece)):
        return len(piece) - found.start()
    if last in _CLOSING:
        return 2 if piece.endswith("……") else 1
    if last == "+" and piece[-2:-1] and piece[-2] in "0123456789":
        return 1
    return 0


def _stop(piece: str) -> int:
    """Whether the stop at the end is a word of its own, and not part of an abbreviation."""
    before = piece[-2:-1]
    if not before:
        return 0
    if before in _BEFORE_STOP or (before.isalpha() and not before.isupper()):
        return 1
    two = piece[-3:-1]
    return int(len(two) == 2 and two.isalpha() and not any(map(str.islower, two)))


def _address(piece: str) -> bool:
    return "." in piece and _ADDRESS.match(piece) is not None


def _parted(piece: str) -> list[str]:
    out: list[str] = []
    start = at = 0
    begins, parts = _ASCII_WITHIN if piece.isascii() else _ANY_WITHIN
    for candidate in begins.finditer(piece):
        if candidate.start() < at:
            continue
        found = parts.match(piece, candidate.start())
        if found is None:
            continue
        at = found.end()
        if found.start() == 0:
            continue
        if found.start() > start:
            out.append(piece[start : found.start()])
        out.append(found[0])
        start = at
    if start < len(piece):
        out.append(piece[start:])
    return out


_TOGETHER = {tuple(parts): KNOWN[whole] for whole in KNOWN if len(parts := _split(whole, {})) > 1}
"""Words that the rules part although together they are a known piece."""
_BEGINNINGS = frozenset(parts[0] for parts in _TOGETHER)
_LONGEST = max(map(len, _TOGETHER))
