"""Runs as they stand on disk, and a page that shows one. No PyTorch here."""

from __future__ import annotations

import html
import math
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path

import msgspec

from gnomon.models.registry import Check
from gnomon.train.config import RunConfig
from gnomon.train.judgement import Judgement, Measure, read_judgement
from gnomon.train.metrics import Step, read_steps

_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 720, 220, 64, 24
_POINTS = 600
_COLOURS = ("#2563eb", "#d97706", "#059669", "#dc2626", "#7c3aed", "#0891b2", "#be185d", "#4d7c0f")


class RunState(msgspec.Struct):
    """One line of the list."""

    name: str
    step: int
    steps: int
    loss: float | None
    tokens_per_s: float
    mfu: float
    starts: int
    bad: int
    """Steps that were skipped or rolled back."""
    finished: bool
    model: str


def list_runs(home: Path) -> list[RunState]:
    """All runs under `home`, by name."""
    found = [path.parent for path in sorted(home.glob("*/config.json"))]
    return [state(folder) for folder in found]


def state(folder: Path) -> RunState:
    """How the run in `folder` stands."""
    config = RunConfig.model_validate_json((folder / "config.json").read_bytes())
    steps = read_steps(folder)
    last = steps[-1] if steps else None
    tail = steps[-50:]
    shape = config.model
    return RunState(
        name=folder.name,
        step=last.step if last else 0,
        steps=config.schedule.steps,
        loss=last.loss if last else None,
        tokens_per_s=sum(s.tokens_per_s for s in tail) / max(1, len(tail)),
        mfu=sum(s.mfu for s in tail) / max(1, len(tail)),
        starts=max((s.start for s in steps), default=0),
        bad=sum(s.verdict != "good" for s in steps),
        finished=(folder / "outcome.json").is_file(),
        model=f"{shape.layout} {shape.parameters() / 1e6:,.1f}M",
    )


def goodput(steps: Sequence[Step]) -> float:
    """Part of the wall time that went into steps that count, from the first step to the last."""
    if len(steps) < 2:
        return 1.0
    span_s = steps[-1].at - steps[0].at
    useful_s = sum(
        later.at - earlier.at
        for earlier, later in pairwise(steps)
        if earlier.start == later.start and later.verdict == "good"
    )
    return useful_s / span_s if span_s > 0 else 1.0


def report(folder: Path, sections: Sequence[tuple[str, str]] = ()) -> str:
    """One HTML page with the run's plots and what its gate found; nothing is fetched by it.

    `sections` are titles and markup that stand before the plots.
    """
    now, steps = state(folder), read_steps(folder)
    slow = _slow(steps)
    config = (folder / "config.json").read_text()
    losses = {"loss": [(s.step, s.loss) for s in steps], "smoothed": smooth(steps)}
    plots = [
        plot("Loss", losses),
        plot("Learning rate", {"rate": [(s.step, s.rate) for s in steps]}),
        plot("Gradient norm", {"norm": [(s.step, s.gradient_norm) for s in steps]}),
        plot("Tokens a second", {"tokens/s": [(s.step, s.tokens_per_s) for s in steps]}),
        plot("MFU", {"MFU": [(s.step, s.mfu) for s in steps]}),
    ]
    if steps and steps[-1].load:
        plots.append(
            plot(
                "Experts' share of the tokens",
                {
                    f"expert {e}": [(s.step, s.load[e]) for s in steps if len(s.load) > e]
                    for e in range(len(steps[-1].load))
                },
            )
        )
    loss = "–" if now.loss is None else f"{now.loss:.4f}"
    figures = {
        "Model": now.model,
        "Step": f"{now.step:,} of {now.steps:,}",
        "Loss": loss,
        "Tokens/s": f"{now.tokens_per_s:,.0f}",
        "MFU": f"{now.mfu:.1%}",
        "Starts": str(now.starts),
        "Bad steps": str(now.bad),
        "Goodput": f"{goodput(steps):.1%}",
        "Slow workers": str(len(slow)),
    }
    cells = "".join(
        f"<div><dt>{html.escape(name)}</dt><dd>{html.escape(value)}</dd></div>"
        for name, value in figures.items()
    )
    judgement = read_judgement(folder)
    judged = [("Judged", _judged(judgement))] if judgement else []
    if slow:
        head = ("worker", "machine", "steps", "at worst, of the median")
        judged.append(("Slow workers", table(head, slow)))
    return _PAGE.format(
        title=html.escape(now.name),
        cells=cells,
        sections="\n".join(f"<h2>{html.escape(t)}</h2>{s}" for t, s in (*sections, *judged)),
        plots="\n".join(plots),
        config=html.escape(config),
    )


def _slow(steps: Sequence[Step]) -> list[tuple[str, str, str, str]]:
    """Workers that held the others up: who, where, for how many steps, and how much."""
    found: dict[tuple[int, str], list[float]] = {}
    for step in steps:
        for slow in step.slow:
            found.setdefault((slow.rank, slow.host), []).append(slow.times)
    return [
        (str(rank), host, f"{len(times):,} of {len(steps):,}", f"{max(times):.1f} times")
        for (rank, host), times in sorted(found.items())
    ]


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table as markup; cells are plain text."""
    lines = ["".join(f"<th>{html.escape(cell)}</th>" for cell in head)]
    lines += ["".join(f"<td>{html.escape(cell)}</td>" for cell in row) for row in rows]
    return f"<table>{''.join(f'<tr>{line}</tr>' for line in lines)}</table>"


def _judged(judgement: Judgement) -> str:
    known = {check.name: check for check in judgement.checks}
    names = [m.name for m in judgement.measures]
    figures: list[Measure | Check] = [*judgement.measures]
    figures += [check for check in judgement.checks if check.name not in names]
    rows = []
    for figure in figures:
        check = known.get(figure.name)
        between = "" if figure.low is None else f"{figure.low:.3f} to {figure.high:.3f}"
        value = "no number" if figure.value is None else f"{figure.value:.3f}"
        wanted = "" if check is None or check.threshold is None else f"{check.threshold:g}"
        verdict = "" if check is None else "passes" if check.passed else "misses"
        name = figure.name if "." in figure.name else figure.name.replace("_", " ")
        rows.append((name, value, between, wanted, verdict))
    return table(("figure", "value", "95 %", "threshold", ""), rows)


def smooth(steps: Sequence[Step]) -> list[tuple[int, float | None]]:
    """The loss, averaged with those before it."""
    out: list[tuple[int, float | None]] = []
    held: float | None = None
    for step in steps:
        if step.loss is not None:
            held = step.loss if held is None else 0.95 * held + 0.05 * step.loss
        out.append((step.step, held))
    return out


def plot(title: str, lines: dict[str, list[tuple[int, float | None]]]) -> str:
    """One figure as inline SVG."""
    shown = {name: _thinned(line) for name, line in lines.items()}
    points = [point for line in shown.values() for point in line]
    if not points:
        return f"<figure><figcaption>{html.escape(title)}: nothing yet</figcaption></figure>"
    xs, ys = [x for x, _ in points], [y for _, y in points]
    x, y = _scale(min(xs), max(xs), _LEFT, _WIDTH - 8), _scale(min(ys), max(ys), _HEIGHT, 8)
    drawn = [
        f'<text x="{_LEFT - 6}" y="{y(value) + 4:.0f}" class="left">{value:.3g}</text>'
        for value in (min(ys), max(ys))
    ]
    drawn += [
        f'<text x="{x(value):.0f}" y="{_HEIGHT + 18}" class="{side}">{value}</text>'
        for value, side in ((min(xs), ""), (max(xs), "left"))
    ]
    for (name, line), colour in zip(shown.items(), _COLOURS * 99, strict=False):
        path = " ".join(f"{x(a):.1f},{y(b):.1f}" for a, b in line)
        thin = ' opacity="0.35"' if name == "loss" and len(shown) > 1 else ""
        drawn.append(f'<polyline points="{path}" stroke="{colour}"{thin}/>')
    key = ""
    if len(shown) > 1:
        key = " ".join(
            f'<span style="color:{colour}">{html.escape(name)}</span>'
            for name, colour in zip(shown, _COLOURS * 99, strict=False)
        )
    return (
        f"<figure><figcaption>{html.escape(title)} {key}</figcaption>"
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT + _BOTTOM}" role="img" '
        f'aria-label="{html.escape(title)}">{"".join(drawn)}</svg></figure>'
    )


def _thinned(line: list[tuple[int, float | None]]) -> list[tuple[int, float]]:
    known = [(x, y) for x, y in line if y is not None and math.isfinite(y)]
    every = max(1, len(known) // _POINTS)
    return known[::every] if every == 1 else [*known[::every], known[-1]]


def _scale(low: float, high: float, start: float, end: float) -> Callable[[float], float]:
    span = (high - low) or 1.0
    return lambda value: start + (value - low) / span * (end - start)


_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<meta name="viewport" content="width=device-width">
<style>
:root {{ color-scheme: light dark; font: 15px/1.5 system-ui, sans-serif; }}
body {{ max-width: 780px; margin: 2rem auto; padding: 0 1rem; }}
dl {{ display: grid; grid-template-columns: repeat(auto-fit, minmax(8rem, 1fr)); gap: .5rem 1rem; }}
dt {{ opacity: .65; font-size: .85rem; }} dd {{ margin: 0; font-variant-numeric: tabular-nums; }}
figure {{ margin: 1.5rem 0; }} figcaption {{ font-weight: 600; }}
figcaption span {{ font-weight: 400; font-size: .85rem; margin-left: .5rem; }}
svg {{ width: 100%; height: auto; }} polyline {{ fill: none; stroke-width: 1.5; }}
text {{ font-size: 11px; fill: currentColor; opacity: .7; }} .left {{ text-anchor: end; }}
pre {{ overflow: auto; }} h2 {{ font-size: 1.1rem; margin: 1.5rem 0 .25rem; }}
table {{ border-collapse: collapse; }} th, td {{ text-align: left; padding: .15rem 1rem .15rem 0; }}
th {{ opacity: .65; font-weight: 400; }} td {{ font-variant-numeric: tabular-nums; }}
</style></head><body>
<h1>{title}</h1><dl>{cells}</dl>
{sections}
{plots}
<details><summary>Configuration</summary><pre>{config}</pre></details>
</body></html>
"""
