from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from openai import AsyncOpenAI, BadRequestError, InternalServerError

from gnomon.models.base import Token


class Sentences:
    """Counts letters: enough to tell texts apart."""

    name, dim = "letters", 3

    def embed(self, texts: Any) -> Any:
        raw = np.array([[text.count(c) for c in "abc"] for text in texts], np.float32)
        return raw / np.linalg.norm(raw, axis=1, keepdims=True)


class Bytes:
    async def tokenize(self, text: str) -> list[Token]:
        return [Token(id=byte, piece=bytes([byte])) for byte in text.encode()]


@pytest.fixture
def equipped(house: Any) -> Any:
    hub = type(house.services.models)(sentences=Sentences(), tokens=Bytes())
    return replace(house, services=replace(house.services, models=hub))


async def test_the_openai_client_gets_embeddings_in_either_coding(
    equipped: Any, served: Any
) -> None:
    async with served(equipped) as url, AsyncOpenAI(base_url=f"{url}/v1", api_key="k") as client:
        coded = await client.embeddings.create(model="gnomon", input=["aab", "c"])  # base64
        plain = await client.embeddings.create(
            model="gnomon", input="aab", encoding_format="float", dimensions=3
        )
        with pytest.raises(BadRequestError, match="dimensions"):
            await client.embeddings.create(model="gnomon", input="a", dimensions=1536)
        with pytest.raises(BadRequestError, match="empty"):
            await client.embeddings.create(model="gnomon", input=["a", " "])
    assert [d.index for d in coded.data] == [0, 1]
    assert coded.data[0].embedding == pytest.approx(plain.data[0].embedding)
    assert np.linalg.norm(plain.data[0].embedding) == pytest.approx(1)
    assert plain.model == "letters" and plain.usage.total_tokens == 1


async def test_without_a_sentence_model_the_next_step_is_said(house: Any, served: Any) -> None:
    async with (
        served(house) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        with pytest.raises(InternalServerError, match="gnomon doctor"):
            await client.embeddings.create(model="gnomon", input="a")


async def test_tokens_add_up_to_the_text(equipped: Any, house: Any) -> None:
    async with equipped.client() as http:
        body = {"text": "Grüße", "model": "gnomon"}
        found = (await http.post("/v1/tokenize-text", json=body)).json()["token_ids"]
        empty = (await http.post("/v1/tokenize-text", json={"text": ""})).json()["token_ids"]
    assert bytes(b for token in found for b in token["token_bytes"]).decode() == "Grüße"
    assert empty == []
    async with house.client() as http:
        assert (await http.post("/v1/tokenize-text", json=body)).status_code == 503


async def test_language_models_are_told_in_xais_shape(house: Any) -> None:
    async with house.client() as http:
        found = (await http.get("/v1/language-models")).json()["models"]
        one = (await http.get("/v1/language-models/gnomon")).json()
        assert (await http.get("/v1/language-models/grok-9")).status_code == 404
    assert one in found and one["input_modalities"] == ["text"]
