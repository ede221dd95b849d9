"""What the doors need from the house, handed over in one piece by whoever wires it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol

from gnomon.accounts.memory import MemoryStore
from gnomon.accounts.oidc import OpenIdProvider
from gnomon.accounts.store import Accounts
from gnomon.answer.base import AnswerEvent, Question, Turn
from gnomon.answer.deep.runs import Runs
from gnomon.answer.threads import Conversation, Stored
from gnomon.answer.watches import Watching
from gnomon.clock import Clock, Ids
from gnomon.errors import StoreError
from gnomon.files.batches import BatchStore
from gnomon.files.store import Files
from gnomon.index.base import Index
from gnomon.models.base import Embedder, Generator, ModelState, Tokenizer
from gnomon.models.served import Served
from gnomon.net.base import Fetcher
from gnomon.record.base import Entry, Record
from gnomon.sandbox.rooms import Rooms
from gnomon.settings import Loaded, Settings
from gnomon.sources.opml import FeedList
from gnomon.types import Answer, Change, Document, SourceConfig, SourceState


class Hubs(Protocol):
    """The WebSub subscriptions, as hubs speak to them."""

    def confirm(
        self, id: str, *, mode: str, topic: str, challenge: str, lease_s: float | None
    ) -> str | None:
        """The challenge to repeat to a hub; None if the subscription is not wanted."""
        ...

    def deliver(self, id: str, body: bytes, signature: str) -> bool:
        """Take a push; False if there is no such subscription."""
        ...


class Runner(Protocol):
    """The supervisor of the sources. All its methods belong to the event loop."""

    @property
    def websub(self) -> Hubs:
        """The subscriptions at hubs."""
        ...

    def states(self, as_of: datetime | None = None) -> Sequence[SourceState]:
        """How every source stands."""
        ...

    async def add(self, config: SourceConfig) -> None:
        """Follow a source from now on, also after a restart."""
        ...

    async def remove(self, name: str) -> None:
        """Stop following; what it brought stays."""
        ...

    async def pause(self, name: str) -> None:
        """Stop following until resumed."""
        ...

    async def resume(self, name: str) -> None:
        """Follow again, from the stored cursor."""
        ...

    async def deliver(self, source: str, changes: Sequence[Change]) -> None:
        """Take in what did not come from a connector; durable on return."""
        ...

    def changed(self) -> None:
        """Another process wrote to the record: find that, too."""
        ...

    async def wait_indexed(self, seq: int, timeout_s: float) -> bool:
        """Until everything up to `seq` is searchable; False if that takes longer."""
        ...

    def subscribe(self, after_seq: int) -> AsyncIterator[Entry]:
        """Log entries after `after_seq`, then new ones as they become durable."""
        ...


class Answerer(Protocol):
    """The pipeline from question to checked answer."""

    def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        """Stream the answer; the last event is `Finished`. Closing it cancels the work."""
        ...


class Thread(Protocol):
    """One stored answer."""

    @property
    def response(self) -> Mapping[str, Any]:
        """The Response object as it was sent."""
        ...

    @property
    def answer(self) -> Answer:
        """The checked answer in it."""
        ...


class Threads(Protocol):
    """Stored answers and the conversations that they form."""

    def save(
        self,
        id: str,
        *,
        answer: Answer,
        response: Mapping[str, Any],
        previous_id: str | None,
        owner: str,
    ) -> None:
        """Keep an answer of `owner` under `id`, following on `previous_id`."""
        ...

    def get(self, id: str, owner: str) -> Thread | None:
        """The stored answer, None if the owner has none such."""
        ...

    def delete(self, id: str, owner: str) -> bool:
        """Forget it; False if the owner has none such."""
        ...

    def history(self, id: str, owner: str) -> Sequence[Turn]:
        """The turns that end with `id`, oldest first; empty if unknown."""
        ...

    def conversations(
        self,
        owner: str,
        *,
        words: str = "",
        folder: str | None = None,
        limit: int = 50,
        before_us: int | None = None,
    ) -> Sequence[Conversation]:
        """An owner's conversations, the newest first."""
        ...

    def conversation(self, id: str, owner: str) -> tuple[Conversation, Sequence[Stored]] | None:
        """A conversation and its answers in order of asking."""
        ...

    def shared(self, token: str) -> tuple[Conversation, Sequence[Stored]] | None:
        """The conversation that a token opens."""
        ...

    def rename(
        self, id: str, owner: str, *, title: str | None = None, folder: str | None = None
    ) -> bool:
        """Give it another title or folder."""
        ...

    def share(self, id: str, owner: str, token: str | None) -> bool:
        """Let whoever knows `token` read it; None: nobody any more."""
        ...

    def delete_conversation(self, id: str, owner: str) -> bool:
        """Forget all its answers for good."""
        ...


class Hub(Protocol):
    """The models of this process."""

    def states(self) -> Sequence[ModelState]:
        """How every model stands."""
        ...

    def generator(self) -> Generator | None:
        """The language model, if one is ready."""
        ...

    def embedder(self) -> Embedder | None:
        """The sentence model, if ready."""
        ...

    def tokenizer(self) -> Tokenizer | None:
        """The language model, if it is one that tells its tokens."""
        ...


class Demo(Protocol):
    """The demo world, while it is shown."""

    @property
    def banner(self) -> str:
        """What to tell the reader about it."""
        ...

    @property
    def questions(self) -> Sequence[str]:
        """Questions that it can answer."""
        ...


@dataclass(frozen=True, kw_only=True)
class Services:
    """Everything that a request may touch."""

    record: Record
    index: Index
    runner: Runner
    answerer: Answerer
    threads: Threads
    models: Hub
    clock: Clock
    ids: Ids
    settings: Settings
    identify: Callable[[str], Awaitable[SourceConfig]]
    """From what a person pasted to a source; raises ConfigError or UpstreamError."""
    version: str
    survey: Callable[[str], Awaitable[FeedList]] | None = None
    """Like `identify`, for whoever can follow a whole list at once."""
    examine: Callable[[SourceConfig], dict[str, Any]] | None = None
    """What keeps a source from being followed (`problem`), and the secrets it can use (`keys`)."""
    demo: Demo | None = None
    accounts: Accounts | None = None
    runs: Runs | None = None
    watching: Watching | None = None
    files: Files | None = None
    batches: BatchStore | None = None
    memory: MemoryStore | None = None
    served: Served | None = None
    oidc: OpenIdProvider | None = None
    rooms: Rooms | None = None
    """Closed rooms for code."""
    fetcher: Fetcher | None = None
    """The guarded door, for remote tools."""
    seal: bytes | None = None
    """The home's key: signs what clients keep for us."""
    token: str = ""
    """A key that this process made up for the commands of the same user; opens everything."""
    loaded: Loaded | None = None
    """The settings with their origins, where they can be changed through this server."""
    listed: Callable[[Sequence[Document]], object] = lambda documents: None
    """Told, from any thread, of documents that are shown: their sources may have duties."""
    fatal: Callable[[StoreError], None] | None = None
    """Told when a request meets damage in our own store, so that the process can stop."""
