"""The plan: how it moves with what is asked, and how far it is from what others measured."""

from __future__ import annotations

import pytest

from gnomon.errors import ConfigError
from gnomon.train.models.shape import presets
from gnomon.train.plan import DEVICES, Ask, plan, published, told


@pytest.mark.parametrize("known", published(), ids=lambda known: known.name)
def test_published_figures_are_met_within_30_percent(known: object) -> None:
    ask, measured = known.ask, known.tokens_per_s_gpu  # type: ignore[attr-defined]
    assert plan(ask).tokens_per_s_gpu == pytest.approx(measured, rel=0.3)
    assert plan(ask).fits


def test_grok_1_needs_many_gpus() -> None:
    grok = presets()["grok-1"]
    few = plan(Ask(grok, 32, 8_192, 64))
    assert not few.fits
    assert few.shards == 32
    many = plan(Ask(grok, 1_024, 8_192, 2_048))
    assert many.fits
    assert many.state_bytes * many.shards == pytest.approx(16 * grok.parameters())


def test_more_gpus_never_make_a_plan_slower_or_safer() -> None:
    shape = presets()["llama3-70b"]
    plans = [plan(Ask(shape, n, 8_192, 16_384)) for n in (256, 1_024, 4_096, 16_384)]
    steps = [p.step_s for p in plans]
    assert steps == sorted(steps, reverse=True)
    goodputs = [p.goodput for p in plans]
    assert goodputs == sorted(goodputs, reverse=True)
    intervals = [p.checkpoint_every_s for p in plans]
    assert intervals == sorted(intervals, reverse=True)


def test_shared_experts_gather_less_and_send_tokens() -> None:
    grok = presets()["grok-1"]
    apart = plan(Ask(grok, 1_024, 8_192, 2_048, shards=1_024))
    shared = plan(Ask(grok, 1_024, 8_192, 2_048, shards=1_024, ep=8))
    assert apart.exchange_s == 0
    assert 0 < shared.exchange_s < apart.gather_s
    assert shared.gather_s < apart.gather_s / 4
    assert shared.memory_bytes < apart.memory_bytes
    assert shared.state_bytes == apart.state_bytes
    assert "shared out to 8 GPUs" in told(Ask(grok, 1_024, 8_192, 2_048, ep=8), shared)
    for ep, gpus in ((3, 1_024), (8, 1_020)):
        with pytest.raises(ConfigError, match="cannot be shared out"):
            plan(Ask(grok, gpus, 8_192, 2_040 * 1_024, ep=ep))
    with pytest.raises(ConfigError, match="0 experts"):
        plan(Ask(presets()["llama-1b"], 8, 2_048, 8, ep=2))


def test_one_gpu_talks_to_nobody() -> None:
    alone = plan(Ask(presets()["llama-1b"], 1, 2_048, 8, device=DEVICES["h200"]))
    assert alone.gather_s == 0
    assert alone.mfu == pytest.approx(0.45 * 3 / 4)


def test_a_batch_that_cannot_be_dealt_is_refused() -> None:
    for gpus, enough in ((7, 14), (200_000, 200_000)):
        with pytest.raises(ConfigError, match=f"cannot be dealt to {gpus:,}") as refused:
            plan(Ask(presets()["llama-1b"], gpus, 2_048, 8))
        assert f"--batch {enough} " in str(refused.value.hint)
        assert plan(Ask(presets()["llama-1b"], gpus, 2_048, enough)).mfu > 0


def test_the_plan_is_told_with_its_errors() -> None:
    ask = Ask(presets()["grok-1"], 32, 8_192, 64)
    text = told(ask, plan(ask))
    assert "DOES NOT FIT" in text
    assert "2 of 8 a token" in text
    assert "Llama 3 405B on 16,384" in text
