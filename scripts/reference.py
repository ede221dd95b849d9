"""Write the generated pages of docs/reference, or with --check fail if they are out of date."""

from __future__ import annotations

import json
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

import typer

from gnomon import __version__, cli, settings
from gnomon.clock import RandomIds, SystemClock
from gnomon.serve.app import create_app
from gnomon.serve.services import Services

REFERENCE = Path(__file__).parent.parent / "docs" / "reference"


def settings_page() -> str:
    """Every setting with type, default and meaning."""
    lines = [
        "# Settings",
        "",
        "Precedence: command-line flag > environment > `gnomon.toml` > default.",
        "A key `section.name` is `[section]` / `name` in `gnomon.toml` and",
        "`GNOMON_SECTION__NAME` in the environment. `gnomon config show` prints every value",
        "with its origin. Secrets come from the environment or from a file only.",
        "",
        "The settings file is the one that `--config` or `GNOMON_CONFIG` names, else `gnomon.toml`",
        "in the current folder, else the one in the home. The page's Settings and `PATCH",
        "/v1/settings` write to it and keep its comments; a secret that is pasted there goes to a",
        "file of its own under `secrets/` in the home, readable by its owner alone. Changes count",
        "from the next start. What a flag or the environment sets, and paths of files, are not",
        "changed over HTTP.",
        "",
        "| key | default | meaning |",
        "|---|---|---|",
    ]
    for key, field in settings.fields():
        default = field.get_default()
        if key == "home":
            default = "~/.gnomon"
        elif default is None or default == ():
            default = "none"
        elif default == "":
            default = "empty"
        choices = settings.choices(field)
        meaning = field.description + (f" One of: {', '.join(choices)}." if choices else "")
        lines.append(f"| `{key}` | {default} | {meaning} |")
    return "\n".join(lines) + "\n"


def cli_page() -> str:
    """Every command with its arguments and options."""
    root = typer.main.get_command(cli.app)
    lines = ["# Commands", "", "`gnomon --help` prints the same.", ""]

    def describe(command: Any, name: str) -> None:
        subcommands = getattr(command, "commands", None)
        lines.extend([f"## `{name}`", "", (command.help or "").strip(), ""])
        rows = [_row(p) for p in command.params if p.name not in ("help",)]
        if rows:
            lines.extend(["| argument | meaning |", "|---|---|", *rows, ""])
        for sub in subcommands or ():
            describe(subcommands[sub], f"{name} {sub}")

    describe(root, "gnomon")
    return "\n".join(lines).rstrip() + "\n"


def _row(parameter: Any) -> str:
    if parameter.param_type_name == "argument":
        return f"| `{parameter.name.upper()}` | {getattr(parameter, 'help', '')} |"
    names = ", ".join(f"`{n}`" for n in [*parameter.opts, *parameter.secondary_opts])
    return f"| {names} | {getattr(parameter, 'help', '')} |"


def openapi_page() -> str:
    """The OpenAPI 3.1 document of the HTTP API."""
    # Describing the routes opens nothing, so no more of the house is needed than this.
    needed: dict[str, Any] = {
        "settings": settings.Settings(),
        "ids": RandomIds(),
        "version": __version__,
        "clock": SystemClock(),
        "token": "",
    }
    parts = Services(**{field.name: None for field in fields(Services)} | needed)
    return json.dumps(create_app(parts).openapi(), indent=1, sort_keys=True) + "\n"


PAGES = {"settings.md": settings_page, "cli.md": cli_page, "openapi.json": openapi_page}


def main() -> int:
    """Write or compare."""
    check = "--check" in sys.argv
    stale = []
    for name, page in PAGES.items():
        path, text = REFERENCE / name, page()
        if not path.is_file() or path.read_text("utf-8") != text:
            stale.append(name)
            if not check:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, "utf-8")
    if stale:
        print(("out of date (run `make docs`): " if check else "written: ") + ", ".join(stale))
    return 1 if check and stale else 0


if __name__ == "__main__":
    sys.exit(main())
