from __future__ import annotations

from typing import Any


async def test_now_tells_stories_freshness_and_examples(house: Any) -> None:
    async with house.client() as http:
        found = (await http.get("/v1/now")).json()
        again = (await http.get("/v1/now")).json()
        asked = len(house.index.queries)
        house.clock.advance(6)
        await http.get("/v1/now")
    story = found["stories"][0]
    assert story["title"] and story["saved_url"].endswith(f"?version={story['version']}")
    assert story["outlets"] >= 1 and len(story["spark"]) == 24
    # What the terms withhold makes no headline.
    assert all(s["title"] != "Hush" for s in found["stories"])
    assert found["freshness"]["sources"] == 1 and found["freshness"]["newest_age_s"] == 40.0
    assert found["examples"][0] == "Is the north bridge open?" and found["demo"] is True
    assert again == found and asked == 2
    assert len(house.index.queries) == 4


async def test_now_as_of_a_moment_asks_the_index_as_of_then(house: Any) -> None:
    async with house.client() as http:
        found = (await http.get("/v1/now", params={"as_of": "1 hour ago"})).json()
        refused = await http.get("/v1/now", params={"as_of": "soon"})
    assert found["as_of"] is not None and refused.status_code == 400
    assert all(query.as_of is not None for query in house.index.queries)
