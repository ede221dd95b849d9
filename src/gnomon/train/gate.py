"""The gate: what a model must show before it may take another one's place. Needs PyTorch.

Judged is the file that would serve, on text that it was not trained on, against thresholds of the
configuration and against the model that serves now, which reads the same text and is asked
the same tasks. A figure that is no number fails.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from gnomon.errors import ConfigError, ModelTerminal
from gnomon.models.registry import Check
from gnomon.train.config import Gate
from gnomon.train.evaluate import Reading, Subject, difference, evaluate, held_out
from gnomon.train.judgement import Measure
from gnomon.train.tasks.ask import TaskFigure, ask, ready

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
_GAINED = "_gained"


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
    tasks = ready(list(gate.tasks), gate.task_folder) if gate.tasks else None

    def measured(subject: Subject) -> tuple[Reading, tuple[TaskFigure, ...]]:
        return evaluate(subject, texts), ask(subject, tasks, tell=tell) if tasks else ()

    tell(f"{candidate.name} reads {len(texts)} texts")
    new, figures = measured(candidate)
    old, others = None, None
    if serving is not None:
        tell(f"{serving.name}, which serves now, reads them too")
        old, others = measured(serving)
    told = replace(new, measures=(*new.measures, *(figure.measure for figure in figures)))
    return (*checks(gate, new, old), *task_checks(gate, figures, others)), told


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


def task_checks(
    gate: Gate, new: Sequence[TaskFigure], serving: Sequence[TaskFigure] | None
) -> tuple[Check, ...]:
    """The figures of tasks beside their thresholds, and beside those of a serving model."""
    known = {(figure.task, figure.metric): figure for figure in new}
    others = {(figure.task, figure.metric): figure for figure in serving or ()}
    found = []
    for task, wanted in gate.tasks.items():
        for metric, threshold in wanted.items():
            figure = known.get((task, metric))
            if figure is None:
                raise _no_figure(task, metric, [name for of, name in known if of == task])
            reach = _at_least if figure.higher_is_better else _at_most
            found.append(reach(figure.measure, threshold))
            if old := others.get((task, metric)):
                least = -gate.worse_tasks * abs(old.measure.value)
                found.append(_at_least(_gained(figure, old), least))
    return tuple(found)


def _gained(new: TaskFigure, old: TaskFigure) -> Measure:
    """By how much the new model is better, in the figure's own unit."""
    sign = 1 if new.higher_is_better else -1
    name = f"{new.measure.name}{_GAINED}"
    if new.items is None or old.items is None:
        return Measure(name=name, value=sign * (new.measure.value - old.measure.value))
    return difference(name, sign * new.items, sign * old.items, np.ones_like(new.items))


def refuse(name: str, found: Sequence[Check]) -> None:
    """Raise ModelTerminal naming every figure that misses its threshold, if there is one."""
    missed = [check for check in found if not check.passed]
    if not missed:
        return
    told = "; ".join(f"{shown(check)} ({_words(check)[2]})" for check in missed)
    raise ModelTerminal(
        f"{name} is refused by its gate: {told}.",
        code="gate.refused",
        hint="What serves stays in place. Train longer (schedule.steps) or on more text, "
        "or, if the figure is good enough, judge again with --gate FILE.toml.",
        missed=[check.name for check in missed],
    )


def shown(check: Check) -> str:
    """One check in words."""
    name, side, _ = _words(check)
    value = "no number" if check.value is None else f"{check.value:.3f}"
    return f"{name} {value}, wanted {side} {check.threshold:g}"


def _no_figure(task: str, metric: str, there: Sequence[str]) -> ConfigError:
    return ConfigError(
        f"The task {task} has no figure {metric!r} (gate.tasks.{task}).",
        code="gate.task",
        hint=f"It has {', '.join(there)}." if there else "Ask it once with `gnomon eval run`.",
    )


def _words(check: Check) -> tuple[str, str, str]:
    """What is checked, on which side of the threshold it must be, and the threshold's key."""
    if check.name in _SHOWN:
        return _SHOWN[check.name]
    if check.name.endswith(_GAINED):
        name = check.name.removesuffix(_GAINED)
        return f"{name} better than the serving model's by", "at least", "gate.worse_tasks"
    above = check.value is not None and check.value >= (check.threshold or 0.0)
    return (
        check.name,
        "at least" if above == check.passed else "at most",
        f"gate.tasks.{check.name}",
    )


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
