"""Words of time, in several languages and zones, become ranges."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.answer.base import Question
from gnomon.answer.plan import plan
from gnomon.answer.times import named

NOW = datetime(2026, 11, 23, 12, tzinfo=UTC)
"""A Monday."""


@pytest.mark.parametrize(
    ("question", "since", "until"),
    [
        ("What has happened since Tuesday?", "2026-11-17", None),
        ("What has the council said since Tuesday 9am CET?", "2026-11-17T08:00", None),
        ("What happened after 14:05 EST yesterday?", "2026-11-22T19:05", None),
        ("What happened an hour ago?", "2026-11-23T10:00", None),
        ("What was reported three hours ago?", "2026-11-23T08:00", "2026-11-23T10:00"),
        ("What did the mayor say two days ago?", "2026-11-21", "2026-11-23"),
        ("Which roads were closed in March 2023?", "2023-03-01", "2023-04-02"),
        ("Which roads were closed in 2023?", "2023-01-01", "2024-01-01"),
        ("Who resigned on 5 May?", "2026-05-05", "2026-05-07"),
        ("Who resigned on May 5th, 2024?", "2024-05-05", "2024-05-07"),
        ("What was known before 1 June 2026?", None, "2026-06-01"),
        ("What happened between 3 March 2024 and 5 March 2024?", "2024-03-03", "2024-03-07"),
        ("Was ist seit Dienstag passiert?", "2026-11-17", None),
        ("Was geschah vor zwei Tagen?", "2026-11-21", "2026-11-22"),
        ("Wer trat am 5. Mai zurück?", "2026-05-05", "2026-05-07"),
        ("Was wurde im März 2023 gesperrt?", "2023-03-01", "2023-04-02"),
        ("Que s'est-il passé depuis mardi ?", "2026-11-17", None),
        ("Qu'a dit le maire il y a 3 jours ?", "2026-11-20", "2026-11-22"),
        ("Qui a démissionné le 5 mai 2024 ?", "2024-05-05", "2024-05-07"),
        ("¿Qué pasó desde el martes?", "2026-11-17", None),
        ("¿Qué pasó hace 2 horas?", "2026-11-23T09:00", "2026-11-23T11:00"),
        ("O que aconteceu há 2 dias?", "2026-11-21", "2026-11-23"),
        ("O que aconteceu ontem?", "2026-11-22", None),
        ("Что случилось вчера?", "2026-11-22", None),
        ("Что случилось 2 часа назад?", "2026-11-23T09:00", "2026-11-23T11:00"),
        ("昨日何が起きましたか", "2026-11-22", None),
        ("3天前发生了什么", "2026-11-20", "2026-11-22"),
        ("ماذا حدث أمس؟", "2026-11-22", None),
        ("2 घंटे पहले क्या हुआ?", "2026-11-23T09:00", "2026-11-23T11:00"),
        # No time is meant.
        ("What happened before the vote?", None, None),
        ("Who won the march since the start?", None, None),
        ("What may the council decide after the hearing?", None, None),
        ("Is the bridge between Aldmoor and Quillhaven open?", None, None),
    ],
)
def test_words_of_time(question: str, since: str | None, until: str | None) -> None:
    asked = plan(Question(text=question), NOW)
    moments = [datetime.fromisoformat(m).replace(tzinfo=UTC) if m else None for m in (since, until)]
    assert [asked.since, asked.until] == moments
    if question != "Which roads were closed in 2023?":
        assert len(asked.notes) == (asked.since is not None or asked.until is not None)


@given(st.text(max_size=80))
def test_any_text_is_read_without_failing(text: str) -> None:
    found = named(f"since {text} before {text} in May {text}", NOW)
    assert found is None or found.since is None or found.since <= NOW
