"""Bluesky through Jetstream: posts of the whole network or of chosen accounts, as they appear.

A post's key is `bluesky:<at-uri>`, its author the account's DID, which outlives handles. Edits
are new versions, deletions end a post, and an account that was deleted, deactivated, suspended
or taken down is purged. The cursor holds a position and the server it belongs to; another server
is resumed by time, a little earlier. What a server no longer holds becomes a gap.

Version 2 is asked with its dictionary compression; whatever goes wrong with that, the stream
goes on uncompressed.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from typing import Any
from urllib.parse import quote, urlsplit

import msgspec

from gnomon.clock import to_us
from gnomon.errors import ContentError, UpstreamError, UpstreamTransient
from gnomon.net.base import Socket
from gnomon.sources.base import Context, SourceSpec
from gnomon.sources.bluesky_position import Position, short
from gnomon.sources.bluesky_posts import POLICY
from gnomon.sources.bluesky_reader import Reader
from gnomon.sources.bluesky_settings import DID, HANDLE, BlueskySettings
from gnomon.sources.bluesky_wire import (
    DICTIONARY_NSID,
    MAX_FRAME_BYTES,
    SUBPROTOCOL,
    Decode,
    Decompressor,
    Endpoint,
    FrameError,
    ServerSaid,
    decoder,
    endpoints,
)
from gnomon.sources.refusals import refused
from gnomon.types import Batch, Cursor, SourceConfig

_EVENTS = 500
_FLUSH_S = 0.1
_QUIET_S = 30.0
"""After so long without an event the position is kept anew, so that silence is no gap later."""
_IDLE_CHOSEN_S = 7 * 86_400.0
"""Chosen accounts may be silent for days; whether the server lives is asked by pings."""
_STUMBLES = 2
_NOT_FOUND_RETRY_S = 3_600.0


class _Again(Exception):
    """Open the stream anew at once: what stood in the way is out of it."""


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Follow the stream until it breaks; see the module's promise.

    The servers are tried in turn, beginning with the one that the cursor belongs to. Only when
    none of them delivers, the runner waits.
    """
    settings: BlueskySettings = ctx.settings
    position = Position.read(cursor) or Position()
    handles = {await _did_of(ctx, handle): handle for handle in settings.handles}
    dids = sorted({*settings.dids, *handles})
    order = endpoints(settings.endpoints, settings.protocol)
    # A stable sort: the server that the cursor belongs to comes first, the others in their order.
    order.sort(key=lambda e: (e.base, e.wire) != (position.base, position.wire))
    trouble: UpstreamError | None = None
    for endpoint in order:
        reader = Reader(ctx, position, handles, chosen=bool(dids))
        try:
            stream = _listen(ctx, endpoint, reader, dids)
            async with aclosing(stream):
                async for batch in stream:
                    yield batch
        except UpstreamError as error:
            if reader.delivered:
                raise
            ctx.count(f"endpoint.{error.code}")
            if trouble is None or isinstance(error, UpstreamTransient):
                trouble = refused(error)
    if trouble is not None:
        raise trouble


async def _listen(
    ctx: Context, endpoint: Endpoint, reader: Reader, dids: list[str]
) -> AsyncGenerator[Batch, None]:
    """The batches of one server, until the stream breaks."""
    settings: BlueskySettings = ctx.settings
    position = reader.position
    params = _params(settings, dids)
    filters = short(repr(sorted(params.items())))
    position.at(endpoint)
    if not position.us:
        # The first start of all. Kept at once, so that from here on nothing is missed silently.
        position.us = to_us(ctx.clock.now()) - int(settings.backfill_s * 1e6)
        yield Batch((), position.cursor())
    dictionary = await _dictionary(ctx, endpoint)
    start = position.resume(endpoint)
    refused_times = 0
    while True:
        query = dict(params)
        if dictionary is not None:
            query["zstdDictionary"] = dictionary.id
        reader.began(start, same_filters=position.filters == filters)
        position.filters = filters
        try:
            async with ctx.fetcher.socket(
                endpoint.url(start, query),
                subprotocols=(SUBPROTOCOL,) if endpoint.wire == "v2" else (),
                idle_s=_IDLE_CHOSEN_S if dids else settings.idle_s,
                max_message_bytes=MAX_FRAME_BYTES,
            ) as socket:
                ctx.heard()
                batches = _batches(ctx, socket, reader, decoder(endpoint.wire, dictionary))
                async with aclosing(batches):
                    async for batch in batches:
                        yield batch
            return
        except _Again:
            position.seq = 0
            start = position.resume(endpoint)
        except UpstreamError as error:
            said, message = _refusal(error)
            refused_times += 1
            if said == "UnknownZstdDictionary" and dictionary is not None:
                ctx.count("dictionary.rotated")
                stale, dictionary = dictionary.id, None
                if refused_times == 1:
                    dictionary = await _dictionary(ctx, endpoint)
                if dictionary is not None and dictionary.id == stale:
                    dictionary = None
            elif said == "CursorTooOld" and start is not None and refused_times <= 4:
                start = _floor(reader, endpoint, start, message)
            else:
                raise


def _floor(reader: Reader, endpoint: Endpoint, start: int, message: str) -> int | None:
    """Where to go on when the cursor is below what the server holds.

    First by time, because a silent stream may have missed nothing; then at the floor that the
    server names; else from now on.
    """
    position = reader.position
    if position.seq:
        position.seq = 0
        if position.us:
            return position.resume(endpoint)
    reader.lost("The server no longer held what came after the cursor.")
    named = [int(digits) for digits in re.findall(r"\d+", message)]
    above = [number for number in named if number > start]
    return min(above, default=None)


def _params(settings: BlueskySettings, dids: list[str]) -> dict[str, Any]:
    params: dict[str, Any] = {
        "collections": sorted(settings.collections),
        "maxMessageSizeBytes": MAX_FRAME_BYTES,
    }
    if dids:
        params["dids"] = dids
    if settings.kinds:
        params["kinds"] = sorted(settings.kinds)
    return params


async def _batches(
    ctx: Context, socket: Socket, reader: Reader, decode: Decode
) -> AsyncGenerator[Batch, None]:
    """What comes over the socket, a batch every tenth of a second or so many events."""
    arriving = aiter(socket)
    trouble: Exception | None = None
    while trouble is None:
        messages, trouble = await _gather(arriving)
        reader.tick()
        for message in messages:
            problem = _take(ctx, message, reader, decode)
            if problem is not None:
                trouble = problem
                break
        if messages:
            batch = reader.flush()
            ctx.heard(text=reader.sampled)
            yield batch
        elif trouble is None:
            ctx.heard()
            yield reader.quiet()
    raise trouble


def _take(
    ctx: Context, message: str | bytes, reader: Reader, decode: Decode
) -> UpstreamTransient | None:
    """Read one message. Returns why the stream must be opened again, if it must.

    A frame that cannot be read is asked for again; if it stays so, it is passed as a gap.
    """
    position = reader.position
    try:
        for event in decode(message):
            reader.take(event)
            if reader.misplaced:
                raise _Again
    except FrameError as error:
        ctx.count("frame.unreadable")
        if position.stumbled >= _STUMBLES:
            reader.lost(f"A frame could not be read: {error}")
            return None
        position.stumbled += 1
        return UpstreamTransient(
            f"A frame of the Jetstream stream could not be read: {error}.",
            code="bluesky.unreadable",
            hint="It is asked for again.",
        )
    except ServerSaid as said:
        return UpstreamTransient(
            f"The Jetstream server ended the stream: {said}.",
            code="bluesky.too_slow" if said.error == "ConsumerTooSlow" else "bluesky.error",
            hint="It is opened again from where it stood.",
            error=said.error,
        )
    return None


async def _gather(
    arriving: AsyncIterator[str | bytes],
) -> tuple[list[str | bytes], Exception | None]:
    """Messages until the batch is full or its time is over, and how the stream ended if it did."""
    loop = asyncio.get_running_loop()
    messages: list[str | bytes] = []
    try:
        async with asyncio.timeout(_QUIET_S) as patience:
            messages.append(await anext(arriving))
            patience.reschedule(loop.time() + _FLUSH_S)
            while len(messages) < _EVENTS:
                messages.append(await anext(arriving))
    except TimeoutError:
        return messages, None
    except (UpstreamError, ContentError) as error:
        return messages, error
    return messages, None


async def _dictionary(ctx: Context, endpoint: Endpoint) -> Decompressor | None:
    """The server's dictionary; None where it has none that works, which is counted."""
    settings: BlueskySettings = ctx.settings
    if endpoint.wire != "v2" or not settings.compression:
        return None
    try:
        response = await ctx.fetcher.fetch(
            f"{endpoint.http}/xrpc/{DICTIONARY_NSID}", purpose="feed", max_body_bytes=1_000_000
        )
        if response.status != 200:
            ctx.count(f"dictionary.{response.status}")
            return None
        return Decompressor(response.body)
    except (UpstreamError, ContentError) as error:
        ctx.count(f"dictionary.{error.code}")
    except FrameError:
        ctx.count("dictionary.unreadable")
    return None


def _refusal(error: UpstreamError) -> tuple[str, str]:
    """Name and message of the XRPC error with which a handshake was refused."""
    try:
        body = msgspec.json.decode(error.fields.get("body", ""), type=dict[str, Any])
    except (msgspec.DecodeError, TypeError):
        return "", ""
    return str(body.get("error", "")), str(body.get("message", ""))


async def _did_of(ctx: Context, handle: str) -> str:
    """The account behind a handle. Raises UpstreamTransient where there is none."""
    settings: BlueskySettings = ctx.settings
    url = f"{settings.api.rstrip('/')}/xrpc/com.atproto.identity.resolveHandle"
    response = await ctx.fetcher.fetch(f"{url}?handle={quote(handle)}", purpose="feed")
    if response.status == 200:
        try:
            did = msgspec.json.decode(response.body, type=dict[str, Any]).get("did")
        except msgspec.DecodeError:
            did = None
        if isinstance(did, str) and DID.fullmatch(did):
            return did
    raise UpstreamTransient(
        f"The handle {handle} leads to no account (status {response.status}).",
        code="source.not_found",
        retry_after_s=_NOT_FOUND_RETRY_S,
        hint="Check its spelling, or give the account's DID.",
        handle=handle,
        status=response.status,
    )


def identify(text: str) -> SourceConfig | None:
    """An account: `@name.example.com`, `name.bsky.social`, a DID, or its page on bsky.app.

    `bluesky` alone means the whole network; `bluesky:` in front makes any handle an account.
    """
    text = text.strip()
    if text.lower().startswith("bluesky:"):
        text = f"@{text[8:].removeprefix('@')}"
    if text.lower() == "bluesky":
        return SourceConfig(name="bluesky", type="bluesky", title="Bluesky")
    name = text
    parts = urlsplit(text)
    if parts.scheme in ("http", "https"):
        steps = parts.path.strip("/").split("/")
        if parts.hostname not in ("bsky.app", "www.bsky.app") or steps[0] != "profile":
            return None
        name = f"@{steps[1]}" if len(steps) > 1 else ""
    name = name.removeprefix("at://").split("/")[0]
    bare = name.removeprefix("@")
    if DID.fullmatch(bare):
        return SourceConfig(name=f"bluesky:{bare}", type="bluesky", settings={"dids": [bare]})
    handle = bare.lower()
    ours = name.startswith("@") or handle.endswith((".bsky.social", ".bsky.team"))
    if not ours or not HANDLE.fullmatch(handle):
        return None
    return SourceConfig(
        name=f"bluesky:{handle}",
        type="bluesky",
        title=f"@{handle} on Bluesky",
        settings={"handles": [handle]},
    )


SOURCE = SourceSpec(
    name="bluesky",
    title="Bluesky",
    docs_url="reference/sources/bluesky",
    follow=follow,
    settings=BlueskySettings,
    policy=POLICY,
    state="live",
    identify=identify,
    examples=("@name.bsky.social", "https://bsky.app/profile/name.bsky.social"),
)
