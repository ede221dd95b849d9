"""From the search tools and parameters that clients send to filters of a question.

What cannot be expressed is refused with a sentence, never dropped.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from gnomon.clock import Clock, zone_of
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.moments import moment

MAX_VALUES = 50
_WEB_TOOLS = ("web_search", "web_search_preview", "web_search_2025_08_26", "browser_search")
_X_TOOLS = ("x_search",)
_FILE_TOOLS = ("file_search", "collections_search")


class Narrowing(msgspec.Struct, frozen=True, kw_only=True):
    """Filters of a question, and which of the client's search tools were meant."""

    web: bool = False
    x: bool = False
    stores: tuple[str, ...] = ()
    """Vector stores to search, if only files were asked for or files too."""
    authors: tuple[str, ...] = ()
    domains: tuple[str, ...] = ()
    not_domains: tuple[str, ...] = ()
    since: datetime | None = None
    until: datetime | None = None
    zone: str = ""
    """The time zone of `user_location`; empty where none was sent."""

    @property
    def kinds(self) -> tuple[str, ...]:
        """Posts alone if only posts were asked for, files alone if only files; else everything."""
        if self.stores:
            return () if self.x or self.web else ("file",)
        return ("post",) if self.x and not self.web else ()

    def filters(self) -> dict[str, Any]:
        """As keyword arguments of a Question."""
        return {
            "kinds": self.kinds,
            "authors": self.authors,
            "domains": self.domains,
            "not_domains": self.not_domains,
            "since": self.since,
            "until": self.until,
            **({"zone": self.zone} if self.zone else {}),
        }


def narrow(
    tools: Sequence[Mapping[str, Any]] | None,
    parameters: Mapping[str, Any] | None,
    clock: Clock,
) -> Narrowing:
    """The filters that `tools` and `search_parameters` ask for together."""
    parts = [_from_tool(tool, f"tools.{i}", clock) for i, tool in enumerate(tools or ())]
    if parameters is not None:
        parts += _from_parameters(parameters, clock)
    return _together(parts)


def _from_tool(tool: Mapping[str, Any], param: str, clock: Clock) -> Narrowing:
    kind = tool.get("type")
    if kind in _WEB_TOOLS:
        return _web(tool, param)
    if kind in _X_TOOLS:
        return _x(tool, param, clock)
    if kind in _FILE_TOOLS:
        stores = _strings(tool, "vector_store_ids", param) or _strings(
            tool, "collection_ids", param
        )
        if not stores:
            raise bad_request(f"{param}.vector_store_ids is empty.", param=param)
        return Narrowing(stores=stores)
    if kind == "live_search":
        return _together(_from_sources(tool.get("sources"), f"{param}.sources"))
    raise ApiError(
        400,
        f"{param}.type = {shown(kind)} is not a tool that Gnomon runs.",
        code="request.tool",
        param=param,
        hint="It has web_search, x_search, file_search, code_interpreter and mcp; leave the "
        "others out.",
    )


def _web(tool: Mapping[str, Any], param: str) -> Narrowing:
    filters = tool.get("filters") or {}
    if not isinstance(filters, Mapping):
        raise bad_request(f"{param}.filters must be an object.", param=f"{param}.filters")
    both = {**filters, **{k: v for k, v in tool.items() if v is not None}}
    domains = _domains(both, "allowed_domains", "excluded_domains", param)
    return Narrowing(web=True, zone=_zone(tool, param), **domains)


def _zone(tool: Mapping[str, Any], param: str) -> str:
    """The time zone of `user_location`. Where the user is otherwise narrows nothing."""
    place = tool.get("user_location") or {}
    if not isinstance(place, Mapping):
        raise bad_request(
            f"{param}.user_location must be an object.", param=f"{param}.user_location"
        )
    # Chat completions put it one level deeper.
    nested = place.get("approximate")
    place = nested if isinstance(nested, Mapping) else place
    zone = _text(place, "timezone", f"{param}.user_location") or ""
    if zone:
        zone_of(zone)
    return zone


def _x(tool: Mapping[str, Any], param: str, clock: Clock) -> Narrowing:
    if _strings(tool, "excluded_x_handles", param):
        raise _not_yet("excluded_x_handles", param)
    return Narrowing(
        x=True,
        authors=_handles(_strings(tool, "allowed_x_handles", param)),
        since=moment(
            _text(tool, "from_date", param), clock, param=f"{param}.from_date", bound=True
        ),
        until=moment(_text(tool, "to_date", param), clock, param=f"{param}.to_date", bound=True),
    )


def _from_parameters(parameters: Mapping[str, Any], clock: Clock) -> list[Narrowing]:
    param = "search_parameters"
    if parameters.get("mode") == "off":
        raise ApiError(
            400,
            "search_parameters.mode = off is not possible: Gnomon answers from evidence only.",
            code="request.search_off",
            param=f"{param}.mode",
        )
    parts = _from_sources(parameters.get("sources"), f"{param}.sources")
    since = moment(
        _text(parameters, "from_date", param), clock, param=f"{param}.from_date", bound=True
    )
    last = _text(parameters, "to_date", param)
    until = moment(last, clock, param=f"{param}.to_date", bound=True)
    if until is not None and last is not None and len(last.strip()) == len("2026-01-01"):
        until += timedelta(days=1)  # Here, unlike in x_search, the day named is the last one in.
    return [*parts, Narrowing(since=since, until=until)]


def _from_sources(sources: Any, param: str) -> list[Narrowing]:
    if sources is None:
        return []
    if not isinstance(sources, list) or not all(isinstance(s, Mapping) for s in sources):
        raise bad_request(f"{param} must be a list of objects.", param=param)
    parts = []
    for i, source in enumerate(sources):
        here = f"{param}.{i}"
        kind = source.get("type")
        if kind in ("web", "news"):
            lists = _domains(source, "allowed_websites", "excluded_websites", here)
            parts.append(Narrowing(web=True, **lists))
        elif kind == "x":
            if _strings(source, "excluded_x_handles", here):
                raise _not_yet("excluded_x_handles", here)
            handles = _strings(source, "included_x_handles", here)
            handles = handles or _strings(source, "x_handles", here)
            parts.append(Narrowing(x=True, authors=_handles(handles)))
        elif kind == "rss":
            raise ApiError(
                400,
                "Gnomon follows feeds all the time instead of reading them on request.",
                code="request.rss",
                param=here,
                hint="Add the feed once with POST /v1/sources, then ask without this source.",
            )
        else:
            raise bad_request(
                f"{here}.type = {shown(kind)} is none of web, news, x.", param=f"{here}.type"
            )
    return parts


def _together(parts: Sequence[Narrowing]) -> Narrowing:
    web = any(p.web for p in parts)
    x = any(p.x for p in parts)
    narrowed_web = any(p.domains for p in parts)
    narrowed_x = any(p.authors for p in parts)
    if (web and narrowed_x) or (x and narrowed_web):
        raise ApiError(
            400,
            "Handles and domains cannot be narrowed in one question that searches both "
            "posts and the web.",
            code="request.narrowing",
            param="tools",
            hint="Ask with one of the two tools at a time, or leave the narrowing out.",
        )
    starts = [p.since for p in parts if p.since is not None]
    ends = [p.until for p in parts if p.until is not None]
    return Narrowing(
        web=web,
        x=x,
        stores=tuple(dict.fromkeys(store for p in parts for store in p.stores)),
        authors=tuple(dict.fromkeys(a for p in parts for a in p.authors)),
        domains=tuple(dict.fromkeys(d for p in parts for d in p.domains)),
        not_domains=tuple(dict.fromkeys(d for p in parts for d in p.not_domains)),
        since=max(starts, default=None),
        until=min(ends, default=None),
        zone=next((p.zone for p in parts if p.zone), ""),
    )


def _domains(source: Mapping[str, Any], allowed: str, excluded: str, param: str) -> dict[str, Any]:
    only = _strings(source, allowed, param)
    without = _strings(source, excluded, param)
    if only and without:
        raise bad_request(
            f"{param} has both {allowed} and {excluded}; give one of them.", param=param
        )
    return {"domains": only, "not_domains": without}


def _strings(source: Mapping[str, Any], name: str, param: str) -> tuple[str, ...]:
    values = source.get(name)
    if values is None:
        return ()
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise bad_request(f"{param}.{name} must be a list of strings.", param=f"{param}.{name}")
    if len(values) > MAX_VALUES:
        raise bad_request(
            f"{param}.{name} has {len(values)} values; at most {MAX_VALUES} are possible.",
            param=f"{param}.{name}",
        )
    return tuple(values)


def _text(source: Mapping[str, Any], name: str, param: str) -> str | None:
    value = source.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_request(f"{param}.{name} must be a string.", param=f"{param}.{name}")
    return value


def _handles(values: Sequence[str]) -> tuple[str, ...]:
    return tuple(v.removeprefix("@") for v in values)


def _not_yet(name: str, param: str) -> ApiError:
    return ApiError(
        400,
        f"{param}.{name} is not possible: Gnomon can include authors, not exclude them.",
        code="request.narrowing",
        param=f"{param}.{name}",
    )
