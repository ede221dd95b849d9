"""Token shards on disk: the one place that says how they look.

A folder holds `index.json` and `.bin` files. A `.bin` file is nothing but tokens, little-endian
uint16 (vocabularies up to 65,536) or uint32, one document after the other; every document ends
with the `end_id` token. The shards in the order of the index are one long sequence. The index is
written last, by rename: a folder without it is unfinished.
"""

from __future__ import annotations

import bisect
import hashlib
import os
import platform
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Self

import msgspec
import numpy as np
from numpy.typing import NDArray

from gnomon.errors import ConfigError, StoreError

INDEX = "index.json"
FORMAT = "gnomon-tokens"
VERSION = 1
TOKENIZER = "tokenizer.json"
"""Where the tokenizer lies in the folder, in the format of the `tokenizers` library."""

Dtype = Literal["uint16", "uint32"]
Tokens = NDArray[np.integer[Any]]


class Shard(msgspec.Struct, frozen=True):
    """One `.bin` file."""

    file: str
    tokens: int
    documents: int
    sha256: str


class Index(msgspec.Struct, frozen=True):
    """What `index.json` says."""

    dtype: Dtype
    vocab_size: int
    end_id: int
    shards: tuple[Shard, ...]
    tokenizer_sha256: str = ""
    """Of the tokenizer beside it, so that shards of two tokenizers are never mixed."""
    corpus: str = ""
    """The manifest hash of the corpus that was encoded."""
    format: str = FORMAT
    version: int = VERSION

    @property
    def tokens(self) -> int:
        """All tokens, ends of documents included."""
        return sum(shard.tokens for shard in self.shards)


def dtype_for(vocab_size: int) -> Dtype:
    """The narrowest width that holds the vocabulary."""
    return "uint16" if vocab_size <= 1 << 16 else "uint32"


class ShardWriter:
    """Writes one folder of shards. Nothing is visible to readers before `close`."""

    def __init__(
        self,
        folder: Path,
        *,
        vocab_size: int,
        end_id: int,
        shard_tokens: int = 100_000_000,
        tokenizer_sha256: str = "",
        corpus: str = "",
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._dtype = dtype_for(vocab_size)
        self._width = np.dtype(self._dtype).newbyteorder("<")
        self._vocab_size, self._end_id = vocab_size, end_id
        self._shard_tokens = shard_tokens
        self._tokenizer_sha256, self._corpus = tokenizer_sha256, corpus
        self._done: list[Shard] = []
        self._pending: list[Tokens] = []
        self._pending_tokens = 0

    def add(self, document: Sequence[int] | Tokens) -> None:
        """Append one document; its end token is added here."""
        tokens = np.append(np.asarray(document, dtype=np.int64), self._end_id)
        if tokens.min() < 0 or tokens.max() >= self._vocab_size:
            raise ConfigError(
                f"A document holds token {tokens.max()}; the vocabulary has {self._vocab_size}.",
                code="train.vocabulary",
                hint="Encode with the tokenizer of this vocabulary.",
            )
        self._pending.append(tokens.astype(self._width))
        self._pending_tokens += len(tokens)
        if self._pending_tokens >= self._shard_tokens:
            self._flush()

    def _flush(self) -> None:
        if not self._pending:
            return
        body = np.concatenate(self._pending).tobytes()
        name = f"{len(self._done):06d}.bin"
        write_durably(self._folder / name, body)
        digest = hashlib.sha256(body).hexdigest()
        self._done.append(Shard(name, self._pending_tokens, len(self._pending), digest))
        self._pending, self._pending_tokens = [], 0

    def close(self) -> Index:
        """Write what is left, then the index."""
        self._flush()
        index = Index(
            self._dtype,
            self._vocab_size,
            self._end_id,
            tuple(self._done),
            tokenizer_sha256=self._tokenizer_sha256,
            corpus=self._corpus,
        )
        write_durably(self._folder / INDEX, msgspec.json.format(msgspec.json.encode(index)))
        return index

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()


def write_durably(path: Path, body: bytes) -> None:
    """Replace `path` by `body` so that a crash leaves the old file or the new one, whole."""
    with durable_file(path) as file:
        file.write(body)


@contextmanager
def durable_file(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which replaces `path` in the end so that a crash leaves the old or the new.

    Each process writes to a name of its own: one that was given up for lost may still be at work.
    """
    aside = path.with_name(f".{path.name}.{platform.node()}.{os.getpid()}")
    with aside.open("wb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
    sync_folder(path.parent)


def sweep(folder: Path) -> None:
    """Remove what killed processes left of files that they wrote durably to `folder`."""
    for path in folder.glob(".*"):
        if path.suffix[1:].isdigit() and path.is_file():
            path.unlink()


def sync_folder(folder: Path) -> None:
    """Make renames in `folder` durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


class TokenShards:
    """Reads a folder of shards as one long sequence, memory-mapped."""

    def __init__(self, folder: Path) -> None:
        """Open and check sizes against the index. Raises ConfigError, StoreError."""
        self.folder = folder
        self.index = _read_index(folder)
        width = np.dtype(self.index.dtype).newbyteorder("<")
        self._maps: list[Tokens] = []
        self._starts: list[int] = []
        start = 0
        for shard in self.index.shards:
            path = folder / shard.file
            if not path.is_file() or path.stat().st_size != shard.tokens * width.itemsize:
                raise StoreError(
                    f"{path} is missing or not of the size that {INDEX} gives.",
                    code="train.shard",
                    hint="Encode the corpus again with `gnomon corpus encode`.",
                )
            if shard.tokens:
                self._maps.append(np.memmap(path, dtype=width, mode="r"))
                self._starts.append(start)
                start += shard.tokens
        self.tokens = start

    def read(self, start: int, count: int) -> NDArray[np.int64]:
        """`count` tokens from position `start`, over the ends of shards."""
        if not 0 <= start <= start + count <= self.tokens:
            raise IndexError(f"tokens {start} to {start + count} of {self.tokens}")
        out = np.empty(count, np.int64)
        filled, at = 0, bisect.bisect_right(self._starts, start) - 1
        while filled < count:
            inside = start + filled - self._starts[at]
            piece = self._maps[at][inside : inside + count - filled]
            out[filled : filled + len(piece)] = piece
            filled += len(piece)
            at += 1
        return out

    def verify(self) -> None:
        """Compare every shard with its hash. Raises StoreError."""
        for shard in self.index.shards:
            with (self.folder / shard.file).open("rb") as file:
                found = hashlib.file_digest(file, "sha256").hexdigest()
            if found != shard.sha256:
                raise StoreError(
                    f"{self.folder / shard.file} was changed after it was written.",
                    code="train.shard",
                    hint="Encode the corpus again with `gnomon corpus encode`.",
                )


def write_shards(
    folder: Path, documents: Iterable[Sequence[int] | Tokens], **described: Any
) -> Index:
    """Write all `documents`; keywords as for `ShardWriter`."""
    writer = ShardWriter(folder, **described)
    for document in documents:
        writer.add(document)
    return writer.close()


def _read_index(folder: Path) -> Index:
    path = folder / INDEX
    try:
        index = msgspec.json.decode(path.read_bytes(), type=Index)
    except FileNotFoundError as error:
        raise ConfigError(
            f"{folder} holds no token shards: {INDEX} is missing.",
            code="train.no_data",
            hint="Encode a corpus with `gnomon corpus encode`, or correct data.tokens.",
        ) from error
    except msgspec.DecodeError as error:
        raise StoreError(f"{path} cannot be read: {error}.", code="train.shard") from error
    if index.format != FORMAT or index.version != VERSION:
        raise ConfigError(
            f"{path} is of format {index.format} {index.version}, not {FORMAT} {VERSION}.",
            code="train.shard_format",
            hint="Encode the corpus again with this version.",
        )
    return index
