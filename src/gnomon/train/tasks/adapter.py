"""What lm-eval asks of a model, answered by ours. Needs PyTorch and lm-eval.

Figures are those of lm-eval's own `hf` model over the same weights as Hugging Face files: a context
is cut from the left to what the model is shown at once, nothing is put before a context that is not
empty, and the end of a document stands before one that is. A continuation longer than the model
sees, which `hf` refuses, is read in parts; so is a long text, each token once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from lm_eval.api.model import LM
from lm_eval.models.utils import normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from gnomon.errors import ConfigError
from gnomon.train.evaluate import Subject, read_rows, scores

_TOGETHER = 64
"""Rows of like length that are read together, at most."""
_Pair = tuple[list[int], list[int]]


class Asked(LM):
    """A judged model as lm-eval sees it."""

    def __init__(self, subject: Subject, tell: Callable[[str], None] = lambda _: None) -> None:
        super().__init__()
        self._subject, self._tell = subject, tell

    def loglikelihood(self, requests: Sequence[Any]) -> list[tuple[float, bool]]:
        """Each continuation's log-probability, and whether each of its tokens is the likeliest."""
        return self._read([self._pair(*request.args) for request in requests], "continuations")

    def loglikelihood_rolling(self, requests: Sequence[Any]) -> list[float]:
        """Each text's log-probability, after an end of document."""
        subject = self._subject
        parts: list[_Pair] = []
        counts = []
        for request in requests:
            windows = get_rolling_token_windows(
                token_list=subject.encode(request.args[0]),
                prefix_token=subject.end_id,
                max_seq_len=subject.window,
                context_len=1,
            )
            found = [make_disjoint_window(window) for window in windows]
            parts += found
            counts.append(len(found))
        read = iter(self._read(parts, "windows of text"))
        return [sum(next(read)[0] for _ in range(count)) for count in counts]

    def generate_until(self, requests: Sequence[Any]) -> list[str]:
        """What the model writes after each context, the likeliest token each time."""
        written = []
        for number, request in enumerate(requests, 1):
            written.append(self._write(*request.args))
            if number % 20 == 0 or number == len(requests):
                self._tell(f"wrote {number:,} of {len(requests):,} answers")
        return written

    def _pair(self, context: str, continuation: str) -> _Pair:
        """The tokens of both. Space at the context's end goes with the continuation's first."""
        encode, end = self._subject.encode, self._subject.end_id
        if not context:
            return [end], encode(continuation)
        kept = context.rstrip()
        before = encode(kept)
        if not before:  # nothing but space
            return [end], encode(context + continuation)
        return before, encode(context + continuation)[len(before) :]

    def _read(self, pairs: Sequence[_Pair], what: str) -> list[tuple[float, bool]]:
        """Log-probability and likeliness of each pair's second part after its first."""
        rows = [(number, *row) for number, pair in enumerate(pairs) for row in self._rows(*pair)]
        rows.sort(key=lambda row: -len(row[1]))
        sums, likeliest = [0.0] * len(pairs), [True] * len(pairs)
        for at in range(0, len(rows), _TOGETHER):
            part = rows[at : at + _TOGETHER]
            said = read_rows(self._subject, [row for _, row, _ in part])
            for (number, row, counted), logits in zip(part, said, strict=True):
                sums[number] += float(scores(logits, row)[-counted:].sum())
                picked = logits[-counted:].argmax(-1).tolist()
                likeliest[number] = likeliest[number] and picked == row[-counted:]
            if at // _TOGETHER % 20 == 19 or at + _TOGETHER >= len(rows):
                self._tell(f"read {min(at + _TOGETHER, len(rows)):,} of {len(rows):,} {what}")
        return list(zip(sums, likeliest, strict=True))

    def _rows(self, before: list[int], after: list[int]) -> list[tuple[list[int], int]]:
        """What the model is shown for a pair, and how many tokens at the end of that count."""
        window, whole = self._subject.window, before + after
        return [
            (whole[max(0, end - window - 1) : end], min(window, end - len(before)))
            for end in range(len(whole), len(before), -window)
        ]

    def _write(self, context: str, options: dict[str, Any]) -> str:
        subject = self._subject
        if subject.decode is None:
            raise ConfigError(f"{subject.name} cannot write text: it has no way back from tokens.")
        asked = refuse_drawing(options, "The task")
        stops = [stop for stop in asked["until"] if stop]
        count = asked["max_gen_toks"]
        room = max(subject.window - count, subject.window // 2)
        tokens = subject.encode(context)[-room:] or [subject.end_id]
        begin = len(tokens)
        for _ in range(count):
            with torch.no_grad():
                logits, _, _ = subject.model(torch.tensor([tokens[-subject.window :]]))
            token = int(logits[0, -1].argmax())
            if token == subject.end_id:
                break
            tokens.append(token)
            if any(stop in subject.decode(tokens[begin:]) for stop in stops):
                break
        text = subject.decode(tokens[begin:])
        for stop in stops:
            text = text.split(stop)[0]
        return text


def refuse_drawing(options: dict[str, Any], task: str) -> dict[str, Any]:
    """How `task` wants answers written. Raises ConfigError where they would be drawn by chance."""
    asked: dict[str, Any] = dict(normalize_gen_kwargs(options))
    if asked["do_sample"] and asked.get("temperature", 1.0) > 0:
        raise ConfigError(
            f"{task} wants answers that are drawn, and here the likeliest token is taken.",
            code="eval.sampling",
            hint="Set do_sample: false and temperature: 0 in the generation_kwargs of a copy of "
            "the task.",
        )
    return asked
