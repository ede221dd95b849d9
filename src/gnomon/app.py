"""The only place that wires: from settings to a running house.

`opened` opens what the settings name, in order, and closes it in reverse, whatever happens.
One home serves one process at a time: a second one is refused while the first holds the lock.
"""

from __future__ import annotations

import asyncio
import ctypes
import fcntl
import os
import random
import secrets
import socket
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import uvicorn

from gnomon import __version__, beginning, log, tracing
from gnomon.accounts.memory import MemoryStore
from gnomon.accounts.oidc import OpenIdProvider
from gnomon.accounts.store import Accounts
from gnomon.answer.deep.engine import Engine, Prices
from gnomon.answer.deep.runs import Runs, RunStore
from gnomon.answer.diff import Differ
from gnomon.answer.pages import SOURCE as OPENED
from gnomon.answer.pages import Keep, Pages
from gnomon.answer.pipeline import Answerer
from gnomon.answer.threads import Threads
from gnomon.answer.watches import Watching, WatchStore
from gnomon.answer.web import open_web
from gnomon.backup import refuse_unfinished
from gnomon.client import Running, run_file
from gnomon.clock import Clock, RandomIds, SystemClock
from gnomon.demo import Showing
from gnomon.errors import ConfigError, ContentError, ModelError, StoreError
from gnomon.files.batches import BatchStore
from gnomon.files.store import OWN, SOURCE, Files
from gnomon.index.live import LiveIndex
from gnomon.ingest.runner import Runner
from gnomon.models.hub import Hub
from gnomon.models.registry import Registry as ModelRegistry
from gnomon.models.remote import endpoint
from gnomon.models.served import Served, embedded
from gnomon.models.static import StaticVectors
from gnomon.net.door import Door
from gnomon.record.base import Life
from gnomon.record.store import SqliteRecord
from gnomon.sandbox.rooms import Rooms
from gnomon.serve.app import create_app
from gnomon.serve.guard import check_bind
from gnomon.serve.remembering import wishes_of
from gnomon.serve.sealing import home_key
from gnomon.serve.services import Services
from gnomon.settings import Loaded, Settings
from gnomon.sources.opml import FeedList
from gnomon.sources.registry import Registry
from gnomon.types import Document, Purge, SourceConfig, Upsert

if TYPE_CHECKING:
    from gnomon.serve.grpc.server import GrpcDoor

TURN_S = 0.0005
"""How long one thread computes while another waits. With Python's 5 ms, a question that comes while
posts are taken in waits that long at each of its steps."""
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_HEAD_START_S = 0.3
"""Loading models and first polls keep Python busy: whoever waits for the page gets it before."""
_STOP_GRACE_S = 5
_MAX_CONNECTIONS = 1_000
_CATCH_UP_S = 0.5
_EXPIRY_S = 60.0
_SWEEP_S = 3_600.0
_ALL_INDEXED_S = 600.0


# -- serving -----------------------------------------------------------------
def serve(loaded: Loaded, *, announce: Callable[[str], None]) -> None:
    """Follow the sources and serve until interrupted; `announce` gets the address once it answers.

    Raises ConfigError for a port in use or an open address without a key, and StoreError at once
    when our own store turns out to be damaged.
    """
    settings = loaded.settings
    accounts = _accounts(settings, SystemClock())
    try:
        check_bind(settings, admins=accounts.any_way_in())
    finally:
        accounts.close()
    asyncio.run(_serve(settings, announce, follow=True, loaded=loaded))


def _accounts(settings: Settings, clock: Clock) -> Accounts:
    return Accounts(settings.home / "accounts.db", clock)


@contextmanager
def private_server(settings: Settings) -> Iterator[tuple[str, str]]:
    """A server of our own on a free loopback port, following no source.

    Yields its address and the key that opens it.
    """
    token = secrets.token_urlsafe(32)
    server = settings.server.model_copy(update={"host": "127.0.0.1", "port": 0, "grpc_port": 0})
    settings = settings.model_copy(update={"server": server})
    outcome: list[BaseException] = []
    address: list[str] = []
    up, down = threading.Event(), threading.Event()

    def announce(url: str) -> None:
        address.append(url)
        up.set()

    def run() -> None:
        try:
            asyncio.run(_serve(settings, announce, follow=False, until=down, token=token))
        except BaseException as error:
            outcome.append(error)
        finally:
            up.set()

    thread = threading.Thread(target=run, name="gnomon-private")
    thread.start()
    up.wait()
    try:
        if address:
            yield address[0], token
    finally:
        down.set()
        thread.join()
    if outcome:
        raise outcome[0]


async def _serve(
    settings: Settings,
    announce: Callable[[str], None],
    *,
    follow: bool,
    until: threading.Event | None = None,
    token: str = "",
    loaded: Loaded | None = None,
) -> None:
    token = token or secrets.token_urlsafe(32)
    sys.setswitchinterval(TURN_S)
    _give_memory_back()
    grpc_door = _grpc_door() if settings.server.grpc_port else None
    listener = _listen(settings.server.host, settings.server.port)
    url = _url(listener)
    failures: list[StoreError] = []
    async with AsyncExitStack() as stack:
        stack.callback(listener.close)
        house = await stack.enter_async_context(opened(settings, follow=follow))
        doors = create_app(house.services(failures.append, token, loaded))
        stack.push_async_callback(doors.state.jobs.aclose)
        stack.push_async_callback(doors.state.batches.aclose)
        doors.state.batches.wake()
        stack.push_async_callback(doors.state.mcp.aclose)
        if grpc_door is not None:
            state = doors.state
            beside = grpc_door(state.services, state.access, state.jobs, base_url=url)
            await beside.start(settings.server.host, settings.server.grpc_port)
            stack.push_async_callback(beside.stop, _STOP_GRACE_S)
        web = uvicorn.Server(
            uvicorn.Config(
                doors,
                log_config=None,
                access_log=False,
                lifespan="off",
                http="h11",  # it bounds the headers of a request; httptools does not
                server_header=False,
                limit_concurrency=_MAX_CONNECTIONS,
                timeout_graceful_shutdown=_STOP_GRACE_S,
            )
        )
        if until is not None:
            # Signals belong to the main thread; a private server is stopped by its command.
            web.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
        serving = asyncio.create_task(web.serve(sockets=[listener]))
        failing = asyncio.create_task(house.runner.wait())
        try:
            while not (web.started or serving.done()):  # noqa: ASYNC110  (there is no event)
                await asyncio.sleep(0.005)
            if web.started:
                if follow:
                    begins = asyncio.get_running_loop().call_later(_HEAD_START_S, house.begin)
                    stack.callback(begins.cancel)
                    stack.enter_context(_announced(settings.home, url, token))
                announce(url)
            while not serving.done():
                if failing.done() or failures or (until is not None and until.is_set()):
                    web.should_exit = True
                await asyncio.wait([serving], timeout=0.05 if until is not None else 0.25)
            await serving
        finally:
            failing.cancel()
        if failures:
            raise failures[0]
        if failing.done() and not failing.cancelled():
            failing.result()


def _give_memory_back() -> None:
    """Have glibc return large blocks when they are freed, which it else stops doing by and by."""
    with suppress(AttributeError):  # other systems have no such choice
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 2**20)
        # Not at every free, though: a search would fault the same pages in anew.
        libc.mallopt(_M_TRIM_THRESHOLD, 2**24)


def _grpc_door() -> type[GrpcDoor]:
    """The gRPC door, whose library is an extra. Raises ConfigError without it."""
    try:
        from gnomon.serve.grpc.server import GrpcDoor
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in ("grpc", "google"):
            raise
        raise ConfigError(
            "server.grpc_port is set, but the library for gRPC is not installed.",
            code="config.grpc",
            hint="pip install 'gnomon[grpc]'",
        ) from None
    return GrpcDoor


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise ConfigError(
            f"Cannot listen on {host}:{port}: {error.strerror or error}.",
            code="config.port",
            hint="Stop what listens there, or choose another port with --port.",
            host=host,
            port=port,
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


@contextmanager
def _announced(home: Path, url: str, token: str) -> Iterator[None]:
    path = run_file(home)
    running = Running(pid=os.getpid(), url=url, version=__version__, token=token)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_bytes(msgspec.json.encode(running))
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


# -- the house ---------------------------------------------------------------
@dataclass(frozen=True, kw_only=True)
class House:
    """Everything that is open."""

    settings: Settings
    clock: Clock
    record: SqliteRecord
    index: LiveIndex
    models: Hub
    door: Door
    registry: Registry
    runner: Runner
    answerer: Answerer
    threads: Threads
    accounts: Accounts
    runs: Runs
    watching: Watching
    files: Files
    batches: BatchStore
    memory: MemoryStore
    served: Served
    rooms: Rooms
    demo: Showing
    begin: Callable[[], None]
    """Load the models and follow the sources, to be called once: a server answers first."""

    def _provider(self) -> OpenIdProvider | None:
        """The OpenID provider of the settings. Raises ConfigError where they are incomplete."""
        server = self.settings.server
        if not server.oidc_issuer:
            return None
        if not (server.oidc_client_id and server.public_url):
            raise ConfigError(
                "server.oidc_issuer is set, but not server.oidc_client_id and server.public_url.",
                code="config.oidc",
                hint="The provider needs both to send people back here.",
            )
        return OpenIdProvider(
            server.oidc_issuer,
            server.oidc_client_id,
            server.oidc_client_secret,
            f"{server.public_url.rstrip('/')}/v1/session/oidc/callback",
            fetcher=self.door,
            clock=self.clock,
        )

    def services(
        self,
        on_damage: Callable[[StoreError], None],
        token: str = "",
        loaded: Loaded | None = None,
    ) -> Services:
        """What the doors need. Called in the event loop."""
        loop = asyncio.get_running_loop()
        return Services(
            record=self.record,
            index=self.index,
            runner=self.runner,
            answerer=self.answerer,
            threads=self.threads,
            models=self.models,
            clock=self.clock,
            ids=RandomIds(),
            settings=self.settings,
            identify=self.identify,
            survey=self.survey,
            examine=self.registry.examine,
            version=__version__,
            demo=self.demo,
            accounts=self.accounts,
            runs=self.runs,
            watching=self.watching,
            files=self.files,
            batches=self.batches,
            memory=self.memory,
            served=self.served,
            rooms=self.rooms,
            fetcher=self.door,
            oidc=self._provider(),
            seal=home_key(self.settings.home / "seal.key"),
            token=token,
            loaded=loaded,
            listed=lambda documents: loop.call_soon_threadsafe(self.runner.listed, documents),
            fatal=on_damage,
        )

    async def identify(self, text: str) -> SourceConfig:
        """The source that a pasted address means."""
        return await self.registry.probe(text, fetcher=self.door, now=self.clock.now())

    async def survey(self, text: str) -> FeedList:
        """All sources that a pasted address means: a list of feeds has many."""
        return await self.registry.survey(text, fetcher=self.door, now=self.clock.now())


@asynccontextmanager
async def opened(settings: Settings, *, follow: bool) -> AsyncIterator[House]:
    """Open the house of `settings`; without `follow`, no source runs and nothing goes out."""
    log.configure(settings.log)
    tracing.configure(settings.log.otlp_endpoint)
    clock = SystemClock()
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(settings.home))
        record = stack.enter_context(opened_record(settings))
        index = LiveIndex(settings.home / "index")
        stack.callback(index.close)
        index.set_vectors(_word_vectors(settings))
        demo = Showing(settings, record, clock)
        await demo.start()
        stack.push_async_callback(demo.stop)
        net = settings.net.model_copy(update={"allow": (*settings.net.allow, *demo.allow)})
        endpoints = (endpoint(settings.models.url),) if settings.models.url else ()
        door = Door(net, clock, endpoints=endpoints)
        stack.push_async_callback(door.aclose)
        models = Hub(settings, clock=clock, fetcher=door)
        stack.push_async_callback(models.aclose)
        served = Served(
            ModelRegistry(settings.home / "registry", clock),
            load=partial(embedded, n_threads=settings.models.threads),
            clock=clock,
        )
        stack.push_async_callback(served.aclose)
        served.entries()  # a damaged registry is met now, not with the first question
        registry = Registry.installed()
        await demo.prepare()
        runner = Runner(record, index, door, clock, random.Random(), settings, registry)  # noqa: S311
        stack.push_async_callback(runner.stop)
        await runner.start(follow=follow, held=True)
        # A command has one chance to find what is there; a server says how far it has come.
        await runner.wait_indexed(record.last_seq(), _CATCH_UP_S if follow else _ALL_INDEXED_S)
        loop = asyncio.get_running_loop()
        threads = Threads(
            settings.home / "answers.db",
            record,
            shown=lambda answer: loop.call_soon_threadsafe(runner.shown, answer),
            is_purged=partial(_is_purged, record),
        )
        stack.callback(threads.close)
        accounts = _accounts(settings, clock)
        stack.callback(accounts.close)
        keep = _keeping(record, runner)
        web = open_web(
            settings.websearch, keep, fetcher=door, clock=clock, indexed=runner.wait_indexed
        )
        answerer = Answerer(
            record,
            index,
            models,
            clock,
            RandomIds(),
            settings,
            runner.states,
            web=web,
            shown=runner.shown,
        )
        pages = Pages(door, keep, clock)
        memory = MemoryStore(settings.home / "memory.db", clock, RandomIds())
        stack.callback(memory.close)
        wishes = partial(wishes_of, memory)
        prices = Prices(settings.models.usd_per_m_input, settings.models.usd_per_m_output)
        engine = Engine(answerer, record, models, clock, pages=pages, prices=prices, wishes=wishes)
        runs = await _deep(stack, settings, engine, record, clock, follow)
        watching = await _watching(stack, settings, answerer, record, runner, clock, follow)
        files = Files(settings.home / "files.db", clock, RandomIds())
        stack.callback(files.close)
        batches = BatchStore(settings.home / "batches.db")
        stack.callback(batches.close)
        rooms = Rooms(settings.tools, clock, RandomIds())
        stack.push_async_callback(rooms.aclose)

        def begin() -> None:
            models.start()
            runner.release()
            if not follow:
                return
            first = beginning.begin(
                settings, record=record, runner=runner, fetcher=door, registry=registry, clock=clock
            )
            for name, work in (
                ("demo", demo.watch(runner)),
                ("beginning", first),
                ("files", _expire_files(files, runner, clock)),
                ("answers", _sweep_answers(threads, clock)),
                ("sandbox", _proved(rooms)),
            ):
                stack.push_async_callback(_ended, asyncio.create_task(work, name=name))

        if not follow:
            begin()
        yield House(
            settings=settings,
            clock=clock,
            record=record,
            index=index,
            models=models,
            door=door,
            registry=registry,
            runner=runner,
            answerer=answerer,
            threads=threads,
            accounts=accounts,
            runs=runs,
            watching=watching,
            files=files,
            batches=batches,
            memory=memory,
            served=served,
            rooms=rooms,
            demo=demo,
            begin=begin,
        )


def _keeping(record: SqliteRecord, runner: Runner) -> Keep:
    """Opened pages go the way of everything else: recorded, indexed, their copies kept."""

    async def keep(document: Document) -> Document:
        await runner.deliver(OPENED, [Upsert(document)])
        found = (await asyncio.to_thread(record.get, document.key)).document
        if found is None:
            raise ContentError(
                f"{document.url[:200]} could not be recorded.",
                code="page.unkept",
                hint="`gnomon sources` tells why.",
            )
        return found

    return keep


async def _watching(
    stack: AsyncExitStack,
    settings: Settings,
    answerer: Answerer,
    record: SqliteRecord,
    runner: Runner,
    clock: Clock,
    follow: bool,
) -> Watching:
    """Standing questions; only where sources are followed does anything come in."""
    store = WatchStore(settings.home / "watches.db", record, is_purged=partial(_is_purged, record))
    stack.callback(store.close)
    differ = Differ(answerer, record, clock, RandomIds())
    begun = await asyncio.to_thread(record.last_seq)
    watching = Watching(
        store,
        differ,
        clock,
        RandomIds(),
        follow=lambda: runner.subscribe(begun),
        wait_indexed=lambda seq: runner.wait_indexed(seq, 10.0),
    )
    if follow:
        await watching.start()
        sweeping = asyncio.create_task(_sweep(store, clock), name="watches sweep")
        stack.push_async_callback(_ended, sweeping)
        stack.push_async_callback(watching.aclose)
    return watching


async def _deep(
    stack: AsyncExitStack,
    settings: Settings,
    engine: Engine,
    record: SqliteRecord,
    clock: Clock,
    follow: bool,
) -> Runs:
    """Deep mode; a server goes on with what its last stop interrupted."""
    store = RunStore(settings.home / "runs.db", record, is_purged=partial(_is_purged, record))
    stack.callback(store.close)
    runs = Runs(store, engine, clock, RandomIds())
    stack.push_async_callback(runs.aclose)
    if follow:
        await runs.resume()
        sweeping = asyncio.create_task(_sweep(store, clock), name="runs sweep")
        stack.push_async_callback(_ended, sweeping)
    return runs


def _word_vectors(settings: Settings) -> StaticVectors | None:
    """The table, read before the first document is indexed, so that none lacks its vector."""
    if not settings.index.vectors:
        return None
    try:
        return StaticVectors(settings.models_dir / "static")
    except ModelError as error:
        log.get_logger().info("vectors.missing", reason=str(error))
        return None


@contextmanager
def opened_record(settings: Settings) -> Iterator[SqliteRecord]:
    """The record alone, also while a server of the same home runs."""
    settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    record = SqliteRecord(settings.home / "record.db", check=settings.record.check_on_start)
    try:
        yield record
    finally:
        record.close()


@contextmanager
def locked(home: Path, *, unfinished: bool = False) -> Iterator[None]:
    """Hold the home for this process; the lock falls with the process, however it ends.

    Raises ConfigError if another process holds it, the folder cannot be written, or a backup was
    put back into it only in part, unless that may be `unfinished`.
    """
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = (home / "lock").open("w")
    except OSError as error:
        raise ConfigError(
            f"The home {home} cannot be used: {error.strerror or error}.",
            code="config.home",
            hint="Choose another folder with --home, or mend its permissions.",
            home=str(home),
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise ConfigError(
                f"Another Gnomon uses the home {home}.",
                code="config.home_in_use",
                hint="Stop it, or choose another folder with --home.",
                home=str(home),
            ) from None
        if not unfinished:
            refuse_unfinished(home)
        yield


async def _proved(rooms: Rooms) -> None:
    """Whether code can be run here is known before somebody wants it."""
    await rooms.standing()


async def _expire_files(files: Files, runner: Runner, clock: Clock) -> None:
    """Forget files whose time is over, within a minute."""
    while True:
        for stored in await asyncio.to_thread(files.expired):
            await asyncio.to_thread(files.delete, stored.id)
            await runner.deliver(SOURCE, [Purge(key=key, reason="Expired.") for key in stored.keys])
        await clock.sleep(_EXPIRY_S)


def _is_purged(record: SqliteRecord, key: str, version: int) -> bool:
    """Whether a source's terms forbid to show it. Answers about one's own file are one's own."""
    return not key.startswith(OWN) and record.version(key, version).life is Life.PURGED


async def _sweep(store: WatchStore | RunStore, clock: Clock) -> None:
    """Take out of what is stored what was purged, within an hour."""
    while True:
        await clock.sleep(_SWEEP_S)
        await asyncio.to_thread(store.sweep)


async def _sweep_answers(threads: Threads, clock: Clock) -> None:
    """Take out of all stored answers what was purged, within a day."""
    after = 0
    while True:
        await clock.sleep(_EXPIRY_S)
        after = await asyncio.to_thread(threads.sweep, after)


async def _ended(task: asyncio.Task[None]) -> None:
    """Cancel what runs beside the house; what it failed with is raised."""
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task
