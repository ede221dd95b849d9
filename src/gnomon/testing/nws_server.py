"""Weather alerts as api.weather.gov serves them: what is active, and the messages of a week.

It is a `FeedServer`, so its faults apply by path (`ACTIVE`, `ALERTS`). Besides, `freeze` keeps an
old answer standing as a cache does, `hide` leaves an alert out of what is active, `shuffle` and
`repeat` change the order and the number of alerts, `stray` lets pages lead to another host.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from email.utils import format_datetime
from typing import Any
from urllib.parse import urlencode

from gnomon.clock import Clock, SystemClock
from gnomon.testing.feed_server import FeedServer, Reply, Request, conditional

ACTIVE = "/alerts/active"
ALERTS = "/alerts"
_KEPT = timedelta(days=7)
_MOST = 500
_SENDER = "w-nws.webmaster@noaa.gov"
_PLACES = ("area", "zone", "point", "region", "region_type")
_FILTERS = ("severity", "urgency", "certainty", "event", "status", "message_type")
_PAGING = ("limit", "start", "end", "cursor")
_SEVERITIES = ("Extreme", "Severe", "Moderate", "Minor", "Unknown")


class NwsServer(FeedServer):
    """`async with NwsServer(clock=clock) as server: id = server.issue("Flood Warning", ...)`."""

    def __init__(
        self, *, port: int = 0, clock: Clock | None = None, asks_contact: bool = False
    ) -> None:
        super().__init__(port=port, clock=clock)
        self._now = clock or SystemClock()
        self.asks_contact = asks_contact
        """Whether who gives no address in the user agent is turned away."""
        self.shuffle = False
        """Whether what is active comes oldest first instead of newest first."""
        self.repeat = False
        """Whether each active alert comes twice."""
        self.stray = False
        """Whether the next page of messages is said to be elsewhere."""
        self._messages: dict[str, dict[str, Any]] = {}
        self._over: set[str] = set()
        self._hidden: set[str] = set()
        self._frozen: list[dict[str, Any]] | None = None
        self.route(ACTIVE, self._active)
        self.route(ALERTS, self._all)

    # -- what happens ---------------------------------------------------------
    def issue(
        self,
        event: str,
        *,
        place: str = "Butler, KS",
        zones: Sequence[str] = ("KSZ069",),
        description: str = "Water is rising.",
        severity: str = "Severe",
        hours: float = 6.0,
        status: str = "Actual",
        replaces: Sequence[str] = (),
        type: str = "",
        **more: Any,
    ) -> str:
        """An office issues a message, an Update if it `replaces` others; its id."""
        now = self._now.now()
        number = hashlib.sha1(f"{len(self._messages)}".encode()).hexdigest()  # noqa: S324
        id = f"urn:oid:2.49.0.1.840.0.{number}.001.1"
        chain = list(dict.fromkeys(old for one in replaces for old in (*self._chain(one), one)))
        office = "NWS Wichita KS"
        said = {
            "@id": self._address(id),
            "@type": "wx:Alert",
            "id": id,
            "areaDesc": place,
            "geocode": {"SAME": ["020015"], "UGC": list(zones)},
            "affectedZones": [f"https://api.weather.gov/zones/forecast/{zone}" for zone in zones],
            "references": [
                {
                    "@id": self._address(old),
                    "identifier": old,
                    "sender": _SENDER,
                    "sent": self._messages[old]["properties"]["sent"],
                }
                for old in chain
            ],
            "sent": now.isoformat(),
            "effective": now.isoformat(),
            "onset": now.isoformat(),
            "expires": (now + timedelta(hours=hours)).isoformat(),
            "ends": (now + timedelta(hours=hours)).isoformat(),
            "status": status,
            "messageType": type or ("Update" if replaces else "Alert"),
            "category": "Met",
            "severity": severity,
            "certainty": "Likely",
            "urgency": "Expected",
            "event": event,
            "sender": _SENDER,
            "senderName": office,
            "headline": f"{event} issued {now:%B %-d at %-I:%M%p} UTC by {office}",
            "description": description,
            "instruction": "Turn around, don't drown.",
            "response": "Avoid",
            "parameters": {"AWIPSidentifier": ["FLWICT"], "BLOCKCHANNEL": ["EAS", "NWEM"]},
            "scope": "Public",
            "code": "IPAWSv1.0",
            "language": "en-US",
            "web": "http://www.weather.gov",
            "eventCode": {"SAME": ["FLW"], "NationalWeatherService": ["FLW"]},
            **more,
        }
        self._messages[id] = {
            "id": self._address(id), "type": "Feature", "geometry": None, "properties": said,
        }  # fmt: skip
        self._over |= set(replaces)
        return id

    def update(self, *ids: str, **changed: Any) -> str:
        """An office replaces these messages by a new one; its id."""
        old = self._messages[ids[-1]]["properties"]
        kept = {"place": old["areaDesc"], "zones": old["geocode"]["UGC"],
                "description": old["description"], "severity": old["severity"]}  # fmt: skip
        return self.issue(old["event"], replaces=ids, **{**kept, **changed})

    def cancel(self, *ids: str, shown: bool = False) -> str:
        """An office cancels these; `shown` says whether the Cancel itself counts as active."""
        old = self._messages[ids[-1]]["properties"]
        id = self.issue(
            old["event"], place=old["areaDesc"], zones=old["geocode"]["UGC"], replaces=ids,
            severity=old["severity"], type="Cancel", description="The warning is cancelled.",
        )  # fmt: skip
        if not shown:
            self._over.add(id)
        return id

    def hide(self, id: str, hidden: bool = True) -> None:
        """Leave an alert out of what is active although it is in force."""
        (self._hidden.add if hidden else self._hidden.discard)(id)

    def freeze(self, frozen: bool = True) -> None:
        """Serve what is active at this moment for as long as it is frozen."""
        self._frozen = self._in_force() if frozen else None

    def _chain(self, id: str) -> list[str]:
        return [ref["identifier"] for ref in self._messages[id]["properties"]["references"]]

    def _address(self, id: str) -> str:
        return f"https://api.weather.gov/alerts/{id}"

    # -- answers --------------------------------------------------------------
    def _active(self, request: Request) -> Reply:
        refusal = self._refusal(request, _PLACES + _FILTERS)
        if refusal is not None:
            return refusal
        body = self._active_body(request.query)
        newest = max((m["properties"]["sent"] for m in self._messages.values()), default="")
        headers = {
            "content-type": "application/geo+json",
            "etag": f'"{hashlib.sha256(body).hexdigest()[:16]}"',
            "cache-control": "public, max-age=5",
        }
        if newest:
            moment = datetime.fromisoformat(newest)
            headers["last-modified"] = format_datetime(moment, usegmt=True)
        return conditional(request, body, headers)

    def _in_force(self) -> list[dict[str, Any]]:
        now = self._now.now()
        return [
            message
            for id, message in self._messages.items()
            if id not in self._over
            and id not in self._hidden
            and datetime.fromisoformat(message["properties"]["expires"]) > now
        ]

    def _active_body(self, query: Mapping[str, str]) -> bytes:
        listed = self._in_force() if self._frozen is None else self._frozen
        found = [message for message in listed if _matches(message["properties"], query)]
        found.sort(key=lambda m: m["properties"]["sent"], reverse=not self.shuffle)
        if self.repeat:
            found = [message for message in found for _ in range(2)]
        title = "Current watches, warnings, and advisories"
        return json.dumps(_collection(found, title)).encode()

    def _all(self, request: Request) -> Reply:
        refusal = self._refusal(request, _PLACES + _FILTERS + _PAGING)
        if refusal is not None:
            return refusal
        query = request.query
        limit = int(query.get("limit", _MOST))
        if not 1 <= limit <= _MOST:
            return _problem(400, f"limit must be between 1 and {_MOST}")
        floor = self._now.now() - _KEPT
        since = datetime.fromisoformat(query["start"]) if "start" in query else floor
        found = [
            message
            for message in self._messages.values()
            if datetime.fromisoformat(message["properties"]["sent"]) >= max(since, floor)
            and _matches(message["properties"], query)
        ]
        found.sort(key=lambda m: m["properties"]["sent"], reverse=True)
        skip = int(query.get("cursor", "0"))
        answer = _collection(found[skip : skip + limit], "Watches, warnings, and advisories")
        if skip + limit < len(found):
            onward = urlencode({**query, "cursor": skip + limit})
            base = "https://elsewhere.example" if self.stray else self.url("")
            answer["pagination"] = {"next": f"{base}{ALERTS}?{onward}"}
        return Reply(
            body=json.dumps(answer).encode(), headers={"content-type": "application/geo+json"}
        )

    def _refusal(self, request: Request, known: Sequence[str]) -> Reply | None:
        agent = request.headers.get("user-agent", "")
        if self.asks_contact and "@" not in agent and "http" not in agent:
            return _problem(403, "Please identify your application in the User-Agent header.")
        for name in request.query:
            if name not in known:
                return _problem(400, f'Query parameter "{name}" is not recognized')
        if sum(name in request.query for name in _PLACES) > 1:
            return _problem(400, "area and zone cannot be combined")
        for severity in filter(None, request.query.get("severity", "").split(",")):
            if severity not in _SEVERITIES:
                return _problem(400, f"severity {severity} does not exist in the enumeration")
        return None


def _matches(said: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    zones = said["geocode"]["UGC"]
    asked = {name: value.split(",") for name, value in query.items()}
    return (
        ("area" not in asked or any(zone[:2] in asked["area"] for zone in zones))
        and ("zone" not in asked or any(zone in asked["zone"] for zone in zones))
        and ("severity" not in asked or said["severity"] in asked["severity"])
        and ("event" not in asked or said["event"] in asked["event"])
        and ("status" not in asked or said["status"].lower() in asked["status"])
    )


def _collection(features: Sequence[Mapping[str, Any]], title: str) -> dict[str, Any]:
    return {
        "@context": ["https://geojson.org/geojson-ld/geojson-context.jsonld"],
        "type": "FeatureCollection",
        "features": list(features),
        "title": title,
        "updated": max((f["properties"]["sent"] for f in features), default=None),
    }


def _problem(status: int, detail: str) -> Reply:
    body = {
        "correlationId": "3c1b2e",
        "title": "Bad Request" if status == 400 else "Forbidden",
        "type": "https://api.weather.gov/problems/InvalidParameter",
        "status": status,
        "detail": detail,
        "instance": "https://api.weather.gov/requests/3c1b2e",
    }
    return Reply(
        status=status,
        body=json.dumps(body).encode(),
        headers={"content-type": "application/problem+json"},
    )
