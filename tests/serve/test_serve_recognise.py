"""Looking what a text would follow."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gnomon.errors import ConfigError
from gnomon.sources.registry import Registry
from gnomon.types import SourceConfig

OPML = """<?xml version="1.0"?><opml version="2.0"><body>
<outline text="One" type="rss" xmlUrl="https://one.example/feed"/>
<outline text="Two" type="rss" xmlUrl="https://two.example/feed"/>
<outline text="Three" type="rss" xmlUrl="gopher://three.example/"/></body></opml>"""


async def test_an_address_is_told_and_not_followed(house: Any) -> None:
    async with house.client() as http:
        before = (await http.get("/v1/sources")).json()["sources"]
        said = (
            await http.post("/v1/sources/recognise", json={"text": "https://www.example.org"})
        ).json()
        assert (await http.get("/v1/sources")).json()["sources"] == before
    assert (said["count"], said["known"]) == (1, 1)
    (source,) = said["sources"]
    assert source["type"] == "feed" and source["followed"]
    assert source["url"] == "https://www.example.org"


async def test_the_text_of_a_list_is_counted(house: Any) -> None:
    async with house.client() as http:
        said = (await http.post("/v1/sources/recognise", json={"text": OPML})).json()
        assert (said["count"], said["known"]) == (2, 0)
        assert [s["title"] for s in said["sources"]] == ["One", "Two"]
        assert (said["skipped"], said["skipped_count"]) == (
            [
                {
                    "entry": "Three (gopher://three.example/)",
                    "reason": "its xmlUrl is no web address",
                }
            ],
            1,
        )
        assert (await http.post("/v1/sources/recognise", json={"text": "<nothing"})).is_error


@pytest.mark.parametrize("text", ["", "wat", "x" * 3_000])
async def test_what_is_nothing_is_refused(house: Any, text: str) -> None:
    async with house.client() as http:
        reply = await http.post("/v1/sources/recognise", json={"text": text})
    assert reply.status_code == 400 and reply.json()["detail"]


async def test_the_secrets_that_a_connector_can_use_are_named(house: Any) -> None:
    registry = Registry.installed()

    async def identify(text: str) -> Any:
        return registry.identify(text)

    services = replace(house.services, identify=identify, examine=registry.examine)
    async with replace(house, services=services).client() as http:
        said = (await http.post("/v1/sources/recognise", json={"text": "x:@example"})).json()
    (source,) = said["sources"]
    assert source["type"] == "x"
    assert {"bearer_token", False} <= set(source["keys"][0].values())


async def test_followed_feeds_are_exported_for_other_readers(house: Any) -> None:
    async with house.client() as http:
        for address in ("https://www.example.org/a?x=1&y=2", "https://www.example.org/b"):
            body = {"url": address, "title": "A <b>"} if "a?" in address else {"url": address}
            made = await http.post("/v1/sources", json=body)
            assert made.status_code == 201, made.text
        exported = await http.get("/v1/sources.opml")
        assert exported.headers["content-type"].startswith("text/x-opml")
        assert "gnomon.opml" in exported.headers["content-disposition"]
        listed = await http.post("/v1/sources/recognise", json={"text": exported.text})
        assert {one["url"] for one in listed.json()["sources"]} == {
            "https://www.example.org/a?x=1&y=2",
            "https://www.example.org/b",
        }


SECRET = "s3cret-" + "b" * 20


async def test_a_secret_is_taken_and_never_told_again(house: Any) -> None:
    registry = Registry.installed()

    async def identify(text: str) -> Any:
        return registry.identify(text)

    services = replace(house.services, identify=identify, examine=registry.examine)
    async with replace(house, services=services).client() as http:
        body = {"text": "x:@example", "settings": {"bearer_token": SECRET}}
        replies = [await http.post("/v1/sources", json=body)]
        name = replies[0].json()["name"]
        replies.append(await http.get(f"/v1/sources/{name}/keys"))
        keys = {key["name"]: key["set"] for key in replies[-1].json()["keys"]}
        assert keys["bearer_token"]
        change = {"settings": {"bearer_token": SECRET + "2"}}
        replies.append(await http.patch(f"/v1/sources/{name}", json=change))
        replies.append(await http.post("/v1/sources", json=body))
        replies.append(await http.get("/v1/sources"))
        replies.append(await http.get("/v1/sources.opml"))
        replies.append(await http.post("/v1/sources/recognise", json={"text": "x:@example"}))
        replies.append(await http.post(f"/v1/sources/{name}/pause"))
    assert [r.status_code for r in replies] == [201, 200, 200, 409, 200, 200, 200, 200]
    assert house.record.configs[name].settings["bearer_token"] == SECRET + "2"
    for reply in replies:
        assert SECRET not in reply.text


@pytest.mark.parametrize("key", ["bearer_token", "baerer_token"])
def test_a_secret_that_is_wrong_is_not_quoted(key: str) -> None:
    config = SourceConfig(name="x", type="x", settings={key: [SECRET]})
    with pytest.raises(ConfigError) as caught:
        Registry.installed().settings(config)
    assert key in str(caught.value) and SECRET not in str(caught.value)
