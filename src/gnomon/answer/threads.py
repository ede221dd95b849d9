"""Finished answers, and the conversations that they form, in one SQLite file.

What an answer cites is pinned in the record for as long as the answer is kept, so that retention
cannot take a citation's words away. A purge can, and then they go from here, too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeAlias

import apsw
import msgspec

from gnomon.answer import purged
from gnomon.answer.base import Turn
from gnomon.clock import from_us, to_us
from gnomon.database import Database
from gnomon.errors import StoreError
from gnomon.types import Answer

MAX_TURNS = 20
"""Turns of a conversation that a follow-up is read with; older ones are kept, not read."""

LOCAL_OWNER = "local"
"""Whose answers are that nobody signed in for."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS answer (
  id TEXT PRIMARY KEY,
  number INTEGER NOT NULL UNIQUE,
  previous_id TEXT,
  answer BLOB NOT NULL,
  response BLOB NOT NULL
) WITHOUT ROWID;
"""
_CONVERSATIONS = """
ALTER TABLE answer ADD COLUMN owner TEXT NOT NULL DEFAULT 'local';
ALTER TABLE answer ADD COLUMN thread TEXT NOT NULL DEFAULT '';
CREATE INDEX answer_thread ON answer(thread);
CREATE TABLE thread (
  id TEXT PRIMARY KEY, owner TEXT NOT NULL, title TEXT NOT NULL, folder TEXT NOT NULL DEFAULT '',
  created INTEGER NOT NULL, updated INTEGER NOT NULL, token TEXT UNIQUE
);
CREATE INDEX thread_updated ON thread(owner, updated);
CREATE VIRTUAL TABLE said USING fts5(
  id UNINDEXED, thread UNINDEXED, owner UNINDEXED, words, tokenize = 'unicode61'
);
INSERT INTO said(said, rank) VALUES ('secure-delete', 1);
"""
_VERSION = 2
_CODE = "store.answers"
_HINT = "Free space on the disk, or move the file away: it holds answers, no sources."
_Conversations: TypeAlias = "list[Conversation]"
_Whole: TypeAlias = "tuple[Conversation, list[Stored]]"
_WORD = re.compile(r"\w+")
_TITLE_CHARS = 80
_ANSWER = "id, answer, response, previous_id, thread"
_ONE = f"SELECT {_ANSWER} FROM answer WHERE id = ?1 AND (?2 IS NULL OR owner = ?2)"
_CONVERSATION = (
    "id, title, folder, created, updated, token, "
    "(SELECT count(*) FROM answer WHERE answer.thread = thread.id)"
)


class Pins(Protocol):
    """The part of the record that keeps cited versions."""

    def pin(self, holder: str, seqs: Sequence[int]) -> None:
        """Keep these versions."""
        ...

    def unpin(self, holder: str) -> None:
        """Release them."""
        ...


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as it was kept."""

    id: str
    answer: Answer
    response: Mapping[str, Any]
    """The Response object as it was sent; empty for answers to the native API."""
    previous_id: str | None = None
    thread: str = ""
    """Id of the conversation: that of its first answer."""


class Conversation(msgspec.Struct, frozen=True, kw_only=True):
    """Answers that follow on each other, branches included."""

    id: str
    title: str
    folder: str = ""
    created_at: datetime
    updated_at: datetime
    answers: int = 0
    token: str = ""
    """Whoever knows it may read the conversation; empty if it is not shared."""


class Threads:
    """Keeps the newest `limit` answers. Safe to call from any thread.

    Every answer has an owner. Where an `owner` is given, nothing of others is found; None means
    that whoever asks has a right to all of them.
    """

    def __init__(
        self,
        path: Path,
        pins: Pins | None = None,
        *,
        limit: int = 100_000,
        shown: Callable[[Answer], object] = lambda answer: None,
        is_purged: purged.IsPurged = lambda key, version: False,
    ) -> None:
        """Open or create the store at `path`. Raises StoreError.

        `shown` is told of every stored answer that is read again, in the reader's thread.
        `is_purged` tells whether a document (key, version) may not be shown any more: its words
        are then removed from the answers that are read, for good.
        """
        self._path = path
        self._pins = pins
        self._limit = limit
        self._shown = shown
        self._is_purged = is_purged
        self._db = Database(
            path,
            _SCHEMA,
            version=_VERSION,
            holds="answers",
            code=_CODE,
            hint=_HINT,
            upgrade=self._upgrade,
        )

    def _upgrade(self, db: apsw.Connection, found: int) -> None:
        """Sort answers from before there were conversations into those that they form."""
        db.execute(_CONVERSATIONS)
        for (id,) in list(db.execute("SELECT id FROM answer ORDER BY number")):
            (row,) = db.execute(_ONE, (id, None))
            stored = self._stored(row)
            _file(db, id, stored.answer, stored.previous_id, LOCAL_OWNER)

    def save(
        self,
        id: str,
        *,
        answer: Answer,
        response: Mapping[str, Any],
        previous_id: str | None,
        owner: str = LOCAL_OWNER,
    ) -> None:
        """Keep an answer under `id`, following on `previous_id`; the oldest beyond the limit go."""
        seqs = {c.seq for c in answer.citations if c.seq}
        if answer.closest is not None and answer.closest.seq:
            seqs.add(answer.closest.seq)
        if self._pins is not None and seqs:
            self._pins.pin(id, sorted(seqs))
        with self._db.transaction() as db:
            db.execute(
                "INSERT INTO answer(id, number, previous_id, answer, response, owner) VALUES "
                "(?1, (SELECT coalesce(max(number), 0) + 1 FROM answer), ?2, ?3, ?4, ?5) "
                "ON CONFLICT(id) DO UPDATE SET previous_id = ?2, answer = ?3, response = ?4",
                (id, previous_id, *_packed(answer, response), owner),
            )
            _file(db, id, answer, previous_id, owner)
            oldest = "number <= (SELECT max(number) FROM answer) - ?"
            dropped = _forget(db, oldest, (self._limit,))
        self._release(dropped)

    def get(self, id: str, owner: str | None = None) -> Stored | None:
        """The stored answer, None if unknown."""
        rows = self._db.read(_ONE, (id, owner))
        return self._again(self._stored(rows[0])) if rows else None

    def delete(self, id: str, owner: str | None = None) -> bool:
        """Forget it and release what it cites; False if unknown. Answers after it stay."""
        return self._delete("id = ?1 AND (?2 IS NULL OR owner = ?2)", (id, owner))

    def list(self, limit: int = 50, before_id: str | None = None) -> list[Stored]:
        """The newest answers first, from before `before_id` if that is given."""
        rows = self._db.read(
            f"SELECT {_ANSWER} FROM answer WHERE number < "
            "coalesce((SELECT number FROM answer WHERE id = ?1), 9223372036854775807) "
            "ORDER BY number DESC LIMIT ?2",
            (before_id, max(0, min(limit, 1_000))),
        )
        return [self._current(self._stored(row)) for row in rows]

    def history(self, id: str, owner: str | None = None) -> tuple[Turn, ...]:
        """The turns that end with `id`, oldest first, at most 20; empty if unknown."""
        turns: list[Turn] = []
        seen: set[str] = set()
        at: str | None = id
        while at is not None and at not in seen and len(turns) < MAX_TURNS:
            seen.add(at)
            stored = self.get(at, owner)
            if stored is None:
                break
            turns.append(Turn(question=stored.answer.question, answer=stored.answer.text))
            at = stored.previous_id
        return tuple(reversed(turns))

    # -- conversations ---------------------------------------------------------
    def conversations(
        self,
        owner: str,
        *,
        words: str = "",
        folder: str | None = None,
        limit: int = 50,
        before_us: int | None = None,
    ) -> _Conversations:
        """An owner's conversations, the newest first; with `words`, those in which they stand."""
        clauses, bound = ["owner = ?", "updated < ?"], [owner, before_us or 2**62]
        if words.strip():
            clauses.append("id IN (SELECT thread FROM said WHERE said MATCH ? AND owner = ?)")
            bound += [_quoted(words), owner]
        if folder is not None:
            clauses.append("folder = ?")
            bound.append(folder)
        rows = self._db.read(
            f"SELECT {_CONVERSATION} FROM thread WHERE {' AND '.join(clauses)} "
            "ORDER BY updated DESC, id LIMIT ?",
            (*bound, max(0, min(limit, 1_000))),
        )
        return [_conversation(row) for row in rows]

    def conversation(self, id: str, owner: str) -> _Whole | None:
        """A conversation and its answers in order of asking; None if the owner has none such."""
        return self._whole("id = ? AND owner = ?", (id, owner))

    def shared(self, token: str) -> _Whole | None:
        """The conversation that this token opens."""
        return self._whole("token = ?", (token,)) if token else None

    def rename(
        self, id: str, owner: str, *, title: str | None = None, folder: str | None = None
    ) -> bool:
        """Give it another title or folder; False if the owner has none such."""
        change = (
            "UPDATE thread SET title = coalesce(?, title), folder = coalesce(?, folder) "
            "WHERE id = ? AND owner = ?"
        )
        return self._db.write((change, (title, folder, id, owner))) > 0

    def share(self, id: str, owner: str, token: str | None) -> bool:
        """Let whoever knows `token` read it, None: nobody any more; False if there is none."""
        change = "UPDATE thread SET token = ? WHERE id = ? AND owner = ?"
        return self._db.write((change, (token, id, owner))) > 0

    def delete_conversation(self, id: str, owner: str) -> bool:
        """Forget all its answers for good; False if the owner has none such."""
        return self._delete("thread = ? AND owner = ?", (id, owner))

    def _whole(self, where: str, bound: tuple[Any, ...]) -> _Whole | None:
        found = self._db.read(f"SELECT {_CONVERSATION} FROM thread WHERE {where}", bound)
        if not found:
            return None
        conversation = _conversation(found[0])
        rows = self._db.read(
            f"SELECT {_ANSWER} FROM answer WHERE thread = ? ORDER BY number", (conversation.id,)
        )
        return conversation, [self._again(self._stored(row)) for row in rows]

    def _delete(self, where: str, bound: tuple[Any, ...]) -> bool:
        with self._db.transaction() as db:
            ids = _forget(db, where, bound)
        self._release(ids)
        return bool(ids)

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    def _stored(self, row: tuple[Any, ...]) -> Stored:
        try:
            return Stored(
                id=row[0],
                answer=msgspec.msgpack.decode(row[1], type=Answer),
                response=msgspec.msgpack.decode(row[2], type=dict[str, Any]),
                previous_id=row[3],
                thread=row[4],
            )
        except (msgspec.DecodeError, msgspec.ValidationError) as error:
            raise StoreError(
                f"The answers in {self._path} cannot be read: {error}.",
                code=_CODE,
                hint=_HINT,
                path=str(self._path),
            ) from error

    def sweep(self, after: int = 0, limit: int = 200) -> int:
        """Remove what was purged from stored answers, `limit` of them after number `after`.

        Returns the number to go on from, 0 once all were looked at.
        """
        rows = self._db.read(
            f"SELECT {_ANSWER}, number FROM answer WHERE number > ? ORDER BY number LIMIT ?",
            (after, limit),
        )
        for row in rows:
            self._current(self._stored(row))
        return int(rows[-1][-1]) if len(rows) == limit else 0

    def _again(self, stored: Stored) -> Stored:
        stored = self._current(stored)
        self._shown(stored.answer)
        return stored

    def _current(self, stored: Stored) -> Stored:
        """The answer without what was purged, here and on the disk."""
        gone = purged.words(stored, self._is_purged)
        if not gone:
            return stored
        stored = purged.without(stored, gone)
        packed = _packed(stored.answer, stored.response)
        self._db.write(
            ("UPDATE answer SET answer = ?, response = ? WHERE id = ?", (*packed, stored.id)),
            ("UPDATE said SET words = ? WHERE id = ?", (_words(stored.answer), stored.id)),
        )
        return stored

    def _release(self, ids: Sequence[str]) -> None:
        if self._pins is not None:
            for id in ids:
                self._pins.unpin(id)


def _file(
    db: apsw.Connection, id: str, answer: Answer, previous_id: str | None, owner: str
) -> None:
    """Put an answer into its conversation, and its words where they are searched."""
    at = to_us(answer.created_at)
    rows = db.execute("SELECT thread FROM answer WHERE id = ?", (previous_id,)).fetchall()
    thread = str(rows[0][0]) if rows and rows[0][0] else id
    db.execute("UPDATE answer SET thread = ? WHERE id = ?", (thread, id))
    db.execute(
        "INSERT INTO thread(id, owner, title, created, updated) VALUES (?1, ?2, ?3, ?4, ?4) "
        "ON CONFLICT(id) DO UPDATE SET updated = max(updated, ?4)",
        (thread, owner, _title(answer.question), at),
    )
    db.execute("DELETE FROM said WHERE id = ?", (id,))
    db.execute("INSERT INTO said VALUES (?, ?, ?, ?)", (id, thread, owner, _words(answer)))


def _forget(db: apsw.Connection, where: str, bound: tuple[Any, ...]) -> list[str]:
    """Take answers out of every table, and conversations without one as well; their ids."""
    ids = [str(row[0]) for row in db.execute(f"SELECT id FROM answer WHERE {where}", bound)]
    for id in ids:
        db.execute("DELETE FROM answer WHERE id = ?", (id,))
        db.execute("DELETE FROM said WHERE id = ?", (id,))
    if ids:
        db.execute("DELETE FROM thread WHERE id NOT IN (SELECT thread FROM answer)")
    return ids


def _packed(answer: Answer, response: Mapping[str, Any]) -> tuple[bytes, bytes]:
    return msgspec.msgpack.encode(answer), msgspec.msgpack.encode(response)


def _words(answer: Answer) -> str:
    return f"{answer.question}\n{answer.text}"


def _conversation(row: Sequence[Any]) -> Conversation:
    id, title, folder, created, updated, token, answers = row
    return Conversation(
        id=id,
        title=title,
        folder=folder,
        created_at=from_us(created),
        updated_at=from_us(updated),
        answers=answers,
        token=token or "",
    )


def _title(question: str) -> str:
    line = " ".join(question.split())
    return line if len(line) <= _TITLE_CHARS else line[:_TITLE_CHARS] + "…"


def _quoted(words: str) -> str:
    """Every word must stand there, whatever signs they carry; the last may be a beginning."""
    found = _WORD.findall(words)[:20]
    return " ".join(f'"{word}"' for word in found) + "*" if found else '""'
