"""The gRPC door: the services of `xai_api`, behind the same access and limits as the HTTP door.

Each call is translated to the exchange that `/v1/responses` uses, and its events back. A client
that goes away cancels its call, and with it the work.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import aclosing
from datetime import datetime
from typing import Any

import grpc
import grpc.aio
from google.protobuf.message import DecodeError

from gnomon.accounts.base import Identity
from gnomon.errors import ConfigError
from gnomon.log import get_logger
from gnomon.serve.access import Access
from gnomon.serve.catalogue import CREATED
from gnomon.serve.compact import pack
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.exchange import Exchange
from gnomon.serve.grpc.asking import input_items, responses_request, shows_tools
from gnomon.serve.grpc.call import AS_OF, Call
from gnomon.serve.grpc.schema import ENUMS, FILE, MESSAGES, message_class
from gnomon.serve.grpc.telling import Telling
from gnomon.serve.guard import is_loopback
from gnomon.serve.jobs import Jobs
from gnomon.serve.own import asked_entry, model_ids
from gnomon.serve.people import key_facts
from gnomon.serve.responses import settled, unknown_response
from gnomon.serve.services import Services
from gnomon.serve.vectors import MAX_TEXT_CHARS, tokens_of

MAX_CALLS = 1_000
_MIB = 1 << 20
_NEEDS = {
    # What the same deed is over HTTP; whoever may do the one may do the other.
    "GetCompletion": ("POST", "/v1/responses"),
    "GetCompletionChunk": ("POST", "/v1/responses"),
    "StartDeferredCompletion": ("POST", "/v1/chat/completions"),
    "GetDeferredCompletion": ("GET", "/v1/chat/deferred-completion/"),
    "GetStoredCompletion": ("GET", "/v1/responses/"),
    "DeleteStoredCompletion": ("DELETE", "/v1/responses/"),
    "CompactContext": ("POST", "/v1/responses"),
    "ListLanguageModels": ("GET", "/v1/language-models"),
    "GetLanguageModel": ("GET", "/v1/language-models"),
    "ListEmbeddingModels": ("GET", "/v1/models"),
    "GetEmbeddingModel": ("GET", "/v1/models"),
    "ListImageGenerationModels": ("GET", "/v1/models"),
    "TokenizeText": ("POST", "/v1/tokenize-text"),
    "get_api_key_info": ("GET", "/v1/api-key"),
}
_log = get_logger()


class GrpcDoor:
    """One server for the services of `xai_api`. All methods belong to the event loop."""

    def __init__(self, services: Services, access: Access, jobs: Jobs, *, base_url: str) -> None:
        """`base_url` is where saved copies are opened: the address of the HTTP door."""
        self._services = services
        self._access = access
        self._jobs = jobs
        self._base_url = (services.settings.server.public_url or base_url).rstrip("/")
        self._server = grpc.aio.server(
            maximum_concurrent_rpcs=MAX_CALLS,
            options=[
                ("grpc.max_receive_message_length", services.settings.server.max_request_bytes),
                ("grpc.max_send_message_length", 20 * _MIB),
                # The official client pings every 30 s; a server that forbids that makes it send
                # its request a second time.
                ("grpc.http2.min_ping_interval_without_data_ms", 10_000),
                ("grpc.keepalive_permit_without_calls", 1),
                ("grpc.so_reuseport", 0),  # Two servers must not share a port unawares.
            ],
        )
        self._server.add_generic_rpc_handlers(tuple(self._handlers()))

    async def start(self, host: str, port: int) -> int:
        """Listen; the port, which is a free one for 0. Raises ConfigError if it is taken."""
        address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        try:
            if is_loopback(host):
                # A client that was given `localhost` speaks to local credentials only; one without
                # any credentials is served as well.
                bound = self._server.add_secure_port(address, grpc.local_server_credentials())
            else:
                bound = self._server.add_insecure_port(address)
        except RuntimeError as error:
            raise ConfigError(
                f"Cannot listen on {address}: {error}.",
                code="config.port",
                hint="Stop what listens there, or choose another port with --grpc-port.",
                host=host,
                port=port,
            ) from None
        await self._server.start()
        _log.info("grpc.listening", host=host, port=bound)
        return int(bound)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls, and give those that run `grace_s` to end."""
        await self._server.stop(grace_s)

    # -- calls -----------------------------------------------------------------
    def _handlers(self) -> Iterator[Any]:
        work: Mapping[str, Callable[[Any, Call], Awaitable[Any]]] = {
            "GetCompletion": self._get_completion,
            "StartDeferredCompletion": self._start_deferred,
            "GetDeferredCompletion": self._get_deferred,
            "GetStoredCompletion": self._get_stored,
            "DeleteStoredCompletion": self._delete_stored,
            "CompactContext": self._compact,
            "ListLanguageModels": self._list_models,
            "GetLanguageModel": self._get_model,
            "ListEmbeddingModels": self._list_embedders,
            "GetEmbeddingModel": self._get_embedder,
            "ListImageGenerationModels": self._list_painters,
            "TokenizeText": self._tokenize,
            "get_api_key_info": self._api_key,
        }
        for service in FILE.services_by_name.values():
            methods = {}
            for method in service.methods:
                given = message_class(method.input_type)
                if method.server_streaming:
                    methods[method.name] = grpc.unary_stream_rpc_method_handler(
                        self._streaming(method.name, given, self._get_chunks),
                        response_serializer=_bytes_of,
                    )
                else:
                    methods[method.name] = grpc.unary_unary_rpc_method_handler(
                        self._unary(method.name, given, work[method.name]),
                        response_serializer=_bytes_of,
                    )
            yield grpc.method_handlers_generic_handler(service.full_name, methods)

    def _unary(
        self, rpc: str, given: Any, work: Callable[[Any, Call], Awaitable[Any]]
    ) -> Callable[[bytes, Any], Awaitable[Any]]:
        async def handle(body: bytes, context: Any) -> Any:
            call = Call(rpc, context, self._services)
            with call.observed():
                try:
                    call.identity = self._admit(call)
                    return await work(_parsed(given, body), call)
                except Exception as error:
                    await call.refuse(error)

        return handle

    def _streaming(
        self, rpc: str, given: Any, work: Callable[[Any, Call], AsyncIterator[Any]]
    ) -> Callable[[bytes, Any], AsyncIterator[Any]]:
        async def handle(body: bytes, context: Any) -> AsyncIterator[Any]:
            call = Call(rpc, context, self._services)
            with call.observed():
                try:
                    call.identity = self._admit(call)
                    async with aclosing(work(_parsed(given, body), call)) as messages:  # type: ignore[type-var]
                        async for message in messages:
                            yield message
                except Exception as error:
                    await call.refuse(error)

        return handle

    def _admit(self, call: Call) -> Identity:
        method, path = _NEEDS[call.rpc]
        identity = self._access.identify(method, path, call.headers, call.address)
        call.tell(self._access.admit(identity))
        return identity

    async def _exchange(self, asked: Any, call: Call) -> Exchange:
        return await Exchange.begin(
            responses_request(asked, call.headers.get(AS_OF)),
            self._services,
            self._base_url,
            call.identity.user_id,
            asked_in="messages",
            form_in="response_format",
            spent=lambda tokens: self._access.spent(call.identity, tokens),
            door="xai",
        )

    def _telling(self, asked: Any = None) -> Telling:
        return Telling(
            self._services.version,
            shows_tools=asked is not None and shows_tools(asked),
            include=asked.include if asked is not None else (),
        )

    # -- Chat ------------------------------------------------------------------
    async def _get_completion(self, asked: Any, call: Call) -> Any:
        exchange = await self._exchange(asked, call)
        return self._telling(asked).whole(await exchange.run())

    async def _get_chunks(self, asked: Any, call: Call) -> AsyncIterator[Any]:
        exchange = await self._exchange(asked, call)
        telling = self._telling(asked)
        begun: Mapping[str, Any] = {}
        async with aclosing(exchange.steps()) as steps:
            async for name, payload in steps:
                if name == "response.created":
                    begun = payload["response"]
                    continue
                chunk = telling.chunk(name, payload, begun)
                if chunk is not None:
                    yield chunk

    async def _start_deferred(self, asked: Any, call: Call) -> Any:
        exchange = await self._exchange(asked, call)
        job = await self._jobs.start(exchange, call.identity.user_id)
        return MESSAGES["StartDeferredResponse"](request_id=job.response["id"])

    async def _get_deferred(self, asked: Any, call: Call) -> Any:
        job = self._jobs.get(asked.request_id)
        kind = MESSAGES["GetDeferredCompletionResponse"]
        if job is None or job.owner != call.identity.user_id:
            return kind(status=ENUMS["EXPIRED"])
        if job.response["status"] == "in_progress":
            return kind(status=ENUMS["PENDING"])
        if job.failure is not None:
            raise job.failure
        # The client reads one output only here, so the answer stands alone. Of a failure it can
        # read nothing but the status of the call.
        return kind(status=ENUMS["DONE"], response=self._telling().whole(_completed(job.response)))

    async def _get_stored(self, asked: Any, call: Call) -> Any:
        found = await asyncio.to_thread(
            self._services.threads.get, asked.response_id, call.identity.user_id
        )
        if found is None or "response" not in found.response:
            raise unknown_response(asked.response_id)
        response = settled(found.response["response"])
        return self._telling().whole(_completed(response))

    async def _delete_stored(self, asked: Any, call: Call) -> Any:
        owner = call.identity.user_id
        job = self._jobs.get(asked.response_id)
        if job is not None and job.owner == owner:
            await job.cancel()
        deleted = await asyncio.to_thread(self._services.threads.delete, asked.response_id, owner)
        if not deleted:
            raise unknown_response(asked.response_id)
        return MESSAGES["DeleteStoredCompletionResponse"](response_id=asked.response_id)

    async def _compact(self, asked: Any, call: Call) -> Any:
        asked_entry(self._services, asked.model)
        items = list(input_items(asked.input))
        packed = pack(self._services, items, call.identity.user_id, param="input")
        usage = MESSAGES["SamplingUsage"](
            prompt_tokens=packed.input_tokens,
            prompt_text_tokens=packed.input_tokens,
            completion_tokens=packed.output_tokens,
            total_tokens=packed.input_tokens + packed.output_tokens,
        )
        return MESSAGES["CompactContextResponse"](
            id=self._services.ids.new("cmp"),
            encrypted_content=packed.text,
            dropped_message_count=packed.dropped,
            usage=usage,
        )

    # -- Models, Tokenize, Auth ------------------------------------------------
    async def _list_models(self, _: Any, call: Call) -> Any:
        ids = model_ids(self._services)
        return MESSAGES["ListLanguageModelsResponse"](models=[self._model(m) for m in ids])

    async def _get_model(self, asked: Any, call: Call) -> Any:
        asked_entry(self._services, asked.name)
        return self._model(asked.name)

    def _model(self, name: str) -> Any:
        model = MESSAGES["LanguageModel"](
            name=name,
            version=self._services.version,
            input_modalities=[ENUMS["TEXT"]],
            output_modalities=[ENUMS["TEXT"]],
            system_fingerprint=f"gnomon-{self._services.version}",
        )
        model.created.FromSeconds(CREATED)
        return model

    async def _list_embedders(self, _: Any, call: Call) -> Any:
        embedder = self._services.models.embedder()
        names = [] if embedder is None else [embedder.name]
        return MESSAGES["ListEmbeddingModelsResponse"](models=[self._embedder(n) for n in names])

    async def _get_embedder(self, asked: Any, call: Call) -> Any:
        embedder = self._services.models.embedder()
        if embedder is None or embedder.name != asked.name:
            raise ApiError(
                404,
                f"There is no embedding model {shown(asked.name)} here.",
                code="model_not_found",
                param="name",
            )
        return self._embedder(asked.name)

    def _embedder(self, name: str) -> Any:
        model = MESSAGES["EmbeddingModel"](
            name=name,
            version=self._services.version,
            input_modalities=[ENUMS["TEXT"]],
            output_modalities=[ENUMS["EMBEDDING"]],
        )
        model.created.FromSeconds(CREATED)
        return model

    async def _list_painters(self, _: Any, call: Call) -> Any:
        return MESSAGES["ListImageGenerationModelsResponse"]()

    async def _tokenize(self, asked: Any, call: Call) -> Any:
        if len(asked.text) > MAX_TEXT_CHARS:
            raise bad_request(f"text may have {MAX_TEXT_CHARS:,} characters.", param="text")
        tokens = [
            {
                "token_id": token.id,
                "string_token": token.piece.decode("utf-8", "replace"),
                "token_bytes": token.piece,
            }
            for token in await tokens_of(self._services, asked.text)
        ]
        return MESSAGES["TokenizeTextResponse"](tokens=tokens, model=asked.model)

    async def _api_key(self, _: Any, call: Call) -> Any:
        facts = key_facts(call.identity, self._services.clock.now())
        told = MESSAGES["ApiKey"](
            redacted_api_key=facts["redacted_api_key"],
            user_id=facts["user_id"],
            name=facts["name"],
            team_id=facts["team_id"],
            acls=facts["acls"],
            api_key_id=facts["api_key_id"],
            modified_by=facts["modified_by"],
        )
        for field in ("create_time", "modify_time"):
            getattr(told, field).FromDatetime(datetime.fromisoformat(facts[field]))
        return told


def _parsed(given: Any, body: bytes) -> Any:
    try:
        return given.FromString(body)
    except DecodeError:
        raise bad_request(
            f"The request is no {given.DESCRIPTOR.full_name}.", param="request"
        ) from None


def _bytes_of(message: Any) -> bytes:
    return bytes(message.SerializeToString())


def _completed(response: Mapping[str, Any]) -> Mapping[str, Any]:
    """The response, if it came to its end. Raises ApiError with what it failed of."""
    if response["status"] in ("completed", "incomplete"):
        return response
    error = response.get("error")
    if error is None:
        raise ApiError(
            409,
            f"The completion {shown(response['id'])} is {response['status']}.",
            code="response_not_completed",
        )
    raise ApiError(500, error["message"], code=error["code"])
