"""Signing in with an OpenID provider: a stand-in that makes real, signed tokens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, parse_qsl, urlsplit

import pytest
import pytest_asyncio
from joserfc import jwt
from joserfc.jwk import RSAKey

from gnomon.accounts.base import Role
from gnomon.accounts.oidc import OpenIdProvider
from gnomon.accounts.store import Accounts
from gnomon.net.door import Door
from gnomon.settings import Net
from gnomon.testing.api_server import ApiReply, ApiRequest, ApiServer, as_json

KEY = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
OTHER = RSAKey.generate_key(2048, {"kid": "k1", "use": "sig"})
CALLBACK = "https://gnomon.example/v1/session/oidc/callback"


class Provider(ApiServer):
    """Signs whoever comes in as `claims` say."""

    def __init__(self, clock: Any) -> None:
        super().__init__(clock=clock)
        self.claims: dict[str, Any] = {}
        self.key = KEY
        self.algorithm = "RS256"
        self.nonce = ""

    async def answer(self, request: ApiRequest) -> ApiReply:
        if request.path == "/.well-known/openid-configuration":
            names = {
                "authorization_endpoint": "auth",
                "token_endpoint": "token",
                "jwks_uri": "jwks",
            }
            found = {name: f"{self.url}/{path}" for name, path in names.items()}
            return as_json({"issuer": self.url, **found})
        if request.path == "/jwks":
            return as_json({"keys": [KEY.as_dict(private=False)]})
        form = dict(parse_qsl(request.body.decode()))
        if form.get("code") != "good" or not form.get("code_verifier"):
            return as_json({"error": "invalid_grant"}, 400)
        now = int(self.clock.now().timestamp())
        claims = {
            "iss": self.url,
            "aud": "gnomon",
            "sub": "u1",
            "exp": now + 300,
            "iat": now,
            "nonce": self.nonce,
            "preferred_username": "ann",
            "email": "ann@town.example",
            "email_verified": True,
        } | self.claims
        token = jwt.encode(
            {"alg": self.algorithm, "kid": "k1"}, claims, self.key, algorithms=[self.algorithm]
        )
        return as_json({"id_token": token, "access_token": "x", "token_type": "Bearer"})


@pytest_asyncio.fixture
async def signing(house: Any, tmp_path: Path) -> AsyncIterator[Any]:
    """(house, provider, accounts): a server whose people sign in elsewhere."""
    accounts = Accounts(tmp_path / "accounts.db", house.clock)
    accounts.add_user("root", Role.ADMIN)
    async with Provider(house.clock) as provider:
        door = Door(Net(allow=(provider.address,)), house.clock)
        oidc = OpenIdProvider(
            provider.url, "gnomon", None, CALLBACK, fetcher=door, clock=house.clock
        )
        services = replace(house.services, accounts=accounts, oidc=oidc)
        yield replace(house, services=services), provider, accounts
        await door.aclose()
    accounts.close()


async def sign_in(house: Any, provider: Provider, *, code: str = "good", **changes: Any) -> Any:
    async with house.client() as http:
        begun = await http.get("/v1/session/oidc")
        query = parse_qs(urlsplit(begun.headers["location"]).query)
        provider.nonce = query["nonce"][0]
        params = {"state": query["state"][0], "code": code} | changes
        done = await http.get("/v1/session/oidc/callback", params=params)
        me = await http.get("/v1/me")
    return begun, done, me


def allowing(house: Any, **server: Any) -> Any:
    settings = house.services.settings
    changed = settings.model_copy(update={"server": settings.server.model_copy(update=server)})
    return replace(house, services=replace(house.services, settings=changed))


async def test_a_linked_account_signs_in(signing: Any) -> None:
    house, provider, accounts = signing
    accounts.link("root", f"{provider.url}#u1")
    begun, done, me = await sign_in(house, provider)
    assert begun.status_code == 303
    query = parse_qs(urlsplit(begun.headers["location"]).query)
    assert query["code_challenge_method"] == ["S256"] and query["redirect_uri"] == [CALLBACK]
    assert done.status_code == 200 and "samesite=strict" in str(done.headers.raw).lower()
    assert me.json()["name"] == "root" and me.json()["role"] == "admin"
    assert accounts.events(1)[0].detail == "oidc" or accounts.events(1)[0].target == "oidc"


async def test_strangers_are_refused_unless_they_are_wanted(signing: Any) -> None:
    house, provider, accounts = signing
    _, refused, me = await sign_in(house, provider)
    assert refused.status_code == 403 and "users link" in refused.text and me.status_code == 401
    wanted = allowing(house, oidc_new_users="reader", oidc_domains=("town.example",))
    _, made, me = await sign_in(wanted, provider)
    assert made.status_code == 200 and me.json()["role"] == "reader"
    provider.claims = {"sub": "u2", "email": "eve@elsewhere.example"}
    _, elsewhere, _ = await sign_in(wanted, provider)
    assert elsewhere.status_code == 403
    provider.claims = {"sub": "u3", "email_verified": False}
    _, unverified, _ = await sign_in(wanted, provider)
    assert unverified.status_code == 403
    assert {user.name for user in accounts.users()} == {"root", "ann"}


async def test_a_name_gives_nobody_the_account_of_another(signing: Any) -> None:
    house, provider, accounts = signing
    provider.claims = {"preferred_username": "ROOT"}
    _, done, me = await sign_in(allowing(house, oidc_new_users="reader"), provider)
    assert done.status_code == 200
    assert me.json()["role"] == "reader" and me.json()["name"].startswith("ROOT (")
    assert len(accounts.users()) == 2


@pytest.mark.parametrize(
    "claims",
    [
        {"iss": "https://evil.example"},
        {"aud": "another"},
        {"nonce": "replayed"},
        {"exp": 1},
        {"sub": None},
        {"azp": "another"},
    ],
)
async def test_a_token_that_is_not_ours_opens_nothing(signing: Any, claims: Any) -> None:
    house, provider, accounts = signing
    accounts.link("root", f"{provider.url}#u1")
    provider.claims = claims
    _, done, me = await sign_in(house, provider)
    assert done.status_code in (400, 401) and me.status_code == 401


async def test_a_token_of_another_signer_opens_nothing(signing: Any) -> None:
    house, provider, accounts = signing
    accounts.link("root", f"{provider.url}#u1")
    provider.key = OTHER
    _, done, me = await sign_in(house, provider)
    assert done.status_code in (400, 401) and me.status_code == 401


async def test_a_way_back_that_was_not_begun_here_opens_nothing(signing: Any) -> None:
    house, provider, accounts = signing
    accounts.link("root", f"{provider.url}#u1")
    _, forged, me = await sign_in(house, provider, state="forged")
    assert forged.status_code == 401 and me.status_code == 401
    _, denied, _ = await sign_in(house, provider, error="access_denied")
    assert denied.status_code == 401 and "access_denied" in denied.text
    _, wrong, _ = await sign_in(house, provider, code="stolen")
    assert wrong.status_code == 400 and "400" in wrong.text


async def test_a_provider_that_speaks_for_another_is_not_believed(signing: Any) -> None:
    house, provider, _ = signing
    oidc = OpenIdProvider(
        f"http://{provider.address}/",
        "gnomon",
        None,
        CALLBACK,
        fetcher=house.services.oidc._fetcher,
        clock=house.clock,
    )
    provider.__class__ = type("Liar", (Provider,), {"url": "https://evil.example"})
    services = replace(house.services, oidc=oidc)
    async with replace(house, services=services).client() as http:
        begun = await http.get("/v1/session/oidc")
    assert begun.status_code == 502 and "evil.example" in begun.text
