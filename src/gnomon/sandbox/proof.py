"""The proof that a room is closed: what must not be possible is tried in one, every time anew."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress

from gnomon.sandbox.base import RoomError, Standing
from gnomon.sandbox.room import Room

_TRIES = """
import ctypes, json, os, socket, subprocess, sys
def connect():
    with socket.create_connection(("127.0.0.1", PORT), timeout=2): pass
def raw_connect():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.socket(2, 1, 0) < 0: raise OSError
def read(path):
    with open(path, "rb") as file: file.read(1)
def write(path):
    with open(path, "ab") as file: file.write(b"!")
def other():
    if os.fork() == 0: os._exit(0)
tries = {
    "connect to a listener of this machine": connect,
    "open a socket": raw_connect,
    "read a file outside": lambda: read(OUTSIDE),
    "read /etc/passwd": lambda: read("/etc/passwd"),
    "read the process table": lambda: os.listdir("/proc/self"),
    "write outside": lambda: write(OUTSIDE),
    "make a file outside": lambda: write(OUTSIDE + "-made"),
    "start a process": other,
    "start a program": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
}
possible = []
for name, attempt in tries.items():
    try: attempt()
    except BaseException: pass
    else: possible.append(name)
import colorsys  # nobody read it before: the library can be read
with open("own.txt", "w") as file: file.write("own")
with open("own.txt") as file: own = file.read()
print(json.dumps({"possible": possible, "own": own, "sum": 6 * 7}))
"""


async def prove(make: Callable[[], Room]) -> Standing:
    """Try it in a room of `make`. Raises RoomError where there is none."""
    met: list[bool] = []

    async def meet(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        met.append(True)
        writer.close()

    token = secrets.token_hex(16)
    listener = await asyncio.start_server(meet, "127.0.0.1", 0)
    room = make()
    try:
        with tempfile.NamedTemporaryFile("w+", prefix="gnomon-outside-") as outside:
            outside.write(token)
            outside.flush()
            port = listener.sockets[0].getsockname()[1]
            code = _TRIES.replace("PORT", str(port)).replace("OUTSIDE", repr(outside.name))
            await room.start()
            ran = await room.run(code)
            outside.seek(0)
            unchanged = outside.read() == token
    finally:
        with suppress(FileNotFoundError):
            os.unlink(f"{outside.name}-made")  # noqa: PTH108 - no call that could wait
        listener.close()
        await listener.wait_closed()
        await room.close()
    try:
        said = json.loads(ran.output)
        possible, works = list(said["possible"]), said["own"] == "own" and said["sum"] == 42
    except (ValueError, KeyError, TypeError):
        raise RoomError(
            f"The check of the room did not end well: {(ran.error or ran.output)[:200]}",
            code="sandbox.unavailable",
        ) from None
    if met and not possible:
        possible.append("connect to a listener of this machine")
    if not unchanged and not possible:
        possible.append("write outside")
    if possible:
        tried = ", ".join(possible)
        return Standing(
            state="unavailable", text=f"Code is not run: in a room it was possible to {tried}."
        )
    if not works:
        return Standing(state="unavailable", text="Code is not run: a room cannot even add.")
    return Standing(
        state="ready",
        text="Code runs in closed rooms, as was tried at the start: no network, no files but its "
        "own, no other process.",
    )
