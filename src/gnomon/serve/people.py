"""`/v1/session`, `/v1/me`, `/v1/keys`, `/v1/users`, `/v1/audit`: who comes in, and with what."""

from __future__ import annotations

import asyncio
import hashlib
import hmac
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Any, TypeVar, cast

import msgspec
from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response

from gnomon.accounts.base import LOCAL, OPERATOR, Identity, Key, Role, Session, User
from gnomon.accounts.oidc import OpenIdProvider, Person
from gnomon.accounts.store import SESSION_LIFE, Accounts
from gnomon.errors import ConfigError
from gnomon.serve.access import COOKIE, Access, session_cookie
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.wire import JsonResponse, JsonRoute, base_url, services_of
from gnomon.settings import Server

_OIDC_COOKIE = "gnomon_oidc"
router = APIRouter(tags=["People"], route_class=JsonRoute)

T = TypeVar("T")


class SignIn(BaseModel):
    """A name with its password, or a key."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field("", max_length=200)
    password: str = Field("", max_length=1_000)
    key: str = Field("", max_length=500)


class NewUser(BaseModel):
    """An account to be made."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200)
    role: Role = Role.READER
    password: str | None = Field(None, max_length=1_000)


class UserChange(BaseModel):
    """What should be different about an account; what is left out stays."""

    model_config = ConfigDict(extra="forbid")

    role: Role | None = None
    disabled: bool | None = None
    password: str | None = Field(None, max_length=1_000)


class NewKey(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid")

    label: str = Field("", max_length=100)
    user: str | None = Field(None, max_length=200, description="Whose; an admin may name another.")
    scopes: list[str] = Field(default=[], max_length=10)
    expires_in_days: float | None = Field(None, gt=0, le=3_650)
    requests_per_minute: int | None = Field(None, ge=1, le=2**31)
    tokens_per_minute: int | None = Field(None, ge=1, le=2**31)


def identity_of(request: Request) -> Identity:
    """Who makes this request, as the guard found out."""
    return cast(Identity, request.scope.get("identity", LOCAL))


def access_of(request: Request) -> Access:
    """The guard's decisions, where a route has a part in them."""
    return cast(Access, request.scope["access"])


def spender(request: Request) -> Callable[[int], None]:
    """What counts the tokens of an answer against the limit of whoever asks."""
    access, identity = access_of(request), identity_of(request)
    return lambda tokens: access.spent(identity, tokens)


def note(request: Request, action: str, target: str = "", detail: str = "") -> None:
    """Write a line into the audit list, if this server keeps one."""
    accounts = services_of(request).accounts
    if accounts is not None:
        accounts.note(identity_of(request).name, action, target, detail, _address(request))


# -- sessions ----------------------------------------------------------------
@router.post("/v1/session", summary="Sign in", status_code=201)
async def sign_in(body: SignIn, request: Request) -> Response:
    """Start a browser's session: sets a cookie, returns who signed in and the CSRF token."""
    accounts = _accounts(request)
    opened = access_of(request).operator_session(body.key) if body.key else None
    if opened is not None:
        accounts.note(OPERATOR.name, "session.started", address=_address(request))
        return _signed_in(request, OPERATOR.name, OPERATOR.role, *opened)
    user = await asyncio.to_thread(_user_of, accounts, body)
    if user is None:
        access_of(request).failed(_address(request))
        accounts.note(body.name or "unknown", "session.refused", address=_address(request))
        raise ApiError(
            401,
            "The name and the password, or the key, do not match an account.",
            code="session.refused",
            hint="An admin can set a new password: `gnomon users password NAME`.",
        )
    session, cookie = await asyncio.to_thread(accounts.start_session, user)
    accounts.note(user.name, "session.started", address=_address(request))
    return _signed_in(request, user.name, user.role, session, cookie)


def _signed_in(request: Request, name: str, role: Role, session: Session, cookie: str) -> Response:
    response = JsonResponse(_session_json(name, role, session), status_code=201)
    set_cookie(response, cookie, secure=base_url(request, services_of(request)))
    return response


@router.get("/v1/session/oidc", summary="Sign in with the OpenID provider")
async def begin_oidc(request: Request) -> Response:
    """Send the browser to the provider; it comes back to `/v1/session/oidc/callback`."""
    address, state = await _oidc(request).begin()
    response = RedirectResponse(address, status_code=303)
    # Lax: the way back begins at the provider's page. It proves that this browser began.
    secure = base_url(request, services_of(request)).startswith("https:")
    response.set_cookie(
        _OIDC_COOKIE,
        state,
        max_age=600,
        path="/v1/session/oidc",
        httponly=True,
        samesite="lax",
        secure=secure,
    )
    return response


@router.get("/v1/session/oidc/callback", summary="Come back from the OpenID provider")
async def finish_oidc(
    request: Request,
    state: Annotated[str, Query(max_length=200)] = "",
    code: Annotated[str, Query(max_length=4_000)] = "",
    error: Annotated[str, Query(max_length=200)] = "",
) -> Response:
    """Start a session for whoever the provider has signed in, and open the page."""
    accounts, provider = _accounts(request), _oidc(request)
    begun = request.cookies.get(_OIDC_COOKIE, "")
    if error or not state or not hmac.compare_digest(begun.encode(), state.encode()):
        reason = f": {shown(error)}" if error else ", or was begun in another browser"
        raise ApiError(
            401, f"The sign-in was not finished{reason}.", code="session.refused", hint="Try again."
        )
    person = await provider.finish(state, code)
    server = services_of(request).settings.server
    user = await asyncio.to_thread(_user_for, accounts, server, person)
    if user is None or user.disabled:
        accounts.note(person.name, "session.refused", person.subject, address=_address(request))
        raise ApiError(
            403,
            f"{shown(person.name)} has no account here.",
            code="session.refused",
            hint="An admin can link one: `gnomon users link NAME "
            f"{shown(person.subject)}`, or set server.oidc_new_users.",
        )
    _, cookie = await asyncio.to_thread(accounts.start_session, user)
    accounts.note(user.name, "session.started", "oidc", address=_address(request))
    # A page of our own goes on: after a redirect from elsewhere a strict cookie is not sent yet.
    response = HTMLResponse('<!doctype html><meta http-equiv="refresh" content="0; url=/">')
    set_cookie(response, cookie, secure=base_url(request, services_of(request)))
    response.delete_cookie(_OIDC_COOKIE, path="/v1/session/oidc")
    return response


def _oidc(request: Request) -> OpenIdProvider:
    provider = services_of(request).oidc
    if provider is None:
        raise ApiError(
            404,
            "This server has no OpenID provider.",
            code="oidc.none",
            hint="Set server.oidc_issuer, server.oidc_client_id and server.public_url.",
        )
    return provider


def _user_for(accounts: Accounts, server: Server, person: Person) -> User | None:
    """The account of a person, made now where that is wanted."""
    known = accounts.by_subject(person.subject)
    if known is not None or server.oidc_new_users == "refuse":
        return known
    domain = person.email.rpartition("@")[2].lower()
    if server.oidc_domains and domain not in {d.lower() for d in server.oidc_domains}:
        return None
    name = person.name
    if any(user.name.lower() == name.lower() for user in accounts.users()):
        # Names prove nothing: an account that has this name already stays its owner's.
        name = f"{name[:80]} ({hashlib.sha256(person.subject.encode()).hexdigest()[:6]})"
    return accounts.add_user(name, Role(server.oidc_new_users), subject=person.subject)


@router.get("/v1/session", summary="Who is signed in?")
async def session(request: Request) -> Response:
    """Who makes this request, and whether signing in is needed at all."""
    access, identity = access_of(request), identity_of(request)
    if identity is LOCAL and access.sign_in_needed:
        openid = {"openid": True} if services_of(request).oidc is not None else {}
        return JsonResponse({"signed_in": False, "sign_in_needed": True} | openid)
    shown = _session_json(identity.name, identity.role, identity.session)
    return JsonResponse(shown | {"sign_in_needed": access.sign_in_needed})


@router.delete("/v1/session", summary="Sign out", status_code=204)
async def sign_out(request: Request) -> Response:
    """End the session of this browser."""
    cookie = session_cookie(request.headers)
    if cookie:
        access_of(request).end_operator(cookie)
        await asyncio.to_thread(_accounts(request).end_session, cookie)
        note(request, "session.ended")
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def set_cookie(response: Response, cookie: str, *, secure: str) -> None:
    """Hand a session's cookie to a browser; over https to it alone. `secure` is our address."""
    response.set_cookie(
        COOKIE,
        cookie,
        max_age=int(SESSION_LIFE.total_seconds()),
        path="/",
        httponly=True,
        samesite="strict",
        secure=secure.startswith("https:"),
    )


# -- oneself -----------------------------------------------------------------
@router.get("/v1/me", summary="Who am I?")
async def me(request: Request) -> Response:
    """The account and what it may do."""
    identity = identity_of(request)
    return JsonResponse(
        {
            "user_id": identity.user_id,
            "name": identity.name,
            "role": identity.role.value,
            "scopes": sorted(identity.scopes),
            "team_id": "gnomon",
            "zdr_status": "enabled",
        }
    )


@router.get("/v1/api-key", summary="What is this key?")
async def api_key(request: Request) -> Response:
    """Facts about the key that this request carries."""
    return JsonResponse(key_facts(identity_of(request), services_of(request).clock.now()))


def key_facts(identity: Identity, now: datetime) -> dict[str, Any]:
    """What xAI's clients ask about a key. Whoever has none is described as if they had."""
    key = identity.key
    created = (key.created_at if key else now).isoformat()
    return {
        "redacted_api_key": f"{key.hint}…" if key else "",
        "user_id": identity.user_id,
        "name": (key.label if key else "") or identity.name,
        "create_time": created,
        "modify_time": created,
        "modified_by": identity.user_id,
        "team_id": "gnomon",
        "acls": [f"gnomon:{scope}" for scope in sorted(identity.scopes)],
        "api_key_id": key.id if key else identity.user_id,
        "team_blocked": False,
        "api_key_blocked": False,
        "api_key_disabled": False,
    }


# -- keys --------------------------------------------------------------------
@router.get("/v1/keys", summary="List API keys")
async def list_keys(request: Request) -> Response:
    """One's own keys, without their secrets; an admin sees everybody's."""
    accounts, identity = _accounts(request), identity_of(request)
    whose = None if "admin" in identity.scopes else identity.user_id
    keys = await asyncio.to_thread(accounts.keys, whose)
    return JsonResponse({"keys": [_key_json(key) for key in keys]})


@router.post("/v1/keys", summary="Make an API key", status_code=201)
async def make_key(body: NewKey, request: Request) -> Response:
    """A new key. Its secret is in this answer and never again."""
    accounts, identity = _accounts(request), identity_of(request)
    whose = body.user or identity.user_id
    if "admin" not in identity.scopes:
        _must_be_own(whose in (identity.user_id, identity.name))
        extra = set(body.scopes) - identity.scopes
        if extra:
            raise ApiError(
                403,
                f"A key cannot get the scope {sorted(extra)[0]!r} from one that lacks it.",
                code="access.scope",
            )
        body.scopes = body.scopes or sorted(identity.scopes)
    expires_at = None
    if body.expires_in_days is not None:
        expires_at = services_of(request).clock.now() + timedelta(days=body.expires_in_days)
    key, secret = await asyncio.to_thread(
        lambda: accounts.add_key(
            whose,
            label=body.label,
            scopes=body.scopes,
            expires_at=expires_at,
            requests_per_minute=body.requests_per_minute,
            tokens_per_minute=body.tokens_per_minute,
        )
    )
    note(request, "key.made", key.id, f"{key.label} ({' '.join(key.scopes)})")
    return JsonResponse(_key_json(key) | {"key": secret}, status_code=201)


@router.delete("/v1/keys/{id}", summary="Revoke an API key")
async def revoke_key(id: str, request: Request) -> Response:
    """The key opens nothing from now on."""
    accounts, identity = _accounts(request), identity_of(request)
    key = await _known(accounts.key, id)
    if "admin" not in identity.scopes and key.user_id != identity.user_id:
        # In the words of a key that nobody has: whose keys there are is nobody else's business.
        raise ApiError(404, f"There is no key {id[:100]!r}.", code="key.unknown")
    revoked = await asyncio.to_thread(accounts.revoke, id)
    note(request, "key.revoked", id)
    return JsonResponse(_key_json(revoked))


# -- users -------------------------------------------------------------------
@router.get("/v1/users", summary="List users")
async def list_users(request: Request) -> Response:
    """Everybody who has an account."""
    users = await asyncio.to_thread(_accounts(request).users)
    return JsonResponse({"users": [_user_json(user) for user in users]})


@router.post("/v1/users", summary="Make a user", status_code=201)
async def make_user(body: NewUser, request: Request) -> Response:
    """A new account. Without a password it comes in by key or by the OpenID provider."""
    accounts = _accounts(request)
    user = await asyncio.to_thread(
        lambda: accounts.add_user(body.name, body.role, password=body.password)
    )
    note(request, "user.made", user.name, user.role.value)
    return JsonResponse(_user_json(user), status_code=201)


@router.patch("/v1/users/{name}", summary="Change a user")
async def change_user(name: str, body: UserChange, request: Request) -> Response:
    """Another role, another password, locked out or let in again."""
    accounts = _accounts(request)
    await _known(accounts.user, name)
    user = await asyncio.to_thread(
        lambda: accounts.change_user(
            name, role=body.role, disabled=body.disabled, password=body.password
        )
    )
    changes = [
        field for field in ("role", "disabled", "password") if getattr(body, field) is not None
    ]
    note(request, "user.changed", user.name, ", ".join(changes))
    return JsonResponse(_user_json(user))


@router.delete("/v1/users/{name}", summary="Delete a user", status_code=204)
async def remove_user(name: str, request: Request) -> Response:
    """Delete an account with its keys and sessions."""
    accounts = _accounts(request)
    await _known(accounts.user, name)
    user = await asyncio.to_thread(accounts.remove_user, name)
    memory = services_of(request).memory
    if memory is not None:
        await asyncio.to_thread(memory.clear, user.id)
    note(request, "user.removed", user.name)
    return Response(status_code=204)


@router.get("/v1/audit", summary="What was done")
async def audit(
    request: Request,
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
    before: Annotated[int | None, Query(ge=0, le=2**62)] = None,
) -> Response:
    """Sign-ins, refusals, and changes to users, keys and sources, newest first."""
    events = await asyncio.to_thread(_accounts(request).events, limit, before)
    return JsonResponse({"events": msgspec.to_builtins(events)})


def _accounts(request: Request) -> Accounts:
    accounts = services_of(request).accounts
    if accounts is None:
        raise ApiError(404, "This server keeps no accounts.", code="accounts.none")
    return accounts


def _user_of(accounts: Accounts, body: SignIn) -> User | None:
    if not body.key:
        return accounts.by_password(body.name, body.password)
    identity = accounts.by_key(body.key)
    return accounts.user(identity.user_id) if identity is not None else None


async def _known(find: Callable[[str], T], id: str) -> T:
    """What is there, or a 404."""
    try:
        return await asyncio.to_thread(find, id)
    except ConfigError as error:
        raise ApiError(404, error.message, code=error.code, hint=error.hint) from None


def _must_be_own(own: bool) -> None:
    if not own:
        raise ApiError(403, "Only an admin makes keys for others.", code="access.scope")


def _address(request: Request) -> str:
    return request.client.host if request.client else ""


def _session_json(name: str, role: Role, session: Session | None) -> dict[str, Any]:
    shown: dict[str, Any] = {"signed_in": True, "name": name, "role": role.value}
    if session is not None:
        shown |= {"csrf": session.csrf, "expires_at": session.expires_at.isoformat()}
    return shown


def _user_json(user: User) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.to_builtins(user))


def _key_json(key: Key) -> dict[str, Any]:
    return cast(dict[str, Any], msgspec.to_builtins(key))
