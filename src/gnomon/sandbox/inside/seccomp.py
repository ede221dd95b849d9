"""A filter of system calls: no sockets, no other programs or processes, no kernel workshops.

Threads stay possible. Everything refused here fails with EPERM in the code that tried it.
"""

from __future__ import annotations

import ctypes
import errno
import struct

from gnomon.sandbox.inside.calls import MACHINE, Refused, prctl

_ALLOW, _KILL, _ERRNO = 0x7FFF0000, 0x80000000, 0x00050000
_LOAD, _EQUAL, _SET, _AT_LEAST, _RETURN = 0x20, 0x15, 0x45, 0x35, 0x06
_CLONE_THREAD, _PR_SET_PDEATHSIG = 0x00010000, 1
_ARCH = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# Numbers from 424 on are the same on both.
_BOTH = {
    *range(424, 434),  # pidfd_send_signal, io_uring, the new mount calls
    434,  # pidfd_open
    438,  # pidfd_getfd
    440,  # process_madvise
    442,  # mount_setattr
    447,  # memfd_secret
    448,  # process_mrelease
    467,  # open_tree_attr
}
_DENIED = {
    "x86_64": {
        *(41, 42, 43, 49, 50, 288),  # socket, connect, accept, bind, listen, accept4
        *(57, 58, 59, 322),  # fork, vfork, execve, execveat
        *(29, 30, 31, 67, 64, 65, 66, 220, 68, 69, 70, 71, 240),  # IPC of System V, mq_open
        *(101, 310, 311, 312),  # ptrace, process_vm_*, kcmp
        *(155, 161, 165, 166, 272, 308),  # pivot_root, chroot, mount, umount2, unshare, setns
        *(135, 153, 154, 172, 173),  # personality, vhangup, modify_ldt, iopl, ioperm
        *(159, 164, 227, 305),  # clocks
        *(163, 167, 168, 169, 170, 171, 179, 443),  # acct, swap, reboot, names, quotas
        *(174, 175, 176, 177, 178, 180, 246, 313, 320),  # modules, kexec
        *(248, 249, 250),  # keys
        *(298, 321, 323),  # perf_event_open, bpf, userfaultfd
        *(303, 304, 319),  # files by handle, memfd_create
        *(103, 212, 300, 301),  # syslog, lookup_dcookie, fanotify
    },
    "aarch64": {
        *(198, 200, 201, 202, 203, 242),
        *(221, 281),
        *(194, 195, 196, 197, 186, 187, 188, 189, 190, 191, 192, 193, 180),
        *(117, 270, 271, 272),
        *(41, 51, 40, 39, 97, 268),
        *(92, 58),
        *(112, 170, 171, 266),
        *(89, 224, 225, 142, 161, 162, 60, 443),
        *(104, 105, 106, 273, 294),
        *(217, 218, 219),
        *(241, 280, 282),
        *(264, 265, 279),
        *(116, 18, 262, 263),
    },
}
_CLONE = {"x86_64": 56, "aarch64": 220}
_PRCTL = {"x86_64": 157, "aarch64": 167}
_CLONE3 = 435


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def program(machine: str = MACHINE) -> bytes:
    """The filter, as instructions of the kernel's packet filter."""
    refuse, absent = _ERRNO | errno.EPERM, _ERRNO | errno.ENOSYS
    steps = [
        (_LOAD, 0, 0, 4),  # the machine
        (_EQUAL, 1, 0, _ARCH[machine]),
        (_RETURN, 0, 0, _KILL),
        (_LOAD, 0, 0, 0),  # the number
        (_AT_LEAST, 0, 1, 0x40000000),  # calls of another width
        (_RETURN, 0, 0, _KILL),
        (_EQUAL, 0, 1, _CLONE3),
        (_RETURN, 0, 0, absent),  # libraries then use clone, whose flags can be read
    ]
    for number in sorted(_DENIED[machine] | _BOTH):
        steps += [(_EQUAL, 0, 1, number), (_RETURN, 0, 0, refuse)]
    steps += [
        (_EQUAL, 0, 4, _CLONE[machine]),
        (_LOAD, 0, 0, 16),  # the first argument: flags
        (_SET, 1, 0, _CLONE_THREAD),
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_EQUAL, 0, 4, _PRCTL[machine]),
        (_LOAD, 0, 0, 16),
        (_EQUAL, 0, 1, _PR_SET_PDEATHSIG),  # it dies with its parent
        (_RETURN, 0, 0, refuse),
        (_RETURN, 0, 0, _ALLOW),
        (_RETURN, 0, 0, _ALLOW),
    ]
    return b"".join(struct.pack("=HBBI", *step) for step in steps)


def restrict() -> None:
    """Load the filter, for good. Raises Refused."""
    if MACHINE not in _ARCH:
        raise Refused(f"a filter of system calls for {MACHINE}: not known")
    code = program()
    loaded = _Program(len(code) // 8, code)
    prctl("no new privileges", 38, 1)
    prctl("a filter of system calls", 22, 2, ctypes.cast(ctypes.byref(loaded), ctypes.c_void_p))
