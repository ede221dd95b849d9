"""The contract check that every source must pass: killed anywhere, it loses and doubles nothing.

A *stage* is a stand-in with a script of what happens upstream. `check_source` follows the source
against it, round after round, kills it at random points (while it waits, after it handed over a
batch but before that was stored, after it was stored), starts it again from the last stored
cursor, and compares what a record would hold at the end with what really happened upstream.

    async def test_my_source():
        await check_source(SOURCE, my_stage, rounds=20)
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias, cast

import msgspec

from gnomon.errors import UpstreamTerminal, UpstreamTransient
from gnomon.net.base import Fetcher
from gnomon.settings import Ingest
from gnomon.sources.base import SourceSpec
from gnomon.types import (
    Batch,
    Cursor,
    Delete,
    Document,
    Gap,
    Notice,
    Purge,
    SourceConfig,
    Upsert,
)

Timeline: TypeAlias = Mapping[str, Sequence[str | None]]
"""By key, the texts of its versions in order; None where it was deleted."""

_MAX_CURSOR_BYTES = 262_144
_MAX_KILLS = 40
_MAX_STARTS = 400
_SHOWN = 5
_SILENCE_S = 60.0
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


class SourceCheckFailed(AssertionError):
    """The source broke its contract; the message says how, and with which seed."""


@dataclass(kw_only=True)
class Stage:
    """One run of a stand-in: the source that follows it, and what happens upstream."""

    config: SourceConfig
    fetcher: Fetcher
    expected: Callable[[], Timeline]
    """What a record must hold at the end, keys in order of first appearance."""
    script: Sequence[Callable[[], object]] = ()
    """What happens upstream: one step each time the source rests (`clock.sleep`)."""
    ordered: bool = True
    """Whether documents must first appear in the order of `expected`."""
    ends_with: str = ""
    """Code of the UpstreamTerminal with which the source must end; empty: none."""
    rests: int = 3
    """How often the source may rest once the script is over, before the round ends."""
    limits: Ingest = field(default_factory=Ingest)
    patience_s: float = 0.0
    """For sources that listen instead of resting: after this many real seconds without a batch,
    the next step of the script happens, and a minute at most of its sleeps passes. 0: it polls."""
    set_time: Callable[[datetime], object] | None = None
    """Told how late it is whenever time passes, for stand-ins whose own clock matters."""
    shown: asyncio.Queue[tuple[str, str]] = field(default_factory=asyncio.Queue)
    """The script puts here what is shown: (key, address of the version)."""


@dataclass
class Ledger:
    """What a record would hold: batches whole or not at all, repetitions stored once."""

    cursor: Cursor | None = None
    versions: dict[str, list[str | None]] = field(default_factory=dict)
    documents: dict[str, Document] = field(default_factory=dict)
    """The newest version of each key."""
    gaps: list[Gap] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    skipped: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    kills: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    ended_with: str = ""

    def append(self, batch: Batch) -> None:
        """Store a batch and its cursor."""
        for change in batch.changes:
            if isinstance(change, Upsert):
                document = change.document
                versions = self.versions.setdefault(document.key, [])
                if not versions or versions[-1] is None or self._differs(document):
                    versions.append(document.text)
                    self.documents[document.key] = document
            elif isinstance(change, Delete):
                if self.versions.get(change.key, [None])[-1] is not None:
                    self.versions[change.key].append(None)
            elif isinstance(change, Purge):
                self.versions = {
                    key: versions
                    for key, versions in self.versions.items()
                    if key != change.key
                    and not (change.author and self.documents[key].author == change.author)
                }
            elif isinstance(change, Gap):
                self.gaps.append(change)
            else:
                self.notices.append(change)
        if batch.cursor is not None:
            self.cursor = batch.cursor

    def _differs(self, document: Document) -> bool:
        return _comparable(document) != _comparable(self.documents[document.key])


def _comparable(document: Document) -> Document:
    """Without what the record disregards when it looks for a change."""
    return msgspec.structs.replace(document, observed_at=None, extra={})


class HurriedClock:
    """A clock in which every sleep is over at once, and the script goes on meanwhile."""

    def __init__(
        self,
        script: Sequence[Callable[[], object]] = (),
        rests: int = 3,
        *,
        listening: bool = False,
        set_time: Callable[[datetime], object] | None = None,
    ) -> None:
        self.quiet = asyncio.Event()
        """Set when the script is over and the source has rested a few times since."""
        self._script = iter(script)
        self._rests = rests
        self._elapsed_s = 0.0
        self._listening = listening
        self._set_time = set_time
        self._sleepers: list[tuple[float, asyncio.Event]] = []

    def now(self) -> datetime:
        """The current moment of this clock."""
        return START + timedelta(seconds=self._elapsed_s)

    def monotonic(self) -> float:
        """Seconds slept so far."""
        return self._elapsed_s

    async def sleep(self, seconds: float) -> None:
        """Do the next step of the script, and let the time be over.

        Of a listening source only its sleep ends, when `silence` comes to it.
        """
        if self._listening:
            woken = asyncio.Event()
            sleeper = (self._elapsed_s + max(seconds, 0.0), woken)
            self._sleepers.append(sleeper)
            try:
                await woken.wait()
            finally:
                self._sleepers.remove(sleeper)
            return
        self._pass(self._elapsed_s + max(seconds, 0.0))
        self._step()
        if self.quiet.is_set():
            await asyncio.Event().wait()
        await asyncio.sleep(0)

    def silence(self) -> None:
        """A listening source had nothing to say: go on with the script, let some time pass."""
        self._step()
        nearest_s = min((due_s for due_s, _ in self._sleepers), default=0.0)
        self._pass(min(nearest_s, self._elapsed_s + _SILENCE_S))
        for due_s, woken in self._sleepers:
            if due_s <= self._elapsed_s:
                woken.set()

    def _pass(self, until_s: float) -> None:
        self._elapsed_s = max(self._elapsed_s, until_s)
        if self._set_time is not None:
            self._set_time(self.now())

    def _step(self) -> None:
        step = next(self._script, None)
        if step is not None:
            step()
        elif self._rests > 0:
            self._rests -= 1
        else:
            self.quiet.set()


class _Context:
    def __init__(self, spec: SourceSpec, stage: Stage, clock: HurriedClock, seed: int) -> None:
        self.config = stage.config
        self.settings: Any = spec.settings.model_validate(dict(stage.config.settings))
        self.fetcher = stage.fetcher
        self.clock = clock
        self.rng = random.Random(seed)
        self.limits = stage.limits
        self._shown = stage.shown
        self.contact = ""
        self.skipped: Counter[str] = Counter()
        self.ledger = Ledger()

    async def held(
        self, since: datetime | None = None, limit: int = 10_000
    ) -> Sequence[tuple[str, datetime]]:
        return [(key, START) for key in self.ledger.versions] if since in (None, START) else []

    async def cited(self) -> Sequence[tuple[str, str]]:
        return [await self._shown.get()]

    def heard(self, *, state: str = "", text: str = "", next_in_s: float | None = None) -> None:
        if next_in_s is not None and next_in_s < 0:
            raise SourceCheckFailed(f"next_in_s = {next_in_s} lies in the past")

    def count(self, reason: str, n: int = 1) -> None:
        self.skipped[reason] += n

    def subscribed(self, hub: str, topic: str) -> bool:
        return False


async def check_source(
    spec: SourceSpec,
    stage: Callable[[], AbstractAsyncContextManager[Stage]],
    *,
    rounds: int = 10,
    seed: int = 0,
    timeout_s: float = 30.0,
) -> list[Ledger]:
    """Hold `spec` to the contract, each round on a fresh stage; the first without kills.

    Returns what each round stored. Raises SourceCheckFailed.
    """
    ledgers = []
    for n in range(rounds):
        async with stage() as scene:
            where = f"{spec.name}, round {n}, seed {seed}"
            ledger = Ledger()
            try:
                with _watched_tasks():
                    async with asyncio.timeout(timeout_s):
                        await _play(spec, scene, ledger, random.Random(f"{seed}/{n}"), kills=n > 0)
            except TimeoutError:
                raise SourceCheckFailed(
                    f"{where}: not done after {timeout_s} s: {_outcome(ledger)}"
                ) from None
            problems = _compare(scene, ledger)
            if problems:
                shown = "; ".join(problems[:_SHOWN]) + f" ({len(problems)} problems)"
                raise SourceCheckFailed(f"{where}: {shown}{_outcome(ledger)}")
        ledgers.append(ledger)
    return ledgers


async def _play(
    spec: SourceSpec, stage: Stage, ledger: Ledger, rng: random.Random, *, kills: bool
) -> None:
    clock = HurriedClock(
        stage.script, stage.rests, listening=stage.patience_s > 0, set_time=stage.set_time
    )
    context = _Context(spec, stage, clock, rng.randrange(1 << 30))
    context.ledger = ledger
    ledger.skipped = context.skipped
    while not clock.quiet.is_set():
        ledger.starts += 1
        if ledger.starts > _MAX_STARTS:
            raise SourceCheckFailed(f"it was started {_MAX_STARTS} times and made no end")
        started: set[asyncio.Task[Any]] = set()
        _started.set(started)
        stream = cast("AsyncGenerator[Batch, None]", spec.follow(context, ledger.cursor))
        try:
            async with aclosing(stream):
                ended = await _until_killed(stream, stage, ledger, clock, rng, kills=kills)
        except UpstreamTransient as error:
            ledger.errors[error.code] += 1
            continue
        except UpstreamTerminal as error:
            ledger.ended_with = error.code
            return
        finally:
            _started.set(None)
            await _no_task_left(started)
        if ended:
            return


async def _until_killed(
    stream: AsyncGenerator[Batch, None],
    stage: Stage,
    ledger: Ledger,
    clock: HurriedClock,
    rng: random.Random,
    *,
    kills: bool,
) -> bool:
    """Follow until the source ends (True), or until it is killed or all is quiet (False)."""
    quiet = asyncio.ensure_future(clock.quiet.wait())
    try:
        while True:
            kills = kills and ledger.kills < _MAX_KILLS
            patience_s = rng.uniform(0.0, 0.02) if kills and rng.random() < 0.3 else None
            coming = asyncio.ensure_future(anext(stream, None))
            await _come(coming, quiet, stage, clock, patience_s)
            if not coming.done():
                ledger.kills += not clock.quiet.is_set()
                coming.cancel()
                await asyncio.gather(coming, return_exceptions=True)
                return False
            batch = coming.result()
            if batch is None:
                return True
            _inspect(batch, stage.config)
            fate = rng.random() if kills else 1.0
            if fate >= 0.15:
                ledger.append(batch)
            if fate < 0.3:
                ledger.kills += 1
                return False
    finally:
        quiet.cancel()
        await asyncio.gather(quiet, return_exceptions=True)


async def _come(
    coming: asyncio.Future[Any],
    quiet: asyncio.Future[Any],
    stage: Stage,
    clock: HurriedClock,
    patience_s: float | None,
) -> None:
    """Until a batch came, all is quiet, or it is time to kill."""
    while True:
        listens = stage.patience_s > 0 and patience_s is None
        done, _ = await asyncio.wait(
            {coming, quiet},
            timeout=stage.patience_s if listens else patience_s,
            return_when=asyncio.FIRST_COMPLETED,
        )
        if done or not listens:
            return
        clock.silence()


_started: ContextVar[set[asyncio.Task[Any]] | None] = ContextVar("started", default=None)


@contextmanager
def _watched_tasks() -> Iterator[None]:
    """Tasks that the source starts are noted; those of the stand-in, in another context, not."""
    loop = asyncio.get_running_loop()
    before = loop.get_task_factory()

    def start(loop: asyncio.AbstractEventLoop, coro: Any, **kw: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.Task(coro, loop=loop, **kw)
        started = _started.get()
        if started is not None:
            started.add(task)
        return task

    loop.set_task_factory(start)
    try:
        yield
    finally:
        loop.set_task_factory(before)


async def _no_task_left(started: set[asyncio.Task[Any]]) -> None:
    for _ in range(50):
        left = {task for task in started if not task.done()}
        if not left:
            return
        await asyncio.sleep(0.01)
    raise SourceCheckFailed(f"closing it left tasks behind: {left}")


def _inspect(batch: Batch, config: SourceConfig) -> None:
    """What can be told from one batch alone."""
    if not isinstance(batch, Batch):
        raise SourceCheckFailed(f"it yielded {type(batch).__name__}, not a Batch")
    if batch.cursor is not None and (
        not isinstance(batch.cursor, str) or len(batch.cursor.encode()) > _MAX_CURSOR_BYTES
    ):
        raise SourceCheckFailed(f"its cursor is no text of at most {_MAX_CURSOR_BYTES} bytes")
    for change in batch.changes:
        if isinstance(change, Upsert):
            problem = _problem_of(change.document, config)
            if problem:
                raise SourceCheckFailed(f"document {change.document.key!r}: {problem}")
        elif isinstance(change, Purge) and bool(change.key) == bool(change.author):
            raise SourceCheckFailed("a Purge names exactly one of key and author")


def _problem_of(document: Document, config: SourceConfig) -> str:
    if not document.key or not document.kind or not document.text.strip():
        return "key, kind and text must not be empty"
    if document.source != config.name:
        return f"its source is {document.source!r}, not {config.name!r}"
    if document.version or document.seq:
        return "version and seq are the record's to give"
    for name in ("published_at", "updated_at", "observed_at"):
        moment = getattr(document, name)
        if moment is not None and moment.utcoffset() != timedelta(0):
            return f"{name} is not in UTC"
    try:
        msgspec.json.encode(document)
    except (TypeError, ValueError) as error:
        return f"it has no JSON form: {error}"
    return ""


def _compare(stage: Stage, ledger: Ledger) -> list[str]:
    expected = {key: list(texts) for key, texts in stage.expected().items()}
    problems = []
    if ledger.ended_with != stage.ends_with:
        problems.append(f"it ended with {ledger.ended_with!r} instead of {stage.ends_with!r}")
    for key, texts in expected.items():
        got = ledger.versions.get(key)
        # A loss that is recorded is honest; one that is not breaks the contract.
        if got is None and not ledger.gaps:
            problems.append(f"{key!r} was lost")
        elif got is not None and got != texts:
            problems.append(f"{key!r} has the versions {got!r} instead of {texts!r}")
    problems += [f"{key!r} was made up" for key in ledger.versions if key not in expected]
    order = [key for key in expected if key in ledger.versions]
    if stage.ordered and not problems and list(ledger.versions) != order:
        problems.append(f"they came in the order {list(ledger.versions)}")
    return problems


def _outcome(ledger: Ledger) -> str:
    return (
        f" ({len(ledger.versions)} documents, {len(ledger.gaps)} gaps, {ledger.starts} starts, "
        f"{ledger.kills} kills, errors {dict(ledger.errors)}, skipped {dict(ledger.skipped)})"
    )
