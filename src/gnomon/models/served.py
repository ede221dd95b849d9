"""The registered models of one process: loaded when first asked, and swapped blue/green.

What serves changes in five steps: the new engine is loaded beside the old one, answers a request,
is written down as serving, takes all requests from then on, and the old one is closed once its own
are answered. Whatever fails before the third step leaves the old one serving. A registry that was
changed by another process is followed with the next request, in the same way.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path
from typing import Protocol, TypeAlias

from gnomon import metrics
from gnomon.clock import Clock
from gnomon.errors import ConfigError, GnomonError, ModelError, ModelTerminal
from gnomon.log import get_logger
from gnomon.models import gguf
from gnomon.models.base import GenerateRequest, Generator, Message, ModelState
from gnomon.models.embedded import EmbeddedGenerator
from gnomon.models.registry import OWN, Entry, Registry, must_have_passed, split_id

MAX_CONTEXT_TOKENS = 8_192
"""Prompt and answer together, also for models that could read more: each token takes memory."""
_BESIDE = 1
"""How many models stay loaded besides the one that serves."""
_WARM_UP_S = 120.0


class Engine(Generator, Protocol):
    """A loaded model."""

    async def aclose(self) -> None:
        """Release it. Idempotent."""
        ...


Load: TypeAlias = Callable[[Path, Entry], Engine]
"""Makes an engine of a file that is whole. Runs in a thread."""


class _Loaded:
    """An engine, and how many requests it answers now."""

    def __init__(self, entry: Entry, engine: Engine) -> None:
        self.entry = entry
        self.engine = engine
        self.leaving = False
        self.idle = asyncio.Event()
        self.idle.set()
        self._requests = 0

    def __enter__(self) -> None:
        self._requests += 1
        self.idle.clear()

    def __exit__(self, *_: object) -> None:
        self._requests -= 1
        if not self._requests:
            self.idle.set()


class Served:
    """Hands out the registry's models. All methods belong to one event loop."""

    def __init__(self, registry: Registry, *, load: Load, clock: Clock) -> None:
        """Load nothing yet."""
        self.registry = registry
        self._load = load
        self._clock = clock
        self._log = get_logger()
        self._live: _Loaded | None = None
        self._loaded: dict[str, _Loaded] = {}  # the one that was asked last stands last
        self._loading: dict[str, asyncio.Task[_Loaded]] = {}
        self._following: asyncio.Task[None] | None = None
        self._turning = asyncio.Lock()
        self._leaving: set[asyncio.Task[None]] = set()
        self._seen: tuple[tuple[int, int, int], list[Entry]] | None = None
        self._failure = ""
        self._failed_at: tuple[int, int, int] | None = None

    # -- what can be asked -----------------------------------------------------
    def entries(self) -> list[Entry]:
        """All entries of the registry. Raises StoreError."""
        stamp = self.registry.stamp()
        if self._seen is None or self._seen[0] != stamp:
            self._seen = (stamp, self.registry.list())
        return self._seen[1]

    def ids(self) -> list[str]:
        """The model ids that can be asked: the alias of what serves, and names that passed."""
        names = dict.fromkeys(entry.name for entry in self.entries() if entry.passed)
        return [*([OWN] if self._serving() else []), *names]

    def entry(self, id: str) -> Entry | None:
        """What a model id means now; None if it is none of the registry's.

        A name means the version that serves, else the newest that passed its gate. Raises
        ModelTerminal for what no gate let pass, and where nothing serves.
        """
        if id == OWN:
            serving = self._serving()
            if serving is None:
                raise ModelTerminal(
                    f"{OWN} is whichever model serves, and none does.",
                    code="registry.nothing_serves",
                    hint="Let one serve: gnomon models use NAME",
                )
            return self._live.entry if self._live else serving
        try:
            name, version = split_id(id)
        except ConfigError:
            return None
        ours = [e for e in self.entries() if e.name == name and version in (None, e.version)]
        if not ours:
            return None
        live = self._live.entry if self._live else self._serving()
        if version is None and live is not None and live.name == name:
            return live
        passed = [e for e in ours if e.passed]
        if not passed:
            must_have_passed(ours[-1])
        return passed[-1]

    def loaded(self) -> list[str]:
        """`name@version` of each engine in memory, what serves among them."""
        return list(self._loaded)

    @property
    def failure(self) -> str:
        """Why what the registry says does not serve; empty while it does."""
        return self._failure

    def states(self) -> list[ModelState]:
        """How what serves stands; empty if nothing does."""
        serving = self._serving()
        if serving is None:
            return []
        text = f"{OWN} is {serving.id}"
        if self._failure and self._live is not None:
            text = f"{OWN} is still {self._live.entry.id}: {self._failure}"
        elif self._failure:
            text = f"{serving.id} does not serve: {self._failure}"
        elif serving.id in self._loaded:
            text += "."
        else:
            text += ", and is loaded when it is asked."
        return [
            ModelState(
                name=serving.id,
                role="generator",
                state="failed" if self._failure else "ready",
                text=text,
                body_bytes=serving.body_bytes,
            )
        ]

    # -- asking ----------------------------------------------------------------
    @asynccontextmanager
    async def generator(self, id: str) -> AsyncIterator[tuple[Entry, Generator]]:
        """The model of this id, which stays loaded until the block ends. Raises ModelError."""
        found = await self._ready(id)
        with found:
            yield found.entry, found.engine

    async def _ready(self, id: str) -> _Loaded:
        while True:
            entry = self.entry(id)
            if entry is None:
                raise ModelTerminal(f"There is no model {id!r} any more.", code="model.unknown")
            self._follow()
            try:
                found = self._loaded.get(entry.id) or await self._brought(entry)
            except ModelError as error:
                if self._live is None and self._serves(entry):
                    self._failure = str(error)
                raise
            if not found.leaving:  # else it was closed while this request waited for it
                if self._live is None and self._serves(entry):
                    self._live, self._failure = found, ""
                self._loaded[entry.id] = self._loaded.pop(entry.id)
                self._trim()
                return found

    def _serves(self, entry: Entry) -> bool:
        serving = self._serving()
        return serving is not None and serving.id == entry.id

    def _serving(self) -> Entry | None:
        return next((e for e in self.entries() if e.state == "serving"), None)

    async def _brought(self, entry: Entry) -> _Loaded:
        """The entry's engine, loaded once however many wait for it."""
        task = self._loading.get(entry.id)
        if task is None:
            task = asyncio.create_task(self._bring(entry), name=f"load {entry.id}")
            self._loading[entry.id] = task
            task.add_done_callback(lambda done: self._brought_in(entry.id, done))
        return await asyncio.shield(task)

    def _brought_in(self, id: str, task: asyncio.Task[_Loaded]) -> None:
        del self._loading[id]
        if not task.cancelled():
            task.exception()  # whoever waits is told; nobody may be

    async def _bring(self, entry: Entry) -> _Loaded:
        must_have_passed(entry)
        began = self._clock.monotonic()
        try:
            engine = await asyncio.to_thread(self._open, entry)
            try:
                await self._warm_up(entry, engine)
            except BaseException:
                await engine.aclose()
                raise
        except ModelError as error:
            metrics.MODEL_LOADS.labels("failed").inc()
            self._log.error("model.not_loaded", model=entry.id, error=str(error))
            raise
        metrics.MODEL_LOADS.labels("loaded").inc()
        found = self._loaded[entry.id] = _Loaded(entry, engine)
        took_s = round(self._clock.monotonic() - began, 3)
        self._log.info("model.loaded", model=entry.id, took_s=took_s)
        return found

    def _open(self, entry: Entry) -> Engine:
        return self._load(self.registry.whole_path(entry), entry)

    async def _warm_up(self, entry: Entry, engine: Engine) -> None:
        request = GenerateRequest(messages=(Message(role="user", content="Hello"),), max_tokens=1)
        try:
            async with asyncio.timeout(_WARM_UP_S), aclosing(engine.stream(request)) as chunks:  # type: ignore[type-var]
                async for _ in chunks:
                    pass
        except (ModelError, TimeoutError) as error:
            raise ModelTerminal(
                f"{entry.id} was loaded but does not answer: {error or 'it takes too long'}.",
                code="model.silent",
                hint="What serves stays in place.",
                model=entry.id,
            ) from error

    # -- swapping --------------------------------------------------------------
    async def use(self, name: str, version: int | None = None) -> Entry:
        """Let an entry serve. On return it answers; whatever fails leaves the old one serving."""
        async with self._turning:
            entry = await asyncio.to_thread(self.registry.find, name, version)
            must_have_passed(entry)
            found = self._loaded.get(entry.id) or await self._brought(entry)
            now = await asyncio.to_thread(self.registry.use, entry.name, entry.version)
            self._switch(found)
            return now

    async def rollback(self) -> Entry:
        """Let serve again what served before. On return it answers."""
        async with self._turning:
            entry = await asyncio.to_thread(self.registry.previous)
            if entry is None:
                return await asyncio.to_thread(self.registry.rollback)  # it says what is missing
            found = self._loaded.get(entry.id) or await self._brought(entry)
            now = await asyncio.to_thread(self.registry.rollback)
            if now.id == entry.id:  # else another process was quicker, and is followed
                self._switch(found)
            return now

    def _follow(self) -> None:
        """Begin to swap if the registry names another model than the one that answers."""
        serving = self._serving()
        if self._live is None or serving is None:
            return
        if serving.id == self._live.entry.id:
            self._failure = ""
            return
        busy = self._turning.locked() or self._following is not None
        if not busy and self.registry.stamp() != self._failed_at:
            self._following = asyncio.create_task(self._catch_up(serving), name="registry")

    async def _catch_up(self, serving: Entry) -> None:
        stamp = self.registry.stamp()
        try:
            async with self._turning:
                self._switch(self._loaded.get(serving.id) or await self._brought(serving))
        except GnomonError as error:
            self._failure, self._failed_at = str(error), stamp
        finally:
            self._following = None

    def _switch(self, found: _Loaded) -> None:
        old, self._live = self._live, found
        self._failure, self._failed_at = "", None
        if old is not None and old is not found:
            metrics.MODEL_SWAPS.inc()
            self._log.info("model.swapped", model=found.entry.id, before=old.entry.id)
            self._retire(old)

    def _trim(self) -> None:
        """Let go of models that were not asked for the longest, beyond those that may stay."""
        beside = [one for one in self._loaded.values() if one is not self._live]
        for one in beside[: max(0, len(beside) - _BESIDE)]:
            self._retire(one)

    def _retire(self, old: _Loaded) -> None:
        """Take no more requests to this engine, and close it once its own are answered."""
        old.leaving = True
        if self._loaded.get(old.entry.id) is old:
            del self._loaded[old.entry.id]
        task = asyncio.create_task(_drained(old), name=f"drain {old.entry.id}")
        self._leaving.add(task)
        task.add_done_callback(self._leaving.discard)

    async def aclose(self) -> None:
        """Close every engine, also those that still answer. Idempotent."""
        following = [self._following] if self._following else []
        for task in (*following, *self._leaving):
            task.cancel()
        # A load cannot be stopped: its thread has to hand over what it made.
        waiting = (*following, *self._leaving, *self._loading.values())
        await asyncio.gather(*waiting, return_exceptions=True)
        loaded, self._loaded, self._live = list(self._loaded.values()), {}, None
        for one in loaded:
            await one.engine.aclose()


async def _drained(old: _Loaded) -> None:
    try:
        await old.idle.wait()
    finally:
        await old.engine.aclose()


def embedded(path: Path, entry: Entry, *, n_threads: int = 0) -> Engine:
    """The model in this process. Raises ModelTerminal where llama.cpp cannot read it."""
    context = min(gguf.context_tokens(path), MAX_CONTEXT_TOKENS)
    try:
        return EmbeddedGenerator(path, context_tokens=context, n_threads=n_threads)
    except ModelError as error:
        if error.code != "model.damaged":
            raise
        raise ModelTerminal(
            f"{entry.id} cannot be loaded: {error.message}",
            code="model.unloadable",
            hint="llama.cpp cannot read this file: its log tells more.",
            model=entry.id,
        ) from error
