"""`gnomon forge demo`: the whole way from text to a served model, told step by step."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from gnomon import log
from gnomon.client import running
from gnomon.commands.common import client, load
from gnomon.commands.models import tell_server
from gnomon.errors import ConfigError, ModelTerminal
from gnomon.models.registry import Entry
from gnomon.settings import Settings
from gnomon.train.judgement import Judgement, read_judgement

if TYPE_CHECKING:
    from gnomon.testing.world.reading import TownText
    from gnomon.train.demo import Scale

_STEPS = 300
_ASKED = 5
_ANSWER_TOKENS = 32
Step = tuple[str, Callable[[], str]]


def demo(
    steps: Annotated[int, typer.Option(min=1, help="Steps of training.")] = _STEPS,
    minutes: Annotated[
        float | None,
        typer.Option(min=0.1, max=1_000, help="Instead of steps: how long to train, about."),
    ] = None,
    name: Annotated[str, typer.Option(help="Name of the run and of the model.")] = "demo",
    fresh: Annotated[bool, typer.Option("--fresh", help="Begin anew.")] = False,
) -> None:
    """Train a small model from text at hand, judge it, serve it and ask it; without a network.

    Stopped at any moment, it goes on from there when it is started again.
    """
    from gnomon.train.need import need

    need("torch", "tensorboard", "tiktoken", "gguf")
    _need_engine()
    # Spinning threads lose most of their time wherever anything else runs. Read when PyTorch loads.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    loaded = load()
    log.configure(loaded.settings.log.model_copy(update={"level": "warning"}))
    from gnomon.testing.world.reading import TownText
    from gnomon.train.demo import Scale

    home = loaded.settings.home
    shown = Shown(home, name, Scale(steps=steps, minutes=minutes), TownText())
    if fresh:
        for folder in (shown.folder, shown.run):
            shutil.rmtree(folder, ignore_errors=True)
    shown.through()


class Shown:
    """A demo whose steps are told as they happen."""

    def __init__(self, home: Path, name: str, scale: Scale, town: TownText) -> None:
        from gnomon.clock import SystemClock
        from gnomon.models.registry import Registry
        from gnomon.train.demo import Demo

        self._home = home
        self.folder, self.run = home / "forge" / name, home / "runs" / name
        self.page = self.folder / "report.html"
        self._name, self._town = name, town
        self._demo = Demo(self.folder, self.run, scale, SystemClock())
        self.registry = Registry(home / "registry", SystemClock())
        self._file: Path
        self._judgement: Judgement
        self._entry: Entry
        self._answers: list[tuple[str, str, str, bool]] = []
        self._notes: list[tuple[str, str]] = []

    def through(self) -> None:
        """Take every step that is not done, and say where everything is."""
        steps = self._steps()
        at, began = 0, time.monotonic()
        try:
            for at, (title, step) in enumerate(steps):
                then = f"; then: {_inside(steps[at + 1][0])}" if at + 1 < len(steps) else ""
                print(f"[{at + 1}/{len(steps)}] {title}{then}", flush=True)
                since = time.monotonic()
                said = step()
                self._notes.append((title, said))
                print(f"       {said} ({time.monotonic() - since:.0f} s)", flush=True)
        except KeyboardInterrupt:
            print(
                f"\nStopped in step {at + 1}, {_inside(steps[at][0])}. "
                "`gnomon forge demo` goes on from there.",
                flush=True,
            )
            raise typer.Exit(130) from None
        print(f"\nDone in {(time.monotonic() - began) / 60:.1f} minutes.")
        print(f"Page:  {self.page}")
        found = running(self._home)
        url = found.url if found else _address(load().settings)
        if not found:
            print(f"Serve: gnomon --home {shlex.quote(str(self._home))} up")
        print(f"Ask:   {chat_command(url, self._entry.id, self._town.questions()[0].text)}")

    def _steps(self) -> list[Step]:
        demo = self._demo
        return [
            (
                "Gather text of the demo world and of installed Python packages",
                lambda: demo.gather(self._town.pages(), self._town.talks()),
            ),
            ("Judge and deduplicate it", demo.corpus),
            ("Learn a tokenizer", demo.tokenizer),
            ("Encode", demo.tokens),
            ("Plan the run", demo.plan),
            ("Train", self._train),
            ("Export and judge what would be served", self._judge),
            ("Register it, and let it serve", self._register),
            ("Ask it through the chat API", self._ask),
            ("Draw the page", self._draw),
        ]

    def _train(self) -> str:
        from gnomon.train.watch import progress_line

        said = self._demo.train(progress_line)
        typer.echo(err=True)
        return said

    def _judge(self) -> str:
        from gnomon.train import gate
        from gnomon.train.corpus.manifest import file_sha256
        from gnomon.train.release import export, judge

        file = self.run / f"{self._name}-f16.gguf"
        judgement = read_judgement(self.run)
        done = judgement and file.is_file() and judgement.file_sha256 == file_sha256(file)
        if not done or judgement is None:
            file = export(self.run, name=self._name)
            judgement = judge(self.run, file, self.registry)
        self._file, self._judgement = file, judgement
        return "; ".join(map(gate.shown, judgement.checks))

    def _register(self) -> str:
        from gnomon.train.release import release

        sha256 = self._judgement.file_sha256
        known = [e for e in self.registry.list() if (e.name, e.sha256) == (self._name, sha256)]
        before = next((entry for entry in known if entry.passed), None)
        if before:  # whatever serves since was chosen by somebody
            self._entry = before
            return f"{before.id} is registered, {before.state}"
        try:
            entry = release(self.run, self._file, self._judgement, self._name, self.registry)
        except ModelTerminal:
            self._draw()
            print(f"       Refused. Its figures and plots: {self.page}", flush=True)
            raise
        tell_server(entry)
        self._entry = entry
        return f"{entry.id} serves"

    def _ask(self) -> str:
        with client() as server:
            for asked in self._town.questions()[:_ASKED]:
                body = {
                    "model": self._entry.id,
                    "messages": [{"role": "user", "content": asked.text}],
                    "max_tokens": _ANSWER_TOKENS,
                    "temperature": 0,
                }
                answer = server.call("POST", "/v1/chat/completions", body)
                text = answer["choices"][0]["message"]["content"].strip()
                print(f"       {asked.text}\n         {text}", flush=True)
                self._answers.append((asked.text, text, asked.says, asked.right(text)))
        right = sum(answer[-1] for answer in self._answers)
        return f"{right} of {len(self._answers)} answers are right"

    def _draw(self) -> str:
        from gnomon.train.runs import report, table

        talk = [(q, a, truth, "right" if right else "") for q, a, truth, right in self._answers]
        sections = [
            (
                "Asked through the chat API, what its training text told it",
                table(("question", "answer", "truth", ""), talk),
            ),
            ("How it was made", table(("step", "what came of it"), self._notes)),
        ]
        self.page.write_text(report(self.run, sections))
        return f"{self.page.stat().st_size / 1e3:.0f} kB"


def _inside(title: str) -> str:
    """A title in the middle of a sentence."""
    return title[0].lower() + title[1:]


def chat_command(url: str, model: str, question: str) -> str:
    """The command that asks a served model."""
    body = {"model": model, "messages": [{"role": "user", "content": question}], "temperature": 0}
    return (
        f"curl {url}/v1/chat/completions -H 'content-type: application/json' "
        f"-d {shlex.quote(json.dumps(body))}"
    )


def _address(settings: Settings) -> str:
    """Where `gnomon up` would serve."""
    return f"http://{settings.server.host}:{settings.server.port}"


def _need_engine() -> None:
    import importlib.util

    if importlib.util.find_spec("xllamacpp") is None:
        raise ConfigError(
            "The demo serves its model with llama.cpp, which is not installed.",
            code="demo.not_installed",
            hint="Install it with `pip install 'gnomon[train,llm]'`.",
        )
