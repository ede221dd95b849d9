"""Question and evidence in different languages, and states that are told in other words."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.answer.conftest import Town


@pytest.mark.parametrize(
    "question",
    [
        "Who is the mayor of Oldgate?",
        "Wer ist der Bürgermeister von Oldgate?",
        "Qui est le maire d'Oldgate ?",
        "¿Quién es el alcalde de Oldgate?",
        "Quem é o prefeito de Oldgate?",
        "Кто мэр Oldgate?",
        "من هو عمدة Oldgate؟",
        "Oldgate का महापौर कौन है?",
        "Oldgateの市長は誰ですか？",
        "谁是Oldgate的市长？",
    ],
)
async def test_the_mayor_is_found_in_any_language(empty_town: Town, question: str) -> None:
    empty_town.put(1, "Ada Ferrow was sworn in as mayor of Oldgate this morning.")
    empty_town.put(2, "The tanker Rhosyn has moored at Oldgate with gravel.", source="bote")
    answer = await empty_town.ask(question)
    assert "Ada Ferrow" in answer.text and "Rhosyn" not in answer.text


@pytest.mark.parametrize(
    "question",
    [
        "Is the ferry to Gull Island running?",
        "¿Está funcionando el ferry a Gull Island?",
        "Fährt die Fähre nach Gull Island?",
    ],
)
async def test_a_crossing_out_of_service_is_a_ferry_that_does_not_run(
    empty_town: Town, question: str
) -> None:
    empty_town.put(0, "The ferry to Gull Island is running again after a fault in the steering.")
    empty_town.put(
        5,
        "The crossing to Gull Island has been taken out of service with immediate effect.",
        source="harbour",
    )
    answer = await empty_town.ask(question)
    assert "out of service" in answer.sentences[0].text
    assert "running again" not in answer.text


async def test_one_who_says_outright_that_it_is_open_leads(empty_town: Town) -> None:
    empty_town.put(4.0, "The traffic order for the Mill Bridge is lifted.", source="townhall")
    empty_town.put(4.2, "The Mill Bridge is open to all traffic.", source="radio")
    answer = await empty_town.ask("Is the Mill Bridge open?")
    assert answer.sentences[0].text == "The Mill Bridge is open to all traffic."


async def test_among_lone_posts_the_newest_leads(empty_town: Town) -> None:
    empty_town.put(1, "The Mill Bridge is open to all traffic.", kind="post", published_at=None)
    empty_town.put(3, "The Mill Bridge is closed after a flood.", kind="post", published_at=None)
    answer = await empty_town.ask("Is the Mill Bridge open?")
    assert [s.text for s in answer.sentences] == ["The Mill Bridge is closed after a flood."]


@pytest.mark.parametrize(
    "question",
    [
        "What is the state of the refuse collectors' strike?",
        "Tell me about the strike of the refuse collectors",
        "strike refuse collectors",
    ],
)
async def test_of_a_bare_matter_it_is_told_how_it_stands(empty_town: Town, question: str) -> None:
    empty_town.put(0, "The refuse collectors are on strike since the early shift.")
    empty_town.put(
        6, "The strike of the refuse collectors is over: they are back at work.", source="bote"
    )
    answer = await empty_town.ask(question)
    assert "over" in answer.sentences[0].text and "early shift" not in answer.text


async def test_what_is_over_does_not_tell_when_it_began(empty_town: Town) -> None:
    empty_town.put(6, "The refuse collectors are back at work from the next early shift at 6:00.")
    answer = await empty_town.ask("When did the strike of the refuse collectors begin?")
    assert answer.abstained


async def test_a_deed_that_nothing_tells_has_no_day(empty_town: Town) -> None:
    empty_town.put(1, "Workers carried the last barrier off the Mill Bridge at 18:36 yesterday.")
    assert (await empty_town.ask("When did the Mill Bridge burn down?")).abstained


async def test_a_date_replaces_no_cost(empty_town: Town) -> None:
    empty_town.put(
        0,
        "Work on the sea wall has begun; it should be done by 26 May at a cost of 482,000 crowns.",
    )
    empty_town.put(5, "The sea wall is delayed: it is now due on 13 June.", source="bote")
    answer = await empty_town.ask("How much does the sea wall cost?")
    assert "482,000" in answer.text


@pytest.mark.parametrize(
    ("question", "told"),
    [
        ("Qu'est-ce qui s'est passé hier ?", "2026-05-03"),
        ("¿Qué pasó ayer?", "2026-05-03"),
        ("Was ist gestern passiert?", "2026-05-03"),
    ],
)
async def test_yesterday_is_one_day_in_every_language(
    empty_town: Town, question: str, told: str
) -> None:
    empty_town.put(-20, "The museum reopened with a concert in the yard.")
    empty_town.put(1, "A lorry struck the railing of the Mill Bridge.")
    answer = await empty_town.ask(question)
    assert "museum" in answer.text and "lorry" not in answer.text
    assert any(told in note for note in answer.notes)


async def test_what_was_known_before_an_event_is_asked_as_of_then(empty_town: Town) -> None:
    empty_town.put(1, "The Mill Bridge will get new bearings, the town plans.")
    empty_town.put(
        3, "Ada Ferrow won the mayoral election.", title="The mayoral election is decided"
    )
    empty_town.put(5, "The Mill Bridge is closed after a crash.")
    answer = await empty_town.ask(
        "What was known about the Mill Bridge before the mayoral election?"
    )
    assert "bearings" in answer.text and "crash" not in answer.text


async def test_a_namesake_is_another_thing(empty_town: Town) -> None:
    empty_town.put(1, "The Mill Bridge is open to all traffic, in both directions.")
    assert (await empty_town.ask("Is the Harbour Bridge open?")).abstained
    assert not (await empty_town.ask("Is the Mill Bridge open?")).abstained


async def test_when_somebody_died_is_told_by_no_oath(empty_town: Town) -> None:
    empty_town.put(1, "Ada Ferrow took her oath as mayor at 15:07 on Sunday.")
    assert (await empty_town.ask("When did Ada Ferrow die?")).abstained
