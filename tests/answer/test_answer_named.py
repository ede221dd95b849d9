"""Filters that a question's own words name."""

from __future__ import annotations

import pytest

from gnomon.answer.base import Question
from gnomon.answer.named import narrowed_by_words


@pytest.mark.parametrize(
    ("text", "filters", "rest"),
    [
        ("What did @harbourmaster say about the ferry?", {"authors": ("harbourmaster",)}, "ferry"),
        ("Is the ferry running, according to @harbour.master?", {"authors": ("harbour.master",)},
         "ferry running"),
        ("What has @ada@town.example posted today?", {"authors": ("ada@town.example",)}, "today"),
        ("What is in @ada's latest posts about the vote?", {"authors": ("ada",)}, "vote"),
        ("What happened at the port, according to bbc.co.uk?", {"domains": ("bbc.co.uk",)}, "port"),
        ("What is new on https://www.herald.example about the tram?",
         {"domains": ("herald.example",)}, "tram"),
        ("What did herald.example report about the tram?", {"domains": ("herald.example",)},
         "tram"),
        ("Who won the race, but not from tabloid.example?", {"not_domains": ("tabloid.example",)},
         "race"),
        ("What do German newspapers write about the tram?", {"langs": ("de",)}, "tram"),
        ("What was reported about the tram in German?", {"langs": ("de",)}, "tram"),
        ("What happened at the port, according to posts?", {"kinds": ("post",)}, "port"),
        ("What do comments say about the tram?", {"kinds": ("comment",)}, "tram"),
        ("What do people think about the tram?", {"kinds": ("post", "comment")}, "tram"),
        ("How did the public react to the vote?", {"kinds": ("post", "comment")}, "vote"),
        ("Was sagen die Leute über die Wahl?", {"kinds": ("post", "comment")}, "Wahl"),
        ("What did @ada say on town.example about the vote?",
         {"authors": ("ada",), "domains": ("town.example",)}, "vote"),
    ],
)  # fmt: skip
def test_words_become_filters(text: str, filters: dict[str, object], rest: str) -> None:
    read = narrowed_by_words(Question(text=text))
    named = ("authors", "domains", "not_domains", "langs", "kinds")
    assert {n: getattr(read, n) for n in named if getattr(read, n)} == filters
    assert rest in read.text
    assert "@" not in read.text
    assert ".example" not in read.text


@pytest.mark.parametrize(
    "text",
    [
        "Who is @harbourmaster?",
        "How many people wrote to @harbourmaster?",
        "What do people have to do in a storm?",
        "How do people feel?",
        "What is new in Node.js?",
        "How do you say bread in German?",
        "Tell me what happened at the port in German.",
        "What happened in German politics?",
        "What is new about Booking.com?",
        "How many posts were deleted?",
        "Who resigned from the council?",
        "What did the U.S. say about it?",
        "Which comments were removed by the moderators?",
    ],
)
def test_what_a_question_is_about_is_no_filter(text: str) -> None:
    asked = Question(text=text)
    assert narrowed_by_words(asked) == asked


def test_what_the_asker_set_is_not_replaced_by_words() -> None:
    asked = Question(text="What did @ada say about the vote?", authors=("bob",))
    assert narrowed_by_words(asked).authors == ("bob",)
