"""Rewrite a GGUF's Q4_1 weights as Q8_0: the same values, which the engine multiplies faster.

On processors with AVX2 the engine reads a prompt 1.8 times as fast from Q8_0 as from Q4_1, and
eight bits hold four almost exactly. (Q4_0 is no larger than Q4_1 and faster still, but a second
rounding to four bits changes every third word.) Also: how much a model reads, from its header.

Only files whose hash is known come here, so this reads GGUF no more carefully than it must.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np
from numpy.typing import NDArray

from gnomon.errors import ModelError

_F32, _F16, _Q4_1, _Q8_0 = 0, 1, 3, 8
_BLOCKS = {_F32: (1, 4), _F16: (1, 2), _Q4_1: (32, 20), _Q8_0: (32, 34)}
"""Values and bytes of a block, by tensor type."""
_SCALAR_BYTES = {0: 1, 1: 1, 2: 2, 3: 2, 4: 4, 5: 4, 6: 4, 7: 1, 10: 8, 11: 8, 12: 8}
_WHOLE = {4: "<I", 5: "<i", 10: "<Q", 11: "<q"}
_STRING, _ARRAY = 8, 9
_ALIGNMENT = 32

_Bytes = NDArray[np.uint8]


class _Tensor(msgspec.Struct):
    name: bytes
    dims: tuple[int, ...]
    kind: int
    offset: int

    @property
    def body_bytes(self) -> int:
        values, size = _BLOCKS[self.kind]
        count = 1
        for dim in self.dims:
            count *= dim
        return count // values * size


def to_q8_0(source: Path, target: Path) -> None:
    """Write `source` to `target` with every Q4_1 tensor as Q8_0. The same bytes on any machine."""
    with source.open("rb") as file, target.open("wb") as out:
        head, tensors = _read_head(file)
        data_at = file.tell() + -file.tell() % _ALIGNMENT
        out.write(head)
        offset = 0
        for tensor in tensors:
            kind = _Q8_0 if tensor.kind == _Q4_1 else tensor.kind
            _write_info(out, msgspec.structs.replace(tensor, kind=kind, offset=offset))
            size = msgspec.structs.replace(tensor, kind=kind).body_bytes
            offset += size + -size % _ALIGNMENT
        _pad(out)
        for tensor in tensors:
            file.seek(data_at + tensor.offset)
            body = file.read(tensor.body_bytes)
            if tensor.kind == _Q4_1:
                body = _encode_q8_0(_decode_q4_1(np.frombuffer(body, np.uint8))).tobytes()
            out.write(body)
            _pad(out)


def context_tokens(path: Path) -> int:
    """How many tokens the model in `path` reads at most, as its header says. Raises ModelError."""
    try:
        with path.open("rb") as file:
            if file.read(4) != b"GGUF":
                raise ModelError(f"{path} is no GGUF file.", code="model.damaged")
            file.seek(16)
            for _ in range(_number(file, "<Q")):
                name, kind = file.read(_number(file, "<Q")), _number(file, "<I")
                if name.endswith(b".context_length") and kind in _WHOLE:
                    return _number(file, _WHOLE[kind])
                _skip_value(file, kind)
    except (OSError, struct.error, KeyError, OverflowError, RecursionError) as error:
        raise ModelError(f"{path} cannot be read: {error!r}.", code="model.damaged") from error
    raise ModelError(f"{path} does not say how much it reads.", code="model.damaged")


def _read_head(file: BinaryIO) -> tuple[bytes, list[_Tensor]]:
    """Everything before the tensors' descriptions, as it stands, and those descriptions."""
    if file.read(4) != b"GGUF":
        raise ModelError("The weights are no GGUF file.", code="model.damaged")
    file.seek(8)
    n_tensors, n_keys = _number(file, "<Q"), _number(file, "<Q")
    for _ in range(n_keys):
        file.seek(_number(file, "<Q"), 1)
        _skip_value(file, _number(file, "<I"))
    end = file.tell()
    tensors = []
    for _ in range(n_tensors):
        name = file.read(_number(file, "<Q"))
        dims = tuple(_number(file, "<Q") for _ in range(_number(file, "<I")))
        tensors.append(_Tensor(name, dims, _number(file, "<I"), _number(file, "<Q")))
    at = file.tell()
    file.seek(0)
    head = file.read(end)
    file.seek(at)
    return head, tensors


def _skip_value(file: BinaryIO, kind: int) -> None:
    if kind == _STRING:
        file.seek(_number(file, "<Q"), 1)
    elif kind == _ARRAY:
        item, count = _number(file, "<I"), _number(file, "<Q")
        if item in _SCALAR_BYTES:
            file.seek(count * _SCALAR_BYTES[item], 1)
        else:
            for _ in range(count):
                _skip_value(file, item)
    else:
        file.seek(_SCALAR_BYTES[kind], 1)


def _write_info(out: BinaryIO, tensor: _Tensor) -> None:
    out.write(struct.pack("<Q", len(tensor.name)) + tensor.name)
    out.write(struct.pack(f"<I{len(tensor.dims)}Q", len(tensor.dims), *tensor.dims))
    out.write(struct.pack("<IQ", tensor.kind, tensor.offset))


def _decode_q4_1(raw: _Bytes) -> NDArray[np.float32]:
    """Blocks of 32 values: scale, least value, then nibbles, the low ones first."""
    blocks = raw.reshape(-1, 20)
    scale = blocks[:, 0:2].copy().view("<f2").astype(np.float32)
    least = blocks[:, 2:4].copy().view("<f2").astype(np.float32)
    nibbles = np.concatenate([blocks[:, 4:] & 15, blocks[:, 4:] >> 4], axis=1)
    values: NDArray[np.float32] = nibbles.astype(np.float32) * scale + least
    return values


def _encode_q8_0(values: NDArray[np.float32]) -> _Bytes:
    """Blocks of 32 values: scale, then signed bytes."""
    scale = np.abs(values).max(axis=1, keepdims=True) / np.float32(127)
    inverse = np.divide(1, scale, out=np.zeros_like(scale), where=scale > 0)
    levels = np.rint(values * inverse).astype(np.int8)
    return np.concatenate([scale.astype("<f2").view(np.uint8), levels.view(np.uint8)], axis=1)


def _number(file: BinaryIO, form: str) -> int:
    (value,) = struct.unpack(form, file.read(struct.calcsize(form)))
    return int(value)


def _pad(out: BinaryIO) -> None:
    out.write(bytes(-out.tell() % _ALIGNMENT))
