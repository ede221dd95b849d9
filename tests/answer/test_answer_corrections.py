"""A copy that keeps what its original has corrected since is no newer report."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from gnomon.answer.base import Question
from gnomon.answer.corrections import corrected
from gnomon.answer.disagree import Others
from gnomon.answer.extractive import ExtractiveWriter
from gnomon.answer.plan import plan
from gnomon.clock import ManualClock
from gnomon.types import Document, Passage

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
SAID = "Acme made a profit of 2.2 million crowns on sales of 49.5 million, more than hoped."
COPIED = (
    "HARBOUR – Acme made a profit of 22.0 million crowns on sales of 49.5 million, more than hoped."
)


def item(
    text: str, *, source: str, hours_ago: float, revised_h_ago: float | None = None
) -> Passage:
    revised = None if revised_h_ago is None else NOW - timedelta(hours=revised_h_ago)
    moment = NOW - timedelta(hours=hours_ago)
    document = Document(
        key=f"{source}:1", source=source, kind="article", text=text, published_at=moment,
        updated_at=revised, observed_at=revised or moment, version=1 if revised is None else 2,
    )  # fmt: skip
    return Passage(
        document=document, start=0, end=len(text), text=text, score=1.0, origin=document.key
    )


def choose(*passages: Passage) -> list[str]:
    writer = ExtractiveWriter(clock=ManualClock(NOW))
    asked = Question(text="What profit did Acme report?")
    return [d.text for d in writer.choose(asked, plan(asked, NOW), passages)]


def test_the_corrected_original_is_quoted_and_not_its_younger_copy() -> None:
    original = item(SAID, source="herald", hours_ago=10, revised_h_ago=6)
    copy = item(COPIED, source="digest", hours_ago=9)

    assert choose(copy, original) == [SAID]


def test_a_younger_report_with_another_figure_stands() -> None:
    original = item(SAID, source="herald", hours_ago=10, revised_h_ago=9.5)
    report = item(COPIED, source="digest", hours_ago=2)

    assert choose(original, report)[0] == COPIED


def test_an_original_that_never_changed_corrects_nothing() -> None:
    original = item(SAID, source="herald", hours_ago=10)
    copy = item(COPIED, source="digest", hours_ago=9)

    assert not corrected(original.document, SAID, copy.document, COPIED, NOW - timedelta(hours=9))


def test_other_words_with_another_number_are_no_copy() -> None:
    original = item(SAID, source="herald", hours_ago=10, revised_h_ago=6)
    other = item("Acme hired 220 people in 49 towns.", source="digest", hours_ago=9)

    assert not corrected(
        original.document, SAID, other.document, other.text, NOW - timedelta(hours=9)
    )


def test_the_copy_is_told_as_superseded_and_not_as_a_disagreement() -> None:
    original = item(SAID, source="herald", hours_ago=10, revised_h_ago=6)
    copy = item(COPIED, source="digest", hours_ago=9)
    asked = plan(Question(text="What profit did Acme report?"), NOW)

    standing = Others(asked, [original, copy]).standing(SAID, [0])
    other_way = Others(asked, [original, copy]).standing(COPIED, [1])

    assert standing.rival is None
    assert standing.replaced is not None and standing.replaced.text == COPIED
    assert other_way.replaced_by is not None and other_way.replaced_by.text == SAID
