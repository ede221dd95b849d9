"""Suites are found, run in a house of their own, and refuse what they cannot do."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.testing import CliRunner

from gnomon.answer.base import Question
from gnomon.cli import app
from gnomon.client import Client
from gnomon.errors import ConfigError
from gnomon.eval.base import Bench, Figure, Suite
from gnomon.eval.figures import Figures
from gnomon.eval.runner import Wanted, named, run, suites, write_documents
from gnomon.settings import Settings
from gnomon.types import Document, Upsert

SEEN = datetime(2026, 5, 4, 8, tzinfo=UTC)


def paper(name: str, text: str, hours: float = 0) -> tuple[str, Upsert]:
    moment = SEEN + timedelta(hours=hours)
    return "herald", Upsert(
        Document(key=f"eval:{name}", source="herald", kind="article", text=text, observed_at=moment)
    )


async def _bridge(bench: Bench) -> list[Figure]:
    house = await bench.house(
        "town",
        [
            paper("1", "The Mill Bridge is open to all traffic.", 0),
            paper("2", "The Mill Bridge is closed after a flood.", 2),
            paper("3", "The museum shows old maps of the coast.", 0),
        ],
    )
    early = Question(text="Is the Mill Bridge open?", as_of=SEEN + timedelta(hours=1))
    asked = await house.ask(early)
    assert "open to all traffic" in asked.answer.text
    assert asked.read[0].key == "eval:1" and "eval:2" not in {c.key for c in asked.read}
    ranking = await house.rank(Question(text="Mill Bridge flood"), 10)
    words = await house.words(Question(text="museum maps"), 10)
    assert ranking.keys[0] == "eval:2" and words is not None and words.keys == ("eval:3",)
    figures = Figures("town", bench.rng)
    figures.share("right", [True])
    return figures.list


async def test_a_suite_asks_a_house_that_holds_its_history() -> None:
    result = await run(Suite(name="bridge", title="", run=_bridge), Wanted())
    assert [(f.case, f.name, f.value) for f in result.figures] == [("town", "right", 100.0)]
    assert result.setup["models"] == [] and result.machine["cores"]


async def test_what_is_measured_inside_is_not_asked_of_a_server() -> None:
    client = Client("http://127.0.0.1:1", Settings())
    with pytest.raises(ConfigError, match="in process only"):
        await run(Suite(name="x", title="", run=_bridge, inside_only=True), Wanted(), client=client)


def test_a_month_of_the_town_can_be_carried_to_another_gnomon(tmp_path: Path) -> None:
    path = tmp_path / "town.jsonl"
    wanted = Wanted(args={"seeds": "5", "days": "1"})
    assert write_documents(named(["demo-world"]), wanted, path) > 100
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    # A home drops what it holds of the demo as soon as its own demo ends.
    assert {row["source"].split(":")[0] for row in rows} == {"town"}
    with pytest.raises(ConfigError, match="the month of one town"):
        write_documents(
            named(["demo-world"]), Wanted(args={"seeds": "5,6"}), tmp_path / "two.jsonl"
        )


async def test_missing_data_are_named() -> None:
    with pytest.raises(ConfigError, match="retrieval is not there") as caught:
        await run(suites()["retrieval"], Wanted())
    assert "GNOMON_TEST_DATA" in caught.value.hint


def test_every_built_in_suite_is_listed() -> None:
    assert "retrieval" in suites()
    shown = CliRunner().invoke(app, ["eval", "--list"]).output
    assert all(name in shown and suite.title in shown for name, suite in suites().items())
    with pytest.raises(ConfigError, match="no suite retrieve"):
        named(["retrieve"])


def _data(folder: Path) -> Path:
    for name in ("cranfield", "cisi", "npl"):
        here = folder / "retrieval" / name
        here.mkdir(parents=True)
        _lines(here / "docs.jsonl.gz", [{"id": "1", "text": "lift"}, {"id": "2", "text": "drag"}])
        _lines(here / "queries.jsonl.gz", [{"id": "q", "text": "what is drag"}])
        (here / "qrels.trec").write_text("q 0 2 1\nq 0 1 -1\n")
    return folder


def _lines(path: Path, rows: list[dict[str, str]]) -> None:
    with gzip.open(path, "wt", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows)


def test_the_command_measures_prints_and_keeps(tmp_path: Path) -> None:
    data, results = _data(tmp_path / "data"), tmp_path / "results"
    command = ["--home", str(tmp_path / "home"), "eval", "retrieval", "--data", str(data)]
    done = CliRunner().invoke(app, [*command, "--words-alone", "--results", str(results)])
    assert done.exit_code == 0, done.output
    assert "nDCG@10 of BM25" in done.output and "cranfield" in done.output
    (kept,) = results.glob("retrieval-*.json")
    figures = json.loads(kept.read_text())["figures"]
    (found,) = [f for f in figures if (f["case"], f["name"]) == ("npl", "nDCG@10")]
    assert (found["value"], found["low"], found["high"], found["n"]) == (1.0, 1.0, 1.0, 1)


def test_the_documents_of_a_suite_can_be_carried_to_another_gnomon(tmp_path: Path) -> None:
    wanted = Wanted(data=_data(tmp_path / "data"), args={"sets": "npl"})
    path = tmp_path / "documents.jsonl"
    assert write_documents(named(["retrieval"]), wanted, path) == 2
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    assert {row["key"] for row in rows} == {"eval:1", "eval:2"}


async def test_fewer_questions_are_picked_from_all_and_stay_the_same() -> None:
    picked: list[list[int]] = []

    async def measure(bench: Bench) -> list[Figure]:
        picked.append(bench.picked(range(100)))
        assert bench.picked(range(5)) == [0, 1, 2, 3, 4] and len(bench.picked("abcdef", 3)) == 3
        return []

    for _ in range(2):
        await run(Suite(name="x", title="", run=measure), Wanted(limit=10))
    assert picked[0] == picked[1] == sorted(picked[0])
    assert len(picked[0]) == 10 and picked[0][-1] > 20
