"""A WebSub hub: takes subscriptions, verifies intent, distributes signed content.

Callbacks are reached through a door of its own that may visit the addresses in `allow`.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Mapping
from typing import ClassVar
from urllib.parse import parse_qsl, urlencode

from gnomon.clock import Clock, SystemClock
from gnomon.errors import GnomonError
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer


class WebSubHub(ApiServer):
    """`async with WebSubHub(allow=[...]) as hub: await hub.publish(topic, body)`."""

    FAULTS: ClassVar[Mapping[str, str]] = {
        "refuse": "closes the connection without an answer",
        "silent": "accepts a subscription and never verifies it",
        "other_topic": "verifies another topic than was asked for",
        "denied": "tells the callback that the subscription was denied",
        "unsigned": "distributes without a signature",
        "wrong_signature": "distributes with a signature under another secret",
        "503": "answers with that status; so any other number, with Retry-After (`503 30`)",
    }

    def __init__(
        self, *, allow: tuple[str, ...] = (), lease_s: int = 864_000, clock: Clock | None = None
    ) -> None:
        super().__init__(clock=clock)
        self.lease_s = lease_s
        self.subscribed: dict[str, Mapping[str, str]] = {}
        """By callback, what was asked for; verified ones only."""
        self.verified: list[int] = []
        """Statuses that verifications got."""
        self._door = Door(Net(allow=allow, per_host_delay_s=0), SystemClock())
        self._verifying: set[asyncio.Task[None]] = set()

    async def stop(self) -> None:
        """Stop listening and verifying."""
        await asyncio.gather(*self._verifying, return_exceptions=True)
        await super().stop()
        await self._door.aclose()

    async def answer(self, request: ApiRequest) -> ApiReply:
        """Accept a subscription; its verification follows."""
        form = dict(parse_qsl(request.body.decode()))
        wanted = ("hub.callback", "hub.mode", "hub.topic")
        if request.method != "POST" or not all(form.get(name) for name in wanted):
            return ApiReply(status=400, body=b"hub.callback, hub.mode and hub.topic are needed")
        fault = self.fault(request.path, "silent", "other_topic", "denied")
        if fault != "silent":
            task = asyncio.create_task(self._verify(form, fault))
            self._verifying.add(task)
            task.add_done_callback(self._verifying.discard)
        return ApiReply(status=202)

    async def _verify(self, form: Mapping[str, str], fault: str) -> None:
        callback, topic = form["hub.callback"], form["hub.topic"]
        query = {"hub.mode": form["hub.mode"], "hub.topic": topic}
        if fault == "denied":
            query = {"hub.mode": "denied", "hub.topic": topic, "hub.reason": "as the test wants"}
        else:
            query |= {"hub.challenge": "c-0815", "hub.lease_seconds": str(self.lease_s)}
        if fault == "other_topic":
            query["hub.topic"] += "?other"
        joint = "&" if "?" in callback else "?"
        try:
            reply = await self._door.fetch(f"{callback}{joint}{urlencode(query)}", purpose="user")
        except GnomonError:
            self.verified.append(0)
            return
        self.verified.append(reply.status)
        if reply.status == 200 and reply.body == b"c-0815":
            self.subscribed[callback] = form

    async def publish(
        self, topic: str, body: bytes, media_type: str = "application/rss+xml"
    ) -> list[int]:
        """Distribute what the publisher wrote; the subscribers' statuses."""
        statuses = []
        for callback, form in list(self.subscribed.items()):
            if form["hub.topic"] != topic:
                continue
            fault = self.fault("/", "unsigned", "wrong_signature")
            headers = {"content-type": media_type, "link": f'<{topic}>; rel="self"'}
            if form.get("hub.secret") and fault != "unsigned":
                secret = "another" if fault else form["hub.secret"]
                digest = hmac.new(secret.encode(), body, "sha256").hexdigest()
                headers["x-hub-signature"] = f"sha256={digest}"
            reply = await self._door.fetch(
                callback, purpose="user", method="POST", headers=headers, content=body
            )
            statuses.append(reply.status)
            if reply.status == 410:
                del self.subscribed[callback]
        return statuses
