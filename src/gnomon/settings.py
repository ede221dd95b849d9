"""The one settings tree: frozen, typed, and each value with its origin.

Precedence: command-line flag > `GNOMON_SECTION__KEY` > `gnomon.toml` > default. Unknown keys
are errors with a suggestion. Secrets come only from the environment or from a file that a
`*_file` key names, and never leave in clear text.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from gnomon.errors import ConfigError

ENV_PREFIX = "GNOMON_"
_NOT_SETTINGS = ("GNOMON_CONFIG", "GNOMON_TEST_")


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Server(_Section):
    """The HTTP door."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8420, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    grpc_port: int = Field(
        0, ge=0, le=65535, description="Port of the gRPC door for the xai-sdk client; 0: none."
    )
    api_key: SecretStr | None = Field(
        None, description="Key that every request must carry. Required beyond loopback."
    )
    api_key_file: Path | None = Field(None, description="File that holds `api_key`.")
    public_url: str = Field("", description="Address under which others reach this server.")
    max_request_bytes: int = Field(
        1_000_000, ge=1_000, description="Largest request body accepted, in bytes."
    )
    max_file_bytes: int = Field(
        52_428_800, ge=1_000, description="Largest file accepted by /v1/files, in bytes."
    )
    cors_origins: tuple[str, ...] = Field(
        (), description="Origins of other sites' pages that may call the API."
    )
    oidc_issuer: str = Field("", description="OpenID provider for sign-in, as it calls itself.")
    oidc_client_id: str = Field("", description="Our name at the OpenID provider.")
    oidc_client_secret: SecretStr | None = Field(
        None, description="Our secret at the OpenID provider, if it gave us one."
    )
    oidc_client_secret_file: Path | None = Field(
        None, description="File that holds `oidc_client_secret`."
    )
    oidc_new_users: Literal["refuse", "reader", "editor"] = Field(
        "refuse", description="What a person gets whom the provider knows and Gnomon does not."
    )
    oidc_domains: tuple[str, ...] = Field(
        (), description="Domains of verified e-mail addresses that new users may have; empty: any."
    )
    requests_per_minute: int = Field(
        0, ge=0, description="Requests that one key or user may make a minute; 0: no limit."
    )
    tokens_per_minute: int = Field(
        0, ge=0, description="Model tokens that one key or user may use a minute; 0: no limit."
    )


class RecordSettings(_Section):
    """The durable memory."""

    keep_days: float | None = Field(
        None, gt=0, description="Retention for sources without their own; none keeps everything."
    )
    check_on_start: Literal["quick", "full", "off"] = Field(
        "quick", description="Integrity check when the record is opened."
    )


class IndexSettings(_Section):
    """Search."""

    commit_interval_s: float = Field(
        0.25, gt=0, le=10, description="Seconds between making new documents searchable."
    )
    vectors: bool = Field(True, description="Keep word vectors for semantic search.")


class Ingest(_Section):
    """Following sources."""

    queue_batches: int = Field(
        64, ge=1, description="Batches that may wait for the record before sources are slowed."
    )
    min_interval_s: float = Field(
        900.0, ge=1, description="Shortest time between two polls of a feed or page, in seconds."
    )
    max_interval_s: float = Field(
        86_400.0, ge=1, description="Longest time between two polls, in seconds."
    )
    retry_first_s: float = Field(0.25, gt=0, description="First wait after a failure.")
    retry_max_s: float = Field(30.0, gt=0, description="Longest wait after a failure.")
    max_requests_per_day: int = Field(
        100_000, ge=1, description="Requests that one source may make in a day (UTC)."
    )
    max_mib_per_day: int = Field(
        20_480, ge=1, description="Mebibytes that one source may receive in a day (UTC)."
    )
    future_tolerance_s: float = Field(
        300.0, ge=0, description="How far ahead of our clock a claimed date may lie."
    )


class Net(_Section):
    """The guarded door to the outside."""

    allow: tuple[str, ...] = Field(
        (), description="Exact `host:port` pairs that may be reached although they are private."
    )
    allow_downgrade: tuple[str, ...] = Field(
        (), description="Exact hosts to which a redirect may lead from https to plain http."
    )
    max_body_bytes: int = Field(5_000_000, ge=1_000, description="Largest body fetched, in bytes.")
    timeout_s: float = Field(20.0, gt=0, description="Deadline of one fetch, in seconds.")
    contact: str = Field("", description="E-mail or URL sent in the User-Agent, as sites ask.")
    per_host_delay_s: float = Field(
        1.0, ge=0, description="Pause between two requests to one host, in seconds."
    )
    robots: bool = Field(True, description="Obey robots.txt when crawling.")


class Models(_Section):
    """Language models and embedders."""

    dir: Path | None = Field(None, description="Where weights are kept; default `<home>/models`.")
    generator: Literal["auto", "off", "embedded", "remote"] = Field(
        "auto", description="Which language model: `auto` takes remote if set, else embedded."
    )
    url: str = Field("", description="Base URL of an OpenAI-compatible endpoint (ends in `/v1`).")
    model: str = Field("", description="Model name at that endpoint.")
    api_key: SecretStr | None = Field(None, description="Key for that endpoint.")
    api_key_file: Path | None = Field(None, description="File that holds `api_key`.")
    context_tokens: int = Field(32_768, ge=512, description="Context of the remote model, tokens.")
    threads: int = Field(0, ge=0, description="Threads of the embedded engine; 0: cores - 1.")
    usd_per_m_input: float = Field(
        0.0, ge=0, description="Price of the remote model: US dollars a million tokens read."
    )
    usd_per_m_output: float = Field(0.0, ge=0, description="The same for a million tokens written.")


class AnswerSettings(_Section):
    """Answers."""

    passages: int = Field(12, ge=1, le=100, description="Passages that a writer reads.")
    rerank_ms: float = Field(
        25.0,
        ge=0,
        le=10_000,
        description="Milliseconds that the sentence model may read documents for, to rank them.",
    )
    unsupported: Literal["drop", "mark"] = Field(
        "drop", description="What happens to a sentence whose citations do not support it."
    )
    stale_after_s: float = Field(
        3_600.0, gt=0, description="A live source without news for this long is called silent."
    )
    embedded: Literal["quote", "phrase"] = Field(
        "quote",
        description="Whether the embedded model may phrase answers; quoting was right more often.",
    )
    web_search: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: where the record says little about a question, the services of "
        "`websearch` are asked, if there are any; `off`: answers rest on the record alone.",
    )
    deep_steps: int = Field(16, ge=1, le=200, description="Steps that a deep run may take.")
    deep_seconds: float = Field(180.0, gt=0, description="Seconds that a deep run may work.")
    deep_usd: float | None = Field(
        None, gt=0, description="US dollars that a deep run may spend on the language model."
    )


SearchService = Literal["searxng", "brave", "tavily", "exa", "kagi", "wikipedia", "hn", "gdelt"]


class WebSearchSettings(_Section):
    """Searching the web for an answer."""

    services: tuple[SearchService, ...] = Field(
        (), description="Services that are asked; empty: those whose key or address is set."
    )
    searxng_url: str = Field("", description="Address of your own SearXNG.")
    brave_key: SecretStr | None = Field(None, description="Key for Brave Search.")
    brave_key_file: Path | None = Field(None, description="File that holds `brave_key`.")
    tavily_key: SecretStr | None = Field(None, description="Key for Tavily.")
    tavily_key_file: Path | None = Field(None, description="File that holds `tavily_key`.")
    exa_key: SecretStr | None = Field(None, description="Key for Exa.")
    exa_key_file: Path | None = Field(None, description="File that holds `exa_key`.")
    kagi_key: SecretStr | None = Field(None, description="Key for Kagi.")
    kagi_key_file: Path | None = Field(None, description="File that holds `kagi_key`.")
    pages: int = Field(3, ge=1, le=10, description="Pages that are opened for one answer.")
    seconds: float = Field(
        6.0, gt=0, le=60, description="Longest that an answer waits for the web, in seconds."
    )
    searches_per_day: int = Field(200, ge=1, description="Searches a day (UTC) with each service.")
    usd_per_day: float = Field(
        1.0, gt=0, description="US dollars a day (UTC) for each service that costs."
    )
    max_requests_per_day: int = Field(
        2_000, ge=1, description="Searches and pages together that may be fetched in a day (UTC)."
    )
    max_mib_per_day: int = Field(
        1_024, ge=1, description="Mebibytes that they may bring in a day (UTC)."
    )


class Tools(_Section):
    """What a language model may use while it answers, if a request wishes it."""

    code: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: code_interpreter runs code in closed rooms, where this system can "
        "close them; `off`: never.",
    )
    code_seconds: float = Field(
        30.0, gt=0, le=600, description="Longest that one run of code may take, in seconds."
    )
    code_memory_mib: int = Field(
        512, ge=128, le=65_536, description="Memory of one room, in mebibytes."
    )
    code_files_mib: int = Field(
        64, ge=1, le=4_096, description="Files of one room, kept in memory, in mebibytes."
    )
    code_idle_minutes: float = Field(
        20.0, gt=0, description="A room that nobody used for so long is cleared away."
    )
    code_rooms: int = Field(8, ge=1, le=256, description="Rooms that there may be at a time.")
    code_packages: tuple[str, ...] = Field(
        ("numpy",),
        description="Installed packages that code may import beside the standard library.",
    )
    mcp_servers: tuple[str, ...] = Field(
        (),
        description="Remote MCP servers that requests may use, as `host` or `host:port`; `*`: "
        "every public one; empty: none.",
    )
    mcp_approval: Literal["always", "never"] = Field(
        "always",
        description="Whether a person has to approve each call of a remote MCP server, where an "
        "HTTP request does not say it.",
    )
    mcp_seconds: float = Field(
        30.0, gt=0, le=600, description="Longest that one call of a remote MCP server may take."
    )
    calls: int = Field(
        16, ge=1, le=100, description="Calls of code and remote MCP tools in one answer."
    )


class Log(_Section):
    """Logs."""

    level: Literal["debug", "info", "warning", "error"] = Field("info", description="Least level.")
    format: Literal["auto", "logfmt", "json"] = Field(
        "auto", description="`auto`: logfmt, coloured on a terminal."
    )
    otlp_endpoint: str = Field(
        "", description="OpenTelemetry collector (OTLP over HTTP) that receives spans, if any."
    )


class Starter(_Section):
    """What a new home follows."""

    mode: Literal["auto", "off"] = Field(
        "auto",
        description="`auto`: a home that never followed anything follows the curated sources as "
        "soon as the network can be reached; `off`: it stays empty.",
    )
    languages: tuple[str, ...] = Field(
        (), description="Languages of the curated feeds, such as en; empty means all."
    )


class Demo(_Section):
    """The demo world."""

    mode: Literal["auto", "on", "off"] = Field(
        "auto", description="`auto`: show the demo world until a real source has answered."
    )
    seed: int = Field(1, description="Seed of the simulated town.")
    posts_per_s: float = Field(
        0.02,
        ge=0,
        le=10_000,
        description="Posts a second that its citizens write on each simulated network.",
    )


class Settings(_Section):
    """Everything that can be set."""

    home: Path = Field(
        default_factory=lambda: Path.home() / ".gnomon",
        description="Folder under which Gnomon keeps everything.",
    )
    server: Server = Server()
    record: RecordSettings = RecordSettings()
    index: IndexSettings = IndexSettings()
    ingest: Ingest = Ingest()
    net: Net = Net()
    models: Models = Models()
    answer: AnswerSettings = AnswerSettings()
    websearch: WebSearchSettings = WebSearchSettings()
    tools: Tools = Tools()
    log: Log = Log()
    starter: Starter = Starter()
    demo: Demo = Demo()

    @property
    def models_dir(self) -> Path:
        """Where weights are kept."""
        return self.models.dir or self.home / "models"


class Loaded(_Section):
    """Settings and, for every dotted key that was set, where its value came from."""

    settings: Settings
    origins: Mapping[str, str]
    flags: Mapping[str, Any] = {}
    file: Path | None = None
    """The settings file that was read, if any."""


def load(
    flags: Mapping[str, Any] | None = None,
    *,
    env: Mapping[str, str] | None = None,
    file: Path | None = None,
    text: str | None = None,
) -> Loaded:
    """Read the settings. `flags` maps dotted keys (`server.port`) to values; None is not set.

    `file` defaults to `$GNOMON_CONFIG`, else `gnomon.toml` in the current folder, else the one in
    the home, if it exists. `text` stands for what `file` would say instead. Raises ConfigError
    that names the key, the value and what to do.
    """
    env = os.environ if env is None else env
    tree: dict[str, Any] = {}
    origins: dict[str, str] = {}
    given = {k: (v, f"flag --{k}") for k, v in (flags or {}).items() if v is not None}
    if text is None:
        file = _config_path(file, env, (flags or {}).get("home"))
    for layer in (_from_file(file, text), _from_env(env), given):
        for key, (value, source) in layer.items():
            check_known(key, source)
            _put(tree, key, value)
            origins[key] = source
    _read_secret_files(tree, origins)
    try:
        settings = Settings.model_validate(tree)
    except ValidationError as error:
        raise _explain(error, origins) from None
    return Loaded(settings=settings, origins=origins, flags=dict(flags or {}), file=file)


def fields() -> Iterator[tuple[str, Any]]:
    """Every dotted key with its pydantic field, in the order of the tree."""
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, _Section):
            for sub, subfield in section.model_fields.items():
                yield f"{name}.{sub}", subfield
        else:
            yield name, field


def split(key: str, text: str) -> str | tuple[str, ...]:
    """The value that `text` stands for: lists are separated by commas."""
    annotation = next((f.annotation for k, f in fields() if k == key), None)
    if getattr(annotation, "__origin__", None) is not tuple:
        return text
    return tuple(part.strip() for part in text.split(",") if part.strip())


def choices(field: Any) -> tuple[str, ...]:
    """The words that a setting may take, empty if it is not a choice."""
    options = get_args(field.annotation)
    return tuple(options) if options and all(isinstance(o, str) for o in options) else ()


def show(loaded: Loaded) -> list[tuple[str, str, str]]:
    """(key, value, origin) for every key; secrets redacted."""
    rows = []
    for key, _ in fields():
        value: Any = loaded.settings
        for part in key.split("."):
            value = getattr(value, part)
        text = "(set, hidden)" if isinstance(value, SecretStr) else _plain(value)
        rows.append((key, text, loaded.origins.get(key, "default")))
    return rows


def _plain(value: Any) -> str:
    if value is None:
        return "(none)"
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "(none)"
    return str(value) if value != "" else '""'


def _config_path(file: Path | None, env: Mapping[str, str], home: Path | str | None) -> Path | None:
    if file is None and env.get(f"{ENV_PREFIX}CONFIG"):
        file = Path(env[f"{ENV_PREFIX}CONFIG"])
    if file is not None:
        if not file.is_file():
            raise ConfigError(
                f"The settings file {file} does not exist.",
                code="config.no_file",
                hint="Correct --config or GNOMON_CONFIG.",
                file=str(file),
            )
        return file
    home = home or env.get(f"{ENV_PREFIX}HOME") or Settings().home
    places = (Path("gnomon.toml"), Path(home) / "gnomon.toml")
    return next((place for place in places if place.is_file()), None)


def _from_file(path: Path | None, text: str | None) -> dict[str, tuple[Any, str]]:
    if path is None:
        return {}
    try:
        data = tomllib.loads(path.read_text("utf-8") if text is None else text)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} is not valid TOML: {error}.",
            code="config.toml",
            hint="Mend that line.",
            file=str(path),
        ) from None
    flat: dict[str, tuple[Any, str]] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            for sub, subvalue in value.items():
                flat[f"{key}.{sub}"] = (subvalue, str(path))
        else:
            flat[key] = (value, str(path))
    for key, (_, source) in flat.items():
        if key in SECRETS:
            raise ConfigError(
                f"{key} is a secret and must not stand in {source}.",
                code="config.secret_in_file",
                hint=f"Set {_env_name(key)}, or point {key}_file at a file that holds it.",
                key=key,
            )
    return flat


def _from_env(env: Mapping[str, str]) -> dict[str, tuple[Any, str]]:
    flat: dict[str, tuple[Any, str]] = {}
    for name, text in env.items():
        if not name.startswith(ENV_PREFIX) or name.startswith(_NOT_SETTINGS):
            continue
        key = name[len(ENV_PREFIX) :].lower().replace("__", ".")
        flat[key] = (split(key, text), f"environment {name}")
    return flat


def _put(tree: dict[str, Any], key: str, value: Any) -> None:
    section, dot, name = key.partition(".")
    if dot:
        tree.setdefault(section, {})[name] = value
    else:
        tree[section] = value


def check_known(key: str, source: str) -> None:
    """Raise ConfigError with the nearest name if there is no setting `key`."""
    known = [k for k, _ in fields()]
    if key in known:
        return
    near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
    hint = f"Did you mean {near[0]}?" if near else "`gnomon config show` lists all keys."
    raise ConfigError(
        f"Unknown setting {key} (from {source}).", code="config.unknown_key", hint=hint, key=key
    )


def _read_secret_files(tree: dict[str, Any], origins: dict[str, str]) -> None:
    for key in SECRETS:
        section, _, name = key.partition(".")
        path = tree.get(section, {}).get(f"{name}_file")
        if not path or key in origins:
            continue
        try:
            secret = Path(path).read_text("utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(
                f"{key}_file names {path}, which cannot be read: {error}.",
                code="config.secret_file",
                hint="Correct the path or its permissions.",
                key=key,
            ) from None
        _put(tree, key, secret)
        origins[key] = f"file {path}"


def _explain(error: ValidationError, origins: Mapping[str, str]) -> ConfigError:
    first = error.errors()[0]
    key = ".".join(str(part) for part in first["loc"][:2])
    if key not in origins:
        key = key.split(".")[0] if key.split(".")[0] in origins else key
    shown = "(hidden)" if key in SECRETS else repr(first["input"])
    field = dict(fields()).get(key)
    hint = f"{field.description}" if field is not None else "`gnomon config show` lists all keys."
    if field is not None and choices(field):
        hint += f" Choices: {', '.join(choices(field))}."
    return ConfigError(
        f"{key} = {shown} (from {origins.get(key, 'default')}) is not valid: {first['msg']}.",
        code="config.invalid",
        hint=hint,
        key=key,
    )


def _env_name(key: str) -> str:
    return ENV_PREFIX + key.upper().replace(".", "__")


SECRETS = tuple(k for k, f in fields() if "SecretStr" in str(f.annotation))
