"""Static word vectors: a table that knows meaning and costs a look-up.

The table is distilled from MiniLM where the weights are fetched, because no such table travels
as a package. MiniLM first embeds every word piece alone; the pieces' vectors are then fitted so
that their *sum* points where MiniLM points for whole texts. Real text would serve best, but none
may be shipped, and word salad drawn from MiniLM's own vocabulary serves nearly as well.
The same weights on the same processor give the same table, byte for byte.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import msgspec
import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from gnomon.errors import ModelError
from gnomon.models.minilm import MiniLM, first_line

DIM = 256
TABLE, PIECES, CARD = "vectors.npy", "tokenizer.json", "card.json"

_SEED = 7
_TEXTS = 20_000
_WORDS_PER_TEXT = (3, 16)
_ZIPF = (50, 0.7)
_PIECE_SHARE = 0.12
_SIF = 1e-5
_EPOCHS = 4
_STEP = 0.003
_ROWS_PER_STEP = 512

_Floats: TypeAlias = NDArray[np.float32]
_Ints: TypeAlias = NDArray[np.int64]


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What a built table says of itself."""

    name: str
    sha256: str
    """Of the table's file."""
    teacher: str
    agreement: float
    """Mean cosine with the teacher on made-up texts that the fit did not see."""


class StaticVectors:
    """One 256-d vector per word; a text's vector is the sum of its words'.

    The table is memory-mapped: only the rows that are used take memory. A word that is no word
    piece by itself is the sum of its pieces, so misspelt and new words mean something too.
    """

    dim = DIM

    def __init__(self, folder: Path) -> None:
        """Open the table in `folder`. Raises ModelError."""
        try:
            self.card = msgspec.json.decode((folder / CARD).read_bytes(), type=Card)
            self._table: NDArray[np.float16] = np.load(folder / TABLE, mmap_mode="r")
            self._tokenizer = Tokenizer.from_file(str(folder / PIECES))
        except FileNotFoundError as error:
            raise ModelError(
                f"{error.filename or folder} is missing.",
                code="model.missing",
                hint="Run `gnomon models fetch`.",
                folder=str(folder),
            ) from error
        except Exception as error:  # tokenizers raises bare Exception
            raise _damaged(folder, first_line(error)) from error
        rows = self._tokenizer.get_vocab_size()
        if self._table.shape != (rows, DIM) or self._table.dtype != np.float16:
            raise _damaged(folder, f"the table is {self._table.shape}, not {(rows, DIM)}")
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()

    @property
    def name(self) -> str:
        """Identity of the table: it changes with the table's content."""
        return self.card.name

    def vectors(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Weighted vectors, shape (len(words), 256): frequent words are short, unknown zero."""
        out = np.zeros((len(words), DIM), np.float32)
        clean = [w if w.isascii() else w.encode("utf-8", "replace").decode() for w in words]
        encoded = self._tokenizer.encode_batch_fast(clean, add_special_tokens=False)
        pieces = [e.ids for e in encoded]
        lengths = np.array([len(p) for p in pieces], np.int64)
        filled = np.flatnonzero(lengths)
        if filled.size:
            flat = np.fromiter((i for p in pieces for i in p), np.int64, int(lengths.sum()))
            starts = np.concatenate(([0], np.cumsum(lengths[filled])[:-1]))
            out[filled] = np.add.reduceat(self._table[flat].astype(np.float32), starts, axis=0)
        return out


def build(minilm: Path, target: Path, progress: Callable[[str], None] = lambda line: None) -> Card:
    """Distil the MiniLM in folder `minilm` into a table in folder `target`, whole or not at all.

    Takes about a minute of one core.
    """
    teacher = MiniLM(minilm, spare_cores=0)
    tokenizer = Tokenizer.from_file(str(minilm / PIECES))
    pieces = [tokenizer.id_to_token(i) or "" for i in range(tokenizer.get_vocab_size())]
    progress(f"static: embedding {len(pieces)} word pieces.")
    alone = teacher.embed_ids([[i] for i in range(len(pieces))])
    texts = _made_up_texts(pieces)
    progress(f"static: embedding {len(texts)} made-up texts.")
    meant = teacher.embed_ids(texts)
    progress("static: fitting.")
    table, agreement = _fit(alone, texts, meant)
    # Special tokens stand for no word.
    table[[i for i, piece in enumerate(pieces) if piece.startswith("[") and len(piece) > 1]] = 0

    target.parent.mkdir(parents=True, exist_ok=True)
    scratch = Path(tempfile.mkdtemp(prefix=".part-", dir=target.parent))
    try:
        np.save(scratch / TABLE, table.astype(np.float16))
        shutil.copyfile(minilm / PIECES, scratch / PIECES)
        digest = hashlib.sha256((scratch / TABLE).read_bytes()).hexdigest()
        card = Card(
            name=f"minilm-static-{DIM}-{digest[:12]}",
            sha256=digest,
            teacher=teacher.name,
            agreement=round(agreement, 4),
        )
        (scratch / CARD).write_bytes(msgspec.json.encode(card))
        shutil.rmtree(target, ignore_errors=True)
        scratch.chmod(0o755)
        scratch.replace(target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return card


def _made_up_texts(pieces: Sequence[str]) -> list[list[int]]:
    """Texts of random words, frequent ones more often, with a stray word ending here and there."""
    words = [i for i, p in enumerate(pieces) if p.isascii() and p.isalpha() and len(p) > 1]
    ends = [i for i, p in enumerate(pieces) if p.startswith("##") and p.isascii()]
    rng = np.random.default_rng(_SEED)
    # The vocabulary is in order of frequency, so the rank stands for it (Zipf's law).
    offset, exponent = _ZIPF
    chance = 1.0 / (np.arange(len(words)) + offset) ** exponent
    chance /= chance.sum()
    texts = []
    for _ in range(_TEXTS):
        text = []
        for word in rng.choice(len(words), int(rng.integers(*_WORDS_PER_TEXT)), p=chance):
            text.append(words[word])
            if rng.random() < _PIECE_SHARE:
                text.append(ends[rng.integers(len(ends))])
        texts.append(text)
    return texts


def _fit(alone: _Floats, texts: list[list[int]], meant: _Floats) -> tuple[_Floats, float]:
    """Vectors whose sums point where `meant` points, and their mean cosine on held-out texts."""
    # What all texts share says nothing about any of them; the rest is rotated so that the
    # first 256 dimensions keep the most.
    centred = meant - meant.mean(axis=0)
    _, axes = np.linalg.eigh((centred.T @ centred).astype(np.float64))
    axes = axes[:, ::-1][:, :DIM].astype(np.float32)
    wanted = centred @ axes
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)

    table: _Floats = (alone - alone.mean(axis=0)) @ axes
    chance = 1.0 / (np.arange(len(table)) + 2.7)
    chance /= chance.sum()
    table *= (_SIF / (_SIF + chance))[:, None].astype(np.float32)
    table /= np.linalg.norm(table, axis=1).mean()

    held_out = len(texts) // 50
    flat = np.fromiter((i for t in texts for i in t), np.int64)
    lengths = np.array([len(t) for t in texts], np.int64)
    starts = np.concatenate(([0], np.cumsum(lengths)))
    _descend(table, flat, starts, lengths, wanted, np.arange(held_out, len(texts)))
    sums = np.add.reduceat(table[flat[: starts[held_out]]], starts[:held_out], axis=0)
    cosines = (_unit(sums) * wanted[:held_out]).sum(axis=1)
    return table, float(cosines.mean())


def _descend(
    table: _Floats, flat: _Ints, starts: _Ints, lengths: _Ints, wanted: _Floats, rows: _Ints
) -> None:
    """Turn `table` in place towards `wanted`: Adam on the cosine, touching only the rows seen."""
    rng = np.random.default_rng(_SEED)
    mean, square = np.zeros_like(table), np.zeros_like(table)
    steps_per_epoch = len(rows) // _ROWS_PER_STEP
    for step in range(_EPOCHS * steps_per_epoch):
        if step % steps_per_epoch == 0:
            order = rng.permutation(rows)
        first = step % steps_per_epoch * _ROWS_PER_STEP
        batch = order[first : first + _ROWS_PER_STEP]
        ids = np.concatenate([flat[starts[r] : starts[r + 1]] for r in batch])
        offsets = np.concatenate(([0], np.cumsum(lengths[batch])[:-1]))
        sums = np.add.reduceat(table[ids], offsets, axis=0)
        norms = np.linalg.norm(sums, axis=1, keepdims=True) + 1e-9
        ours, theirs = sums / norms, wanted[batch]
        cosines = (ours * theirs).sum(axis=1, keepdims=True)
        gradient = np.repeat((cosines * ours - theirs) / norms, lengths[batch], axis=0)

        by_id = np.argsort(ids, kind="stable")
        sorted_ids = ids[by_id]
        groups = np.flatnonzero(np.r_[True, sorted_ids[1:] != sorted_ids[:-1]])
        seen = sorted_ids[groups]
        slope = np.add.reduceat(gradient[by_id], groups, axis=0)
        mean[seen] = 0.9 * mean[seen] + 0.1 * slope
        square[seen] = 0.99 * square[seen] + 0.01 * slope * slope
        rate = _STEP * (1 - step / (_EPOCHS * steps_per_epoch))
        table[seen] -= rate * mean[seen] / (np.sqrt(square[seen]) + 1e-8)


def _unit(vectors: _Floats) -> _Floats:
    unit: _Floats = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return unit


def _damaged(folder: Path, cause: str) -> ModelError:
    return ModelError(
        f"The word vectors in {folder} cannot be opened: {cause.rstrip('.')}.",
        code="model.damaged",
        hint="Run `gnomon models fetch` to build them again.",
        folder=str(folder),
    )
