"""The baseline answers from snippets as a result page shows them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from gnomon.answer.base import Question
from gnomon.eval.houses import Inside, Local
from gnomon.eval.snippets import SNIPPET_CHARS, Snippets, shown
from gnomon.settings import AnswerSettings
from gnomon.types import Document, Upsert

SEEN = datetime(2026, 5, 4, 8, tzinfo=UTC)


def post(name: str, text: str, hours: float) -> tuple[str, Upsert]:
    moment = SEEN + timedelta(hours=hours)
    document = Document(key=name, source="herald", kind="post", text=text, observed_at=moment)
    return "herald", Upsert(document)


def test_the_stretch_with_most_words_of_the_question_is_shown() -> None:
    text = "The fair begins at noon. Bring a coat. The Mill Bridge is closed until Friday. " * 3
    span = shown(text, "Is the Mill Bridge closed?")
    assert "The Mill Bridge is closed until Friday." in text[span.start : span.end]
    assert span.end - span.start <= SNIPPET_CHARS
    long = "word " * 100
    cut = shown(long, "word?")
    assert cut.end - cut.start == SNIPPET_CHARS


async def test_it_answers_as_of_a_moment_and_never_weighs_newness(tmp_path: Path) -> None:
    history = [
        post("early", "The Mill Bridge is open to all traffic.", 0),
        post("late", "Since noon nobody can cross at the old mill.", 2),
        post("other", "The museum shows maps of the coast.", 0),
    ]
    house = Inside(tmp_path / "house", history, Local(None), AnswerSettings())
    try:
        baseline = Snippets(house, house.record, None)
        asked = await baseline.ask(Question(text="Is the Mill Bridge open?"))
        first = asked.answer.citations[0]
        assert first.key == "early" and first.quote == "The Mill Bridge is open to all traffic."
        before = Question(text="Is the Mill Bridge open?", as_of=SEEN - timedelta(hours=1))
        assert (await baseline.ask(before)).answer.abstained
        assert (await baseline.ask(Question(text="Who won the cup?"))).answer.abstained
    finally:
        await house.aclose()
