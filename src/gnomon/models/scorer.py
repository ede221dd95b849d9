"""How well a passage matches a query, from MiniLM alone: the whole against the whole, and each
word of the query against the word of the passage that comes nearest to it in its context.

No cross-encoder travels as a package, so this stands in for one. It knows what two texts are
about; it does not know whether one denies the other, nor whose number is whose.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from gnomon.models.minilm import MiniLM

# Cosine plus late interaction runs from 0 to 2. Texts with nothing in common lie near 0.3, those
# that share a topic below 0.9, passages that answer a question at 1.1 and above.
_MIDDLE = 0.85
_SLOPE = 6.0


class MiniLMScorer:
    """0 to 1: near 0 for another topic, about 0.5 for the same topic, 0.8 and up for a match."""

    def __init__(self, minilm: MiniLM) -> None:
        """Score with the loaded model."""
        self._minilm = minilm
        self.name = f"{minilm.name}+late-interaction"

    def score(self, query: str, passages: Sequence[str]) -> NDArray[np.float32]:
        """Scores, shape (len(passages),); 0 for a passage without words."""
        scores = np.zeros(len(passages), np.float32)
        (whole, words), *read = self._minilm.read([query, *passages])
        if not len(words):
            return scores
        for i, (passage_whole, passage_words) in enumerate(read):
            if len(passage_words):
                nearest = (words @ passage_words.T).max(axis=1).mean()
                raw = float(whole @ passage_whole) + float(nearest)
                scores[i] = 1.0 / (1.0 + np.exp(-_SLOPE * (raw - _MIDDLE)))
        return scores
