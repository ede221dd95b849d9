"""What a request wishes of the tools that the server runs, and what of it can be had.

Everything that can be refused is refused here, before the first event is sent.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from gnomon.errors import GnomonError
from gnomon.net.address import ip_of, normal_host, parse_allow, refusal
from gnomon.serve.errors import ApiError, bad_request, shown
from gnomon.settings import Settings

CODE = ("code_interpreter", "code_execution")
MCP = "mcp"
Approval = Literal["always", "never"]
Door = Literal["openai", "xai", "plain"]
"""Whose protocol is spoken: xAI's knows no approvals and no lists of tools; a plain door has no
shape for a person's approval at all."""
MAX_SERVERS = 16
_MAX_FILES = 50
_MAX_HEADERS = 32
_MAX_HEADER_CHARS = 8_192
_MEMORY = ("1g", "4g", "16g", "64g")


class CodeWish(msgspec.Struct, frozen=True, kw_only=True):
    """Code may be run, in this container or a new one with these files."""

    container: str | None = None
    file_ids: tuple[str, ...] = ()
    given: bool = False
    """Whether a container was named or described at all."""


class Filter(msgspec.Struct, frozen=True, kw_only=True):
    """Some tools of a server."""

    names: frozenset[str] | None = None
    read_only: bool | None = None

    def matches(self, name: str, read_only: bool) -> bool:
        """Whether a tool is meant. `read_only` is what its server claims."""
        return (self.names is None or name in self.names) and (
            self.read_only is None or self.read_only == read_only
        )


class ServerWish(msgspec.Struct, frozen=True, kw_only=True):
    """A remote MCP server, and what may be done with it."""

    label: str
    url: str
    headers: Mapping[str, str] = {}
    allowed: Filter = Filter()
    approval: Approval = "always"
    always: Filter | None = None
    never: Filter | None = None

    def needs_approval(self, name: str, read_only: bool) -> bool:
        """Whether a person has to approve calls of this tool. What is said twice is approved."""
        if self.always is not None and self.always.matches(name, read_only):
            return True
        if self.never is not None and self.never.matches(name, read_only):
            return False
        return self.approval == "always"


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A call of an earlier response, and what a person said to it."""

    request_id: str
    label: str
    name: str
    arguments: str
    approve: bool


class Wishes(msgspec.Struct, frozen=True, kw_only=True):
    """What the server's own tools may do for one answer."""

    code: CodeWish | None = None
    servers: tuple[ServerWish, ...] = ()
    answered: tuple[Answered, ...] = ()
    forced: str = ""
    """What must be called first: `code`, `mcp:<label>`, `mcp:<label>/<tool>`, `any`."""
    door: Door = "openai"
    off: bool = False
    """The client wants no tool to be called."""

    @property
    def any(self) -> bool:
        """Whether there is something to run."""
        return (self.code is not None or bool(self.servers)) and not self.off


def read_wishes(
    tools: Sequence[Mapping[str, Any]],
    choice: str | Mapping[str, Any] | None,
    settings: Settings,
    *,
    door: Door = "openai",
    functions: bool = False,
) -> tuple[Wishes, list[Mapping[str, Any]]]:
    """The wishes among `tools`, which are no functions, and the other tools.

    `functions` says whether the client has functions of its own. Raises ApiError 400.
    """
    code: CodeWish | None = None
    servers: list[ServerWish] = []
    others: list[Mapping[str, Any]] = []
    for i, tool in enumerate(tools):
        kind = tool.get("type")
        if kind in CODE:
            code = _code(tool, f"tools.{i}")
        elif kind == MCP:
            servers.append(_server(tool, f"tools.{i}", settings, door))
        else:
            others.append(tool)
    labels = [server.label for server in servers]
    if len(set(labels)) != len(labels):
        raise bad_request("Two mcp tools have the same server_label.", param="tools")
    if len(servers) > MAX_SERVERS:
        raise bad_request(f"tools has more than {MAX_SERVERS} MCP servers.", param="tools")
    silent = all("require_approval" not in tool for tool in tools if tool.get("type") == MCP)
    if door == "openai" and silent and settings.tools.mcp_approval == "never":
        door = "xai"  # whose clients cannot say it, and know no item beside the call
    wishes = Wishes(code=code, servers=tuple(servers), door=door, off=choice == "none")
    alone = not functions and not others
    return msgspec.structs.replace(wishes, forced=_forced(choice, wishes, alone)), others


def _forced(choice: str | Mapping[str, Any] | None, wishes: Wishes, alone: bool) -> str:
    if choice in ("required", "any"):
        return "any" if wishes.any and alone else ""
    if not isinstance(choice, Mapping):
        return ""
    if choice.get("type") in CODE:
        if wishes.code is None:
            raise bad_request(
                "tool_choice names code_interpreter, which is not among the tools.",
                param="tool_choice",
            )
        return "code"
    if choice.get("type") == MCP:
        label, name = choice.get("server_label"), choice.get("name")
        if not any(server.label == label for server in wishes.servers):
            raise bad_request(
                f"tool_choice names the MCP server {shown(label)}, which is not among the tools.",
                param="tool_choice",
            )
        return f"mcp:{label}/{name}" if isinstance(name, str) and name else f"mcp:{label}"
    return ""


def _code(tool: Mapping[str, Any], param: str) -> CodeWish:
    container = tool.get("container")
    if container is None:
        return CodeWish()
    if isinstance(container, str):
        return CodeWish(container=container, given=True)
    here = f"{param}.container"
    if not isinstance(container, Mapping) or container.get("type", "auto") != "auto":
        raise bad_request(f"{here} is neither an id nor of the type auto.", param=here)
    policy = container.get("network_policy")
    if isinstance(policy, Mapping) and policy.get("type") != "disabled":
        raise ApiError(
            400,
            "Code has no network here, so no domain can be allowed to it.",
            code="request.tool",
            param=f"{here}.network_policy",
            hint="Leave network_policy out.",
        )
    memory = container.get("memory_limit")
    if memory is not None and memory not in _MEMORY:
        raise bad_request(
            f"{here}.memory_limit = {shown(memory)} is none of {', '.join(_MEMORY)}.",
            param=f"{here}.memory_limit",
        )
    files = container.get("file_ids") or []
    if (
        not isinstance(files, list)
        or len(files) > _MAX_FILES
        or not all(isinstance(f, str) for f in files)
    ):
        raise bad_request(
            f"{here}.file_ids must be a list of at most {_MAX_FILES} ids.", param=f"{here}.file_ids"
        )
    return CodeWish(file_ids=tuple(dict.fromkeys(files)), given=True)


def _server(tool: Mapping[str, Any], param: str, settings: Settings, door: Door) -> ServerWish:
    label, url = tool.get("server_label"), tool.get("server_url")
    if not isinstance(url, str) or not url:
        raise ApiError(
            400,
            f"{param}.server_url is missing: connectors and tunnels of others are not known here.",
            code="request.tool",
            param=f"{param}.server_url",
        )
    host = _checked_host(url, f"{param}.server_url", settings)
    label = label or host
    if not isinstance(label, str) or len(label) > 64 or not label.isprintable():
        raise bad_request(
            f"{param}.server_label is no text of at most 64 characters.",
            param=f"{param}.server_label",
        )
    always, never, approval = _approval(tool, param, settings, door)
    return ServerWish(
        label=label,
        url=url,
        headers=_headers(tool, param),
        allowed=_filter(tool.get("allowed_tools"), f"{param}.allowed_tools") or Filter(),
        approval=approval,
        always=always,
        never=never,
    )


def _checked_host(url: str, param: str, settings: Settings) -> str:
    """The host of a server that the operator allows."""
    try:
        parts = urlsplit(url)
        host, port = normal_host(parts.hostname or ""), parts.port
    except ValueError:
        host, port = "", None
        parts = urlsplit("")
    if parts.scheme not in ("http", "https") or not host or parts.username is not None:
        raise bad_request(f"{param} = {shown(url)} is no http address.", param=param)
    shown_host = f"[{host}]" if ":" in host else host
    plain = port in (None, 443 if parts.scheme == "https" else 80)
    port = port or (443 if parts.scheme == "https" else 80)
    exact = f"{shown_host}:{port}"
    names = {exact} | ({shown_host, host} if plain else set())
    own = (host, port) in parse_allow(settings.net.allow)
    if not own and (ip_of(host) is None or refusal(host) is None):
        names.add("*")  # which means public ones, not the operator's own that the door lets pass
    if not names & {entry.lower() for entry in settings.tools.mcp_servers}:
        raise ApiError(
            400,
            f"The MCP server {shown(shown_host if plain else exact)} may not be used here.",
            code="request.mcp_server",
            param=param,
            hint="The operator lists those that may in tools.mcp_servers.",
        )
    return shown_host


def _headers(tool: Mapping[str, Any], param: str) -> dict[str, str]:
    headers = tool.get("headers") or {}
    token = tool.get("authorization")
    fits = (
        isinstance(headers, Mapping)
        and len(headers) <= _MAX_HEADERS
        and all(
            isinstance(k, str) and isinstance(v, str) and len(k) + len(v) <= _MAX_HEADER_CHARS
            for k, v in headers.items()
        )
    )
    if not fits or not (token is None or isinstance(token, str)):
        raise bad_request(
            f"{param}.headers must be at most {_MAX_HEADERS} texts by name.",
            param=f"{param}.headers",
        )
    found = {name.lower(): value for name, value in headers.items()}
    if token:
        bare = " " not in token.strip()
        found["authorization"] = f"Bearer {token.strip()}" if bare else token.strip()
    return found


def _approval(
    tool: Mapping[str, Any], param: str, settings: Settings, door: Door
) -> tuple[Filter | None, Filter | None, Approval]:
    wanted = tool.get("require_approval")
    here = f"{param}.require_approval"
    if wanted is None:
        wanted = "never" if door == "xai" else settings.tools.mcp_approval
    if wanted == "never":
        return None, None, "never"
    if door == "plain":
        raise ApiError(
            400,
            "Calls of remote MCP servers cannot be approved over this API.",
            code="request.approval",
            param=here,
            hint="Give require_approval: never, or ask over /v1/responses.",
        )
    if wanted == "always":
        return None, None, "always"
    if not isinstance(wanted, Mapping):
        raise bad_request(
            f"{here} = {shown(wanted)} is none of always, never, or a filter of each.", param=here
        )
    return (
        _filter(wanted.get("always"), f"{here}.always"),
        _filter(wanted.get("never"), f"{here}.never"),
        "always",
    )


def _filter(wanted: Any, param: str) -> Filter | None:
    if wanted is None:
        return None
    names, read_only = wanted, None
    if isinstance(wanted, Mapping):
        names, read_only = wanted.get("tool_names"), wanted.get("read_only")
    if not (names is None or (isinstance(names, list) and all(isinstance(n, str) for n in names))):
        raise bad_request(f"{param} must be a list of names, or a filter with one.", param=param)
    if not (read_only is None or isinstance(read_only, bool)):
        raise bad_request(f"{param}.read_only must be true or false.", param=f"{param}.read_only")
    return Filter(names=None if names is None else frozenset(names), read_only=read_only)


def with_answers(wishes: Wishes, items: Sequence[Mapping[str, Any]], param: str) -> Wishes:
    """The wishes with what a person said to calls that wait for approval. Raises ApiError 400."""
    requests = {
        item.get("id"): item for item in items if item.get("type") == "mcp_approval_request"
    }
    done = {i.get("approval_request_id") for i in items if i.get("type") == "mcp_call"}
    labels = {server.label for server in wishes.servers}
    answered: dict[str, Answered] = {}
    for i, item in enumerate(items):
        if item.get("type") != "mcp_approval_response":
            continue
        id = item.get("approval_request_id")
        if id in done:
            continue
        asked = requests.get(id) if isinstance(id, str) else None
        if asked is None or not isinstance(item.get("approve"), bool):
            raise bad_request(
                f"{param}.{i} answers the approval request {shown(id)}, which was not made, or "
                "says neither true nor false.",
                param=f"{param}.{i}",
            )
        label = str(asked.get("server_label"))
        if item["approve"] and label not in labels:
            raise bad_request(
                f"{param}.{i} approves a call of {shown(label)}, which is not among the tools.",
                param="tools",
            )
        answered[str(id)] = Answered(
            request_id=str(id),
            label=label,
            name=str(asked.get("name")),
            arguments=str(asked.get("arguments") or "{}"),
            approve=item["approve"],
        )
    return msgspec.structs.replace(wishes, answered=tuple(answered.values()))


def echoed(tools: Sequence[Mapping[str, Any]] | None) -> list[dict[str, Any]]:
    """The tools as a response repeats them: without what opens a remote server."""
    hidden = ("authorization", "headers")
    return [
        {
            name: value
            for name, value in tool.items()
            if tool.get("type") != MCP or name not in hidden
        }
        for tool in tools or ()
    ]


def refused(error: GnomonError, param: str) -> ApiError:
    """A 400 of what a tool cannot do."""
    return ApiError(400, error.message, code=error.code, param=param, hint=error.hint)
