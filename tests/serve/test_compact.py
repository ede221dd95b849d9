"""Compaction: one opaque item instead of earlier turns, through OpenAI's client and xAI's."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import grpc
import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai import AsyncOpenAI, BadRequestError
from xai_sdk.aio.client import Client as AsyncClient
from xai_sdk.chat import assistant, user

from gnomon.answer.base import Turn
from gnomon.errors import StoreError
from gnomon.serve.app import create_app
from gnomon.serve.errors import ApiError
from gnomon.serve.grpc.server import GrpcDoor
from gnomon.serve.sealing import Compacted, home_key, opened, sealed

TALK: list[Any] = [
    {"role": "system", "content": "Answer briefly."},
    {"role": "user", "content": "What is closed?"},
    {"role": "assistant", "content": "The north bridge."},
]


@pytest.fixture
def home(house: Any) -> Any:
    return replace(house, services=replace(house.services, seal=b"k" * 32))


async def test_an_item_stands_for_what_was_said(home: Any, served: Any) -> None:
    async with (
        served(home) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        packed = await client.responses.compact(model="gnomon", input=TALK)
        assert packed.object == "response.compaction" and packed.usage.input_tokens > 0
        (item,) = packed.output
        assert item.type == "compaction" and "bridge" not in item.encrypted_content
        again: Any = [item.model_dump(), {"role": "user", "content": "And since when?"}]
        answered = await client.responses.create(model="gnomon", input=again)
        (question,) = home.answerer.asked
        assert question.text == "And since when?" and question.instructions == "Answer briefly."
        assert question.history == (Turn(question="What is closed?", answer="The north bridge."),)
        kept = await client.responses.input_items.list(answered.id)
        assert "compaction" in [one.type for one in kept.data]
        # What was compacted can be compacted again, with what was said since.
        more: Any = [item.model_dump(), {"role": "user", "content": "Unanswered."}]
        twice = (await client.responses.compact(model="gnomon", input=more)).output[0]
        assert twice.type == "compaction"
        found = opened(home.services, "local", twice.encrypted_content, "input")
        assert found.turns[-1] == Turn(question="Unanswered.", answer="")
        assert found.turns[0].answer == "The north bridge."
        stored = await client.responses.compact(model="gnomon", previous_response_id=answered.id)
        assert stored.output[0].type == "compaction"


async def test_changed_and_foreign_items_are_refused(home: Any, served: Any) -> None:
    text = sealed(home.services, "local", Compacted(instructions="Be short."))
    end = text[:-6] + ("A" if text[-6] != "A" else "B") + text[-5:]
    other = replace(home.services, seal=b"j" * 32)
    for wrong in (end, "", "g1.", "g1.ä", None, 7, text[:40]):
        with pytest.raises(ApiError, match="no compaction"):
            opened(home.services, "local", wrong, "input.0")
    for services, owner in ((other, "local"), (home.services, "ann")):
        with pytest.raises(ApiError, match="no compaction"):
            opened(services, owner, text, "input.0")
    async with (
        served(home) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        wrong_input: Any = [
            {"type": "compaction", "encrypted_content": end},
            {"role": "user", "content": "So?"},
        ]
        with pytest.raises(BadRequestError, match=r"input\.0\.encrypted_content"):
            await client.responses.create(model="gnomon", input=wrong_input)
        with pytest.raises(BadRequestError, match="nothing to compact"):
            await client.responses.compact(model="gnomon", input=[])


async def test_xais_client_compacts_and_goes_on(home: Any) -> None:
    state = create_app(home.services).state
    door = GrpcDoor(state.services, state.access, state.jobs, base_url="http://127.0.0.1:8420")
    port = await door.start("127.0.0.1", 0)
    client = AsyncClient(api_host=f"127.0.0.1:{port}", api_key="k", use_insecure_channel=True)
    try:
        said = [user("What is closed?"), assistant("The north bridge.")]
        packed = await client.chat.compact_context("gnomon", said)
        assert packed.encrypted_content and packed.id
        chat = client.chat.create(model="gnomon", messages=said)
        chat.append(packed).append(user("And since when?"))
        assert (await chat.sample()).content
        (question,) = home.answerer.asked
        assert question.history == (Turn(question="What is closed?", answer="The north bridge."),)
        with pytest.raises(grpc.aio.AioRpcError, match="nothing to compact"):
            await client.chat.compact_context("gnomon", [])
    finally:
        await client.close()
        await door.stop(0)


def test_the_home_keeps_its_key(tmp_path: Path) -> None:
    path = tmp_path / "seal.key"
    key = home_key(path)
    assert home_key(path) == key and len(key) == 32
    assert path.stat().st_mode & 0o777 == 0o600
    os.truncate(path, 5)
    with pytest.raises(StoreError, match="5 bytes"):
        home_key(path)


@given(text=st.text(max_size=200), seal=st.just(b"k" * 32))
def test_no_text_opens_by_chance(text: str, seal: bytes) -> None:
    class Keyed:
        pass

    services: Any = Keyed()
    services.seal = seal
    for tried in (text, "g1." + text):
        with pytest.raises(ApiError):
            opened(services, "local", tried, "input")
