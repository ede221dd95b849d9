"""A corpus into token shards: one `.bin` file for each corpus shard, memory-mapped to read.

Each is written and renamed by itself, so an interrupted run goes on where it was, and workers
share nothing. The bytes do not depend on their number.
"""

from __future__ import annotations

import hashlib
import multiprocessing
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import msgspec
import numpy as np

from gnomon.errors import ConfigError
from gnomon.train.corpus.manifest import MANIFEST, file_sha256, read_manifest, read_rows
from gnomon.train.launch import die_with_parent
from gnomon.train.shards import (
    INDEX,
    TOKENIZER,
    Index,
    Shard,
    dtype_for,
    durable_file,
    sweep,
    write_durably,
)
from gnomon.train.tokens.bpe import Encoding

_BATCH_CHARS = 4_000_000


class _Task(msgspec.Struct, frozen=True):
    source: str
    sha256: str
    out: str
    name: str
    tokenizer: str
    tokenizer_sha256: str


def encode_corpus(
    corpus: Path,
    tokenizer: Path,
    out: Path,
    *,
    workers: int = 1,
    progress: Callable[[str], None] = lambda _: None,
) -> Index:
    """Encode every document of `corpus` into `out`, or go on with that.

    Raises ConfigError where `out` was made from another tokenizer.
    """
    manifest, encoding = read_manifest(corpus), Encoding(tokenizer)
    kept = out / TOKENIZER
    if kept.exists() and file_sha256(kept) != encoding.sha256:
        raise ConfigError(
            f"{out} holds shards of another tokenizer.",
            code="tokens.other_tokenizer",
            hint="Choose another folder, or remove that one.",
        )
    out.mkdir(parents=True, exist_ok=True)
    if not kept.exists():
        write_durably(kept, encoding.body)
    tasks = [
        _Task(
            str(corpus / shard.file),
            shard.sha256,
            str(out),
            f"{number:06d}",
            str(tokenizer),
            encoding.sha256,
        )
        for number, shard in enumerate(manifest.shards)
    ]
    shards: list[Shard] = []
    for shard in _spread(tasks, workers):
        shards.append(shard)
        progress(f"encoded {len(shards)} of {len(tasks)}")
    index = Index(
        dtype_for(encoding.vocab_size),
        encoding.vocab_size,
        encoding.end_id,
        tuple(shards),
        tokenizer_sha256=encoding.sha256,
        corpus=file_sha256(corpus / MANIFEST),
    )
    write_durably(out / INDEX, msgspec.json.format(msgspec.json.encode(index)))
    for path in out.glob("*.state"):
        path.unlink()
    sweep(out)
    return index


def _spread(tasks: list[_Task], workers: int) -> Iterator[Shard]:
    if workers <= 1 or len(tasks) <= 1:
        yield from map(_encode, tasks)
        return
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(min(workers, len(tasks)), context, die_with_parent) as pool:
        yield from pool.map(_encode, tasks)


_encodings: dict[str, Encoding] = {}
"""One for each process: building it takes longer than encoding a small shard."""


def _encode(task: _Task) -> Shard:
    out = Path(task.out)
    state = out / f"{task.name}.state"
    if state.exists():
        made_of, shard = msgspec.json.decode(state.read_bytes(), type=tuple[str, Shard])
        if made_of == task.sha256:
            return shard
    encoding = _encodings.get(task.tokenizer_sha256)
    if encoding is None:
        encoding = _encodings[task.tokenizer_sha256] = Encoding(Path(task.tokenizer))
    width = np.dtype(dtype_for(encoding.vocab_size)).newbyteorder("<")
    path = out / f"{task.name}.bin"
    digest, tokens, documents = hashlib.sha256(), 0, 0
    with durable_file(path) as file:
        for texts in _batches(Path(task.source)):
            pieces = []
            for text in texts:
                ids = encoding.tiktoken.encode_to_numpy(text, disallowed_special=())
                pieces += [ids.astype(width), np.array([encoding.end_id], width)]
            body = np.concatenate(pieces)
            file.write(body.data)
            digest.update(body.data)
            tokens += len(body)
            documents += len(texts)
    shard = Shard(path.name, tokens, documents, digest.hexdigest())
    write_durably(state, msgspec.json.encode((task.sha256, shard)))
    return shard


def _batches(path: Path) -> Iterator[list[str]]:
    texts: list[str] = []
    size = 0
    for row in read_rows(path):
        texts.append(row["text"])
        size += len(row["text"])
        if size >= _BATCH_CHARS:
            yield texts
            texts, size = [], 0
    if texts:
        yield texts
