"""Landlock: the kernel refuses every file but those named here, whatever the mounts say."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterable
from pathlib import Path

from gnomon.sandbox.inside.calls import Refused, prctl, syscall

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ_FILE, _READ_DIR = 1 << 2, 1 << 3
_WRITE_FILE, _TRUNCATE = 1 << 1, 1 << 14
_WORK = (
    _READ_FILE
    | _READ_DIR
    | _WRITE_FILE
    | _TRUNCATE
    | (1 << 4)
    | (1 << 5)
    | (1 << 7)
    | (1 << 8)
    # Links within the folder are harmless and wanted by unpacking; moving needs "refer".
    | (1 << 12)
    | (1 << 13)
)
_FS_BY_ABI = {1: 13, 2: 14, 3: 15, 4: 15, 5: 16}
"""How many rights over files each version knows."""


class _Rules(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("allowed", ctypes.c_uint64), ("parent", ctypes.c_int32))


def version() -> int:
    """The version that the kernel has. Raises Refused where it has none."""
    return syscall("Landlock", _CREATE, None, 0, 1)


def restrict(readable: Iterable[str], writable: str, devices: Iterable[str]) -> None:
    """Reading here, writing in `writable`; no TCP, no signals out. For good. Raises Refused."""
    abi = version()
    known = (1 << _FS_BY_ABI.get(abi, 16)) - 1
    rules = _Rules(known, 3 if abi >= 4 else 0, 3 if abi >= 6 else 0)
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8
    ruleset = syscall("Landlock", _CREATE, ctypes.byref(rules), size, 0)
    for path in readable:
        is_dir = Path(path).is_dir()
        _allow(ruleset, path, (_READ_FILE | _READ_DIR) if is_dir else _READ_FILE)
    for path in devices:
        _allow(ruleset, path, _READ_FILE | _WRITE_FILE)
    _allow(ruleset, writable, _WORK & known)
    prctl("no new privileges", 38, 1)
    syscall("Landlock", _RESTRICT, ruleset, 0)
    os.close(ruleset)


def _allow(ruleset: int, path: str, rights: int) -> None:
    try:
        opened = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError as error:
        raise Refused(f"Landlock for {path}: {error.strerror}") from None
    rule = _Beneath(rights, opened)
    syscall(f"Landlock for {path}", _ADD, ruleset, 1, ctypes.byref(rule), 0)
    os.close(opened)
