from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from gnomon.accounts.base import SCOPES, Role
from gnomon.accounts.limits import Buckets
from gnomon.accounts.store import SESSION_LIFE, Accounts
from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, StoreError

PASSWORD = "correct horse battery"


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def accounts(tmp_path: Path, clock: ManualClock) -> Iterator[Accounts]:
    store = Accounts(tmp_path / "accounts.db", clock)
    yield store
    store.close()


def test_a_key_opens_until_it_is_revoked(accounts: Accounts) -> None:
    ann = accounts.add_user("ann", Role.EDITOR)
    key, secret = accounts.add_key("ann", label="laptop")
    found = accounts.by_key(secret)
    assert found is not None and found.user_id == ann.id and found.scopes == SCOPES[Role.EDITOR]
    assert accounts.by_key(secret + "x") is None and accounts.by_key("gn-") is None
    assert accounts.key(key.id).last_used_at is not None
    accounts.revoke(key.id)
    assert accounts.by_key(secret) is None
    assert accounts.key(key.id).revoked_at is not None


def test_a_key_expires(accounts: Accounts, clock: ManualClock) -> None:
    accounts.add_user("ann", Role.READER)
    _, secret = accounts.add_key("ann", expires_at=clock.now() + timedelta(hours=1))
    assert accounts.by_key(secret) is not None
    clock.advance(3600)
    assert accounts.by_key(secret) is None
    with pytest.raises(ConfigError, match="expired already"):
        accounts.add_key("ann", expires_at=clock.now())


def test_a_key_never_allows_more_than_its_users_role(accounts: Accounts) -> None:
    accounts.add_user("root", Role.ADMIN)
    accounts.add_user("ann", Role.ADMIN)
    _, secret = accounts.add_key("ann", scopes=["ask", "admin"])
    accounts.change_user("ann", role=Role.READER)
    found = accounts.by_key(secret)
    assert found is not None and found.scopes == {"ask"}
    with pytest.raises(ConfigError, match="cannot have the scope 'admin'"):
        accounts.add_key("ann", scopes=["admin"])
    accounts.change_user("ann", disabled=True)
    assert accounts.by_key(secret) is None


def test_passwords_are_checked_and_end_sessions_when_changed(accounts: Accounts) -> None:
    ann = accounts.add_user("ann", Role.READER, password=PASSWORD)
    assert accounts.by_password("Ann", PASSWORD) == ann
    assert accounts.by_password("ann", PASSWORD + " ") is None
    assert accounts.by_password("nobody", PASSWORD) is None
    assert accounts.by_password("nobody", "") is None
    _, cookie = accounts.start_session(ann)
    assert accounts.by_session(cookie) is not None
    accounts.change_user("ann", password="another long one")
    assert accounts.by_session(cookie) is None
    assert accounts.by_password("ann", PASSWORD) is None
    with pytest.raises(ConfigError, match="10 to 1,000"):
        accounts.change_user("ann", password="short")


def test_nobody_without_a_password_signs_in_with_one(accounts: Accounts) -> None:
    accounts.add_user("robot", Role.READER)
    for guess in ("", "\0", "x" * 2000):
        assert accounts.by_password("robot", guess) is None


def test_a_session_ends_by_itself_and_by_signing_out(
    accounts: Accounts, clock: ManualClock
) -> None:
    ann = accounts.add_user("ann", Role.READER, password=PASSWORD)
    session, cookie = accounts.start_session(ann)
    found = accounts.by_session(cookie)
    assert found is not None and found.session == session
    clock.advance(SESSION_LIFE.total_seconds())
    assert accounts.by_session(cookie) is None
    _, another = accounts.start_session(ann)
    accounts.end_session(another)
    assert accounts.by_session(another) is None


def test_the_last_admin_stays_one(accounts: Accounts) -> None:
    accounts.add_user("root", Role.ADMIN, password=PASSWORD)
    accounts.add_user("ann", Role.READER)
    for change in ({"role": Role.READER}, {"disabled": True}):
        with pytest.raises(ConfigError, match="only admin"):
            accounts.change_user("root", **change)
    with pytest.raises(ConfigError, match="only admin"):
        accounts.remove_user("root")
    accounts.remove_user("ann")
    accounts.remove_user("root")  # with nobody left the server is open on loopback again
    assert not accounts.any_users()


def test_there_is_a_way_in_only_where_an_admin_has_one(
    accounts: Accounts, clock: ManualClock
) -> None:
    accounts.add_user("ann", Role.READER, password=PASSWORD)
    accounts.add_user("root", Role.ADMIN)
    assert not accounts.any_way_in()
    accounts.add_key("root", expires_at=clock.now() + timedelta(hours=1))
    assert accounts.any_way_in()
    clock.advance(3600)
    assert not accounts.any_way_in()
    accounts.change_user("root", password=PASSWORD)
    assert accounts.any_way_in()


def test_names_are_unique_and_printable(accounts: Accounts) -> None:
    accounts.add_user("Ann", Role.READER)
    for name in ("ann", " ", "a\nb", "x" * 101):
        with pytest.raises(ConfigError):
            accounts.add_user(name, Role.READER)
    with pytest.raises(ConfigError, match="no user 'bob'"):
        accounts.user("bob")


def test_no_secret_is_in_the_file(tmp_path: Path, clock: ManualClock) -> None:
    store = Accounts(tmp_path / "accounts.db", clock)
    ann = store.add_user("ann", Role.READER, password=PASSWORD)
    _, secret = store.add_key("ann")
    _, cookie = store.start_session(ann)
    store.close()
    kept = b"".join(f.read_bytes() for f in tmp_path.iterdir())
    for hidden in (PASSWORD, secret, cookie):
        assert hidden.encode() not in kept
    assert (tmp_path / "accounts.db").stat().st_mode & 0o077 == 0


def test_the_audit_list_is_read_backwards(accounts: Accounts) -> None:
    for i in range(5):
        accounts.note("root", "user.made", f"user {i}")
    newest = accounts.events(2)
    assert [event.target for event in newest] == ["user 4", "user 3"]
    assert [e.target for e in accounts.events(2, before=newest[-1].number)] == ["user 2", "user 1"]


def test_a_file_that_is_no_database_is_said(tmp_path: Path, clock: ManualClock) -> None:
    (tmp_path / "accounts.db").write_text("not a database at all, but long enough to be read")
    with pytest.raises(StoreError, match=r"accounts\.db"):
        Accounts(tmp_path / "accounts.db", clock)


def test_a_bucket_fills_again_by_the_second(clock: ManualClock) -> None:
    buckets = Buckets(clock)
    assert [buckets.take("a", 3).remaining for _ in range(3)] == [2, 1, 0]
    refused = buckets.take("a", 3)
    assert refused.retry_after_s == pytest.approx(20)
    assert buckets.take("b", 3).retry_after_s == 0
    clock.advance(20)
    assert buckets.take("a", 3).retry_after_s == 0
    assert buckets.take("a", 3).retry_after_s > 0


def test_what_was_used_already_may_go_below_nothing(clock: ManualClock) -> None:
    buckets = Buckets(clock)
    buckets.charge("a", 60, 90)
    left = buckets.look("a", 60)
    assert left.remaining == 0 and left.retry_after_s == pytest.approx(31)
    clock.advance(31)
    assert buckets.look("a", 60).retry_after_s == 0
