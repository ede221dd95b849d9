"""Words of time: moments to answer as of, and spans to ask about. It is Monday, 15:30 UTC."""

# ruff: noqa: SIM905 - a list of words reads best as one text

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from gnomon.answer.base import Question
from gnomon.answer.plan import plan
from gnomon.answer.when import when
from gnomon.errors import ContentError

WORDS = (
    "as of at on since before between and from to the last this 9 am 31st 14:05 99:99 noon "
    "midnight yesterday tonight monday morning weekend 2026-13-40 0 ago week , ? utc+99:99"
).split()
NOW = datetime(2026, 11, 23, 15, 30, tzinfo=UTC)


def at(text: str) -> datetime | None:
    return datetime.fromisoformat(f"2026-{text}").replace(tzinfo=UTC) if text else None


@pytest.mark.parametrize(
    ("text", "moment", "rest"),
    [
        ("As of noon, was the bridge open?", "11-23 12:00", "was the bridge open?"),
        ("As of yesterday noon, was it open?", "11-22 12:00", "was it open?"),
        ("as of 9 am, is the ferry running?", "11-23 09:00", "is the ferry running?"),
        ("as of 9 am CET, is the ferry running?", "11-23 08:00", "is the ferry running?"),
        ("As of yesterday at 9:30, was it open?", "11-22 09:30", "was it open?"),
        ("As of this morning, was it open?", "11-23 12:00", "was it open?"),
        ("As of last night, was it open?", "11-23 06:00", "was it open?"),
        ("As of November 20, who was mayor?", "11-21 00:00", "who was mayor?"),
        ("as of 20 November 2026 who was mayor?", "11-21 00:00", "who was mayor?"),
        ("as of last Friday, who was mayor?", "11-21 00:00", "who was mayor?"),
        ("At noon, was the bridge open?", "11-23 12:00", "was the bridge open?"),
        ("Was the bridge open at 9 am?", "11-23 09:00", "Was the bridge open?"),
        ("Was the bridge open yesterday at 9:15?", "11-22 09:15", "Was the bridge open?"),
        ("Stand gestern 14 Uhr: ist die Brücke offen?", "11-22 14:00", "ist die Brücke offen?"),
        ("À la date du 20 novembre, qui est maire ?", "11-21 00:00", "qui est maire?"),
    ],
)
def test_a_moment_to_answer_as_of(text: str, moment: str, rest: str) -> None:
    found = when(text, NOW)

    assert (found.as_of, found.text.lstrip(": ")) == (at(moment), rest)


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("Who won this morning?", "11-23 05:00", "11-23 12:00"),
        ("Who won this afternoon?", "11-23 12:00", ""),
        ("Who won last night?", "11-22 18:00", "11-23 06:00"),
        ("Who won yesterday evening?", "11-22 17:00", "11-23 00:00"),
        ("Who won on Saturday night?", "11-21 18:00", "11-22 06:00"),
        ("Who won over the weekend?", "11-21 00:00", ""),
        ("Who won last month?", "10-24 15:30", ""),
        ("Who won this week?", "11-16 00:00", ""),
        ("Who won this month?", "11-01 00:00", ""),
        ("Who won the day before yesterday?", "11-21 00:00", "11-23 00:00"),
        ("Who won between 9 and 11 today?", "11-23 09:00", "11-23 11:00"),
        ("Who won from 9:30 to 11:00 yesterday?", "11-22 09:30", "11-22 11:00"),
        ("Who won on the 20th?", "11-20 00:00", "11-22 00:00"),
        ("Who won on the 28th?", "10-28 00:00", "10-30 00:00"),
        ("What happened at 14:05?", "11-23 13:50", ""),
        ("Who won since this morning?", "11-23 05:00", ""),
        ("Who won before last night?", "", "11-22 18:00"),
        ("Wer gewann gestern Abend?", "11-22 17:00", "11-23 00:00"),
        ("Wer gewann heute früh?", "11-23 05:00", "11-23 12:00"),
        ("Qui a gagné ce matin ?", "11-23 05:00", "11-23 12:00"),
        ("Qui a gagné hier soir ?", "11-22 17:00", "11-23 00:00"),
        ("¿Quién ganó anoche?", "11-22 18:00", "11-23 06:00"),
        ("¿Quién ganó ayer por la tarde?", "11-22 12:00", "11-22 20:00"),
    ],
)
def test_a_span_that_is_asked_about(text: str, since: str, until: str) -> None:
    found = when(text, NOW)

    assert (found.as_of, found.since, found.until) == (None, at(since), at(until))
    assert found.notes and "“”" not in found.notes[0]
    # The words that name it are not searched for.
    assert set(plan(Question(text=text), NOW).terms) <= {"win", "gewann", "gagn", "gano", "happen"}


@pytest.mark.parametrize(
    "text",
    [
        "Who opens at 9 am?",
        "When does the 9 am train leave?",
        "When did the train that left at 9 am arrive?",
        "How many people are between 18 and 25?",
        "From 3 to 4 per cent, which rate rose?",
        "What is the stand of the parties?",
        "Who wrote Good Morning, Midnight?",
        "What did the Sunday Times say?",
    ],
)
def test_where_no_time_is_asked_about(text: str) -> None:
    found = when(text, NOW)

    assert (found.text, found.as_of, found.since, found.until) == (text, None, None, None)


@given(
    st.lists(
        st.sampled_from(WORDS),
        max_size=9,
    ),
    st.datetimes(datetime(1, 1, 9), datetime(9999, 12, 20)),
)
def test_any_words_at_any_time_are_read(words: list[str], now: datetime) -> None:
    moment = now.replace(tzinfo=UTC)
    found = when(" ".join(["who", *words]), moment)

    assert found.as_of is None or found.as_of < moment
    assert found.since is None or found.since <= moment
    assert found.since is None or found.until is None or found.since <= found.until + timedelta()


@pytest.mark.parametrize(
    ("text", "zone", "since", "until"),
    [
        # It is 10:30 in New York, and 00:30 of Tuesday in Tokyo.
        ("Who won this morning?", "America/New_York", "11-23 10:00", ""),
        ("Who won today?", "Asia/Tokyo", "11-23 15:00", ""),
        ("Who won yesterday?", "Asia/Tokyo", "11-22 15:00", "11-24 15:00"),
        ("Who won between 9 and 10 today?", "America/New_York", "11-23 14:00", "11-23 15:00"),
        ("Who won from 9:00 to 10:00 UTC today?", "America/New_York", "11-23 09:00", "11-23 10:00"),
        ("Who won since Sunday?", "America/New_York", "11-22 05:00", ""),
        ("Who won on 20 November?", "America/New_York", "11-20 05:00", "11-22 05:00"),
        # The clocks went back on the first of November.
        ("Who won on 30 October?", "America/New_York", "10-30 04:00", "11-01 04:00"),
    ],
)
def test_words_of_time_are_the_askers(text: str, zone: str, since: str, until: str) -> None:
    found = plan(Question(text=text, zone=zone), NOW)

    assert (found.since, found.until) == (at(since), at(until))


def test_a_moment_is_told_in_the_zone_of_the_asker() -> None:
    asked = plan(Question(text="As of 9 am, was it open?", zone="America/New_York"), NOW)

    assert asked.as_of == at("11-23 14:00")
    assert asked.notes[0] == "Answered as of 2026-11-23 09:00 EST, as the question asks."


@pytest.mark.parametrize("moment", [datetime.min, datetime.max])
def test_the_ends_of_time_are_no_trouble(moment: datetime) -> None:
    asked = Question(text="Who won this morning?")
    for zone in ("America/New_York", "Asia/Tokyo"):
        found = plan(structs.replace(asked, zone=zone), moment.replace(tzinfo=UTC))
        assert found.as_of is None


@pytest.mark.parametrize("zone", ["", "Mars/Base", "../etc/passwd", "/etc", "a\0b", "America"])
def test_a_zone_that_is_none_is_refused(zone: str) -> None:
    with pytest.raises(ContentError, match="no time zone"):
        plan(Question(text="Who won today?", zone=zone), NOW)
