"""What a person types finds what a person means, in any script."""

from __future__ import annotations

import gzip
import json
import os
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gnomon.index import analyze

DATA = Path(os.environ.get("GNOMON_TEST_DATA", Path(__file__).parents[3] / "shared" / "data"))


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("The Bridges of the Harbour", "bridge"),
        ("one bridge", "bridges"),
        ("the mayor's words", "mayor"),
        ("Café Zürich", "cafe zurich"),
        ("Cafe\u0301", "café"),
        ("ＦＵＬＬ　ｗｉｄｔｈ", "full"),
        ("straße", "STRASSE"),
        ("written in C++ today", "c++"),
        ("written in C# today", "C#"),
        ("the U.S. economy", "us"),
        ("the US economy", "u.s."),
        ("release 3.12.1 is out", "3.12.1"),
        ("see www.example.com/path", "example"),
        ("See the end.Next sentence", "next"),
        ("don’t panic", "don't"),
        ("inter\u00adnational", "international"),
        ("rain in #Boston tonight", "boston"),
        ("rain in #Boston tonight", "#boston"),
        ("thanks @Mayor_Bo", "@mayor_bo"),
        ("thanks @Mayor_Bo", "mayor_bo"),
        ("on fire 🔥🔥 now", "🔥"),
        ("go 🇨🇦!", "🇨"),
        ("東京都庁が燃えている", "都庁"),
        ("東京都庁が燃えている", "東京都庁"),
        ("東京都庁が燃えている", "東"),
        ("東京都庁が燃えている", "る"),
        ("猫", "猫"),
        ("ラーメン屋", "ﾗｰﾒﾝ"),
        ("한국어 문서", "한국"),
        ("ภาษาไทย", "ไทย"),
        ("हिन्दी समाचार", "हिन्दी"),
        ("أَخْبَار", "أخبار"),
        ("НОВОСТИ дня", "новости"),
        ("ID12345 found", "id12345"),
    ],
)
def test_is_found(bench: Any, text: str, query: str):
    [seq] = bench.add(text)
    bench.add("something else entirely")
    assert bench.find(query) == [seq]
    assert bench.index.highlight(text, query)


@pytest.mark.parametrize(
    ("text", "query"),
    [
        ("rain in Boston tonight", "#boston"),
        ("written in C", "c++"),
        ("京東", "東京"),
        ("the news", "new york"),
        ("из дома", "и"),
        ("version 3.5", "3.6"),
    ],
)
def test_is_not_found(bench: Any, text: str, query: str):
    bench.add(text)
    assert bench.find(query) == []


def test_phrases_need_their_words_in_order(bench: Any):
    one, two, three = bench.add(
        "the harbour bridge is closed", "the bridge over the harbour", "Harbour #Bridge: reopened"
    )
    assert bench.find('"harbour bridge"', recency=0) == sorted([one, three], reverse=True)
    assert bench.find('-"harbour bridge" bridge') == [two]
    assert bench.find('+bridge "closed" harbour') == [one]
    assert bench.find("“bridge over” harbour") == [two]
    assert bench.find('"bridge') == [three, two, one]
    assert bench.find('"東京"') == []


def test_a_phrase_in_a_script_of_pairs(bench: Any):
    one, _ = bench.add("新しい東京都庁の建物", "東京の新しい都庁")
    assert bench.find('"東京都庁"') == [one]
    assert bench.find("+東京都庁") == [one]


def test_must_and_must_not(bench: Any):
    one, two, three = bench.add("storm harbour", "storm bridge", "harbour bridge")
    assert set(bench.find("storm harbour bridge")) == {one, two, three}
    assert set(bench.find("+storm bridge")) == {one, two}
    assert bench.find("+storm bridge")[0] == two
    assert bench.find("storm -bridge") == [one]
    assert bench.find("-storm") == [three]
    assert bench.find("+storm +harbour") == [one]
    assert bench.find("+storm -storm") == []


def test_a_title_weighs_more(bench: Any):
    bench.add("bridge of sighs and many things besides it in town", title="Weather")
    bench.add("of sighs and many things besides it in the town", title="Bridge")
    assert bench.find("bridge", recency=0) == [2, 1]


@pytest.mark.parametrize(
    "text",
    [
        "", " ", "\x00", "+", "-", '"', '""', '+""', "-\"\"", "AND OR NOT", "title:x", "a:b:c",
        "(((", "foo~2^8", "[a TO b]", "*", "?", "\\", "\ud800", "\ud800 storm", "a" * 100_000,
        "\u202e", "𝕳𝖊𝖑𝖑𝖔", "ﷺ", "é" * 5000, "-- +- +-storm", "#", "@", "#@#", "c++++", "...",
        "'", "\u0301", "İ", "ſ", "\u1e9e", "\ufdfa" * 100,
    ],
)  # fmt: skip
def test_anything_typed_is_a_query(bench: Any, text: str):
    bench.add("storm", text)
    for mode in ("lexical", "hybrid", "vector"):
        bench.find(text, mode=mode)
    bench.index.highlight("a storm in the harbour", text)
    bench.index.highlight(text, text)
    bench.index.embed([text])


NAUGHTY = sorted((DATA / "security").glob("*naughty*")) if DATA.is_dir() else []


@pytest.mark.skipif(not NAUGHTY, reason=f"no naughty strings in {DATA / 'security'}")
def test_naughty_strings_are_documents_and_queries(bench: Any):
    path = NAUGHTY[0]
    raw = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
    lines = raw.decode("utf-8", "replace").splitlines()
    strings = json.loads(raw) if ".json" in path.name and ".jsonl" not in path.name else lines
    strings = [s if isinstance(s, str) else str(s) for s in strings]
    seqs = bench.add(*strings)
    for seq, text in zip(seqs, strings, strict=True):
        if parsed := analyze.parse(text).should:
            if analyze.parse(text).must or analyze.parse(text).must_not or len(parsed) > 60:
                continue
            assert seq in bench.find(text, limit=1000), text
    for text in strings:
        bench.index.highlight(text, text)


def test_ten_megabytes_are_a_query_and_a_document(bench: Any):
    text = "storm bridge " * 800_000
    began = time.process_time()
    [seq] = bench.add(text)
    assert bench.find(text) == [seq]
    many = " ".join(f"word{n}" for n in range(1_000_000))
    assert bench.find(many + " storm") == []
    assert time.process_time() - began < 10


def test_at_most_64_parts_of_a_query_count():
    parsed = analyze.parse(" ".join(f"word{n} +must{n} -not{n}" for n in range(100)))
    assert len(parsed.should) + len(parsed.must) + len(parsed.must_not) == 64


@settings(deadline=None, max_examples=300, suppress_health_check=[HealthCheck.too_slow])
@given(text=st.text(max_size=60), query=st.text(max_size=20))
def test_highlights_lie_in_order_within_the_text(text: str, query: str):
    last = 0
    for start, end in analyze.highlight(text, query):
        assert last <= start < end <= len(text)
        last = end


@settings(deadline=None, max_examples=300)
@given(text=st.text(max_size=60))
def test_words_and_terms_of_any_text(text: str):
    for word in analyze.words(text):
        assert word
        for term in analyze.terms(word):
            assert term
            assert not any(c.isspace() for c in term)
            assert len(term) <= analyze.MAX_TERM_CHARS
        term.encode()


def test_highlights_say_where_words_and_phrases_stand():
    text = "The Harbour bridges closed; a bridge of #harbour steel. 東京都庁"

    def marked(query: str) -> list[str]:
        return [text[a:b] for a, b in analyze.highlight(text, query)]

    assert marked("bridge") == ["bridges", "bridge"]
    assert marked('"harbour bridge"') == ["Harbour bridges"]
    assert marked("#harbour -bridge") == ["Harbour", "harbour"]
    assert marked("京都") == ["京都"]
    assert marked('"東京都"') == ["東京都"]
    assert marked("") == []
