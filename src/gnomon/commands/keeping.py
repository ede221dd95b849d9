"""`gnomon backup` and `gnomon restore`: everything of a home, away and back."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from gnomon import __version__
from gnomon.commands.common import load, local


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(backup)
    app.command()(restore)


def backup(
    folder: Annotated[Path, typer.Argument(help="Folder to make.")],
    secrets: Annotated[
        bool, typer.Option("--secrets/--no-secrets", help="With keys and passwords, or without.")
    ] = True,
) -> None:
    """Copy everything of the home into a folder, also while Gnomon runs.

    Accounts, conversations, watches, batches, memory, files, sources, models that were trained,
    settings and the record. Not the index and not models that can be fetched: a start makes the
    first again, `gnomon models fetch` the others.
    """
    from gnomon.backup import back_up

    home = load().settings.home
    made = back_up(home, folder, now=datetime.now(UTC), version=__version__, secrets=secrets)
    print(f"Wrote {len(made.files):,} files, {made.body_bytes:,} bytes, to {folder}.")
    if not secrets:
        print("Keys and passwords are not in it: set them again after a restore.")


def restore(
    folder: Annotated[Path, typer.Argument(help="Folder that `gnomon backup` wrote.")],
) -> None:
    """Put a backup back into a home that is new or empty; Gnomon must not run there."""
    from gnomon import backup as copies
    from gnomon.app import locked

    home = load().settings.home
    copies.listed(folder)
    with locked(home, unfinished=True):
        made = copies.restore(folder, home)
    print(
        f"Put {len(made.files):,} files of {local(made.made_at.isoformat())} into {home}. "
        "The index is made with the next start."
    )
    if not made.secrets:
        print("Keys and passwords are not in it: set them again.")
