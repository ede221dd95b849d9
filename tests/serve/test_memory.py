"""Memory: off until asked for, given as wishes, never as evidence, and gone when forgotten."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI

from gnomon.accounts.base import Role
from gnomon.accounts.memory import MAX_NOTES, MemoryStore
from gnomon.accounts.store import Accounts
from gnomon.answer.base import Finished
from gnomon.answer.deep.engine import Engine
from gnomon.answer.deep.runs import Runs, RunStore
from gnomon.clock import RandomIds
from gnomon.errors import ModelTerminal
from gnomon.models.base import GenerateRequest
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.serve.remembering import order_in, wishes_of


@pytest.fixture
def home(house: Any, tmp_path: Path) -> Iterator[Any]:
    memory = MemoryStore(tmp_path / "memory.db", house.clock, RandomIds())
    yield replace(house, services=replace(house.services, memory=memory))
    memory.close()


def ask(question: str, **more: Any) -> dict[str, Any]:
    return {"question": question, "stream": False, **more}


def bodies(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in folder.glob("memory.db*")]


async def test_it_is_off_until_it_is_switched_on(home: Any) -> None:
    async with home.client() as client:
        assert (await client.get("/v1/memory")).json() == {"on": False, "notes": []}
        refused = await client.post("/v1/memory", json={"text": "Answer in French."})
        assert (refused.status_code, refused.json()["code"]) == (409, "memory.off")
        said = (await client.post("/v1/ask", json=ask("Remember that I live in Hull."))).json()
        assert said["answer"]["notes"][0].startswith("Not remembered: Memory is off")
        assert not home.answerer.asked
        assert (await client.get("/v1/memory")).json()["notes"] == []


async def test_notes_are_wishes_and_named_in_the_answer(home: Any) -> None:
    async with home.client() as client:
        await client.put("/v1/memory/settings", json={"on": True})
        french = (await client.post("/v1/memory", json={"text": "Answer in\nFrench."})).json()
        assert french["text"] == "Answer in French."
        place = (
            await client.post("/v1/memory", json={"text": "I live in the harbour district."})
        ).json()
        answered = await client.post(
            "/v1/ask", json=ask("Is there a power cut near me?", instructions="Be short.")
        )
        (question,) = home.answerer.asked
        assert question.text == "Is there a power cut in the harbour district?"
        assert question.instructions.startswith("Be short.\n")
        assert "- Answer in French." in question.instructions
        assert not question.given
        answer = answered.json()["answer"]
        # No model wrote it: only the place had a part in it.
        assert answer["question"] == "Is there a power cut near me?"
        assert answer["notes"][0] == f"Asked with what is remembered for you: {place['id']}."
        await client.put("/v1/memory/settings", json={"on": False})
        await client.post("/v1/ask", json=ask("Is there a power cut near me?"))
        assert home.answerer.asked[-1].text.endswith("near me?")
        assert home.answerer.asked[-1].instructions == ""


async def test_what_a_model_wrote_was_asked_with_every_note(home: Any) -> None:
    home.services.memory.switch("local", True)
    note = home.services.memory.add("local", "Answer in French.")

    class Written:
        def __init__(self, behind: Any) -> None:
            self._behind = behind

        async def answer(self, question: Any) -> Any:
            from msgspec.structs import replace as changed

            async for event in self._behind.answer(question):
                if isinstance(event, Finished):
                    event = Finished(answer=changed(event.answer, writer="gnomon-own"))
                yield event

    services = replace(home.services, answerer=Written(home.answerer))
    async with replace(home, services=services).client() as client:
        made = await client.post("/v1/responses", json={"input": "Is the bridge open?"})
        assert made.json()["gnomon"]["memories"] == [note.id]
        assert note.text not in made.text


async def test_a_deep_run_asks_at_home_and_says_so(home: Any, tmp_path: Path) -> None:
    home.services.memory.switch("local", True)
    note = home.services.memory.add("local", "I live in the harbour district.")
    engine = Engine(home.answerer, home.record, home.services.models, home.clock)
    store = RunStore(tmp_path / "runs.db")
    runs = Runs(store, engine, home.clock, RandomIds())
    body = {"question": "Is there a power cut near me?", "steps": 1}
    async with replace(home, services=replace(home.services, runs=runs)).client() as client:
        begun = (await client.post("/v1/runs", json=body)).json()
        assert begun["question"] == "Is there a power cut in the harbour district?"
        assert begun["memories"] == [note.id]
        await client.put("/v1/memory/settings", json={"on": False})
        begun = (await client.post("/v1/runs", json=body)).json()
        assert begun["question"] == body["question"] and begun["memories"] == []
    await runs.aclose()
    store.close()


async def test_a_model_that_writes_a_report_is_told_the_wishes_of_that_moment(
    home: Any, tmp_path: Path
) -> None:
    memory = home.services.memory
    memory.switch("local", True)
    note = memory.add("local", "Answer in French.")
    other = memory.add("local", "Use short words.")
    asked: list[GenerateRequest] = []

    def write(request: GenerateRequest) -> Reply:
        asked.append(request)
        if request.tools:
            memory.delete("local", other.id)  # What is forgotten on the way is not used.
            raise ModelTerminal("No turns from me.")
        return Reply(pieces=("The north bridge is closed [1].",))

    model = ScriptedGenerator([write], clock=home.clock)
    models = replace(home.services.models, writer=model)
    wishes = partial(wishes_of, memory)
    engine = Engine(home.answerer, home.record, models, home.clock, wishes=wishes)
    store = RunStore(tmp_path / "runs.db")
    runs = Runs(store, engine, home.clock, RandomIds())
    async with replace(home, services=replace(home.services, runs=runs)).client() as client:
        begun = (await client.post("/v1/runs", json={"question": "Is the bridge open?"})).json()
        async with asyncio.timeout(10):
            async for _ in runs.watch(begun["id"]):
                pass
        done = (await client.get(f"/v1/runs/{begun['id']}")).json()
    assert "Answer in French." in asked[-1].messages[0].content
    assert "Use short words." not in asked[-1].messages[0].content
    assert done["report"]["writer"] == model.name and done["memories"] == [note.id]
    assert "French" not in str(done)
    await runs.aclose()
    store.close()


async def test_a_watch_is_kept_at_home(home: Any) -> None:
    home.services.memory.switch("local", True)
    note = home.services.memory.add("local", "I live in the harbour district.")
    async with home.client() as client:
        body = {"question": "Is there a power cut near me?"}
        made = (await client.post("/v1/watches", json=body)).json()
        assert made["question"] == "Is there a power cut in the harbour district?"
        assert made["memories"] == [note.id]
        home.services.memory.switch("local", False)
        made = (await client.post("/v1/watches", json=body)).json()
        assert (made["question"], made["memories"]) == (body["question"], [])


async def test_it_is_remembered_when_asked_and_said_so(home: Any, served: Any) -> None:
    home.services.memory.switch("local", True)
    async with (
        served(home) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        made = await client.responses.create(
            model="gnomon", input="Please remember that I live in Hull."
        )
        (note,) = home.services.memory.of("local").notes
        assert made.output_text == f"Remembered as {note.id}." and note.text == "I live in Hull."
        assert note.said_in == made.id
        both = await client.responses.create(
            model="gnomon", input="Remember: I cycle. Is the north bridge open?"
        )
        assert "The north bridge is closed." in both.output_text
        assert home.answerer.asked[-1].text == "Is the north bridge open?"
        assert [n.text for n in home.services.memory.of("local").notes][-1] == "I cycle."


async def test_what_is_forgotten_is_gone_from_the_files(home: Any, tmp_path: Path) -> None:
    home.services.memory.switch("local", True)
    secret = "the house with the turquoise shutters"
    async with home.client() as client:
        await client.post("/v1/responses", json={"input": f"Remember that I live in {secret}."})
        (note,) = (await client.get("/v1/memory")).json()["notes"]
        await client.patch(f"/v1/memory/{note['id']}", json={"text": f"I live near {secret}."})
        assert (await client.delete(f"/v1/memory/{note['id']}")).status_code == 204
        assert (await client.delete(f"/v1/memory/{note['id']}")).status_code == 404
        assert (await client.get(f"/v1/responses/{note['said_in']}")).status_code == 404
    assert b"turquoise" not in b"".join(bodies(tmp_path))
    assert home.threads.list() == []


async def test_memory_is_its_owners(home: Any, tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.db", home.clock)
    keys = {}
    for name, role in (("ann", Role.ADMIN), ("bob", Role.READER)):
        accounts.add_user(name, role)
        keys[name] = {"authorization": f"Bearer {accounts.add_key(name)[1]}"}
    home = replace(home, services=replace(home.services, accounts=accounts))
    async with home.client() as client:
        for who in keys.values():
            await client.put("/v1/memory/settings", json={"on": True}, headers=who)
        made = await client.post("/v1/memory", json={"text": "Be short."}, headers=keys["bob"])
        path = f"/v1/memory/{made.json()['id']}"
        changed = await client.patch(path, json={"text": "Be long."}, headers=keys["ann"])
        assert changed.status_code == 404
        assert (await client.delete(path, headers=keys["ann"])).status_code == 404
        assert (await client.get("/v1/memory", headers=keys["ann"])).json()["notes"] == []
        await client.post("/v1/ask", json=ask("Is it open?"), headers=keys["ann"])
        assert home.answerer.asked[-1].instructions == ""
        bob = accounts.user("bob").id
        assert len(home.services.memory.of(bob).notes) == 1
        await client.delete("/v1/users/bob", headers=keys["ann"])
        assert home.services.memory.of(bob).notes == ()
    accounts.close()


async def test_there_is_an_end_to_remembering(home: Any) -> None:
    home.services.memory.switch("local", True)
    for i in range(MAX_NOTES):
        home.services.memory.add("local", f"Note {i}.")
    async with home.client() as client:
        refused = await client.post("/v1/memory", json={"text": "One more."})
        assert (refused.status_code, refused.json()["code"]) == (409, "memory.full")
        assert (await client.post("/v1/memory", json={"text": " \n "})).status_code == 400
        assert (await client.delete("/v1/memory")).status_code == 204
        assert (await client.get("/v1/memory")).json() == {"on": False, "notes": []}


@pytest.mark.parametrize(
    "question",
    [
        "Remember when the bridge closed?",
        "Who will remember that the bridge closed?",
        "Do you remember that the bridge closed?",
        "Remember that the bridge closed?",
    ],
)
def test_questions_about_remembering_are_questions(question: str) -> None:
    assert order_in(question) is None


@given(st.text(max_size=300))
def test_whatever_is_asked_is_read(text: str) -> None:
    found = order_in("remember that " + text)
    assert found is None or (found[0] and "?" not in found[0])
