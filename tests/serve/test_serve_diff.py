from __future__ import annotations

from typing import Any

import pytest


async def test_a_diff_asks_at_both_moments_and_carries_both_answers(house: Any) -> None:
    body = {
        "question": "Is it open?",
        "from": "2 hours ago",
        "to": "1 hour ago",
        "domains": ["example.org"],
    }
    async with house.client() as http:
        r = await http.post("/v1/diff", json=body)
    found = r.json()
    assert r.status_code == 200
    assert found["start"] == "2026-11-22T12:05:00Z"
    assert found["end"] == "2026-11-22T13:05:00Z"
    assert not found["changed"]
    assert {c["status"] for c in found["changes"]} == {"unchanged"}
    first = found["changes"][0]
    assert first["before"]["citation"]["saved_url"].endswith("bridge?version=1&start=0&end=27")
    assert found["before"]["text"].startswith("The north bridge is closed. [1]")
    moments = [q.as_of.isoformat()[:16] for q in house.answerer.asked]
    assert moments[:2] == ["2026-11-22T12:05", "2026-11-22T13:05"]
    assert all(q.domains == ("example.org",) for q in house.answerer.asked)
    assert all(q.mode == "extract" for q in house.answerer.asked)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"question": "Open?"}, 400),
        ({"question": "Open?", "from": "now"}, 400),
        ({"question": "Open?", "from": "1 hour ago", "to": "2 hours ago"}, 422),
        ({"question": "Open?", "from": "yesterdayish"}, 400),
        ({"question": "", "from": "1 hour ago"}, 400),
    ],
)
async def test_what_cannot_be_compared_is_refused(
    house: Any, body: dict[str, str], status: int
) -> None:
    async with house.client() as http:
        r = await http.post("/v1/diff", json=body)
    assert r.status_code == status
    assert r.json()["detail"]
