"""All the rooms of this process: proven once, lent by id to their owners, cleared when idle."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from gnomon.clock import Clock, Ids
from gnomon.log import get_logger
from gnomon.metrics import CODE_RUNS
from gnomon.sandbox.base import Limits, Ran, RoomError, Standing, Written
from gnomon.sandbox.proof import prove
from gnomon.sandbox.room import Room
from gnomon.settings import Tools

Loader = Callable[[], Awaitable[bytes]]
_SWEEP_S = 30.0
_CPU_RUNS = 20
"""Processor time of a room's whole life, in runs of full length."""
_log = get_logger()


class Container:
    """A room with an id and an owner. Ended by its code, it begins anew with the next run."""

    def __init__(
        self, id: str, owner: str, name: str, make: Callable[[], Room], clock: Clock
    ) -> None:
        self.id = id
        self.owner = owner
        self.name = name
        self.created_at: datetime = clock.now()
        self.used_at: datetime = self.created_at
        self.files: dict[str, Written] = {}
        """What code wrote, by path."""
        self.given: dict[str, int] = {}
        """What was laid in, by path, with its size."""
        self.users = 0
        """How many use it right now."""
        self.idle_since_s = clock.monotonic()
        self._make = make
        self._room: Room | None = None
        self._loaders: dict[str, Loader] = {}
        self._clock = clock
        self._over = False
        self._beginning = asyncio.Lock()

    async def lay(self, path: str, load: Loader) -> None:
        """Have a file in the folder, now and after the room began anew. Raises RoomError."""
        if path in self._loaders:
            return
        room = await self._ready()
        body = await load()
        await room.put(path, body)
        self._loaders[path] = load
        self.given[path] = len(body)

    async def run(self, code: str) -> Ran:
        """Run code. Raises RoomError only where no room can be had."""
        ran = await (await self._ready()).run(code)
        CODE_RUNS.labels(ended=ran.ended).inc()
        if ran.ended == "died":
            self.files.clear()
        self.files |= {file.path: file for file in ran.files}
        return ran

    async def read(self, path: str) -> bytes | None:
        """The bytes of a file that was laid in or written."""
        if self._room is None or not self._room.alive:
            return None
        return await self._room.get(path)

    async def close(self) -> None:
        """End it with everything in it, for good."""
        self._over = True
        await self._clear()

    async def _clear(self) -> None:
        room, self._room = self._room, None
        if room is not None:
            await room.close()

    async def _ready(self) -> Room:
        async with self._beginning:
            if self._room is None or not self._room.alive:
                await self._clear()
                room = self._make()
                await room.start()
                self._room = room
                for path, load in self._loaders.items():
                    await room.put(path, await load())
            if self._over:
                await self._clear()
                raise RoomError("The container was ended.", code="sandbox.gone")
            assert self._room is not None  # noqa: S101 - made above
            return self._room

    def enter(self) -> None:
        """Somebody begins to use it."""
        self.users += 1

    def leave(self) -> None:
        """Somebody has done with it."""
        self.users -= 1
        self.used_at = self._clock.now()
        self.idle_since_s = self._clock.monotonic()


class Rooms:
    """All methods belong to the event loop."""

    def __init__(self, settings: Tools, clock: Clock, ids: Ids) -> None:
        """Nothing is started before it is asked for."""
        self._settings = settings
        self._clock = clock
        self._ids = ids
        self._limits = Limits(
            run_s=settings.code_seconds,
            cpu_s=int(settings.code_seconds * _CPU_RUNS) + 1,
            memory_bytes=settings.code_memory_mib << 20,
            work_bytes=settings.code_files_mib << 20,
            file_bytes=min(settings.code_files_mib, 32) << 20,
        )
        self._packages = found_packages(settings.code_packages)
        self._containers: dict[str, Container] = {}
        self._standing: asyncio.Task[Standing] | None = None
        self._sweeping: asyncio.Task[None] | None = None
        self._turns = asyncio.Semaphore(max(1, os.cpu_count() or 1))

    async def standing(self) -> Standing:
        """Whether code can be run here; found out by trying what must not be possible, once."""
        return await asyncio.shield(self._proof())

    def known(self) -> Standing:
        """The same, as far as it is known already."""
        proof = self._proof()
        if proof.done():
            return proof.result()
        return Standing(state="checking", text="Whether code can be run is being tried.")

    def _proof(self) -> asyncio.Task[Standing]:
        if self._standing is None:
            self._standing = asyncio.create_task(self._prove(), name="sandbox proof")
        return self._standing

    async def enter(self, owner: str, id: str | None = None, name: str = "") -> Container:
        """The owner's container of this id, or a new one; `leave` it when done.

        Raises RoomError: `sandbox.unavailable`, `sandbox.unknown`, `sandbox.busy`.
        """
        container = self.find(owner, id) if id is not None else await self._new(owner, name)
        container.enter()
        return container

    def find(self, owner: str, id: str) -> Container:
        """Raises RoomError `sandbox.unknown` for one that the owner has not, or not any more."""
        found = self._containers.get(id)
        if found is None or found.owner != owner:
            raise RoomError(
                f"There is no container {id[:80]!r}, or none any more.",
                code="sandbox.unknown",
                hint=f"One that is not used for {self._settings.code_idle_minutes:g} minutes ends.",
            )
        return found

    def of(self, owner: str) -> list[Container]:
        """The owner's containers, the newest first."""
        mine = [c for c in self._containers.values() if c.owner == owner]
        return sorted(mine, key=lambda c: c.created_at, reverse=True)

    async def run(self, container: Container, code: str) -> Ran:
        """Run code when it is its turn: not more at a time than there are processors."""
        async with self._turns:
            return await container.run(code)

    async def remove(self, container: Container) -> None:
        """End a container for good."""
        self._containers.pop(container.id, None)
        await container.close()

    async def aclose(self) -> None:
        """End all. Idempotent."""
        for task in (self._standing, self._sweeping):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        for container in list(self._containers.values()):
            await self.remove(container)

    # -- making and clearing ---------------------------------------------------
    async def _new(self, owner: str, name: str) -> Container:
        standing = await self.standing()
        if not standing.ready:
            raise RoomError(standing.text, code="sandbox.unavailable")
        await self._make_space(owner)
        container = Container(self._ids.new("cntr"), owner, name, self._room, self._clock)
        self._containers[container.id] = container
        if self._sweeping is None or self._sweeping.done():
            self._sweeping = asyncio.create_task(self._sweep(), name="sandbox sweep")
        return container

    async def _make_space(self, owner: str) -> None:
        """Clear the owner's room that was idle longest, or anybody's, where there are as many as
        there may be."""
        while len(self._containers) >= self._settings.code_rooms:
            idle = [c for c in self._containers.values() if not c.users]
            if not idle:
                raise RoomError(
                    f"All {self._settings.code_rooms} rooms for code are in use.",
                    code="sandbox.busy",
                    hint="Try again later; tools.code_rooms is their number.",
                )
            mine = [c for c in idle if c.owner == owner]
            await self.remove(min(mine or idle, key=lambda c: c.idle_since_s))

    async def _sweep(self) -> None:
        while self._containers:
            await self._clock.sleep(_SWEEP_S)
            last_s = self._clock.monotonic() - self._settings.code_idle_minutes * 60
            for container in list(self._containers.values()):
                if not container.users and container.idle_since_s <= last_s:
                    await self.remove(container)

    def _room(self) -> Room:
        return Room(self._limits, self._packages)

    async def _prove(self) -> Standing:
        if self._settings.code == "off":
            return Standing(state="off", text="Code is not run: tools.code is off.")
        if sys.platform != "linux":
            return Standing(
                state="unavailable", text="Code is not run: its rooms can be closed on Linux only."
            )
        try:
            found = await prove(self._room)
        except (RoomError, OSError) as error:
            found = Standing(state="unavailable", text=f"Code is not run. {error}")
        log = _log.info if found.ready else _log.warning
        log("sandbox.proved", state=found.state, text=found.text)
        return found


def found_packages(names: tuple[str, ...]) -> dict[str, str]:
    """Where these installed packages are, by the names that they have inside."""
    found = {}
    for name in names:
        spec = importlib.util.find_spec(name) if name.isidentifier() else None
        if spec is None:
            continue
        places = list(spec.submodule_search_locations or ())
        if places:
            found[name] = places[0]
            libraries = Path(places[0]).with_name(f"{name}.libs")
            if libraries.is_dir():
                found[libraries.name] = str(libraries)
        elif spec.origin and spec.origin.endswith(".py"):
            found[f"{name}.py"] = spec.origin
    return found
