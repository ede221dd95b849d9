"""Recorded firehose frames as Jetstream lines: so a recording can be played through the stand-in.

`lines_of` decodes one WebSocket frame of `com.atproto.sync.subscribeRepos` (two DAG-CBOR values,
the blocks of a commit as a CAR) into the lines that Jetstream version 1 makes of it, apart from
`time_us`, which is the clock of whoever sends them.
"""

from __future__ import annotations

import struct
from base64 import b32encode, b64encode
from collections.abc import Iterator
from typing import Any

_OPERATIONS = ("create", "update", "delete")


class Link(bytes):
    """A CID inside DAG-CBOR."""

    @property
    def text(self) -> str:
        """As it is written in JSON."""
        return "b" + b32encode(self).decode().lower().rstrip("=")


def lines_of(frame: bytes) -> list[dict[str, Any]]:
    """The lines that this frame becomes. Raises ValueError for bytes that are no frame."""
    header, at = decode_cbor(frame)
    body, _ = decode_cbor(frame, at)
    if header.get("op") != 1:
        raise ValueError(f"an error frame: {body}")
    kind = header["t"].removeprefix("#")
    if kind in ("identity", "account"):
        return [{"did": body["did"], "kind": kind, kind: json_form(body)}]
    if kind != "commit":
        return []
    blocks = dict(blocks_of(body["blocks"]))
    lines = []
    for op in body["ops"]:
        collection, _, rkey = op["path"].partition("/")
        if op["action"] not in _OPERATIONS:
            raise ValueError(f"an unknown operation {op['action']!r}")
        commit: dict[str, Any] = {
            "rev": body["rev"],
            "operation": op["action"],
            "collection": collection,
            "rkey": rkey,
        }
        if op["action"] != "delete":
            record, _ = decode_cbor(blocks[op["cid"]])
            commit |= {"record": json_form(record), "cid": op["cid"].text}
        lines.append({"did": body["repo"], "kind": "commit", "commit": commit})
    return lines


def blocks_of(car: bytes) -> Iterator[tuple[Link, bytes]]:
    """The blocks of a CAR (version 1), each with its CID."""
    length, at = _varint(car, 0)
    at += length
    while at < len(car):
        length, at = _varint(car, at)
        end = at + length
        _, start = _varint(car, at)
        for _ in range(2):
            _, start = _varint(car, start)
        size, start = _varint(car, start)
        yield Link(car[at : start + size]), car[start + size : end]
        at = end


def json_form(value: Any) -> Any:
    """The JSON form of the data model: links as `$link`, bytes as `$bytes`."""
    if isinstance(value, Link):
        return {"$link": value.text}
    if isinstance(value, bytes):
        return {"$bytes": b64encode(value).decode().rstrip("=")}
    if isinstance(value, dict):
        return {key: json_form(item) for key, item in value.items()}
    if isinstance(value, list):
        return [json_form(item) for item in value]
    return value


def decode_cbor(data: bytes, at: int = 0) -> tuple[Any, int]:
    """The DAG-CBOR value at this offset, and where the next begins. Raises ValueError."""
    try:
        return _decode(data, at, 0)
    except (IndexError, struct.error, RecursionError, UnicodeDecodeError) as error:
        raise ValueError(f"damaged CBOR: {error}") from None


def _decode(data: bytes, at: int, depth: int) -> tuple[Any, int]:
    if depth > 128:
        raise ValueError("CBOR nested too deeply")
    major, info = data[at] >> 5, data[at] & 31
    at += 1
    if major == 7 and info in (20, 21, 22, 27):
        if info == 27:
            return struct.unpack_from(">d", data, at)[0], at + 8
        return {20: False, 21: True, 22: None}[info], at
    if info < 24:
        number = info
    elif info < 28:
        size = 1 << info - 24
        number, at = int.from_bytes(data[at : at + size], "big"), at + size
    else:
        raise ValueError("CBOR of indefinite length")
    if major == 0:
        return number, at
    if major == 1:
        return -1 - number, at
    if major in (2, 3):
        body = data[at : at + number]
        if len(body) < number:
            raise ValueError("CBOR cut off")
        return (body if major == 2 else body.decode()), at + number
    if major == 4:
        items = []
        for _ in range(number):
            item, at = _decode(data, at, depth + 1)
            items.append(item)
        return items, at
    if major == 5:
        fields = {}
        for _ in range(number):
            key, at = _decode(data, at, depth + 1)
            fields[key], at = _decode(data, at, depth + 1)
        return fields, at
    if major == 6 and number == 42:
        link, at = _decode(data, at, depth + 1)
        return Link(link[1:]), at
    raise ValueError(f"CBOR that the data model does not have: major type {major}")


def _varint(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        byte = data[at]
        number |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return number, at
