"""X's filtered stream: rules kept in step, posts as they come, and a search for what was missed.

The stream is neither ordered nor free of repetitions, and it has no replay. After a break, recent
search brings what the rules would have brought, as far as the money of the day goes; the rest is a
gap. The stream is left before the budget of the day is spent.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any

from gnomon.clock import from_us, to_us
from gnomon.errors import ContentError, UpstreamTerminal, UpstreamTransient
from gnomon.sources.base import Context
from gnomon.sources.x_api import FIELDS, STREAM_FIELDS, Api, limited, refusal, unreadable
from gnomon.sources.x_memory import RECOVERABLE, Hole, Memory, Step, gap_of
from gnomon.sources.x_money import Purse
from gnomon.sources.x_posts import chain, document, hidden, id_at, is_repost, key_of
from gnomon.types import Change, Gap, Notice, Purge, Upsert

STREAM_PATH = "/2/tweets/search/stream"
RULES_PATH = "/2/tweets/search/stream/rules"
RECENT_PATH = "/2/tweets/search/recent"
MAX_QUERY_CHARS = 512
_AHEAD = 10
"""Posts that are paid for in advance."""
_MARGIN = 5
"""Posts that may be on their way when the stream is left."""
_OVERLAP = timedelta(seconds=60)
"""Posts may come late and out of order; so much is asked for twice."""
_KEEP_S = 60.0
_PAGE_POSTS = 100
_MIN_PAGE_POSTS = 10
_MAX_CONNECTS = 45
"""Of the 50 that X allows in 15 minutes."""
_RETRY_S = 15.0
_UNSEARCHABLE = ("sample:", "bio:", "bio_name:", "bio_location:", "followers_count:")


class Listener:
    """One run of the source: what its parts share."""

    def __init__(
        self, ctx: Context, api: Api, memory: Memory, purse: Purse, rules: Sequence[str]
    ) -> None:
        self.ctx = ctx
        self.api = api
        self.memory = memory
        self.purse = purse
        self.rules = rules
        self.queries = searches(rules)
        self._users: set[str] = set()
        self._users_day = ""
        self._booked: int = 0
        self._holes = asyncio.Event()
        if memory.holes:
            self._holes.set()
        prices = ctx.settings
        self._post_micros: int = round(prices.post_usd * 1_000_000)
        self._user_micros: int = round(prices.user_usd * 1_000_000)
        self.worst_micros: int = self._post_micros + self._user_micros

    # -- the stream -----------------------------------------------------------
    async def stream(self) -> AsyncGenerator[Step, None]:
        """Listen for as long as there is money, every day again. Raises when the stream breaks."""
        stopped_us = self.memory.stopped_us
        while True:
            if stopped_us:
                await self._rest_until_money()
                start, end = from_us(stopped_us), self.ctx.clock.now()
                stopped_us = 0
                yield Step(
                    [Gap(reason="The day's budget for X was spent.", start=start, end=end)],
                    note=_resumed,
                )
            if not self._book_ahead():
                stopped_us = to_us(self.ctx.clock.now())
                yield self._stop(stopped_us)
                continue
            try:
                await sync_rules(self.ctx, self.api, self.rules)
                yield Step(note=self._connecting())
                async for step in self._listen():
                    yield step
            finally:
                self.purse.settle(self._booked, 0)
                self._booked = 0
            stopped_us = to_us(self.ctx.clock.now())
            yield self._stop(stopped_us)

    async def _listen(self) -> AsyncGenerator[Step, None]:
        """What the stream says, until the money ends. Raises when the stream does."""
        url = self.api.url(STREAM_PATH, STREAM_FIELDS)
        clock = self.ctx.clock
        try:
            async with self.ctx.fetcher.lines(
                url, headers=self.api.headers, idle_s=self.ctx.settings.idle_s
            ) as lines:
                yield Step(note=self._connected)
                kept_s, sound = clock.monotonic(), False
                async for line in lines:
                    self.ctx.heard(text=self.purse.sentence())
                    step = self._step(line) if line.strip() else None
                    if step is None and (not sound or clock.monotonic() > kept_s + _KEEP_S):
                        step = Step()
                    if step is not None:
                        step.note = self._heard
                        sound, kept_s = True, clock.monotonic()
                        yield step
                    if not self._book_ahead():
                        return
        except UpstreamTerminal as error:
            if error.code != "net.status":
                raise
            status = error.fields.get("status")
            raise refusal(
                STREAM_PATH, status if isinstance(status, int) else 400, str(error.fields["body"])
            ) from None
        except UpstreamTransient as error:
            raise limited(STREAM_PATH, error) from None
        except ContentError as error:
            raise unreadable(error) from None
        raise UpstreamTransient("X ended the stream.", code="x.ended")

    def _step(self, line: bytes) -> Step | None:
        try:
            message = json.loads(line)
        except (ValueError, RecursionError):
            message = None
        if not isinstance(message, dict):
            self.ctx.count("line.unreadable")
            return None
        post, includes = message.get("data"), mapping(message.get("includes"))
        for problem in objects(message.get("errors")):
            title = str(problem.get("title", "error"))
            if post is None and "resource" not in str(problem.get("type", "")):
                raise UpstreamTransient(
                    f"X ended the stream: {problem.get('detail') or title}.",
                    code=f"x.{title[:40].lower().replace(' ', '-')}",
                )
            self.ctx.count("post.incomplete")
        if not isinstance(post, dict):
            return None
        cost = self.cost([post], includes)
        self.purse.settle(min(cost, self._booked), cost)
        self._booked -= min(cost, self._booked)
        return Step(posts=self.read([post], includes))

    def read(
        self, posts: Sequence[Any], includes: Mapping[str, Any]
    ) -> list[tuple[tuple[str, ...], Change]]:
        """What posts mean for the record, in their order; the unusable are counted."""
        found: list[tuple[tuple[str, ...], Change]] = []
        for post in posts:
            try:
                if not isinstance(post, dict):
                    raise ContentError("no post", code="post.unreadable")
                ids = chain(post)
                if is_repost(post):
                    self.ctx.count("post.repost")
                elif reason := hidden(post, includes):
                    found.append((ids, Purge(key=key_of(ids[0]), reason=reason)))
                else:
                    name, now = self.ctx.config.name, self.ctx.clock.now()
                    found.append((ids, Upsert(document(post, includes, source=name, now=now))))
            except ContentError as error:
                self.ctx.count(error.code)
        return found

    def _connecting(self) -> Any:
        now_us = to_us(self.ctx.clock.now())
        recent = [us for us in self.memory.connects_us if now_us - 900_000_000 < us <= now_us]
        if len(recent) >= _MAX_CONNECTS:
            raise UpstreamTransient(
                f"The stream was opened {len(recent)} times in 15 minutes; X allows 50.",
                code="x.connects",
                retry_after_s=(recent[0] - now_us) / 1e6 + 900.0,
            )
        return lambda memory: memory.connects_us.append(now_us)

    def _connected(self, memory: Memory) -> list[Change]:
        """The stream is open: from now on nothing is missed, so look for what was."""
        now = self.ctx.clock.now()
        back_s = self.ctx.settings.first_search_s
        if not memory.until_us and not memory.connects_us[1:] and back_s:
            memory.until_us = to_us(now - timedelta(seconds=back_s))
        gaps = self.note_missed(memory, self.queries, now) if memory.until_us else []
        memory.until_us = to_us(now)
        return gaps

    def note_missed(self, memory: Memory, queries: Sequence[str], now: datetime) -> list[Change]:
        """Have `recover` search for what came since the stream was last heard."""
        since = from_us(memory.until_us)
        gaps = memory.missed(queries, since - _OVERLAP, now)
        lost = [rule for rule in self.rules if not searchable(rule)]
        if lost:
            reason = f"Recent search cannot replay these rules: {', '.join(lost)[:300]}"
            gaps.append(Gap(reason=reason, start=since, end=now))
        self._holes.set()
        return gaps

    def _heard(self, memory: Memory) -> None:
        memory.until_us = to_us(self.ctx.clock.now())
        memory.attempt = 0

    # -- money ----------------------------------------------------------------
    def _book_ahead(self) -> bool:
        """Pay for the next posts; whether there is enough to go on."""
        wanted = _AHEAD - self._booked // self.worst_micros if self.worst_micros else 0
        n = self.purse.affordable(self.worst_micros, max(wanted, 0))
        self.purse.book(n * self.worst_micros)
        self._booked += n * self.worst_micros
        return self._booked >= _MARGIN * self.worst_micros

    def cost(self, posts: Sequence[Any], includes: Mapping[str, Any]) -> int:
        """What X bills for these. Users count once a day, as far as this run remembers."""
        if self._users_day != self.purse.day:
            self._users, self._users_day = set(), self.purse.day
        users = {str(user.get("id")) for user in objects(includes.get("users"))} - self._users
        self._users |= users
        others = len(objects(includes.get("posts"))) + len(objects(includes.get("tweets")))
        return (len(posts) + others) * self._post_micros + len(users) * self._user_micros

    def _stop(self, now_us: int) -> Step:
        text = (
            f"Listening to X stops until tomorrow (UTC), before the budget does: "
            f"{self.purse.sentence()}, the rest is kept for duties."
        )

        def note(memory: Memory) -> None:
            memory.stopped_us, memory.until_us = now_us, 0

        return Step([Notice(code="x.budget", text=text, level="warning")], note=note)

    async def _rest_until_money(self) -> None:
        clock = self.ctx.clock
        while self.purse.affordable(self.worst_micros, _AHEAD) < _AHEAD:
            now = clock.now()
            wait_s = ((now + timedelta(days=1)).date() - now.date()).days * 86_400.0 - (
                now - now.replace(hour=0, minute=0, second=0, microsecond=0)
            ).total_seconds()
            text = f"the day's budget is used up ({self.purse.sentence()}); it renews at 00:00 UTC"
            self.ctx.heard(state="blocked", text=text, next_in_s=wait_s)
            await clock.sleep(wait_s)

    # -- what was missed --------------------------------------------------------
    async def recover(self) -> AsyncGenerator[Step, None]:
        """Search for what breaks of the stream left out, newest first."""
        while True:
            if not self.memory.holes:
                self._holes.clear()
                await self._holes.wait()
                continue
            try:
                step = await self._search(self.memory.holes[0])
            except UpstreamTransient as error:
                self.ctx.count("recovery.delayed")
                await self.ctx.clock.sleep(max(error.retry_after_s or 0.0, _RETRY_S))
                continue
            except UpstreamTerminal as error:
                step = _give_up(self.memory.holes[0], f"Recent search refuses: {error.message}")
            yield step
            await step.accepted.wait()

    async def _search(self, hole: Hole) -> Step:
        """One page of a hole."""
        now = self.ctx.clock.now()
        since = max(from_us(hole.since_us), now - RECOVERABLE + timedelta(minutes=1))
        n = self.purse.affordable(self.worst_micros, _PAGE_POSTS)
        if n < _MIN_PAGE_POSTS:
            return _give_up(hole, "The day's budget for X did not suffice to search for this.")
        params = {
            **FIELDS,
            "query": hole.query,
            "max_results": n,
            "since_id": str(id_at(since)),
            **({"until_id": hole.before_id} if hole.before_id else {}),
        }
        booked = n * self.worst_micros
        self.purse.book(booked)
        real = booked
        try:
            answer = await self.api.get(RECENT_PATH, params)
            posts, includes = objects(answer.get("data")), mapping(answer.get("includes"))
            real = self.cost(posts, includes)
        except UpstreamTerminal:
            real = 0
            raise
        finally:
            self.purse.settle(booked, real)
        meta = mapping(answer.get("meta"))
        oldest = str(meta.get("oldest_id") or "")
        changes: list[Change] = []
        if since > from_us(hole.since_us):
            lost = Hole(hole.query, hole.since_us, to_us(since))
            changes.append(gap_of(lost, "X searches only the last seven days."))
        if meta.get("next_token") and oldest and oldest != hole.before_id:

            def note(memory: Memory) -> None:
                hole.before_id, hole.since_us = oldest, to_us(since)
        else:

            def note(memory: Memory) -> None:
                memory.holes.remove(hole)

        return Step(changes, posts=self.read(posts[::-1], includes), note=note)


def _give_up(hole: Hole, reason: str) -> Step:
    return Step([gap_of(hole, reason)], note=lambda memory: memory.holes.remove(hole))


def _resumed(memory: Memory) -> None:
    memory.stopped_us = 0


async def sync_rules(ctx: Context, api: Api, rules: Sequence[str]) -> None:
    """Make the stream's rules ours: add what is missing, delete ours that are no longer wanted.

    Rules that somebody else made are left alone; one of the same value serves us as it is.
    """
    tag = f"gnomon {blake2b(ctx.config.name.encode(), digest_size=4).hexdigest()}"
    present: list[Mapping[str, Any]] = []
    params: dict[str, Any] = {"max_results": 1_000}
    while True:
        answer = await api.get(RULES_PATH, params)
        present += objects(answer.get("data"))
        token = mapping(answer.get("meta")).get("next_token")
        if not token:
            break
        params["pagination_token"] = token
    values = {rule.get("value") for rule in present}
    stale = [r for r in present if r.get("tag") == tag and r.get("value") not in rules]
    if stale:
        ids = [str(rule.get("id")) for rule in stale]
        await api.post(RULES_PATH, {"delete": {"ids": ids}})
    missing = [{"value": rule, "tag": tag} for rule in rules if rule not in values]
    for start in range(0, len(missing), 100):
        answer = await api.post(RULES_PATH, {"add": missing[start : start + 100]})
        # A rule that another start added meanwhile serves as well as ours.
        bad = [e for e in objects(answer.get("errors")) if e.get("title") != "DuplicateRule"]
        if bad:
            said = str(bad[0].get("detail") or bad[0].get("title")).rstrip(". ")
            raise UpstreamTerminal(
                f"X does not take the rule {bad[0].get('value')!r}: {said}.",
                code="source.refused",
                hint="Correct it in the source's rules.",
            )


def searchable(rule: str) -> bool:
    """Whether recent search understands the rule."""
    return len(rule) <= MAX_QUERY_CHARS and not any(word in rule for word in _UNSEARCHABLE)


def searches(rules: Sequence[str]) -> list[str]:
    """The fewest queries that find what the rules match, as far as search can."""
    queries: list[str] = []
    for rule in filter(searchable, rules):
        joined = f"{queries[-1]} OR ({rule})" if queries else ""
        if joined and len(joined) <= MAX_QUERY_CHARS:
            queries[-1] = joined
        else:
            queries.append(f"({rule})" if len(rule) <= MAX_QUERY_CHARS - 2 else rule)
    return queries


def mapping(value: Any) -> Mapping[str, Any]:
    """A JSON object, empty if it is none."""
    return value if isinstance(value, dict) else {}


def objects(value: Any) -> list[Any]:
    """The JSON objects of a list, none if it is no list."""
    return [item for item in value if isinstance(item, dict)] if isinstance(value, list) else []
