"""Earthquakes as the USGS serves them: a GeoJSON summary of one day, and a detail per event.

It is a `FeedServer`, so its faults apply by path (`SUMMARY`). Besides, `freeze` keeps an old
answer standing as a cache does, `shuffle` and `repeat` change the order and the number of events.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime, timedelta
from typing import Any

from gnomon.clock import Clock, SystemClock, to_us
from gnomon.testing.feed_server import FeedServer, Reply, Request, conditional

SUMMARY = "/summary/2.5_day.geojson"
_WINDOW = timedelta(days=1)
_SMALLEST = 2.5


class UsgsServer(FeedServer):
    """`async with UsgsServer(clock=clock) as server: server.quake(...)`."""

    def __init__(self, *, port: int = 0, clock: Clock | None = None) -> None:
        super().__init__(port=port, clock=clock)
        self._now = clock or SystemClock()
        self._events: dict[str, dict[str, Any]] = {}
        self._frozen: bytes | None = None
        self.shuffle = False
        """Whether events come oldest first instead of newest first."""
        self.repeat = False
        """Whether each event comes twice."""
        self.route(SUMMARY, self._summary)

    def quake(
        self,
        id: str,
        *,
        magnitude: float | None,
        place: str,
        at: datetime,
        point: tuple[float, float, float] = (-122.8, 38.8, 10.0),
        **more: Any,
    ) -> None:
        """An earthquake is located, or (with a known id) located anew."""
        now_ms = to_us(self._now.now()) // 1_000
        shown = "?" if magnitude is None else f"{magnitude:.1f}"
        properties: dict[str, Any] = {
            "mag": magnitude, "place": place, "time": to_us(at) // 1_000, "updated": now_ms,
            "tz": None, "url": f"https://earthquake.usgs.gov/earthquakes/eventpage/{id}",
            "felt": None, "cdi": None, "mmi": None, "alert": None, "status": "automatic",
            "tsunami": 0, "sig": 388, "net": id[:2], "code": id[2:], "ids": f",{id},",
            "types": ",origin,", "type": "earthquake", "title": f"M {shown} - {place}", **more,
        }  # fmt: skip
        self._events[id] = {
            "type": "Feature",
            "properties": properties,
            "geometry": {"type": "Point", "coordinates": list(point)},
            "id": id,
        }
        self.route(f"/detail/{id}.geojson", lambda _: self._detail(id))

    def rename(self, old: str, new: str) -> None:
        """Another network's solution is preferred from now on: same event, another id."""
        feature = self._events.pop(old)
        ids = f",{new}{feature['properties']['ids']}"
        changed = {"ids": ids, "updated": to_us(self._now.now()) // 1_000}
        self._events[new] = {
            **feature, "id": new, "properties": {**feature["properties"], **changed}
        }  # fmt: skip
        for id in (old, new):
            self.route(f"/detail/{id}.geojson", lambda _: self._detail(new))

    def delete(self, id: str, *, shown: bool = False) -> None:
        """It was no earthquake: it vanishes, or (`shown`) is listed with status `deleted`."""
        if not shown:
            self._events[id]["properties"]["status"] = "vanished"
            return
        said = self._events[id]["properties"]
        said |= {"status": "deleted", "updated": to_us(self._now.now()) // 1_000}

    def freeze(self, frozen: bool = True) -> None:
        """Serve the answer of this moment for as long as it is frozen."""
        self._frozen = self._body() if frozen else None

    def _body(self) -> bytes:
        now = self._now.now()
        since_ms = to_us(now - _WINDOW) // 1_000
        listed = [
            feature
            for feature in self._events.values()
            if feature["properties"]["time"] >= since_ms
            and feature["properties"]["status"] != "vanished"
            and (feature["properties"]["mag"] or 0.0) >= _SMALLEST
        ]
        listed.sort(key=lambda f: f["properties"]["time"], reverse=not self.shuffle)
        if self.repeat:
            listed = [feature for feature in listed for _ in range(2)]
        return json.dumps(
            {
                "type": "FeatureCollection",
                "metadata": {
                    "generated": to_us(now) // 1_000,
                    "url": self.url(SUMMARY),
                    "title": "USGS Magnitude 2.5+ Earthquakes, Past Day",
                    "status": 200,
                    "api": "1.14.1",
                    "count": len(listed),
                },
                "features": listed,
            }
        ).encode()

    def _summary(self, request: Request) -> Reply:
        return _json(request, self._body() if self._frozen is None else self._frozen)

    def _detail(self, id: str) -> Reply:
        feature = self._events[id]
        if feature["properties"]["status"] in ("vanished", "deleted"):
            return Reply(status=409, body=b"Conflict: deleted event\n")
        return Reply(
            body=json.dumps(feature).encode(), headers={"content-type": "application/json"}
        )


def _json(request: Request, body: bytes) -> Reply:
    etag = f'"{hashlib.sha256(body).hexdigest()[:16]}"'
    return conditional(request, body, {"content-type": "application/json", "etag": etag})
