"""What the server adds to a language model behind it, alone and with 500 readers at once.

    python bench/serve_bench.py [--requests N] [--clients N]

A scripted engine that speaks OpenAI's chat API stands in a process of its own. The same request
goes to it, to Gnomon in front of it, and to a proxy in front of it, in turn: what each adds until
the first piece is read, and what is left of the engine's pace. Gnomon's answerer is replaced by one
that passes each piece on as a sentence, so that the door in and the door out are measured, and
not retrieval. Then many clients read slow streams at once, from a scripted engine inside
Gnomon and from the proxy; from Gnomon also as resumable answers, where every second reader loses
its connection once and goes on behind the last event that came. The proxy is LiteLLM's where
GNOMON_BENCH_LITELLM names its program, and a plain Starlette one, which does nothing but pass bytes
on, in any case. `--only crowd` leaves out the first part, `--only resumable` all but the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import ExitStack, aclosing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import psutil
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from gnomon.answer.base import AnswerEvent, Finished, Plan, Planned, Question, Written
from gnomon.app import opened
from gnomon.clock import SystemClock
from gnomon.models.base import GenerateRequest, Message
from gnomon.models.remote import RemoteGenerator, endpoint
from gnomon.models.scripted import Reply, ScriptedGenerator
from gnomon.net.door import Door
from gnomon.serve.app import create_app
from gnomon.settings import Demo, Models, Net, Settings
from gnomon.types import Answer, Sentence, Verdict, VerdictKind
from harness import percentiles, save

KEY = f"sk-{secrets.token_hex(32)}"
PACE = "20 40 5"
"""First delay in ms, pieces, delay between them in ms: as the question's text says it."""


def reply(text: str) -> Reply:
    """The generation that a question asks for."""
    first_ms, pieces, between_ms = (int(n) for n in text.split()[-3:])
    return Reply(
        pieces=tuple(f"tok{i} " for i in range(pieces)),
        first_delay_s=first_ms / 1000,
        delay_s=between_ms / 1000,
    )


def scripted() -> ScriptedGenerator:
    return ScriptedGenerator([lambda request: reply(request.messages[-1].content)])


def asked(text: str) -> GenerateRequest:
    return GenerateRequest(messages=(Message(role="user", content=text),), max_tokens=10_000)


# -- the three servers, each in a process of its own ---------------------------


def engine(port: int, _: str) -> None:
    async def complete(request: Request) -> StreamingResponse:
        body = await request.json()

        async def chunks() -> AsyncIterator[bytes]:
            head = {"id": "c", "object": "chat.completion.chunk", "created": 1, "model": "gnomon"}
            async for chunk in scripted().stream(asked(body["messages"][-1]["content"])):
                delta = {"role": "assistant", "content": chunk.text}
                choice = {"index": 0, "delta": delta, "finish_reason": chunk.finish_reason}
                yield b"data: " + json.dumps({**head, "choices": [choice]}).encode() + b"\n\n"
            usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
            last = {**head, "choices": [], "usage": usage}
            yield b"data: " + json.dumps(last).encode() + b"\n\ndata: [DONE]\n\n"

        return StreamingResponse(chunks(), media_type="text/event-stream")

    serve(
        Starlette(routes=[*ready(), Route("/v1/chat/completions", complete, methods=["POST"])]),
        port,
    )


def proxy(port: int, upstream: str) -> None:
    client = httpx2.AsyncClient(limits=httpx2.Limits(max_connections=None), timeout=60)

    async def pass_on(request: Request) -> StreamingResponse:
        content = await request.body()
        made = client.build_request("POST", f"{upstream}{request.url.path}", content=content)
        answer = await client.send(made, stream=True)
        return StreamingResponse(answer.aiter_raw(), media_type="text/event-stream")

    serve(
        Starlette(routes=[*ready(), Route("/v1/chat/completions", pass_on, methods=["POST"])]), port
    )


def gnomon(port: int, upstream: str) -> None:
    asyncio.run(_gnomon(port, upstream))


async def _gnomon(port: int, upstream: str) -> None:
    door = Door(Net(), SystemClock(), endpoints=[endpoint(f"{upstream}/v1")])
    remote = RemoteGenerator(f"{upstream}/v1", "gnomon", door)
    with tempfile.TemporaryDirectory() as home:
        models = Models(dir=Path(home) / "none")
        settings = Settings(home=Path(home), demo=Demo(mode="off"), models=models)
        async with opened(settings, follow=False) as house:
            services = replace(house.services(on_damage=print), answerer=PassingOn(remote))
            config = uvicorn.Config(
                create_app(services), host="127.0.0.1", port=port, log_level="warning", backlog=2048
            )
            await uvicorn.Server(config).serve()
    await door.aclose()


class PassingOn:
    """Every piece of a generation as a sentence: of the engine outside, or of one in here."""

    def __init__(self, remote: RemoteGenerator) -> None:
        self._remote = remote

    async def answer(self, question: Question) -> AsyncIterator[AnswerEvent]:
        model: Any = scripted() if question.mode == "extract" else self._remote
        verdict = Verdict(kind=VerdictKind.SUPPORTED, score=1.0)
        written = []
        yield Planned(plan=Plan(search_text=""))
        async with aclosing(model.stream(asked(question.text))) as chunks:
            async for chunk in chunks:
                if chunk.text:
                    sentence = Sentence(text=chunk.text.strip(), citations=(), verdict=verdict)
                    written.append(sentence)
                    yield Written(sentence=sentence, citations=())
        now = SystemClock().now()
        yield Finished(
            answer=Answer(
                id="ans", question=question.text, created_at=now, sentences=tuple(written)
            )
        )


def ready() -> list[Route]:
    async def health(_: Request) -> JSONResponse:
        return JSONResponse({})

    return [Route("/health", health)]


def serve(app: Starlette, port: int) -> None:
    uvicorn.run(app, host="127.0.0.1", port=port, log_level="warning", backlog=2048)


ROLES = {"engine": engine, "proxy": proxy, "gnomon": gnomon}


# -- measuring -----------------------------------------------------------------


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def running(command: list[str], port: int, health: str = "/health") -> Iterator[psutil.Process]:
    quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    environment = {**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MASTER_KEY": KEY}
    process = subprocess.Popen(command, env=environment, **quiet)  # type: ignore[call-overload]
    try:
        deadline = time.monotonic() + 90
        while True:
            try:
                if httpx2.get(f"http://127.0.0.1:{port}{health}", timeout=2).is_success:
                    break
            except httpx2.HTTPError:
                pass
            if process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"{command[0]} did not start.")
            time.sleep(0.1)
        yield psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(30)


async def read(port: int, model: str, text: str) -> tuple[float, float]:
    """Seconds until the first piece, and from there to the end. Raises ValueError if cut short."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    content = json.dumps(body).encode()
    began = time.perf_counter()
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(
            b"POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
            b"Content-Type: application/json\r\nAuthorization: Bearer %s\r\n"
            b"Content-Length: %d\r\n\r\n%s" % (KEY.encode(), len(content), content)
        )
        first = 0.0
        async for line in reader:
            if not first and b"tok0" in line:
                first = time.perf_counter()
            elif b"[DONE]" in line:
                return first - began, time.perf_counter() - first
    finally:
        writer.close()
    raise ValueError("The stream ended early.")


async def read_resumable(port: int, text: str, *, leave: bool = False) -> tuple[float, float]:
    """The same over `/v1/ask` with `resumable`. With `leave`, the connection is cut at the first
    piece and the answer taken up behind it. Raises ValueError if any event is missing."""
    asked = {"question": text, "mode": "extract", "resumable": True, "store": False}
    seen: list[int] = []
    began, first, id = time.perf_counter(), 0.0, ""
    while True:
        place = f"/v1/answers/{id}/events?starting_after={seen[-1]}" if seen else "/v1/ask"
        content = b"" if seen else json.dumps(asked).encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        try:
            writer.write(
                b"%s %s HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n"
                b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n%s"
                % (b"GET" if seen else b"POST", place.encode(), len(content), content)
            )
            name = ""
            async for line in reader:
                if line.startswith(b"id: "):
                    seen.append(int(line[4:]))
                elif line.startswith(b"event: "):
                    name = line[7:].strip().decode()
                elif line.startswith(b"data: ") and name == "planned":
                    id = json.loads(line[6:])["id"]
                elif line.startswith(b"data: ") and name == "sentence":
                    first = first or time.perf_counter()
                    if leave and id:
                        break
                elif line.startswith(b"data: ") and name == "finished":
                    if seen != list(range(len(seen))):
                        raise ValueError("Events are missing.")
                    return first - began, time.perf_counter() - first
            else:
                raise ValueError("The stream ended early.")
        finally:
            writer.close()
        leave = False


async def overhead(ports: dict[str, int], requests: int) -> dict[str, Any]:
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in ports}
    for i in range(requests + 5):
        for name, port in ports.items():
            one = await read(port, "gnomon", PACE)
            if i >= 5:  # The first ones warm up.
                times[name].append(one)
    pieces = int(PACE.split()[1])
    figures = {
        name: {
            "first_piece_ms": percentiles([1000 * first for first, _ in found]),
            "pieces_per_s": percentiles([pieces / rest for _, rest in found])["p50"],
        }
        for name, found in times.items()
    }
    bare = figures["engine"]
    for name, one in figures.items():
        if name != "engine":
            one["added_p50_ms"] = round(
                one["first_piece_ms"]["p50"] - bare["first_piece_ms"]["p50"], 2
            )
            one["pace_ratio"] = round(one["pieces_per_s"] / bare["pieces_per_s"], 4)
    return figures


async def crowd(
    port: int, process: psutil.Process, model: str, clients: int, *, resumable: bool = False
) -> dict[str, Any]:
    """`clients` readers at once: idle for 6 s, then 20 pieces in 5 s.

    Of `resumable` answers, every second reader loses its connection once and comes back.
    """

    def one(text: str, number: int = 0) -> Coroutine[Any, Any, tuple[float, float]]:
        if resumable:
            return read_resumable(port, text, leave=number % 2 == 1)
        return read(port, model, text)

    await one("1 2 1")
    before = process.memory_info().rss
    tasks = [asyncio.create_task(one("6000 20 250", i)) for i in range(clients)]
    await asyncio.sleep(4)
    idle = process.memory_info().rss
    outcomes = await asyncio.gather(*tasks, return_exceptions=True)
    whole = [one for one in outcomes if not isinstance(one, BaseException)]
    figures: dict[str, Any] = {
        "clients": clients,
        "errors": clients - len(whole),
        "kib_per_idle_stream": round((idle - before) / 1024 / clients, 1),
    }
    if whole:
        figures["first_piece_s"] = percentiles([first for first, _ in whole])
        figures["last_after_first_s"] = percentiles([rest for _, rest in whole])
    return figures


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--requests", type=int, default=40)
    parser.add_argument("--clients", type=int, default=500)
    parser.add_argument("--only", choices=["crowd", "resumable"])
    given = parser.parse_args()
    figures: dict[str, Any] = {}
    with ExitStack() as stack:
        ports = {name: free_port() for name in ROLES}
        upstream = f"http://127.0.0.1:{ports['engine']}"
        processes = {}
        for name, port in ports.items():
            command = [sys.executable, __file__, name, str(port), upstream]
            processes[name] = stack.enter_context(running(command, port))
        litellm = os.environ.get("GNOMON_BENCH_LITELLM")
        if litellm:
            ports["litellm"] = free_port()
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            model = {"model": "openai/gnomon", "api_base": f"{upstream}/v1", "api_key": "k"}
            known = {"model_list": [{"model_name": "gnomon", "litellm_params": model}]}
            (folder / "config.yaml").write_text(json.dumps(known), "utf-8")  # YAML holds JSON
            command = [litellm, "--config", str(folder / "config.yaml"), "--host", "127.0.0.1"]
            command += ["--port", str(ports["litellm"])]
            processes["litellm"] = stack.enter_context(
                running(command, ports["litellm"], "/health/liveliness")
            )
        if given.only is None:
            figures["one_at_a_time"] = asyncio.run(overhead(ports, given.requests))
        figures["crowd"] = {
            name: asyncio.run(
                crowd(
                    ports[name],
                    processes[name],
                    "gnomon-extract" if name == "gnomon" else "gnomon",
                    given.clients,
                )
            )
            for name in ports
            if name != "engine" and given.only != "resumable"
        }
        figures["crowd"]["gnomon, resumable"] = asyncio.run(
            crowd(ports["gnomon"], processes["gnomon"], "", given.clients, resumable=True)
        )
    save("serve" if given.only is None else f"serve-{given.only}", figures)


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] in ROLES:
        ROLES[sys.argv[1]](int(sys.argv[2]), sys.argv[3])
    else:
        main()
