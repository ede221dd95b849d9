"""A Nostr relay on loopback (NIP-01, 09, 40): stored events, live ones, and faults.

    async with NostrServer(clock) as relay:
        note = relay.note("ada", "The bridge is open again.", hashtags=["harbour"])
        relay.delete("ada", note)

People are names; each gets a key of its own, made from the name. Needs `nostr-sdk` to sign.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response

from gnomon.clock import Clock, SystemClock

FAULTS: Mapping[str, str] = {
    "drop": "the next event is not sent; the connection breaks instead",
    "stall": "the next question is not answered",
    "duplicate": "the next event is sent twice",
    "forged": "the next event is sent with its content changed, and again as it is",
    "truncated": "half of the next message is sent, and then all of it",
    "reorder": "stored events of the next answer come oldest first",
    "closed": "the next question is refused with CLOSED (`closed auth-required: …` says why)",
    "notice": "a NOTICE comes before the next event",
    "clock_skew": "the next note is dated two years ahead",
    "503": "the next connection is refused so; any other status too",
}
_SKEW_S = 730 * 86_400


class NostrServer:
    """See the module. All methods belong to the event loop."""

    def __init__(self, clock: Clock | None = None, *, most: int = 500) -> None:
        self._clock = clock or SystemClock()
        self._most = most
        self.events: list[dict[str, Any]] = []
        """Everything that was published, in order."""
        self.questions: list[list[Any]] = []
        """The REQ messages that came."""
        self._gone: set[str] = set()
        self._faults: deque[str] = deque()
        self._refusals: deque[str] = deque()
        self._subscriptions: dict[ServerConnection, dict[str, list[dict[str, Any]]]] = {}
        self._outgoing: dict[ServerConnection, asyncio.Queue[list[Any]]] = {}
        self._server: Server | None = None

    # -- life -----------------------------------------------------------------
    async def __aenter__(self) -> NostrServer:
        self._server = await serve(
            self._talk,
            "127.0.0.1",
            0,
            process_request=self._admit,
            compression=None,
            ping_interval=None,
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        assert self._server is not None  # noqa: S101
        self._server.close(close_connections=False)
        self.kick()
        await self._server.wait_closed()
        self._server = None

    def kick(self) -> None:
        """Break all connections at once."""
        for connection in self._subscriptions:
            connection.transport.abort()

    @property
    def address(self) -> str:
        """`host:port`, for the door's allow list."""
        assert self._server is not None, "the server is not started"  # noqa: S101
        host, port = next(iter(self._server.sockets)).getsockname()[:2]
        return f"{host}:{port}"

    @property
    def url(self) -> str:
        """The relay, `ws://host:port`."""
        return f"ws://{self.address}"

    # -- what people do -------------------------------------------------------
    def pubkey(self, person: str) -> str:
        """The public key of a person."""
        return str(_keys(person).public_key().to_hex())

    def note(self, person: str, text: str, *, hashtags: Sequence[str] = (), **more: Any) -> str:
        """A short note. Returns its id. `more`: reply_to (an id), expires_s, created_s."""
        tags = [["t", tag] for tag in hashtags]
        if reply_to := more.pop("reply_to", ""):
            tags.append(["e", reply_to, "", "reply", self._author(reply_to)])
        return self.publish(person, 1, text, tags, **more)

    def article(self, person: str, name: str, title: str, text: str, **more: Any) -> str:
        """A long text; the same name replaces an earlier one. Returns the event's id."""
        return self.publish(person, 30_023, text, [["d", name], ["title", title]], **more)

    def delete(self, person: str, *ids: str, addresses: Sequence[str] = ()) -> str:
        """A request to delete events; what is another's stays."""
        tags = [["e", id] for id in ids] + [["a", address] for address in addresses]
        return self.publish(person, 5, "", tags)

    def vanish(self, person: str) -> str:
        """A request to vanish from all relays (NIP-62)."""
        return self.publish(person, 62, "", [["relay", "ALL_RELAYS"]])

    def publish(
        self,
        person: str,
        kind: int,
        text: str,
        tags: list[list[str]],
        *,
        expires_s: int | None = None,
        created_s: int | None = None,
    ) -> str:
        """Sign, store and send an event. Returns its id."""
        created = created_s if created_s is not None else int(self._clock.now().timestamp())
        if self._faults and self._faults[0] == "clock_skew":
            self._faults.popleft()
            created += _SKEW_S
        if expires_s is not None:
            tags = [*tags, ["expiration", str(expires_s)]]
        event = _signed(person, kind, text, tags, created)
        self._apply(event)
        self.events.append(event)
        for connection, subscriptions in self._subscriptions.items():
            for name, filters in subscriptions.items():
                if any(_matches(f, event) for f in filters):
                    self._outgoing[connection].put_nowait(["EVENT", name, event])
        return str(event["id"])

    def misbehave(self, *faults: str) -> None:
        """Let what comes next meet these faults (see `FAULTS`), one each, in order."""
        for fault in faults:
            name = fault.split()[0]
            if name.isdigit():
                self._refusals.append(fault)
            elif name in FAULTS:
                self._faults.append(fault)
            else:
                raise ValueError(f"No fault is called {name!r}. Known: {', '.join(FAULTS)}.")

    # -- storing --------------------------------------------------------------
    def _author(self, id: str) -> str:
        return next((str(e["pubkey"]) for e in self.events if e["id"] == id), "")

    def _apply(self, event: dict[str, Any]) -> None:
        """What the event does to those that are stored."""
        for stored in self.events:
            same = stored["pubkey"] == event["pubkey"]
            named = ["e", stored["id"]] in [t[:2] for t in event["tags"]]
            named = named or ["a", _address(stored)] in [t[:2] for t in event["tags"]]
            replaced = event["kind"] == 30_023 and _address(stored) == _address(event)
            if same and (replaced or event["kind"] == 62 or (event["kind"] == 5 and named)):
                self._gone.add(stored["id"])

    def _stored(self, wanted: dict[str, Any]) -> list[dict[str, Any]]:
        now_s = int(self._clock.now().timestamp())
        found = [
            e
            for e in self.events
            if e["id"] not in self._gone
            and _matches(wanted, e)
            and not any(t[0] == "expiration" and int(t[1]) <= now_s for t in e["tags"])
        ]
        # Newest first, and of one moment the lowest id first.
        found.sort(key=lambda e: (-e["created_at"], e["id"]))
        return found[: min(int(wanted.get("limit", self._most)), self._most)]

    # -- talking --------------------------------------------------------------
    def _admit(self, connection: ServerConnection, request: Request) -> Response | None:
        if self._refusals:
            return connection.respond(int(self._refusals.popleft()), "as the test wished\n")
        return None

    async def _talk(self, connection: ServerConnection) -> None:
        self._subscriptions[connection] = {}
        self._outgoing[connection] = asyncio.Queue()
        sending = asyncio.create_task(self._send_all(connection))
        try:
            async for message in connection:
                self._hear(connection, json.loads(message))
        except ConnectionClosed:
            pass  # the client left, which is its right
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            del self._subscriptions[connection], self._outgoing[connection]

    def _hear(self, connection: ServerConnection, message: list[Any]) -> None:
        send = self._outgoing[connection].put_nowait
        if message[0] == "CLOSE":
            self._subscriptions[connection].pop(message[1], None)
        elif message[0] == "REQ":
            _, name, *filters = message
            self.questions.append(message)
            fault = self._faults[0] if self._faults else ""
            if fault.split()[:1] in (["closed"], ["stall"]):
                self._faults.popleft()
                if fault != "stall":
                    send(["CLOSED", name, fault.partition(" ")[2] or "error: as the test wished"])
                return
            found = {e["id"]: e for f in filters for e in self._stored(f)}
            stored = sorted(found.values(), key=lambda e: (-e["created_at"], e["id"]))
            if fault == "reorder":
                self._faults.popleft()
                stored.reverse()
            for event in stored:
                send(["EVENT", name, event])
            send(["EOSE", name])
            self._subscriptions[connection][name] = filters
        elif message[0] == "EVENT":
            send(["OK", message[1].get("id", ""), False, "blocked: this relay is read-only"])

    async def _send_all(self, connection: ServerConnection) -> None:
        queue = self._outgoing[connection]
        while True:
            message = await queue.get()
            text = json.dumps(message, ensure_ascii=False)
            fault = self._faults[0] if self._faults and message[0] == "EVENT" else ""
            if fault in ("drop", "duplicate", "forged", "truncated", "notice"):
                self._faults.popleft()
                if fault == "drop":
                    connection.transport.abort()
                    return
                forged = {**message[2], "content": "Forged words."}
                await connection.send(
                    {
                        "duplicate": text,
                        "forged": json.dumps(["EVENT", message[1], forged]),
                        "truncated": text[: len(text) // 2],
                        "notice": json.dumps(["NOTICE", "mind the gap"]),
                    }[fault]
                )
            await connection.send(text)


def _address(event: dict[str, Any]) -> str:
    name = next((t[1] for t in event["tags"] if t[0] == "d"), "")
    return f"{event['kind']}:{event['pubkey']}:{name}"


def _matches(wanted: dict[str, Any], event: dict[str, Any]) -> bool:
    """Whether a filter of NIP-01 lets the event through."""
    for name, field in (("ids", "id"), ("kinds", "kind"), ("authors", "pubkey")):
        if name in wanted and event[field] not in wanted[name]:
            return False
    if event["created_at"] < wanted.get("since", 0):
        return False
    if event["created_at"] > wanted.get("until", 1 << 40):
        return False
    for name, values in wanted.items():
        if name.startswith("#"):
            have = {t[1] for t in event["tags"] if len(t) > 1 and t[0] == name[1:]}
            if have.isdisjoint(values):
                return False
    return True


def _keys(person: str) -> Any:
    from nostr_sdk import Keys, SecretKey

    secret = SecretKey.from_bytes(hashlib.sha256(person.encode()).digest())
    return Keys.parse(secret.to_hex())


def _signed(
    person: str, kind: int, text: str, tags: list[list[str]], created_s: int
) -> dict[str, Any]:
    from nostr_sdk import UnsignedEvent

    keys = _keys(person)
    fields = {
        "pubkey": keys.public_key().to_hex(),
        "created_at": created_s,
        "kind": kind,
        "tags": tags,
        "content": text,
    }
    unsigned = UnsignedEvent.from_json(json.dumps(fields))
    event: dict[str, Any] = json.loads(keys.sign_event(unsigned).as_json())
    return event
