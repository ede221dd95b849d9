"""The GGUF rewriter keeps values, names, keys and other tensors as they are."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gnomon.errors import ModelError
from gnomon.models import gguf

KEYS = (
    struct.pack("<Q", 4) + b"name" + struct.pack("<IQ", 8, 3) + b"abc"
    + struct.pack("<Q", 4) + b"size" + struct.pack("<II", 4, 7)
    + struct.pack("<Q", 4) + b"list" + struct.pack("<IIQ", 9, 8, 2)
    + struct.pack("<Q", 1) + b"x" + struct.pack("<Q", 2) + b"yz"
    + struct.pack("<Q", 4) + b"ints" + struct.pack("<IIQ", 9, 5, 3) + struct.pack("<3i", 1, -2, 3)
)  # fmt: skip


def q4_1(rng: np.random.Generator, blocks: int) -> tuple[bytes, np.ndarray]:
    """Encoded blocks and the values that they stand for, decoded one by one."""
    body, values = b"", []
    for _ in range(blocks):
        scale, least = np.float16(rng.uniform(0.001, 0.2)), np.float16(rng.uniform(-1, 0))
        nibbles = rng.integers(0, 16, 32)
        packed = [int(nibbles[i]) | int(nibbles[i + 16]) << 4 for i in range(16)]
        body += scale.tobytes() + least.tobytes() + bytes(packed)
        values.append(nibbles * np.float32(scale) + np.float32(least))
    return body, np.stack(values)


def write(path: Path, tensors: list[tuple[bytes, tuple[int, ...], int, bytes]]) -> None:
    head = b"GGUF" + struct.pack("<IQQ", 3, len(tensors), 4) + KEYS
    offset = 0
    for name, dims, kind, body in tensors:
        head += struct.pack("<Q", len(name)) + name
        head += struct.pack(f"<I{len(dims)}Q", len(dims), *dims) + struct.pack("<IQ", kind, offset)
        offset += len(body) + -len(body) % 32
    padded = [body + bytes(-len(body) % 32) for *_, body in tensors]
    path.write_bytes(head + bytes(-len(head) % 32) + b"".join(padded))


def read(path: Path) -> dict[bytes, tuple[int, tuple[int, ...], bytes]]:
    with path.open("rb") as file:
        _, tensors = gguf._read_head(file)
        data_at = file.tell() + -file.tell() % 32
        found = {}
        for tensor in tensors:
            file.seek(data_at + tensor.offset)
            found[tensor.name] = (tensor.kind, tensor.dims, file.read(tensor.body_bytes))
    return found


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), rows=st.integers(1, 5), columns=st.integers(1, 4))
def test_values_survive(
    tmp_path_factory: pytest.TempPathFactory, seed: int, rows: int, columns: int
) -> None:
    rng = np.random.default_rng(seed)
    folder = tmp_path_factory.mktemp("gguf")
    body, values = q4_1(rng, rows * columns)
    other = rng.normal(size=5).astype(np.float32).tobytes()
    source = [
        (b"norm", (5,), 0, other),
        (b"weight", (32 * columns, rows), 3, body),
        (b"last", (32,), 8, rng.bytes(34)),
    ]
    write(folder / "in.gguf", source)
    gguf.to_q8_0(folder / "in.gguf", folder / "out.gguf")
    found = read(folder / "out.gguf")
    assert found[b"norm"] == (0, (5,), other)
    assert found[b"last"] == (8, (32,), source[2][3])
    kind, dims, raw = found[b"weight"]
    assert (kind, dims) == (8, (32 * columns, rows))
    blocks = np.frombuffer(raw, np.uint8).reshape(-1, 34)
    scale = blocks[:, :2].copy().view(np.float16).astype(np.float32)
    decoded = blocks[:, 2:].view(np.int8) * scale
    # Half a step of 127, and what rounding the scale to 16 bits adds.
    allowed = np.abs(values).max(axis=1, keepdims=True) * (0.5 / 127 + 0.001)
    assert (np.abs(decoded - values) <= allowed).all()
    assert KEYS in (folder / "out.gguf").read_bytes()


def test_zeros_stay_zeros(tmp_path: Path) -> None:
    write(tmp_path / "in.gguf", [(b"w", (32,), 3, bytes(20))])
    gguf.to_q8_0(tmp_path / "in.gguf", tmp_path / "out.gguf")
    assert read(tmp_path / "out.gguf")[b"w"] == (8, (32,), bytes(34))


def test_what_is_no_gguf_is_refused(tmp_path: Path) -> None:
    (tmp_path / "in.gguf").write_bytes(b"not one at all")
    with pytest.raises(ModelError, match="no GGUF"):
        gguf.to_q8_0(tmp_path / "in.gguf", tmp_path / "out.gguf")
