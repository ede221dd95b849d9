"""`watch` and `watches`: standing questions, told when their answer changes."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

from gnomon.commands.common import Json, client, local

_SIGNS = {"new": "+", "gone": "-", "changed": "~", "passed": "±"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(watch)
    watches = typer.Typer(help="Questions that are watched.", no_args_is_help=True)
    watches.command("list")(listed)
    watches.command("remove")(remove)
    app.add_typer(watches, name="watches")


def watch(
    question: Annotated[str, typer.Argument(help="The question.")],
    once: Annotated[bool, typer.Option("--once", help="Do not wait for changes.")] = False,
    as_json: Json = False,
) -> None:
    """Watch a question: prints what changed whenever its answer changes, until Ctrl-C.

    The watch goes on afterwards; `gnomon watches remove` ends it.
    """
    with client() as server:
        made = server.call("POST", "/v1/watches", {"question": question})
        if not as_json:
            print(f"Watching {made['id']}: {made['question']}", flush=True)
        if once:
            if as_json:
                print(json.dumps(made, ensure_ascii=False))
            return
        path = f"/v1/watches/{made['id']}/stream"
        try:
            for event, data in server.events(path, method="GET"):
                if event == "changed":
                    print(json.dumps(data, ensure_ascii=False) if as_json else _told(data))
        except KeyboardInterrupt:
            print(f"\nStill watched. End it with: gnomon watches remove {made['id']}")


def listed(as_json: Json = False) -> None:
    """List what is watched, and how much of it is new."""
    with client() as server:
        found = server.call("GET", "/v1/watches")["watches"]
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    for one in found:
        print(f"{one['id']}  {one['unread']} new  {one['question']}")
        if one["trouble"]:
            print(f"    could not be looked at: {one['trouble']}")
    if not found:
        print('Nothing is watched. Begin with: gnomon watch "a question"')


def remove(id: Annotated[str, typer.Argument(help="As `gnomon watches list` shows it.")]) -> None:
    """Stop watching a question."""
    with client() as server:
        server.call("DELETE", f"/v1/watches/{id}")
    print(f"{id} is not watched any more.")


def _told(data: dict[str, Any]) -> str:
    lines = [f"{local(data['at'])}  {data['summary']}"]
    for change in data["changes"]:
        said = change["after"] or change["before"]
        lines.append(f"  {_SIGNS.get(change['status'], '?')} {said['text'] if said else ''}")
    return "\n".join(lines)
