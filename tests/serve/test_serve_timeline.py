from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec


async def test_a_timeline_counts_articles_and_posts_by_time(house: Any) -> None:
    now = house.clock.now()
    document = house.record.documents[0]
    house.record.documents = [
        msgspec.structs.replace(document, seq=1, key="a", published_at=now - timedelta(hours=9)),
        msgspec.structs.replace(
            document, seq=2, key="b", kind="post", published_at=now - timedelta(minutes=1)
        ),
    ]
    async with house.client() as http:
        params = {"question": "bridge", "since": "10 hours ago", "buckets": 10}
        found = (await http.get("/v1/timeline", params=params)).json()
        whole = (await http.get("/v1/timeline", params={"question": "bridge"})).json()
        wrong = await http.get("/v1/timeline", params=params | {"until": "2 days ago"})
    counts = [(b["articles"], b["posts"]) for b in found["buckets"]]
    # Each stands for two near copies as well.
    assert counts == [(0, 0), (3, 0), *[(0, 0)] * 7, (0, 3)]
    assert found["bucket_s"] == 3600
    assert sum(b["articles"] for b in whole["buckets"]) == 3
    assert whole["buckets"][0]["articles"] == 3
    assert wrong.status_code == 400 and wrong.json()["param"] == "since"
    assert house.index.queries[0].as_of is None


async def test_a_timeline_of_the_past_knows_nothing_later(house: Any) -> None:
    async with house.client() as http:
        params = {"question": "bridge", "until": "1 hour ago"}
        assert (await http.get("/v1/timeline", params=params)).status_code == 200
    assert house.index.queries[0].as_of == house.clock.now() - timedelta(hours=1)
