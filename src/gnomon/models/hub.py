"""The models of one process: loaded behind the page's back, each with a plain word on its state.

Nothing waits for a model and nothing fails without one. What is missing, damaged or unreachable
is a state that people can read, and answers stay extractive.
"""

from __future__ import annotations

import asyncio
import ctypes
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Literal, TypeAlias

import msgspec

from gnomon.clock import Clock
from gnomon.errors import GnomonError, ModelError
from gnomon.log import get_logger
from gnomon.models import fetch
from gnomon.models.base import Embedder, Generator, ModelState, Scorer, Tokenizer
from gnomon.models.embedded import EmbeddedGenerator
from gnomon.models.minilm import MiniLM
from gnomon.models.remote import RemoteGenerator, StreamingDoor, endpoint
from gnomon.models.scorer import MiniLMScorer
from gnomon.models.static import StaticVectors
from gnomon.settings import Settings

Role: TypeAlias = Literal["generator", "embedder", "scorer", "word vectors"]
ReadyCallback: TypeAlias = Callable[[ModelState], None]

_ROLES: tuple[Role, ...] = ("word vectors", "embedder", "scorer", "generator")
_LOSS = {
    "word vectors": "Search works on words alone.",
    "embedder": "Sentences are compared by their words alone.",
    "scorer": "Passages are ranked by their words alone.",
    "generator": "Answers stay extractive.",
}


class Hub:
    """Loads the models that `settings` name and hands them out once they are ready."""

    def __init__(self, settings: Settings, *, clock: Clock, fetcher: StreamingDoor) -> None:
        """Load nothing yet. `fetcher` is the door; a remote model is reached through it only."""
        self._settings = settings
        self._clock = clock
        self._door = fetcher
        self._log = get_logger()
        self._lock = threading.Lock()
        self._callbacks: list[ReadyCallback] = []
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._vectors: StaticVectors | None = None
        self._embedder: MiniLM | None = None
        self._scorer: MiniLMScorer | None = None
        self._embedded: EmbeddedGenerator | None = None
        self._remote: RemoteGenerator | None = None
        self._states = {
            role: ModelState(name=role, role=role, state="loading", text="Not loaded yet.")
            for role in _ROLES
        }

    def start(self) -> None:
        """Begin to load, in a thread; returns at once. A second call does nothing."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._load, name="gnomon-models", daemon=True)
            self._thread.start()

    def generator(self) -> Generator | None:
        """The language model, if one is ready."""
        return self._remote or self._embedded

    def tokenizer(self) -> Tokenizer | None:
        """The language model, if it is one that tells its tokens."""
        return self._embedded

    def embedder(self) -> Embedder | None:
        """The sentence embedder, if ready."""
        return self._embedder

    def scorer(self) -> Scorer | None:
        """The passage scorer, if ready."""
        return self._scorer

    def word_vectors(self) -> StaticVectors | None:
        """The static word vectors, if ready."""
        return self._vectors

    def states(self) -> list[ModelState]:
        """How each model stands now."""
        with self._lock:
            states = dict(self._states)
        failure = self._remote.last_failure if self._remote else None
        if failure is not None:
            states["generator"] = msgspec.structs.replace(
                states["generator"],
                state="failed",
                text=f"{failure} {_LOSS['generator']} The next question tries again.",
            )
        return list(states.values())

    def on_ready(self, callback: ReadyCallback) -> None:
        """Call `callback` with the state of every model that is or becomes ready, once each.

        It is called in the loading thread, or here for those that are ready already.
        """
        with self._lock:
            self._callbacks.append(callback)
            ready = [s for s in self._states.values() if s.state == "ready"]
        for state in ready:
            self._call(callback, state)

    async def aclose(self) -> None:
        """Stop loading and release everything. Idempotent."""
        self._closing.set()
        if self._thread is not None:
            await asyncio.to_thread(self._thread.join)
        embedded, self._embedded = self._embedded, None
        self._remote = self._embedder = self._scorer = self._vectors = None
        if embedded is not None:
            await embedded.aclose()

    # -- loading ---------------------------------------------------------------
    def _load(self) -> None:
        began = self._clock.monotonic()
        steps: tuple[tuple[tuple[Role, ...], Callable[[], None]], ...] = (
            (("word vectors",), self._load_vectors),
            (("embedder", "scorer"), self._load_minilm),
            (("generator",), self._load_generator),
        )
        for roles, step in steps:
            if self._closing.is_set():
                return
            try:
                step()
            except ModelError as error:
                self._lack(roles, str(error), error.code)
            except Exception as error:  # native libraries raise what they like
                self._lack(roles, f"It failed to load: {error!r}.", "model.failed")
        _give_back_memory()
        self._log.info("models.loaded", took_s=round(self._clock.monotonic() - began, 2))

    def _lack(self, roles: tuple[Role, ...], cause: str, code: str) -> None:
        for role in roles:
            absent = code in _ABSENT
            self._set(role, role, "missing" if absent else "failed", f"{cause} {_LOSS[role]}")
        self._log.warning("model.unavailable", roles=",".join(roles), code=code)

    def _load_vectors(self) -> None:
        self._must_be_whole(fetch.STATIC)
        self._vectors = StaticVectors(self._folder(fetch.STATIC))
        size = (self._folder(fetch.STATIC) / "vectors.npy").stat().st_size
        self._set("word vectors", self._vectors.name, "ready", "Word vectors are ready.", size)

    def _load_minilm(self) -> None:
        size = self._must_be_whole(fetch.MINILM)
        n_threads = self._settings.models.threads
        self._embedder = MiniLM(self._folder(fetch.MINILM), n_threads=n_threads)
        self._set("embedder", self._embedder.name, "ready", "The embedder is ready.", size)
        self._scorer = MiniLMScorer(self._embedder)
        self._set("scorer", self._scorer.name, "ready", "The scorer is ready.", size)

    def _load_generator(self) -> None:
        models = self._settings.models
        kind = models.generator
        if kind == "auto":
            kind = "remote" if models.url else "embedded"
        if kind == "off":
            self._set(
                "generator",
                "none",
                "off",
                "Switched off by models.generator. Answers stay extractive.",
            )
        elif kind == "remote":
            self._open_remote()
        else:
            self._load_embedded()

    def _open_remote(self) -> None:
        models = self._settings.models
        for key, value in (("models.url", models.url), ("models.model", models.model)):
            if not value:
                raise ModelError(
                    f"A remote model is wanted, but {key} is not set.",
                    code="model.not_configured",
                    hint=f"Set {key}, or models.generator to embedded or off.",
                )
        self._remote = RemoteGenerator(
            models.url,
            models.model,
            self._door,
            api_key=models.api_key,
            context_tokens=models.context_tokens,
        )
        text = f"{models.model} at {endpoint(models.url)} is asked when it is needed."
        self._set("generator", models.model, "ready", text)

    def _load_embedded(self) -> None:
        size = self._must_be_whole(fetch.SMOLLM2)
        path = self._settings.models_dir / fetch.SMOLLM2_FILE
        self._embedded = EmbeddedGenerator(path, n_threads=self._settings.models.threads)
        self._set(
            "generator",
            self._embedded.name,
            "ready",
            "The embedded language model is ready. It chats; answers quote, since it is too small "
            "to be trusted with facts.",
            size,
        )

    def _must_be_whole(self, weights: fetch.WeightSet) -> int:
        """Read the files against their hashes: native code trusts what it is given."""
        (state,) = fetch.verify(self._settings.models_dir, sets=[weights])
        if state.state != "ready":
            raise ModelError(state.text, code=f"model.{state.state}")
        return state.body_bytes

    def _folder(self, weights: fetch.WeightSet) -> Path:
        return self._settings.models_dir / weights.name

    def _set(
        self,
        role: Role,
        name: str,
        state: Literal["ready", "missing", "failed", "off"],
        text: str,
        body_bytes: int = 0,
    ) -> None:
        now = ModelState(name=name, role=role, state=state, text=text, body_bytes=body_bytes)
        with self._lock:
            self._states[role] = now
            callbacks = list(self._callbacks) if state == "ready" else []
        for callback in callbacks:
            self._call(callback, now)

    def _call(self, callback: ReadyCallback, state: ModelState) -> None:
        try:
            callback(state)
        except GnomonError as error:
            self._log.error("model.callback_failed", model=state.name, error=str(error))


_ABSENT = ("model.missing", "model.no_engine", "model.not_configured")


def _give_back_memory() -> None:
    """Return what loading left behind; glibc would keep 60 MB of it for itself."""
    if sys.platform.startswith("linux"):
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)
