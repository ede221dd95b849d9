"""Words of purged documents leave runs and watches, and nothing else does."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import example, given
from hypothesis import strategies as st

from gnomon.answer import purged
from gnomon.answer.deep.base import Event, Finding, Report, Row, Run, Section
from gnomon.answer.deep.runs import RunStore
from gnomon.answer.diff import Claim, ClaimChange
from gnomon.answer.watches import Watch, WatchEvent, WatchStore
from gnomon.types import Citation, Sentence, Verdict, VerdictKind

WHEN = datetime(2026, 5, 4, tzinfo=UTC)
SECRET = "Ada Quill lives at 4 Tar Lane."
OPEN = "The ferry sails at nine."
SURE = Verdict(kind=VerdictKind.SUPPORTED, score=1.0)


def cited(number: int, key: str, quote: str) -> Citation:
    return Citation(number=number, key=key, version=1, seq=number, start=0, end=9, quote=quote)


def run_of(status: Any) -> Run:
    both = (cited(1, "gone", SECRET), cited(2, "open", OPEN))
    return Run(
        id="r",
        owner="o",
        question="Where does Ada live?",
        created_at=WHEN,
        status=status,
        notebook=[
            Finding(text="Ada lives in Tar Lane", citations=both[:1], verdict=SURE,
                    direction="Ada", why="question"),
            Finding(text=OPEN, citations=both[1:], verdict=SURE, direction="ferry", why="entity"),
        ],
        report=Report(
            summary=(Sentence(text="Ada lives in Tar Lane.", citations=(1,), verdict=SURE),),
            sections=(
                Section(
                    heading="Ferry",
                    sentences=(
                        Sentence(text=OPEN, citations=(2,), verdict=SURE),
                        Sentence(text="Both are known.", citations=(1, 2), verdict=SURE),
                    ),
                ),
            ),
            timeline=(Row(at=WHEN, text="She moved in.", citation=1),),
            uncertain=(f"Whether “{SECRET}” is true.",),
            citations=both,
        ),
    )  # fmt: skip


def test_a_runs_report_notebook_and_events(tmp_path: Path) -> None:
    gone: set[str] = set()
    store = RunStore(tmp_path / "runs.db", is_purged=lambda key, version: key in gone)
    store.save(run_of("done"))
    store.add("r", Event(n=1, at=WHEN, name="noted", text=f"Noted: {SECRET}"))
    assert store.get("r") == run_of("done")
    gone.add("gone")
    (run,) = store.list("o")
    assert "Tar Lane" not in str(msgspec.to_builtins(run)) and "moved" not in str(run.report)
    assert run.report is not None
    assert [s.text for s in run.report.sections[0].sentences] == [OPEN, "Both are known."]
    assert run.report.citations[1].quote == OPEN and run.question == "Where does Ada live?"
    assert store.events("r")[0].text.startswith("Noted: [purged] ")
    assert store.get("r") == run
    store.close()
    assert b"Tar Lane" not in b"".join(p.read_bytes() for p in tmp_path.glob("runs.db*"))


def test_a_run_at_work_is_shown_without_and_left_to_its_worker(tmp_path: Path) -> None:
    store = RunStore(tmp_path / "runs.db", is_purged=lambda key, version: key == "gone")
    store.save(run_of("running"))
    shown = store.get("r")
    assert shown is not None and "Tar Lane" not in str(msgspec.to_builtins(shown))
    (resumed,) = store.unfinished()
    assert resumed == run_of("running")
    store.close()


def test_events_of_a_watch(tmp_path: Path) -> None:
    gone: set[str] = set()
    store = WatchStore(tmp_path / "watches.db", is_purged=lambda key, version: key in gone)
    watch = Watch(id="w", owner="o", question="Where?", created_at=WHEN, checked_at=WHEN, events=1)
    change = ClaimChange(
        status="changed",
        before=Claim(text=OPEN, citation=cited(1, "open", OPEN)),
        after=Claim(text="Ada moved to Tar Lane", citation=cited(2, "gone", SECRET)),
    )
    event = WatchEvent(n=1, at=WHEN, since=WHEN, summary=f"Now: {SECRET}", changes=(change,))
    store.save(watch, event)
    store.sweep()
    assert list(store.events("w")) == [event]
    gone.add("gone")
    store.sweep()
    gone.clear()  # it went for good
    (left,) = store.events("w")
    assert "Tar Lane" not in str(msgspec.to_builtins(left))
    assert left.changes[0].before == change.before and left.summary.startswith("Now: [purged] ")
    store.close()


_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda each: (
        st.lists(each, max_size=4)
        | st.dictionaries(
            st.sampled_from(["key", "version", "quote", "text", "citations", "citation", "number"])
            | st.text(max_size=5),
            each,
            max_size=6,
        )
    ),
    max_leaves=30,
)


@given(_json)
@example({"key": [1], "version": 1, "quote": ["x"], "citations": [{"number": [2]}, [3]]})
@example({"key": "k", "version": 1, "quote": {"x": 1}, "title": 3, "citation": True})
def test_any_json_is_walked_and_keeps_its_shape(value: Any) -> None:
    found = purged.words({"said": value}, lambda key, version: True)
    made = purged.without({"said": value}, found)
    assert shape(made) == shape({"said": value})
    assert not [word for word in found if len(word) > 12 and word in str(made)]


def shape(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: shape(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [shape(each) for each in value]
    return len(value) if isinstance(value, str) else value
