"""Cleaning, markup to text, language: for any string, in bounded time."""

from __future__ import annotations

import time
import unicodedata

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from py3langid.langid import MODEL_FILE, LanguageIdentifier

from gnomon.extract.text import OnDisk, clean_text, detect_lang, html_to_text, lang_code, one_line

ANY = st.text(st.characters(codec=None), max_size=300)


@given(ANY)
@example("\ud83d\ude00 \ud800 x")
@example("a\u0301" + "\u0301\u0320" * 200)
def test_clean_text_is_clean_and_stays_so(text: str) -> None:
    clean = clean_text(text)
    assert clean == clean_text(clean)
    assert unicodedata.is_normalized("NFC", clean)
    assert not any(unicodedata.category(c) in ("Cc", "Cs") and c not in "\n\t" for c in clean)
    assert "  " not in clean and "\n\n\n" not in clean and clean == clean.strip()
    clean.encode("utf-8")


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("  a \t b\u00a0c  ", "a b c"),
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("p1\n\n\n \n p2", "p1\n\np2"),
        ("e\u0301", "é"),
        ("x\x00\x07\x1by\x85z", "xy\nz"),
        ("half \ud83d and \ude00", "half \ufffd and \ufffd"),
        ("\ud83d\ude00", "😀"),
        ("می‌خواهم 👨‍👩‍👧", "می‌خواهم 👨‍👩‍👧"),
    ],
)
def test_clean_text(text: str, clean: str) -> None:
    assert clean_text(text) == clean


def test_naughty_strings_come_back(naughty: list[str]) -> None:
    assert len(naughty) == 515
    for text in naughty:
        clean = clean_text(text)
        assert one_line(text) == " ".join(clean.split())
        letters = [c for c in unicodedata.normalize("NFC", text) if c.isalnum()]
        assert [c for c in clean if c.isalnum()] == letters, text
        html_to_text(text)
        detect_lang(text)


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello <b>big</b>\nworld</p><p>two</p>", "Hello big world\n\ntwo"),
        ("a<br>b<br/>c", "a\nb\nc"),
        ("<ul><li>one<li>two <i>x</i></ul>after", "- one\n- two x\n\nafter"),
        (
            "<table><tr><th>Town<th>Dead<tr><td>Ulm<td>0</table>",
            "Town | Dead\nUlm | 0",
        ),
        ("<pre>a\n  b</pre>", "a\nb"),
        ("5 &lt; 6 &amp; 7", "5 < 6 & 7"),
        ("5 < 6", "5 < 6"),
        ("<script>evil()</script>fine<style>p{}</style>", "fine"),
        ("<iframe src=x>fallback</iframe>fine", "fine"),
        ("<p>a<!-- c --><?pi?>b", "ab"),
        ("&lt;script&gt;alert(1)&lt;/script&gt;", "<script>alert(1)</script>"),
        ("", ""),
        ("<p>\x00a</p>", "a"),
    ],
)
def test_html_to_text(html: str, text: str) -> None:
    assert html_to_text(html) == text


@given(
    ANY
    | st.lists(st.sampled_from(["<p>", "</p>", "<b a='", "'>", "x", "&amp;", "<li>"])).map("".join)
)
def test_any_markup_becomes_clean_text(html: str) -> None:
    text = html_to_text(html)
    assert text == clean_text(text)


@pytest.mark.parametrize(
    "html",
    [
        "<div>" * 300_000 + "deep",
        "<p " + " ".join(f"a{i}=b" for i in range(100_000)) + ">deep",
        "<p " + " ".join(f"a{i}='>'" for i in range(100_000)) + ">deep",
        "a" + "\u0301\u0320" * 300_000,
        "<p>a" + "&#769;&#800;" * 100_000,
        "<" * 1_000_000,
        "<!--" * 200_000,
        "&" * 1_000_000,
        " " * 1_000_000 + "x",
    ],
    ids=["nesting", "attributes", "hidden", "marks", "entities", "lt", "comments", "amp", "blank"],
)
def test_hostile_markup_is_cheap(html: str) -> None:
    began = time.process_time()
    html_to_text(html)
    assert time.process_time() - began < 3


def test_nesting_loses_structure_but_no_text() -> None:
    assert html_to_text("<div>" * 1_000 + "deep" + "</div>" * 1_000) == "deep"


@pytest.mark.parametrize(
    ("text", "hint", "lang"),
    [
        ("Der Bürgermeister tritt nach der Wahl zurück, sagt der Stadtrat.", "en-US", "de"),
        ("東京で大きな地震がありました。津波の心配はありません。", "", "ja"),
        ("Пожар в центре города потушен, пострадавших нет, сообщили в мэрии.", "", "ru"),
        ("حريق كبير في وسط المدينة ولا إصابات حتى الآن", "", "ar"),
        ("lol", "", "und"),
        ("lol", "de-AT", "de"),
        ("12345 !!! 67890 ??? 1234567890 1234567890", "", "und"),
        ("", "", "und"),
        ("", "x-klingon", "und"),
    ],
)
def test_language(text: str, hint: str, lang: str) -> None:
    assert detect_lang(text, hint) == lang


@pytest.fixture(scope="module")
def detectors() -> tuple[LanguageIdentifier, LanguageIdentifier]:
    """As the library makes it, and one with so few steps in memory that it often begins anew."""
    first, second = (
        LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True) for _ in range(2)
    )
    second.tk_nextmove = OnDisk(second.tk_nextmove, kept=40)
    return first, second


@given(text=st.text(max_size=200))
@example(text="Пожар в центре города потушен, пострадавших нет, сообщили в мэрии.")
@example(text="The council of the town has closed the bridge until further notice.")
def test_tables_on_disk_change_no_decision(
    detectors: tuple[LanguageIdentifier, LanguageIdentifier], text: str
) -> None:
    in_memory, on_disk = detectors
    assert on_disk.classify(text) == in_memory.classify(text)


@pytest.mark.parametrize(
    ("tag", "code"),
    [
        ("pt_BR", "pt"),
        ("EN-gb", "en"),
        (" de ", "de"),
        ("gsw", "gsw"),
        ("und", ""),
        ("english", ""),
    ],
)
def test_language_tags(tag: str, code: str) -> None:
    assert lang_code(tag) == code
