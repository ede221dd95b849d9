"""`/v1/settings`: every setting with its meaning and origin, and changes written to its file.

A running server keeps the settings that it started with. What is changed here is checked as a
whole, written to the settings file with its comments kept, and counts from the next start.
"""

from __future__ import annotations

import asyncio
import json
import os
import threading
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import tomlkit
from fastapi import APIRouter
from pydantic import BaseModel, SecretStr
from starlette.requests import Request
from starlette.responses import Response
from tomlkit.exceptions import TOMLKitError

from gnomon import settings
from gnomon.errors import ConfigError
from gnomon.serve.errors import ApiError, shown
from gnomon.serve.guard import check_bind
from gnomon.serve.people import note
from gnomon.serve.services import Services
from gnomon.serve.wire import JsonRoute, services_of
from gnomon.settings import Loaded, Settings

router = APIRouter(tags=["System"], route_class=JsonRoute)
_MAX_CHARS = 10_000
_SHAPE = (
    "type",
    "enum",
    "format",
    "items",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
)
_writing = threading.Lock()


@router.get("/v1/settings", summary="List the settings")
async def list_settings(request: Request) -> Response:
    """Every setting with its type, default, value in force, value from the next start, and origin.

    Secrets are never told, only whether they are set.
    """
    loaded = _loaded(services_of(request))
    return _json(await asyncio.to_thread(_described, loaded))


@router.patch("/v1/settings", summary="Change settings")
async def change_settings(body: dict[str, Any], request: Request) -> Response:
    """Write `{"section.key": value}` to the settings file; null goes back to the default.

    All of it or nothing. It counts from the next start. What a flag or the environment sets, and
    paths of the server's files, are refused.
    """
    services = services_of(request)
    loaded = _loaded(services)
    if not body:
        raise ApiError(
            400,
            "No setting was named.",
            code="settings.empty",
            hint='Send an object such as {"log.level": "debug"}.',
        )
    admins = services.accounts is not None and services.accounts.any_way_in()
    written = await asyncio.to_thread(_change, loaded, body, admins)
    for key, value in written.items():
        secret = key in settings.SECRETS and value is not None
        text = "(hidden)" if secret else "default" if value is None else json.dumps(value)
        note(request, "settings.changed", key, text)
    return _json(await asyncio.to_thread(_described, loaded))


def _loaded(services: Services) -> Loaded:
    if services.loaded is None:
        raise ApiError(
            404,
            "This server was started for one command; its settings are not kept here.",
            code="settings.none",
            hint="Start one with `gnomon up`.",
        )
    return services.loaded


def _json(value: Any) -> Response:
    # The standard library's encoder also writes what TOML and the environment can say and orjson
    # cannot: integers beyond 64 bits, and bytes of names that are no UTF-8.
    return Response(json.dumps(value), media_type="application/json")


# -- reading -------------------------------------------------------------------
def _file_of(loaded: Loaded) -> Path:
    return (loaded.file or loaded.settings.home / "gnomon.toml").resolve()


def _text_of(file: Path) -> str:
    """What stands in the file; empty if there is none. Raises ApiError."""
    try:
        return file.read_text("utf-8")
    except FileNotFoundError:
        return ""
    except (OSError, UnicodeDecodeError) as error:
        raise ApiError(
            409,
            f"{file} cannot be read: {error}.",
            code="settings.unreadable",
            hint="Mend the file or its permissions.",
        ) from None


def _described(loaded: Loaded) -> dict[str, Any]:
    """All settings as clients read them."""
    file, problem, nearest = _file_of(loaded), "", loaded
    try:
        nearest = settings.load(loaded.flags, file=file, text=_text_of(file))
    except (ConfigError, ApiError) as error:
        problem = str(error)
    schemas = _schemas()
    rows = []
    for key, field in settings.fields():
        now, then = _plain(_value(loaded.settings, key)), _plain(_value(nearest.settings, key))
        origin = nearest.origins.get(key, "default")
        secret = key in settings.SECRETS
        shape, nullable = schemas[key]
        row: dict[str, Any] = {
            "name": key,
            "description": field.description,
            "schema": shape,
            "nullable": nullable,
            "secret": secret,
            "origin": origin,
            "refusal": _refusal(key, nearest),
            "needs_restart": True,
            "pending": _differs(loaded, nearest, key),
        }
        if secret:
            row["set"] = then is not None
        else:
            row |= {
                "default": _plain(field.get_default(call_default_factory=True)),
                "value": now,
                "next": then,
            }
        rows.append(row)
    sections = [
        {"name": name, "title": _title(field.annotation)}
        for name, field in Settings.model_fields.items()
        if _is_section(field.annotation)
    ]
    return {"file": str(file), "problem": problem, "sections": sections, "settings": rows}


def _differs(now: Loaded, then: Loaded, key: str) -> bool:
    return bool(_value(now.settings, key) != _value(then.settings, key))


def _value(tree: Settings, key: str) -> Any:
    value: Any = tree
    for part in key.split("."):
        value = getattr(value, part)
    return value


def _plain(value: Any) -> Any:
    """A value as JSON and TOML have it. A secret is only told apart from none."""
    if isinstance(value, SecretStr):
        return ""
    if isinstance(value, Path):
        return str(value)
    return list(value) if isinstance(value, tuple) else value


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _title(section: Any) -> str:
    return (section.__doc__ or "").strip().rstrip(".")


def _schemas() -> dict[str, tuple[dict[str, Any], bool]]:
    """For every key the JSON schema of its value, and whether it may be none."""
    found: dict[str, tuple[dict[str, Any], bool]] = {}
    tree = Settings.model_json_schema()
    for key, _ in settings.fields():
        section, dot, name = key.partition(".")
        at = tree["properties"] if not dot else tree["$defs"][_section_name(section)]["properties"]
        schema = at[name or section]
        options = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
        shape = {name: options[0][name] for name in _SHAPE if name in options[0]}
        found[key] = (shape, len(options) < len(schema.get("anyOf", [schema])))
    return found


def _section_name(section: str) -> str:
    annotation = Settings.model_fields[section].annotation
    return annotation.__name__ if annotation is not None else section


def _refusal(key: str, loaded: Loaded) -> str:
    """Why `key` cannot be changed from here; empty if it can."""
    origin = loaded.origins.get(key, "default")
    if origin.startswith("flag "):
        return f"It is set by the {origin} of the running server, which wins over its file."
    if origin.startswith("environment "):
        return f"It is set by the {origin}, which wins over the settings file."
    if key in settings.SECRETS:
        pointer = loaded.origins.get(f"{key}_file", "default")
        if pointer.startswith(("flag ", "environment ")):
            return f"It is read from the file that the {pointer} names."
        path = _value(loaded.settings, f"{key}_file")
        if path is not None and path != _secret_file(loaded, key):
            return f"It is read from {path}. Change that file."
    elif _schemas()[key][0].get("format") == "path":
        return "It names a file or folder of the server, and is set there."
    return ""


# -- writing -------------------------------------------------------------------
def _secret_file(loaded: Loaded, key: str) -> Path:
    return loaded.settings.home.resolve() / "secrets" / key


def _change(loaded: Loaded, changes: Mapping[str, Any], admins: bool) -> dict[str, Any]:
    """Check and write; what was written by key. Raises ApiError."""
    with _writing:
        file = _file_of(loaded)
        text = _text_of(file)
        known = {key for key, _ in settings.fields()}
        for key in changes:
            if key not in known:
                raise _unknown(key)
        try:
            before = settings.load(loaded.flags, file=file, text=text)
            for key in changes:
                if why := _refusal(key, before):
                    raise ApiError(
                        409,
                        f"{key} cannot be changed here. {why}",
                        code="settings.elsewhere",
                        param=key,
                        hint="Change it there, and restart.",
                    )
            plain, secrets = _sorted_out(loaded, changes)
            given = settings.load(loaded.flags, file=file, text=_edited(file, text, plain))
            # As the type reads them: a number that came as text is written as a number.
            exact = {
                key: None if value is None else _plain(_value(given.settings, key))
                for key, value in plain.items()
            }
            check_bind(given.settings, admins=admins or "server.api_key" in secrets)
        except ConfigError as error:
            raise _explained(error, changes) from None
        pointers = {
            f"{key}_file": str(_secret_file(loaded, key)) if secret else None
            for key, secret in secrets.items()
        }
        after = _edited(file, text, exact | pointers)
        _written(loaded, file, after, secrets)
        return {key: exact.get(key, secrets.get(key)) for key in changes}


def _sorted_out(
    loaded: Loaded, changes: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, str | None]]:
    """What goes into the settings file, and which secrets are set or dropped."""
    plain: dict[str, Any] = {}
    secrets: dict[str, str | None] = {}
    for key, value in changes.items():
        if key not in settings.SECRETS:
            plain[key] = _simple(key, value)
            continue
        if value is not None and not (
            isinstance(value, str)
            and value.isprintable()
            and value.strip()
            and len(value) <= _MAX_CHARS
        ):
            raise ApiError(
                400,
                f"{key} must be one line of text, or null to drop it.",
                code="config.invalid",
                param=key,
                hint="Paste the secret without line breaks.",
            )
        secrets[key] = value.strip() if value is not None else None
    # One that is dropped must not hide another's fault, such as an address open to strangers.
    plain |= {f"{key}_file": None for key, value in secrets.items() if value is None}
    return plain, secrets


def _simple(key: str, value: Any) -> Any:
    each = value if isinstance(value, list) else [value]
    if not (value is None or all(isinstance(one, str | int | float) for one in each)):
        raise ApiError(
            400,
            f"{key} = {shown(value)} is neither a text, a number, true or false, nor a list.",
            code="config.invalid",
            param=key,
            hint="GET /v1/settings tells the type of each setting.",
        )
    if len(json.dumps(value)) > _MAX_CHARS:
        raise ApiError(
            400,
            f"{key} is longer than {_MAX_CHARS:,} characters.",
            code="config.invalid",
            param=key,
            hint="Shorten it.",
        )
    return value


def _edited(file: Path, text: str, changes: Mapping[str, Any]) -> str:
    """The file's text with `changes`, all else as it was. Raises ApiError."""
    expected = tomllib.loads(text)
    try:
        document = tomlkit.parse(text)
        for key, value in changes.items():
            section, _, name = key.partition(".")
            if value is None:
                if section in expected and name in expected[section]:
                    del document[section][name]
                    del expected[section][name]
                continue
            if section not in expected:
                document[section] = tomlkit.table()
            document[section][name] = value
            expected.setdefault(section, {})[name] = value
        edited = tomlkit.dumps(document)
        same = _filled(tomllib.loads(edited)) == _filled(expected)
    except (TOMLKitError, tomllib.TOMLDecodeError, TypeError, ValueError):
        same = False
    if not same:
        raise ApiError(
            409,
            f"{file} is written in a way that could not be edited without harm.",
            code="settings.uneditable",
            hint="Change the setting in that file by hand.",
        )
    return edited


def _filled(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Without the sections that say nothing."""
    return {key: value for key, value in tree.items() if value != {}}


def _written(loaded: Loaded, file: Path, text: str, secrets: Mapping[str, str | None]) -> None:
    try:
        for key, secret in secrets.items():
            if secret is not None:
                _replace(_secret_file(loaded, key), secret + "\n", 0o600)
        _replace(file, text, file.stat().st_mode & 0o777 if file.exists() else 0o600)
        for key, secret in secrets.items():
            if secret is None:
                _secret_file(loaded, key).unlink(missing_ok=True)
    except OSError as error:
        raise ApiError(
            409,
            f"{error.filename or file} cannot be written: {error.strerror}.",
            code="settings.unwritable",
            hint="Give the server the right to write there, or change it by hand.",
        ) from None


def _replace(path: Path, text: str, mode: int) -> None:
    """Put `text` at `path`, all of it or nothing, also across a crash."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.unlink(missing_ok=True)
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "w", encoding="utf-8", newline="") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    aside.replace(path)


def _unknown(key: str) -> ApiError:
    try:
        settings.check_known(shown(key), "the request")
    except ConfigError as error:
        return ApiError(400, error.message, code=error.code, param=shown(key), hint=error.hint)
    return ApiError(400, f"Unknown setting {shown(key)}.", code="config.unknown_key")


def _explained(error: ConfigError, changes: Mapping[str, Any]) -> ApiError:
    key = str(error.fields.get("key", ""))
    ours = key in changes
    return ApiError(
        400 if ours or error.code == "config.open_bind" else 409,
        error.message if key not in settings.SECRETS else f"{key} is not valid.",
        code=error.code,
        param=key or None,
        hint=error.hint,
    )
