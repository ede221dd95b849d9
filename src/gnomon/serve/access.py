"""From the credentials of a request to who makes it, and whether they may.

Nobody has to sign in as long as the server listens on loopback, has no `server.api_key`, and no
account was made: then whoever is at this machine is `local`, an admin, and any key will do. As soon
as one of the three changes, every request but the open ones needs a key, a session, or the token
that a running server leaves in its home for the commands of the same user.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
from http.cookies import CookieError, SimpleCookie

import msgspec
from starlette.datastructures import Headers

from gnomon.accounts.base import LOCAL, OPERATOR, Identity, Session
from gnomon.accounts.limits import Allowance, Buckets
from gnomon.accounts.store import KEY_PREFIX, SESSION_LIFE, Accounts
from gnomon.clock import Clock
from gnomon.serve.errors import ApiError
from gnomon.serve.page import is_page
from gnomon.settings import Server

COOKIE = "gnomon_session"
CSRF_HEADER = "x-csrf-token"
OPEN_PATHS = ("/health", "/v1/session", "/v1/session/oidc", "/v1/session/oidc/callback")
"""Paths that need no credentials: signing in cannot ask for them."""
_HUBS = "/websub/"
"""Where hubs come in; what they know and how they sign decides there."""
_SHARED = "/v1/shared/"
"""Conversations that their owners gave an address to."""
_SAFE = ("GET", "HEAD", "OPTIONS")
_FAILURES_PER_MINUTE = 10
MAX_OPERATORS = 100
"""Browsers that can be signed in with the server's own key at a time; the oldest make way."""
_NEEDS = (
    # (methods, beginning of the path, scope); the first that fits decides.
    ("*", "/v1/users", "admin"),
    ("*", "/v1/audit", "admin"),
    ("*", "/v1/settings", "admin"),
    ("*", "/metrics", "read"),
    ("*", "/v1/memory", "ask"),
    ("*", "/v1/sources.opml", "sources"),  # Addresses of feeds may hold what is private.
    ("W", "/v1/sources", "sources"),
    ("W", "/v1/files", "files"),
    ("W", "/v1/vector_stores", "files"),
    ("W", "/v1/models", "admin"),
    ("W", "/v1/record", "admin"),
    ("W", "/v1/registry", "admin"),
    ("W", "/v1/keys", "read"),
    ("W", "/v1/search", "read"),
    ("W", "/v1/documents", "read"),
    ("W", "/", "ask"),
    ("*", "/", "read"),
)


def needed_scope(method: str, path: str) -> str:
    """What a key must be good for to make this request."""
    for methods, start, scope in _NEEDS:
        if path.startswith(start) and (methods == "*" or method not in _SAFE):
            return scope
    return "read"


class Access:
    """Decides who asks. One for each application."""

    def __init__(
        self, server: Server, accounts: Accounts | None, clock: Clock, *, loopback: bool, token: str
    ) -> None:
        self._key = server.api_key.get_secret_value().encode() if server.api_key else None
        self._token = token.encode()
        self._accounts = accounts
        self._loopback = loopback
        self._requests_per_minute = server.requests_per_minute
        self._tokens_per_minute = server.tokens_per_minute
        self._clock = clock
        self._operators: dict[bytes, Session] = {}
        self._failures = Buckets(clock)
        self._requests = Buckets(clock)
        self._tokens = Buckets(clock)

    @property
    def sign_in_needed(self) -> bool:
        """Whether requests need credentials at all."""
        if self._key is not None or not self._loopback:
            return True
        return self._accounts is not None and self._accounts.any_users()

    def identify(self, method: str, path: str, headers: Headers, address: str) -> Identity:
        """Who makes this request. Raises ApiError 401, 403 or 429."""
        if path in OPEN_PATHS or path.startswith(_HUBS):
            return self._known(method, headers) or LOCAL
        if method in ("GET", "HEAD") and (path.startswith(_SHARED) or is_page(path)):
            return self._known(method, headers) or LOCAL
        identity = self._known(method, headers)
        if identity is None:
            if not self.sign_in_needed:
                return LOCAL
            raise self._refused(headers, address)
        scope = needed_scope(method, path)
        if scope not in identity.scopes:
            raise ApiError(
                403,
                f"{identity.name} may not do this: it needs the scope {scope!r}.",
                code="access.scope",
                hint="An admin can change the role of a user, or make a key with that scope.",
            )
        return identity

    def _known(self, method: str, headers: Headers) -> Identity | None:
        """Whose credentials these are; None if there are none, or they are nobody's."""
        given = presented_key(headers)
        if given is not None:
            if self._key is not None and hmac.compare_digest(given, self._key):
                return OPERATOR
            if self._token and hmac.compare_digest(given, self._token):
                return LOCAL
            if self._accounts is not None and given.startswith(KEY_PREFIX.encode()):
                return self._accounts.by_key(given.decode("utf-8", "replace"))
            return None
        cookie = session_cookie(headers)
        if not cookie:
            return None
        identity = self._operator(cookie)
        if identity is None and self._accounts is not None:
            identity = self._accounts.by_session(cookie)
        if identity is not None and identity.session is not None and method not in _SAFE:
            repeated = headers.get(CSRF_HEADER, "")
            if not hmac.compare_digest(repeated.encode(), identity.session.csrf.encode()):
                raise ApiError(
                    403,
                    "The request does not carry this session's CSRF token.",
                    code="access.csrf",
                    hint=f"Send `csrf` of GET /v1/session as {CSRF_HEADER}.",
                )
        return identity

    def operator_session(self, key: str) -> tuple[Session, str] | None:
        """A session for whoever has the server's own key, and its cookie's value; None if wrong.

        It lives in this process: after a restart, or with another key, one signs in again.
        """
        if self._key is None or not hmac.compare_digest(key.encode(), self._key):
            return None
        now = self._clock.now()
        kept = [(name, each) for name, each in self._operators.items() if each.expires_at > now]
        session = Session(
            user_id=OPERATOR.user_id,
            csrf=secrets.token_urlsafe(24),
            expires_at=now + SESSION_LIFE,
        )
        cookie = secrets.token_urlsafe(32)
        self._operators = {**dict(kept[1 - MAX_OPERATORS :]), _digest(cookie): session}
        return session, cookie

    def end_operator(self, cookie: str) -> None:
        """The cookie opens nothing from now on."""
        self._operators.pop(_digest(cookie), None)

    def _operator(self, cookie: str) -> Identity | None:
        session = self._operators.get(_digest(cookie))
        if session is None or session.expires_at <= self._clock.now():
            return None
        return msgspec.structs.replace(OPERATOR, session=session)

    def failed(self, address: str) -> None:
        """Count a wrong credential. Raises ApiError 429 where there were too many."""
        allowed = self._failures.take(address, _FAILURES_PER_MINUTE)
        if allowed.retry_after_s:
            raise ApiError(
                429,
                "Too many wrong keys or passwords came from this address.",
                code="access.guessing",
                hint="Wait a minute.",
                headers={"retry-after": str(max(1, round(allowed.retry_after_s)))},
            )

    def _refused(self, headers: Headers, address: str) -> ApiError:
        given = presented_key(headers) is not None or bool(session_cookie(headers))
        if given:
            self.failed(address)
        wants_page = "text/html" in headers.get("accept", "")
        return ApiError(
            401,
            "That is no key of this server." if given else "This server needs a key.",
            code="server.key",
            hint="Send it as `Authorization: Bearer KEY`.",
            # A browser asks its user for a password only on a Basic challenge.
            headers={"www-authenticate": 'Basic realm="Gnomon"' if wants_page else "Bearer"},
        )

    # -- limits ----------------------------------------------------------------
    def admit(self, identity: Identity) -> dict[str, str]:
        """Count a request; headers that say what is left. Raises ApiError 429."""
        who = identity.limited
        if not who:
            return {}
        headers: dict[str, str] = {}
        per_minute = (identity.key and identity.key.requests_per_minute) or (
            self._requests_per_minute
        )
        if per_minute:
            left = self._requests.take(who, per_minute)
            headers |= _headers("requests", left)
            if left.retry_after_s:
                raise _too_many("requests", left, headers)
        tokens = self._token_limit(identity)
        if tokens:
            left = self._tokens.look(who, tokens)
            headers |= _headers("tokens", left)
            if left.retry_after_s:
                raise _too_many("tokens", left, headers)
        return headers

    def spent(self, identity: Identity, tokens: int) -> None:
        """Count tokens that a model read and wrote for somebody."""
        limit = self._token_limit(identity)
        if identity.limited and limit and tokens:
            self._tokens.charge(identity.limited, limit, tokens)

    def _token_limit(self, identity: Identity) -> int:
        return (identity.key and identity.key.tokens_per_minute) or self._tokens_per_minute


def presented_key(headers: Headers) -> bytes | None:
    """The key that a request carries, in any of the ways that clients know."""
    scheme, _, value = headers.get("authorization", "").partition(" ")
    value = value.strip()
    if scheme.lower() == "bearer" and value:
        return value.encode()
    if scheme.lower() == "basic":
        try:
            return base64.b64decode(value, validate=True).partition(b":")[2]
        except binascii.Error:
            return None
    given = headers.get("x-api-key", "").strip()  # as Anthropic's clients send it
    return given.encode() if given else None


def session_cookie(headers: Headers) -> str:
    """The value of our cookie; empty if there is none."""
    try:
        found = SimpleCookie(headers.get("cookie", "")).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found is not None else ""


def _digest(cookie: str) -> bytes:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).digest()


def _headers(kind: str, left: Allowance) -> dict[str, str]:
    return {
        f"x-ratelimit-limit-{kind}": str(left.limit),
        f"x-ratelimit-remaining-{kind}": str(left.remaining),
        f"x-ratelimit-reset-{kind}": f"{left.reset_s:.3f}s",
    }


def _too_many(kind: str, left: Allowance, headers: dict[str, str]) -> ApiError:
    return ApiError(
        429,
        f"This key may use {left.limit:,} {kind} a minute, and they are used up.",
        code="rate_limit_exceeded",
        hint=f"Try again in {left.retry_after_s:.0f} s.",
        headers=headers | {"retry-after": str(max(1, round(left.retry_after_s)))},
    )
