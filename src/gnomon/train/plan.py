"""What a run would need on N GPUs: memory, communication, step time, checkpoints, goodput.

A model of first principles, not a measurement: operations over what one device does, bytes over
what the network does, the larger of the two where they overlap. `PUBLISHED` holds figures that it
is compared with, and the plan says how far off it is there. No PyTorch here.
"""

from __future__ import annotations

import math

import msgspec

from gnomon.errors import ConfigError
from gnomon.train.models.shape import Shape, presets

_STATE_BYTES = 4 + 4 + 4 + 4
"""Of one parameter: fp32 weight, gradient and two of AdamW's moments."""

_RECOMPUTED = 4 / 3
"""Work done where layers run again in the backward pass: four passes' worth in place of three."""


class Device(msgspec.Struct, frozen=True):
    """One GPU and its way to the others."""

    name: str
    peak_flops: float
    memory_bytes: float
    node_bytes_per_s: float
    """Between GPUs of one node, one direction."""
    efficiency: float
    """Part of the peak that layers reach on one device without any communication: an assumption
    where it was not measured with `gnomon forge check` on one."""


H100 = Device("h100", 989e12, 80e9, 450e9, 0.45)
DEVICES = {
    "h100": H100,
    "h200": Device("h200", 989e12, 141e9, 450e9, 0.45),
    "a100": Device("a100", 312e12, 80e9, 300e9, 0.55),
    "b200": Device("b200", 2_250e12, 192e9, 900e9, 0.45),
}


class Ask(msgspec.Struct, frozen=True):
    """A plan's question."""

    shape: Shape
    gpus: int
    sequence: int
    batch: int
    """Samples of one step over all GPUs."""
    micro: int = 1
    device: Device = H100
    network_bytes_per_s: float = 50e9
    """Of one GPU's network card."""
    node: int = 8
    ep: int = 1
    """GPUs that share out a layer's experts."""
    shards: int = 0
    """GPUs over which one copy of the model is spread; 0: as few as it fits on."""
    disk_bytes_per_s: float = 2e9
    """Of one node, for checkpoints."""
    hours_between_failures: float = 50_000.0
    """Of one GPU; Llama 3's 16,384 met 419 interruptions in 54 days, one in 50,700 hours."""
    restart_s: float = 600.0


class Plan(msgspec.Struct, frozen=True):
    """What comes of it."""

    parameters: int
    active_parameters: int
    shards: int
    state_bytes: float
    """Weights, gradients and optimizer on one GPU."""
    activation_bytes: float
    """Kept for the backward pass on one GPU, with layers recomputed."""
    memory_bytes: float
    fits: bool
    compute_s: float
    gather_s: float
    """Communication of one step: weights gathered twice, gradients reduced once."""
    exchange_s: float
    """Tokens on their way to experts of other GPUs and back, for which the layers wait."""
    step_s: float
    tokens_per_s_gpu: float
    mfu: float
    checkpoint_bytes: float
    checkpoint_s: float
    checkpoint_every_s: float
    """The interval that loses least (Young 1974)."""
    goodput: float


def plan(ask: Ask) -> Plan:
    """Work it out. Raises ConfigError if batch or experts cannot be dealt."""
    if ask.batch % ask.gpus:
        raise ConfigError(
            f"{ask.batch:,} samples a step cannot be dealt to {ask.gpus:,} GPUs.",
            code="train.plan",
            hint=f"Give --batch {-(-ask.batch // ask.gpus) * ask.gpus} or another multiple of the "
            "GPUs (data.batch), or fewer GPUs.",
        )
    if ask.ep > 1 and (ask.gpus % ask.ep or not ask.shape.experts or ask.shape.experts % ask.ep):
        raise ConfigError(
            f"{ask.shape.experts} experts cannot be shared out by {ask.ep} on {ask.gpus} GPUs.",
            code="train.plan",
            hint="Make machine.ep a divisor of the experts and of the GPUs.",
        )
    shape, device = ask.shape, ask.device
    count = shape.parameters()
    activations = _activation_bytes(ask)
    shards = ask.shards or _fewest(ask, activations)
    state = count * _STATE_BYTES / shards
    memory = state + activations + 4 * _gathered(ask) / max(1, shape.layers)
    samples = ask.batch / ask.gpus
    tokens = samples * ask.sequence
    flops = tokens * shape.flops_per_token(ask.sequence)
    compute_s = _RECOMPUTED * flops / (device.peak_flops * device.efficiency)
    rounds = max(1.0, samples / ask.micro)
    gather_s = _gather_s(ask, shards, rounds)
    exchange_s = _exchange_s(ask, tokens)
    # Layers' weights arrive while others compute; a tenth of it does not hide (first and last
    # layers, waiting for the slowest).
    step_s = max(compute_s, gather_s) + 0.1 * min(compute_s, gather_s) + exchange_s
    saved = count * 12.0
    checkpoint_s = saved / (ask.disk_bytes_per_s * max(1, ask.gpus / ask.node))
    between_s = ask.hours_between_failures * 3600 / ask.gpus
    every_s = math.sqrt(2 * max(checkpoint_s, 1.0) * between_s)
    lost = (every_s / 2 + ask.restart_s) / between_s
    return Plan(
        parameters=count,
        active_parameters=shape.parameters(active=True),
        shards=shards,
        state_bytes=state,
        activation_bytes=activations,
        memory_bytes=memory,
        fits=memory <= 0.92 * device.memory_bytes,
        compute_s=compute_s,
        gather_s=gather_s,
        exchange_s=exchange_s,
        step_s=step_s,
        tokens_per_s_gpu=tokens / step_s,
        mfu=flops / step_s / device.peak_flops,
        checkpoint_bytes=saved,
        checkpoint_s=checkpoint_s,
        checkpoint_every_s=every_s,
        goodput=max(0.0, 1 - lost),
    )


def _activation_bytes(ask: Ask) -> float:
    """The input of each layer, one layer's insides, and the logits with their gradient."""
    shape, rows = ask.shape, ask.micro * ask.sequence
    used = max(1, shape.experts_used)
    inside = 2 * (6 * shape.width + 3 * shape.ffn * used + 4 * shape.heads * shape.head_dim)
    return rows * (2.0 * shape.width * shape.layers + inside + 6.0 * shape.vocab)


def _fewest(ask: Ask, activations: float) -> int:
    room = 0.92 * ask.device.memory_bytes - activations
    count, shards = ask.shape.parameters(), 1
    layer = 4 * _gathered(ask) / max(1, ask.shape.layers)
    while shards < ask.gpus and count * _STATE_BYTES / shards + layer > room:
        shards *= 2
    return min(shards, ask.gpus)


def _gathered(ask: Ask) -> float:
    """Parameters that a GPU ever holds whole: all but the experts of others."""
    shape = ask.shape
    experts = 3.0 * shape.width * shape.ffn * shape.experts * shape.layers
    return shape.parameters() - experts * (1 - 1 / ask.ep)


def _exchange_s(ask: Ask, tokens: float) -> float:
    """Each token's row in bf16 to its experts and back: forward, again, and backward."""
    shape = ask.shape
    rows = tokens * shape.experts_used * shape.layers * (ask.ep - 1) / ask.ep
    inside = ask.ep <= ask.node
    width = ask.device.node_bytes_per_s if inside else ask.network_bytes_per_s
    return rows * shape.width * 2.0 * 6 / width


def _gather_s(ask: Ask, shards: int, rounds: float) -> float:
    """Ring all-gathers in bf16 for forward and backward of each part; one reduction in fp32."""
    if ask.gpus == 1:
        return 0.0
    count = _gathered(ask)
    inside = shards <= ask.node
    width = ask.device.node_bytes_per_s if inside else ask.network_bytes_per_s
    gathers = 2 * rounds * 2.0 * count * (shards - 1) / shards / width
    reduces = 4.0 * count * (shards - 1) / shards / width
    copies = ask.gpus // shards
    across = 2 * 4.0 * count / shards * (copies - 1) / copies / ask.network_bytes_per_s
    return gathers + reduces + across


class Published(msgspec.Struct, frozen=True):
    """One figure that somebody measured."""

    name: str
    ask: Ask
    tokens_per_s_gpu: float
    source: str


def published() -> list[Published]:
    """Runs with FSDP alone, which is what the plan models."""
    named = presets()
    torchtitan = "torchtitan, Llama 3.1 8B, H100, bf16, FSDP"
    return [
        Published(
            "Llama 3 8B on 8",
            Ask(named["llama3-8b"], 8, 8_192, 16, micro=2, shards=8),
            5_762,
            torchtitan,
        ),
        Published(
            "Llama 3 8B on 128",
            Ask(named["llama3-8b"], 128, 8_192, 256, micro=2, shards=128),
            5_605,
            torchtitan,
        ),
        Published(
            "Llama 3 70B on 256",
            Ask(named["llama3-70b"], 256, 8_192, 512, micro=2, shards=256),
            829,
            "torchtitan, Llama 3.1 70B, H100, bf16, 256 GPUs",
        ),
        Published(
            # 400 TFLOP/s a GPU over 6·N operations a token.
            "Llama 3 405B on 16,384",
            Ask(named["llama3-405b"], 16_384, 8_192, 16_384, shards=16_384),
            400e12 / named["llama3-405b"].flops_per_token(8_192),
            "Llama 3 report, table 4: 8,192 to 16,384 H100, 380 to 430 TFLOP/s",
        ),
    ]


def told(ask: Ask, found: Plan) -> str:
    """The plan in words and numbers."""
    shape, gb = ask.shape, 1e9
    rows = [
        (
            "parameters",
            f"{found.parameters / gb:,.2f} B, {found.active_parameters / gb:,.2f} B active",
        ),
        ("GPUs", f"{ask.gpus:,} {ask.device.name}, one copy over {found.shards:,}"),
        ("batch", f"{ask.batch:,} × {ask.sequence:,} tokens, {ask.micro} at once a GPU"),
        ("weights and optimizer", f"{found.state_bytes / gb:,.1f} GB a GPU"),
        ("activations", f"{found.activation_bytes / gb:,.1f} GB a GPU, layers recomputed"),
        (
            "memory",
            f"{found.memory_bytes / gb:,.1f} of {ask.device.memory_bytes / gb:,.0f} GB: "
            + ("fits" if found.fits else "DOES NOT FIT"),
        ),
        ("computing", f"{found.compute_s:,.2f} s a step"),
        ("communicating", f"{found.gather_s:,.2f} s a step"),
        ("step", f"{found.step_s:,.2f} s, {found.tokens_per_s_gpu:,.0f} tokens/s a GPU"),
        ("MFU", f"{found.mfu:.1%}"),
        ("checkpoint", f"{found.checkpoint_bytes / gb:,.0f} GB in {found.checkpoint_s:,.0f} s"),
        ("best interval", f"{found.checkpoint_every_s / 60:,.0f} min"),
        ("goodput", f"{found.goodput:.1%}"),
    ]
    if shape.experts:
        shared = f", shared out to {ask.ep} GPUs" if ask.ep > 1 else ""
        rows.insert(1, ("experts", f"{shape.experts_used} of {shape.experts} a token{shared}"))
    if ask.ep > 1:
        at = [name for name, _ in rows].index("communicating")
        rows.insert(at + 1, ("tokens to experts", f"{found.exchange_s:,.2f} s a step"))
    lines = [f"{name:<22}{value}" for name, value in rows]
    lines.append("\nThe same reckoning beside published figures, tokens/s a GPU:")
    for known in published():
        ours = plan(known.ask).tokens_per_s_gpu
        off = ours / known.tokens_per_s_gpu - 1
        lines.append(
            f"  {known.name:<24}{ours:8,.0f} against {known.tokens_per_s_gpu:8,.0f}  ({off:+.0%})"
        )
    return "\n".join(lines)
