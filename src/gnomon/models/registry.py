"""The models of this home: which files, where they come from, what their gate found, which serves.

Everything said here is one JSON file that is replaced whole, so a kill at any moment leaves the
state before or the state after. The files themselves are copies of our own, named by their hash.
Several processes may use one folder. Nothing is loaded here.
"""

from __future__ import annotations

import fcntl
import hashlib
import math
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from itertools import groupby
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from gnomon.clock import Clock
from gnomon.errors import ConfigError, ModelTerminal, StoreError

OWN = "gnomon-own"
"""The model id under which whichever entry serves is asked."""

State: TypeAlias = Literal["candidate", "refused", "serving", "retired", "removed"]
Entries: TypeAlias = "list[Entry]"
Events: TypeAlias = "list[Event]"

_FILE, _BODIES, _PART = "registry.json", "files", ".part-"
_SCHEMA = 1
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_RESERVED = "gnomon"
_BLOCK_BYTES = 1 << 20
_MAGIC = b"GGUF"


class Check(msgspec.Struct, frozen=True, kw_only=True):
    """A figure beside the threshold that it has to reach; None where it is no finite number."""

    name: str
    value: float | None
    low: float | None = None
    high: float | None = None
    threshold: float | None
    passed: bool


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One version of a model."""

    name: str
    version: int
    sha256: str
    body_bytes: int
    format: Literal["gguf"] = "gguf"
    added_at: datetime
    lineage: Mapping[str, str] = {}
    """The way that led to it: corpus, tokens, run, configuration, parent; whatever is known."""
    checks: tuple[Check, ...] = ()
    """What its gate found. Without any, no gate has judged it."""
    state: State = "candidate"

    @property
    def id(self) -> str:
        """`name@version`."""
        return f"{self.name}@{self.version}"

    @property
    def passed(self) -> bool:
        """Whether a gate judged it and every figure reached its threshold."""
        return bool(self.checks) and all(check.passed for check in self.checks)


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """A change of what serves, or of what is there."""

    at: datetime
    what: Literal["use", "rollback", "remove"]
    model: str
    """`name@version` of what serves since, or was removed."""
    before: str = ""
    """What served until then; empty if nothing did."""


class _Book(msgspec.Struct, kw_only=True):
    schema: int = _SCHEMA
    entries: list[Entry] = []
    removed: list[Entry] = []
    """Entries whose files are gone. What is known of them stays, and so do their numbers."""
    served: list[str] = []
    """What served, without what was rolled back; the last one serves."""
    history: list[Event] = []


class Registry:
    """The models under one folder. Safe to use from any thread or process."""

    def __init__(self, folder: Path, clock: Clock) -> None:
        """Open the registry in `folder`; nothing is written before the first model is added."""
        self.folder = folder
        self._clock = clock

    # -- reading ---------------------------------------------------------------
    def list(self) -> Entries:
        """All entries in the order in which they were added, none removed. Raises StoreError."""
        return self._read().entries

    def history(self) -> Events:
        """Every change of what serves, and every removal, oldest first."""
        return self._read().history

    def serving(self) -> Entry | None:
        """The entry that serves; None before the first `use`."""
        book = self._read()
        return _find(book, book.served[-1]) if book.served else None

    def previous(self) -> Entry | None:
        """What `rollback` would let serve; None if nothing served before."""
        book = self._read()
        return _find(book, book.served[-2]) if len(book.served) > 1 else None

    def find(self, name: str, version: int | None = None) -> Entry:
        """The entry of that name: the version, else the newest. Raises ConfigError."""
        return _named(self._read(), name, version)

    def recall(self, name: str, version: int | None = None) -> Entry:
        """Like `find`, also among what was removed."""
        book = self._read()
        gone = [e for e in book.removed if e.name == name and version in (None, e.version)]
        there = [e for e in book.entries if e.name == name and version in (None, e.version)]
        return gone[-1] if gone and not there else _named(book, name, version)

    def stamp(self) -> tuple[int, int, int]:
        """Differs after every change, whoever made it; cheap."""
        try:
            found = (self.folder / _FILE).stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return (found.st_mtime_ns, found.st_ino, found.st_size)

    def path(self, entry: Entry) -> Path:
        """Where the model's file lies."""
        return self.folder / _BODIES / f"{entry.sha256}.gguf"

    def whole_path(self, entry: Entry) -> Path:
        """The same, after the file was read against its hash. Raises ModelTerminal."""
        path = self.path(entry)
        try:
            found = _sha256(path)
        except OSError as error:
            raise ModelTerminal(
                f"The file of {entry.id}, {path}, cannot be read: {error.strerror}.",
                code="model.missing",
                hint=f"Add it again: gnomon models add FILE --name {entry.name}",
                model=entry.id,
            ) from error
        if found != entry.sha256:
            raise ModelTerminal(
                f"The file of {entry.id} is damaged: {path} has SHA-256 {found}, not the "
                f"{entry.sha256} that it was added with.",
                code="model.damaged",
                hint=f"Remove it and add the model again: gnomon models add FILE "
                f"--name {entry.name}",
                model=entry.id,
            )
        return path

    # -- changing --------------------------------------------------------------
    def add(
        self,
        path: Path,
        *,
        name: str,
        lineage: Mapping[str, str] | None = None,
        checks: Sequence[Check] = (),
    ) -> Entry:
        """Copy the GGUF file `path` and enter it as the next version of `name`.

        With a check that failed the entry is refused for good. Adding the same file with the same
        checks again returns the entry that is there. Raises ConfigError, StoreError.
        """
        _must_be_name(name)
        kept = tuple(_finite(check) for check in checks)
        with self._changing() as book:
            sha256, body_bytes = self._copy(path)
            ours = [entry for entry in book.entries if entry.name == name]
            gone = [entry.version for entry in book.removed if entry.name == name]
            for entry in ours:
                if entry.sha256 == sha256 and entry.checks == kept:
                    return entry
            entry = Entry(
                name=name,
                version=max([0, *gone, *(e.version for e in ours)]) + 1,
                sha256=sha256,
                body_bytes=body_bytes,
                added_at=self._clock.now(),
                lineage=dict(lineage or {}),
                checks=kept,
                state="candidate" if all(c.passed for c in kept) else "refused",
            )
            book.entries.append(entry)
            self._write(book)
            return entry

    def use(self, name: str, version: int | None = None) -> Entry:
        """Let an entry serve: the version, else the newest. Raises ConfigError, ModelTerminal.

        An entry whose gate has not passed is refused.
        """
        with self._changing() as book:
            entry = _named(book, name, version)
            must_have_passed(entry)
            before = book.served[-1] if book.served else ""
            if before == entry.id:
                return entry
            book.served.append(entry.id)
            return self._turn(book, "use", before)

    def rollback(self) -> Entry:
        """Let serve again what served before. Raises ConfigError where nothing did."""
        with self._changing() as book:
            if len(book.served) < 2:
                raise ConfigError(
                    "No model served before the one that serves now."
                    if book.served
                    else "No model serves, so there is nothing to go back from.",
                    code="registry.no_rollback",
                    hint="`gnomon models list` shows what there is; "
                    "`gnomon models use NAME` lets it serve.",
                )
            before = book.served.pop()
            return self._turn(book, "rollback", before)

    def remove(self, name: str, version: int | None = None) -> Entry:
        """Take an entry and its file away; what is known of it stays. Raises ConfigError.

        Never what serves. Without a version, `name` must have only one.
        """
        with self._changing() as book:
            entry = _named(book, name, version)
            versions = [e.id for e in book.entries if e.name == name]
            if version is None and len(versions) > 1:
                raise ConfigError(
                    f"{name} has {len(versions)} versions, and none is named.",
                    code="registry.which",
                    hint=f"Name one of {', '.join(versions)}.",
                )
            if entry.state == "serving":
                raise ConfigError(
                    f"{entry.id} serves, so it cannot be removed.",
                    code="registry.serving",
                    hint="Let another one serve first: `gnomon models use NAME`.",
                )
            book.entries.remove(entry)
            entry = msgspec.structs.replace(entry, state="removed")
            book.removed.append(entry)
            book.served = [id for id in book.served if id != entry.id]
            book.served = [id for id, _ in groupby(book.served)]  # a rollback leads elsewhere
            book.history.append(Event(at=self._clock.now(), what="remove", model=entry.id))
            self._write(book)
            self._drop_bodies(book)
            return entry

    def _turn(self, book: _Book, what: Literal["use", "rollback"], before: str) -> Entry:
        now = book.served[-1]
        for at, entry in enumerate(book.entries):
            if entry.id == now:
                book.entries[at] = msgspec.structs.replace(entry, state="serving")
            elif entry.state == "serving":
                book.entries[at] = msgspec.structs.replace(entry, state="retired")
        book.history.append(Event(at=self._clock.now(), what=what, model=now, before=before))
        self._write(book)
        return _find(book, now)

    # -- the files -------------------------------------------------------------
    def _read(self) -> _Book:
        path = self.folder / _FILE
        try:
            book = msgspec.json.decode(path.read_bytes(), type=_Book)
        except FileNotFoundError:
            return _Book()
        except (OSError, msgspec.DecodeError) as error:
            raise StoreError(
                f"The registry of models {path} cannot be read: {error}.",
                code="store.registry",
                hint="Restore it from a backup, or move it away and add the models again: "
                f"their files are in {self.folder / _BODIES}.",
                path=str(path),
            ) from error
        if book.schema > _SCHEMA:
            raise StoreError(
                f"{path} was written by a newer Gnomon (schema {book.schema}, known: {_SCHEMA}).",
                code="store.newer",
                hint="Upgrade.",
                path=str(path),
            )
        return book

    @contextmanager
    def _changing(self) -> Iterator[_Book]:
        """What stands in the registry, while nobody else may change it."""
        try:
            (self.folder / _BODIES).mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("w")
        except OSError as error:
            raise self._unwritable(error) from error
        with lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield self._read()

    def _write(self, book: _Book) -> None:
        try:
            _replace(self.folder / _FILE, msgspec.json.format(msgspec.json.encode(book)))
        except OSError as error:
            raise self._unwritable(error) from error

    def _copy(self, source: Path) -> tuple[str, int]:
        """Have the content of `source` under its hash, durably; its hash and size."""
        bodies = self.folder / _BODIES
        for left in bodies.glob(f"{_PART}*"):  # by whoever was killed here; the lock is ours
            left.unlink(missing_ok=True)
        part = bodies / f"{_PART}{os.getpid()}"
        digest, body_bytes = hashlib.sha256(), 0
        try:
            file = source.open("rb")
        except OSError as error:
            raise ConfigError(
                f"{source} cannot be read: {error.strerror}.",
                code="registry.file",
                hint="Name a GGUF file, such as `gnomon forge export` writes.",
            ) from error
        with file:
            if file.read(len(_MAGIC)) != _MAGIC:
                raise ConfigError(
                    f"{source} is no GGUF file.",
                    code="registry.file",
                    hint="`gnomon forge export RUN FILE.gguf` writes one.",
                )
            file.seek(0)
            try:
                with part.open("wb") as out:
                    while block := file.read(_BLOCK_BYTES):
                        out.write(block)
                        digest.update(block)
                        body_bytes += len(block)
                    out.flush()
                    os.fsync(out.fileno())
                # A file of that hash that is there already may be damaged; this one is not.
                part.replace(bodies / f"{digest.hexdigest()}.gguf")
                _sync(bodies)
            except OSError as error:
                part.unlink(missing_ok=True)
                raise self._unwritable(error) from error
        return digest.hexdigest(), body_bytes

    def _drop_bodies(self, book: _Book) -> None:
        """Delete the files that only removed entries name, also where a kill left one."""
        kept = {entry.sha256 for entry in book.entries}
        try:
            for entry in book.removed:
                if entry.sha256 not in kept:
                    self.path(entry).unlink(missing_ok=True)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> StoreError:
        return StoreError(
            f"The registry of models {self.folder} cannot be written: {error.strerror or error}.",
            code="store.registry",
            hint="Make room on the disk, or let this user write there.",
            path=str(self.folder),
        )


def must_have_passed(entry: Entry) -> None:
    """Raise ModelTerminal unless a gate judged the entry and let it pass."""
    if entry.passed:
        return
    if not entry.checks:
        raise ModelTerminal(
            f"{entry.id} is refused: no gate has judged it.",
            code="gate.missing",
            hint=f"Add it with what its gate found: gnomon models add FILE --name {entry.name} "
            "--run FOLDER, or --checks FILE.json.",
            model=entry.id,
        )
    missed = "; ".join(_missed(check) for check in entry.checks if not check.passed)
    raise ModelTerminal(
        f"{entry.id} is refused by its gate: {missed}.",
        code="gate.refused",
        hint="What serves stays in place. A better model is added as the next version.",
        model=entry.id,
    )


def split_id(text: str) -> tuple[str, int | None]:
    """Name and version of `name` or `name@version`. Raises ConfigError."""
    name, at, version = text.partition("@")
    if at and not version.isdecimal():
        raise ConfigError(
            f"{text!r} names no version.",
            code="registry.name",
            hint="Write NAME or NAME@VERSION, such as demo@2.",
        )
    return name, int(version) if at else None


def _missed(check: Check) -> str:
    value = "no number" if check.value is None else f"{check.value:.4g}"
    wanted = "" if check.threshold is None else f", wanted {check.threshold:g}"
    return f"{check.name} is {value}{wanted}"


def _finite(check: Check) -> Check:
    """The check as JSON can keep it; what is no number has not passed."""
    numbers = {name: getattr(check, name) for name in ("value", "low", "high", "threshold")}
    kept = {name: n if n is not None and math.isfinite(n) else None for name, n in numbers.items()}
    return Check(name=check.name, passed=check.passed and kept["value"] is not None, **kept)


def _must_be_name(name: str) -> None:
    if _NAME.fullmatch(name) is None:
        raise ConfigError(
            f"{name!r} can be no model's name.",
            code="registry.name",
            hint="Use up to 64 letters, digits, dots, hyphens and underscores.",
        )
    if name.lower().startswith(_RESERVED):
        raise ConfigError(
            f"Names that begin with {_RESERVED} are Gnomon's own, and so {name!r} cannot be used.",
            code="registry.name",
            hint="Choose another name.",
        )


def _named(book: _Book, name: str, version: int | None) -> Entry:
    ours = [entry for entry in book.entries if entry.name == name]
    found = [entry for entry in ours if version in (None, entry.version)]
    if found:
        return found[-1]
    if any(entry.name == name and version in (None, entry.version) for entry in book.removed):
        wanted = name if version is None else f"{name}@{version}"
        raise ConfigError(
            f"{wanted} was removed.",
            code="registry.unknown",
            hint=f"`gnomon models show {wanted}` tells what is known of it; add its file again "
            "and it becomes the next version.",
        )
    if ours:
        raise ConfigError(
            f"{name} has no version {version}.",
            code="registry.unknown",
            hint=f"It has {', '.join(str(entry.version) for entry in ours)}.",
        )
    names = sorted({entry.name for entry in book.entries})
    raise ConfigError(
        f"There is no model {name!r} in the registry.",
        code="registry.unknown",
        hint=f"There are: {', '.join(names)}." if names else "Add one with `gnomon models add`.",
    )


def _find(book: _Book, id: str) -> Entry:
    for entry in book.entries:
        if entry.id == id:
            return entry
    raise StoreError(
        f"The registry says that {id} served, but has no such entry.", code="store.registry"
    )


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _replace(path: Path, body: bytes) -> None:
    """Replace `path` so that a crash leaves the old file or the new one, whole."""
    aside = path.with_name(f"{_PART}{path.name}")
    with aside.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    _sync(path.parent)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
