"""Users, keys, sessions and the audit list in one SQLite file.

Secrets are kept as hashes only: keys and session cookies carry 256 random bits, so one SHA-256 is
enough; passwords go through scrypt (RFC 7914).
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gnomon.accounts.base import SCOPES, Event, Identity, Key, Role, Session, User
from gnomon.clock import Clock
from gnomon.database import ConflictError, Database
from gnomon.errors import ConfigError

KEY_PREFIX = "gn-"
SESSION_LIFE = timedelta(days=14)
MIN_PASSWORD_CHARS = 10
_SCRYPT: dict[str, int] = {"n": 2**15, "r": 8, "p": 1, "maxmem": 64 * 2**20}
_AUDIT_ROWS = 100_000
_USED_STEP = timedelta(minutes=1)
"""How exactly the last use of a key is kept: a write for each request would be too many."""

_SCHEMA = """
CREATE TABLE IF NOT EXISTS user (
  id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE COLLATE NOCASE, role TEXT NOT NULL,
  created INTEGER NOT NULL, disabled INTEGER NOT NULL DEFAULT 0, password BLOB,
  subject TEXT UNIQUE
);
CREATE TABLE IF NOT EXISTS key (
  id TEXT PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE,
  hash BLOB NOT NULL UNIQUE, label TEXT NOT NULL, hint TEXT NOT NULL, scopes TEXT NOT NULL,
  created INTEGER NOT NULL, expires INTEGER, used INTEGER, revoked INTEGER,
  requests_per_minute INTEGER, tokens_per_minute INTEGER
);
CREATE TABLE IF NOT EXISTS session (
  hash BLOB PRIMARY KEY, user_id TEXT NOT NULL REFERENCES user(id) ON DELETE CASCADE,
  csrf TEXT NOT NULL, expires INTEGER NOT NULL
);
CREATE TABLE IF NOT EXISTS audit (
  number INTEGER PRIMARY KEY, at INTEGER NOT NULL, actor TEXT NOT NULL, action TEXT NOT NULL,
  target TEXT NOT NULL, detail TEXT NOT NULL, address TEXT NOT NULL
);
"""
_USER = "id, name, role, created, disabled, password IS NOT NULL, coalesce(subject, '')"
_KEY = (
    "k.id, k.user_id, k.label, k.hint, k.scopes, k.created, k.expires, k.used, k.revoked, "
    "k.requests_per_minute, k.tokens_per_minute"
)
_VERSION = 1


class Accounts:
    """The store. Safe to use from any thread, and beside another process."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Open or create the file at `path`, readable by its owner only. Raises StoreError."""
        self._clock = clock
        self._db = Database(
            path, _SCHEMA, version=_VERSION, holds="accounts", code="store.accounts"
        )

    def close(self) -> None:
        """Release the file. Idempotent."""
        self._db.close()

    # -- users -----------------------------------------------------------------
    def add_user(
        self, name: str, role: Role, *, password: str | None = None, subject: str = ""
    ) -> User:
        """Create an account. Raises ConfigError for a name that is taken or a weak password."""
        name = name.strip()
        if not name or len(name) > 100 or not name.isprintable():
            raise ConfigError(
                f"{name[:100]!r} cannot be a user's name.",
                code="user.name",
                hint="Use 1 to 100 printable characters.",
            )
        id = f"user_{secrets.token_hex(12)}"
        row = (id, name, role.value, self._now(), _hashed(password), subject or None)
        try:
            self._db.write(
                (
                    "INSERT INTO user(id, name, role, created, password, subject) "
                    "VALUES (?, ?, ?, ?, ?, ?)",
                    row,
                )
            )
        except ConflictError:
            raise ConfigError(
                f"There is a user {name!r} already.", code="user.exists", name=name
            ) from None
        return self.user(id)

    def user(self, who: str) -> User:
        """The user of this id or name. Raises ConfigError."""
        rows = self._db.read(f"SELECT {_USER} FROM user WHERE id = ?1 OR name = ?1", (who,))
        if not rows:
            raise ConfigError(
                f"There is no user {who[:100]!r}.",
                code="user.unknown",
                hint="`gnomon users list` shows all.",
            )
        return _user(rows[0])

    def by_subject(self, subject: str) -> User | None:
        """The user who signs in with this `issuer#subject`."""
        rows = self._db.read(f"SELECT {_USER} FROM user WHERE subject = ?", (subject,))
        return _user(rows[0]) if rows else None

    def link(self, who: str, subject: str) -> User:
        """Let this user sign in with that `issuer#subject`. Raises ConfigError."""
        user = self.user(who)
        try:
            self._db.write(("UPDATE user SET subject = ? WHERE id = ?", (subject, user.id)))
        except ConflictError:
            raise ConfigError(
                f"{subject[:200]!r} belongs to another user already.", code="user.exists"
            ) from None
        return self.user(user.id)

    def users(self) -> list[User]:
        """All users, by name."""
        return [_user(row) for row in self._db.read(f"SELECT {_USER} FROM user ORDER BY name", ())]

    def change_user(
        self,
        who: str,
        *,
        role: Role | None = None,
        disabled: bool | None = None,
        password: str | None = None,
    ) -> User:
        """Change what is given. Raises ConfigError if no admin would be left."""
        user = self.user(who)
        if (role not in (None, Role.ADMIN) or disabled) and user.role is Role.ADMIN:
            self._must_leave_an_admin(user)
        self._db.write(
            (
                "UPDATE user SET role = coalesce(?, role), disabled = coalesce(?, disabled), "
                "password = coalesce(?, password) WHERE id = ?",
                (
                    role.value if role else None,
                    None if disabled is None else int(disabled),
                    _hashed(password),
                    user.id,
                ),
            )
        )
        if password is not None or disabled:
            self._db.write(("DELETE FROM session WHERE user_id = ?", (user.id,)))
        return self.user(user.id)

    def remove_user(self, who: str) -> User:
        """Delete the account with its keys and sessions. Raises ConfigError for the last admin."""
        user = self.user(who)
        if user.role is Role.ADMIN:
            self._must_leave_an_admin(user)
        self._db.write(("DELETE FROM user WHERE id = ?", (user.id,)))
        return user

    def any_users(self) -> bool:
        """Whether there is an account at all."""
        return bool(self._db.read("SELECT 1 FROM user LIMIT 1", ()))

    def any_way_in(self) -> bool:
        """Whether some admin can come in: by password, OpenID provider, or a key that is valid."""
        return bool(
            self._db.read(
                "SELECT 1 FROM user u WHERE role = 'admin' AND NOT disabled AND (password NOT NULL "
                "OR subject NOT NULL OR EXISTS (SELECT 1 FROM key k WHERE k.user_id = u.id AND "
                "k.revoked IS NULL AND (k.expires IS NULL OR k.expires > ?))) LIMIT 1",
                (self._now(),),
            )
        )

    def _must_leave_an_admin(self, user: User) -> None:
        others = self._db.read(
            "SELECT 1 FROM user WHERE role = 'admin' AND NOT disabled AND id <> ? LIMIT 1",
            (user.id,),
        )
        alone = not self._db.read("SELECT 1 FROM user WHERE id <> ? LIMIT 1", (user.id,))
        if not others and not alone:
            raise ConfigError(
                f"{user.name} is the only admin.",
                code="user.last_admin",
                hint="Make another user admin first.",
            )

    # -- keys ------------------------------------------------------------------
    def add_key(
        self,
        who: str,
        *,
        label: str = "",
        scopes: Sequence[str] = (),
        expires_at: datetime | None = None,
        requests_per_minute: int | None = None,
        tokens_per_minute: int | None = None,
    ) -> tuple[Key, str]:
        """A new key of a user, and its secret, which is not kept. Raises ConfigError."""
        user = self.user(who)
        unknown = set(scopes) - SCOPES[user.role]
        if unknown:
            raise ConfigError(
                f"A key of {user.name} cannot have the scope {sorted(unknown)[0]!r}.",
                code="key.scope",
                hint=f"A {user.role} has {', '.join(sorted(SCOPES[user.role]))}.",
            )
        if expires_at is not None and expires_at <= self._clock.now():
            raise ConfigError("The key would have expired already.", code="key.expired")
        secret = KEY_PREFIX + secrets.token_urlsafe(32)
        id = f"key_{secrets.token_hex(12)}"
        self._db.write(
            (
                "INSERT INTO key(id, user_id, hash, label, hint, scopes, created, expires, "
                "requests_per_minute, tokens_per_minute) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    id,
                    user.id,
                    _digest(secret),
                    label.strip()[:100],
                    secret[: len(KEY_PREFIX) + 4],
                    " ".join(sorted(scopes or SCOPES[user.role])),
                    self._now(),
                    _us(expires_at),
                    requests_per_minute,
                    tokens_per_minute,
                ),
            )
        )
        return self.key(id), secret

    def key(self, id: str) -> Key:
        """The key of this id. Raises ConfigError."""
        rows = self._db.read(f"SELECT {_KEY} FROM key k WHERE id = ?", (id,))
        if not rows:
            raise ConfigError(f"There is no key {id[:100]!r}.", code="key.unknown")
        return _key(rows[0])

    def keys(self, user_id: str | None = None) -> list[Key]:
        """All keys, or those of one user, newest first."""
        rows = self._db.read(
            f"SELECT {_KEY} FROM key k WHERE ?1 IS NULL OR user_id = ?1 ORDER BY created DESC, id",
            (user_id,),
        )
        return [_key(row) for row in rows]

    def revoke(self, id: str) -> Key:
        """The key opens nothing from now on. Raises ConfigError if there is none."""
        key = self.key(id)
        if key.revoked_at is None:
            self._db.write(("UPDATE key SET revoked = ? WHERE id = ?", (self._now(), id)))
        return self.key(id)

    # -- coming in -------------------------------------------------------------
    def by_key(self, secret: str) -> Identity | None:
        """Whose key this is; None if it is nobody's, expired, revoked, or its user disabled."""
        if not secret.startswith(KEY_PREFIX):
            return None
        rows = self._db.read(
            f"SELECT {_KEY}, u.name, u.role FROM key k JOIN user u ON u.id = k.user_id "
            "WHERE k.hash = ? AND k.revoked IS NULL AND NOT u.disabled",
            (_digest(secret),),
        )
        if not rows:
            return None
        key, now = _key(rows[0][:-2]), self._clock.now()
        if key.expires_at is not None and key.expires_at <= now:
            return None
        if key.last_used_at is None or now - key.last_used_at >= _USED_STEP:
            self._db.write(("UPDATE key SET used = ? WHERE id = ?", (_us(now), key.id)))
        name, role = rows[0][-2], Role(rows[0][-1])
        return Identity(
            user_id=key.user_id,
            name=name,
            role=role,
            scopes=frozenset(key.scopes) & SCOPES[role],
            key=key,
        )

    def by_password(self, name: str, password: str) -> User | None:
        """The user if the password is right; takes as long for a name that nobody has."""
        rows = self._db.read(
            f"SELECT {_USER}, password FROM user WHERE name = ? AND NOT disabled", (name.strip(),)
        )
        kept = rows[0][-1] if rows else None
        right = _matches(password, kept or _DECOY)
        return _user(rows[0][:-1]) if rows and kept and right else None

    def start_session(self, user: User) -> tuple[Session, str]:
        """A session and the value of its cookie, which is not kept."""
        cookie = secrets.token_urlsafe(32)
        expires_at = self._clock.now() + SESSION_LIFE
        session = Session(user_id=user.id, csrf=secrets.token_urlsafe(24), expires_at=expires_at)
        self._db.write(("DELETE FROM session WHERE expires <= ?", (self._now(),)))
        self._db.write(
            (
                "INSERT INTO session VALUES (?, ?, ?, ?)",
                (_digest(cookie), user.id, session.csrf, _us(expires_at)),
            )
        )
        return session, cookie

    def by_session(self, cookie: str) -> Identity | None:
        """Who signed in with this cookie; None if nobody did or it has expired."""
        rows = self._db.read(
            "SELECT s.user_id, s.csrf, s.expires, u.name, u.role FROM session s "
            "JOIN user u ON u.id = s.user_id WHERE s.hash = ? AND s.expires > ? AND NOT u.disabled",
            (_digest(cookie), self._now()),
        )
        if not rows:
            return None
        user_id, csrf, expires, name, role = rows[0]
        session = Session(user_id=user_id, csrf=csrf, expires_at=_moment(expires))
        return Identity(
            user_id=user_id, name=name, role=Role(role), scopes=SCOPES[Role(role)], session=session
        )

    def end_session(self, cookie: str) -> None:
        """The cookie opens nothing from now on."""
        self._db.write(("DELETE FROM session WHERE hash = ?", (_digest(cookie),)))

    # -- the audit list --------------------------------------------------------
    def note(
        self, actor: str, action: str, target: str = "", detail: str = "", address: str = ""
    ) -> None:
        """Add a line; the oldest beyond 100,000 go."""
        self._db.write(
            (
                "INSERT INTO audit(at, actor, action, target, detail, address) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (self._now(), actor[:200], action, target[:500], detail[:500], address[:100]),
            )
        )
        self._db.write(
            (
                "DELETE FROM audit WHERE number <= (SELECT max(number) FROM audit) - ?",
                (_AUDIT_ROWS,),
            )
        )

    def events(self, limit: int = 100, before: int | None = None) -> list[Event]:
        """The newest lines first, from before line `before` if that is given."""
        rows = self._db.read(
            "SELECT number, at, actor, action, target, detail, address FROM audit "
            "WHERE ?1 IS NULL OR number < ?1 ORDER BY number DESC LIMIT ?2",
            (before, max(0, min(limit, 1000))),
        )
        return [
            Event(
                number=number,
                at=_moment(at),
                actor=actor,
                action=action,
                target=target,
                detail=detail,
                address=address,
            )
            for number, at, actor, action, target, detail, address in rows
        ]

    # -- the database ----------------------------------------------------------
    def _now(self) -> int:
        return _us(self._clock.now()) or 0


def _user(row: Sequence[Any]) -> User:
    id, name, role, created, disabled, has_password, subject = row
    return User(
        id=id,
        name=name,
        role=Role(role),
        created_at=_moment(created),
        disabled=bool(disabled),
        has_password=bool(has_password),
        subject=subject,
    )


def _key(row: Sequence[Any]) -> Key:
    id, user_id, label, hint, scopes, created, expires, used, revoked, requests, tokens = row
    return Key(
        id=id,
        user_id=user_id,
        label=label,
        hint=hint,
        scopes=tuple(scopes.split()),
        created_at=_moment(created),
        expires_at=None if expires is None else _moment(expires),
        last_used_at=None if used is None else _moment(used),
        revoked_at=None if revoked is None else _moment(revoked),
        requests_per_minute=requests,
        tokens_per_minute=tokens,
    )


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


def _hashed(password: str | None) -> bytes | None:
    """Salt and scrypt hash. Raises ConfigError for a password that is too short or too long."""
    if password is None:
        return None
    if not MIN_PASSWORD_CHARS <= len(password) <= 1000:
        raise ConfigError(
            f"A password has {MIN_PASSWORD_CHARS} to 1,000 characters.", code="user.password"
        )
    salt = secrets.token_bytes(16)
    return salt + _scrypt(password, salt)


def _matches(password: str, kept: bytes) -> bool:
    return hmac.compare_digest(_scrypt(password[:1000], kept[:16]), kept[16:])


def _scrypt(password: str, salt: bytes) -> bytes:
    raw = password.encode("utf-8", "surrogatepass")
    return hashlib.scrypt(raw, salt=salt, dklen=32, **_SCRYPT)


_DECOY = bytes(48)


def _us(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.timestamp() * 1_000_000)


def _moment(us: int) -> datetime:
    return datetime.fromtimestamp(us / 1_000_000, UTC)
