"""Which words say something: what is nothing in one language may be all that counts in another."""

from __future__ import annotations

import pytest

from gnomon.answer.words import content


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("When did the mayor die?", ["mayor", "die"]),
        ("How many deaths in the war?", ["deaths", "war"]),
        ("War in Sudan", ["War", "Sudan"]),
        ("Did von der Leyen speak about the war?", ["Leyen", "speak", "war"]),
        ("Who is the man in the hat?", ["man", "hat"]),
        ("How much does herring cost?", ["herring", "cost"]),
        ("It's the evening of the wars", ["evening", "wars"]),
        ("War die Brücke gesperrt?", ["Brücke", "gesperrt"]),
        ("Die Stadt hat gewonnen, und das war gut", ["Stadt", "gewonnen", "gut"]),
        ("Comment est-ce que le maire va ?", ["maire"]),
        ("Quel est son prix ?", ["prix"]),
    ],
)
def test_content_words(text: str, says: list[str]) -> None:
    assert [w.text for w in content(text)] == says
