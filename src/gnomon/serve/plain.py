"""Registered models as plain chat models: no search, no checks, what the model says.

The same exchange as for checked answers, so that every door and client works alike. Nothing
claims more than it is: no sentence is supported, and `gnomon` names the model and its lineage.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

from gnomon.answer.base import Question
from gnomon.errors import ModelTerminal
from gnomon.models.base import (
    Chunk,
    GenerateRequest,
    Generator,
    Message,
    TokenLogprob,
    ToolCall,
)
from gnomon.models.registry import Entry
from gnomon.serve.calling import client_functions
from gnomon.serve.conversation import converse, question_text
from gnomon.serve.earlier import items_before
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.exchange import Exchange, ResponsesRequest, Spent
from gnomon.serve.forms import form_of
from gnomon.serve.narrowing import Narrowing
from gnomon.serve.own import asked_entry
from gnomon.serve.remembering import order_in, wishes_of
from gnomon.serve.sealing import unpacked
from gnomon.serve.services import Services
from gnomon.types import Answer, Sentence, Usage, Verdict, VerdictKind

DEFAULT_TOKENS = 512
_FOLLOWED = ("temperature", "top_p", "seed", "stop", "logprobs", "top_logprobs")
MAX_ALTERNATIVES = 20
_MAX_STOPS = 16
_CLIENTS = {"model.context": "context_length_exceeded", "model.request": "request.invalid"}
_UNCHECKED = Verdict(
    kind=VerdictKind.NOT_SUPPORTED,
    score=0.0,
    reasons=("A model wrote it by itself; nothing was searched.",),
)


class PlainExchange(Exchange):
    """One request to a registered model, and what it says."""

    _model: str
    _sampling: Mapping[str, Any]
    _alternatives: int | None
    """How many alternatives the client wants to see for each token; None: no probabilities."""
    _logprobs: list[dict[str, Any]]
    _wished = ""
    _used_notes: tuple[str, ...] = ()

    @classmethod
    async def prepare(
        cls,
        body: ResponsesRequest,
        services: Services,
        base_url: str,
        owner: str,
        *,
        asked_in: str,
        form_in: str,
        spent: Spent | None,
    ) -> PlainExchange:
        """Check everything that can be refused before the first event is sent."""
        asked_entry(services, body.model)
        if body.background and body.store is False:
            raise bad_request(
                "background needs store: the answer is fetched later.", param="background"
            )
        form = form_of((body.text or {}).get("format"), form_in)
        functions, searches = client_functions(body.tools, body.tool_choice)
        _nothing_searched(body, searches)
        items: Sequence[Mapping[str, Any]] = (
            [{"role": "user", "content": question_text(body.input, asked_in)}]
            if isinstance(body.input, str)
            else body.input
        )
        if body.previous_response_id:
            before = await asyncio.to_thread(
                items_before, services, body.previous_response_id, owner
            )
            items = [*before, *items]
        said = converse(unpacked(services, items, owner, asked_in), param=asked_in)
        rules = "\n".join(t for t in (body.instructions, said.instructions) if t)
        exchange = cls(
            body,
            services,
            base_url,
            Question(text=said.question, instructions=rules),
            Narrowing(),
            owner=owner,
            said=said,
            functions=functions,
            form=form,
            files={},
            spent=spent,
        )
        exchange._model = body.model
        exchange._sampling = _sampling(body.model_extra or {})
        exchange._alternatives = alternatives(body)
        exchange._logprobs = []
        if exchange._alternatives is not None:
            exchange._base["top_logprobs"] = exchange._alternatives
        exchange._ignored = [name for name in exchange._ignored if name not in _FOLLOWED]
        return exchange

    async def steps(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """(type, payload) of each event; a failure is raised."""
        served = self._services.served
        if served is None:
            raise ApiError(404, "No models are registered here.", code="model_not_found")
        empty = self._base | {"status": "in_progress", "output": []}
        yield self._event("response.created", response=empty)
        yield self._event("response.in_progress", response=empty)
        message: dict[str, Any] | None = None
        text, finish = "", "stop"
        waiting: list[dict[str, Any]] = []
        calls: tuple[ToolCall, ...] = ()
        await self._remember()
        async with (
            served.generator(self._model) as (entry, model),
            aclosing(_told(model, self._request())) as chunks,
        ):
            async for chunk in chunks:
                waiting += [logprob_json(token) for token in chunk.logprobs]
                if chunk.text:
                    if message is None:
                        message = self._message()
                        for opening in self._open(message):
                            yield opening
                    text += chunk.text
                    name, payload = self._delta(message, chunk.text, None)
                    yield name, payload | {"logprobs": waiting}
                    self._logprobs += waiting
                    waiting = []
                if chunk.finish_reason is not None:
                    finish = chunk.finish_reason
                    self._used = Usage(
                        input_tokens=chunk.input_tokens, output_tokens=chunk.output_tokens
                    )
                calls += chunk.tool_calls
        if message is None and not calls:
            message = self._message()
            for opening in self._open(message):
                yield opening
        answer = self._said_by(entry, text)
        if message is not None:
            for closing in self._closed(message, text, entry):
                yield closing
        for name, payload in self._calls(calls):
            yield name, payload
        response = self._completed(answer) | {"gnomon": self._own(entry)}
        ending = "response.completed"
        if finish == "length":
            ending = "response.incomplete"
            why = {"reason": "max_output_tokens"}
            response |= {"status": "incomplete", "incomplete_details": why}
        await self._keep(answer, response)
        yield self._event(ending, response=response)

    async def _remember(self) -> None:
        """Take what is remembered for the asker as wishes, and a message that asks for it as a
        note."""
        store = self._services.memory
        if store is None:
            return
        if order := order_in(self._question.text):
            said = await self._asker.remember(order[0])
            self._tool_notes = (said,)
        self._wished, self._used_notes = await asyncio.to_thread(wishes_of, store, self._owner)

    def _request(self) -> GenerateRequest:
        rules = "\n".join(t for t in (self._question.instructions, self._wished) if t)
        system = (Message(role="system", content=rules),) if rules else ()
        return GenerateRequest(
            messages=(*system, *self._said.messages),
            max_tokens=self._body.max_output_tokens or DEFAULT_TOKENS,
            tools=self._functions.tools,
            tool_choice=self._functions.choice,
            json_schema=self._form.schema,
            logprobs=self._alternatives,
            **self._sampling,
        )

    def _closed(
        self, message: dict[str, Any], text: str, entry: Entry
    ) -> list[tuple[str, dict[str, Any]]]:
        index = len(self._output)
        place = {"item_id": message["id"], "output_index": index, "content_index": 0}
        told = list(self._logprobs)
        part = {"type": "output_text", "text": text, "annotations": [], "logprobs": told}
        done = message | {
            "status": "completed",
            "content": [part],
            "gnomon": self._own(entry),
        }
        self._output.append(done)
        return [
            self._event("response.output_text.done", **place, text=text, logprobs=told),
            self._event("response.content_part.done", **place, part=part),
            self._event("response.output_item.done", output_index=index, item=done),
        ]

    def _said_by(self, entry: Entry, text: str) -> Answer:
        """What is kept: the text as one sentence that nothing supports."""
        sentences = (Sentence(text=text, citations=(), verdict=_UNCHECKED),) if text else ()
        return Answer(
            id=self._services.ids.new("ans"),
            question=self._question.text,
            created_at=self._clock.now(),
            sentences=sentences,
            writer=entry.id,
            notes=_UNCHECKED.reasons,
        )

    def _own(self, entry: Entry) -> dict[str, Any]:
        return {
            "model": entry.id,
            "lineage": dict(entry.lineage),
            "sentences": [],
            "citations": [],
            "notes": [*self._tool_notes, *_UNCHECKED.reasons],
            "memories": list(self._used_notes),
            "ignored": list(self._ignored),
            "writer": entry.id,
        }


def alternatives(body: ResponsesRequest) -> int | None:
    """How many alternatives of each token a request wants, in the words of either API; None if it
    wants no probabilities. Raises ApiError."""
    extra = body.model_extra or {}
    wanted, top = extra.get("logprobs"), extra.get("top_logprobs")
    if wanted is not None and not isinstance(wanted, bool):
        raise bad_request(
            f"logprobs = {shown(wanted)} is neither true nor false.", param="logprobs"
        )
    if top is not None and (
        isinstance(top, bool) or not isinstance(top, int) or not 0 <= top <= MAX_ALTERNATIVES
    ):
        raise bad_request(
            f"top_logprobs = {shown(top)} is no number from 0 to {MAX_ALTERNATIVES}.",
            param="top_logprobs",
        )
    included = "message.output_text.logprobs" in (body.include or ())
    if top and wanted is False:
        raise bad_request("top_logprobs needs logprobs = true.", param="top_logprobs")
    return (top or 0) if wanted or included or top else None


def logprob_json(token: TokenLogprob) -> dict[str, Any]:
    """A token as both APIs show it."""
    return _token(token.token, token.logprob) | {"top_logprobs": [_token(*t) for t in token.top]}


def _token(text: str, logprob: float) -> dict[str, Any]:
    return {"token": text, "bytes": list(text.encode("utf-8", "replace")), "logprob": logprob}


async def _told(model: Generator, request: GenerateRequest) -> AsyncGenerator[Chunk]:
    """What the model says; a request that it cannot take is the client's to mend, a 400."""
    try:
        async with aclosing(model.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                yield chunk
    except ModelTerminal as error:
        if error.code not in _CLIENTS:
            raise
        raise ApiError(400, error.message, code=_CLIENTS[error.code], hint=error.hint) from error


def _nothing_searched(body: ResponsesRequest, tools: Sequence[Mapping[str, Any]]) -> None:
    """Raise a 400 for wishes that only checked answers can follow."""
    search = (body.search_parameters or {}).get("mode", "auto")
    for given, param in (
        (bool(tools), "tools"),
        (body.search_parameters is not None and search != "off", "search_parameters"),
        (body.as_of is not None, "as_of"),
    ):
        if given:
            raise ApiError(
                400,
                f"{shown(body.model)} answers by itself and searches nothing, so {param} cannot "
                "be followed.",
                code="request.plain_model",
                param=param,
                hint="Leave it out, or ask the model gnomon.",
            )


def _sampling(extra: Mapping[str, Any]) -> dict[str, Any]:
    """What the client wants of the sampling, as fields of a request. Raises ApiError 400."""
    found: dict[str, Any] = {}
    for name, low, high in (("temperature", 0.0, 2.0), ("top_p", 0.0, 1.0)):
        value = extra.get(name)
        if value is None:
            continue
        if (
            isinstance(value, bool)
            or not isinstance(value, int | float)
            or not low <= value <= high
        ):
            raise bad_request(f"{name} = {shown(value)} is not {low:g} to {high:g}.", param=name)
        found[name] = float(value)
    seed = extra.get("seed")
    if seed is not None:
        if isinstance(seed, bool) or not isinstance(seed, int) or not 0 <= seed < 2**32:
            raise bad_request(
                f"seed = {shown(seed)} is no number from 0 to 2^32 - 1.", param="seed"
            )
        found["seed"] = seed
    stop = extra.get("stop")
    if stop is not None:
        stops = [stop] if isinstance(stop, str) else stop
        if (
            not isinstance(stops, list)
            or len(stops) > _MAX_STOPS
            or not all(isinstance(s, str) and s for s in stops)
        ):
            raise bad_request(
                f"stop is no text and no list of at most {_MAX_STOPS} texts.", param="stop"
            )
        found["stop"] = tuple(stops)
    return found
