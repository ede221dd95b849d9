"""The questions of the how-to are read as it says."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

from gnomon.answer.base import Question, Turn
from gnomon.answer.outlets import asked_of
from gnomon.answer.parts import apart
from gnomon.answer.plan import plan
from gnomon.types import SourceState

HOW_TO = Path(__file__).parents[2] / "docs" / "how-to" / "ask.md"
NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
FOLLOWED = (
    SourceState(name="herald", type="feed", title="The Oldgate Herald"),
    SourceState(name="bbc", type="feed", title="BBC News: World"),
    SourceState(name="toots", type="mastodon", title="Oldgate on Mastodon"),
)


def rows() -> list[str]:
    """What is written, row by row."""
    return re.findall(r"^\| (?!you write|-)(.+?) \|", HOW_TO.read_text("utf-8"), re.MULTILINE)


def read(text: str, *before: str) -> list[Question]:
    history = tuple(Turn(question=one, answer="") for one in before)
    return [asked_of(part, FOLLOWED) for part in apart(Question(text=text, history=history))]


def test_every_row_holds() -> None:
    assert len(rows()) == 11
    questions = [re.split(r"(?<=[?])\s(?=[A-Z…])", one) for one in rows()]
    state, polite, brief, large, called, narrowed, people, moments, two, *_ = questions

    assert plan(read(state[0])[0], NOW).state
    assert read(polite[0])[0].text == "who won the match?"
    assert read(brief[0])[0].max_sentences == 1
    assert [plan(read(q)[0], NOW).overview for q in large] == [(), ("Kyiv",), ()]
    assert [read(q)[0].sources for q in called] == [("herald",), ("bbc",), ("toots",)]
    assert read(narrowed[0])[0].authors == ("harbourmaster",)
    ends = [end.strip(" ,") for end in narrowed[1].split("…") if end.strip()]
    told = [read(f"What happened at the pier {end}?")[0] for end in ends]
    assert [(q.domains, q.langs, q.kinds) for q in told] == [
        (("bbc.co.uk",), (), ()),
        ((), ("de",), ()),
        ((), (), ("post",)),
    ]
    assert [read(q)[0].kinds for q in people] == [("post", "comment")] * 2
    assert plan(read(moments[0])[0], NOW).as_of == NOW.replace(hour=12)
    assert plan(read(moments[1])[0], NOW).since is not None
    assert len(read(two[0])) == 2
