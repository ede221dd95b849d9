"""What a corpus says of itself, and how a document leaves it for good."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from gnomon.errors import ConfigError, StoreError
from gnomon.record.base import Life, Record
from gnomon.record.files import open_rows, writer
from gnomon.train.shards import write_durably

MANIFEST = "manifest.json"


class InputFile(msgspec.Struct, frozen=True):
    """What was read: `body_bytes` of a file from byte `start`, and their hash."""

    path: str
    body_bytes: int
    sha256: str
    start: int = 0


class ShardEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A shard; the file `sources` has key, source, address and hash of each of its documents."""

    file: str
    sources: str
    documents: int
    sha256: str
    sources_sha256: str
    inputs: tuple[InputFile, ...]


class Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """`manifest.json`. `texts` is `documents` and all that `dropped` and forgetting took away."""

    texts: int
    documents: int
    dropped: dict[str, int]
    scrubbed: dict[str, int]
    options: dict[str, Any]
    held_out: tuple[tuple[str, str], ...]
    shards: tuple[ShardEntry, ...]
    forgotten: tuple[str, ...] = ()
    """SHA-256 of the keys that were forgotten."""
    format: str = "gnomon-corpus"
    version: int = 1


def file_sha256(path: Path, span: tuple[int, int] | None = None) -> str:
    """Hash of a file's content, or of a span of its bytes."""
    with path.open("rb") as file:
        if span is None:
            return hashlib.file_digest(file, "sha256").hexdigest()
        digest, left = hashlib.sha256(), span[1] - span[0]
        file.seek(span[0])
        while left > 0 and (piece := file.read(min(left, 1 << 20))):
            digest.update(piece)
            left -= len(piece)
        return digest.hexdigest()


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a finished corpus. Raises ConfigError where there is none."""
    path = folder / MANIFEST
    try:
        return msgspec.json.decode(path.read_bytes(), type=Manifest)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} holds no finished corpus: {MANIFEST} is missing.",
            code="corpus.none",
            hint="Run `gnomon corpus build` for it to the end.",
        ) from error
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}.", code="corpus.manifest") from error


def write_manifest(folder: Path, manifest: Manifest) -> None:
    """Replace the manifest, whole or not at all."""
    body = msgspec.json.format(msgspec.json.encode(manifest))
    write_durably(folder / MANIFEST, body)


def documents(folder: Path) -> Iterator[dict[str, Any]]:
    """Every document of a corpus, shard after shard. Raises StoreError for a damaged one."""
    for shard in read_manifest(folder).shards:
        yield from read_rows(folder / shard.file)


def read_rows(path: Path) -> Iterator[dict[str, Any]]:
    """The rows of one of our own files."""
    with open_rows(path) as rows:
        for number, row in rows:
            if not isinstance(row, dict):
                raise StoreError(
                    f"Line {number} of {path} cannot be read.",
                    code="corpus.shard",
                    hint="Build the corpus again.",
                )
            yield row


def source_of(row: dict[str, Any]) -> dict[str, str]:
    """The line that a shard's list of sources has for a row."""
    digest = hashlib.sha256(row["text"].encode("utf-8", "replace")).hexdigest()
    return {n: row[n] for n in ("key", "source", "url") if n in row} | {"sha256": digest}


def purged(folder: Path, record: Record) -> set[str]:
    """Keys of documents in a corpus that the record had to drop since."""
    return {
        row["key"]
        for shard in read_manifest(folder).shards
        for row in read_rows(folder / shard.sources)
        if record.get(row["key"]).life in (Life.PURGED, Life.EXPIRED)
    }


def forget(folder: Path, keys: Iterable[str]) -> int:
    """Remove the documents `keys` from every shard; returns how many copies went.

    Shards are written anew beside the old ones, the manifest then names the new, and the old are
    deleted: killed at any moment, calling it again completes it. Token shards made before hold the
    text still, and tell by the manifest's hash that they are out of date.
    """
    manifest, keys = read_manifest(folder), frozenset(keys)
    shards, removed, digests = [], 0, set[str]()
    for shard in manifest.shards:
        found = [row["key"] for row in read_rows(folder / shard.sources) if row["key"] in keys]
        gone = len(found)
        shards.append(_without(folder, shard, keys) if gone else shard)
        removed += gone
        digests.update(hashlib.sha256(key.encode()).hexdigest() for key in found)
    if removed:
        manifest = msgspec.structs.replace(
            manifest,
            shards=tuple(shards),
            documents=manifest.documents - removed,
            forgotten=tuple(sorted({*manifest.forgotten, *digests})),
        )
        write_manifest(folder, manifest)
    named = {name for shard in manifest.shards for name in (shard.file, shard.sources)}
    for path in (folder / "shards").iterdir():
        if f"shards/{path.name}" not in named:
            path.unlink()
    return removed


def _without(folder: Path, shard: ShardEntry, keys: frozenset[str]) -> ShardEntry:
    names = []
    for name in (shard.file, shard.sources):
        stem, _, ending = name.partition(".")
        number, _, turn = stem.partition("-")
        new = f"{number}-{int(turn or 0) + 1}.{ending}"
        with (folder / new).open("wb") as file:
            rows = (row for row in read_rows(folder / name) if row["key"] not in keys)
            count = writer(folder / new)(rows, file)
        names.append(new)
    return msgspec.structs.replace(
        shard,
        file=names[0],
        sources=names[1],
        documents=count,
        sha256=file_sha256(folder / names[0]),
        sources_sha256=file_sha256(folder / names[1]),
    )
