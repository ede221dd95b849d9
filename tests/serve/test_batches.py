"""Batches, by OpenAI's client: made, polled, read, cancelled, and gone on with after a stop."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from openai import AsyncOpenAI, BadRequestError, NotFoundError
from openai.types import Batch

from gnomon.accounts.base import Role
from gnomon.accounts.store import Accounts
from gnomon.app import opened
from gnomon.clock import RandomIds
from gnomon.errors import ModelTransient
from gnomon.files.batches import BatchStore
from gnomon.files.store import Files
from gnomon.serve.batching import MAX_TRIES, read_lines
from gnomon.settings import Demo, Models, Settings

OVER = ("completed", "failed", "expired", "cancelled")


def requests(*bodies: Any, url: str = "/v1/responses") -> bytes:
    lines = [
        {"custom_id": f"line-{i}", "method": "POST", "url": url, "body": body}
        for i, body in enumerate(bodies)
    ]
    return "\n".join(json.dumps(line) for line in lines).encode()


def asks(*questions: str) -> bytes:
    return requests(*({"model": "gnomon", "input": question} for question in questions))


async def begin(client: AsyncOpenAI, body: bytes, endpoint: Any = "/v1/responses") -> Batch:
    file = await client.files.create(file=("in.jsonl", body), purpose="batch")
    return await client.batches.create(
        input_file_id=file.id, endpoint=endpoint, completion_window="24h", metadata={"a": "b"}
    )


async def over(client: AsyncOpenAI, id: str) -> Batch:
    async with asyncio.timeout(10):
        while (batch := await client.batches.retrieve(id)).status not in OVER:  # noqa: ASYNC110 - as clients poll
            await asyncio.sleep(0.01)
    return batch


async def rows(client: AsyncOpenAI, id: str | None) -> list[dict[str, Any]]:
    assert id is not None
    text = (await client.files.content(id)).text
    return [json.loads(line) for line in text.splitlines()]


class _Runner:
    async def deliver(self, source: str, changes: Any) -> None:
        assert not changes

    async def wait_indexed(self, seq: int, timeout_s: float) -> bool:
        return True


@dataclass
class Desk:
    """A house of fakes with real stores for files and batches."""

    house: Any
    served: Any

    @asynccontextmanager
    async def client(self, key: str = "k") -> AsyncIterator[AsyncOpenAI]:
        async with (
            self.served(self.house) as url,
            AsyncOpenAI(base_url=f"{url}/v1", api_key=key, max_retries=0) as made,
        ):
            yield made


@pytest_asyncio.fixture
async def desk(house: Any, served: Any, tmp_path: Path) -> AsyncIterator[Desk]:
    files = Files(tmp_path / "files.db", house.clock, RandomIds())
    batches = BatchStore(tmp_path / "batches.db")
    runner = house.runner
    runner.deliver, runner.wait_indexed = _Runner().deliver, _Runner().wait_indexed
    services = replace(house.services, files=files, batches=batches)
    yield Desk(replace(house, services=services), served)
    batches.close()
    files.close()


async def test_a_batch_is_made_polled_and_read(desk: Desk) -> None:
    async with desk.client() as client:
        bodies = [
            {"model": "gnomon", "input": "Is the north bridge open?"},
            {"model": "nobody", "input": "Is the north bridge open?"},
            {"model": "gnomon", "input": ""},
            {"model": "gnomon", "input": "Who said so?", "stream": True},
        ]
        made = await begin(client, requests(*bodies))
        assert (made.object, made.status) == ("batch", "validating")
        done = await over(client, made.id)
        assert done.status == "completed" and done.metadata == {"a": "b"}
        counts = done.request_counts
        assert counts and (counts.total, counts.completed, counts.failed) == (4, 1, 3)
        (answered,) = await rows(client, done.output_file_id)
        assert answered["custom_id"] == "line-0" and answered["error"] is None
        assert answered["response"]["status_code"] == 200
        body = answered["response"]["body"]
        assert body["object"] == "response" and body["gnomon"]["sentences"]
        failed = await rows(client, done.error_file_id)
        assert [(f["custom_id"], f["response"]["status_code"]) for f in failed] == [
            ("line-1", 404),
            ("line-2", 400),
            ("line-3", 400),
        ]
        assert failed[0]["response"]["body"]["error"]["code"] == "model_not_found"
        listed = await client.batches.list()
        assert [batch.id for batch in listed.data] == [made.id]


async def test_chat_completions_have_their_own_shape(desk: Desk) -> None:
    body = {"model": "gnomon", "messages": [{"role": "user", "content": "Is the bridge open?"}]}
    async with desk.client() as client:
        made = await begin(
            client, requests(body, url="/v1/chat/completions"), "/v1/chat/completions"
        )
        done = await over(client, made.id)
        (answered,) = await rows(client, done.output_file_id)
    assert answered["response"]["body"]["object"] == "chat.completion"
    assert "north bridge" in answered["response"]["body"]["choices"][0]["message"]["content"]


async def test_a_file_that_cannot_be_read_says_which_line(desk: Desk) -> None:
    good = asks("Is the bridge open?")
    body = b"\n".join([good, b"{", good, requests({}, url="/v1/files")])
    async with desk.client() as client:
        done = await over(client, (await begin(client, body)).id)
        assert done.status == "failed" and done.output_file_id is None
        assert done.errors and done.errors.data
        found = [(fault.line, fault.code) for fault in done.errors.data]
        assert found == [
            (2, "invalid_json_line"),
            (3, "duplicate_custom_id"),
            (4, "mismatched_endpoint"),
        ]
        assert not desk.house.answerer.asked


async def test_what_cannot_be_a_batch_is_refused(desk: Desk) -> None:
    async with desk.client() as client:
        notes = await client.files.create(file=("in.jsonl", asks("So?")), purpose="batch")
        with pytest.raises(BadRequestError, match="endpoint"):
            await client.batches.create(
                input_file_id=notes.id, endpoint="/v1/moderations", completion_window="24h"
            )
        with pytest.raises(NotFoundError, match="no file"):
            await client.batches.create(
                input_file_id="file_x", endpoint="/v1/responses", completion_window="24h"
            )
        with pytest.raises(NotFoundError, match="no batch"):
            await client.batches.retrieve("batch_x")


async def test_whoever_waits_for_an_answer_comes_first(desk: Desk) -> None:
    answerer = desk.house.answerer
    answerer.hold = asyncio.Event()
    async with desk.client() as client:
        waiting = asyncio.create_task(client.responses.create(model="gnomon", input="Mine first?"))
        async with asyncio.timeout(5):
            await answerer.waiting.wait()
        made = await begin(client, asks("One?", "Two?"))
        async with asyncio.timeout(5):
            while (await client.batches.retrieve(made.id)).status != "in_progress":  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        await asyncio.sleep(0.05)
        assert [q.text for q in answerer.asked] == ["Mine first?"]
        answerer.hold.set()
        await waiting
        assert (await over(client, made.id)).status == "completed"
    assert [q.text for q in answerer.asked] == ["Mine first?", "One?", "Two?"]


async def test_a_cancelled_batch_keeps_what_was_answered(desk: Desk) -> None:
    answerer = desk.house.answerer
    answerer.hold = asyncio.Event()
    async with desk.client() as client:
        made = await begin(client, asks("One?", "Two?", "Three?"))
        async with asyncio.timeout(5):
            await answerer.waiting.wait()
        assert (await client.batches.cancel(made.id)).status == "cancelling"
        answerer.hold.set()
        done = await over(client, made.id)
        assert done.status == "cancelled" and done.cancelled_at
        assert len(await rows(client, done.output_file_id)) == 2
        (left,) = await rows(client, done.error_file_id)
        assert left["custom_id"] == "line-2" and left["error"]["code"] == "batch_cancelled"
        assert (await client.batches.cancel(made.id)).status == "cancelled"


async def test_a_batch_whose_time_is_over_says_what_was_not_asked(desk: Desk) -> None:
    answerer = desk.house.answerer
    answerer.hold = asyncio.Event()
    async with desk.client() as client:
        made = await begin(client, asks("One?", "Two?", "Three?"))
        async with asyncio.timeout(5):
            await answerer.waiting.wait()
        desk.house.clock.advance(timedelta(hours=25).total_seconds())
        answerer.hold.set()
        done = await over(client, made.id)
        assert done.status == "expired" and done.request_counts
        assert done.request_counts.completed == 2
        (left,) = await rows(client, done.error_file_id)
        assert left["error"]["code"] == "batch_expired"


async def test_no_line_is_done_twice_after_a_stop(desk: Desk) -> None:
    answerer = desk.house.answerer
    async with desk.client() as client:
        file = await client.files.create(
            file=("in.jsonl", asks("One?", "Two?", "Three?")), purpose="batch"
        )
        made = await client.batches.create(
            input_file_id=file.id, endpoint="/v1/responses", completion_window="24h"
        )
        await over(client, made.id)
    asked = len(answerer.asked)
    store = desk.house.services.batches
    ended = store.get(made.id, "local")
    # As a process leaves it that is killed when two of three lines are done.
    outcome = b'{"custom_id": "line-0"}'
    torn = replace_batch(ended, status="in_progress", output_file_id=None, error_file_id=None)
    store.move(torn, "completed")
    for number in (1, 2):
        store.done(made.id, number, ok=True, outcome=outcome)
    async with desk.client() as client:
        await begin(client, asks("Four?"))  # Something wakes the new process.
        done = await over(client, made.id)
        assert len(await rows(client, done.output_file_id)) == 3
    again = [question.text for question in answerer.asked[asked:]]
    assert sorted(again) == ["Four?", "Three?"]


async def until(condition: Any) -> None:
    async with asyncio.timeout(10):
        while not condition():  # noqa: ASYNC110 - the work happens in the server
            await asyncio.sleep(0.01)


async def test_a_line_that_failed_for_a_passing_reason_is_asked_again(desk: Desk) -> None:
    answerer, clock = desk.house.answerer, desk.house.clock
    answerer.failure = ModelTransient("The endpoint is busy.", retry_after_s=60)
    async with desk.client() as client:
        made = await begin(client, asks("One?", "Two?", "Three?"))
        await until(lambda: len(answerer.asked) == 2)
        clock.advance(30)  # Nobody is asked again before the moment that the endpoint named.
        await asyncio.sleep(0.6)
        assert len(answerer.asked) == 2
        answerer.failure = None
        clock.advance(31)
        done = await over(client, made.id)
        assert done.status == "completed" and done.request_counts
        assert (done.request_counts.completed, done.request_counts.failed) == (3, 0)
        found = await rows(client, done.output_file_id)
    assert [row["custom_id"] for row in found] == ["line-0", "line-1", "line-2"]
    asked = sorted(question.text for question in answerer.asked)
    assert asked == ["One?", "One?", "Three?", "Two?", "Two?"]


async def test_a_line_that_fails_again_and_again_counts_as_failed(desk: Desk) -> None:
    answerer, clock = desk.house.answerer, desk.house.clock
    answerer.failure = ModelTransient("The endpoint is busy.")
    async with desk.client() as client:
        made = await begin(client, asks("One?"))
        for tries in range(1, MAX_TRIES + 1):
            await until(lambda tries=tries: len(answerer.asked) == tries)
            clock.advance(301)
        done = await over(client, made.id)
        (failed,) = await rows(client, done.error_file_id)
    assert failed["response"]["status_code"] == 503
    assert "busy" in failed["response"]["body"]["error"]["message"]
    assert len(answerer.asked) == MAX_TRIES


def replace_batch(batch: Any, **changes: Any) -> Any:
    import msgspec

    return msgspec.structs.replace(batch, **changes)


async def test_a_batch_and_its_files_are_their_owners(desk: Desk, tmp_path: Path) -> None:
    accounts = Accounts(tmp_path / "accounts.db", desk.house.clock)
    keys = {}
    for name in ("ann", "bob"):
        user = accounts.add_user(name, Role.EDITOR)
        keys[name] = accounts.add_key(user.name)[1]
    desk.house = replace(desk.house, services=replace(desk.house.services, accounts=accounts))
    async with (
        desk.client(keys["ann"]) as ann,
        AsyncOpenAI(base_url=ann.base_url, api_key=keys["bob"], max_retries=0) as bob,
    ):
        made = await begin(ann, asks("One?"))
        done = await over(ann, made.id)
        assert done.output_file_id and done.input_file_id
        for wanted in (
            bob.batches.retrieve(made.id),
            bob.batches.cancel(made.id),
            bob.files.content(done.output_file_id),
            bob.files.retrieve(done.input_file_id),
            bob.files.delete(done.output_file_id),
            bob.batches.create(
                input_file_id=done.input_file_id,
                endpoint="/v1/responses",
                completion_window="24h",
            ),
        ):
            with pytest.raises(NotFoundError):
                await wanted
        assert not (await bob.batches.list()).data and not (await bob.files.list()).data
        assert len(await rows(ann, done.output_file_id)) == 1
    accounts.close()


async def test_a_real_house_goes_on_where_it_stopped(tmp_path: Path, served: Any) -> None:
    models = Models(dir=tmp_path / "none")
    settings = Settings(home=tmp_path / "home", demo=Demo(mode="off"), models=models)

    class Served:
        def __init__(self, services: Any) -> None:
            self.services = services

    async with (
        opened(settings, follow=False) as house,
        served(Served(house.services(on_damage=print))) as url,
        AsyncOpenAI(base_url=f"{url}/v1", api_key="k", max_retries=0) as client,
    ):
        made = await begin(client, asks("What does the dredging cost?"))
        done = await over(client, made.id)
        (answered,) = await rows(client, done.output_file_id)
        assert answered["response"]["body"]["gnomon"]["abstained"]
    async with opened(settings, follow=False) as house:
        assert house.batches.get(made.id, "local") is not None


@pytest.mark.parametrize("body", [b"", b"\n\n", b"\xff\xfe", b"[]", b"null", b'{"custom_id": 1}'])
def test_whatever_is_uploaded_is_refused_with_its_reason(body: bytes) -> None:
    lines, faults = read_lines(body, "/v1/responses")
    assert not lines and faults
