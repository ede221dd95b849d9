"""`code_interpreter`: code that a language model wrote, run in a closed room, shown as an item."""

from __future__ import annotations

import asyncio
import base64
import hashlib
from collections.abc import AsyncGenerator, Iterator
from pathlib import PurePath
from typing import Any

import msgspec

from gnomon.errors import GnomonError
from gnomon.files.store import PRIVATE_PURPOSES
from gnomon.models.base import Tool, ToolCall
from gnomon.sandbox.base import Ran, RoomError
from gnomon.sandbox.room import plain
from gnomon.sandbox.rooms import Container, Loader, Rooms
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.serve.services import Services
from gnomon.serve.tools.results import CODE_SOURCE, Outcome, computed
from gnomon.serve.tools.wishes import CodeWish, refused

NAME = "code_interpreter"
ORIGIN = "code"
Events = AsyncGenerator[tuple[str, dict[str, Any]]]
_PREFIX = "response.code_interpreter_call"
_MAX_IMAGE_BYTES = 1_000_000
_MAX_IMAGES = 4
_IMAGES = {b"\x89PNG\r\n\x1a\n": "image/png", b"\xff\xd8\xff": "image/jpeg", b"GIF8": "image/gif"}
TOOL = Tool(
    name=NAME,
    description="Runs Python 3 code and returns what it prints and the value of its last line. "
    "Names and the files in the current folder stay for the next call. There is no network. "
    "Use it for arithmetic, dates, statistics and tables. Print each result as a whole sentence "
    "that says what it is, such as print(f'The mean of the five values is {mean:.2f}.').",
    parameters={
        "type": "object",
        "properties": {"code": {"type": "string", "description": "Python source."}},
        "required": ["code"],
        "additionalProperties": False,
    },
)


async def check(services: Services, wish: CodeWish, owner: str, param: str = "tools") -> None:
    """Refuse what cannot be had. Raises ApiError."""
    rooms = services.rooms
    if rooms is None:
        raise ApiError(
            400,
            "code_interpreter is not run by this server.",
            code="sandbox.unavailable",
            param=param,
        )
    standing = await rooms.standing()
    if not standing.ready:
        raise ApiError(
            400,
            f"code_interpreter cannot be used. {standing.text}",
            code="sandbox.unavailable",
            param=param,
            hint="Leave code_interpreter out.",
        )
    try:
        if wish.container is not None:
            rooms.find(owner, wish.container)
        await asyncio.to_thread(named, services, wish.file_ids, owner)
    except RoomError as error:
        raise refused(error, param) from None


class CodeTool:
    """Code for one answer. `close` it when the answer is made."""

    def __init__(
        self,
        services: Services,
        rooms: Rooms,
        wish: CodeWish,
        owner: str,
        output: list[dict[str, Any]],
        *,
        show: bool,
    ) -> None:
        """Finished items are appended to `output`; `show` puts what code printed into them."""
        self._services = services
        self._rooms = rooms
        self._wish = wish
        self._owner = owner
        self._output = output
        self._show = show
        self._container: Container | None = None
        self.outcome: Outcome | None = None
        """Of the latest call."""

    async def call(self, call: ToolCall) -> Events:
        """The events of one call."""
        code = _code(call.arguments)
        index = len(self._output)
        item: dict[str, Any] = {
            "id": self._services.ids.new("ci"),
            "type": "code_interpreter_call",
            "status": "in_progress",
            "container_id": "",
            "code": "",
            "outputs": None,
        }
        place = {"item_id": item["id"], "output_index": index}
        trouble = "" if code.strip() else "There was no code in the call."
        try:
            container = await self._entered()
            item["container_id"] = container.id
        except GnomonError as error:
            container, trouble = None, str(error)
        yield "response.output_item.added", {"output_index": index, "item": dict(item)}
        yield f"{_PREFIX}.in_progress", place
        yield f"{_PREFIX}_code.delta", {**place, "delta": code}
        yield f"{_PREFIX}_code.done", {**place, "code": code}
        item["code"] = code
        if container is None or trouble:
            item["status"] = "failed"
            self.outcome = self._told(call.id, code, Ran(error=trouble, ended="raised"))
        else:
            yield f"{_PREFIX}.interpreting", place
            ran = await self._ran(container, code)
            item["status"] = "completed" if ran.ended in ("done", "raised") else "failed"
            if self._show:
                item["outputs"] = [*_logs(ran), *await _images(container, ran)]
            item["gnomon"] = _own(container, ran)
            self.outcome = self._told(call.id, code, ran)
            yield f"{_PREFIX}.completed", place
        self._output.append(item)
        yield "response.output_item.done", {"output_index": index, "item": item}

    async def close(self) -> None:
        """Leave the container; it stays for the next answer until it was idle for long."""
        if self._container is not None:
            self._container.leave()
            self._container = None

    async def _ran(self, container: Container, code: str) -> Ran:
        try:
            return await self._rooms.run(container, code)
        except RoomError as error:
            return Ran(error=str(error), ended="died")

    async def _entered(self) -> Container:
        if self._container is None:
            ids = self._wish.file_ids
            names = await asyncio.to_thread(named, self._services, ids, self._owner)
            container = await self._rooms.enter(self._owner, self._wish.container)
            try:
                for id, name in names.items():
                    await container.lay(name, body_of(self._services, id))
            except BaseException:
                container.leave()
                raise
            self._container = container
        return self._container

    def _told(self, call_id: str, code: str, ran: Ran) -> Outcome:
        told = [ran.output or "(nothing was printed)"]
        if ran.error:
            told.append(ran.error)
        if ran.files:
            told.append("Files written: " + ", ".join(f.path for f in ran.files))
        # Files that were laid in are somebody's words; what code computes without is nobody's.
        given = self._container is not None and bool(self._container.given)
        return Outcome(
            call_id=call_id,
            source=CODE_SOURCE,
            title="Computed by code that the language model wrote",
            text="\n".join(told),
            evidence=computed(ran.output, code) if ran.ended == "done" else "",
            made_now=True,
            origin=ORIGIN if given else "",
        )


def file_id(container: Container, path: str) -> str:
    """The id of a container's file."""
    return "cfile_" + hashlib.sha256(f"{container.id}/{path}".encode()).hexdigest()[:32]


def _code(arguments: str) -> str:
    try:
        given = msgspec.json.decode(arguments)
    except msgspec.DecodeError:
        return ""
    code = given.get("code") if isinstance(given, dict) else None
    return code if isinstance(code, str) else ""


def body_of(services: Services, id: str) -> Loader:
    """Reads an uploaded file when its bytes are wanted."""

    async def load() -> bytes:
        if services.files is None:
            raise RoomError(f"There is no file {id} any more.", code="sandbox.file")
        body, _ = await asyncio.to_thread(services.files.content, id)
        return body

    return load


def named(services: Services, ids: tuple[str, ...], owner: str) -> dict[str, str]:
    """The names that files get in the folder, by id. Raises ApiError 400."""
    names: dict[str, str] = {}
    for id in ids:
        found = None
        if services.files is not None:
            try:
                found = services.files.get(id)
            except GnomonError:
                found = None
        if found is None or (found.purpose in PRIVATE_PURPOSES and found.owner != owner):
            raise bad_request(f"There is no file {shown(id)}.", param="tools", code="file.unknown")
        name = PurePath(found.name).name
        name = name if plain(name) else found.id
        names[id] = f"{found.id}-{name}" if name in names.values() else name
    return names


def _logs(ran: Ran) -> Iterator[dict[str, Any]]:
    logs = ran.output
    if ran.error and ran.ended != "raised":
        logs = f"{logs}\n{ran.error}".strip()
    if logs:
        yield {"type": "logs", "logs": logs}


async def _images(container: Container, ran: Ran) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    for file in ran.files:
        if len(found) >= _MAX_IMAGES or not 0 < file.body_bytes <= _MAX_IMAGE_BYTES:
            continue
        if PurePath(file.path).suffix.lower() not in (".png", ".jpg", ".jpeg", ".gif"):
            continue
        try:
            body = await container.read(file.path)
        except RoomError:
            return found
        kind = next((k for begin, k in _IMAGES.items() if (body or b"").startswith(begin)), None)
        if body and kind:
            data = base64.b64encode(body).decode()
            found.append({"type": "image", "url": f"data:{kind};base64,{data}"})
    return found


def _own(container: Container, ran: Ran) -> dict[str, Any]:
    return {
        "ended": ran.ended,
        "error": ran.error,
        "cut_bytes": ran.cut_bytes,
        "files": [
            {
                "container_id": container.id,
                "file_id": file_id(container, file.path),
                "path": file.path,
                "bytes": file.body_bytes,
            }
            for file in ran.files
        ],
    }
