"""Intervals hold what they promise, and tables show what was stored."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from gnomon.eval.bm25 import PlainBM25
from gnomon.eval.figures import Figures
from gnomon.eval.results import Result, before, load, save, table
from gnomon.eval.rows import f1, holds, named_most
from gnomon.eval.suites.retrieval import ndcg

NOW = datetime(2026, 5, 4, 8, tzinfo=UTC)


def figures() -> Figures:
    return Figures("case", np.random.default_rng(3))


def test_the_interval_of_a_share_holds_the_truth_about_nineteen_times_of_twenty() -> None:
    rng = np.random.default_rng(5)
    held = 0
    for _ in range(200):
        made = Figures("case", rng)
        made.share("right", (rng.random(120) < 0.3).tolist())
        (figure,) = made.list
        assert figure.low is not None and figure.high is not None
        held += figure.low <= 30.0 <= figure.high
    assert 180 <= held <= 198


def test_a_gain_is_measured_question_by_question() -> None:
    made = figures()
    theirs = np.random.default_rng(1).random(200)
    made.gain("above", (theirs * 1.2).tolist(), theirs.tolist())
    (figure,) = made.list
    # Every single question is better by a fifth, so there is no doubt, however they scatter.
    assert (figure.value, figure.low, figure.high) == (20.0, 20.0, 20.0)


def test_a_gain_over_what_found_next_to_nothing_stays_a_number() -> None:
    made = figures()
    made.gain("above", [1.0, 1.0, 0.0], [0.0, 1.0, 0.0])
    (figure,) = made.list
    assert figure.value == 100.0
    assert figure.low is not None and figure.high is not None
    assert 0.0 <= figure.low <= figure.high <= 1_000.0


def test_nothing_is_measured_on_nothing() -> None:
    made = figures()
    made.share("right", [])
    made.percentile("time", [], 50)
    made.gain("above", [1.0], [0.0])
    assert made.list == []


def result(at: datetime, right: list[bool], **setup: object) -> Result:
    made = figures()
    made.share("right", right)
    return Result(
        suite="demo",
        at=at,
        version="1",
        where="in process",
        setup=setup,
        machine={},
        took_s=1.0,
        figures=tuple(made.list),
    )


def test_the_table_shows_the_last_run_with_the_same_set_up(tmp_path: Path) -> None:
    save(tmp_path, result(NOW, [True, False], limit=2))
    save(tmp_path, result(NOW + timedelta(hours=1), [True, True], limit=9))
    (tmp_path / "broken.json").write_text("{")
    now = result(NOW + timedelta(hours=2), [True, True, False, True], limit=2)
    earlier = before(load(tmp_path, "demo"), now)
    assert earlier is not None and earlier.at == NOW
    shown = table(now, earlier).splitlines()
    assert shown[0].split() == ["case", "measure", "value", "95", "%", "n", "before"]
    assert shown[2].split()[:4] == ["case", "right", "75.0", "%"]
    assert shown[2].endswith("50.0 %")
    assert load(tmp_path, "other") == []


def test_plain_bm25_ranks_what_holds_rare_words_first() -> None:
    ranking = PlainBM25(
        {"a": "the ferry and the bridge", "b": "ferry ferry harbour", "c": "nothing of it"}
    ).rank("the harbour ferry", 10)
    assert ranking == ["b", "a"]


def test_ndcg_at_ten() -> None:
    assert ndcg(["a", "b"], {"a", "b"}) == 1.0
    assert ndcg(["x", "a"], {"a"}) == pytest.approx(1 / np.log2(3))
    assert ndcg(["x"] * 10 + ["a"], {"a"}) == 0.0


def test_words_are_compared_as_squad_does() -> None:
    assert holds("The Beatles", "It was beatles, again.")
    assert not holds("", "anything")
    assert f1("the Bank of England", "Bank of England") == 1.0
    assert f1("a cat", "dog") == 0.0
    assert named_most(["Rome", "Paris"], ["in Paris", "Rome Paris"]) == 1
    assert named_most(["Rome"], ["in Paris"]) is None
