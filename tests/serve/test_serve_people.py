from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from gnomon.accounts.base import Role
from gnomon.accounts.store import SESSION_LIFE, Accounts
from gnomon.serve.access import needed_scope

PASSWORD = "correct horse battery"


@pytest.fixture
def people(house: Any, tmp_path: Path) -> Any:
    """A house with accounts: root, an admin; ed, an editor; rita, a reader."""
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    accounts.add_user("root", Role.ADMIN, password=PASSWORD)
    accounts.add_user("ed", Role.EDITOR, password=PASSWORD)
    accounts.add_user("rita", Role.READER, password=PASSWORD)
    yield replace(house, services=replace(house.services, accounts=accounts, token="local-token"))
    accounts.close()


def key_of(people: Any, name: str, **limits: Any) -> dict[str, str]:
    _, secret = people.services.accounts.add_key(name, **limits)
    return {"authorization": f"Bearer {secret}"}


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("POST", "/v1/responses", "ask"),
        ("GET", "/v1/responses/resp_1", "read"),
        ("DELETE", "/v1/responses/resp_1", "ask"),
        ("POST", "/v1/sources", "sources"),
        ("GET", "/v1/sources", "read"),
        ("GET", "/v1/users", "admin"),
        ("POST", "/v1/keys", "read"),
        ("POST", "/v1/files", "files"),
        ("POST", "/v1/anything/new", "ask"),
        ("GET", "/", "read"),
    ],
)
def test_what_a_request_needs(method: str, path: str, scope: str) -> None:
    assert needed_scope(method, path) == scope


async def test_as_soon_as_there_is_an_account_strangers_are_asked_who_they_are(
    house: Any, tmp_path: Path
) -> None:
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    house = replace(house, services=replace(house.services, accounts=accounts))
    async with house.client() as http:
        anybody = {"authorization": "Bearer whatever"}
        assert (await http.get("/v1/status", headers=anybody)).status_code == 200
        assert (await http.get("/v1/session")).json()["sign_in_needed"] is False
        accounts.add_user("root", Role.ADMIN, password=PASSWORD)
        assert (await http.get("/v1/status")).status_code == 401
        assert (await http.get("/v1/status", headers=anybody)).status_code == 401
        session = (await http.get("/v1/session")).json()
        assert session == {"signed_in": False, "sign_in_needed": True}
        assert (await http.get("/health")).status_code == 200
    accounts.close()


async def test_roles_open_what_they_should_and_no_more(people: Any) -> None:
    new = {"url": "https://news.example/f"}
    expected = {"rita": (200, 403, 403), "ed": (200, 201, 403), "root": (200, 409, 200)}
    async with people.client() as http:
        for name, (reading, following, users) in expected.items():
            headers = key_of(people, name)
            assert (await http.get("/v1/search?q=bridge", headers=headers)).status_code == reading
            added = await http.post("/v1/sources", json=new, headers=headers)
            assert added.status_code == following
            assert (await http.get("/v1/users", headers=headers)).status_code == users
            me = (await http.get("/v1/me", headers=headers)).json()
            assert me["name"] == name


async def test_a_browser_signs_in_with_a_cookie_and_a_token_against_forgery(people: Any) -> None:
    async with people.client() as http:
        wrong = {"name": "ed", "password": "wrong password"}
        assert (await http.post("/v1/session", json=wrong)).status_code == 401
        signed = await http.post("/v1/session", json={"name": "ed", "password": PASSWORD})
        assert signed.status_code == 201
        cookie = signed.headers["set-cookie"].lower()
        assert "httponly" in cookie and "samesite=strict" in cookie and "secure" not in cookie
        assert (await http.get("/v1/status")).status_code == 200
        new = {"url": "https://news.example/f"}
        assert (await http.post("/v1/sources", json=new)).json()["code"] == "access.csrf"
        forged = {"x-csrf-token": "guess"}
        assert (await http.post("/v1/sources", json=new, headers=forged)).status_code == 403
        csrf = {"x-csrf-token": (await http.get("/v1/session")).json()["csrf"]}
        assert (await http.post("/v1/sources", json=new, headers=csrf)).status_code == 201
        assert (await http.delete("/v1/session", headers=csrf)).status_code == 204
        assert (await http.get("/v1/status")).status_code == 401


async def test_a_browser_signs_in_with_the_servers_own_key(people: Any) -> None:
    settings = people.services.settings
    server = settings.server.model_copy(update={"api_key": SecretStr("open-sesame")})
    keyed = settings.model_copy(update={"server": server})
    people = replace(people, services=replace(people.services, settings=keyed))
    async with people.client() as http:
        refused = await http.post("/v1/session", json={"key": "open-says-me"})
        assert refused.status_code == 401
        assert (await http.get("/v1/users")).status_code == 401
        signed = await http.post("/v1/session", json={"key": "open-sesame"})
        assert signed.status_code == 201
        assert (signed.json()["name"], signed.json()["role"]) == ("operator", "admin")
        assert (await http.get("/v1/users")).status_code == 200
        new = {"name": "new", "role": "reader"}
        assert (await http.post("/v1/users", json=new)).json()["code"] == "access.csrf"
        csrf = {"x-csrf-token": (await http.get("/v1/session")).json()["csrf"]}
        assert (await http.post("/v1/users", json=new, headers=csrf)).status_code == 201
        people.clock.advance(SESSION_LIFE.total_seconds() + 1)
        assert (await http.get("/v1/users")).status_code == 401
        signed = await http.post("/v1/session", json={"key": "open-sesame"})
        cookie = {"cookie": signed.headers["set-cookie"].partition(";")[0]}
        csrf = {"x-csrf-token": signed.json()["csrf"]}
        assert (await http.delete("/v1/session", headers=csrf)).status_code == 204
        assert (await http.get("/v1/users", headers=cookie)).status_code == 401


async def test_where_the_server_has_no_key_none_signs_in_as_the_operator(people: Any) -> None:
    async with people.client() as http:
        for key in ("", "operator", "None"):
            assert (await http.post("/v1/session", json={"key": key})).status_code == 401


async def test_a_cookie_that_nobody_was_given_opens_nothing(people: Any) -> None:
    async with people.client() as http:
        for value in ("forged", "", "a" * 5000, '"', "\xff"):
            headers = {"cookie": f"gnomon_session={value}".encode("latin-1")}
            assert (await http.get("/v1/status", headers=headers)).status_code in (401, 429)


async def test_over_https_the_cookie_is_secure(people: Any) -> None:
    people = replace(
        people,
        services=replace(
            people.services,
            settings=people.services.settings.model_copy(
                update={
                    "server": people.services.settings.server.model_copy(
                        update={"public_url": "https://gnomon.example"}
                    )
                }
            ),
        ),
    )
    async with people.client() as http:
        signed = await http.post("/v1/session", json={"name": "ed", "password": PASSWORD})
    assert "secure" in signed.headers["set-cookie"].lower()


async def test_guessing_is_slowed(people: Any) -> None:
    async with people.client() as http:
        guess = {"authorization": "Bearer gn-guess"}
        codes = [(await http.get("/v1/status", headers=guess)).status_code for _ in range(12)]
        assert codes[:10] == [401] * 10 and codes[10:] == [429, 429]
        refused = await http.post("/v1/session", json={"name": "root", "password": "guess"})
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) >= 1
        right = key_of(people, "root")
        assert (await http.get("/v1/status", headers=right)).status_code == 200
        people.clock.advance(60)
        assert (await http.get("/v1/status", headers=guess)).status_code == 401


async def test_a_key_is_shown_once_and_is_its_owners(people: Any) -> None:
    rita, ed, root = (key_of(people, name) for name in ("rita", "ed", "root"))
    async with people.client() as http:
        made = await http.post("/v1/keys", json={"label": "phone"}, headers=rita)
        assert made.status_code == 201
        secret, id = made.json()["key"], made.json()["id"]
        listed = await http.get("/v1/keys", headers=rita)
        assert secret not in listed.text and id in listed.text
        assert id not in (await http.get("/v1/keys", headers=ed)).text
        assert id in (await http.get("/v1/keys", headers=root)).text
        assert (await http.delete(f"/v1/keys/{id}", headers=ed)).status_code == 404
        others = await http.post("/v1/keys", json={"user": "root"}, headers=rita)
        assert others.status_code == 403
        more = await http.post("/v1/keys", json={"scopes": ["admin"]}, headers=rita)
        assert more.status_code == 403
        mine = {"authorization": f"Bearer {secret}"}
        assert (await http.get("/v1/me", headers=mine)).json()["name"] == "rita"
        facts = (await http.get("/v1/api-key", headers=mine)).json()
        assert facts["name"] == "phone" and secret not in str(facts)
        assert (await http.delete(f"/v1/keys/{id}", headers=rita)).status_code == 200
        assert (await http.get("/v1/me", headers=mine)).status_code == 401


async def test_a_narrow_key_cannot_make_a_wider_one(people: Any) -> None:
    narrow = key_of(people, "ed", scopes=["read"])
    async with people.client() as http:
        wider = await http.post("/v1/keys", json={"scopes": ["sources"]}, headers=narrow)
        assert wider.status_code == 403
        same = await http.post("/v1/keys", json={}, headers=narrow)
        assert same.json()["scopes"] == ["read"]
        asked = await http.post("/v1/ask", json={"question": "Open?"}, headers=narrow)
        assert asked.status_code == 403 and asked.json()["code"] == "access.scope"


async def test_limits_are_kept_and_told(people: Any) -> None:
    headers = key_of(people, "rita", requests_per_minute=2)
    async with people.client() as http:
        first = await http.get("/v1/status", headers=headers)
        assert first.headers["x-ratelimit-limit-requests"] == "2"
        assert first.headers["x-ratelimit-remaining-requests"] == "1"
        await http.get("/v1/status", headers=headers)
        refused = await http.get("/v1/models", headers=headers)
        assert refused.status_code == 429 and int(refused.headers["retry-after"]) == 30
        assert refused.json()["error"]["code"] == "rate_limit_exceeded"
        other = key_of(people, "rita")
        assert (await http.get("/v1/status", headers=other)).status_code == 200
        people.clock.advance(30)
        assert (await http.get("/v1/status", headers=headers)).status_code == 200


async def test_users_are_managed_and_everything_is_noted(people: Any) -> None:
    root = key_of(people, "root")
    async with people.client() as http:
        body = {"name": "kim", "role": "editor", "password": PASSWORD}
        made = await http.post("/v1/users", json=body, headers=root)
        assert made.status_code == 201 and "password" not in made.json()
        assert (await http.post("/v1/users", json=body, headers=root)).status_code == 400
        kim = key_of(people, "kim")
        locked = await http.patch("/v1/users/kim", json={"disabled": True}, headers=root)
        assert locked.json()["disabled"] is True
        assert (await http.get("/v1/me", headers=kim)).status_code == 401
        assert (await http.delete("/v1/users/root", headers=root)).status_code == 400
        assert (await http.delete("/v1/users/kim", headers=root)).status_code == 204
        assert (await http.delete("/v1/users/kim", headers=root)).status_code == 404
        audit = (await http.get("/v1/audit", headers=root)).json()["events"]
    assert [event["action"] for event in audit] == ["user.removed", "user.changed", "user.made"]
    assert {event["actor"] for event in audit} == {"root"}


async def test_commands_of_the_same_user_come_in_with_the_token(people: Any) -> None:
    async with people.client() as http:
        right = {"authorization": "Bearer local-token"}
        assert (await http.get("/v1/users", headers=right)).status_code == 200
        wrong = {"authorization": "Bearer local-toke"}
        assert (await http.get("/v1/users", headers=wrong)).status_code == 401
