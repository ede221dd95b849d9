"""WebSub: feeds whose hub tells us at once that there is news (W3C Recommendation, subscriber).

A verified push is taken as the word that the feed changed, and the feed is asked at once: what is
stored comes from the publisher alone, through the same reader, in the same order. Because caches
may lag behind the hub, it is asked again a minute and ten minutes later. Polling goes on all the
while, every six hours at least.

Off until `server.public_url` is set. Addresses and secrets of the callbacks are derived from a key
in the home, so that a restart renews a subscription instead of making another one.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import random
import re
import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import urlencode

from gnomon.clock import Clock
from gnomon.errors import ConfigError, GnomonError, Transient
from gnomon.extract.urls import absolute
from gnomon.log import get_logger
from gnomon.net.base import Fetcher
from gnomon.sources.polling import web_address

POLL_S = 6 * 3_600.0
"""A feed whose hub tells us is polled this rarely."""
PATH = "/websub/"
MAX_CHALLENGE_CHARS = 2_000
_LEASE_S = 864_000
_LEAST_LEASE_S = 60.0
_MOST_LEASE_S = 30 * 86_400.0
_RENEW_AT = 0.8
_AGAIN_S = (0.0, 60.0, 600.0)
"""After a push the feed is asked at once, and again for the sake of caches in between."""
_VERIFY_S = 300.0
"""A hub that accepted, but did not verify by then, is asked again."""
_REFUSED_S = 86_400.0
_FIRST_RETRY_S = 60.0
_DIGESTS = ("sha256", "sha384", "sha512", "sha1")
_LINK = re.compile(r'<([^<>]*)>\s*((?:;\s*[\w*-]+\s*=\s*(?:"[^"]*"|[^\s",;]+)\s*)*)')
_REL = re.compile(r';\s*rel\s*=\s*(?:"([^"]*)"|([^\s",;]+))', re.IGNORECASE)
_log = get_logger()


def discover(headers: Mapping[str, str], hub: str, topic: str, url: str) -> tuple[str, str]:
    """The hub and the topic of a feed: by its Link headers, else by its own links.

    Both are empty unless there is a hub; the topic is `url` where none is named.
    """
    by_rel: dict[str, str] = {}
    for address, parameters in _LINK.findall(headers.get("link", "")):
        for quoted, bare in _REL.findall(parameters):
            for rel in (quoted or bare).lower().split():
                by_rel.setdefault(rel, absolute(url, address))
    hub = by_rel.get("hub") or hub
    return (hub, by_rel.get("self") or topic or url) if hub else ("", "")


@dataclass
class Subscription:
    """One feed at one hub."""

    id: str
    secret: str
    source: str
    hub: str
    topic: str
    state: str = "asking"
    """asking | accepted | active | refused"""
    lease_until: datetime | None = None
    next_at: datetime | None = None
    """When the hub is asked (again)."""
    attempts: int = 0
    asks_at: list[datetime] = field(default_factory=list)
    """When the feed is asked because of a push."""
    pushes: int = 0


class Subscriptions:
    """All subscriptions of this process. Belongs to the event loop."""

    def __init__(
        self,
        fetcher: Fetcher,
        clock: Clock,
        rng: random.Random,
        *,
        public_url: str,
        home: Path,
        on_news: Callable[[str], None],
    ) -> None:
        self._fetcher = fetcher
        self._clock = clock
        self._rng = rng
        self._base = web_address(public_url).rstrip("/")
        self._home = home
        self._on_news = on_news
        self._key = b""
        self._by_id: dict[str, Subscription] = {}
        self._by_source: dict[str, Subscription] = {}
        self._woken = asyncio.Event()

    @property
    def enabled(self) -> bool:
        """Whether hubs can reach us at all."""
        return bool(self._base)

    def __iter__(self) -> Iterator[Subscription]:
        """The subscriptions, as they stand."""
        return iter(self._by_id.values())

    # -- what sources want ----------------------------------------------------
    def subscribed(self, source: str, hub: str, topic: str) -> bool:
        """Ask `hub` to tell of news in `topic`; whether it does so now. Cheap to call often."""
        if not self.enabled or not hub or not self._key:
            return False
        known = self._by_source.get(source)
        if known is not None and (known.hub, known.topic) == (hub, topic):
            return self._active(known)
        if known is not None:
            self.forget(source)
        name = f"{source}\0{hub}\0{topic}".encode("utf-8", "surrogatepass")
        found = Subscription(
            id=hmac.digest(self._key, b"id\0" + name, "sha256").hex()[:32],
            secret=hmac.digest(self._key, b"secret\0" + name, "sha256").hex(),
            source=source,
            hub=hub,
            topic=topic,
            next_at=self._clock.now(),
        )
        self._by_id[found.id] = self._by_source[source] = found
        self._woken.set()
        return False

    def forget(self, source: str) -> None:
        """The source is followed no more. The hub learns it when it asks or pushes (404)."""
        known = self._by_source.pop(source, None)
        if known is not None:
            del self._by_id[known.id]

    def _active(self, known: Subscription) -> bool:
        return known.lease_until is not None and self._clock.now() < known.lease_until

    # -- what hubs say --------------------------------------------------------
    def confirm(
        self, id: str, *, mode: str, topic: str, challenge: str, lease_s: float | None
    ) -> str | None:
        """Answer a hub's verification: the challenge to repeat, or None for "not wanted"."""
        known = self._by_id.get(id)
        if known is None or topic != known.topic or len(challenge) > MAX_CHALLENGE_CHARS:
            # An unsubscription that nobody can want any more is agreed to.
            return challenge if known is None and mode == "unsubscribe" else None
        if mode == "denied":
            _log.warning("websub.denied", source=known.source, hub=known.hub)
            known.state, known.lease_until = "refused", None
            known.next_at = self._clock.now() + timedelta(seconds=_REFUSED_S)
            return ""
        if mode != "subscribe" or not challenge:
            return None
        lease_s = min(max(lease_s or _LEASE_S, _LEAST_LEASE_S), _MOST_LEASE_S)
        now = self._clock.now()
        known.state, known.attempts = "active", 0
        known.lease_until = now + timedelta(seconds=lease_s)
        known.next_at = now + timedelta(seconds=lease_s * _RENEW_AT)
        _log.info("websub.active", source=known.source, hub=known.hub, lease_s=lease_s)
        self._woken.set()
        return challenge

    def deliver(self, id: str, body: bytes, signature: str) -> bool:
        """Take a push. False if there is no such subscription; a bad signature is ignored."""
        known = self._by_id.get(id)
        if known is None:
            return False
        if not signed(body, signature, known.secret):
            # As the Recommendation asks: accepted towards the hub, and thrown away.
            _log.warning("websub.bad_signature", source=known.source, hub=known.hub)
            return True
        now = self._clock.now()
        known.pushes += 1
        known.asks_at = [now + timedelta(seconds=after_s) for after_s in _AGAIN_S]
        self._woken.set()
        return True

    # -- what is done when ----------------------------------------------------
    async def open(self) -> None:
        """Be ready to subscribe, if enabled. Raises ConfigError `websub.key`."""
        if self.enabled:
            self._key = await asyncio.to_thread(_key_of, self._home / "websub.key")

    async def run(self) -> None:
        """Subscribe, renew and pass on pushes, until cancelled."""
        while True:
            self._woken.clear()
            now = self._clock.now()
            for known in list(self._by_id.values()):
                if known.asks_at and known.asks_at[0] <= now:
                    known.asks_at = [at for at in known.asks_at if at > now]
                    self._on_news(known.source)
                if known.next_at is not None and known.next_at <= now:
                    await self._ask(known)
            await self._rest()

    async def _rest(self) -> None:
        moments = [
            at
            for known in self._by_id.values()
            for at in (known.next_at, *known.asks_at[:1])
            if at is not None
        ]
        wait_s = POLL_S
        if moments:
            wait_s = max((min(moments) - self._clock.now()).total_seconds(), 0.0)
        sleeping = asyncio.ensure_future(self._clock.sleep(wait_s))
        waking = asyncio.ensure_future(self._woken.wait())
        try:
            await asyncio.wait({sleeping, waking}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (sleeping, waking):
                task.cancel()
            await asyncio.gather(sleeping, waking, return_exceptions=True)

    async def _ask(self, known: Subscription) -> None:
        """Ask the hub for a lease. It answers by verifying, later."""
        known.attempts += 1
        form = {
            "hub.callback": f"{self._base}{PATH}{known.id}",
            "hub.mode": "subscribe",
            "hub.topic": known.topic,
            "hub.lease_seconds": str(_LEASE_S),
            "hub.secret": known.secret,
        }
        wait_s = _VERIFY_S * 2 ** min(known.attempts - 1, 8)
        try:
            response = await self._fetcher.fetch(
                known.hub,
                purpose="feed",
                method="POST",
                headers={"content-type": "application/x-www-form-urlencoded"},
                content=urlencode(form).encode(),
            )
            refusal = "" if response.status < 300 else f"it answers {response.status}"
        except GnomonError as error:
            refusal = error.message
            if isinstance(error, Transient):
                doubled_s = _FIRST_RETRY_S * 2 ** min(known.attempts - 1, 10)
                wait_s = max(error.retry_after_s or 0.0, doubled_s)
                refusal = ""
                _log.info("websub.retry", source=known.source, hub=known.hub, reason=str(error))
        if refusal:
            _log.warning("websub.refused", source=known.source, hub=known.hub, reason=refusal)
            wait_s = _REFUSED_S
        if known.state != "active" or refusal:
            known.state = "refused" if refusal else "accepted"
        wait_s = min(wait_s, _REFUSED_S) * self._rng.uniform(1.0, 1.1)
        # The verification may have come while the hub was still answering.
        if known.next_at is None or known.next_at <= self._clock.now():
            known.next_at = self._clock.now() + timedelta(seconds=wait_s)


def signed(body: bytes, signature: str, secret: str) -> bool:
    """Whether `X-Hub-Signature` (`sha256=…`) is this body's under this secret."""
    method, _, given = signature.strip().partition("=")
    if method.lower() not in _DIGESTS:
        return False
    wanted = hmac.new(secret.encode(), body, getattr(hashlib, method.lower())).hexdigest()
    return hmac.compare_digest(wanted.encode(), given.strip().lower().encode("utf-8", "replace"))


def _key_of(path: Path) -> bytes:
    """The key of this home, made at first use."""
    try:
        if not path.exists():
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch(mode=0o600)
            path.write_bytes(secrets.token_bytes(32))
        return path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"The key file {path} cannot be used: {error.strerror or error}.",
            code="websub.key",
            hint="Mend its permissions, or leave server.public_url empty.",
            path=str(path),
        ) from None
