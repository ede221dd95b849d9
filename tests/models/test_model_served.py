"""Swapping models beside each other: no request lost, no engine left open."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gnomon.clock import ManualClock
from gnomon.errors import ConfigError, ModelError, ModelTerminal
from gnomon.models.base import Chunk, GenerateRequest, Message
from gnomon.models.registry import OWN, Check, Entry, Registry
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.models.served import Served

GOOD = Check(name="loss", value=1.0, threshold=2.0, passed=True)
BAD = Check(name="loss", value=3.0, threshold=2.0, passed=False)


class Engine(ScriptedGenerator):
    """Says its entry's id; can be held in the middle of an answer."""

    def __init__(self, entry: Entry, hold: asyncio.Event) -> None:
        super().__init__([lambda _: Reply(pieces=(entry.id,))])
        self.open = True
        self._hold = hold

    async def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
        if "hold" in request.messages[-1].content:
            await self._hold.wait()
        async for chunk in super().stream(request):
            assert self.open, "it was closed in the middle of an answer"
            yield chunk

    async def aclose(self) -> None:
        self.open = False


class House:
    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.registry = Registry(folder / "registry", self.clock)
        self.engines: list[tuple[str, Engine]] = []
        self.hold = asyncio.Event()
        self.breaks: set[str] = set()
        self.served = Served(self.registry, load=self.load, clock=self.clock)

    def load(self, path: Path, entry: Entry) -> Engine:
        assert path.is_file()
        if entry.id in self.breaks:
            raise ModelTerminal(f"{entry.id} is broken.", code="model.unloadable")
        engine = Engine(entry, self.hold)
        self.engines.append((entry.id, engine))
        return engine

    def add(self, name: str, *checks: Check) -> Entry:
        path = self.folder / "x.gguf"
        path.write_bytes(f"GGUF{name}{len(self.registry.list())}".encode())
        return self.registry.add(path, name=name, checks=checks or (GOOD,))

    async def ask(self, id: str, text: str = "hello") -> str:
        request = GenerateRequest(messages=(Message(role="user", content=text),))
        async with self.served.generator(id) as (_, engine):
            return "".join([chunk.text async for chunk in engine.stream(request)])

    @property
    def open(self) -> list[str]:
        return [id for id, engine in self.engines if engine.open]


async def settled(house: House, wanted: list[str]) -> None:
    async with asyncio.timeout(5):
        while house.open != wanted:  # noqa: ASYNC110 - closing tells nobody
            await asyncio.sleep(0.001)


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    house = House(tmp_path)
    yield house
    await house.served.aclose()
    assert house.open == []


async def test_nothing_is_loaded_before_it_is_asked_and_then_once(house: House) -> None:
    house.add("a")
    house.registry.use("a")
    assert house.served.ids() == [OWN, "a"]
    assert house.engines == []
    said = await asyncio.gather(*(house.ask(id) for id in (OWN, "a", "a@1", OWN)))
    assert said == ["a@1"] * 4
    assert house.open == ["a@1"]


async def test_a_swap_answers_what_began_before_with_the_old_one(house: House) -> None:
    house.add("a"), house.add("b")
    await house.served.use("a")
    began = asyncio.create_task(house.ask(OWN, "hold"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (await house.served.use("b")).state == "serving"
    assert await house.ask(OWN) == "b@1"
    assert house.open == ["a@1", "b@1"], "the old one still answers"
    house.hold.set()
    assert await began == "a@1"
    await settled(house, ["b@1"])
    assert (await house.served.rollback()).id == "a@1"
    assert await house.ask(OWN) == "a@1"
    await settled(house, ["a@1"])


async def test_the_same_name_means_the_version_that_serves(house: House) -> None:
    house.add("a")
    await house.served.use("a")
    house.add("a")
    assert await house.ask("a") == "a@1"
    await house.served.use("a", 2)
    assert await house.ask("a") == "a@2"
    assert await house.ask("a@1") == "a@1"
    await house.served.rollback()
    assert await house.ask("a") == "a@1"


async def test_a_model_that_cannot_be_loaded_leaves_the_old_one(house: House) -> None:
    house.add("a"), house.add("b")
    await house.served.use("a")
    house.breaks.add("b@1")
    with pytest.raises(ModelError, match="b@1 is broken"):
        await house.served.use("b")
    assert await house.ask(OWN) == "a@1"
    serving = house.registry.serving()
    assert serving is not None and serving.id == "a@1"
    house.breaks.clear()
    await house.served.use("b")
    house.breaks.add("a@1")
    with pytest.raises(ModelError, match="a@1 is broken"):
        await house.served.rollback()
    assert await house.ask(OWN) == "b@1"


async def test_a_damaged_file_is_said_and_never_loaded(house: House) -> None:
    house.add("a")
    entry = house.add("b")
    await house.served.use("a")
    house.registry.path(entry).write_bytes(b"GGUFother")
    with pytest.raises(ModelTerminal, match=r"b@1 is damaged"):
        await house.served.use("b")
    assert house.open == ["a@1"]


async def test_a_model_that_is_silent_is_not_used(house: House) -> None:
    class Silent(Engine):
        async def stream(self, request: GenerateRequest) -> AsyncIterator[Chunk]:
            raise ModelTerminal("It broke.", code="model.engine")
            yield

    house.add("a"), house.add("b")
    await house.served.use("a")
    silent = Served(
        house.registry, load=lambda _, entry: Silent(entry, house.hold), clock=house.clock
    )
    with pytest.raises(ModelTerminal, match=r"does not answer: It broke\.") as refused:
        await silent.use("b")
    assert refused.value.code == "model.silent"
    assert house.registry.serving() == house.registry.find("a")
    await silent.aclose()


async def test_what_no_gate_let_pass_cannot_be_asked(house: House) -> None:
    house.add("bad", BAD)
    house.registry.add(house.folder / "x.gguf", name="raw")
    assert house.served.ids() == []
    for id, code in (("bad", "gate.refused"), ("bad@1", "gate.refused"), ("raw", "gate.missing")):
        with pytest.raises(ModelTerminal) as refused:
            await house.ask(id)
        assert refused.value.code == code
    with pytest.raises(ModelTerminal, match="none does"):
        await house.ask(OWN)
    for id in ("bad", "raw"):
        with pytest.raises(ModelTerminal):
            await house.served.use(id)
    with pytest.raises(ConfigError, match="There are: bad, raw"):
        await house.served.use("none")
    assert house.engines == []


async def test_a_change_by_another_process_is_followed(house: House) -> None:
    house.add("a"), house.add("b")
    await house.served.use("a")
    other = Registry(house.registry.folder, house.clock)
    other.use("b")
    assert await house.ask(OWN) in ("a@1", "b@1"), "no request waits or fails for it"
    await settled(house, ["b@1"])
    assert await house.ask(OWN) == "b@1"


async def test_a_change_by_another_process_that_cannot_be_followed_is_said(house: House) -> None:
    house.add("a"), house.add("b")
    await house.served.use("a")
    house.breaks.add("b@1")
    Registry(house.registry.folder, house.clock).use("b")
    async with asyncio.timeout(5):
        while not house.served.failure:
            assert await house.ask(OWN) == "a@1"
            await asyncio.sleep(0.001)
    (state,) = house.served.states()
    assert state.state == "failed"
    assert state.text == "gnomon-own is still a@1: b@1 is broken."
    await house.served.rollback()
    assert house.served.failure == ""
    assert await house.ask(OWN) == "a@1"


async def test_few_models_stay_in_memory(house: House) -> None:
    for name in "abcd":
        house.add(name)
    await house.served.use("a")
    for name in "bcdb":
        assert await house.ask(name) == f"{name}@1"
    await settled(house, ["a@1", "b@1"])
    assert house.served.loaded() == ["a@1", "b@1"]


async def test_what_serves_is_told(house: House) -> None:
    assert house.served.states() == []
    house.add("a")
    house.registry.use("a")
    (state,) = house.served.states()
    assert (state.state, state.text) == (
        "ready",
        "gnomon-own is a@1, and is loaded when it is asked.",
    )
    house.breaks.add("a@1")
    with pytest.raises(ModelTerminal):
        await house.ask(OWN)
    (state,) = house.served.states()
    assert (state.state, state.text) == ("failed", "a@1 does not serve: a@1 is broken.")
    house.breaks.clear()
    await house.ask(OWN)
    assert [s.text for s in house.served.states()] == ["gnomon-own is a@1."]
