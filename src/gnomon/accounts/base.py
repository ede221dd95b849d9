"""Roles, what they allow, and who asks."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

import msgspec


class Role(StrEnum):
    """What a person may do. Each role may do all that the one before it may."""

    READER = "reader"
    EDITOR = "editor"
    ADMIN = "admin"


SCOPES: Mapping[Role, frozenset[str]] = {
    Role.READER: frozenset({"ask", "read"}),
    Role.EDITOR: frozenset({"ask", "read", "sources", "files"}),
    Role.ADMIN: frozenset({"ask", "read", "sources", "files", "admin"}),
}
"""`ask`: answers, threads and embeddings; `read`: search, documents, status; `sources`: follow and
unfollow; `files`: upload and delete; `admin`: users, keys, models, the audit list."""


class User(msgspec.Struct, frozen=True, kw_only=True):
    """A person or a service that has an account."""

    id: str
    name: str
    role: Role
    created_at: datetime
    disabled: bool = False
    has_password: bool = False
    subject: str = ""
    """`issuer#subject` of the OpenID provider that this account signs in with."""


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """An API key, without its secret."""

    id: str
    user_id: str
    label: str
    hint: str
    """Its first characters, to tell keys apart."""
    scopes: tuple[str, ...]
    """What it may be used for, as far as its user's role allows that."""
    created_at: datetime
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None
    requests_per_minute: int | None = None
    tokens_per_minute: int | None = None


class Session(msgspec.Struct, frozen=True, kw_only=True):
    """A browser that signed in."""

    user_id: str
    csrf: str
    """What unsafe requests with this session's cookie must repeat in `X-CSRF-Token`."""
    expires_at: datetime


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the audit list."""

    number: int
    at: datetime
    actor: str
    action: str
    target: str = ""
    detail: str = ""
    address: str = ""


class Identity(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request, and what they may do."""

    user_id: str
    name: str
    role: Role
    scopes: frozenset[str]
    key: Key | None = None
    session: Session | None = None

    @property
    def limited(self) -> str:
        """Whom rate limits count; empty for whoever has none."""
        if self.key is not None:
            return self.key.id
        return "" if self.user_id in (LOCAL.user_id, OPERATOR.user_id) else self.user_id


LOCAL = Identity(user_id="local", name="local", role=Role.ADMIN, scopes=SCOPES[Role.ADMIN])
"""Whoever sits at this machine, as long as nobody has to sign in."""
OPERATOR = Identity(user_id="operator", name="operator", role=Role.ADMIN, scopes=SCOPES[Role.ADMIN])
"""Whoever has `server.api_key`."""
