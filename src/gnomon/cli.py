"""The commands. Each is thin: it reads the settings, calls one thing, prints.

Exit status: 0 done, 1 failed, 2 the operator's to mend, 3 a source or site, 4 our own store.
Commands that ask or search use the server of the home if one runs; else they open the home for
as long as they take.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from gnomon import __version__, settings
from gnomon.client import Client, running
from gnomon.commands import (
    asking,
    corpus,
    forge,
    keeping,
    lists,
    measuring,
    memory,
    people,
    watching,
)
from gnomon.commands import models as models_commands
from gnomon.commands.asking import AsOf
from gnomon.commands.common import FILES, FLAGS, Json, claimed, client, counted, load, local
from gnomon.commands.mcp import mcp
from gnomon.errors import ConfigError, GnomonError

app = typer.Typer(
    name="gnomon",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    help="A self-hosted AI that knows what is happening now, and proves what it says.",
)
sources = typer.Typer(help="Follow and unfollow sources; alone, list them.")
config = typer.Typer(no_args_is_help=True, help="Show the settings.")
record = typer.Typer(no_args_is_help=True, help="Back up, export, import and check the record.")
app.add_typer(sources, name="sources")
app.add_typer(config, name="config")
app.add_typer(record, name="record")
models_commands.register(app)

app.add_typer(people.users, name="users")
app.add_typer(people.keys, name="keys")
app.add_typer(memory.memory, name="memory")
asking.register(app)
watching.register(app)
keeping.register(app)
app.command()(mcp)
measuring.register(app)
forge.register(app)
corpus.register(app)

_SHOWN_SKIPS = 20
_CHECKS, _CHECK_S = 50, 0.2
_TURN_S = 0.2
"""How long a server that runs has the record for itself between two loads of an import."""


@app.callback()
def _options(
    home: Annotated[
        Path | None, typer.Option(help="Folder under which Gnomon keeps everything.")
    ] = None,
    config_file: Annotated[
        Path | None,
        typer.Option(
            "--config", help="Settings file; default ./gnomon.toml, else the one in the home."
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", help="A setting as KEY=VALUE; repeatable.")
    ] = None,
    version: Annotated[
        bool,
        typer.Option(
            "--version",
            is_eager=True,
            callback=lambda v: _version(v),
            help="Print the version.",
        ),
    ] = False,
) -> None:
    FLAGS.clear()
    FLAGS["home"] = home
    for text in overrides or ():
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"--set {text} has no value.", hint="Write --set KEY=VALUE.")
        FLAGS[key] = settings.split(key, value)
    FILES[:] = [config_file] if config_file else []


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.command()
def up(
    host: Annotated[str | None, typer.Option(help="Address to listen on.")] = None,
    port: Annotated[int | None, typer.Option(help="Port to listen on; 0 takes a free one.")] = None,
    grpc_port: Annotated[
        int | None, typer.Option(help="Port of the gRPC door for the xai-sdk client; 0: none.")
    ] = None,
    home: Annotated[Path | None, typer.Option(help="Where everything is kept.")] = None,
    demo: Annotated[
        bool | None, typer.Option("--demo/--no-demo", help="Show the demo world, or never.")
    ] = None,
    allow: Annotated[
        list[str] | None,
        typer.Option(help="A private `host:port` that sources may reach; repeatable."),
    ] = None,
) -> None:
    """Follow the sources and serve the page and the API until interrupted."""
    mode = None if demo is None else "on" if demo else "off"
    loaded = load(
        server__host=host,
        server__port=port,
        server__grpc_port=grpc_port,
        home=home or FLAGS["home"],
        demo__mode=mode,
        net__allow=tuple(allow) if allow else None,
    )
    from gnomon.app import serve

    # An interrupt is how a server is meant to end.
    with suppress(KeyboardInterrupt):
        serve(loaded, announce=lambda url: print(f"Gnomon is at {url}", flush=True))


@app.command()
def search(
    text: Annotated[str, typer.Argument(help='Words, "phrases", +must, -not.')],
    as_of: AsOf = "",
    limit: Annotated[int, typer.Option(min=1, max=100, help="How many results.")] = 10,
    source: Annotated[list[str] | None, typer.Option(help="Only this source.")] = None,
    kind: Annotated[list[str] | None, typer.Option(help="Only this kind, such as post.")] = None,
    lang: Annotated[list[str] | None, typer.Option(help="Only this language, such as en.")] = None,
    domain: Annotated[list[str] | None, typer.Option(help="Only this site.")] = None,
    newest: Annotated[bool, typer.Option("--newest", help="Newest first.")] = False,
    as_json: Json = False,
) -> None:
    """Search what was seen, without a model."""
    with client() as server:
        found = server.call(
            "GET",
            "/v1/search",
            q=text,
            as_of=as_of,
            limit=limit,
            source=source or (),
            kind=kind or (),
            lang=lang or (),
            domain=domain or (),
            newest=newest or None,
        )
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for hit in found["hits"]:
        published = hit.get("published_at")
        when = claimed(published) if published else local(hit.get("observed_at"))
        print(hit["title"] or hit["key"])
        print(f"    {hit['source']}, {when}\n    {hit['snippet']}")
    if not found["hits"]:
        print("Nothing found.")


@sources.callback(invoke_without_command=True)
def _sources(ctx: typer.Context) -> None:
    if ctx.invoked_subcommand is None:
        sources_list()


@sources.command("list")
def sources_list(as_json: Json = False) -> None:
    """List the sources with their health and lag."""
    with client() as server:
        states = server.call("GET", "/v1/sources")["sources"]
    if as_json:
        print(json.dumps(states, ensure_ascii=False, indent=2))
        return
    for state in states:
        print(state["name"])
        health = (state["text"] or state["state"]).rstrip(".")
        believed = state.get("reliability")
        also = f" Reliability {believed:g}." if believed is not None else ""
        print(f"    {health}. {counted(state['documents'], 'document')}{_lag(state)}.{also}")
    if not states:
        print("No sources yet. Add one with `gnomon sources add URL`.")
    elif not _serving():
        print(_AT_REST)


@sources.command("add")
def sources_add(
    address: Annotated[
        str, typer.Argument(help="Address of a feed or page, a handle, or a file's path.")
    ] = "",
    source_name: Annotated[str | None, typer.Option("--name", help="A name of your own.")] = None,
    type: Annotated[str | None, typer.Option(help="Connector, such as bluesky or x.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("--set", help="A setting of it: KEY=VALUE, as JSON or text.")
    ] = None,
    keep_days: Annotated[int | None, typer.Option(min=1, help="Forget what is older.")] = None,
) -> None:
    """Find out what an address is, and follow it. A list of feeds (OPML) brings all of them."""
    if not address and type is None:
        raise ConfigError(
            "What should be followed?",
            code="source.unidentified",
            hint="Name an address, a handle or a file: gnomon sources add https://example.org.",
        )
    if lists.is_opml_file(address):
        lists.import_file(Path(address))
        return
    body = {
        "text": address or None,
        "name": source_name,
        "type": type,
        "settings": dict(map(lists.setting, option or ())),
        "keep_days": keep_days,
    }
    with client() as server:
        added = server.call("POST", "/v1/sources", body)
    if "added" in added:
        lists.tell(len(added["added"]), added["known"])
    else:
        print(f"Following {added['name']} ({added['type']}).")
    skipped = [(entry["entry"], entry["reason"]) for entry in added.get("skipped", ())]
    lists.tell_skipped(skipped, added.get("skipped_count", 0))
    if not _serving():
        print(_AT_REST)


@sources.command("pause")
def sources_pause(source: Annotated[str, typer.Argument(help="Name of the source.")]) -> None:
    """Stop following a source until it is resumed."""
    _source_action(source, "pause")


@sources.command("resume")
def sources_resume(source: Annotated[str, typer.Argument(help="Name of the source.")]) -> None:
    """Follow a paused source again, from where it stopped."""
    _source_action(source, "resume")


@sources.command("remove")
def sources_remove(source: Annotated[str, typer.Argument(help="Name of the source.")]) -> None:
    """Stop following a source; what it brought stays."""
    with client() as server:
        server.call("DELETE", f"/v1/sources/{_quoted(source)}")
    print(f"Removed {source}.")


lists.add_to(sources)


def _serving() -> bool:
    return running(load().settings.home) is not None


def _lag(state: dict[str, Any]) -> str:
    """How late the newest document came, where its publication is known."""
    from gnomon.ingest.health import span

    if state["lag_s"] is None or not state["documents"]:
        return ""
    return f"; the newest document came {span(state['lag_s'])} after it was published"


_AT_REST = "No server runs now, so nothing new comes in: start it with `gnomon up`."


def _source_action(source: str, action: str) -> None:
    with client() as server:
        server.call("POST", f"/v1/sources/{_quoted(source)}/{action}")
    print(f"{source}: {action}d.")


def _quoted(source: str) -> str:
    from urllib.parse import quote

    return quote(source, safe="")


@app.command()
def doctor(as_json: Json = False) -> None:
    """Say in a sentence how each source, model and store stands."""
    from gnomon.train.need import installed

    loaded = load()
    serving = running(loaded.settings.home)
    with client() as server:
        status = server.call("GET", "/v1/status")
        for _ in range(_CHECKS):
            if (status["tools"]["code"] or {}).get("state") != "checking":
                break
            time.sleep(_CHECK_S)
            status = server.call("GET", "/v1/status")
    if as_json:
        print(json.dumps(status, ensure_ascii=False, indent=2))
        return
    print(f"Home: {loaded.settings.home}")
    print(f"Server: {serving.url if serving else 'not running; start it with `gnomon up`'}")
    for part in ("record", "index"):
        facts = ", ".join(f"{k.replace('_', ' ')} {v}" for k, v in status[part].items())
        print(f"{part.title()}: {facts}")
    print(_web_search(loaded.settings))
    print(status["tools"]["code"]["text"])
    print(_remote_tools(status["tools"]["mcp_servers"]))
    print(f"Training: {installed('train')}; for clusters {installed('cluster')}")
    for state in status["models"]:
        print(f"Model {state['name']} ({state['role']}): {state['text'] or state['state']}")
    for state in status["sources"]:
        health = (state["text"] or state["state"]).rstrip(".")
        print(f"Source {state['name']}: {health}{_lag(state)}.")


def _web_search(chosen: settings.Settings) -> str:
    from gnomon.answer.web import services_asked

    names = services_asked(chosen.websearch) if chosen.answer.web_search == "auto" else ()
    if not names:
        return "Web search in answers: off; name services in websearch.services, or set a key."
    return f"Web search in answers: {', '.join(names)}"


def _remote_tools(servers: list[str]) -> str:
    if not servers:
        return "Remote MCP tools: none; list the servers that may be used in tools.mcp_servers."
    return f"Remote MCP tools: {', '.join(servers)}"


@app.command()
def demo() -> None:
    """Say what is true in the demo world now, and what changed lately."""
    from gnomon.clock import SystemClock
    from gnomon.demo import town_of
    from gnomon.testing.world import describe

    clock = SystemClock()
    print(describe(town_of(load().settings, clock).world, clock.now()))


@config.command("show")
def config_show(as_json: Json = False) -> None:
    """Print every setting with its value and origin; secrets stay hidden."""
    rows = settings.show(load())
    if as_json:
        print(json.dumps([{"key": k, "value": v, "origin": o} for k, v, o in rows], indent=2))
        return
    width = max(len(key) for key, _, _ in rows)
    for key, value, origin in rows:
        print(f"{key:<{width}}  {value}  ({origin})")


@record.command("backup")
def record_backup(path: Annotated[Path, typer.Argument(help="File to write.")]) -> None:
    """Write a consistent copy of the record, also while Gnomon runs."""
    from gnomon.app import opened_record

    with opened_record(load().settings) as store:
        store.backup(path)
    print(f"Wrote {path} ({path.stat().st_size:,} bytes).")


@record.command("export")
def record_export(
    path: Annotated[Path, typer.Argument(help="File: .jsonl, .jsonl.gz, .jsonl.zst, .parquet.")],
) -> None:
    """Write every version, deletion and gap to a file."""
    from gnomon.app import opened_record
    from gnomon.record.transfer import export_file

    with opened_record(load().settings) as store:
        rows = export_file(store, path)
    print(f"Wrote {rows:,} rows to {path}.")


@record.command("import")
def record_import(
    path: Annotated[Path, typer.Argument(help="File of an export, or rows.")],
) -> None:
    """Load history from a file, also while Gnomon runs: what is loaded is found at once.

    Each row keeps the moment at which it was observed.
    """
    from gnomon.app import opened_record
    from gnomon.record.transfer import import_file

    loaded = load()
    found = running(loaded.settings.home)
    with opened_record(loaded.settings) as store, ExitStack() as stack:
        between: Callable[[], None] | None = None
        if found:
            server = Client(found.url, loaded.settings, token=found.token)
            stack.callback(server.close)
            between = partial(_let_write, server)
        report = import_file(store, path, now=datetime.now(UTC), between=between)
    known = f" {report.known:,} were there already." if report.known else ""
    print(f"Loaded {report.loaded:,} of {report.rows:,} rows from {path}.{known}")
    for line, reason in report.skipped[:_SHOWN_SKIPS]:
        print(f"Skipped line {line}: {reason}")
    if report.skipped_rows > _SHOWN_SKIPS:
        print(f"{report.skipped_rows:,} rows were skipped in all.")


def _let_write(server: Client) -> None:
    """Have the server find what was loaded, and leave it the record for a moment."""
    server.call("POST", "/v1/record/refresh")
    time.sleep(_TURN_S)


@record.command("check")
def record_check() -> None:
    """Check every stored page; fails if one is damaged."""
    from gnomon.app import opened_record

    with opened_record(load().settings) as store:
        store.check()
        stats = store.stats()
    print(f"The record is sound: {stats.versions:,} versions of {stats.documents:,} documents.")


def main() -> None:
    """Entry point of the `gnomon` command."""
    try:
        app()
    except GnomonError as error:
        print(f"gnomon: {error}", file=sys.stderr)
        sys.exit(error.exit_status)
    except BrokenPipeError:
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
