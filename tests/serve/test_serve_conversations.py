from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts

ASK = {"question": "Is the north bridge open?", "stream": False}


async def test_conversations_are_listed_read_renamed_and_deleted(house: Any) -> None:
    async with house.client() as http:
        first = (await http.post("/v1/ask", json=ASK)).json()
        again = {**ASK, "question": "Since when?", "previous_id": first["id"]}
        await http.post("/v1/ask", json=again)
        await http.post("/v1/responses", json={"input": "Who won the match?"})
        threads = (await http.get("/v1/threads")).json()["threads"]
        assert {t["title"]: t["answers"] for t in threads} == {
            "Is the north bridge open?": 2,
            "Who won the match?": 1,
        }
        found = (await http.get("/v1/threads?q=match")).json()["threads"]
        assert [t["title"] for t in found] == ["Who won the match?"]
        path = f"/v1/threads/{first['id']}"
        whole = (await http.get(path)).json()
        assert [t["previous_id"] for t in whole["turns"]] == [None, first["id"]]
        assert whole["turns"][0]["answer"]["sentences"][0]["verdict"]["kind"] == "supported"
        renamed = await http.patch(path, json={"title": "Bridge", "folder": "Town"})
        assert renamed.json()["title"] == "Bridge"
        inside = (await http.get("/v1/threads?folder=Town")).json()["threads"]
        assert [t["id"] for t in inside] == [first["id"]]
        assert (await http.patch(path, json={"title": " "})).status_code == 400
        assert (await http.delete(path)).status_code == 204
        assert (await http.get(path)).status_code == 404
        assert (await http.delete(path)).status_code == 404


async def test_a_shared_conversation_is_read_without_a_key_until_it_is_taken_back(
    house: Any,
) -> None:
    house = house.configure(api_key="open-sesame")
    key = {"authorization": "Bearer open-sesame"}
    async with house.client() as http:
        asked = (await http.post("/v1/ask", json=ASK, headers=key)).json()
        path = f"/v1/threads/{asked['id']}/share"
        shared = (await http.post(path, headers=key)).json()["share_url"]
        assert (await http.post(path, headers=key)).json()["share_url"] == shared
        read = await http.get(shared)
        assert read.status_code == 200 and "folder" not in read.json()
        assert read.json()["turns"][0]["answer"]["question"] == ASK["question"]
        assert (await http.delete(shared)).status_code == 401
        assert (await http.get(f"/v1/threads/{asked['id']}")).status_code == 401
        assert (await http.get("/v1/shared/guess")).status_code == 404
        assert (await http.delete(path, headers=key)).status_code == 204
        assert (await http.get(shared)).status_code == 404


async def test_an_export_reads_well_and_runs_nothing(house: Any) -> None:
    async with house.client() as http:
        hostile = {**ASK, "question": "<script>alert(1)</script> ![x](http://evil.example)?"}
        asked = (await http.post("/v1/ask", json=hostile)).json()
        path = f"/v1/threads/{asked['id']}/export"
        text = await http.get(path)
        data = await http.get(f"{path}?format=json")
        assert (await http.get(f"{path}?format=pdf")).status_code == 400
    assert text.headers["content-disposition"].endswith('.md"')
    assert "\\<script>" in text.text and "!\\[x]" in text.text
    assert "- The north bridge is closed. [1]" in text.text
    assert "*(partly supported)*" in text.text
    assert data.json()["turns"][0]["answer"]["question"] == hostile["question"]


@pytest.mark.parametrize("route", ["/v1/ask", "/v1/responses"])
async def test_nobody_reaches_what_others_asked(house: Any, tmp_path: Path, route: str) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    house = replace(house, services=replace(house.services, accounts=accounts))
    keys = {}
    for name in ("ann", "bob"):
        accounts.add_user(name, Role.ADMIN)
        keys[name] = {"authorization": f"Bearer {accounts.add_key(name)[1]}"}
    body = ASK if route == "/v1/ask" else {"input": ASK["question"]}
    async with house.client() as http:
        id = (await http.post(route, json=body, headers=keys["ann"])).json()["id"]
        for method, path in (
            ("GET", f"/v1/threads/{id}"),
            ("PATCH", f"/v1/threads/{id}"),
            ("DELETE", f"/v1/threads/{id}"),
            ("POST", f"/v1/threads/{id}/share"),
            ("DELETE", f"/v1/threads/{id}/share"),
            ("GET", f"/v1/threads/{id}/export"),
            ("GET", f"/v1/responses/{id}"),
            ("GET", f"/v1/responses/{id}/input_items"),
            ("POST", f"/v1/responses/{id}/cancel"),
            ("DELETE", f"/v1/responses/{id}"),
        ):
            body = {"title": "mine"} if method == "PATCH" else None
            r = await http.request(method, path, json=body, headers=keys["bob"])
            assert r.status_code == 404, (method, path, r.text)
        assert (await http.get("/v1/threads", headers=keys["bob"])).json() == {"threads": []}
        follow = {**ASK, "previous_id": id}
        assert (await http.post("/v1/ask", json=follow, headers=keys["bob"])).status_code == 400
        more = {"input": "And?", "previous_response_id": id}
        refused = await http.post("/v1/responses", json=more, headers=keys["bob"])
        assert refused.status_code == 400
        assert (await http.get(f"/v1/threads/{id}", headers=keys["ann"])).status_code == 200
    accounts.close()
