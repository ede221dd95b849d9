"""`gnomon sources import | export | starter | set`: many sources at once, and their settings."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from gnomon.client import Client
from gnomon.commands.common import client, counted, load
from gnomon.errors import ConfigError, ContentError, GnomonError
from gnomon.types import SourceConfig

_SHOWN = 20
_MAX_PATH_CHARS = 1_000


def import_file(path: Path) -> None:
    """Follow every feed of an OPML file, and say what came of it."""
    from gnomon.sources.opml import read_opml

    try:
        body = path.read_bytes()
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror or error}.",
            code="opml.no_file",
            hint="Give the path of an OPML file that your reader exported.",
            path=str(path),
        ) from None
    listed = read_opml(body)
    if not listed.configs:
        tell_skipped([(s.entry, s.reason) for s in listed.skipped], len(listed.skipped))
        raise ContentError(f"{path} lists no feeds.", code="opml.empty", hint="Export it again.")
    follow_all(listed.configs)
    tell_skipped([(s.entry, s.reason) for s in listed.skipped], len(listed.skipped))


def follow_all(configs: Iterable[SourceConfig]) -> None:
    """Follow these sources; those that are followed already stay as they are."""
    added = known = 0
    failed: list[str] = []
    with client() as server:
        for config in configs:
            try:
                _follow(server, config)
            except GnomonError as error:
                if error.code == "source.exists":
                    known += 1
                else:
                    failed.append(f"{config.name}: {error}")
            else:
                added += 1
    tell(added, known)
    for line in failed[:_SHOWN]:
        print(f"Not followed: {line}", file=sys.stderr)
    if failed:
        raise ConfigError(f"{len(failed):,} sources could not be followed.", code="source.some")


def tell(added: int, known: int) -> None:
    """Say how many of a list are followed now."""
    already = f"; {known:,} were followed already" if known else ""
    print(f"Following {counted(added, 'new source')}{already}.")


def tell_skipped(skipped: Sequence[tuple[str, str]], count: int) -> None:
    """Say which entries of a list are not followed, and why."""
    for entry, reason in skipped[:_SHOWN]:
        print(f"Left out: {entry}: {reason}.")
    if count > min(len(skipped), _SHOWN):
        print(f"{count:,} entries of the list were left out in all.")


def is_opml_file(text: str) -> bool:
    """Whether this is the path of a list of feeds."""
    from gnomon.sources.opml import looks_like_opml

    if not text or "://" in text or "\0" in text or len(text) > _MAX_PATH_CHARS:
        return False
    path = Path(text)
    if not path.is_file() or path.suffix.lower() not in (".opml", ".xml"):
        return False
    with path.open("rb") as file:
        return looks_like_opml(file.read(4_096))


def _follow(server: Client, config: SourceConfig) -> None:
    body: dict[str, Any] = {
        "name": config.name,
        "type": config.type,
        "title": config.title or None,
        "settings": dict(config.settings),
        "keep_days": config.keep.days if config.keep else None,
    }
    server.call("POST", "/v1/sources", body)


def sources_import(
    path: Annotated[Path, typer.Argument(help="An OPML file, as feed readers export it.")],
) -> None:
    """Follow every feed that an OPML file lists."""
    import_file(path)


def sources_export(
    path: Annotated[Path, typer.Argument(help="File to write; ends in .opml.")],
) -> None:
    """Write the followed feeds as an OPML file, for other readers."""
    from gnomon.app import opened_record
    from gnomon.sources.opml import feeds_of, write_opml

    with opened_record(load().settings) as store:
        configs = store.sources()
    path.write_bytes(write_opml(configs, title="Followed by Gnomon", now=datetime.now(UTC)))
    feeds, others = len(feeds_of(configs)), len(configs) - len(feeds_of(configs))
    left_out = f" {others:,} other sources have no place in OPML." if others else ""
    print(f"Wrote {feeds:,} feeds to {path}.{left_out}")


def sources_starter(
    languages: Annotated[
        str, typer.Option(help="Languages of the feeds, such as en,de; none means all.")
    ] = "",
    show: Annotated[bool, typer.Option("--list", help="Only show what would be followed.")] = False,
) -> None:
    """Follow the starter set: curated feeds and the open services that need no key."""
    from gnomon.sources import starter

    contact = load().settings.net.contact
    configs = starter.configs(languages.split(","), contact)
    if show:
        for config in configs:
            lang = config.settings.get("lang", "")
            print(f"{config.title}{f' ({lang})' if lang else ''}\n    {config.name}")
        return
    follow_all(configs)
    if not contact:
        print("Some services want to know whom to write to: set net.contact for them.")


def sources_set(
    source: Annotated[str, typer.Argument(help="Name of the source.")],
    settings: Annotated[
        list[str], typer.Argument(help="KEY=VALUE, as JSON or text; KEY=null unsets it.")
    ],
) -> None:
    """Change settings of a source, such as reliability=0.4; it goes on where it stands."""
    body = {"settings": dict(map(setting, settings))}
    with client() as server:
        server.call("PATCH", f"/v1/sources/{quote(source, safe='')}", body)
    print(f"{source}: changed.")


def setting(text: str) -> tuple[str, Any]:
    """The key and the value of `KEY=VALUE`. Raises ConfigError."""
    key, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"The setting {text} has no value.", code="source.settings", hint="Write KEY=VALUE."
        )
    try:
        return key, json.loads(value)
    except json.JSONDecodeError:
        return key, value


def add_to(sources: typer.Typer) -> None:
    """Put these commands beside the others of `gnomon sources`."""
    sources.command("import")(sources_import)
    sources.command("export")(sources_export)
    sources.command("set")(sources_set)
    sources.command("starter")(sources_starter)
