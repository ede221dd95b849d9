"""Quillhaven: a small invented town whose truth is known at every moment.

`World` says what is published and what is true, `Truth` asks and knows the answers, `DemoTown`
serves it all as real feeds. Nothing in it is news.
"""

from gnomon.testing.world.demo import BANNER, DemoTown
from gnomon.testing.world.report import describe
from gnomon.testing.world.truth import Truth, TruthQuestion
from gnomon.testing.world.world import World

__all__ = ["BANNER", "DemoTown", "Truth", "TruthQuestion", "World", "describe"]
