"""`gnomon eval`: how good the answers are, in numbers, beside the numbers before."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from gnomon.client import Client
from gnomon.commands.common import Json, load
from gnomon.errors import ConfigError

Names = Annotated[list[str] | None, typer.Argument(help="Suites; all that can be run if none.")]


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("eval")(evaluate)


def evaluate(
    names: Names = None,
    listed: Annotated[bool, typer.Option("--list", help="List the suites and leave.")] = False,
    url: Annotated[str, typer.Option(help="Ask a running Gnomon that holds the documents.")] = "",
    data: Annotated[
        Path | None,
        typer.Option(envvar="GNOMON_TEST_DATA", help="Folder of third-party data sets."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each case.")] = None,
    arguments: Annotated[
        list[str] | None, typer.Option("--with", help="For the suite: NAME=VALUE; repeatable.")
    ] = None,
    words_alone: Annotated[
        bool, typer.Option("--words-alone", help="Leave the models out.")
    ] = False,
    results: Annotated[Path, typer.Option(help="Folder of results.")] = Path("eval/results"),
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="Write the result.")] = True,
    documents: Annotated[
        Path | None,
        typer.Option(help="Write what the suite's Gnomon must hold to this file, and leave."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Measure answers, rankings and verdicts with named suites; print one table each."""
    from gnomon.eval import results as stored
    from gnomon.eval.runner import Wanted, named, run, suites, write_documents

    if listed:
        for suite in suites().values():
            print(f"{suite.name:<18}{suite.title}")
        return
    loaded = load()
    wanted = Wanted(
        data=data,
        limit=limit,
        models=None if words_alone else loaded.settings.models_dir,
        settings=loaded.settings.answer,
        args=dict(map(_argument, arguments or ())),
    )
    chosen = named(names or ())
    if documents is not None:
        rows = write_documents(chosen, wanted, documents)
        print(f"Wrote {rows:,} rows to {documents}; load them with `gnomon record import`.")
        return
    client = _client(url) if url else None
    failed: list[ConfigError] = []
    for suite in chosen:
        try:
            result = asyncio.run(
                run(
                    suite,
                    wanted,
                    client=client,
                    where=url or "in process",
                    tell=lambda text: typer.echo(text, err=True),
                )
            )
        except ConfigError as error:
            if names:
                raise
            failed.append(error)
            continue
        earlier = stored.before(stored.load(results, suite.name), result)
        if as_json:
            import msgspec

            print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
        else:
            print(f"\n{suite.name}: {suite.title} ({result.took_s:.0f} s, {result.where})")
            print(stored.table(result, earlier))
        if keep:
            stored.save(results, result)
    for reason in failed:
        typer.echo(f"Left out: {reason}", err=True)


def _client(url: str) -> Client:
    return Client(url, load().settings)


def _argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"--with {text} has no value.", code="eval.argument", hint="Write --with NAME=VALUE."
        )
    return name, value
