"""`gnomon eval`: how good answers and trained models are, beside the numbers before."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
import typer.core

from gnomon.client import Client
from gnomon.commands.common import Json, load
from gnomon.errors import ConfigError

SUITES = "suites"
Names = Annotated[list[str] | None, typer.Argument(help="Suites; all that can be run if none.")]


class _SuitesUnlessNamed(typer.core.TyperGroup):
    """`gnomon eval NAME` means `gnomon eval suites NAME` where NAME is no command."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if not args or args[0] not in (*self.commands, *self.get_help_option_names(ctx)):
            args = [SUITES, *args]
        return super().parse_args(ctx, args)


def register(app: typer.Typer) -> None:
    """Add the commands."""
    group = typer.Typer(
        cls=_SuitesUnlessNamed,
        help="Measure answers with suites (the default), or a trained model with `run`.",
    )
    group.command(SUITES)(evaluate)
    group.command("run")(run_model)
    app.add_typer(group, name="eval")


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


def run_model(
    model: Annotated[
        str, typer.Argument(help="A run's name or folder, a GGUF file, or a registered model.")
    ],
    text: Annotated[
        list[Path] | None,
        typer.Option(help="File or folder that it was not trained on; repeatable."),
    ] = None,
    words: Annotated[int, typer.Option(min=0, help="Next words to pick out of four.")] = 200,
    tasks: Annotated[
        str, typer.Option(help="Tasks of lm-eval, parted by commas; their data must be here.")
    ] = "",
    include: Annotated[
        Path | None, typer.Option(help="Folder with task definitions and data of your own.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Questions of each task.")] = None,
    shots: Annotated[
        int | None, typer.Option(min=0, help="Worked examples before each question.")
    ] = None,
    results: Annotated[Path, typer.Option(help="Folder of results.")] = Path("eval/results"),
    keep: Annotated[bool, typer.Option("--keep/--no-keep", help="Write the result.")] = True,
    as_json: Json = False,
) -> None:
    """Measure a trained model: how well it reads a text, and how it does in tasks of lm-eval."""
    from gnomon.train.need import need

    names = [name.strip() for name in tasks.split(",") if name.strip()]
    if not text and not names:
        raise ConfigError(
            "There is nothing to measure by.",
            code="eval.nothing",
            hint="Name --text FILE, text that it was not trained on, or --tasks NAME, or both.",
        )
    need("torch", "gguf")
    import msgspec

    from gnomon import __version__
    from gnomon.clock import SystemClock
    from gnomon.eval import results as stored
    from gnomon.eval.base import Figure
    from gnomon.train.evaluate import evaluate as read
    from gnomon.train.evaluate import held_out
    from gnomon.train.subject import of
    from gnomon.train.tasks.ask import ask, ready, setup

    def tell(said: str) -> None:
        typer.echo(said, err=True)

    clock = SystemClock()
    began, at = clock.monotonic(), clock.now()
    texts = held_out(text) if text else []
    found_tasks = ready(names, include) if names else None
    subject = of(model, load().settings.home)
    told: dict[str, Any] = {"window": subject.window}
    measured = []
    if texts:
        found = read(subject, texts, words=words, tell=tell)
        told |= {"text_sha256": found.text_sha256, "words": words}
        case = f"{len(texts):,} text{'s' * (len(texts) != 1)}"
        measured += [(case, measure.name, measure) for measure in found.measures]
    if found_tasks:
        figures = ask(subject, found_tasks, limit=limit, shots=shots, tell=tell)
        told |= setup(figures, limit)
        measured += [(figure.case, figure.metric, figure.measure) for figure in figures]
    result = stored.Result(
        suite=f"model-{subject.name}",
        at=at,
        version=__version__,
        where="in process",
        setup=told,
        machine=stored.machine(),
        took_s=round(clock.monotonic() - began, 1),
        figures=tuple(
            Figure(case=case, name=name, value=m.value, low=m.low, high=m.high, n=m.n, unit=m.unit)
            for case, name, m in measured
        ),
    )
    if as_json:
        print(msgspec.json.format(msgspec.json.encode(result), indent=1).decode())
    else:
        print(f"{subject.name}, shown {subject.window:,} tokens at once ({result.took_s:.0f} s)")
        print(stored.table(result, stored.before(stored.load(results, result.suite), result)))
    if keep:
        print(f"Wrote {stored.save(results, result)}.", file=sys.stderr)


def _client(url: str) -> Client:
    return Client(url, load().settings)


def _argument(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals:
        raise ConfigError(
            f"--with {text} has no value.", code="eval.argument", hint="Write --with NAME=VALUE."
        )
    return name, value
