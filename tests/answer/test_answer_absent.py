"""Near misses: the right topic without the thing that is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta

import pytest

from gnomon.answer.absent import came_out, matter, outcome, told, wanted
from gnomon.answer.base import Plan, Question
from gnomon.answer.bearing import holds
from gnomon.answer.extractive import ExtractiveWriter
from gnomon.answer.judgement import type_present
from gnomon.answer.plan import plan
from gnomon.answer.words import stems
from gnomon.clock import ManualClock
from gnomon.types import Document, Passage

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)


def asked(text: str) -> Plan:
    return plan(Question(text=text), NOW)


def answers(question: str, *texts: str) -> list[str]:
    """What is quoted, from documents ten minutes apart."""
    began = NOW - timedelta(hours=2)
    moments = {text: began + i * timedelta(minutes=10) for i, text in enumerate(texts)}
    return quoted(question, moments)


def quoted(question: str, moments: Mapping[str, datetime]) -> list[str]:
    """What is quoted, from a document for each text, published at its moment."""
    passages = []
    for i, (text, moment) in enumerate(moments.items()):
        document = Document(
            key=f"herald:{i}", source="herald", kind="article", text=text,
            published_at=moment, observed_at=moment,
        )  # fmt: skip
        passages.append(
            Passage(
                document=document, start=0, end=len(text), text=text, score=1.0,
                origin=document.key,
            )
        )  # fmt: skip
    writer = ExtractiveWriter(clock=ManualClock(NOW))
    return [d.text for d in writer.choose(Question(text=question), asked(question), passages)]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What dividend will Acme pay?", ("dividend",)),
        ("Which builder was hired for the hall?", ("hired",)),
        ("How many trees did the storm bring down?", ("trees",)),
        ("What is the name of the cub's mother?", ("mother",)),
        # A count of people is told by its number, whatever word stands behind it.
        ("How many people watched the match?", ()),
        ("Is the bridge open?", ()),
    ],
)
def test_what_an_answer_must_tell(question: str, words: tuple[str, ...]) -> None:
    assert wanted(asked(question)) == words


@pytest.mark.parametrize(
    ("word", "text", "is_told"),
    [
        ("dividend", "Acme made a profit of 4 million crowns.", False),
        ("dividend", "Acme pays a dividend of 3 crowns.", True),
        ("hired", "The firm Oakes was sacked.", True),  # the opposite answers as well
        ("trees", "The storm brought down 12 masts.", False),
    ],
)
def test_a_word_is_told_by_itself_or_by_what_it_means(word: str, text: str, is_told: bool) -> None:
    assert told(word, text, stems(text), None) is is_told


def test_nothing_is_said_of_a_dividend_by_telling_the_profit() -> None:
    profit = "Acme made a profit of 4 million crowns in the quarter."

    assert answers("What profit did Acme make in the quarter?", profit) == [profit]
    assert answers("What dividend will Acme pay for the quarter?", profit) == []


def test_an_opinion_before_the_vote_is_no_result() -> None:
    question = asked("What was the result of the vote on the dog tax?")

    assert not came_out(question, "The dog tax, about time.")
    assert came_out(question, "The council adopted the dog tax.")
    assert came_out(question, "Der Rat hat die Steuer abgelehnt.")
    assert came_out(asked("What is the dog tax?"), "The dog tax, about time.")


@pytest.mark.parametrize(
    ("question", "sentence", "present"),
    [
        # Who tells it has not done it.
        ("Who started the fire?", "The fire is out, said Ada Ferrow of the brigade.", 0.0),
        ("Who started the fire?", "HARBOUR (cd) – The fire is out.", 0.0),
        ("Who said that the fire is out?", "The fire is out, said Ada Ferrow.", 1.0),
        ("Who started the fire?", "Ada Ferrow started it, said the brigade.", 1.0),
        ("Wer hat das Feuer gelegt?", "Das Feuer ist aus, sagte Ada Ferrow.", 0.0),
        ("Who will open the hall?", "So far nobody has been invited.", 1.0),
    ],
)
def test_a_teller_is_no_doer(question: str, sentence: str, present: float) -> None:
    assert type_present("person", question, sentence) == present


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("What is the completion date of the roundabout?", "time"),
        ("What dividend will Acme pay?", "number"),
        ("What budget does the town have?", "number"),
    ],
)
def test_the_kind_of_answer_is_read_off_the_noun(text: str, kind: str) -> None:
    assert asked(text).expects == kind


@pytest.mark.parametrize(
    ("question", "text", "over"),
    [
        ("How did the council vote on the dog tax?", "The council decides on the dog tax.", False),
        ("How did the council vote on the dog tax?", "The outcome is open, said Ada.", False),
        ("How did the council vote on the dog tax?", "By 20 votes to 19 it was adopted.", True),
        ("How did the Rovers play?", "Half-time: the Rovers lead 2-1.", False),
        ("How did the Rovers play?", "The Rovers beat Tarn 2-1.", True),
        ("Who won the match?", "Kick-off at 14:39: Rovers against Tarn, 0-0.", False),
        ("Wie hat der Rat über die Steuer abgestimmt?", "Der Rat stimmt morgen ab.", False),
        ("Wie hat der Rat über die Steuer abgestimmt?", "Mit 20 zu 19 Stimmen angenommen.", True),
        ("¿Cómo votó el pleno?", "El pleno rechazó la tasa.", True),
        ("Comment a voté le conseil ?", "Le conseil a rejeté la taxe.", True),
    ],
)
def test_an_announcement_or_an_interim_state_is_no_outcome(
    question: str, text: str, over: bool
) -> None:
    assert came_out(asked(question), text) is over


def test_an_outcome_answers_the_words_that_ask_for_one() -> None:
    vote = asked("What was the result of the vote on the dog tax?")

    assert outcome(vote, "The council adopted the tax.") == {"result", "vote"}
    assert outcome(vote, "The Rovers beat Tarn 2-1.") == {"result"}
    assert outcome(vote, "The council will decide on Monday.") == frozenset()
    assert matter(vote) == {"dog", "tax"}
    assert matter(asked("What is the dog tax?")) == frozenset()


def test_the_vote_on_something_else_is_no_answer() -> None:
    cobbles = "By 29 votes to 10 the council adopted the motion on the cobbles of Mason Street."

    assert answers("How did the council vote on the cobbles of Mason Street?", cobbles) == [cobbles]
    assert answers("How did the council vote on the harbour wind park?", cobbles) == []


def test_the_towns_name_in_the_towns_own_paper_singles_out_nothing() -> None:
    lifted = "The storm has passed; all storm warnings are lifted."
    told_of = answers(
        "Is there a storm warning in force for Tarn?",
        lifted,
        "TARN – The market hall is open again.",
        "TARN – Ada Ferrow won the chess cup.",
        "TARN – The library opens on Sunday.",
    )

    assert told_of[:1] == [lifted]


@pytest.mark.parametrize(
    ("question", "sentence", "present"),
    [
        ("What pay rise did the drivers get?", "Wages rise by 3.9 per cent.", 1.0),
        ("What pay rise did the drivers get?", "Backlogs are cleared within four days.", 0.0),
        ("How many people watched the match?", "Under way: Rovers against Tarn, 0-0.", 0.0),
    ],
)
def test_numbers_of_another_kind_do_not_answer(
    question: str, sentence: str, present: float
) -> None:
    assert type_present("number", question, sentence) == present


@pytest.mark.parametrize(
    ("text", "names_one"),
    [
        ("Ada Ferrow and the new mayor had lentils.", False),
        ("The mayor opened the hall.", False),
        ("Ada Ferrow was sworn in as mayor of Tarn.", True),
        ("Mayor Ada Ferrow opened the hall.", True),
        ("The mayor of Tarn, Ada Ferrow, opened the hall.", True),
        ("The hall was opened.", True),  # says nothing of an office: other rules judge it
    ],
)
def test_an_office_is_answered_by_who_has_it(text: str, names_one: bool) -> None:
    assert holds(asked("Who is the mayor of Tarn?"), text) is names_one


def test_of_a_state_that_turned_the_later_report_leads_though_within_the_hour() -> None:
    stopped = "The ferry to Gull Island has stopped running at the moment because of fog."
    running = "The ferry to Gull Island is running again."

    assert answers("Is the ferry to Gull Island running?", stopped, running)[:1] == [running]
    assert answers("Is the ferry to Gull Island running?", running, stopped)[:1] == [stopped]


def test_a_market_and_a_hall_are_no_market_hall() -> None:
    hall = "The market hall is open again."
    another = "The swimming hall is closed.\n\nPeople at the market spoke of little else."

    assert answers("Is the market hall open?", hall, "The market hall has a new roof.", another)[
        :1
    ] == [hall]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("When will the Chapel Steps railing be finished?", ("railing",)),
        ("Is the swimming pool in Fernhill open?", ("pool",)),
        ("Did the Rovers play?", ()),
    ],
)
def test_what_is_named_after_a_place_is_not_the_place(
    question: str, words: tuple[str, ...]
) -> None:
    assert wanted(asked(question)) == words


def test_how_many_watched_one_match_is_not_told_by_another() -> None:
    crowd = "The final score of Women v Harrow is 2-2, watched by 368 people."

    assert answers("How many people watched the Women against Harrow?", crowd) == [crowd]
    assert answers("How many people watched the Women against Fallow?", crowd) == []


def test_what_said_no_before_it_turned_is_not_told_beside_the_yes() -> None:
    texts = {
        "Bins will not be emptied until further notice.": NOW - timedelta(days=2),
        "The bins are emptied again from today.": NOW - timedelta(hours=1),
    }

    assert quoted("Are the bins emptied?", texts) == ["The bins are emptied again from today."]


def test_that_it_is_over_does_not_say_why_it_was() -> None:
    over = "The bridge is open again."
    why = "The bridge was closed after a lorry broke the railing."

    assert answers("Why was the bridge closed?", why, over)[0] == why


@pytest.mark.parametrize(
    ("sentence", "present"),
    [
        ("The tram line runs from Station Street to Saltmarsh Quay.", 0.0),
        ("The tram line is built by Oakes & Sons.", 1.0),
    ],
)
def test_a_place_is_no_company(sentence: str, present: float) -> None:
    question = "Which company will build the tram line?"

    assert type_present("text", question, sentence) == present
