"""System calls that Python has no function for."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
from typing import Any

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long

MACHINE = platform.machine()
_BY_NAME = {
    "x86_64": {"pivot_root": 155, "capset": 126},
    "aarch64": {"pivot_root": 41, "capset": 91},
}


_WHY_NONE = {
    errno.EPERM: "this system forbids them (a container's profile, AppArmor, or "
    "kernel.unprivileged_userns_clone)",
    errno.ENOSPC: "this system allows no more of them (user.max_user_namespaces and the like)",
    errno.ENOSYS: "this kernel has none",
    errno.EINVAL: "this kernel lacks one of them",
}


class Refused(Exception):
    """A step that the system did not allow; without it nothing is run."""


def known_machine() -> bool:
    """Whether the numbers of this machine's system calls are known here."""
    return MACHINE in _BY_NAME


def syscall(step: str, number: int | str, *args: Any) -> int:
    """Call by number or name. Raises Refused that names the step."""
    if isinstance(number, str):
        number = _BY_NAME[MACHINE][number]
    given = [ctypes.c_long(a) if isinstance(a, int) else a for a in args]
    return _checked(step, _libc.syscall(ctypes.c_long(number), *given))


def prctl(step: str, option: int, *args: Any) -> int:
    """`prctl(2)`. Raises Refused."""
    padded = [*args, 0, 0, 0, 0][:4]
    given = [ctypes.c_ulong(a) if isinstance(a, int) else a for a in padded]
    return _checked(step, _libc.prctl(ctypes.c_int(option), *given))


def unshare(flags: int) -> None:
    """`unshare(2)`. Raises Refused."""
    if _libc.unshare(ctypes.c_int(flags)) < 0:
        number = ctypes.get_errno()
        raise Refused(f"new namespaces: {_WHY_NONE.get(number, os.strerror(number))}")


def mount(step: str, source: str, target: str, kind: str, flags: int, options: str = "") -> None:
    """`mount(2)`. Raises Refused."""
    _checked(
        step,
        _libc.mount(
            source.encode() or None,
            target.encode(),
            kind.encode() or None,
            ctypes.c_ulong(flags),
            options.encode() or None,
        ),
    )


def detach(target: str) -> None:
    """`umount2(2)` with MNT_DETACH. Raises Refused."""
    _checked("leaving the old root", _libc.umount2(target.encode(), ctypes.c_int(2)))


def _checked(step: str, result: int) -> int:
    if result < 0:
        raise Refused(f"{step}: {os.strerror(ctypes.get_errno())}")
    return result
