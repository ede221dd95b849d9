"""The rooms of a process: proof, owners, idle time, new beginnings."""

from __future__ import annotations

import asyncio
import shutil
import sys
from typing import Any

import pytest

from gnomon.sandbox.base import Ran, RoomError
from gnomon.sandbox.proof import prove
from gnomon.sandbox.rooms import Rooms


class OpenRoom:
    """Code without any door: what the proof must find out."""

    async def start(self) -> None:
        pass

    async def run(self, code: str) -> Ran:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-c", code, stdout=asyncio.subprocess.PIPE, cwd=self.folder
        )
        output, _ = await process.communicate()
        return Ran(output=output.decode())

    async def close(self) -> None:
        pass

    folder = "/tmp"


async def test_the_proof_finds_an_open_door(tmp_path: Any) -> None:
    room = OpenRoom()
    room.folder = str(tmp_path)
    standing = await prove(lambda: room)  # type: ignore[arg-type, return-value]
    assert standing.state == "unavailable" and not standing.ready
    for told in (
        "connect to a listener",
        "read a file outside",
        "write outside",
        "start a program",
    ):
        assert told in standing.text


async def test_the_proof_passes_in_a_closed_room(rooms: Any) -> None:
    standing = await rooms().standing()
    if standing.state == "unavailable":
        pytest.skip(standing.text)
    assert standing.ready and "closed rooms" in standing.text


_STANDING = """
import asyncio
from gnomon.clock import RandomIds, SystemClock
from gnomon.sandbox.rooms import Rooms
from gnomon.settings import Tools

async def main():
    rooms = Rooms(Tools(), SystemClock(), RandomIds())
    print((await rooms.standing()).text)
    await rooms.aclose()

asyncio.run(main())
"""


@pytest.mark.parametrize(
    ("before", "words"),
    [
        ("", "Code runs in closed rooms"),
        ("echo 0 > /proc/sys/user/max_user_namespaces &&", "new namespaces: this system allows no"),
        ("echo 0 > /proc/sys/user/max_net_namespaces &&", "new namespaces: this system allows no"),
    ],
)
async def test_a_system_without_namespaces_runs_no_code(
    rooms: Any, before: str, words: str
) -> None:
    """In a namespace of our own, as in a container, the kernel's limits can be set."""
    standing = await rooms().standing()
    if not standing.ready or shutil.which("unshare") is None:
        pytest.skip(f"no namespace for this test: {standing.text}")
    process = await asyncio.create_subprocess_exec(
        *("unshare", "--user", "--map-root-user", "sh", "-c"),
        f'{before} exec "$0" -c "$1"',
        *(sys.executable, _STANDING),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    said, wrong = await process.communicate()
    if process.returncode and b"Traceback" not in wrong:
        pytest.skip(f"no namespace for this test: {wrong.decode()[-200:]}")
    assert words in said.decode(), wrong.decode()


async def test_off_is_off(rooms: Any) -> None:
    off: Rooms = rooms(code="off")
    assert (await off.standing()).state == "off"
    with pytest.raises(RoomError, match="is off"):
        await off.enter("ann")


async def ready(rooms: Any, **settings: Any) -> Rooms:
    made: Rooms = rooms(**settings)
    standing = await made.standing()
    if not standing.ready:
        pytest.skip(standing.text)
    return made


async def test_a_container_is_its_owners_alone(rooms: Any) -> None:
    made = await ready(rooms)
    mine = await made.enter("ann")
    await made.run(mine, "x = 1")
    mine.leave()
    again = await made.enter("ann", mine.id)
    assert again is mine and (await made.run(again, "x")).output == "1\n"
    for owner, id in (("bob", mine.id), ("ann", "cntr_no")):
        with pytest.raises(RoomError, match="no container"):
            await made.enter(owner, id)
    assert made.of("ann") == [mine] and made.of("bob") == []


async def test_files_come_back_with_a_new_beginning(rooms: Any) -> None:
    made = await ready(rooms)
    container = await made.enter("ann")
    read: list[int] = []

    async def load() -> bytes:
        read.append(1)
        return b"given"

    await container.lay("given.txt", load)
    await container.lay("given.txt", load)
    assert read == [1]
    died = await made.run(container, "open('own.txt', 'w').close()\nimport os; os._exit(1)")
    assert died.ended == "died" and container.files == {}
    assert (await made.run(container, "open('given.txt').read()")).output == "'given'\n"
    assert await container.read("given.txt") == b"given"
    assert await container.read("own.txt") is None


async def test_one_that_was_ended_does_not_begin_anew(rooms: Any) -> None:
    made = await ready(rooms)
    container = await made.enter("ann")
    running = asyncio.create_task(made.run(container, "while True: pass"))
    async with asyncio.timeout(10):
        while container._room is None:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
    await made.remove(container)
    assert (await running).ended == "died"
    with pytest.raises(RoomError, match="was ended"):
        await made.run(container, "1")
    assert container._room is None


async def test_beginning_at_once_makes_one_room(rooms: Any) -> None:
    made = await ready(rooms)
    container = await made.enter("ann")
    both = await asyncio.gather(*(made.run(container, f"x{i} = {i}") for i in (1, 2)))
    assert [ran.ended for ran in both] == ["done", "done"]
    assert (await made.run(container, "x1 + x2")).output == "3\n"


async def test_it_is_told_at_once_what_is_known(rooms: Any) -> None:
    made = rooms()
    assert made.known().state == "checking"
    await made.standing()
    assert made.known().state in ("ready", "unavailable")


async def test_idle_rooms_are_cleared_and_busy_ones_stay(rooms: Any) -> None:
    made = await ready(rooms, code_idle_minutes=10)
    idle, busy = await made.enter("ann"), await made.enter("ann")
    await made.run(idle, "1")
    process: Any = idle._room._process  # type: ignore[union-attr]
    idle.leave()
    for _ in range(21):
        rooms.clock.advance(30)
        for _ in range(20):
            await asyncio.sleep(0)
    async with asyncio.timeout(5):
        await process.wait()
    assert made.of("ann") == [busy]


async def test_there_are_no_more_rooms_than_there_may_be(rooms: Any) -> None:
    made = await ready(rooms, code_rooms=1)
    first = await made.enter("ann")
    with pytest.raises(RoomError, match="in use"):
        await made.enter("bob")
    first.leave()
    second = await made.enter("bob")
    assert made.of("ann") == [] and made.of("bob") == [second]


async def test_ones_own_idle_room_makes_way_first(rooms: Any) -> None:
    made = await ready(rooms, code_rooms=2)
    longest, own = await made.enter("ann"), await made.enter("bob")
    longest.leave()
    rooms.clock.advance(5)
    own.leave()
    await made.enter("bob")
    assert made.of("ann") == [longest] and len(made.of("bob")) == 1
