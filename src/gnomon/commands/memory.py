"""`gnomon memory`: what is remembered for whoever asks from this machine."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from gnomon.commands.common import Json, client, local

memory = typer.Typer(no_args_is_help=True, help="View, edit and forget what is remembered.")
Id = Annotated[str, typer.Argument(help="The note's id, as `gnomon memory list` shows it.")]
Text = Annotated[str, typer.Argument(help="What should be remembered.")]


@memory.command("list")
def list_notes(as_json: Json = False) -> None:
    """Show every note, and whether they are used."""
    with client() as server:
        found = server.call("GET", "/v1/memory")
    if as_json:
        print(json.dumps(found, indent=2))
        return
    print("Memory is on." if found["on"] else "Memory is off: `gnomon memory on`.")
    for note in found["notes"]:
        print(f"{note['id']}  {note['text']}  ({local(note['updated_at'])})")


@memory.command("add")
def add(text: Text) -> None:
    """Remember something: where you live, how you want answers written."""
    with client() as server:
        made = server.call("POST", "/v1/memory", {"text": text})
    print(f"Remembered as {made['id']}.")


@memory.command("edit")
def edit(id: Id, text: Text) -> None:
    """Let a note say something else."""
    with client() as server:
        server.call("PATCH", f"/v1/memory/{id}", {"text": text})
    print(f"{id} is changed.")


@memory.command("forget")
def forget(
    id: Annotated[str | None, typer.Argument(help="The note's id.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Forget all notes, and switch memory off.")
    ] = False,
) -> None:
    """Forget a note for good."""
    if (id is None) != everything:
        raise typer.BadParameter("give the id of a note, or --all")
    with client() as server:
        server.call("DELETE", "/v1/memory" if id is None else f"/v1/memory/{id}")
    print("Everything is forgotten." if id is None else f"{id} is forgotten.")


@memory.command("on")
def on() -> None:
    """Use what is remembered in answers from now on."""
    with client() as server:
        server.call("PUT", "/v1/memory/settings", {"on": True})
    print("Memory is on.")


@memory.command("off")
def off() -> None:
    """Use nothing that is remembered; the notes stay until you forget them."""
    with client() as server:
        server.call("PUT", "/v1/memory/settings", {"on": False})
    print("Memory is off.")
