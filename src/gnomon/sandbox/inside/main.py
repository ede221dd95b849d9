"""The child process: closes itself in, step by step, and only then runs anything.

Two processes: the outer one waits and passes signals on; the inner one is the first of its own
process namespace, shuts every door and becomes the interpreter. A step that fails ends both with a
sentence; there is no way around a step.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import os
import resource
import signal
import sys
import sysconfig
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from gnomon.sandbox.inside import landlock, namespaces, seccomp
from gnomon.sandbox.inside.calls import MACHINE, Refused, known_machine, prctl, syscall
from gnomon.sandbox.inside.frames import Line
from gnomon.sandbox.inside.interpreter import Interpreter

_PR_SET_PDEATHSIG, _PR_CAPBSET_DROP, _CAP_VERSION_3 = 1, 24, 0x20080522
_LAST_CAP = 63
PRELOADED = (
    *("ast", "bz2", "csv", "ctypes", "datetime", "decimal", "fractions", "hashlib", "json", "lzma"),
    *("math", "random", "re", "sqlite3", "statistics", "tempfile", "zipfile", "zlib", "zoneinfo"),
)
"""Read before the doors close, so that the shared libraries they need are known."""
_PACKAGES = "/packages"
_ZONES = "/usr/share/zoneinfo"
_BACKGROUND = 10
_STACK_BYTES = 2 << 20


def main() -> None:
    """Run as the only thing of a fresh `python -I -S`."""
    prctl("dying with the parent", _PR_SET_PDEATHSIG, signal.SIGKILL)
    line = Line(os.dup(0), os.dup(1))
    wanted = line.next()
    if wanted is None or os.getppid() != wanted["parent"]:
        os._exit(1)
    mark = wanted["mark"]
    try:
        if not known_machine():
            raise Refused(f"the system calls of {MACHINE}: not known")
        landlock.version()
        for name in PRELOADED:
            with contextlib.suppress(ImportError):
                importlib.import_module(name)
        with contextlib.suppress(OSError):
            Path("/proc/self/oom_score_adj").write_text("1000")
        shown = _shown(wanted["packages"])
        namespaces.enter()
        prctl("dying with the parent", _PR_SET_PDEATHSIG, signal.SIGKILL)
        waited = {*_PASSED, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, waited)
        inner = os.fork()
        if inner:
            _wait(inner)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, waited)
        _close_in(wanted, shown)
    except (Refused, OSError) as error:
        line.answer(mark, {"failed": str(error)})
        os._exit(1)
    line.answer(mark, {"failed": ""})
    Interpreter(line, namespaces.WORK).serve()
    os._exit(0)


_PASSED = {
    signal.SIGINT: signal.SIGINT,
    signal.SIGUSR1: signal.SIGSTOP,
    signal.SIGUSR2: signal.SIGCONT,
    signal.SIGTERM: signal.SIGKILL,
}
"""Signals that the outer process gets, and what becomes of them for the inner one."""


def _wait(inner: int) -> NoReturn:
    """Pass signals on to the inner process until it ends, and end like it.

    They are taken one by one, never inside each other: a pause that overtook the going on behind it
    would be for ever. Of two that wait, the one with the lower number comes first: the pause.
    """
    os.closerange(0, 64)
    while True:
        number = signal.sigwait({*_PASSED, signal.SIGCHLD})
        ended, status = os.waitpid(inner, os.WNOHANG)
        if ended:
            code = os.waitstatus_to_exitcode(status)
            os._exit(code if code >= 0 else 128 - code)
        if number in _PASSED:
            os.kill(inner, _PASSED[signal.Signals(number)])


def _shown(packages: Mapping[str, str]) -> dict[str, str]:
    """What code may read, by its path inside: the standard library, the shared libraries that it
    uses, and the packages given."""
    found = {sysconfig.get_path("stdlib")}
    for line in Path("/proc/self/maps").read_text().splitlines():
        path = Path("/" + line.partition("/")[2])
        if ".so" in path.name and not path.name.startswith("libpython"):
            found.add(str(path.parent))
    found |= {path for path in ("/etc/ld.so.cache", _ZONES) if Path(path).exists()}
    real = sorted(os.path.realpath(path) for path in found)
    # A folder within one that is shown is shown with it.
    outer = [p for p in real if not any(p.startswith(f"{other}/") for other in real)]
    inside = {f"{_PACKAGES}/{name}": os.path.realpath(path) for name, path in packages.items()}
    return {path: path for path in outer} | inside


def _hidden() -> list[str]:
    """What others installed beside the standard library."""
    library = os.path.realpath(sysconfig.get_path("stdlib"))
    folders = (f"{library}/{name}" for name in ("site-packages", "dist-packages"))
    return [folder for folder in folders if Path(folder).is_dir()]


def _links() -> dict[str, str]:
    """Folders that the machine has merged with others."""
    merged = (path for path in ("/lib", "/lib64") if Path(path).is_symlink())
    return {path: os.path.realpath(path) for path in merged}


def _close_in(wanted: Mapping[str, Any], shown: Mapping[str, str]) -> None:
    os.setsid()
    namespaces.new_root(shown, _hidden(), _links(), wanted["work_bytes"])
    prctl("dying with the parent", _PR_SET_PDEATHSIG, signal.SIGKILL)
    nothing = os.open("/dev/null", os.O_RDONLY)
    os.dup2(nothing, 0)
    os.close(nothing)
    os.dup2(1, 2)
    for name, most in wanted["limits"].items():
        resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (most, most))
    os.nice(_BACKGROUND)
    also = [_PACKAGES] if wanted["packages"] else []
    landlock.restrict([*shown, *also], namespaces.WORK, namespaces.DEVICES)
    _drop_capabilities()
    seccomp.restrict()
    threading.stack_size(_STACK_BYTES)
    os.environ.clear()
    os.environ.update(wanted["environment"])
    sys.argv, sys.orig_argv = [""], [""]
    library = [p for p in sys.path if p != wanted["source"]]
    sys.path[:] = [namespaces.WORK, *library, _PACKAGES]
    sys.path_importer_cache.clear()
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(line_buffering=True, errors="backslashreplace")  # type: ignore[union-attr]


def _drop_capabilities() -> None:
    for capability in range(_LAST_CAP + 1):
        with contextlib.suppress(Refused):  # those that this kernel does not have
            prctl("capabilities", _PR_CAPBSET_DROP, capability)
    header = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    syscall("capabilities", "capset", ctypes.byref(header), ctypes.byref((ctypes.c_uint32 * 6)()))
