"""What changed between two moments is what the record saw, and nothing else."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gnomon.answer.base import Question
from gnomon.answer.diff import Differ, Difference
from gnomon.clock import RandomIds
from gnomon.errors import ContentError
from gnomon.types import Delete

Town = Any
BRIDGE = "Is the harbour bridge open?"
FERRY = "When does the ferry to Dunmarrow leave?"


def at(hours: float) -> datetime:
    return datetime(2026, 5, 4, 8, tzinfo=UTC) + timedelta(hours=hours)


async def compare(town: Town, text: str, start: float, end: float | None = None) -> Difference:
    differ = Differ(town.answerer(), town.record, town.clock, RandomIds())
    until = None if end is None else at(end)
    return await differ.compare(Question(text=text), at(start), until)


def shown(found: Difference) -> list[tuple[str, str, str]]:
    return [
        (c.status, c.before.text if c.before else "", c.after.text if c.after else "")
        for c in found.changes
    ]


async def test_a_statement_that_another_replaces_is_changed_and_says_by_what(town: Town) -> None:
    found = await compare(town, BRIDGE, 1, 4)
    assert found.changed
    first = found.changes[0]
    assert first.status == "changed"
    assert "is open to all traffic" in first.before.text
    assert "closed at 11:00" in first.after.text
    assert first.cause.at == at(3)
    assert first.cause.deed == "published"
    assert first.cause.title == "Harbour bridge closed"


async def test_nothing_changed_is_said_plainly(town: Town) -> None:
    found = await compare(town, BRIDGE, 3.5, 4.5)
    assert not found.changed
    assert {c.status for c in found.changes} == {"unchanged"}
    assert found.summary.startswith("Nothing changed")


async def test_no_answer_at_either_moment_is_nothing(town: Town) -> None:
    found = await compare(town, "Who won the chess tournament in Oslo?", 1, 9)
    assert not found.changed
    assert "no answer at either moment" in found.summary


async def test_an_edit_is_the_cause_where_an_edit_made_the_change(empty_town: Town) -> None:
    empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    empty_town.put(5, "The ferry to Dunmarrow leaves at 10:45 daily.", key="feed:ferry")
    (change,) = (await compare(empty_town, FERRY, 2)).changes
    assert change.status == "changed"
    assert "9:30" in change.before.text
    assert "10:45" in change.after.text
    assert (change.cause.deed, change.cause.version, change.cause.at) == ("edited", 2, at(5))


async def test_a_deletion_takes_its_statement_away(empty_town: Town) -> None:
    empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    empty_town.change(3, Delete(key="feed:ferry"))
    (change,) = (await compare(empty_town, FERRY, 2)).changes
    assert change.status == "gone"
    assert (change.cause.deed, change.cause.at) == ("deleted", at(3))
    assert change.after is None


async def test_what_came_up_is_new(empty_town: Town) -> None:
    empty_town.put(3, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    (change,) = (await compare(empty_town, FERRY, 2)).changes
    assert change.status == "new"
    assert change.before is None
    assert change.cause.key == "feed:ferry"


def bridge_reopens(town: Town) -> None:
    for hours, text in (
        (0, "The Mill Bridge remains closed until the replacement bearings are in place."),
        (3, "Good news from the river: the Mill Bridge is fully open."),
        (4, "Both lanes of the Mill Bridge are in use, and the weight limit is lifted."),
        (5, "The traffic order for the Mill Bridge is lifted."),
    ):
        town.put(hours, text, key=f"feed:{hours}")


async def test_what_still_stands_in_its_source_did_not_go(empty_town: Town) -> None:
    bridge_reopens(empty_town)
    found = await compare(empty_town, "Is the Mill Bridge open?", 1, 9.5)
    assert not [b for status, b, _ in shown(found) if status in ("passed", "gone")]


async def test_a_state_that_turned_is_changed_whatever_else_the_sentences_say(
    empty_town: Town,
) -> None:
    bridge_reopens(empty_town)
    found = await compare(empty_town, "Is the Mill Bridge open?", 1, 9.5)
    changed = [(b, after) for status, b, after in shown(found) if status == "changed"]
    assert any("remains closed" in b and "fully open" in after for b, after in changed)


async def test_what_came_and_went_in_between_is_told_too(town: Town) -> None:
    found = await compare(town, BRIDGE, 1, 9.5)
    assert any("open again" in after for _, _, after in shown(found))
    passed = [b for status, b, _ in shown(found) if status == "passed"]
    assert any("closed at 11:00" in text for text in passed)


async def test_the_second_moment_leaks_nothing_from_after_it(town: Town) -> None:
    found = await compare(town, BRIDGE, 1, 4)
    for change in found.changes:
        for claim in (change.before, change.after):
            assert claim is None or claim.citation.observed_at <= at(4)


@pytest.mark.parametrize(("start", "end"), [(4, 4), (5, 4)])
async def test_moments_in_the_wrong_order_are_refused(town: Town, start: float, end: float) -> None:
    with pytest.raises(ContentError) as raised:
        await compare(town, BRIDGE, start, end)
    assert raised.value.code == "diff.order"


async def test_a_question_with_its_own_moment_is_refused(town: Town) -> None:
    with pytest.raises(ContentError) as raised:
        await compare(town, "Is the harbour bridge open, as of 09:30?", 1, 9)
    assert raised.value.code == "diff.moment"
