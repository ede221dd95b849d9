"""Earlier turns as one opaque text that the client keeps, under the home's signature.

It holds the turns themselves, shortened and compressed, for one owner only; nothing of it is kept
here. One that was changed, or that another home or owner got, is refused.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import os
import secrets
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from gnomon.answer.base import Turn
from gnomon.errors import StoreError
from gnomon.serve.errors import ApiError, bad_request
from gnomon.serve.services import Services

KIND = "compaction"
MAX_SEALED_CHARS = 400_000
_MAX_OPENED_BYTES = 1_000_000
_MAX_TURN_CHARS = 2_000
_MAX_WISHES_CHARS = 4_000
_KEY_BYTES = 32
_VERSION = "g1."


class Compacted(msgspec.Struct, frozen=True, kw_only=True):
    """What an item stands for."""

    turns: tuple[Turn, ...] = ()
    instructions: str = ""


def home_key(path: Path) -> bytes:
    """The home's key at `path`, made up on first use. Raises StoreError for a damaged one."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError:
        key = path.read_bytes()
    else:
        key = secrets.token_bytes(_KEY_BYTES)
        with os.fdopen(fd, "wb") as file:
            file.write(key)
    if len(key) != _KEY_BYTES:
        raise StoreError(
            f"{path} is not a key: it has {len(key)} bytes instead of {_KEY_BYTES}.",
            code="store.key",
            hint="Delete it; compacted conversations of before cannot be read then.",
            path=str(path),
        )
    return key


def sealed(services: Services, owner: str, content: Compacted) -> str:
    """The item's text. Raises ApiError where this server has no key."""
    packed = zlib.compress(msgspec.json.encode(content), 9)
    signed = _signature(services, owner, packed) + packed
    return _VERSION + base64.urlsafe_b64encode(signed).decode()


def opened(services: Services, owner: str, text: Any, param: str) -> Compacted:
    """What stands in an item. Raises ApiError for one that is not this owner's, of this home."""
    foreign = bad_request(
        f"{param} is no compaction of this server for this account, or was changed.",
        param=param,
        code="compaction.invalid",
    )
    if not isinstance(text, str) or not text.startswith(_VERSION) or len(text) > MAX_SEALED_CHARS:
        raise foreign
    try:
        signed = base64.b64decode(text[len(_VERSION) :].encode(), altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise foreign from None
    signature, packed = signed[:32], signed[32:]
    if not hmac.compare_digest(signature, _signature(services, owner, packed)):
        raise foreign
    # Signed by ourselves; bounded all the same.
    body = zlib.decompressobj().decompress(packed, _MAX_OPENED_BYTES)
    return msgspec.json.decode(body, type=Compacted)


def shortened(turns: Sequence[Turn], instructions: str) -> Compacted:
    """The turns with what is too long cut off."""
    return Compacted(
        turns=tuple(
            Turn(question=t.question[:_MAX_TURN_CHARS], answer=t.answer[:_MAX_TURN_CHARS])
            for t in turns
        ),
        instructions=instructions[:_MAX_WISHES_CHARS],
    )


def unpacked(
    services: Services, items: Sequence[Mapping[str, Any]], owner: str, param: str
) -> list[dict[str, Any]]:
    """The items, with the messages that a compaction stands for in its place."""
    found: list[dict[str, Any]] = []
    for i, item in enumerate(items):
        if item.get("type") != KIND:
            found.append(dict(item))
            continue
        here = f"{param}.{i}.encrypted_content"
        content = opened(services, owner, item.get("encrypted_content"), here)
        if content.instructions:
            found.append({"role": "system", "content": content.instructions})
        for turn in content.turns:
            if turn.question:
                found.append({"role": "user", "content": turn.question})
            if turn.answer:
                found.append({"role": "assistant", "content": turn.answer})
    return found


def _signature(services: Services, owner: str, packed: bytes) -> bytes:
    if services.seal is None:
        raise ApiError(404, "This server compacts nothing.", code="compaction.none")
    whose = owner.encode()
    said = b"compaction\x00" + len(whose).to_bytes(4, "big") + whose + packed
    return hmac.digest(services.seal, said, hashlib.sha256)
