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
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from typing import Any, Literal
from urllib.parse import parse_qs, urlencode, urlsplit

import msgspec
from pydantic import Field, field_validator, model_validator

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.extract.dates import Dates
from gnomon.sources.base import Context, SourceSettings, SourceSpec, require_contact
from gnomon.sources.nws_alerts import POLICY, Alert, alert_of, content_of, document_of
from gnomon.sources.polling import Validators, ask, poll, short_hash, web_address
from gnomon.types import Batch, Change, Cursor, Delete, Gap, SourceConfig, Upsert

_S = 1_000_000
_MAX_BYTES = 60_000_000
_KEPT_US = 7 * 86_400 * _S
_AWAY_US = 300 * _S
"""After so long without an answer, messages may have come and gone unseen."""
_OVERLAP_US = 600 * _S
_MAX_PAGES = 20
_MOST_SEEN = 2_000
_PAST = 2
_FORGET_US = 3_600 * _S
_VANISHED, _ENDED = "", "-"
"""In place of a content's hash: not listed any more; cancelled or replaced by another."""
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


class _Known(msgspec.Struct, array_like=True):
    """The newest message of an alert that was handed over."""

    id: str
    """Short hash of its id."""
    content: str
    """Hash of what was handed over, or how it ended."""
    sent_us: int
    over_us: int
    """When it expires; once it has ended, when it did."""
    past: tuple[str, ...] = ()
    """Short hashes of the messages just before it, which an old answer may still list."""
    missing_us: int = 0
    """Since when it is not listed; 0 while it is."""

    @property
    def stands(self) -> bool:
        return self.content not in (_VANISHED, _ENDED)

    def end(self, key: str, how: str, now_us: int) -> list[Change]:
        """It stands no longer."""
        if not self.stands:
            return []
        self.content, self.over_us = how, now_us
        return [Delete(key=key)]


class _Memory(msgspec.Struct, omit_defaults=True):
    """The cursor, opened."""

    asked: str = ""
    """What is asked for; with other settings, other alerts are followed."""
    validators: Validators = Validators()
    looked_us: int = 0
    """When the last answer about what is active was handed over."""
    alerts: dict[str, _Known] = {}
    """By key."""
    seen: dict[str, int] = {}
    """Short hashes of the messages read last, and when they were sent."""

    @classmethod
    def restore(cls, cursor: Cursor | None, asked: str) -> _Memory:
        try:
            found = msgspec.json.decode(cursor, type=cls) if cursor is not None else cls()
        except msgspec.DecodeError:
            found = cls()  # another connector had this name before
        return found if found.asked == asked else cls(asked=asked, alerts=found.alerts)

    def cursor(self) -> Cursor:
        return msgspec.json.encode(self).decode()

    def tidy(self, now_us: int) -> None:
        """Forget what ended long ago, and messages that cannot come again."""
        self.alerts = {
            key: known
            for key, known in self.alerts.items()
            if known.stands or known.over_us > now_us - _FORGET_US
        }
        after_us = self.looked_us - 2 * _OVERLAP_US
        kept = sorted((us, id) for id, us in self.seen.items() if us >= after_us)
        self.seen = {id: us for us, id in kept[-_MOST_SEEN:]}


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Look for ever; see the module's promise."""
    settings: NwsSettings = ctx.settings
    if urlsplit(settings.url).hostname == "api.weather.gov":
        require_contact(ctx, "The National Weather Service")
    base, query = settings.url.rstrip("/"), settings.query()
    url = f"{base}/alerts/active?{urlencode(query)}"
    memory = _Memory.restore(cursor, url)
    while True:
        trouble, fresh_s = "", None
        try:
            now_us = to_us(ctx.clock.now())
            away_us = max(_AWAY_US, int(3 * settings.interval_s * _S))
            if memory.looked_us and now_us - memory.looked_us > away_us:
                changes = await _catch_up(ctx, memory, base, query)
                yield Batch(tuple(changes), memory.cursor())
            answer = await poll(
                ctx, url, purpose="feed", known=memory.validators, max_body_bytes=_MAX_BYTES
            )
            fresh_s = answer.fresh_s
            if answer.response.status in (404, 410):
                raise _not_there(url, answer.response.status)
            if answer.changed:
                data = await asyncio.to_thread(_parse, answer.response.body, url)
                changes = _look(ctx, memory, data)
                memory.validators = answer.validators
            else:
                changes = _ended(ctx, memory)  # what was missing in it is missing again
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
        reason = repr(error)
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


# -- what is in force -----------------------------------------------------------------
def _look(ctx: Context, memory: _Memory, data: dict[str, Any]) -> list[Change]:
    """What an answer about the active alerts brings; the memory stands after it."""
    alerts = _alerts(ctx, data["features"])
    present = {short_hash(alert.id) for alert in alerts}
    changes = _messages(ctx, memory, alerts, present, listed=True)
    now_us = to_us(ctx.clock.now())
    for known in memory.alerts.values():
        if known.id in present:
            known.missing_us = 0
        elif not known.missing_us:
            known.missing_us = now_us
    return changes + _ended(ctx, memory)


def _ended(ctx: Context, memory: _Memory) -> list[Change]:
    """The end of alerts that are not listed: at once if they have expired, else the second time."""
    now_us = to_us(ctx.clock.now())
    # A restart asks again at once, which is no second look.
    apart_us = int(ctx.settings.interval_s * _S / 2)
    changes: list[Change] = []
    for key, known in memory.alerts.items():
        if known.missing_us and (known.over_us <= now_us or now_us - known.missing_us >= apart_us):
            changes += known.end(key, _VANISHED, now_us)
    return changes


def _alerts(ctx: Context, features: Iterable[Any]) -> list[Alert]:
    """The messages that can be read, oldest first, each once, cancellations last."""
    found: dict[str, Alert] = {}
    for feature in features:
        try:
            alert = alert_of(feature)
        except ContentError as error:
            ctx.count(error.code)
            continue
        if alert.actual:
            found[alert.id] = alert
        else:
            ctx.count("nws.not_actual")
    return sorted(found.values(), key=lambda a: (a.type == "Cancel", a.sent_us, a.id))


def _messages(
    ctx: Context,
    memory: _Memory,
    alerts: Sequence[Alert],
    present: set[str],
    *,
    listed: bool,
) -> list[Change]:
    """What these messages change, `present` being the hashes of those in force.

    `listed` says that all of them are: what had vanished is there again.
    """
    now, limits = ctx.clock.now(), ctx.limits
    now_us = to_us(now)
    dates = Dates(now, timedelta(seconds=limits.future_tolerance_s))
    changes: list[Change] = []
    current = {known.id: key for key, known in memory.alerts.items()}
    past = {id for known in memory.alerts.values() for id in known.past}
    for alert in alerts:
        hashed = short_hash(alert.id)
        key = current.get(hashed, "")
        if key:
            came_back = listed and memory.alerts[key].content == _VANISHED
            if not came_back or alert.over_us <= now_us:
                continue
        elif hashed in past:
            if listed:
                ctx.count("nws.stale")
            continue
        elif not listed and hashed in memory.seen:
            continue
        replaced = [current[id] for r in alert.replaces if (id := short_hash(r)) in current]
        if alert.type == "Cancel":
            memory.seen[hashed] = alert.sent_us
            for other in replaced:
                changes += memory.alerts[other].end(other, _ENDED, now_us)
            continue
        key = key or _key(alert, memory, replaced, present)
        if not key:
            ctx.count("nws.stale")
            continue
        memory.seen[hashed] = alert.sent_us
        for other in replaced:
            if other != key:
                changes += memory.alerts[other].end(other, _ENDED, now_us)
        document = document_of(alert, key, ctx.config.name, dates)
        content = content_of(document)
        known = memory.alerts.get(key)
        if known is None or known.content != content:
            changes.append(Upsert(document))
        if known is not None:
            current.pop(known.id, None)
        before = tuple(short_hash(r) for r in alert.replaces[-_PAST:])
        memory.alerts[key] = _Known(hashed, content, alert.sent_us, alert.over_us, before)
        current[hashed] = key
        past.update(before)
    for note, n in dates.notes.items():
        ctx.count(note, n)
    return changes


def _key(alert: Alert, memory: _Memory, replaced: Sequence[str], present: set[str]) -> str:
    """The document that this message continues; its own where another part of it goes on.

    Empty where a newer message stands that is not listed: this answer is an old one, or the newer
    one has ended, which the next answer will tell.
    """
    if replaced:
        return replaced[0]
    key = f"nws:{alert.root}"
    known = memory.alerts.get(key)
    if known is None or not known.stands:
        return key
    if known.id in present:
        return f"nws:{alert.id}"
    return key if known.sent_us <= alert.sent_us else ""


# -- what was missed --------------------------------------------------------------------
async def _catch_up(
    ctx: Context, memory: _Memory, base: str, query: dict[str, str]
) -> list[Change]:
    """The messages since the last look, as far as the service still has them."""
    now_us = to_us(ctx.clock.now())
    since_us, floor_us = memory.looked_us - _OVERLAP_US, now_us - _KEPT_US
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
    alerts = [alert for alert in _alerts(ctx, features) if alert.sent_us >= since_us]
    known = {known.id for known in memory.alerts.values()} | memory.seen.keys()
    past = {r for a in alerts if short_hash(a.id) in known for r in a.replaces}
    alerts = [alert for alert in alerts if alert.id not in past]
    # Nothing is known yet of what is in force: the newest message of each alert is.
    replaced = {r for alert in alerts for r in alert.replaces}
    present = {short_hash(alert.id) for alert in alerts if alert.id not in replaced}
    present |= {k.id for k in memory.alerts.values()} - {short_hash(r) for r in replaced}
    changes += _messages(ctx, memory, alerts, present, listed=False)
    return changes


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
)
