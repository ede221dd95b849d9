"""Signing in with an OpenID provider: the authorization code flow with PKCE.

OpenID Connect Core 1.0 (3.1), RFC 7636. Everything that is fetched comes through the guarded door;
the token's signature, issuer, audience, times and nonce are checked before a word is believed.
"""

from __future__ import annotations

import base64
import hashlib
import secrets
from collections import OrderedDict
from typing import Any, cast
from urllib.parse import urlencode

import msgspec
from pydantic import SecretStr

from gnomon.clock import Clock
from gnomon.errors import ConfigError, UpstreamTerminal
from gnomon.net.base import Fetcher

_LIFE_S = 600.0
_MAX_PENDING = 1_000
_KEYS_LIFE_S = 3_600.0
_ALGORITHMS = ["RS256", "PS256", "ES256", "EdDSA"]
_LEEWAY_S = 60


class Person(msgspec.Struct, frozen=True, kw_only=True):
    """Who the provider says has signed in."""

    subject: str
    """`issuer#subject`: what stays the same when names change."""
    name: str
    email: str = ""
    """Empty unless the provider has verified it."""


class _Pending(msgspec.Struct, frozen=True):
    nonce: str
    verifier: str
    began_s: float


class OpenIdProvider:
    """One provider. All methods belong to the event loop."""

    def __init__(
        self,
        issuer: str,
        client_id: str,
        client_secret: SecretStr | None,
        redirect_uri: str,
        *,
        fetcher: Fetcher,
        clock: Clock,
    ) -> None:
        self._issuer = issuer.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._redirect_uri = redirect_uri
        self._fetcher = fetcher
        self._clock = clock
        self._pending: OrderedDict[str, _Pending] = OrderedDict()
        self._known: dict[str, tuple[float, dict[str, Any]]] = {}

    async def begin(self) -> tuple[str, str]:
        """The address to send the browser to, and the state that it must bring back."""
        where = await self._document(f"{self._issuer}/.well-known/openid-configuration")
        state, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(3))
        self._pending[state] = _Pending(nonce, verifier, self._clock.monotonic())
        while len(self._pending) > _MAX_PENDING:
            self._pending.popitem(last=False)
        challenge = hashlib.sha256(verifier.encode()).digest()
        query = {
            "response_type": "code",
            "client_id": self._client_id,
            "redirect_uri": self._redirect_uri,
            "scope": "openid profile email",
            "state": state,
            "nonce": nonce,
            "code_challenge": base64.urlsafe_b64encode(challenge).rstrip(b"=").decode(),
            "code_challenge_method": "S256",
        }
        return f"{self._claimed(where, 'authorization_endpoint')}?{urlencode(query)}", state

    async def finish(self, state: str, code: str) -> Person:
        """Who came back with this state and code. Raises ConfigError, and what the door raises."""
        pending = self._pending.pop(state, None)
        if pending is None or self._clock.monotonic() - pending.began_s > _LIFE_S:
            raise _refused("this sign-in was not begun here, or took too long")
        where = await self._document(f"{self._issuer}/.well-known/openid-configuration")
        form = {
            "grant_type": "authorization_code",
            "code": code,
            "redirect_uri": self._redirect_uri,
            "client_id": self._client_id,
            "code_verifier": pending.verifier,
        }
        if self._client_secret is not None:
            form["client_secret"] = self._client_secret.get_secret_value()
        answer = await self._fetcher.fetch(
            self._claimed(where, "token_endpoint"),
            purpose="user",
            method="POST",
            headers={"content-type": "application/x-www-form-urlencoded"},
            content=urlencode(form).encode(),
        )
        token = _object(answer.body).get("id_token")
        if answer.status != 200 or not isinstance(token, str):
            raise _refused(f"the provider answers {answer.status} instead of a token")
        keys = await self._document(self._claimed(where, "jwks_uri"))
        claims = self._checked(token, keys, pending.nonce)
        email = claims.get("email") if claims.get("email_verified") is True else ""
        name = claims.get("preferred_username") or claims.get("name") or email or claims["sub"]
        return Person(
            subject=f"{self._issuer}#{claims['sub']}", name=str(name)[:100], email=str(email or "")
        )

    def _checked(self, token: str, keys: dict[str, Any], nonce: str) -> dict[str, Any]:
        """The claims of a token that this provider made for us, now."""
        from joserfc import jwt  # here: only those who sign in this way need it
        from joserfc.errors import JoseError
        from joserfc.jwk import KeySet
        from joserfc.jwt import JWTClaimsRegistry

        registry = JWTClaimsRegistry(
            now=int(self._clock.now().timestamp()),
            leeway=_LEEWAY_S,
            iss={"essential": True, "value": self._issuer},
            aud={"essential": True, "value": self._client_id},
            exp={"essential": True},
            sub={"essential": True},
            nonce={"essential": True, "value": nonce},
        )
        try:
            decoded = jwt.decode(
                token, KeySet.import_key_set(cast(Any, keys)), algorithms=_ALGORITHMS
            )
            registry.validate(decoded.claims)
        except (JoseError, ValueError, KeyError) as error:
            raise _refused(f"its token is not valid: {error}") from None
        authorized = decoded.claims.get("azp", self._client_id)
        if authorized != self._client_id:
            raise _refused("its token was made for another client")
        return dict(decoded.claims)

    async def _document(self, url: str) -> dict[str, Any]:
        """A JSON document of the provider, kept for an hour."""
        now_s = self._clock.monotonic()
        at_s, known = self._known.get(url, (float("-inf"), {}))
        if now_s - at_s < _KEYS_LIFE_S:
            return known
        answer = await self._fetcher.fetch(url, purpose="user", max_body_bytes=1_000_000)
        found = _object(answer.body)
        if answer.status != 200 or not found:
            raise UpstreamTerminal(
                f"{url} answers {answer.status} and no JSON object.",
                code="oidc.provider",
                hint="Check server.oidc_issuer.",
            )
        if "issuer" in found and str(found["issuer"]).rstrip("/") != self._issuer:
            raise UpstreamTerminal(
                f"{url} speaks for {str(found['issuer'])[:200]}, not for {self._issuer}.",
                code="oidc.provider",
                hint="Set server.oidc_issuer to exactly what the provider calls itself.",
            )
        self._known[url] = (now_s, found)
        return found

    def _claimed(self, where: dict[str, Any], name: str) -> str:
        value = where.get(name)
        if not isinstance(value, str):
            raise UpstreamTerminal(
                f"The provider {self._issuer} names no {name}.", code="oidc.provider"
            )
        return value


def _object(body: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return {}
    return found if isinstance(found, dict) else {}


def _refused(reason: str) -> ConfigError:
    return ConfigError(
        f"The sign-in was refused: {reason}.", code="session.refused", hint="Sign in again."
    )
