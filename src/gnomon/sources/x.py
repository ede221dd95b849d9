"""X (API v2): the filtered stream by rules, recovery by search, X's terms kept, and a budget.

Key: `x:<id of the first version>`; an edit is a new version. What is deleted, protected, suspended
or withheld there is purged here: once a day everything is checked, and what is shown, in an
answer or in a list, is looked up again at once. X's terms forbid training: the policy says so and
no setting changes it. Money is counted in the cursor and in advance; listening stops before the
budget does.
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import aclosing
from datetime import timedelta
from typing import Literal
from urllib.parse import parse_qs, unquote, urlsplit

from pydantic import Field, SecretStr, field_validator, model_validator

from gnomon.clock import to_us
from gnomon.errors import UpstreamError, UpstreamTerminal
from gnomon.sources.base import Context, SourceSettings, SourceSpec, reveal
from gnomon.sources.merge import merged
from gnomon.sources.polling import web_address
from gnomon.sources.x_api import Api, patient
from gnomon.sources.x_duties import Compliance
from gnomon.sources.x_memory import Memory, Step
from gnomon.sources.x_money import Purse
from gnomon.sources.x_posts import POLICY
from gnomon.sources.x_relook import Relook
from gnomon.sources.x_stream import Listener
from gnomon.types import Batch, Change, Cursor, SourceConfig

__all__ = ["SOURCE", "XSettings", "follow", "identify"]

MAX_RULE_CHARS = 1_024
MAX_RULES = 1_000
_HANDLE = re.compile(r"@?([A-Za-z0-9_]{1,15})")
_HOSTS = ("x.com", "twitter.com", "mobile.twitter.com", "mobile.x.com")
_NO_HANDLES = {"home", "explore", "i", "intent", "search", "hashtag", "settings", "share", "login"}


class XSettings(SourceSettings):
    """Settings of one X source. One app has one stream, so put all rules into one source."""

    bearer_token: SecretStr | None = Field(
        None, description="The app's bearer token, best as `env:NAME` or `file:PATH`."
    )
    rules: tuple[str, ...] = Field(
        (), description="Rules of the filtered stream, in X's query language; any may match."
    )
    handles: tuple[str, ...] = Field((), description="Accounts whose posts are wanted, `@name`.")
    mode: Literal["stream", "search"] = Field(
        "stream", description="`search` asks for news now and then instead of listening."
    )
    interval_s: float = Field(300.0, ge=1, description="Time between two searches.")
    first_search_s: float = Field(
        0.0, ge=0, le=600_000, description="How far back the first start searches; costs money."
    )
    budget_usd_day: float = Field(
        5.0, gt=0, description="Dollars that may be spent in a UTC day, duties included."
    )
    reserve_usd_day: float = Field(
        1.0, ge=0, description="Part of the budget that is kept for checking what was deleted."
    )
    post_usd: float = Field(0.005, ge=0, description="Price of a post that is read.")
    user_usd: float = Field(0.01, ge=0, description="Price of a user that is read.")
    compliance_every_s: float = Field(
        86_400.0, gt=0, le=86_400, description="Time between two checks of everything held."
    )
    relook_s: float = Field(
        3_600.0, ge=0, description="Least time between two looks at a post that is shown."
    )
    idle_s: float = Field(
        30.0, gt=0, description="Longest silence; X sends a sign of life every 20 seconds."
    )
    api_url: str = Field("https://api.x.com", description="Where the API is.")

    @field_validator("rules")
    @classmethod
    def _within_limits(cls, rules: tuple[str, ...]) -> tuple[str, ...]:
        for rule in rules:
            if not rule.strip() or len(rule) > MAX_RULE_CHARS:
                raise ValueError(f"a rule has 1 to {MAX_RULE_CHARS} characters: {rule[:60]!r}")
        return rules

    @field_validator("handles")
    @classmethod
    def _are_handles(cls, handles: tuple[str, ...]) -> tuple[str, ...]:
        for handle in handles:
            if not _HANDLE.fullmatch(handle):
                raise ValueError(f"{handle!r} is no handle of X")
        return tuple(handle.removeprefix("@") for handle in handles)

    @model_validator(mode="after")
    def _is_enough(self) -> XSettings:
        if not 0 < len(all_rules(self)) <= MAX_RULES:
            raise ValueError(f"1 to {MAX_RULES} rules or handles are needed")
        least = 10 * (self.post_usd + self.user_usd)
        if self.budget_usd_day - self.reserve_usd_day < least:
            raise ValueError(
                f"budget_usd_day must exceed reserve_usd_day by at least ${least:.2f}, "
                "the price of ten posts"
            )
        return self


def all_rules(settings: XSettings) -> tuple[str, ...]:
    """The rules, and those that follow the handles."""
    rules = list(dict.fromkeys(settings.rules))
    packed = ""
    for handle in dict.fromkeys(settings.handles):
        joined = f"{packed} OR from:{handle}" if packed else f"from:{handle}"
        # Brackets and the exclusion of reposts come on top.
        if len(joined) > 480:
            rules.append(_without_reposts(packed))
            joined = f"from:{handle}"
        packed = joined
    return (*rules, _without_reposts(packed)) if packed else tuple(rules)


def _without_reposts(query: str) -> str:
    return f"({query}) -is:retweet"


async def follow(ctx: Context, cursor: Cursor | None) -> AsyncIterator[Batch]:
    """Listen, recover, and do what the terms oblige us to; see the module's promise."""
    settings: XSettings = ctx.settings
    if settings.bearer_token is None:
        raise UpstreamTerminal(
            "X needs a key.",
            code="source.needs_key",
            hint=(
                "Give it the app's bearer token: gnomon sources set "
                f"'{ctx.config.name}' bearer_token=env:NAME (or file:PATH)."
            ),
        )
    memory = Memory.read(cursor) or Memory()
    purse = Purse(
        ctx.clock,
        budget_usd=settings.budget_usd_day,
        reserve_usd=settings.reserve_usd_day,
        day=memory.day,
        spent_micros=memory.spent_micros,
    )
    api = Api(ctx, settings.api_url, reveal(settings.bearer_token))
    listener = Listener(ctx, api, memory, purse, all_rules(settings))
    news = listener.stream() if settings.mode == "stream" else _search(ctx, listener)
    duties = (Compliance(listener).run(), Relook(listener).run())
    parts = (news, listener.recover(), *duties)
    try:
        async with aclosing(merged(*parts)) as coming:
            async for steps in coming:
                now = ctx.clock.now()
                changes: list[Change] = []
                for step in steps:
                    changes += step.accept(memory, now)
                yield Batch(tuple(changes), memory.tidy(purse, now, settings.relook_s).cursor())
    except UpstreamError as error:
        told = patient(error, memory.attempt, ctx.clock.now())
        memory.attempt += 1
        yield Batch((), memory.tidy(purse, ctx.clock.now(), settings.relook_s).cursor())
        raise told from None


async def _search(ctx: Context, listener: Listener) -> AsyncGenerator[Step, None]:
    """Ask for what is new, now and then; `recover` does the asking."""
    settings: XSettings = ctx.settings
    while True:
        now = ctx.clock.now()

        def note(memory: Memory, now: object = now) -> Sequence[Change]:
            moment = ctx.clock.now()
            if not memory.until_us:
                memory.until_us = to_us(
                    moment - timedelta(seconds=settings.first_search_s or settings.interval_s)
                )
            gaps = listener.note_missed(memory, listener.queries, moment)
            memory.until_us, memory.attempt = to_us(moment), 0
            return gaps

        if not listener.memory.holes:
            yield Step(note=note)
        ctx.heard(state="polling", text=listener.purse.sentence(), next_in_s=settings.interval_s)
        await ctx.clock.sleep(settings.interval_s)


def identify(text: str) -> SourceConfig | None:
    """`@handle`, `#tag` or a query behind `x:`, or an address on x.com or twitter.com."""
    named, _, rest = text.strip().partition(":")
    if named == "x" and not rest.startswith("//"):
        address = identify(rest)
        if address is not None or web_address(rest):
            return address
        return _handle_config(rest) if rest.startswith("@") else _rule_config(rest)
    url = web_address(text)
    parts = urlsplit(url)
    if (parts.hostname or "").removeprefix("www.") not in _HOSTS:
        return None
    first, _, rest = parts.path.strip("/").partition("/")
    if first == "search":
        return _rule_config(parse_qs(parts.query).get("q", [""])[0])
    if first == "hashtag" and rest:
        return _rule_config(f"#{unquote(rest)}")
    return None if first.lower() in _NO_HANDLES else _handle_config(first)


def _handle_config(handle: str) -> SourceConfig | None:
    match = _HANDLE.fullmatch(handle)
    if match is None:
        return None
    name = match[1]
    return SourceConfig(name=f"x:@{name.lower()}", type="x", settings={"handles": [f"@{name}"]})


def _rule_config(rule: str) -> SourceConfig | None:
    rule = " ".join(rule.split())
    if not rule or len(rule) > MAX_RULE_CHARS:
        return None
    return SourceConfig(name=f"x:{rule[:60]}", type="x", settings={"rules": [rule]})


SOURCE = SourceSpec(
    name="x",
    title="X",
    docs_url="reference/sources/x",
    follow=follow,
    settings=XSettings,
    needs=("key", "money"),
    policy=POLICY,
    state="live",
    identify=identify,
    examples=("x:@name", "x:bridge lang:en"),
)
