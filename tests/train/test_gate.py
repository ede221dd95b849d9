"""The gate lets good models through and refuses bad ones in words that say what to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs gnomon[train]")

from gnomon.errors import ConfigError, ModelTerminal  # noqa: E402
from gnomon.train.config import Gate, read_config  # noqa: E402
from gnomon.train.evaluate import Reading, Subject  # noqa: E402
from gnomon.train.gate import checks, judge, refuse  # noqa: E402
from gnomon.train.judgement import Measure  # noqa: E402


def reading(bits: Sequence[float], hits: Sequence[float] = ()) -> Reading:
    """One that read documents of 100 bytes each, with so many bits."""
    sums, picked = np.array(bits, float), np.array(hits, float)
    measures = [Measure(name="bits_per_byte", value=float(sums.mean() / 100), n=len(bits))]
    if len(picked):
        measures.append(Measure(name="cloze", value=float(100 * picked.mean()), n=len(picked)))
    return Reading(tuple(measures), "text", sums, np.full(len(bits), 100.0), picked)


GOOD = reading([200, 210, 190, 205], [1, 1, 0, 1])


def test_thresholds_are_kept_on_both_sides_and_at_the_edge() -> None:
    gate = Gate(max_bits_per_byte=2.0125, min_cloze=75)
    assert [c.passed for c in checks(gate, GOOD, None)] == [True, True]
    tighter = Gate(max_bits_per_byte=2.0124, min_cloze=75.1)
    found = checks(tighter, GOOD, None)
    assert [(c.name, c.passed) for c in found] == [("bits_per_byte", False), ("cloze", False)]
    with pytest.raises(ModelTerminal) as refused:
        refuse("small", found)
    said = str(refused.value)
    assert "small is refused by its gate" in said
    assert "bits per byte 2.013, wanted at most 2.0124 (gate.max_bits_per_byte)" in said
    assert "next words picked (%) 75.000, wanted at least 75.1 (gate.min_cloze)" in said
    assert "schedule.steps" in said
    refuse("small", checks(gate, GOOD, None))


def test_a_model_must_not_be_worse_than_the_one_that_it_replaces() -> None:
    gate = Gate(worse_bits_per_byte=0.05, worse_cloze=10)
    slightly = reading([204, 214, 194, 209], [1, 1, 0, 1])
    assert all(c.passed for c in checks(gate, slightly, GOOD))
    worse = checks(gate, reading([210, 220, 200, 215], [0, 1, 0, 1]), GOOD)
    missed = {c.name: c for c in worse if not c.passed}
    assert set(missed) == {"bits_per_byte_gained", "cloze_gained"}
    above = missed["bits_per_byte_gained"]
    # Every document took 10 bits more, so however they are drawn the difference is the same.
    assert (above.value, above.low, above.high) == pytest.approx((0.1, 0.1, 0.1))
    assert missed["cloze_gained"].value == pytest.approx(-25.0)
    better = checks(gate, GOOD, reading([300, 300, 300, 300], [0, 0, 0, 0]))
    assert all(c.passed for c in better)


@pytest.mark.parametrize("broken", [math.nan, math.inf])
def test_what_is_no_number_is_refused(broken: float) -> None:
    found = checks(Gate(), reading([broken, 200]), None)
    assert [c.passed for c in found] == [False]
    with pytest.raises(ModelTerminal, match="refused"):
        refuse("broken", found)


def test_a_text_too_short_for_words_passes_only_where_none_are_asked_for() -> None:
    short = reading([100, 100])
    assert [c.name for c in checks(Gate(), short, short)] == [
        "bits_per_byte",
        "bits_per_byte_gained",
    ]
    assert [c.passed for c in checks(Gate(min_cloze=30), short, None)] == [True, False]


class Flat(torch.nn.Module):
    """Holds every byte for equally likely, or the letter e for likelier than it is."""

    def __init__(self, leaning: float) -> None:
        super().__init__()
        self._leaning = leaning

    def forward(self, tokens: Any) -> Any:
        logits = torch.zeros(*tokens.shape, 256)
        logits[..., ord("e")] = self._leaning
        return logits, None, None


def flat(name: str, leaning: float) -> Subject:
    model: Any = Flat(leaning)
    return Subject(name, model, lambda text: list(text.encode()), 0, 64)


def test_both_models_read_the_same_text(tmp_path: Path) -> None:
    held_out = tmp_path / "held-out.txt"
    held_out.write_text(
        "Every byte is a surprise of eight bits to whoever knows nothing at all. " * 9
    )
    gate = Gate(text=(held_out,), max_bits_per_byte=8.001)
    found, new = judge(gate, flat("new", 0.0), flat("old", 0.0))
    assert new.value("bits_per_byte") == pytest.approx(8.0)
    assert [c.passed for c in found] == [True, True, True, True]
    found, _ = judge(gate, flat("new", 9.0), flat("old", 0.0))
    assert not next(c for c in found if c.name == "bits_per_byte_gained").passed
    with pytest.raises(ConfigError, match="names no text"):
        judge(Gate(), flat("new", 0.0), None)


def test_the_gate_of_a_file_knows_where_its_text_lies(
    tmp_path: Path, described: Callable[..., dict[str, Any]]
) -> None:
    path = tmp_path / "small.toml"
    path.write_text(
        'model = "grok-10m"\n[data]\ntokens = "t"\n[gate]\ntext = ["a.jsonl"]\nmin_cloze = 40\n'
    )
    config = read_config(path)
    assert config.gate.text == (tmp_path / "a.jsonl",)
    assert config.identity() == config.model_copy(update={"gate": Gate()}).identity()
    path.write_text(path.read_text().replace("min_cloze", "min_close"))
    with pytest.raises(ConfigError, match="did you mean min_cloze"):
        read_config(path)
    path.write_text(path.read_text().replace("min_close", "tasks.town_facts"))
    with pytest.raises(ConfigError, match=r"gate\.tasks\.town_facts names no figure"):
        read_config(path)
    path.write_text('model = "grok-10m"\n')
    with pytest.raises(ConfigError, match="data is missing"):
        read_config(path)
