"""Sentences and passages: sensible cuts, exact offsets, any language, any input."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.text import MAX_SENTENCE_CHARS, around, boundary, passages, sentences
from gnomon.answer.words import stems, words


def cut(text: str) -> list[str]:
    return [text[s.start : s.end] for s in sentences(text)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("One. Two! Three?", ["One.", "Two!", "Three?"]),
        ("Dr. Smith met Mr. Jones. They spoke.", ["Dr. Smith met Mr. Jones.", "They spoke."]),
        (
            "It rose 3.2% to 1.5 million. Then it fell.",
            ["It rose 3.2% to 1.5 million.", "Then it fell."],
        ),
        ("The U.S. President waited. He left.", ["The U.S. President waited.", "He left."]),
        ("He lives in the U.S. The house is old.", ["He lives in the U.S.", "The house is old."]),
        ("J. K. Rowling wrote it.", ["J. K. Rowling wrote it."]),
        ("On Jan. 5 it began. Good.", ["On Jan. 5 it began.", "Good."]),
        ('"Stop!" he said. She did.', ['"Stop!" he said.', "She did."]),
        ("He said “It is open.” Then he left.", ["He said “It is open.”", "Then he left."]),
        ("今日は雨です。明日は晴れ。", ["今日は雨です。", "明日は晴れ。"]),
        ("「はい。」と言った。終わり。", ["「はい。」と言った。", "終わり。"]),
        ("यह वाक्य है। दूसरा वाक्य।", ["यह वाक्य है।", "दूसरा वाक्य।"]),
        ("هل هذا سؤال؟ نعم.", ["هل هذا سؤال؟", "نعم."]),
        ("Am 5. Mai begann es. Gut.", ["Am 5. Mai begann es.", "Gut."]),
        ("A heading\n\nA text that\nis wrapped.", ["A heading", "A text that\nis wrapped."]),
        ("- one\n- two", ["- one", "- two"]),
        ("   ", []),
        ("", []),
    ],
)
def test_sentences_end_where_readers_would_end_them(text: str, expected: list[str]) -> None:
    assert cut(text) == expected


@given(st.text(max_size=2_000))
def test_spans_are_exact_ordered_and_lose_nothing(text: str) -> None:
    spans = sentences(text)
    assert all(a.end <= b.start for a, b in itertools.pairwise(spans))
    assert all(text[s.start : s.end].strip() == text[s.start : s.end] != "" for s in spans)
    kept = "".join("".join(text[s.start : s.end].split()) for s in spans)
    assert kept == "".join(text.split())
    assert all(s.end - s.start <= MAX_SENTENCE_CHARS for s in spans)


@given(
    st.lists(st.sampled_from(["It rained. ", "Why? ", "A b c\n", "\n\n", "x " * 300]), max_size=40)
)
def test_passages_cover_all_sentences_once(pieces: list[str]) -> None:
    text = "".join(pieces)
    runs = list(passages(text))
    assert all(a.end <= b.start for a, b in itertools.pairwise(runs))
    inside = [s for s in sentences(text) for r in runs if r.start <= s.start and s.end <= r.end]
    assert inside == sentences(text)
    for run in runs:
        assert 1 <= sum(run.start <= s.start < run.end for s in sentences(text)) <= 5


def test_around_returns_the_whole_sentences_that_a_span_touches() -> None:
    text = "It is not true that the bridge is open. It is closed."
    start = text.index("the bridge")
    span = around(text, start, start + 10)
    assert text[span.start : span.end] == "It is not true that the bridge is open."


def test_boundary_never_lies_behind_the_place_and_begins_a_sentence() -> None:
    text = "First one. Second one is longer. Third."
    assert text[boundary(text, 20) :].startswith("Second")
    assert boundary(text, 0) == 0


def test_long_texts_are_cut_in_linear_time() -> None:
    assert len(sentences("word " * 100_000)) >= 500
    assert len(sentences("." * 100_000)) <= 200


def test_words_of_other_scripts_are_whole() -> None:
    assert [w.text for w in words("3天前发生")] == ["3", "天前", "前发", "发生"]
    assert [w.text for w in words("2 घंटे पहले")] == ["2", "घंटे", "पहले"]
    assert stems("новые мосты") == stems("новый мост")
    assert stems("نَدِيّ") == stems("ندي")
