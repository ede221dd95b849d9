"""Namespaces of its own: no network device, no other process, and a root that holds little.

The new root is a small read-only file system in memory: the interpreter's library, the folders of
the shared libraries it uses, and `/mnt/data`, which alone can be written and vanishes with the
process. Nothing else of the machine's files has a name in it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gnomon.sandbox.inside.calls import Refused, detach, mount, syscall, unshare

WORK = "/mnt/data"
INNER_ID = 1000
_NOBODY = 65534
_PLACE = "/tmp"  # noqa: S108 - a folder that is everywhere; what is in it is not touched
_OURS = f"mode=755,uid={INNER_ID},gid={INNER_ID}"
_NEW = 0x00020000 | 0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000
"""Mounts, cgroups, host name, IPC, users, processes, network."""
_RDONLY, _NOSUID, _NODEV, _NOEXEC, _REMOUNT, _BIND = 1, 2, 4, 8, 32, 4096
_REC, _PRIVATE = 16384, 1 << 18
_KEPT = (_NODEV, _NOSUID, _NOEXEC, 1024, 2048)
"""Mount flags (with noatime, nodiratime) that cannot be taken off here, equal to those of statvfs
but for relatime."""
_RELATIME, _ST_RELATIME = 1 << 21, 4096
DEVICES = ("/dev/null", "/dev/urandom")


def enter() -> None:
    """New namespaces of every kind; the process is nobody's administrator outside of them.

    Where the administrator runs us, it is nobody outside, too: the number of an administrator's
    threads has no limit. Others are themselves outside.
    """
    uid, gid = os.geteuid(), os.getegid()
    helper, tell = (0, -1) if uid else _mapper()
    unshare(_NEW)
    if helper:
        os.close(tell)
        _, status = os.waitpid(helper, 0)
        if status == 0:
            return
    try:
        _map("self", uid, gid)
    except OSError as error:
        raise Refused(f"a user of its own: {error.strerror}") from None


def _mapper() -> tuple[int, int]:
    """A process that stays outside and, once the file descriptor is closed, maps our user."""
    with contextlib.suppress(PermissionError):
        os.setgroups([])
    target, (told, tell) = os.getpid(), os.pipe()
    helper = os.fork()
    if helper:
        os.close(told)
        return helper, tell
    os.close(tell)
    os.read(told, 1)
    try:
        _map(str(target), _NOBODY, _NOBODY)
    except OSError:
        os._exit(1)
    os._exit(0)


def _map(process: str, uid: int, gid: int) -> None:
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {uid} 1"),
        ("gid_map", f"{INNER_ID} {gid} 1"),
    ):
        try:
            Path(f"/proc/{process}/{name}").write_text(text)
        except OSError:
            # A first try may have said this already; it cannot be said twice everywhere.
            if name != "setgroups":
                raise


def new_root(
    shown: Mapping[str, str],
    hidden: Iterable[str],
    links: Mapping[str, str],
    work_bytes: int,
) -> None:
    """A root of our own, as the room's user. In it are what `shown` names (paths there, and here),
    read-only and without the folders `hidden`, the symbolic links `links`, and the working folder.
    """
    mount("private mounts", "", "/", "", _REC | _PRIVATE)
    # Opened while we may still walk to them: a home of the administrator is closed to nobody.
    sources = {path: _Source(source) for path, source in shown.items()}
    sources |= {device: _Source(device) for device in DEVICES}
    os.setresgid(INNER_ID, INNER_ID, INNER_ID)
    os.setresuid(INNER_ID, INNER_ID, INNER_ID)
    mount("a root in memory", "tmpfs", _PLACE, "tmpfs", _NOSUID | _NODEV, f"size=1m,{_OURS}")
    for path, source in sources.items():
        source.show(_PLACE + path)
    for path in hidden:
        mount(f"hiding {path}", "tmpfs", _PLACE + path, "tmpfs", _RDONLY | _NOSUID | _NODEV)
    for path, target in links.items():
        link = Path(_PLACE + path)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target)
    work = _PLACE + WORK
    Path(work).mkdir(parents=True)
    options = f"size={work_bytes},nr_inodes=4096,{_OURS}"
    mount("a working folder", "tmpfs", work, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    os.chdir(_PLACE)
    syscall("the new root", "pivot_root", b".", b".")
    detach(".")
    os.chdir("/")
    flags = _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV
    mount("a read-only root", "", "/", "", flags)
    os.chdir(WORK)


class _Source:
    """Something outside that is to be seen inside."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
        self._is_dir = Path(path).is_dir()
        has = os.statvfs(path).f_flag
        self._kept = sum(flag for flag in _KEPT if has & flag)
        self._kept |= _RELATIME if has & _ST_RELATIME else 0
        self._kept |= 0 if path in DEVICES else _NODEV

    def show(self, at: str) -> None:
        """Bind it read-only at `at`."""
        place = Path(at)
        if self._is_dir:
            place.mkdir(parents=True, exist_ok=True)
        else:
            place.parent.mkdir(parents=True, exist_ok=True)
            place.touch()
        mount(f"showing {self._path}", f"/proc/self/fd/{self._opened}", at, "", _BIND | _REC)
        os.close(self._opened)
        flags = _BIND | _REMOUNT | _RDONLY | _NOSUID | self._kept
        mount(f"showing {self._path} read-only", "", at, "", flags)
