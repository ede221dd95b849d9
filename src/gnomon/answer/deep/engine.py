"""One run of deep mode, step by step: look, note, decide where to look next, stop, report.

With a capable language model the model chooses the steps, by calling tools (`toolbox.py`);
without one, or after it failed, rules do (`directions.py`). Either way a claim enters the notebook
only with words that carry it, and the budget is counted here.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from typing import Protocol, TypeAlias

import msgspec
from msgspec import structs

from gnomon.answer.base import AnswerEvent, Finished, Question
from gnomon.answer.deep import directions
from gnomon.answer.deep.base import Direction, Finding, Run
from gnomon.answer.deep.report import Writing
from gnomon.answer.deep.toolbox import Toolbox
from gnomon.answer.desk import Desk
from gnomon.answer.extractive import ExtractiveWriter
from gnomon.answer.pages import Pages, cut
from gnomon.answer.plan import plan
from gnomon.answer.support import Read
from gnomon.clock import Clock
from gnomon.errors import ContentError, GnomonError, ModelError, StoreError
from gnomon.log import get_logger
from gnomon.models.base import GenerateRequest, Generator, Message, Reading, ToolCall
from gnomon.record.base import Record
from gnomon.types import Answer, Citation, Document, VerdictKind

Wishes: TypeAlias = Callable[[str], tuple[str, tuple[str, ...]]]
"""From an owner to wishes about the form of what is written, and the ids of where they stand."""
Tell: TypeAlias = Callable[[str, str], None]
"""Told what happened: the event's name and a sentence."""

DRY_STEPS = 4
"""So many steps without anything new end a run."""
_PER_STEP = 6
_LANGS = 3
_REPORT_TOKENS = 2_500
_TURN_TOKENS = 1_000
_KEPT_TURNS = 24
_log = get_logger()


class _Answers(Protocol):
    def answer(self, question: Question) -> AsyncIterator[AnswerEvent]: ...


class _Models(Protocol):
    def generator(self) -> Generator | None: ...

    def embedder(self) -> object | None: ...


class Prices(msgspec.Struct, frozen=True):
    """What the language model costs, US dollars a million tokens."""

    usd_per_m_input: float = 0.0
    usd_per_m_output: float = 0.0


class Engine:
    """Drives runs. Holds nothing of any run: all of it is in the `Run`."""

    def __init__(
        self,
        answerer: _Answers,
        record: Record,
        models: _Models,
        clock: Clock,
        *,
        pages: Pages | None = None,
        prices: Prices = Prices(),
        wishes: Wishes | None = None,
    ) -> None:
        """Without `pages` nothing is opened."""
        self._wishes = wishes
        self._answerer = answerer
        self._record = record
        self._models = models
        self._clock = clock
        self._pages = pages
        self._prices = prices

    async def steps(self, run: Run, tell: Tell) -> AsyncIterator[None]:
        """Work on `run` until it is `done`; yields after each step, when it can be stored.

        What fails outside (a page, the model) is told and worked around; only StoreError and
        ContentError about the question itself come through.
        """
        generator = self._models.generator()
        if generator is not None and generator.capable:
            try:
                async for _ in self._with_model(run, generator, tell):
                    yield
            except ModelError as error:
                tell("refused", f"{generator.name} failed; the run goes on by rule. {error}")
                run.dry = 0
        if run.status == "running" and not run.ended:
            async for _ in self._by_rule(run, tell):
                yield
        await self.report(run, tell)
        run.status = "done"
        yield

    async def report(self, run: Run, tell: Tell, *, quoting: bool = False) -> None:
        """Write the report from what the notebook holds now; `quoting` asks no model."""
        writing = await asyncio.to_thread(Writing, run, self._record, self._read())
        generator = self._models.generator()
        phrasing = not quoting and bool(writing.drafts) and self._left(run, report=True)
        if phrasing and generator is not None and generator.capable:
            try:
                wished, ids = await asyncio.to_thread(self._wished, run.owner)
                request = writing.request(_REPORT_TOKENS, wished)
                text, _ = await self._turn(run, generator, request)
                run.report = await writing.from_text(text, generator.name)
                if run.report.summary:
                    run.memories = tuple(dict.fromkeys((*run.memories, *ids)))
                    return
            except ModelError as error:
                tell("refused", f"{generator.name} failed; the report quotes. {error}")
            writing = await asyncio.to_thread(Writing, run, self._record, self._read())
        run.report = await writing.by_quoting()

    def _wished(self, owner: str) -> tuple[str, tuple[str, ...]]:
        # Looked up when they are needed: what is forgotten meanwhile is not used, and none is kept.
        return self._wishes(owner) if self._wishes is not None else ("", ())

    # -- by rule -----------------------------------------------------------------
    async def _by_rule(self, run: Run, tell: Tell) -> AsyncIterator[None]:
        if not run.behind:
            run.ahead = directions.first(run.question, plan(self._asked(run, run.question),
                                                            self._clock.now()))  # fmt: skip
        while run.ahead and self._left(run):
            direction = run.ahead.pop(0)
            if direction.text in run.behind and direction.why != "language":
                continue
            run.behind.append(direction.text)
            run.spent.steps += 1
            began_s = self._clock.monotonic()
            if direction.url:
                found = await self._open(run, direction.url, tell)
            else:
                found = await self._ask(run, direction, tell)
            run.spent.seconds += self._clock.monotonic() - began_s
            run.dry = 0 if found else run.dry + 1
            if run.dry >= DRY_STEPS:
                run.ended = "The last steps brought nothing new."
            yield
        run.ended = run.ended or ("Everything that came up was looked into." if not run.ahead else
                                  "The budget is used up.")  # fmt: skip

    async def _ask(self, run: Run, direction: Direction, tell: Tell) -> list[Finding]:
        langs = f" ({', '.join(direction.langs)})" if direction.langs else ""
        tell("asked", f"{direction.text}{langs}")
        asked = structs.replace(self._asked(run, direction.text), langs=direction.langs)
        answer = await self._answer(asked)
        run.disputes += [d.text for d in answer.disagreements]
        run.silent += [s.title or s.name for s in answer.freshness.silent]
        if answer.abstained and direction.why in ("question", "aspect", "other side"):
            run.empty.append(direction.text)
        found = self._keep(run, direction, _findings(answer, direction), tell)
        if direction.why == "question":
            run.ahead += await asyncio.to_thread(self._languages, run, answer)
        run.ahead += directions.further(
            run.question, found, [*run.behind, *(d.text for d in run.ahead)]
        )
        if self._pages is not None and run.as_of is None:
            texts = await asyncio.to_thread(self._texts, answer.citations)
            known = {*run.behind, *(d.url for d in run.ahead)}
            pointed = directions.links(answer.citations, texts)
            run.ahead[:0] = [d for d in pointed if d.url not in known]
        return found

    async def _open(self, run: Run, url: str, tell: Tell) -> list[Finding]:
        if self._pages is None:
            return []
        try:
            document, _ = await self._pages.open(url)
        except StoreError:
            raise
        except GnomonError as error:
            tell("refused", f"{url[:200]}: {error}")
            return []
        tell("opened", document.title or url)
        return self._keep(
            run, Direction(url, "link", url=url), await self._from_page(run, document), tell
        )

    async def _from_page(self, run: Run, document: Document) -> list[Finding]:
        """What an opened page says about the question."""
        asked = self._asked(run, run.question)
        planned = plan(asked, self._clock.now())
        passages = cut(document)
        desk = Desk(asked, planned, passages, read=self._read(), unsupported="drop")
        writer = ExtractiveWriter(clock=self._clock)
        written = [w.sentence async for w in desk.checked(writer)]
        return [
            Finding(
                text=s.text,
                citations=tuple(desk.citations[n - 1] for n in s.citations),
                verdict=s.verdict,
                direction=document.title or document.url,
                why="link",
            )
            for s in written
        ]

    def _languages(self, run: Run, answer: Answer) -> list[Direction]:
        """The languages of what was found besides the first: each is asked for itself."""
        langs = list(dict.fromkeys(c.lang for c in answer.citations if c.lang != "und"))
        return [Direction(run.question, "language", (lang,)) for lang in langs[1 : 1 + _LANGS]]

    def _texts(self, citations: Sequence[Citation]) -> list[str]:
        found = [self._record.version(c.key, c.version).document for c in citations]
        return [d.text if d is not None else "" for d in found]

    # -- with a language model ---------------------------------------------------
    async def _with_model(self, run: Run, generator: Generator, tell: Tell) -> AsyncIterator[None]:
        toolbox = Toolbox(
            run, self._answer, self._record, self._pages, self._read(),
            keep=lambda d, found: self._keep(run, d, found, tell), tell=tell,
        )  # fmt: skip
        messages = toolbox.opening()
        while self._left(run):
            run.spent.steps += 1
            before, began_s = len(run.notebook), self._clock.monotonic()
            request = GenerateRequest(
                messages=tuple(_recent(messages)),
                tools=toolbox.tools,
                tool_choice="auto",
                max_tokens=_TURN_TOKENS,
            )
            text, calls = await self._turn(run, generator, request)
            if not calls:
                run.ended = "The model ended its search."
            messages.append(Message(role="assistant", content=text, tool_calls=calls))
            for call in calls:
                messages.append(
                    Message(role="tool", content=await toolbox.run(call), tool_call_id=call.id)
                )
            run.spent.seconds += self._clock.monotonic() - began_s
            run.dry = 0 if len(run.notebook) > before else run.dry + 1
            if toolbox.finished:
                run.ended = "The model found nothing more to look into."
            elif run.dry >= 2 * DRY_STEPS:
                run.ended = "The last steps brought nothing new."
            yield
            if run.ended:
                return
        run.ended = "The budget is used up."

    async def _turn(
        self, run: Run, generator: Generator, request: GenerateRequest
    ) -> tuple[str, tuple[ToolCall, ...]]:
        text = ""
        calls: list[ToolCall] = []
        async with aclosing(generator.stream(request)) as chunks:  # type: ignore[type-var]
            async for chunk in chunks:
                text += chunk.text
                calls += chunk.tool_calls
                if chunk.finish_reason is not None:
                    run.spent.input_tokens += chunk.input_tokens
                    run.spent.output_tokens += chunk.output_tokens
                    prices = self._prices
                    run.spent.usd += chunk.input_tokens * prices.usd_per_m_input / 1e6
                    run.spent.usd += chunk.output_tokens * prices.usd_per_m_output / 1e6
        return text, tuple(calls)

    # -- both --------------------------------------------------------------------
    def _left(self, run: Run, *, report: bool = False) -> bool:
        """Whether the budget allows one more step; the report may use the last of the steps."""
        budget, spent = run.budget, run.spent
        money = budget.usd is None or spent.usd < budget.usd
        if report:
            return money
        going = not run.ended and spent.steps < budget.steps
        return going and spent.seconds < budget.seconds and money

    def _keep(
        self, run: Run, direction: Direction, found: Sequence[Finding], tell: Tell
    ) -> list[Finding]:
        kept = []
        for finding in found:
            if directions.is_new(finding, run.notebook):
                # What says all that an earlier one says, and more, stands in its place.
                run.notebook[:] = [f for f in run.notebook if not directions.says_all(finding, f)]
                run.notebook.append(finding)
                kept.append(finding)
                tell("noted", finding.text)
        return kept

    def _asked(self, run: Run, text: str) -> Question:
        return Question(text=text, as_of=run.as_of, mode="extract", max_sentences=_PER_STEP)

    async def _answer(self, question: Question) -> Answer:
        async with aclosing(self._answerer.answer(question)) as events:  # type: ignore[type-var]
            async for event in events:
                if isinstance(event, Finished):
                    return event.answer
        raise ContentError("The question got no answer.", code="deep.unanswered")

    def _read(self) -> Read | None:
        embedder = self._models.embedder()
        return embedder.read if isinstance(embedder, Reading) else None


def _findings(answer: Answer, direction: Direction) -> list[Finding]:
    by_number = {c.number: c for c in answer.citations}
    return [
        Finding(
            text=s.text,
            citations=tuple(by_number[n] for n in s.citations),
            verdict=s.verdict,
            direction=direction.text,
            why=direction.why,
            origins=s.origins,
        )
        for s in answer.sentences
        if s.citations and s.verdict.kind in (VerdictKind.SUPPORTED, VerdictKind.PARTLY)
    ]


def _recent(messages: Sequence[Message]) -> list[Message]:
    """The opening and the latest turns, beginning with an assistant's, so that no call lacks its
    result."""
    opening, rest = list(messages[:2]), list(messages[2:])
    if len(rest) > _KEPT_TURNS:
        rest = rest[-_KEPT_TURNS:]
        while rest and rest[0].role == "tool":
            rest.pop(0)
    return opening + rest
