"""Latency of answers over a large record: evidence shown, first checked sentence, check per claim.

    python bench/answer_bench.py --posts 1000000 --home FOLDER [--models FOLDER]

The record and its index are made in `--home` and kept there, so that a second run begins at once.
Questions ask about two to four words that stand together in some real post; answers quote. The
first ten do not count: they warm pages up. Each stage is measured on the wall's clock and in
processor time, because a machine that has other work to do (`load`) tells the first one badly.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import re
import sys
import time
from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import msgspec

from gnomon.answer.base import Finished, Question, Retrieved, Written
from gnomon.answer.check import Cited, check
from gnomon.answer.pipeline import Answerer
from gnomon.answer.support import Read
from gnomon.app import TURN_S
from gnomon.clock import RandomIds, SystemClock, from_us
from gnomon.eval.houses import Local
from gnomon.index.live import LiveIndex
from gnomon.models.base import Reading
from gnomon.record.store import SqliteRecord
from gnomon.settings import Settings
from gnomon.types import Answer, Batch, Document, Upsert
from harness import peak_memory_mib, percentiles, save
from posts import START_US, posts, queries

STEP_US = 1000
BATCH = 2_000
WARM = 10
STAGES = {
    Retrieved: "evidence_shown",
    Written: "first_checked_sentence",
    Finished: "whole_answer",
}
FORMS = (
    "What happened with {}?",
    "What do people say about {}?",
    "Is {} over?",
    "How many people were affected by {}?",
)


def filled(record: SqliteRecord, index: LiveIndex, count: int) -> float:
    """Store and index what is missing; the seconds that this took."""
    began = time.perf_counter()
    have = record.last_seq()
    rows = islice(posts(count), have, None) if have < count else iter(())
    while batch := list(islice(rows, BATCH)):
        first = have + 1
        changes = tuple(
            Upsert(
                msgspec.convert(
                    {**row, "observed_at": from_us(START_US + (first + n) * STEP_US)}, Document
                )
            )
            for n, row in enumerate(batch)
        )
        now = from_us(START_US + (first + len(batch)) * STEP_US)
        record.append("stream", Batch(changes), now=now)
        have += len(batch)
    done = index.applied_seq
    while entries := record.entries(done, BATCH):
        index.apply(entries)
        done = entries[-1].seq
        if done % 20_000 == 0:
            index.commit()
    index.commit()
    return time.perf_counter() - began


async def asked(answerer: Answerer, text: str) -> tuple[dict[str, float], Answer]:
    """Milliseconds to each stage of one answer."""
    began, busy, took = time.perf_counter(), time.process_time(), dict[str, float]()
    async for event in answerer.answer(Question(text=text)):
        stage = STAGES.get(type(event))
        if stage is not None and f"{stage}_ms" not in took:
            took[f"{stage}_ms"] = (time.perf_counter() - began) * 1_000
            took[f"{stage}_processor_ms"] = (time.process_time() - busy) * 1_000
        if isinstance(event, Finished):
            return took, event.answer
    raise AssertionError("no answer")


def claims(record: SqliteRecord, answers: Sequence[Answer]) -> list[tuple[str, list[Cited]]]:
    """Sentences beside what they cite, without one word each: none is the quotation itself."""
    rng = random.Random(3)
    found = []
    for answer in answers:
        by_number = {c.number: c for c in answer.citations}
        for sentence in answer.sentences:
            words = re.findall(r"\S+", sentence.text)
            if len(words) < 6:
                continue
            words.pop(rng.randrange(1, len(words) - 1))
            cited = []
            for n in sentence.citations:
                c = by_number[n]
                document = record.version(c.key, c.version).document
                if document is not None:
                    cited.append(Cited(document, c.start, c.end))
            found.append((" ".join(words), cited))
    return found


def checked(pairs: Sequence[tuple[str, list[Cited]]], read: Read | None) -> dict[str, float]:
    """Milliseconds of wall time and of processor time for one claim."""
    wall, busy = [], []
    for claim, cited in pairs:
        began, began_busy = time.perf_counter(), time.process_time()
        check(claim, cited, read)
        wall.append((time.perf_counter() - began) * 1_000)
        busy.append((time.process_time() - began_busy) * 1_000)
    return {"claims": len(pairs), "wall": percentiles(wall), "processor": percentiles(busy)}  # type: ignore[dict-item]


async def measured(
    record: SqliteRecord, index: LiveIndex, models: Local, questions: Sequence[str]
) -> dict[str, Any]:
    """Percentiles over the questions, with these models."""
    answerer = Answerer(
        record, index, models, SystemClock(), RandomIds(), Settings(), lambda moment: []
    )
    took: dict[str, list[float]] = {}
    answers = []
    for number, text in enumerate(questions):
        stages, answer = await asked(answerer, text)
        if number < WARM:
            continue
        answers.append(answer)
        for name, ms in stages.items():
            took.setdefault(name, []).append(ms)
    embedder = models.embedder()
    read = embedder.read if isinstance(embedder, Reading) else None
    pairs = claims(record, answers)[:100]
    return {
        "models": models.names,
        "questions": len(answers),
        "answered": sum(not a.abstained for a in answers),
        **{name: percentiles(values) for name, values in took.items()},
        "check_per_claim_ms": checked(pairs, read) if pairs else {},
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--posts", type=int, default=1_000_000)
    parser.add_argument("--home", type=Path, required=True, help="kept for the next run")
    parser.add_argument("--models", type=Path, help="folder of the models; else words alone")
    parser.add_argument("--questions", type=int, default=70)
    options = parser.parse_args()
    sys.setswitchinterval(TURN_S)
    options.home.mkdir(parents=True, exist_ok=True)
    models = Local(options.models)
    record = SqliteRecord(options.home / "record.db")
    index = LiveIndex(options.home / "index")
    index.set_vectors(models.vectors)
    filled_s = filled(record, index, options.posts)
    texts = [
        FORMS[n % len(FORMS)].format(text) for n, text in enumerate(queries(options.questions))
    ]
    figures: dict[str, Any] = {
        "documents": record.stats().documents,
        "filled_s": round(filled_s, 1),
        "load": [round(x, 1) for x in os.getloadavg()],
        "with_models": asyncio.run(measured(record, index, models, texts)),
        "without_sentence_model": asyncio.run(measured(record, index, Local(None), texts)),
        "peak_memory_mib": peak_memory_mib(),
    }
    index.close()
    record.close()
    save("answer", figures)


if __name__ == "__main__":
    main()
