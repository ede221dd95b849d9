"""The demo world for a month: every answer judged by the town's own truth at that moment.

Questions are asked at moments spread over the month, and five seconds after a fact's change became
known, where an answer is either new or stale. A citation is right if its document states the value
that was right; the town knows which do.

The same questions go to a baseline, which answers from the snippets of a search by words. A Gnomon
behind a URL holds one seed's month and is asked alone: the baseline reads the record itself.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from msgspec import structs

from gnomon.answer.base import Question
from gnomon.clock import ManualClock
from gnomon.errors import ConfigError
from gnomon.eval.base import Asked, Bench, Figure, History, Suite
from gnomon.eval.figures import Figures
from gnomon.eval.houses import Inside
from gnomon.eval.snippets import Snippets
from gnomon.testing.world import DemoTown, Judged, Outcome, TruthQuestion, judge
from gnomon.types import Delete, Upsert

_DEMO, _KEPT = "demo:", "town:"
_START = datetime(2026, 10, 20, 12, tzinfo=UTC)
_MOMENTS = 6
_CHANGES = 120
_JUST = timedelta(seconds=5)
_LAGS = (
    ("within an hour", timedelta(hours=1)),
    ("within a day", timedelta(days=1)),
    ("within a week", timedelta(days=7)),
    ("later", timedelta.max),
)


async def run(bench: Bench) -> list[Figure]:
    """Figures of each seed."""
    figures: list[Figure] = []
    for seed in _seeds(bench):
        figures += await _seed(bench, seed, _life(bench))
    return figures


def _seeds(bench: Bench) -> list[int]:
    """The towns that are asked about. Raises ConfigError for several in one record."""
    seeds = [int(seed) for seed in bench.listed("seeds", "21")]
    if len(seeds) > 1 and not bench.inside:
        raise ConfigError(
            "A Gnomon behind a URL holds the month of one town: two would contradict each other.",
            code="eval.seeds",
            hint=f"Give one of them: --with seeds={seeds[0]}.",
        )
    return seeds


def _life(bench: Bench) -> timedelta:
    return timedelta(days=int(bench.args.get("days", "30")))


def _documents(bench: Bench) -> History:
    """The month that a Gnomon behind a URL has to hold."""
    end = _START + _life(bench)
    seed, *_ = _seeds(replace(bench, inside=False))
    town = DemoTown(seed=seed, start=_START, clock=ManualClock(end))
    return [_elsewhere(*each) for each in asyncio.run(_lived(town, end))]


def _elsewhere(source: str, change: Upsert | Delete) -> tuple[str, Upsert | Delete]:
    """The change under other names: what a home holds of the demo goes when its demo ends."""
    key = change.document.key if isinstance(change, Upsert) else change.key
    key, source = _KEPT + key.removeprefix(_DEMO), _KEPT + source.removeprefix(_DEMO)
    if isinstance(change, Delete):
        return source, structs.replace(change, key=key)
    document = structs.replace(change.document, key=key, source=source)
    return source, structs.replace(change, document=document)


async def _lived(town: DemoTown, end: datetime) -> History:
    await town.start()
    try:
        return await asyncio.to_thread(_history, town, end)
    finally:
        await town.stop()


async def _seed(bench: Bench, seed: int, life: timedelta) -> list[Figure]:
    end = _START + life
    clock = ManualClock(end)
    town = DemoTown(seed=seed, start=_START, clock=clock)
    house = await bench.house(f"demo {seed}", await _lived(town, end) if bench.inside else ())
    langs = bench.listed("langs", "en")
    tallies = [_Tally(f"seed {seed}", bench, house.ask)]
    if isinstance(house, Inside):
        snippets = Snippets(house, house.record, bench.scorer)
        tallies.append(_Tally(f"seed {seed}, snippets alone", bench, snippets.ask))
    for moment in (end - life * n / _MOMENTS for n in reversed(range(_MOMENTS))):
        asked = await asyncio.to_thread(town.truth.questions, moment, langs)
        chosen = bench.picked(asked)
        for question in chosen:
            for tally in tallies:
                await tally.ask(question, moment)
        bench.tell(f"seed {seed}: {len(chosen)} questions as of {moment:%Y-%m-%d %H:%M}")
    changes = await asyncio.to_thread(_changes, town, end)
    for topic, known_at in bench.picked(changes, most=_CHANGES):
        moment = known_at + _JUST
        for asked_now in await asyncio.to_thread(town.truth.questions, moment):
            if asked_now.topic == topic and asked_now.answerable and asked_now.since == known_at:
                for tally in tallies:
                    await tally.just(asked_now, moment)
                break
    return [figure for tally in tallies for figure in tally.figures()]


def _history(town: DemoTown, end: datetime) -> History:
    return list(town.history(end))


def _changes(town: DemoTown, end: datetime) -> list[tuple[str, datetime]]:
    """(topic, when it became known) of every lasting fact that replaced another one."""
    world = town.world
    found: set[tuple[str, datetime]] = set()
    for topic in world.topics(end):
        if world.lasts(topic.id):
            spans = town.truth.spans(topic.id, end)
            found |= {(topic.id, s.known_at) for s in spans[1:] if s.known_at is not None}
    return sorted((c for c in found if c[1] + _JUST <= end), key=lambda c: (c[1], c[0]))


class _Tally:
    """What was asked of one who answers about one town."""

    def __init__(
        self, case: str, bench: Bench, ask: Callable[[Question], Awaitable[Asked]]
    ) -> None:
        self._ask = ask
        self._out = Figures(case, bench.rng)
        self._judged: list[Judged] = []
        self._by_lag: dict[str, list[bool]] = defaultdict(list)
        self._stale: list[bool] = []
        self._stale_just: list[bool] = []
        self._right_just: list[bool] = []
        self._precision: list[bool] = []
        self._recall: list[bool] = []
        self._took: list[float] = []
        self._rumours: list[bool] = []

    async def ask(self, question: TruthQuestion, moment: datetime) -> None:
        """One question at a moment of the month."""
        asked = await self._ask(Question(text=question.text, as_of=moment))
        answer = asked.answer
        self._took.append(asked.took_ms)
        judged = judge(question, answer)
        self._judged.append(judged)
        if not question.answerable:
            return
        right = judged.outcome is Outcome.RIGHT
        self._stale.append(judged.outcome is Outcome.OUTDATED)
        if question.since is not None:
            lag = moment - question.since
            self._by_lag[next(name for name, most in _LAGS if lag <= most)].append(right)
        if question.trap == "rumour":
            self._rumours.append(judged.outcome in (Outcome.RIGHT, Outcome.MISSED))
        if not answer.abstained:
            cited = [c.key.replace(_KEPT, _DEMO, 1) for c in answer.citations]
            self._precision += [key in question.supporting for key in cited]
            self._recall.append(bool(set(cited) & set(question.supporting)))

    async def just(self, question: TruthQuestion, moment: datetime) -> None:
        """One question right after the fact changed."""
        asked = await self._ask(Question(text=question.text, as_of=moment))
        judged = judge(question, asked.answer)
        self._stale_just.append(judged.outcome is Outcome.OUTDATED)
        self._right_just.append(judged.outcome is Outcome.RIGHT)

    def figures(self) -> list[Figure]:
        """All figures."""
        out = self._out
        answerable = [j for j in self._judged if j.question.answerable]
        outcomes = [j.outcome for j in answerable]
        out.share("right", [o is Outcome.RIGHT for o in outcomes])
        out.share("right in the first sentence", [j.leads for j in answerable])
        for name, _ in _LAGS:
            out.share(f"right, known {name}", self._by_lag[name])
        out.share("stale", self._stale)
        out.share("stale, 5 s after the change was seen", self._stale_just)
        out.share("right, 5 s after the change was seen", self._right_just)
        out.share("missed", [o is Outcome.MISSED for o in outcomes])
        out.share("not taken in by a rumour", self._rumours)
        for trap, name in (("near_miss", "never told"), ("not_yet", "not told yet")):
            silent = [
                j.outcome is Outcome.ABSTAINED
                for j in self._judged
                if not j.question.answerable and j.question.trap == trap
            ]
            out.share(f"silent, {name}", silent)
        out.share("citations that state the right value", self._precision)
        out.share("answers with such a citation", self._recall)
        out.percentile("answer, median", self._took, 50)
        out.percentile("answer, 95th", self._took, 95)
        return out.list


SUITE = Suite(
    name="demo-world",
    title="A month of the demo world: right, stale, rumours, silence; beside search snippets",
    run=run,
    documents=_documents,
)
