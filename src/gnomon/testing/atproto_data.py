"""The pieces of the AT Protocol's data model that a stand-in needs: record keys, CIDs, DAG-CBOR."""

from __future__ import annotations

import hashlib
from base64 import b32decode, b32encode, b64decode
from typing import Any

_SORTABLE = "234567abcdefghijklmnopqrstuvwxyz"


def tid(us: int, clock_id: int = 0) -> str:
    """The timestamp identifier of this microsecond."""
    number = (us << 10 | clock_id & 1023) & (1 << 63) - 1
    return "".join(_SORTABLE[number >> shift & 31] for shift in range(60, -1, -5))


def did_plc(name: str) -> str:
    """A DID of the form that the PLC directory gives, made from a name."""
    digest = hashlib.sha256(name.encode()).digest()
    return f"did:plc:{b32encode(digest).decode().lower()[:24]}"


def cid_of(record: Any) -> str:
    """The CID of a record in its JSON form."""
    return _cid_text(0x71, hashlib.sha256(dag_cbor(record)).digest())


def blob_cid(content: bytes) -> str:
    """The CID of raw bytes."""
    return _cid_text(0x55, hashlib.sha256(content).digest())


def _cid_text(codec: int, digest: bytes) -> str:
    body = bytes((1, codec, 0x12, 32)) + digest
    return "b" + b32encode(body).decode().lower().rstrip("=")


def dag_cbor(value: Any) -> bytes:
    """A value of the JSON form as DAG-CBOR."""
    parts: list[bytes] = []
    _encode(value, parts)
    return b"".join(parts)


def _encode(value: Any, parts: list[bytes]) -> None:
    if value is None or value is True or value is False:
        parts.append({None: b"\xf6", True: b"\xf5", False: b"\xf4"}[value])
    elif isinstance(value, int):
        parts.append(_head(0, value) if value >= 0 else _head(1, -1 - value))
    elif isinstance(value, str):
        _bytes(3, value.encode(), parts)
    elif isinstance(value, bytes):
        _bytes(2, value, parts)
    elif isinstance(value, list | tuple):
        parts.append(_head(4, len(value)))
        for item in value:
            _encode(item, parts)
    elif isinstance(value, dict):
        _encode_map(value, parts)
    else:
        raise TypeError(f"the data model has no {type(value).__name__}")


def _encode_map(value: dict[str, Any], parts: list[bytes]) -> None:
    if value.keys() == {"$link"}:
        link = value["$link"][1:].upper()
        parts.append(b"\xd8\x2a")
        _bytes(2, b"\0" + b32decode(link + "=" * (-len(link) % 8)), parts)
        return
    if value.keys() == {"$bytes"}:
        text = value["$bytes"]
        _bytes(2, b64decode(text + "=" * (-len(text) % 4)), parts)
        return
    parts.append(_head(5, len(value)))
    for key in sorted(value, key=lambda k: (len(k.encode()), k.encode())):
        _bytes(3, key.encode(), parts)
        _encode(value[key], parts)


def _bytes(major: int, body: bytes, parts: list[bytes]) -> None:
    parts += (_head(major, len(body)), body)


def _head(major: int, number: int) -> bytes:
    major <<= 5
    if number < 24:
        return bytes((major | number,))
    for extra, size in ((24, 1), (25, 2), (26, 4), (27, 8)):
        if number < 1 << 8 * size:
            return bytes((major | extra,)) + number.to_bytes(size, "big")
    raise ValueError("the number is too large")
