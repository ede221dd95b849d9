"""all-MiniLM-L6-v2 on onnxruntime: sentence vectors, token vectors, and the score built on both.

The model reads English best and at most 256 word pieces of a text; what follows them is not seen.
Only its weights are int8: it computes in float, so a text's vector does not depend on the texts
beside it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

if TYPE_CHECKING:
    import onnxruntime

from gnomon.errors import ModelError

MAX_TOKENS = 256
_BATCH_TOKENS = 512  # fits the caches; larger batches are slower
_MARGIN = 2  # [CLS] before and [SEP] after each text


def threads(wanted: int = 0, *, spare_cores: int = 1) -> int:
    """How many threads a model may use: `wanted`, or all cores but `spare_cores`."""
    return wanted or max(1, (os.cpu_count() or 2) - spare_cores)


class MiniLM:
    """Text to 384-d unit vectors. Safe to call from several threads; they take turns."""

    dim = 384

    def __init__(self, folder: Path, *, n_threads: int = 0, spare_cores: int = 1) -> None:
        """Load `model.onnx` and `tokenizer.json` from `folder`. Raises ModelError."""
        self.name = "all-MiniLM-L6-v2-int8"
        self._lock = threading.Lock()
        for file in ("model.onnx", "tokenizer.json"):
            if not (folder / file).is_file():
                raise ModelError(
                    f"{folder / file} is missing.",
                    code="model.missing",
                    hint="Run `gnomon models fetch`.",
                    file=str(folder / file),
                )
        try:
            self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
            self._tokenizer.no_padding()
            self._tokenizer.enable_truncation(MAX_TOKENS)
            self._cls, self._sep = self._tokenizer.encode("").ids
            import onnxruntime  # here, because it costs the start of the program

            self._session = onnxruntime.InferenceSession(
                str(folder / "model.onnx"),
                _session_options(threads(n_threads, spare_cores=spare_cores)),
                providers=["CPUExecutionProvider"],
            )
        except Exception as error:  # both libraries raise bare Exception subclasses
            raise ModelError(
                f"The weights in {folder} cannot be loaded: {first_line(error)}.",
                code="model.damaged",
                hint="Run `gnomon models fetch` to replace them.",
                folder=str(folder),
            ) from error

    def embed(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, shape (len(texts), 384)."""
        return self._embed(self._encode(texts))

    def embed_ids(self, texts: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Unit vectors of texts that are given as word piece numbers, without [CLS] and [SEP]."""
        return self._embed([[self._cls, *ids, self._sep] for ids in texts])

    def token_vectors(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """For each text its word pieces in context, as unit vectors, without [CLS] and [SEP]."""
        return [tokens for _, tokens in self.read(texts)]

    def read(self, texts: Sequence[str]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """For each text its unit vector and its token vectors, from one pass of the model."""
        out: list[tuple[NDArray[np.float32], NDArray[np.float32]] | None] = [None] * len(texts)
        for rows, hidden, mask in self._run(self._encode(texts)):
            sentences = _unit((hidden * mask[..., None]).sum(axis=1))
            for i, row in enumerate(rows):
                n_tokens = int(mask[i].sum())
                out[row] = (sentences[i], _unit(hidden[i, 1 : n_tokens - 1]))
        return [pair for pair in out if pair is not None]

    def count_tokens(self, text: str) -> int:
        """Word pieces of `text`, at most 254."""
        return len(self._tokenizer.encode(text).ids) - _MARGIN

    def _encode(self, texts: Sequence[str]) -> list[list[int]]:
        # A lone surrogate cannot be encoded; such a text comes from broken input upstream.
        clean = [t.encode("utf-8", "replace").decode("utf-8") for t in texts]
        return [e.ids for e in self._tokenizer.encode_batch_fast(clean)]

    def _embed(self, encoded: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        out = np.zeros((len(encoded), self.dim), np.float32)
        for rows, hidden, mask in self._run(encoded):
            out[rows] = _unit((hidden * mask[..., None]).sum(axis=1))
        return out

    def _run(
        self, encoded: Sequence[Sequence[int]]
    ) -> Iterator[tuple[list[int], NDArray[np.float32], NDArray[np.float32]]]:
        """Batches of texts of like length: their rows, hidden states and masks."""
        order = sorted(range(len(encoded)), key=lambda i: len(encoded[i]))
        while order:
            rows = [order.pop()]
            length = len(encoded[rows[0]])
            while order and (len(rows) + 1) * length <= _BATCH_TOKENS:
                rows.append(order.pop())
            ids = np.zeros((len(rows), length), np.int64)
            mask = np.zeros((len(rows), length), np.int64)
            for i, row in enumerate(rows):
                ids[i, : len(encoded[row])] = encoded[row]
                mask[i, : len(encoded[row])] = 1
            feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
            with self._lock:
                (hidden,) = self._session.run(["last_hidden_state"], feed)
            yield rows, hidden, mask.astype(np.float32)


def _session_options(n_threads: int) -> onnxruntime.SessionOptions:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = n_threads
    options.inter_op_num_threads = 1
    # The arena would keep the memory of the largest batch for ever.
    options.enable_cpu_mem_arena = False
    options.enable_mem_pattern = False
    # Waiting threads sleep instead of burning the core that the server answers on.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    return options


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    norm = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit: NDArray[np.float32] = vectors / np.maximum(norm, 1e-12)
    return unit


def first_line(error: Exception) -> str:
    """The first line of what an error says, for a message to people."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
