"""Quillhaven: a small invented town whose truth is known at every moment.

`World` says what is published and what is true, `Truth` asks and knows the answers, `DemoTown`
serves it all as real feeds, `judge` and `score` say how good answers are. Nothing in it is news.
"""

from gnomon.testing.world.demo import BANNER, DemoTown
from gnomon.testing.world.report import describe
from gnomon.testing.world.score import Judged, Outcome, Score, judge, score
from gnomon.testing.world.truth import Span, Truth, TruthQuestion
from gnomon.testing.world.world import World

__all__ = [
    "BANNER",
    "DemoTown",
    "Judged",
    "Outcome",
    "Score",
    "Span",
    "Truth",
    "TruthQuestion",
    "World",
    "describe",
    "judge",
    "score",
]
