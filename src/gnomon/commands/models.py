"""`gnomon models`: weights that Gnomon brings, and models of one's own that may serve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from gnomon.client import Client, running
from gnomon.commands.common import Json, client, load, local
from gnomon.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from gnomon.models.registry import Check, Entry, Registry

models = typer.Typer(
    no_args_is_help=True, help="Fetch weights; add models of one's own and let them serve."
)
Model = Annotated[str, typer.Argument(help="NAME, or NAME@VERSION.")]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    app.add_typer(models, name="models")


@models.command()
def fetch(
    directory: Annotated[Path | None, typer.Option("--dir", help="Where to keep them.")] = None,
) -> None:
    """Fetch the weights, pinned by version and hash; does nothing where they are there."""
    from gnomon.models.fetch import fetch as bring

    bring(directory or load().settings.models_dir, progress=lambda text: print(text, flush=True))


@models.command("list")
def listed(as_json: Json = False) -> None:
    """List the models and how each stands, those of one's own included."""
    registry = _registry()
    entries, previous = registry.list(), registry.previous()
    with client() as server:
        states = server.call("GET", "/v1/status")["models"]
    if as_json:
        own = [_plain(entry) for entry in entries]
        print(json.dumps({"models": states, "registered": own}, ensure_ascii=False, indent=2))
        return
    for state in states:
        print(f"{state['name']} ({state['role']}): {state['text'] or state['state']}")
    for entry in entries:
        after = ", before what serves" if previous and entry.id == previous.id else ""
        print(f"{entry.id}: {_told(entry)}{after}.")


@models.command()
def show(model: Model, as_json: Json = False) -> None:
    """Show where a model of one's own comes from, and what its gate found."""
    from gnomon.models.registry import split_id

    registry = _registry()
    entry = registry.recall(*split_id(model))
    events = [e for e in registry.history() if entry.id in (e.model, e.before)]
    if as_json:
        import msgspec

        whole = _plain(entry) | {"history": msgspec.to_builtins(events)}
        print(json.dumps(whole, ensure_ascii=False, indent=2))
        return
    print(f"{entry.id}: {_told(entry)}.")
    where = "gone" if entry.state == "removed" else registry.path(entry)
    print(f"File: {where} ({entry.body_bytes:,} bytes)")
    print(f"SHA-256: {entry.sha256}")
    for key, value in entry.lineage.items():
        print(f"{key.replace('_', ' ').capitalize()}: {value or 'none'}")
    for check in entry.checks:
        print(f"{'Passes' if check.passed else 'Misses'}: {_figure(check)}")
    for event in events:
        what = "serves" if event.model == entry.id else f"gives way to {event.model}"
        what = "is removed" if event.what == "remove" else what
        back = " (rollback)" if event.what == "rollback" else ""
        print(f"{local(event.at.isoformat())}: {what}{back}")


@models.command()
def add(
    path: Annotated[Path, typer.Argument(help="A GGUF file; it is copied.")],
    name: Annotated[str, typer.Option("--name", help="The model's name.")],
    run: Annotated[
        Path | None,
        typer.Option("--run", help="The training run it comes from: its name, or its folder."),
    ] = None,
    checks: Annotated[
        Path | None, typer.Option("--checks", help="JSON file of what a gate found.")
    ] = None,
) -> None:
    """Enter a model into the registry, with where it comes from and what its gate found."""
    lineage: Mapping[str, str] = {}
    found: Sequence[Check] = ()
    if run is not None:
        lineage, found = _of_run(run, path, judged=checks is None)
    if checks is not None:
        found = _read_checks(checks)
    entry = _registry().add(path, name=name, lineage=lineage, checks=found)
    print(f"{entry.id}: {_told(entry)}.")
    if entry.passed and entry.state == "candidate":
        print(f"`gnomon models use {entry.id}` lets it serve.")


@models.command()
def use(model: Model) -> None:
    """Let a model serve, also while Gnomon runs; refused unless its gate passed."""
    from gnomon.models.registry import must_have_passed, split_id

    name, version = split_id(model)
    if server := _server():
        body = {"version": version} if version else {}
        entry = server.call("POST", f"/v1/registry/{_quoted(name)}/use", body)
        print(f"{entry['id']} serves.")
        return
    registry = _registry()
    found = registry.find(name, version)
    must_have_passed(found)
    registry.whole_path(found)
    print(f"{registry.use(found.name, found.version).id} serves from the next start on.")


@models.command()
def rollback() -> None:
    """Let serve again what served before, also while Gnomon runs."""
    if server := _server():
        print(f"{server.call('POST', '/v1/registry/rollback')['id']} serves again.")
        return
    registry = _registry()
    if previous := registry.previous():
        registry.whole_path(previous)
    print(f"{registry.rollback().id} serves again from the next start on.")


@models.command()
def remove(model: Model) -> None:
    """Take a model and its file away, never what serves; its lineage can still be read."""
    from gnomon.models.registry import split_id

    entry = _registry().remove(*split_id(model))
    print(f"{entry.id} is removed. `gnomon models show {entry.id}` still tells where it came from.")


def tell_server(entry: Entry) -> None:
    """Where a server runs, wait until it answers with this entry, which was let serve."""
    if server := _server():
        body = {"version": entry.version}
        server.call("POST", f"/v1/registry/{_quoted(entry.name)}/use", body)


def _registry() -> Registry:
    from gnomon.clock import SystemClock
    from gnomon.models.registry import Registry

    return Registry(load().settings.home / "registry", SystemClock())


def _server() -> Client | None:
    """The server of this home, if one runs."""
    settings = load().settings
    found = running(settings.home)
    return Client(found.url, settings, token=found.token) if found else None


def _of_run(run: Path, path: Path, *, judged: bool) -> tuple[dict[str, str], Sequence[Check]]:
    """What is known of a run without loading its model: where it led from, what its gate found."""
    from gnomon.models.fetch import sha256_of
    from gnomon.train.judgement import read_judgement
    from gnomon.train.progress import lineage

    folder = run if run.is_dir() else load().settings.home / "runs" / run
    known = lineage(folder)
    judgement = read_judgement(folder)
    if judgement is None or not judged:
        return known, ()
    if sha256_of(path) != judgement.file_sha256:
        raise ConfigError(
            f"{path} is not the file that the gate of {folder.name} judged, {judgement.file}.",
            code="registry.other_file",
            hint=f"Add {folder / judgement.file}, or judge again: gnomon forge gate {folder.name}",
        )
    known |= {"judged_by": judgement.text_sha256, "replaces": judgement.serving}
    return known, judgement.checks


def _read_checks(path: Path) -> Sequence[Check]:
    """The checks in a file: a list of them, or an object that holds one as `checks`."""
    import msgspec

    from gnomon.models.registry import Check

    try:
        found = msgspec.json.decode(path.read_bytes())
        listed = found.get("checks") if isinstance(found, dict) else found
        return msgspec.convert(listed, tuple[Check, ...])
    except OSError as error:
        raise ConfigError(
            f"{path} cannot be read: {error.strerror}.",
            code="registry.checks",
            hint="Name a JSON file, such as the gate.json of a run.",
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path} holds no checks: {error}.",
            code="registry.checks",
            hint='Write [{"name": "bits_per_byte", "value": 1.9, "threshold": 2.5, '
            '"passed": true}].',
        ) from None


def _told(entry: Entry) -> str:
    words = {
        "candidate": "passed its gate" if entry.passed else "judged by no gate, so it cannot serve",
        "refused": "refused by its gate",
        "serving": "serves, and answers as gnomon-own",
        "retired": "served before",
        "removed": "removed",
    }
    return f"{words[entry.state]}, added {local(entry.added_at.isoformat())}"


def _figure(check: Check) -> str:
    value = "no number" if check.value is None else f"{check.value:.4g}"
    between = ""
    if check.low is not None and check.high is not None:
        between = f" ({check.low:.4g} to {check.high:.4g})"
    wanted = "" if check.threshold is None else f", threshold {check.threshold:g}"
    return f"{check.name} {value}{between}{wanted}"


def _plain(entry: Entry) -> dict[str, Any]:
    from gnomon.serve.registry import described

    return described(entry)


def _quoted(name: str) -> str:
    from urllib.parse import quote

    return quote(name, safe="")
