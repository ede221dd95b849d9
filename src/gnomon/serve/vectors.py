"""`/v1/embeddings` and `/v1/tokenize-text`: what the models make of a text."""

from __future__ import annotations

import asyncio
import base64
from typing import Any, Literal

import numpy as np
from fastapi import APIRouter
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from gnomon.models.base import Token
from gnomon.serve.errors import ApiError, bad_request
from gnomon.serve.people import access_of, identity_of
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonResponse, JsonRoute, services_of

router = APIRouter(tags=["OpenAI: Models"], route_class=JsonRoute)

MAX_TEXTS = 256
MAX_TEXT_CHARS = 100_000
_CHARS_PER_TOKEN = 4


class EmbeddingsRequest(BaseModel):
    """A request as OpenAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    input: str | list[str]
    model: str = "gnomon"
    encoding_format: Literal["float", "base64"] = "float"
    dimensions: int | None = Field(None, ge=1)
    user: str | None = None


class TokenizeRequest(BaseModel):
    """A request as xAI's clients send it."""

    model_config = ConfigDict(extra="allow")

    text: str = Field(max_length=MAX_TEXT_CHARS)
    model: str = "gnomon"
    user: str | None = None


@router.post("/v1/embeddings", summary="Embed texts")
async def embed(body: EmbeddingsRequest, request: Request) -> Response:
    """Unit vectors of texts, by the sentence model that also ranks passages."""
    made = await embedded(body, services_of(request))
    access_of(request).spent(identity_of(request), made["usage"]["total_tokens"])
    return JsonResponse(made)


async def embedded(body: EmbeddingsRequest, services: Services) -> dict[str, Any]:
    """The vectors that are asked for, as OpenAI shows them. Raises ApiError."""
    texts = [body.input] if isinstance(body.input, str) else body.input
    if not texts or any(not text.strip() for text in texts):
        raise bad_request("input has an empty text, or none.", param="input")
    if len(texts) > MAX_TEXTS or any(len(text) > MAX_TEXT_CHARS for text in texts):
        raise bad_request(
            f"input may have {MAX_TEXTS} texts of {MAX_TEXT_CHARS:,} characters.", param="input"
        )
    embedder = services.models.embedder()
    if embedder is None:
        raise ApiError(
            503,
            "The sentence model is not ready.",
            code="model.missing",
            hint="`gnomon doctor` says why; `gnomon models fetch` brings it.",
        )
    if body.dimensions not in (None, embedder.dim):
        raise bad_request(
            f"dimensions = {body.dimensions} is not possible: {embedder.name} has {embedder.dim}.",
            param="dimensions",
        )
    vectors = await asyncio.to_thread(embedder.embed, texts)
    tokens = sum(max(1, len(text) // _CHARS_PER_TOKEN) for text in texts)
    coded: list[Any] = (
        [base64.b64encode(v.astype("<f4").tobytes()).decode() for v in vectors]
        if body.encoding_format == "base64"
        else np.asarray(vectors, np.float32).tolist()
    )
    return {
        "object": "list",
        "model": embedder.name,
        "data": [
            {"object": "embedding", "index": i, "embedding": vector}
            for i, vector in enumerate(coded)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
    }


@router.post("/v1/tokenize-text", summary="Cut a text into tokens")
async def tokenize_text(body: TokenizeRequest, request: Request) -> Response:
    """The tokens of a text, as the embedded language model reads it."""
    found = await tokens_of(services_of(request), body.text)
    return JsonResponse(
        {
            "token_ids": [
                {
                    "token_id": token.id,
                    "string_token": token.piece.decode("utf-8", "replace"),
                    "token_bytes": list(token.piece),
                }
                for token in found
            ]
        }
    )


async def tokens_of(services: Services, text: str) -> list[Token]:
    """The tokens of a text. Raises ApiError where no model tells them."""
    tokenizer = services.models.tokenizer()
    if tokenizer is None:
        raise ApiError(
            503,
            "No model here tells its tokens: only the embedded one does.",
            code="model.missing",
            hint="`gnomon models fetch` brings it; models.url takes its place while it is set.",
        )
    return list(await tokenizer.tokenize(text)) if text else []
