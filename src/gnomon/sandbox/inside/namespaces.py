"""Namespaces of its own: no network device, no other process, and a root that holds little.

The new root is a small read-only file system in memory: the interpreter's library, the folders of
the shared libraries it uses, and `/mnt/data`, which alone can be written and vanishes with the
process. Nothing else of the machine's files has a name in it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from pathlib import Path

from gnomon.sandbox.inside.calls import Refused, detach, mount, syscall, unshare

WORK = "/mnt/data"
INNER_ID = 1000
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
    """New namespaces of every kind; the process is nobody's administrator outside of them."""
    uid, gid = os.geteuid(), os.getegid()
    unshare(_NEW)
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", f"{INNER_ID} {uid} 1"),
        ("gid_map", f"{INNER_ID} {gid} 1"),
    ):
        try:
            Path(f"/proc/self/{name}").write_text(text)
        except OSError as error:
            raise Refused(f"a user of its own ({name}): {error.strerror}") from None


def new_root(
    place: str,
    shown: Mapping[str, str],
    hidden: Iterable[str],
    links: Mapping[str, str],
    work_bytes: int,
) -> None:
    """Make `place` the root. In it are what `shown` names (paths there, and here), read-only and
    without the folders `hidden`, the symbolic links `links`, and the working folder."""
    mount("private mounts", "", "/", "", _REC | _PRIVATE)
    mount("a root in memory", "tmpfs", place, "tmpfs", _NOSUID | _NODEV, "size=1m,mode=755")
    for path, source in (*shown.items(), *((d, d) for d in DEVICES)):
        _show(place + path, source)
    for path in hidden:
        mount(f"hiding {path}", "tmpfs", place + path, "tmpfs", _RDONLY | _NOSUID | _NODEV)
    for path, target in links.items():
        link = Path(place + path)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.exists():
            link.symlink_to(target)
    work = place + WORK
    Path(work).mkdir(parents=True)
    options = f"size={work_bytes},nr_inodes=4096,mode=700"
    mount("a working folder", "tmpfs", work, "tmpfs", _NOSUID | _NODEV | _NOEXEC, options)
    os.chdir(place)
    syscall("the new root", "pivot_root", b".", b".")
    detach(".")
    os.chdir("/")
    flags = _REMOUNT | _BIND | _RDONLY | _NOSUID | _NODEV
    mount("a read-only root", "", "/", "", flags)
    os.chdir(WORK)


def _show(at: str, source: str) -> None:
    """Bind `source` read-only at `at`."""
    place = Path(at)
    if Path(source).is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()
    mount(f"showing {source}", source, at, "", _BIND | _REC)
    has = os.statvfs(source).f_flag
    kept = sum(flag for flag in _KEPT if has & flag)
    kept |= _RELATIME if has & _ST_RELATIME else 0
    kept |= 0 if source in DEVICES else _NODEV
    flags = _BIND | _REMOUNT | _RDONLY | _NOSUID | kept
    mount(f"showing {source} read-only", "", at, "", flags)
