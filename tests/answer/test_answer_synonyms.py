"""Other words for the same, and what only sounds like them."""

from __future__ import annotations

import pytest

from gnomon.answer.synonyms import same
from gnomon.answer.words import stem, stems


@pytest.mark.parametrize(
    ("asked", "text"),
    [
        ("pay", "Wages rise by 3 per cent."),
        ("free", "The car park counts 78 vacant spaces."),
        ("strongest", "The peak gust came to 130 km/h."),
        ("work", "Die Firma beschäftigt 415 Menschen."),
        ("cost", "La entrada cuesta 12 euros."),
    ],
)
def test_another_word_tells_the_same(asked: str, text: str) -> None:
    assert same([stem(asked)], stems(text)) == {stem(asked)}


@pytest.mark.parametrize(("asked", "text"), [("pay", "They paid nothing."), ("dog", "The cat.")])
def test_what_is_no_synonym_tells_nothing(asked: str, text: str) -> None:
    assert same([stem(asked)], stems(text)) == frozenset()


def test_the_word_itself_needs_no_other() -> None:
    assert same([stem("pay")], stems("Pay and wages")) == frozenset()
