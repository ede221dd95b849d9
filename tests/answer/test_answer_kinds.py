"""Whether a sentence holds the kind of thing that is asked for: a count, a price, a moment."""

from __future__ import annotations

import pytest

from gnomon.answer.judgement import type_present


@pytest.mark.parametrize(
    ("question", "sentence", "present"),
    [
        ("How many people work for Acme?", "The firm employs 293 people.", 1.0),
        # Money without its unit is still money where a currency stands beside it.
        (
            "How many people work for Acme?",
            "Acme made a profit of 4.0 million crowns on sales of 29.0 million.",
            0.0,
        ),
        # A number that counts nothing told says little to "how many people".
        ("How many people work for Acme?", "Acme made 4.0 million in a quarter.", 0.1),
        ("How many votes did Ada get?", "Ada was sentenced to 21 months.", 0.0),
        ("How many degrees is it at the point?", "The station measured 10 degrees.", 1.0),
        ("How many weeks will it take?", "It will take three weeks.", 1.0),
        ("Wie viele Menschen arbeiten dort?", "Es beschäftigt 291 Menschen.", 1.0),
    ],
)
def test_a_count_is_told_by_a_number_of_what_is_counted(
    question: str, sentence: str, present: float
) -> None:
    assert type_present("number", question, sentence) == present
