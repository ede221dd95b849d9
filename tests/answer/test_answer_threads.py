"""Stored answers come back as they were, keep their evidence, and form conversations."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import msgspec
import pytest

from gnomon.answer.threads import MAX_TURNS, Threads
from gnomon.clock import to_us
from gnomon.errors import StoreError
from gnomon.record.base import Life
from gnomon.types import (
    Answer,
    Citation,
    Context,
    Disagreement,
    Sentence,
    Verdict,
    VerdictKind,
)

WHEN = datetime(2026, 5, 4, tzinfo=UTC)


class Pins:
    """What is pinned, as a record would keep it."""

    def __init__(self) -> None:
        self.held: dict[str, list[int]] = {}

    def pin(self, holder: str, seqs: Any) -> None:
        self.held[holder] = list(seqs)

    def unpin(self, holder: str) -> None:
        self.held.pop(holder, None)


def answer(n: int) -> Answer:
    cited = Citation(number=1, key="k", version=1, seq=n, start=0, end=4, quote="Yes.")
    said = Sentence(
        text="Yes.", citations=(1,), verdict=Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
    )
    return Answer(
        id=f"ans_{n}", question=f"Question {n}?", created_at=WHEN, as_of=WHEN,
        sentences=(said,), citations=(cited,), timings_ms={"plan": 1.5},
    )  # fmt: skip


def test_an_answer_survives_closing(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    threads.save(
        "a", answer=answer(1), response={"id": "a", "n": [1, {"x": None}]}, previous_id=None
    )
    threads.close()
    threads = Threads(tmp_path / "answers.db")
    stored = threads.get("a")
    assert stored is not None
    assert stored.answer == answer(1)
    assert stored.response == {"id": "a", "n": [1, {"x": None}]}
    assert threads.get("b") is None
    threads.close()
    threads.close()


def test_saving_again_replaces(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    threads.save("a", answer=answer(1), response={}, previous_id=None)
    threads.save("a", answer=answer(2), response={"n": 2}, previous_id=None)
    stored = threads.get("a")
    assert stored is not None
    assert stored.answer == answer(2)
    assert len(threads.list()) == 1
    threads.close()


def test_history_is_the_chain_oldest_first(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    for n in range(30):
        threads.save(f"a{n}", answer=answer(n), response={}, previous_id=f"a{n - 1}" if n else None)
    turns = threads.history("a29")
    assert [t.question for t in turns] == [f"Question {n}?" for n in range(30 - MAX_TURNS, 30)]
    assert turns[-1].answer == "Yes. [1]"
    assert threads.history("unknown") == ()
    threads.close()


def test_a_circle_of_answers_ends(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    threads.save("a", answer=answer(1), response={}, previous_id="b")
    threads.save("b", answer=answer(2), response={}, previous_id="a")
    assert len(threads.history("a")) == 2
    threads.close()


def test_cited_versions_are_pinned_while_the_answer_is_kept(tmp_path: Path) -> None:
    pins = Pins()
    threads = Threads(tmp_path / "answers.db", pins)
    threads.save("a", answer=answer(7), response={}, previous_id=None)
    assert pins.held == {"a": [7]}
    assert threads.delete("a")
    assert pins.held == {}
    assert not threads.delete("a")
    assert threads.get("a") is None
    threads.close()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    pins = Pins()
    threads = Threads(tmp_path / "answers.db", pins, limit=3)
    for n in range(6):
        threads.save(f"a{n}", answer=answer(n + 1), response={}, previous_id=None)
    assert [s.id for s in threads.list()] == ["a5", "a4", "a3"]
    assert [s.id for s in threads.list(limit=1, before_id="a5")] == ["a4"]
    assert set(pins.held) == {"a3", "a4", "a5"}
    threads.close()


async def test_retention_leaves_what_a_stored_answer_cites(empty_town: Any, tmp_path: Path) -> None:
    from datetime import timedelta

    cited = empty_town.put(1, "The ferry to Dunmarrow leaves at 9:30 daily.", key="feed:ferry")
    other = empty_town.put(1, "The tram to Fernhill is late again.", key="feed:tram")
    answered = await empty_town.ask("When does the ferry to Dunmarrow leave?")
    threads = Threads(tmp_path / "answers.db", empty_town.record)
    threads.save("a", answer=answered, response={}, previous_id=None)
    later = empty_town.clock.now() + timedelta(days=9)
    empty_town.record.retain("herald", timedelta(days=1), now=later)
    assert empty_town.record.by_seq([cited.seq, other.seq])[0] is not None
    assert empty_town.record.by_seq([cited.seq, other.seq])[1] is None
    threads.delete("a")
    empty_town.record.retain("herald", timedelta(days=1), now=later)
    assert empty_town.record.by_seq([cited.seq]) == [None]
    threads.close()


def test_a_file_that_is_no_store_is_told(tmp_path: Path) -> None:
    (tmp_path / "answers.db").write_bytes(b"no database at all, just words" * 100)
    with pytest.raises(StoreError) as caught:
        Threads(tmp_path / "answers.db")
    assert "answers.db" in caught.value.message
    assert "move the file away" in str(caught.value.hint)


def test_a_store_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "answers.db"))
    db.pragma("user_version", 99)
    db.close()
    with pytest.raises(StoreError) as caught:
        Threads(tmp_path / "answers.db")
    assert caught.value.code == "store.newer"


def said(
    threads: Threads, id: str, question: str, previous_id: str | None = None, **more: Any
) -> None:
    asked = msgspec.structs.replace(answer(1), question=question, **more.pop("changes", {}))
    threads.save(id, answer=asked, response={}, previous_id=previous_id, **more)


def test_answers_that_follow_on_each_other_are_one_conversation(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    said(threads, "a", "Is the bridge open?")
    said(threads, "b", "Since when?", "a")
    said(threads, "c", "And the tram?", "a", changes={"created_at": WHEN + timedelta(hours=1)})
    said(threads, "d", "Who won the match?", changes={"created_at": WHEN + timedelta(hours=2)})
    found = threads.conversations("local")
    assert [(c.title, c.answers) for c in found] == [
        ("Who won the match?", 1),
        ("Is the bridge open?", 3),
    ]
    whole = threads.conversation("a", "local")
    assert whole is not None
    assert [(s.id, s.previous_id) for s in whole[1]] == [("a", None), ("b", "a"), ("c", "a")]
    assert threads.get("c") is not None and threads.get("c").thread == "a"
    older = threads.conversations("local", before_us=to_us(found[0].updated_at))
    assert [c.id for c in older] == ["a"]
    threads.close()


def test_conversations_are_searched_renamed_and_put_into_folders(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    said(threads, "a", "Is the Mill Bridge open?")
    said(threads, "b", "Who won the match?")
    assert [c.id for c in threads.conversations("local", words="mill bri")] == ["a"]
    assert [c.id for c in threads.conversations("local", words="yes")] != []
    for strange in ('"', "a AND", "(", "NEAR(", "*", "-x", "title:x"):
        threads.conversations("local", words=strange)
    assert threads.rename("a", "local", title="Bridge", folder="Town")
    assert [c.title for c in threads.conversations("local", folder="Town")] == ["Bridge"]
    assert not threads.rename("nothing", "local", title="x")
    threads.close()


def test_nobody_sees_or_changes_what_others_asked(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    said(threads, "a", "Is the bridge open?", owner="ann")
    assert threads.conversations("bob") == [] and threads.conversation("a", "bob") is None
    assert threads.conversations("bob", words="bridge") == []
    assert threads.get("a", "bob") is None and threads.history("a", "bob") == ()
    assert not threads.delete("a", "bob") and not threads.rename("a", "bob", title="x")
    assert not threads.share("a", "bob", "token") and not threads.delete_conversation("a", "bob")
    assert threads.get("a", "ann") is not None and threads.get("a") is not None
    threads.close()


def test_sharing_ends_when_it_is_taken_back(tmp_path: Path) -> None:
    threads = Threads(tmp_path / "answers.db")
    said(threads, "a", "Is the bridge open?")
    assert threads.shared("secret") is None and threads.shared("") is None
    assert threads.share("a", "local", "secret")
    opened = threads.shared("secret")
    assert opened is not None and opened[0].id == "a" and len(opened[1]) == 1
    assert threads.share("a", "local", None)
    assert threads.shared("secret") is None
    threads.close()


def test_what_is_deleted_is_nowhere_any_more(tmp_path: Path) -> None:
    pins = Pins()
    threads = Threads(tmp_path / "answers.db", pins)
    said(threads, "a", "Where is the Quaggamire hidden?")
    said(threads, "b", "Since when, Quaggamire?", "a")
    assert threads.delete_conversation("a", "local")
    assert pins.held == {} and threads.conversations("local") == []
    threads.close()
    assert not (tmp_path / "answers.db-wal").exists()
    assert b"uaggamire" not in (tmp_path / "answers.db").read_bytes()


def test_a_store_of_the_first_version_gets_its_conversations(tmp_path: Path) -> None:
    db = apsw.Connection(str(tmp_path / "answers.db"))
    db.execute(
        "CREATE TABLE answer (id TEXT PRIMARY KEY, number INTEGER NOT NULL UNIQUE, "
        "previous_id TEXT, answer BLOB NOT NULL, response BLOB NOT NULL) WITHOUT ROWID"
    )
    empty = msgspec.msgpack.encode({})
    for n, (id, previous) in enumerate((("a", None), ("b", "a"), ("c", None))):
        packed = msgspec.msgpack.encode(answer(n))
        db.execute("INSERT INTO answer VALUES (?, ?, ?, ?, ?)", (id, n, previous, packed, empty))
    db.pragma("user_version", 1)
    db.close()
    threads = Threads(tmp_path / "answers.db")
    assert {c.id: c.answers for c in threads.conversations("local")} == {"a": 2, "c": 1}
    assert threads.history("b")[0].question == "Question 0?"
    threads.close()


def quoting(secret: str, *, also: bool) -> Answer:
    """Two sentences, each quoting its own document, and a third that rests on both."""

    def cited(number: int, key: str, quote: str) -> Citation:
        context = Context(relation="answers", key="p", version=1, text=f"{secret} as a parent")
        return Citation(
            number=number,
            key=key,
            version=1,
            seq=number,
            start=0,
            end=len(quote),
            quote=quote,
            title=f"A title about {quote}",
            context=(context,) if key == "open" else (),
        )

    verdict = Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
    both = Sentence(text="Both are near the harbour.", citations=(1, 2), verdict=verdict)
    return Answer(
        id="a",
        question="What is open?",
        created_at=WHEN,
        sentences=(
            Sentence(text=secret, citations=(1,), verdict=verdict),
            Sentence(text="The ferry sails at nine.", citations=(2,), verdict=verdict),
            *((both,) if also else ()),
        ),
        citations=(cited(1, "gone", secret), cited(2, "open", "The ferry sails at nine.")),
        closest=cited(3, "gone", secret),
        disagreements=(
            Disagreement(
                sentence=1, other=secret, citation=cited(1, "gone", secret), text=f"Says: {secret}"
            ),
        ),
        notes=(f"One says: {secret}",),
    )


def test_what_was_purged_goes_from_stored_answers_and_from_the_disk(tmp_path: Path) -> None:
    secret = "Ada Quill lives at 4 Tar Lane."
    gone: set[str] = set()
    path = tmp_path / "answers.db"
    threads = Threads(path, is_purged=lambda key, version: key in gone)
    text = f"{secret} [1] The ferry sails at nine. [2]"
    response = {
        "output": [{"text": text, "annotations": [{"start": text.index("[2]"), "title": secret}]}],
        "n": 1,
    }
    stored_as = quoting(secret, also=True)
    for id in ("read", "left"):
        threads.save(id, answer=stored_as, response=response, previous_id=None)
    kept = threads.get("read")
    assert kept is not None and kept.answer == stored_as and kept.response == response

    gone |= {"gone", "p"}
    kept = threads.get("read")
    assert kept is not None
    assert secret not in str(kept.answer) and secret not in str(kept.response)
    assert [s.text.strip() for s in kept.answer.sentences] == [
        "[purged]",
        "The ferry sails at nine.",
        "Both are near the harbour.",
    ]
    assert [c.quote.strip() for c in kept.answer.citations] == [
        "[purged]",
        "The ferry sails at nine.",
    ]
    assert kept.answer.citations[0].key == "gone", "the place that says that it is gone"
    assert kept.answer.citations[1].context[0].text.startswith("[purged] ")
    assert kept.answer.closest is not None and kept.answer.closest.quote.startswith("[purged] ")
    assert kept.answer.disagreements[0].other.startswith("[purged] ")
    output = kept.response["output"][0]
    assert output["text"][output["annotations"][0]["start"] :].startswith("[2]")
    assert threads.get("read") == kept
    assert [c.id for c in threads.conversations("local", words="ferry")] == ["left", "read"]
    assert [c.id for c in threads.conversations("local", words="Tar Lane")] == ["left"]

    assert threads.sweep(limit=1) == 1 and threads.sweep(1, limit=5) == 0
    assert threads.conversations("local", words="Tar Lane") == []
    threads.close()
    assert b"Tar Lane" not in b"".join(p.read_bytes() for p in tmp_path.glob("answers.db*"))


def test_a_record_that_knows_nothing_removes_nothing(tmp_path: Path, empty_town: Any) -> None:
    """A lost or older record is no purge."""
    record = empty_town.record
    threads = Threads(
        tmp_path / "answers.db",
        is_purged=lambda key, version: record.version(key, version).life is Life.PURGED,
    )
    threads.save("a", answer=quoting("A quote", also=False), response={}, previous_id=None)
    stored = threads.get("a")
    assert stored is not None and stored.answer == quoting("A quote", also=False)
    threads.close()
