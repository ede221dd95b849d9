"""The gate: what a model must show before it may take another one's place. Needs PyTorch.

Judged is the file that would serve, on text that it was not trained on, against thresholds of the
configuration and against the model that serves now, which reads the same text. A figure that is
no number fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from gnomon.errors import ConfigError, ModelTerminal
from gnomon.models.registry import Check
from gnomon.train.config import Gate
from gnomon.train.evaluate import Reading, Subject, difference, evaluate, held_out
from gnomon.train.judgement import Measure

_SHOWN = {
    "bits_per_byte": ("bits per byte", "at most", "gate.max_bits_per_byte"),
    "cloze": ("next words picked (%)", "at least", "gate.min_cloze"),
    "bits_per_byte_gained": (
        "bits per byte above the serving model's",
        "at most",
        "gate.worse_bits_per_byte",
    ),
    "cloze_gained": (
        "next words picked (%) beyond the serving model's",
        "at least",
        "gate.worse_cloze",
    ),
}


def judge(
    gate: Gate,
    candidate: Subject,
    serving: Subject | None,
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[tuple[Check, ...], Reading]:
    """Read the gate's text with both models. Raises ConfigError where the gate names no text."""
    if not gate.text:
        raise ConfigError(
            "The configuration names no text to judge the model by.",
            code="gate.no_text",
            hint='Add [gate] with text = ["held-out.jsonl"], text that it was not trained on.',
        )
    texts = held_out(gate.text)
    tell(f"{candidate.name} reads {len(texts)} texts")
    new = evaluate(candidate, texts)
    if serving is None:
        return checks(gate, new, None), new
    tell(f"{serving.name}, which serves now, reads them too")
    return checks(gate, new, evaluate(serving, texts)), new


def checks(gate: Gate, new: Reading, serving: Reading | None) -> tuple[Check, ...]:
    """The figures beside their thresholds; without a serving model those of the model alone."""
    found = [_at_most(new.measure("bits_per_byte"), gate.max_bits_per_byte)]
    if len(new.hits) or gate.min_cloze:
        found.append(_at_least(new.measure("cloze"), gate.min_cloze))
    if serving is not None:
        above = difference("bits_per_byte_gained", new.bits, serving.bits, new.body_bytes)
        found.append(_at_most(above, gate.worse_bits_per_byte))
    if serving is not None and len(new.hits):
        hundredths = np.full(len(new.hits), 0.01)
        beyond = difference("cloze_gained", new.hits, serving.hits, hundredths)
        found.append(_at_least(beyond, -gate.worse_cloze))
    return tuple(found)


def refuse(name: str, found: Sequence[Check]) -> None:
    """Raise ModelTerminal naming every figure that misses its threshold, if there is one."""
    missed = [check for check in found if not check.passed]
    if not missed:
        return
    told = "; ".join(f"{shown(check)} ({_SHOWN[check.name][2]})" for check in missed)
    raise ModelTerminal(
        f"{name} is refused by its gate: {told}.",
        code="gate.refused",
        hint="What serves stays in place. Train longer (schedule.steps) or on more text, "
        "or, if the figure is good enough, judge again with --gate FILE.toml.",
        missed=[check.name for check in missed],
    )


def shown(check: Check) -> str:
    """One check in words."""
    name, side, _ = _SHOWN[check.name]
    value = "no number" if check.value is None else f"{check.value:.3f}"
    return f"{name} {value}, wanted {side} {check.threshold:g}"


def _at_most(measure: Measure, threshold: float) -> Check:
    return _check(measure, threshold, measure.value <= threshold)


def _at_least(measure: Measure, threshold: float) -> Check:
    return _check(measure, threshold, measure.value >= threshold)


def _check(measure: Measure, threshold: float, passed: bool) -> Check:
    finite = math.isfinite(measure.value)
    return Check(
        name=measure.name,
        value=measure.value if finite else None,
        low=measure.low,
        high=measure.high,
        threshold=threshold,
        passed=passed and finite,
    )
