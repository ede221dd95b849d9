"""Reading a response body that may lie about its size.

Both the bytes on the wire and the bytes after decompression are counted while they come, so a
bomb stops at the cap and never exists in memory.
"""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator

from gnomon.errors import ContentError

_MAX_MEMBERS = 1_000
"""Concatenated gzip members in one body."""


class Decoder:
    """Undoes one content coding, never producing more than `cap` + 1 bytes in all."""

    def __init__(self, coding: str, cap: int) -> None:
        self._coding = coding.strip().lower()
        self._cap = cap
        self._made = 0
        self._members = 0
        self._inflate: zlib._Decompress | None = None
        self._started = False
        if self._coding not in ("", "identity", "gzip", "x-gzip", "deflate"):
            raise ContentError(
                f"The body is coded as {self._coding[:40]!r}, which was not asked for.",
                code="net.encoding",
                hint="The site must answer in gzip, deflate or plain.",
            )

    def feed(self, data: bytes) -> bytes:
        """The plain bytes behind `data`. Raises ContentError `net.encoding`."""
        if self._coding in ("", "identity"):
            self._made += len(data)
            return data
        out = bytearray()
        try:
            while data and self._made <= self._cap:
                out += self._step(data)
                assert self._inflate is not None  # noqa: S101 - made by _step
                data = self._inflate.unconsumed_tail or self._next_member()
        except zlib.error as error:
            raise ContentError(
                f"The body is not the {self._coding} data that it claims to be ({error}).",
                code="net.encoding",
                hint="Try again later; the site sends damaged data.",
            ) from None
        return bytes(out)

    @property
    def complete(self) -> bool:
        """Whether the coding came to its own end."""
        return self._inflate is None or self._inflate.eof

    def _step(self, data: bytes) -> bytes:
        if self._inflate is None:
            self._inflate = zlib.decompressobj(self._wbits(data))
        made = self._inflate.decompress(data, self._cap + 1 - self._made)
        self._made += len(made)
        return made

    def _next_member(self) -> bytes:
        """What follows a finished member; empty unless it is another one."""
        assert self._inflate is not None  # noqa: S101 - called after _step only
        rest = self._inflate.unused_data.lstrip(b"\0")
        if self._coding == "deflate" or not rest.startswith(b"\x1f"):
            return b""  # the end, or the padding that some servers append
        self._members += 1
        if self._members > _MAX_MEMBERS:
            raise zlib.error("too many members")
        self._inflate = zlib.decompressobj(31)
        return rest

    def _wbits(self, data: bytes) -> int:
        if self._coding != "deflate":
            return 31
        # Both the zlib form and the raw form go by the name of deflate.
        return 15 if data[0] & 0x0F == 8 and data[0] >> 4 <= 7 else -15


async def read_body(
    chunks: AsyncIterator[bytes], *, coding: str, cap: int, announced: int | None, truncate: bool
) -> bytes:
    """The whole plain body, at most `cap` bytes of it, on the wire and decoded.

    Over the cap raises ContentError `net.too_large`, or ends the reading if `truncate`.
    """
    if announced is not None and announced > cap and not truncate:
        raise _too_large(cap, announced)
    decoder = Decoder(coding, cap)
    body = bytearray()
    wire = 0
    async for chunk in chunks:
        wire += len(chunk)
        body += decoder.feed(chunk)
        if wire > cap or len(body) > cap:
            if truncate:
                return bytes(body[:cap])
            raise _too_large(cap, None)
    if not decoder.complete and not truncate:
        raise ContentError(
            f"The body ends in the middle of its {coding} data.",
            code="net.encoding",
            hint="Try again later; the site sends damaged data.",
        )
    return bytes(body)


def _too_large(cap: int, announced: int | None) -> ContentError:
    size = f"announces {announced:,} bytes" if announced is not None else "goes on"
    return ContentError(
        f"The body is larger than the {cap:,} bytes that are fetched at most (it {size}).",
        code="net.too_large",
        hint="Raise net.max_body_bytes if this page must be read.",
        cap=cap,
    )
