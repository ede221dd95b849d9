"""Everything of a home in one folder, made while the home is in use, and put back into a new one.

Each database is copied as it stands at one moment, through SQLite itself; the record comes last, so
that whatever the others cite is in it. Other files are copied as they are. Left out is what a start
makes again: the index, the weights of models, and the marks of a running process. A folder is whole
once it has its list, which names each file with its hash; what is put back is checked against it.
"""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path, PurePosixPath

import apsw
import msgspec

from gnomon.errors import ConfigError, StoreError

LIST = "backup.json"
UNFINISHED = "restore.unfinished"
"""Stands in a home while a backup is put back into it."""
LEFT_OUT = ("index", "models", "lock", "run.json", UNFINISHED)
"""What of a home is not copied: made again, fetched again, or about one process only."""
SECRETS = ("secrets", "seal.key", "websub.key")
"""What opens something; the home makes new keys where they are missing."""
_BESIDE = ("-wal", "-shm", "-journal", ".part")
_LAST = "record.db"
_SQLITE = b"SQLite format 3\x00"
_PIECE_BYTES = 1 << 20


class Copied(msgspec.Struct, frozen=True, kw_only=True):
    """One file of a backup."""

    path: str
    body_bytes: int
    sha256: str


class Backup(msgspec.Struct, frozen=True, kw_only=True):
    """The list of a backup."""

    made_at: datetime
    version: str
    """Of the Gnomon that made it."""
    home: str
    """Where it was."""
    files: tuple[Copied, ...]
    secrets: bool = True

    @property
    def body_bytes(self) -> int:
        """Of all files."""
        return sum(file.body_bytes for file in self.files)


def back_up(
    home: Path, folder: Path, *, now: datetime, version: str, secrets: bool = True
) -> Backup:
    """Copy everything of `home` into the new folder `folder`, also while a server uses the home.

    Raises ConfigError for a folder that is there already or cannot be written, and StoreError for
    a database that is damaged.
    """
    if not home.is_dir():
        raise ConfigError(f"There is no home at {home}.", code="backup.no_home")
    if folder.resolve().is_relative_to(home.resolve()):
        raise ConfigError(
            f"{folder} lies within the home that is to be copied.",
            code="backup.within",
            hint="Choose a folder elsewhere, best on another disk.",
        )
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConfigError(
            f"{folder} exists already, and a backup never replaces another.",
            code="backup.exists",
            hint="Choose the name of a new folder.",
            path=str(folder),
        )
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        folder.chmod(0o700)
        copied = []
        for name in sorted(_within(home, secrets), key=lambda name: (str(name) == _LAST, name)):
            # What a running server removed meanwhile is no part of its home any more.
            with suppress(FileNotFoundError):
                copied.append(_copied(home / name, folder, name))
        made = Backup(
            made_at=now, version=version, home=str(home), files=tuple(copied), secrets=secrets
        )
        _written(folder / LIST, msgspec.json.format(msgspec.json.encode(made)))
    except OSError as error:
        raise _unwritable(folder, error) from error
    return made


def restore(folder: Path, home: Path) -> Backup:
    """Put the backup of `folder` into `home`, new or empty, whose lock the caller holds.

    Raises ConfigError for a home that is in use or a folder that is no backup, and StoreError for
    a backup that is damaged; nothing is put back then.
    """
    made = listed(folder)
    if (
        any(found.name not in ("lock", "index", "models") for found in home.iterdir())
        and not (home / UNFINISHED).exists()
    ):
        raise ConfigError(
            f"The home {home} is not empty, and a backup never replaces what is there.",
            code="backup.home_not_empty",
            hint="Move it away, or choose another with --home.",
            home=str(home),
        )
    for file in made.files:
        _check(folder, file)
    try:
        (home / UNFINISHED).touch(mode=0o600)
        for file in made.files:
            source, place = folder / file.path, home / file.path
            place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _poured(source, place)
        _moved(home / "gnomon.toml", Path(made.home), home)
        shutil.rmtree(home / "index", ignore_errors=True)  # of another record
        (home / UNFINISHED).unlink()
    except OSError as error:
        raise _unwritable(home, error) from error
    return made


def listed(folder: Path) -> Backup:
    """The list of the backup in `folder`. Raises ConfigError if it is none."""
    try:
        made = msgspec.json.decode((folder / LIST).read_bytes(), type=Backup)
    except FileNotFoundError:
        raise ConfigError(
            f"{folder} holds no whole backup: it has no {LIST}.",
            code="backup.none",
            hint="Give the folder that `gnomon backup` wrote.",
        ) from None
    except (OSError, msgspec.DecodeError) as error:
        raise StoreError(
            f"{folder / LIST} cannot be read: {error}.", code="backup.damaged"
        ) from None
    for file in made.files:
        parts = PurePosixPath(file.path).parts
        if not parts or ".." in parts or file.path.startswith("/"):
            raise StoreError(
                f"{folder / LIST} names the file {file.path[:100]!r}, which lies elsewhere.",
                code="backup.damaged",
            )
    return made


def refuse_unfinished(home: Path) -> None:
    """Raise ConfigError for a home into which a backup was put back only in part."""
    if (home / UNFINISHED).exists():
        raise ConfigError(
            f"A backup was put back into the home {home}, but not to the end.",
            code="backup.unfinished",
            hint="Run `gnomon restore` once more.",
            home=str(home),
        )


def _within(home: Path, secrets: bool) -> Iterator[PurePosixPath]:
    """The files of a home that are copied."""
    seen: set[Path] = set()
    for place, folders, files in os.walk(home, followlinks=True):  # a part may be on another disk
        real = Path(place).resolve()
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        at = Path(place).relative_to(home)
        if at == Path():
            left_out = LEFT_OUT if secrets else (*LEFT_OUT, *SECRETS)
            folders[:] = [name for name in folders if name not in left_out]
            files = [name for name in files if name not in left_out]
        for name in files:
            if (Path(place) / name).is_file() and not name.endswith(_BESIDE):
                yield PurePosixPath(at / name)


def _copied(source: Path, folder: Path, name: PurePosixPath) -> Copied:
    place = folder / name
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    with source.open("rb") as file:
        database = file.read(len(_SQLITE)) == _SQLITE
    if database:
        _database(source, place)
    else:
        _poured(source, place)
    body_bytes, sha256 = _measured(place)
    return Copied(path=str(name), body_bytes=body_bytes, sha256=sha256)


def _database(source: Path, place: Path) -> None:
    """A database as it stands now; whoever writes to it goes on."""
    place.touch(mode=0o600)
    try:
        with (
            closing(apsw.Connection(str(source))) as found,
            closing(apsw.Connection(str(place))) as copy,
        ):
            found.set_busy_timeout(30_000)
            with copy.backup("main", found, "main") as transfer:
                transfer.step(-1)  # at one go: a writer would make several begin anew
            copy.pragma("journal_mode", "delete")
    except (apsw.FullError, apsw.IOError, apsw.CantOpenError) as error:
        raise OSError(str(error)) from error
    except apsw.Error as error:
        raise StoreError(
            f"{source} cannot be copied: {error}.",
            code="backup.database",
            hint="Look at it with `gnomon record check`, or restore an earlier backup.",
            path=str(source),
        ) from error


def _poured(source: Path, place: Path) -> None:
    """The bytes of a file, for its owner only where it was so."""
    mode = source.stat().st_mode & 0o700
    with (
        source.open("rb") as found,
        open(place, "wb", opener=lambda path, flags: os.open(path, flags, mode | 0o600)) as file,
    ):
        shutil.copyfileobj(found, file, _PIECE_BYTES)
        file.flush()
        os.fsync(file.fileno())
    place.chmod(mode | 0o600)


def _measured(path: Path) -> tuple[int, str]:
    digest, body_bytes = hashlib.sha256(), 0
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
            body_bytes += len(piece)
    return body_bytes, digest.hexdigest()


def _check(folder: Path, file: Copied) -> None:
    try:
        found = _measured(folder / file.path)
    except OSError as error:
        found = (0, str(error))
    if found != (file.body_bytes, file.sha256):
        raise StoreError(
            f"{folder / file.path} is not what the backup's list says: it is damaged or missing.",
            code="backup.damaged",
            hint="Use another backup; nothing was put back.",
            path=str(folder / file.path),
        )


def _moved(settings: Path, old: Path, new: Path) -> None:
    """Let paths into the old home point into the new one."""
    if old == new or not settings.is_file():
        return
    text = settings.read_text("utf-8")
    _written(settings, text.replace(f"{old}/secrets/", f"{new}/secrets/").encode())


def _written(path: Path, body: bytes) -> None:
    part = path.with_name(f"{path.name}.part")
    with open(part, "wb", opener=lambda p, flags: os.open(p, flags, 0o600)) as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())
    part.rename(path)


def _unwritable(path: Path, error: OSError) -> ConfigError:
    return ConfigError(
        f"{path} cannot be written: {error.strerror or error}.",
        code="backup.write",
        hint="Choose a place that may be written and has room.",
        path=str(path),
    )
