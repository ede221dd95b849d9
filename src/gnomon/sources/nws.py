"""US National Weather Service: the alerts in force, polled once a minute, and what became of them.

An alert is one document: messages that update it are versions, a cancellation ends it, and so does
its expiry, or its absence from two answers. An office may split an alert; each part that goes on is
then a document. After an absence the messages in between are paged; what the service keeps no more
(seven days), or what cannot be paged, is a gap.
"""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

from pydantic import Field, field_validator, model_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.base import Context, SourceSettings, SourceSpec, require_contact
from gnomon.sources.nws_alerts import POLICY
from gnomon.sources.nws_memory import OVERLAP_US, Memory, ended, look, missed
from gnomon.sources.polling import ask, poll, web_address, why_unreadable
from gnomon.types import Batch, Change, Cursor, Gap, SourceConfig

_S = 1_000_000
_MAX_BYTES = 60_000_000
_KEPT_US = 7 * 86_400 * _S
_AWAY_US = 300 * _S
"""After so long without an answer, messages may have come and gone unseen."""
_MAX_PAGES = 20
_REFUSED_RETRY_S = 900.0
_ZONE = re.compile(r"[A-Z]{2}[CZ]\d{3}")
_Severity = Literal["Extreme", "Severe", "Moderate", "Minor", "Unknown"]


class NwsSettings(SourceSettings):
    """Settings of one set of alerts."""

    areas: tuple[str, ...] = Field(
        (), description="States, territories or marine areas by two letters, such as `KS`."
    )
    zones: tuple[str, ...] = Field(
        (), description="Zones or counties, such as `KSZ069`, instead of areas."
    )
    severities: tuple[_Severity, ...] = Field(
        ("Extreme", "Severe", "Moderate"), min_length=1, description="How severe."
    )
    events: tuple[str, ...] = Field(
        (), description="Only these kinds, such as `Tornado Warning`; none means all."
    )
    interval_s: float = Field(60.0, ge=0.05, description="Time between two looks.")
    url: str = Field("https://api.weather.gov", description="Address of the service.")

    @field_validator("areas", "zones")
    @classmethod
    def _upper(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(dict.fromkeys(code.strip().upper() for code in codes))

    @model_validator(mode="after")
    def _are_codes(self) -> NwsSettings:
        wrong = [a for a in self.areas if not re.fullmatch(r"[A-Z]{2}", a)]
        wrong += [z for z in self.zones if not _ZONE.fullmatch(z)]
        if wrong:
            raise ValueError(f"{wrong[0]!r} is no area (`KS`) or zone (`KSZ069`, `KSC015`)")
        if self.areas and self.zones:
            raise ValueError("give areas or zones, not both: the service takes one of them")
        return self

    def query(self) -> dict[str, str]:
        """What is asked for."""
        query = {"status": "actual"}
        if self.areas:
            query["area"] = ",".join(self.areas)
        if self.zones:
            query["zone"] = ",".join(self.zones)
        if len(self.severities) < 5:
            query["severity"] = ",".join(self.severities)
        if self.events:
            query["event"] = ",".join(self.events)
        return query


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for ever; see the module's promise."""
    settings: NwsSettings = ctx.settings
    if urlsplit(settings.url).hostname == "api.weather.gov":
        require_contact(ctx, "The National Weather Service")
    base, query = settings.url.rstrip("/"), settings.query()
    url = f"{base}/alerts/active?{urlencode(query)}"
    memory = Memory.restore(cursor, url)
    while True:
        trouble, fresh_s = "", None
        try:
            now_us = to_us(ctx.clock.now())
            away_us = max(_AWAY_US, int(3 * settings.interval_s * _S))
            if memory.looked_us and now_us - memory.looked_us > away_us:
                changes = await _catch_up(ctx, memory, base, query)
                memory.looked_us = now_us
                yield Batch(tuple(changes), memory.cursor())
            answer = await poll(
                ctx, url, purpose="feed", known=memory.validators, max_body_bytes=_MAX_BYTES
            )
            fresh_s = answer.fresh_s
            if answer.response.status in (404, 410):
                raise _not_there(url, answer.response.status)
            if answer.changed:
                data = await asyncio.to_thread(_parse, answer.response.body, url)
                changes = look(ctx, memory, data)
                memory.validators = answer.validators
            else:
                changes = ended(ctx, memory)  # what was missing in it is missing again
            memory.looked_us = to_us(ctx.clock.now())
            memory.tidy(memory.looked_us)
            yield Batch(tuple(changes), memory.cursor())
        except ContentError as error:
            ctx.count(error.code)
            trouble = f"the answer could not be read: {error.message}"
        except (UpstreamTerminal, UpstreamTransient) as error:
            raise _explained(error) from None
        wait_s = min(max(settings.interval_s, fresh_s or 0.0), max(settings.interval_s, 600.0))
        wait_s *= ctx.rng.uniform(1.0, 1.1)
        ctx.heard(state="retrying" if trouble else "", text=trouble, next_in_s=wait_s)
        await ctx.clock.sleep(wait_s)


def _parse(body: bytes, url: str) -> dict[str, Any]:
    try:
        data = json.loads(body)
        if isinstance(data["features"], list):
            return data  # type: ignore[no-any-return]
        reason = "no features"
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = why_unreadable(error)
    raise ContentError(
        f"{url} is not what the service's answers look like ({reason}).",
        code="nws.unreadable",
        hint="It is asked again later.",
    )


def _not_there(url: str, status: int) -> UpstreamTransient:
    return UpstreamTransient(
        f"{url} answers {status}: there are no alerts.",
        code="source.not_found",
        retry_after_s=_REFUSED_RETRY_S,
        hint="Check the setting url.",
    )


def _explained(
    error: UpstreamTerminal | UpstreamTransient,
) -> UpstreamTerminal | UpstreamTransient:
    if error.code == "source.forbidden":
        return UpstreamTransient(
            f"{error.message} It turns away whom it cannot write to, or who asks too often.",
            code="source.refused",
            retry_after_s=_REFUSED_RETRY_S,
            hint="Check net.contact.",
            status=error.fields.get("status"),
        )
    if error.code == "source.refused" and error.fields.get("status") == 400:
        error.hint = "Check the settings areas, zones and events."
    return error


# -- what was missed --------------------------------------------------------------------
async def _catch_up(ctx: Context, memory: Memory, base: str, query: dict[str, str]) -> list[Change]:
    """The messages since the last look, as far as the service still has them."""
    now_us = to_us(ctx.clock.now())
    since_us, floor_us = memory.looked_us - OVERLAP_US, now_us - _KEPT_US
    changes: list[Change] = []
    if memory.looked_us < floor_us:
        reason = "The service keeps messages of seven days."
        start, end = from_us(memory.looked_us), from_us(floor_us)
        changes.append(Gap(reason=reason, start=start, end=end))
    begin = from_us(max(since_us, floor_us)).strftime("%Y-%m-%dT%H:%M:%SZ")
    url = f"{base}/alerts?{urlencode({**query, 'start': begin, 'limit': '500'})}"
    features, whole = await _pages(ctx, url)
    if not whole:
        reason = "The messages in between could not be paged."
        start_at = from_us(max(memory.looked_us, floor_us))
        changes.append(Gap(reason=reason, start=start_at, end=from_us(now_us)))
    return changes + missed(ctx, memory, features, since_us)


async def _pages(ctx: Context, url: str) -> tuple[list[Any], bool]:
    """The features of all pages from this one on, and whether these are really all."""
    features: list[Any] = []
    here = urlsplit(url)
    for _ in range(_MAX_PAGES):
        try:
            response = await ask(ctx, url, purpose="feed", max_body_bytes=_MAX_BYTES)
            if response.status != 200:
                ctx.count(f"nws.page_{response.status}")
                return features, False
            data = await asyncio.to_thread(_parse, response.body, url)
        except ContentError as error:
            ctx.count(error.code)
            return features, False
        features += data["features"]
        pagination = data.get("pagination")
        onward = pagination.get("next") if isinstance(pagination, dict) else None
        if not onward or not data["features"]:
            return features, True
        there = urlsplit(web_address(str(onward)))
        if (there.scheme, there.netloc) != (here.scheme, here.netloc) or onward == url:
            ctx.count("nws.page_elsewhere")
            return features, False
        url = str(onward)
    return features, False


def identify(text: str) -> SourceConfig | None:
    """`nws`, `nws:KS,OK`, or an address of its alerts (`https://api.weather.gov/alerts/active`)."""
    text = text.strip()
    name, _, codes = text.partition(":")
    if text.lower() in ("nws", "weather alerts"):
        return SourceConfig(name="nws", type="nws", title=SOURCE.title)
    if name.lower() == "nws":
        given = [code.strip().upper() for code in codes.split(",") if code.strip()]
        return _config(given)
    parts = urlsplit(web_address(text))
    if parts.hostname in ("alerts.weather.gov", "www.weather.gov") and parts.path.strip("/") in (
        "", "alerts",
    ):  # fmt: skip
        return SourceConfig(name="nws", type="nws", title=SOURCE.title)
    steps = parts.path.strip("/").split("/")
    if parts.hostname != "api.weather.gov" or steps[0] != "alerts":
        return None
    query = parse_qs(parts.query)
    if len(steps) == 4 and steps[2] in ("area", "zone"):
        return _config([steps[3].upper()])
    return _config(
        [c.upper() for n in ("area", "zone") for v in query.get(n, ()) for c in v.split(",")]
    )


def _config(codes: Sequence[str]) -> SourceConfig | None:
    if not codes:
        return SourceConfig(name="nws", type="nws", title=SOURCE.title)
    areas = [code for code in codes if re.fullmatch(r"[A-Z]{2}", code)]
    zones = [code for code in codes if _ZONE.fullmatch(code)]
    if len(areas) + len(zones) != len(codes) or (areas and zones):
        return None
    return SourceConfig(
        name=f"nws:{','.join(codes)}",
        type="nws",
        title=f"Weather alerts for {', '.join(codes)}",
        settings={"areas": areas} if areas else {"zones": zones},
    )


SOURCE = SourceSpec(
    name="nws",
    title="NWS weather alerts of the United States",
    docs_url="reference/sources/nws",
    follow=follow,
    settings=NwsSettings,
    needs=("contact",),
    policy=POLICY,
    identify=identify,
    examples=("nws",),
)
