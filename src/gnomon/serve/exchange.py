"""One exchange of the Responses API: from a request to its typed events and final object.

The order of the events is the one that OpenAI's, LangChain's and the AI SDK's clients need; what
they do not know (verdicts, full citations, age of the evidence) rides in an extra key, `gnomon`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from gnomon.answer.base import Finished, Planned, Question, Retrieved, Turn, Written
from gnomon.clock import Clock, zone_of
from gnomon.errors import GnomonError
from gnomon.models.base import Message, ToolCall
from gnomon.serve.calling import Functions, client_functions
from gnomon.serve.compose import Composer
from gnomon.serve.conversation import (
    Conversation,
    converse,
    documents_of,
    ignored,
    limits,
    mode_of,
    question_text,
)
from gnomon.serve.earlier import answers_earlier_calls, history, items_before
from gnomon.serve.errors import bad_request, told
from gnomon.serve.files import keys_within, members
from gnomon.serve.forms import Form, fill, form_of
from gnomon.serve.moments import moment
from gnomon.serve.narrowing import Narrowing, narrow
from gnomon.serve.own import asked_entry
from gnomon.serve.remembering import WRITER as REMEMBERED
from gnomon.serve.remembering import Remembering
from gnomon.serve.sealing import unpacked
from gnomon.serve.search_item import SearchItem
from gnomon.serve.services import Services
from gnomon.serve.sse import event
from gnomon.serve.tools.loop import Deciding
from gnomon.serve.tools.results import notes_on
from gnomon.serve.tools.start import ready
from gnomon.serve.tools.wishes import Door, Wishes, echoed, read_wishes
from gnomon.types import Answer, Usage


class ResponsesRequest(BaseModel):
    """A request as OpenAI's and xAI's clients send it, with `as_of` of our own."""

    model_config = ConfigDict(extra="allow")

    model: str = "gnomon"
    input: str | list[dict[str, Any]]
    instructions: str | None = None
    stream: bool | None = None
    store: bool | None = None
    background: bool | None = None
    previous_response_id: str | None = None
    max_output_tokens: int | None = Field(None, ge=1, le=100_000)
    tools: list[dict[str, Any]] | None = None
    tool_choice: str | dict[str, Any] | None = None
    include: list[str] | None = None
    text: dict[str, Any] | None = None
    metadata: dict[str, Any] | None = None
    search_parameters: dict[str, Any] | None = None
    as_of: str | None = Field(None, description="Answer as of this moment: ISO 8601 with a zone.")


ENDINGS = ("response.completed", "response.incomplete")
"""Events that carry the finished response."""

Spent = Callable[[int], None]
"""Is told how many tokens a model read and wrote for somebody."""


class Exchange:
    """One request and the answer that grows for it."""

    def __init__(
        self,
        body: ResponsesRequest,
        services: Services,
        base_url: str,
        question: Question,
        meant: Narrowing,
        *,
        owner: str,
        said: Conversation,
        functions: Functions,
        form: Form,
        files: Mapping[str, str],
        spent: Spent | None,
        wishes: Wishes | None = None,
    ) -> None:
        self._body = body
        self._wishes = wishes or Wishes()
        self._tool_notes: tuple[str, ...] = ()
        self._services = services
        self._question = question
        self._meant = meant
        self._owner = owner
        self._said = said
        self._functions = functions
        self._form = form
        self._files = files
        self._spent = spent
        self._used = Usage()
        self.failure: GnomonError | None = None
        """Why the answer could not be made, as the client may be told."""
        self._clock: Clock = services.clock
        self._ignored = ignored(body.model_extra)
        self._base_url = base_url
        self._cites = (body.search_parameters or {}).get("return_citations") is not False
        inline = self._cites and "no_inline_citations" not in (body.include or ())
        self._composer = Composer(base_url=base_url, inline=inline)
        self._sequence = 0
        self._output: list[dict[str, Any]] = []
        self._base = self._head()
        self._id: str = self._base["id"]
        self._asker = Remembering(services, owner, self._id)

    @classmethod
    async def begin(
        cls,
        body: ResponsesRequest,
        services: Services,
        base_url: str,
        owner: str,
        *,
        asked_in: str = "input",
        form_in: str = "text.format",
        spent: Spent | None = None,
        door: Door = "openai",
    ) -> Exchange:
        """Check everything that can be refused before the first event is sent.

        Other doors bring their requests in this form too; `asked_in` and `form_in` are what the
        client calls these fields. `spent` is told the tokens of the finished answer. `door` is the
        protocol that its tools are shown in.
        """
        if asked_entry(services, body.model) is not None:
            from gnomon.serve.plain import PlainExchange  # it builds on this module

            return await PlainExchange.prepare(
                body,
                services,
                base_url,
                owner,
                asked_in=asked_in,
                form_in=form_in,
                spent=spent,
            )
        mode = mode_of(body.model)
        if body.background and body.store is False:
            raise bad_request(
                "background needs store: the answer is fetched later.", param="background"
            )
        form = form_of((body.text or {}).get("format"), form_in)
        functions, tools = client_functions(body.tools, body.tool_choice)
        wishes, tools = read_wishes(
            tools,
            body.tool_choice,
            services.settings,
            door=door,
            functions=bool(functions.tools),
        )
        meant = narrow(tools, body.search_parameters, services.clock)
        earlier: tuple[Turn, ...] = ()
        previous = body.previous_response_id
        if previous:
            earlier = await asyncio.to_thread(history, services, previous, owner)
        if isinstance(body.input, str):
            text = question_text(body.input, asked_in)
            said = Conversation(question=text, messages=(Message(role="user", content=text),))
        else:
            items = body.input
            if previous and answers_earlier_calls(items):
                before = await asyncio.to_thread(items_before, services, previous, owner)
                items, earlier = [*before, *items], ()
            said = converse(unpacked(services, items, owner, asked_in), param=asked_in)
        wishes = await ready(
            services,
            wishes,
            [] if isinstance(body.input, str) else items,
            owner,
            previous_id=body.previous_response_id,
            param=asked_in,
        )
        files: dict[str, str] = {}
        within: tuple[str, ...] = ()
        if meant.stores:
            files = {file.id: file.name for file in await members(services, meant.stores)}
            if not (meant.web or meant.x):
                within = await keys_within(services, meant.stores)
        question = Question(
            text=said.question,
            within=within,
            as_of=moment(
                body.as_of, services.clock, param="as_of", zone=zone_of(meant.zone or "UTC")
            ),
            mode=mode,
            history=(*earlier, *said.history),
            instructions="\n".join(t for t in (body.instructions, said.instructions) if t),
            given=documents_of(said.returned, services.clock.now()),
            **meant.filters(),
            **limits(body.max_output_tokens),
        )
        return cls(
            body,
            services,
            base_url,
            question,
            meant,
            owner=owner,
            said=said,
            functions=functions,
            form=form,
            files=files,
            spent=spent,
            wishes=wishes,
        )

    @property
    def id(self) -> str:
        """The response's id."""
        return self._id

    async def begin_in_background(self) -> dict[str, Any]:
        """Store that it has begun; the response as it stands."""
        response = self._base | {"status": "in_progress", "output": []}
        await self._keep(self._unanswered(), response)
        return response

    async def cancelled(self) -> dict[str, Any]:
        """Store that it was cancelled; the response as it stands then."""
        response = self._base | {"status": "cancelled", "output": list(self._output)}
        await self._keep(self._unanswered(), response)
        return response

    async def run(self) -> dict[str, Any]:
        """The finished response."""
        response: dict[str, Any] = {}
        async with aclosing(self.steps()) as events:
            async for name, payload in events:
                if name in ENDINGS:
                    response = payload["response"]
        return response

    async def stream(self) -> AsyncGenerator[bytes]:
        """The response as server-sent events."""
        async with aclosing(self.events()) as events:
            async for name, payload in events:
                yield event(name, payload)

    async def events(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """(type, payload) of each event; a failure becomes `response.failed`."""
        try:
            async with aclosing(self.steps()) as events:
                async for one in events:
                    yield one
        except Exception as error:
            public = self.failure = told(error, self._services, "response")
            failed = self._failed(public.code, str(public))
            if self._body.background:
                await self._keep(self._unanswered(), failed[1]["response"])
            yield failed

    async def steps(self) -> AsyncGenerator[tuple[str, dict[str, Any]]]:
        """(type, payload) of each event; a failure is raised."""
        empty = self._base | {"status": "in_progress", "output": []}
        yield self._event("response.created", response=empty)
        yield self._event("response.in_progress", response=empty)
        if self._functions.wanted or self._wishes.any:
            deciding = self._deciding()
            async with aclosing(deciding.steps()) as made:
                async for name, payload in made:
                    yield self._event(name, **payload)
            self._used, self._tool_notes = deciding.usage, tuple(deciding.notes)
            if deciding.calls or deciding.asks:
                for name, payload in self._calls(deciding.calls):
                    yield name, payload
                answer = self._unanswered()
                response = self._completed(answer)
                await self._keep(answer, response)
                yield self._event("response.completed", response=response)
                return
            returned = (*self._question.given, *deciding.documents)
            self._question = msgspec.structs.replace(self._question, given=returned)
        search: SearchItem | None = None
        message: dict[str, Any] | None = None
        pipeline = self._asker.answer(self._question)
        async with aclosing(pipeline) as steps:  # type: ignore[type-var]
            async for step in steps:
                if isinstance(step, Planned) and search is None and self._searches:
                    search = SearchItem(
                        self._searches,
                        self._services.ids.new("ws"),
                        step,
                        self._base_url,
                        files=self._files,
                        show="file_search_call.results" in (self._body.include or ()),
                    )
                    for name, payload in search.begin(len(self._output)):
                        yield self._event(name, **payload)
                elif isinstance(step, Retrieved) and search is not None:
                    index = len(self._output)
                    item, ending = search.end(index, step)
                    for name, payload in ending:
                        yield self._event(name, **payload)
                    self._output.append(item)
                    search = None
                elif isinstance(step, Written | Finished):
                    if message is None:
                        message = self._message()
                        for opening in self._open(message):
                            yield opening
                    if isinstance(step, Written):
                        piece = self._composer.add(step.sentence, step.citations)
                        if self._form.schema is None:
                            yield self._delta(message, piece.delta, piece.sentence)
                        continue
                    if not self._composer.sentences:
                        if step.answer.writer == REMEMBERED:
                            piece = self._composer.say(" ".join(step.answer.notes))
                        else:
                            piece = self._composer.abstain(step.answer.closest)
                        if self._form.schema is None:
                            yield self._delta(message, piece.delta, None)
                    elif self._form.schema is not None:
                        yield await self._fill(message)
                    for closing in self._close(message, step.answer):
                        yield closing
                    response = self._completed(step.answer)
                    await self._keep(step.answer, response)
                    yield self._event("response.completed", response=response)

    def _deciding(self) -> Deciding:
        most = (self._body.model_extra or {}).get("max_tool_calls")
        return Deciding(
            self._services,
            self._wishes,
            self._functions,
            self._said.messages,
            owner=self._owner,
            output=self._output,
            include=self._body.include or (),
            most=most if isinstance(most, int) and most > 0 else None,
            quoting=self._question.mode == "extract",
        )

    def _event(self, name: str, /, **payload: Any) -> tuple[str, dict[str, Any]]:
        numbered = {"type": name, "sequence_number": self._sequence, **payload}
        self._sequence += 1
        return name, numbered

    def _message(self) -> dict[str, Any]:
        return {
            "id": self._services.ids.new("msg"),
            "type": "message",
            "role": "assistant",
            "status": "in_progress",
            "content": [],
        }

    def _open(self, message: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
        index = len(self._output)
        return [
            self._event("response.output_item.added", output_index=index, item=message),
            self._event(
                "response.content_part.added",
                item_id=message["id"],
                output_index=index,
                content_index=0,
                part=_text_part(""),
            ),
        ]

    def _delta(
        self, message: dict[str, Any], delta: str, sentence: dict[str, Any] | None
    ) -> tuple[str, dict[str, Any]]:
        own = {"gnomon": {"sentence": sentence}} if sentence is not None else {}
        return self._event(
            "response.output_text.delta",
            item_id=message["id"],
            output_index=len(self._output),
            content_index=0,
            delta=delta,
            logprobs=[],
            **own,
        )

    async def _fill(self, message: dict[str, Any]) -> tuple[str, dict[str, Any]]:
        """The checked sentences as the JSON that the client wants, in one piece."""
        statements = " ".join(sentence["text"] for sentence in self._composer.sentences)
        filled = await fill(
            self._form, self._services.models.generator(), self._question.text, statements
        )
        self._used = added(self._used, filled.usage)
        self._composer.replace(filled.text, unsupported=filled.unsupported)
        return self._delta(message, filled.text, None)

    def _calls(self, calls: Sequence[ToolCall]) -> Iterator[tuple[str, dict[str, Any]]]:
        """Each call as an item of its own, whole."""
        for call in calls:
            index = len(self._output)
            item = {
                "id": self._services.ids.new("fc"),
                "type": "function_call",
                "call_id": call.id,
                "name": call.name,
                "arguments": call.arguments,
                "status": "completed",
            }
            place = {"item_id": item["id"], "output_index": index}
            begun = item | {"arguments": "", "status": "in_progress"}
            kind = "response.function_call_arguments"
            yield self._event("response.output_item.added", output_index=index, item=begun)
            yield self._event(f"{kind}.delta", **place, delta=call.arguments)
            yield self._event(f"{kind}.done", **place, name=call.name, arguments=call.arguments)
            yield self._event("response.output_item.done", output_index=index, item=item)
            self._output.append(item)

    def _unanswered(self) -> Answer:
        """What is kept where functions have to be called first."""
        return Answer(
            id=self._services.ids.new("ans"),
            question=self._question.text,
            created_at=self._clock.now(),
            as_of=self._question.as_of,
            abstained=True,
            writer="functions",
        )

    def _close(self, message: dict[str, Any], answer: Answer) -> list[tuple[str, dict[str, Any]]]:
        """The message's last events. Annotations ride in `annotation.added` and, later, in the
        completed response only: clients that gather all of them would list a source twice."""
        index = len(self._output)
        place = {"item_id": message["id"], "output_index": index, "content_index": 0}
        text = self._composer.text
        refusal = self._form.schema is not None and not self._composer.sentences
        whole = _refusal_part(text) if refusal else _text_part(text)
        own = {"gnomon": self._extension(answer)}
        done = message | {"status": "completed"}
        events = [
            self._event(
                "response.output_text.annotation.added",
                **place,
                annotation_index=i,
                annotation=annotation,
            )
            for i, annotation in enumerate(self._composer.annotations)
            if not refusal
        ]
        if not refusal:
            done_text = self._event("response.output_text.done", **place, text=text, logprobs=[])
            events.append(done_text)
        events += [
            self._event("response.content_part.done", **place, part=whole),
            self._event(
                "response.output_item.done",
                output_index=index,
                item=done | {"content": [whole]} | own,
            ),
        ]
        part = whole if refusal else _text_part(text, self._composer.annotations)
        self._output.append(done | {"content": [part]} | own)
        return events

    @property
    def _searches(self) -> str:
        """Which search the client declared and so expects to see; empty if none."""
        if self._meant.web:
            return "web"
        return "x" if self._meant.x else "files" if self._meant.stores else ""

    def _head(self) -> dict[str, Any]:
        body = self._body
        given = {
            "previous_response_id": body.previous_response_id,
            "max_output_tokens": body.max_output_tokens,
        }
        return {
            "id": self._services.ids.new("resp"),
            "object": "response",
            "created_at": int(self._clock.now().timestamp()),
            "model": body.model,
            "background": bool(body.background),
            "error": None,
            "frequency_penalty": 0.0,
            "incomplete_details": None,
            "instructions": body.instructions,
            "metadata": body.metadata or {},
            "parallel_tool_calls": True,
            "presence_penalty": 0.0,
            "service_tier": "default",
            "store": body.store is not False,
            "temperature": None,
            "text": {"format": dict(self._form.wanted)},
            "tool_choice": body.tool_choice or "auto",
            "tools": echoed(body.tools),
            "top_logprobs": 0,
            "top_p": None,
            "truncation": "disabled",
        } | {name: value for name, value in given.items() if value is not None}

    def _completed(self, answer: Answer) -> dict[str, Any]:
        usage = added(answer.usage, self._used)
        if self._spent is not None:
            self._spent(usage.input_tokens + usage.output_tokens)
        searched = 1 if self._searches else 0
        run = {
            f"{kind}_calls": sum(item["type"] == f"{kind}_call" for item in self._output)
            for kind in ("code_interpreter", "mcp")
        }
        return self._base | {
            "status": "completed",
            "completed_at": int(self._clock.now().timestamp()),
            "output": list(self._output),
            "citations": self._composer.urls if self._cites else [],
            "usage": {
                "input_tokens": usage.input_tokens,
                "input_tokens_details": {"cache_write_tokens": 0, "cached_tokens": 0},
                "output_tokens": usage.output_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": usage.input_tokens + usage.output_tokens,
                "num_sources_used": len(self._composer.urls),
                "num_server_side_tools_used": searched + sum(run.values()),
                **({"server_side_tool_usage_details": run} if self._wishes.any else {}),
            },
            "gnomon": self._extension(answer),
        }

    def _extension(self, answer: Answer) -> dict[str, Any]:
        plain = self._composer.extension(answer, self._ignored)
        notes = [*self._tool_notes, *notes_on(answer), *plain["notes"]]
        return plain | {"notes": notes, "memories": list(self._asker.used)}

    def _failed(self, code: str, message: str) -> tuple[str, dict[str, Any]]:
        response = self._base | {
            "status": "failed",
            "output": list(self._output),
            "error": {"code": code, "message": message},
        }
        return self._event("response.failed", response=response)

    async def _keep(self, answer: Answer, response: dict[str, Any]) -> None:
        if self._body.store is False:
            return
        await asyncio.to_thread(
            self._services.threads.save,
            self._id,
            answer=answer,
            response={"response": response, "input": self._input_items()},
            previous_id=self._body.previous_response_id,
            owner=self._owner,
        )

    def _input_items(self) -> list[dict[str, Any]]:
        given = self._body.input
        if isinstance(given, str):
            given = [{"role": "user", "content": [{"type": "input_text", "text": given}]}]
        return [
            {"type": "message", "status": "completed"}
            | _in_parts(item)
            | {"id": f"{self._id.replace('resp', 'item', 1)}_{i}"}
            for i, item in enumerate(given)
        ]


def _in_parts(item: Mapping[str, Any]) -> dict[str, Any]:
    """An input item as OpenAI stores it: the text of a message in parts."""
    content = item.get("content")
    if not isinstance(content, str) or item.get("type", "message") != "message":
        return dict(item)
    if item.get("role") == "assistant":
        return dict(item) | {"content": [_text_part(content)]}
    return dict(item) | {"content": [{"type": "input_text", "text": content}]}


def added(one: Usage, two: Usage) -> Usage:
    """The tokens of both."""
    return Usage(
        input_tokens=one.input_tokens + two.input_tokens,
        output_tokens=one.output_tokens + two.output_tokens,
    )


def _refusal_part(text: str) -> dict[str, Any]:
    return {"type": "refusal", "refusal": text}


def _text_part(text: str, annotations: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {
        "type": "output_text",
        "text": text,
        "annotations": list(annotations or ()),
        "logprobs": [],
    }
