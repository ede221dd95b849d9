"""`/v1/sources` and `/v1/changes`: what is followed, and what comes in."""

from __future__ import annotations

import asyncio
import difflib
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import timedelta
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.record.base import Entry, Op
from gnomon.serve.compose import is_web
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.moments import moment
from gnomon.serve.search import Moment
from gnomon.serve.services import Services
from gnomon.serve.sse import EventStream, event
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of
from gnomon.sources.opml import FeedList, read_opml, write_opml
from gnomon.types import RELIABILITY, SourceConfig

router = APIRouter(tags=["Sources"], route_class=JsonRoute)

MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 2_000
MAX_RECOGNISED = 200
"""Sources of a list that are told one by one."""
_READS_FILES = ("replay",)
"""Connectors that read the server's own files."""


class NewSource(BaseModel):
    """What to follow: an address or whatever a connector recognises, or a connector by name."""

    model_config = ConfigDict(extra="forbid")

    url: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    text: str | None = Field(None, max_length=MAX_TEXT_CHARS)
    name: str | None = Field(None, max_length=MAX_NAME_CHARS)
    title: str | None = Field(None, max_length=MAX_NAME_CHARS)
    type: str | None = Field(None, max_length=50, description="A connector, such as `bluesky`.")
    settings: dict[str, Any] = Field(
        default={}, description="The connector's settings. Secrets may be `env:NAME`."
    )
    keep_days: int | None = Field(None, ge=1, le=36_500, description="Forget what is older.")


class Pasted(BaseModel):
    """What somebody pasted."""

    model_config = ConfigDict(extra="forbid")

    text: str = Field(min_length=1, max_length=900_000)


class ChangedSource(BaseModel):
    """What should be otherwise from now on."""

    model_config = ConfigDict(extra="forbid")

    settings: dict[str, Any] = Field(
        default={}, description="Settings to change, such as `reliability`; null unsets one."
    )
    title: str | None = Field(None, max_length=MAX_NAME_CHARS)


@router.get("/v1/sources", summary="List the sources")
async def list_sources(request: Request, as_of: Moment = None) -> Response:
    """Every source with its state in a sentence, its lag, its counts and its reliability.

    `reliability` is null where none was set: then each document has that of its kind.
    """
    services = services_of(request)
    states = list(services.runner.states(moment(as_of, services.clock, param="as_of")))
    return JsonResponse(
        {"sources": msgspec.to_builtins(states), "reliability_by_kind": dict(RELIABILITY)}
    )


@router.post("/v1/sources", summary="Follow a source", status_code=201)
async def add_source(body: NewSource, request: Request) -> Response:
    """Find out what the text is, and follow it from now on. An OPML list brings all its feeds.

    `skipped` says which entries of a list are not followed, and why.
    """
    services = services_of(request)
    wanted = await _wanted(body, services)
    configs, left_out = wanted.configs, _left_out(wanted)
    followed = {c.name for c in await asyncio.to_thread(services.record.sources)}
    if len(configs) > 1:
        new = [config for config in configs if config.name not in followed]
        for config in new:
            await services.runner.add(config)
        return JsonResponse(
            {"added": [c.name for c in new], "known": len(configs) - len(new), **left_out},
            status_code=201,
        )
    (config,) = configs
    if config.name in followed:
        raise ApiError(
            409,
            f"{shown(config.name)} is followed already.",
            code="source.exists",
            hint="`gnomon sources set NAME KEY=VALUE` changes it; another --name follows it twice.",
            param="name",
        )
    await services.runner.add(config)
    return JsonResponse(_described(services, config) | left_out, status_code=201)


@router.get("/v1/sources.opml", summary="Export the followed feeds")
async def export_sources(request: Request) -> Response:
    """An OPML list for other readers. Sources that are no feeds have no place in it."""
    services = services_of(request)
    configs = await asyncio.to_thread(services.record.sources)
    body = write_opml(configs, title="Followed by Gnomon", now=services.clock.now())
    headers = {"content-disposition": 'attachment; filename="gnomon.opml"'}
    return Response(body, media_type="text/x-opml", headers=headers)


@router.post("/v1/sources/recognise", summary="Look what a text would follow")
async def recognise_source(body: Pasted, request: Request) -> Response:
    """What an address, a handle or the text of an OPML list is, without following it.

    `problem` says what keeps a source from being followed as it is; `keys` names the secrets that
    its connector can use; `skipped` says which entries of a list cannot be followed. An address
    is looked up, as it would be to follow it.
    """
    services = services_of(request)
    text = body.text.strip()
    if text.startswith("<"):
        listed = await asyncio.to_thread(read_opml, text.encode())
    else:
        if len(text) > MAX_TEXT_CHARS:
            raise bad_request(
                f"text has {len(text):,} characters: that is neither an address nor a handle.",
                param="text",
            )
        listed = await _wanted(NewSource(text=text), services)
    found = listed.configs
    followed = {c.name for c in await asyncio.to_thread(services.record.sources)}
    return JsonResponse(
        {
            "count": len(found),
            "known": sum(config.name in followed for config in found),
            "sources": [
                {
                    "name": config.name,
                    "type": config.type,
                    "title": config.title,
                    "url": url if is_web(url := str(config.settings.get("url", ""))) else "",
                    "followed": config.name in followed,
                }
                | (services.examine(config) if services.examine else {"problem": "", "keys": []})
                for config in found[:MAX_RECOGNISED]
            ],
            **_left_out(listed),
        }
    )


async def _wanted(body: NewSource, services: Services) -> FeedList:
    """The sources that are asked for; at least one."""
    text, name = (body.url or body.text or "").strip(), (body.name or "").strip()
    if body.name is not None and not (name and name.isprintable()):
        raise bad_request(f"name = {shown(body.name)} cannot be a name.", param="name")
    if body.type is not None and not text:
        found = FeedList(configs=(SourceConfig(name=name or body.type, type=body.type),))
    elif text:
        typed = f"{body.type}:{text}" if body.type else text
        survey = services.survey
        found = (
            await survey(typed) if survey else FeedList(configs=(await services.identify(typed),))
        )
    else:
        raise bad_request("url is missing: what should be followed?", param="url")
    if len(found.configs) > 1 and (name or body.title is not None):
        raise bad_request(
            f"{shown(text)} is a list of {len(found.configs):,} feeds, "
            "which cannot all have one name.",
            param="name",
        )
    asked = tuple(_as_asked(config, body, name, services) for config in found.configs)
    return msgspec.structs.replace(found, configs=asked)


def _left_out(found: FeedList) -> dict[str, Any]:
    """What a list holds that cannot be followed, told one by one up to a bound."""
    told = [{"entry": s.entry, "reason": s.reason} for s in found.skipped[:MAX_RECOGNISED]]
    return {"skipped": told, "skipped_count": len(found.skipped)}


def _refuse_files(config: SourceConfig, services: Services) -> None:
    if config.type in _READS_FILES and services.settings.server.api_key is not None:
        raise ApiError(
            403,
            "Files of the server are not followed for who comes in with a key.",
            code="source.local_file",
            hint="Add the file with `gnomon sources add` on the server itself.",
        )


def _as_asked(config: SourceConfig, body: NewSource, name: str, services: Services) -> SourceConfig:
    _refuse_files(config, services)
    return msgspec.structs.replace(
        config,
        name=name or config.name,
        settings={**config.settings, **body.settings},
        title=body.title if body.title is not None else config.title,
        keep=timedelta(days=body.keep_days) if body.keep_days else config.keep,
    )


@router.get("/v1/sources/{name:path}/keys", summary="List a source's secrets")
async def source_keys(name: str, request: Request) -> Response:
    """The secrets that its connector can use, and which of them are set; never their values."""
    services = services_of(request)
    config = await _config(services, name)
    found = services.examine(config) if services.examine else {"keys": []}
    return JsonResponse({"keys": found["keys"]})


@router.post("/v1/sources/{name:path}/pause", summary="Pause a source")
async def pause_source(name: str, request: Request) -> Response:
    """Stop following until resumed; nothing is lost that the source can replay."""
    services = services_of(request)
    config = await _config(services, name)
    await services.runner.pause(name)
    return JsonResponse(_described(services, config))


@router.post("/v1/sources/{name:path}/resume", summary="Resume a source")
async def resume_source(name: str, request: Request) -> Response:
    """Follow again, from where it stopped."""
    services = services_of(request)
    config = await _config(services, name)
    await services.runner.resume(name)
    return JsonResponse(_described(services, config))


@router.patch("/v1/sources/{name:path}", summary="Change a source's settings")
async def change_source(name: str, body: ChangedSource, request: Request) -> Response:
    """Follow on with other settings, from where it stands. A setting of null goes back to its
    default."""
    services = services_of(request)
    config = await _config(services, name)
    _refuse_files(config, services)
    merged = {**config.settings, **body.settings}
    config = msgspec.structs.replace(
        config,
        settings={key: value for key, value in merged.items() if value is not None},
        title=body.title if body.title is not None else config.title,
    )
    await services.runner.add(config)
    return JsonResponse(_described(services, config))


@router.delete("/v1/sources/{name:path}", summary="Stop following", status_code=204)
async def remove_source(name: str, request: Request) -> Response:
    """Stop following; what it brought stays."""
    services = services_of(request)
    await _config(services, name)
    await services.runner.remove(name)
    return Response(status_code=204)


@router.get("/v1/changes", summary="Stream what comes in")
async def changes(
    request: Request,
    since: Annotated[int | None, Query(ge=0, le=2**62, description="A sequence number.")] = None,
) -> Response:
    """New, changed and vanished documents as server-sent events, after `since` or from now."""
    services = services_of(request)
    resumed = request.headers.get("last-event-id", "")
    if resumed.isdecimal() and len(resumed) < 19:
        since = int(resumed)
    if since is None:
        since = await asyncio.to_thread(services.record.last_seq)
    return EventStream(_changes(services, since), services.clock)


async def _changes(services: Services, since: int) -> AsyncGenerator[bytes]:
    entries = services.runner.subscribe(since)
    async with aclosing(entries) as following:  # type: ignore[type-var]
        async for entry in following:
            yield event("change", entry_json(entry), id=str(entry.seq))


def entry_json(entry: Entry) -> dict[str, Any]:
    """One entry of the change log, as far as its document may be shown."""
    plain: dict[str, Any] = {
        "seq": entry.seq,
        "op": entry.op.value,
        "source": entry.source,
        "key": entry.key,
    }
    document = entry.document
    if document is not None:
        visible = document.policy.display
        plain |= {
            "title": document.title if visible else "",
            "url": document.url if is_web(document.url) else "",
            "kind": document.kind,
            "author": document.author,
            "version": document.version,
            "published_at": document.published_at,
            "observed_at": document.observed_at,
        }
    elif entry.op is Op.GAP and entry.gap is not None:
        plain |= {"reason": entry.gap.reason, "start": entry.gap.start, "end": entry.gap.end}
    elif entry.op is Op.NOTICE and entry.notice is not None:
        plain |= {"text": entry.notice.text, "level": entry.notice.level}
    result: dict[str, Any] = msgspec.to_builtins(plain)
    return result


async def _config(services: Services, name: str) -> SourceConfig:
    configs = await asyncio.to_thread(services.record.sources)
    for config in configs:
        if config.name == name:
            return config
    near = difflib.get_close_matches(name, [config.name for config in configs], n=1)
    raise ApiError(
        404,
        f"There is no source {shown(name)}.",
        code="source.unknown",
        hint=f"Did you mean {near[0]}?" if near else "`gnomon sources` lists them.",
        param="name",
    )


def _described(services: Services, config: SourceConfig) -> dict[str, Any]:
    state = next((s for s in services.runner.states() if s.name == config.name), None)
    plain: dict[str, Any] = {"name": config.name, "type": config.type, "title": config.title}
    return plain | (msgspec.to_builtins(state) if state is not None else {})
