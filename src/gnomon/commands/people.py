"""`gnomon users` and `gnomon keys`: who may come in. They work on the home, server or not."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Annotated

import msgspec
import typer

from gnomon.accounts.base import Role
from gnomon.accounts.memory import MemoryStore
from gnomon.accounts.store import Accounts
from gnomon.clock import RandomIds, SystemClock
from gnomon.commands.common import Json, load, local

users = typer.Typer(no_args_is_help=True, help="Make, change and remove accounts.")
keys = typer.Typer(no_args_is_help=True, help="Make, list and revoke API keys.")

Name = Annotated[str, typer.Argument(help="The user's name.")]
Password = Annotated[
    bool, typer.Option("--password", help="Ask for a password; else one is read from a pipe.")
]


@contextmanager
def _accounts() -> Iterator[Accounts]:
    store = Accounts(load().settings.home / "accounts.db", SystemClock())
    try:
        yield store
    finally:
        store.close()


def _read_password() -> str:
    """A password from the terminal, asked twice, or the first line of a pipe."""
    if sys.stdin.isatty():
        return str(typer.prompt("Password", hide_input=True, confirmation_prompt=True))
    return sys.stdin.readline().rstrip("\n")


@users.command("add")
def users_add(
    name: Name,
    role: Annotated[Role, typer.Option(help="What the user may do.")] = Role.READER,
    password: Password = False,
) -> None:
    """Make an account. From the first one on, everybody has to sign in or bring a key."""
    with _accounts() as store:
        first = not store.any_users()
        user = store.add_user(name, role, password=_read_password() if password else None)
        store.note("command line", "user.made", user.name, user.role.value)
    print(f"Made {user.name} ({user.role.value}).")
    if first:
        print("From now on this server asks everybody for a key or a sign-in.")


@users.command("list")
def users_list(as_json: Json = False) -> None:
    """List everybody who has an account."""
    with _accounts() as store:
        found = store.users()
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    for user in found:
        how = "password" if user.has_password else "keys only"
        state = ", locked out" if user.disabled else ""
        print(f"{user.name}  {user.role.value}  ({'OpenID' if user.subject else how}{state})")
    if not found:
        print("No accounts. Make one with `gnomon users add NAME --role admin --password`.")


@users.command("role")
def users_role(name: Name, role: Annotated[Role, typer.Argument(help="The new role.")]) -> None:
    """Give a user another role."""
    with _accounts() as store:
        user = store.change_user(name, role=role)
        store.note("command line", "user.changed", user.name, f"role {role.value}")
    print(f"{user.name} is {user.role.value} now.")


@users.command("password")
def users_password(name: Name) -> None:
    """Set a new password; ends the user's sessions."""
    with _accounts() as store:
        user = store.user(name)
        store.change_user(name, password=_read_password())
        store.note("command line", "user.changed", user.name, "password")
    print(f"{user.name} has a new password.")


@users.command("link")
def users_link(
    name: Name,
    subject: Annotated[str, typer.Argument(help="ISSUER#SUBJECT, as a refused sign-in names it.")],
) -> None:
    """Let a user sign in with the OpenID provider."""
    with _accounts() as store:
        user = store.link(name, subject)
        store.note("command line", "user.changed", user.name, "linked")
    print(f"{user.name} signs in as {user.subject}.")


@users.command("lock")
def users_lock(name: Name) -> None:
    """Lock a user out, sessions and keys included."""
    _set_disabled(name, True)


@users.command("unlock")
def users_unlock(name: Name) -> None:
    """Let a user in again."""
    _set_disabled(name, False)


def _set_disabled(name: str, disabled: bool) -> None:
    with _accounts() as store:
        user = store.change_user(name, disabled=disabled)
        store.note("command line", "user.changed", user.name, "locked" if disabled else "unlocked")
    print(f"{user.name} is {'locked out' if disabled else 'let in'} now.")


@users.command("remove")
def users_remove(name: Name) -> None:
    """Delete an account with its keys, its sessions and what is remembered for it."""
    with _accounts() as store:
        user = store.remove_user(name)
        memory = MemoryStore(load().settings.home / "memory.db", SystemClock(), RandomIds())
        try:
            memory.clear(user.id)
        finally:
            memory.close()
        store.note("command line", "user.removed", user.name)
    print(f"Removed {user.name}.")


@keys.command("add")
def keys_add(
    name: Name,
    label: Annotated[str, typer.Option(help="What it is for.")] = "",
    scope: Annotated[
        list[str] | None, typer.Option(help="ask, read, sources, files or admin; repeatable.")
    ] = None,
    days: Annotated[float | None, typer.Option(min=0.001, help="Days until it expires.")] = None,
    requests: Annotated[int | None, typer.Option(min=1, help="Requests a minute.")] = None,
    tokens: Annotated[int | None, typer.Option(min=1, help="Model tokens a minute.")] = None,
) -> None:
    """Make an API key of a user and print it, once."""
    with _accounts() as store:
        key, secret = store.add_key(
            name,
            label=label,
            scopes=scope or (),
            expires_at=datetime.now(UTC) + timedelta(days=days) if days else None,
            requests_per_minute=requests,
            tokens_per_minute=tokens,
        )
        store.note("command line", "key.made", key.id, f"{key.label} ({' '.join(key.scopes)})")
    print(secret)
    print(f"Keep it: it is not shown again. Its id is {key.id}.", file=sys.stderr)


@keys.command("list")
def keys_list(as_json: Json = False) -> None:
    """List the keys, without their secrets."""
    with _accounts() as store:
        found = store.keys()
        names = {user.id: user.name for user in store.users()}
    if as_json:
        print(json.dumps(msgspec.to_builtins(found), indent=2))
        return
    for key in found:
        state = "revoked" if key.revoked_at else "never used"
        if not key.revoked_at and key.last_used_at:
            state = f"used {local(key.last_used_at.isoformat())}"
        until = f", until {local(key.expires_at.isoformat())}" if key.expires_at else ""
        print(f"{key.id}  {key.hint}…  {names[key.user_id]}  {' '.join(key.scopes)}")
        print(f"    {key.label or 'no label'}: {state}{until}")
    if not found:
        print("No keys. Make one with `gnomon keys add USER`.")


@keys.command("revoke")
def keys_revoke(id: Annotated[str, typer.Argument(help="The key's id.")]) -> None:
    """Let a key open nothing from now on."""
    with _accounts() as store:
        key = store.revoke(id)
        store.note("command line", "key.revoked", key.id)
    print(f"Revoked {key.id} ({key.hint}…).")
