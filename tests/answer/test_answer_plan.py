"""What a question is understood to ask."""

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.base import Plan, Question, Turn
from gnomon.answer.plan import MAX_QUESTION_CHARS, expects, plan
from gnomon.errors import ContentError

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""A Monday."""


def understood(text: str, **fields: object) -> Plan:
    return plan(Question(text=text, **fields), NOW)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("question", "kind"),
    [
        ("Who won the race?", "person"),
        ("Where was it found?", "place"),
        ("Which country won?", "place"),
        ("When does it open?", "time"),
        ("What year did it debut?", "time"),
        ("How many people died?", "number"),
        ("Why was it closed?", "reason"),
        ("Is the bridge open?", "yes_no"),
        ("What is a gnomon?", "definition"),
        ("List the closed roads.", "list"),
        ("Which trophy did she lift?", "text"),
        ("Police arrested 31 men who planned a riot. Where was the event?", "place"),
        ("Wann öffnet die Brücke?", "time"),
        ("Warum ist sie zu?", "reason"),
        ("Wie viele Menschen kamen?", "number"),
        ("Qui a gagné ?", "person"),
        ("¿Cuántas personas murieron?", "number"),
        ("¿Dónde está el puente?", "place"),
    ],
)
def test_the_form_tells_the_answer_type(question: str, kind: str) -> None:
    assert expects(question) == kind


@pytest.mark.parametrize(
    ("question", "since", "until"),
    [
        ("What was announced today?", "2026-11-23", None),
        ("What was announced yesterday?", "2026-11-22", "2026-11-24"),
        ("What was announced since Tuesday?", "2026-11-17", None),
        ("What was announced in the last hour?", "2026-11-23T11:00", None),
        ("What was announced in the past 3 days?", "2026-11-20T12:00", None),
        ("What was announced in 2023?", "2023-01-01", "2024-01-01"),
        ("What was announced on 2026-11-05?", "2026-11-05", "2026-11-07"),
        ("What was announced?", None, None),
    ],
)
def test_words_of_time_become_a_window(question: str, since: str | None, until: str | None) -> None:
    asked = understood(question)
    moments = [datetime.fromisoformat(m).replace(tzinfo=UTC) if m else None for m in (since, until)]
    assert [asked.since, asked.until] == moments


@pytest.mark.parametrize(
    ("question", "moment"),
    [
        ("Was the bridge open at 14:05 yesterday?", "2026-11-22T14:05"),
        ("Who is mayor, as of 2025-01-01?", "2025-01-02"),
        ("Is the bridge open as of 3 hours ago?", "2026-11-23T09:00"),
        ("As of 9 am, is the bridge open?", "2026-11-23T09:00"),
        ("As of 9 am CET, is the bridge open?", "2026-11-23T08:00"),
        ("Was the bridge open at 14:05 EST yesterday?", "2026-11-22T19:05"),
        ("Was the bridge open at 14:05 UTC+5:30 yesterday?", "2026-11-22T08:35"),
        ("Was the bridge open at 2 pm PDT yesterday?", "2026-11-22T21:00"),
        ("Who was mayor as of 2026-11-20T08:30Z?", "2026-11-20T08:30"),
    ],
)
def test_a_moment_in_the_question_becomes_its_as_of(question: str, moment: str) -> None:
    asked = understood(question)
    assert asked.as_of == datetime.fromisoformat(moment).replace(tzinfo=UTC)
    assert any("as of" in note for note in asked.notes)
    assert not {"2025", "hour", "ago", "am"} & set(asked.terms)


def test_words_never_lead_beyond_the_moment_that_was_set() -> None:
    moment = datetime(2026, 11, 1, tzinfo=UTC)
    asked = understood("Was it open at 14:05 on 2026-11-20?", as_of=moment)
    assert asked.as_of == moment


def test_now_is_the_moment_asked_about() -> None:
    moment = datetime(2026, 3, 10, 15, tzinfo=UTC)
    assert understood("What was announced today?", as_of=moment).since == datetime(
        2026, 3, 10, tzinfo=UTC
    )


def test_newness_counts_most_where_the_words_say_so() -> None:
    latest = understood("What is the latest on the strike?")
    plain = understood("What caused the strike?")
    timeless = understood("Who invented the telephone?")
    assert latest.recency > plain.recency > timeless.recency
    assert latest.half_life_s < plain.half_life_s < timeless.half_life_s


def test_a_follow_up_takes_the_terms_of_the_question_before() -> None:
    history = (Turn(question="Who is the mayor of Quillhaven?", answer="Ada Ferrow. [1]"),)
    asked = understood("Why did she resign?", history=history)
    assert asked.terms == ("resign", "ada", "ferrow")
    asked = understood("Since when?", history=history)
    assert {"mayor", "quillhaven"} <= set(asked.terms)
    assert "Quillhaven" in asked.search_text
    alone = understood("Why was the harbour bridge on Fernhill closed?", history=history)
    assert "quillhaven" not in alone.terms


def test_query_operators_in_a_question_are_words() -> None:
    asked = understood('Is "the bridge" -closed or +open?')
    assert not set('"+-') & set(asked.search_text)


@pytest.mark.parametrize("text", ["", "   ", "?!", "\x00\x07\n", "\u200b"])
def test_an_empty_question_is_refused_kindly(text: str) -> None:
    with pytest.raises(ContentError) as caught:
        understood(text)
    assert caught.value.code == "question.empty"
    assert caught.value.hint


@pytest.mark.parametrize("chars", [MAX_QUESTION_CHARS + 1, 10_000_000])
def test_an_overlong_question_is_refused_at_once(chars: int) -> None:
    with pytest.raises(ContentError) as caught:
        understood("a" * chars)
    assert caught.value.code == "question.too_long"
    assert "4,000" in caught.value.message


def test_control_characters_are_read_as_spaces() -> None:
    assert understood("Is the\x00bridge\x07open?").search_text == "Is the bridge open"


@given(st.text(min_size=1, max_size=300))
def test_any_text_is_planned_or_refused(text: str) -> None:
    try:
        asked = understood(text)
    except ContentError as error:
        assert error.code == "question.empty"
    else:
        assert 0 <= asked.recency <= 1
        assert asked.as_of is None or asked.as_of < NOW
