"""The halves of AttributionBench share no question."""

from __future__ import annotations

from gnomon.eval.suites.attributionbench import part


def test_a_question_is_in_one_half_only_and_both_halves_fill() -> None:
    halves = {q: part({"question": q, "claim": "one"}) for q in map(str, range(200))}
    assert all(part({"question": q, "claim": "other"}) == h for q, h in halves.items())
    assert 70 < sum(h == "fitted" for h in halves.values()) < 130
    assert set(halves.values()) == {"fitted", "unseen"}
