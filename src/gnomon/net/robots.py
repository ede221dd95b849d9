"""robots.txt (RFC 9309), for what we crawl on our own account.

Feeds that an operator configured and pages that a person asked for are not crawling; they are not
subject to it. A missing file (4xx) allows everything. A server that fails (5xx, 429) or cannot be
reached forbids everything for the moment: that refusal is transient.
"""

from __future__ import annotations

import asyncio
import re
from collections import OrderedDict
from collections.abc import Awaitable, Callable

import msgspec
from protego import Protego

from gnomon.clock import Clock
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.net.target import Target
from gnomon.net.usage import Usage, UsageRules

AGENT = "GnomonBot"
MAX_ROBOTS_BYTES = 500 * 1024
"""More than this of a robots.txt is not read (RFC 9309, 2.5)."""
MAX_CRAWL_DELAY_S = 60.0
_KEEP_S = 86_400.0
_RETRY_S = 600.0
_REMEMBERED = 4_096
_AGENT_LINE = re.compile(r"\s*user[- ]?agent\s*:?\s*(?P<name>[^#]*)", re.IGNORECASE)

FetchText = Callable[[Target], Awaitable[tuple[int, bytes]]]
"""Gets the robots.txt of an origin: status and at most MAX_ROBOTS_BYTES of body."""


class Rules:
    """What one origin's robots.txt says to GnomonBot."""

    def __init__(self, text: str) -> None:
        ours = _for_us(text)
        self._protego = Protego.parse(ours)
        delay = self._protego.crawl_delay(AGENT)
        self.crawl_delay_s = min(float(delay or 0.0), MAX_CRAWL_DELAY_S)

        self._usage = UsageRules(ours, AGENT)

    def allows(self, url: str) -> bool:
        """Whether this address may be crawled."""
        return bool(self._protego.can_fetch(url, AGENT))

    def usage(self, url: str) -> Usage:
        """What the publisher wishes this address to be used for."""
        return self._usage.of(url)


def _for_us(text: str) -> str:
    """The same file with the names of all other robots made one.

    Rules are stored once per robot of their group, so a file of many robots and many rules would
    take memory by their product.
    """
    lines = []
    for line in text.splitlines():
        match = _AGENT_LINE.match(line)
        if match is None:
            lines.append(line[:2_048])
            continue
        name = match["name"].strip().lower()
        product = re.split(r"[/\s]", name, maxsplit=1)[0]
        known = "*" if name == "*" else AGENT if product == AGENT.lower() else "other"
        lines.append(f"User-agent: {known}")
    return "\n".join(lines)


class Permit(msgspec.Struct, frozen=True):
    """An address may be crawled, at this pace, and be used for this."""

    crawl_delay_s: float
    usage: Usage


class Robots:
    """Reads, keeps and applies robots.txt files."""

    def __init__(self, clock: Clock, fetch: FetchText) -> None:
        self._clock = clock
        self._fetch = fetch
        self._kept: OrderedDict[str, tuple[float, Rules | None]] = OrderedDict()
        self._locks: dict[str, asyncio.Lock] = {}

    async def check(self, target: Target) -> Permit:
        """How `target` may be crawled, if it may.

        Raises UpstreamTerminal `net.robots` if not, UpstreamTransient `net.robots_unavailable`
        while its robots.txt cannot be had.
        """
        rules = await self._rules(target)
        if rules is None:
            raise UpstreamTransient(
                f"{target.origin}/robots.txt cannot be read now, so nothing there is crawled.",
                code="net.robots_unavailable",
                hint="It is asked for again in ten minutes.",
                retry_after_s=_RETRY_S,
                url=target.url,
            )
        allowed, usage = await asyncio.to_thread(_judge, rules, target.url)
        if not allowed:
            raise UpstreamTerminal(
                f"The robots.txt of {target.origin} asks robots not to read {target.path[:200]}.",
                code="net.robots",
                hint="Follow the site's feed instead, or ask its owner; net.robots can switch "
                "this rule off.",
                url=target.url,
            )
        return Permit(rules.crawl_delay_s, usage)

    async def _rules(self, target: Target) -> Rules | None:
        origin = target.origin
        lock = self._locks.setdefault(origin, asyncio.Lock())
        try:
            async with lock:
                until, rules = self._kept.get(origin, (-1.0, None))
                if until <= self._clock.monotonic():
                    rules, keep_s = await self._read(target)
                    self._kept[origin] = (self._clock.monotonic() + keep_s, rules)
                self._kept.move_to_end(origin)
                while len(self._kept) > _REMEMBERED:
                    self._kept.popitem(last=False)
                return rules
        finally:
            if not lock.locked():
                self._locks.pop(origin, None)

    async def _read(self, target: Target) -> tuple[Rules | None, float]:
        try:
            status, body = await self._fetch(target)
        except ContentError:
            return None, _RETRY_S  # damaged: as good as none to be had
        except UpstreamTransient as error:
            if error.code != "net.status":
                raise  # unreachable: that is what the caller must hear, and to try again
            return None, max(_RETRY_S, error.retry_after_s or 0.0)
        if 200 <= status < 300:
            text = body.decode("utf-8-sig", "replace")
            return await asyncio.to_thread(Rules, text), _KEEP_S
        # Client errors, and redirects without end, mean that there is no file.
        return Rules(""), _KEEP_S


def _judge(rules: Rules, url: str) -> tuple[bool, Usage]:
    return rules.allows(url), rules.usage(url)
