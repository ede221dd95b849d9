"""A model spread over all workers of a run. Needs PyTorch.

Every weight is cut over all workers (FSDP). With expert parallelism, experts are first dealt out to
rows of `ep` workers, and those of one worker are cut over the workers of other rows that hold the
same ones: nobody ever gathers an expert that he does not compute.
"""

from __future__ import annotations

import torch
from torch import nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
from torch.distributed.tensor import DTensor, Shard

from gnomon.errors import ConfigError
from gnomon.train.config import RunConfig
from gnomon.train.exchange import Exchange
from gnomon.train.float8 import in_float8
from gnomon.train.models.shape import Shape
from gnomon.train.models.transformer import Experts, Transformer
from gnomon.train.pace import Pace
from gnomon.train.world import World


def sharded(config: RunConfig, world: World, pace: Pace) -> Transformer:
    """The model with drawn weights, each layer's spread over all workers."""
    with torch.device("meta"):
        model = Transformer(config.model, recompute=config.machine.recompute)
    policy = MixedPrecisionPolicy(cast_forward_inputs=False)
    if config.machine.precision == "float8":
        in_float8(model)
    if config.machine.precision != "fp32":
        policy = MixedPrecisionPolicy(
            param_dtype=torch.bfloat16, reduce_dtype=torch.float32, cast_forward_inputs=False
        )
    for block in model.blocks:
        if config.machine.compile:
            block.compile()
        if world.groups is not None:
            _must_be_even(config.model, world.groups)
            for experts in _experts(block):
                deal(experts, world.groups, policy, pace)
        fully_shard(block, mesh=world.mesh, mp_policy=policy)
    fully_shard(model, mesh=world.mesh, mp_policy=policy)
    model.to_empty(device=world.device)
    model.tie()
    model.initialise(config.seed)
    pace.watch(model.blocks)
    return model


def deal(experts: Experts, groups: DeviceMesh, policy: MixedPrecisionPolicy, pace: Pace) -> None:
    """Leave each worker its own experts; they are on no device yet.

    A row of `groups` shares out all experts; a column holds the same ones, and cuts their matrices
    by rows, as whole experts may be fewer than workers.
    """
    row, column = groups["row"], groups["column"]
    for name, weight in list(experts.named_parameters()):
        own = weight.new_empty((len(weight) // row.size(), *weight.shape[1:]))
        dealt = DTensor.from_local(own, row, [Shard(0)], run_check=False)
        setattr(experts, name, nn.Parameter(dealt))
    experts.exchange = Exchange(row, pace)
    fully_shard(experts, mesh=column, mp_policy=policy, shard_placement_fn=lambda _: Shard(1))


@torch.no_grad()
def average_over_groups(model: Transformer, groups: DeviceMesh) -> None:
    """Average the experts' gradients over all workers.

    Each already holds the sum over its row, whose tokens it computed, averaged over its column.
    """
    for experts in _experts(model):
        for weight in experts.parameters():
            if weight.grad is not None:
                weight.grad.div_(groups["row"].size())


def _experts(module: nn.Module) -> list[Experts]:
    return [part for part in module.modules() if isinstance(part, Experts)]


def _must_be_even(shape: Shape, groups: DeviceMesh) -> None:
    copies = groups["column"].size()
    for name in ("width", "ffn"):
        if (size := getattr(shape, name)) % copies:
            raise ConfigError(
                f"model.{name} ({size}) cannot be cut over the {copies} workers that hold the same "
                f"experts.",
                code="train.ep",
                hint="Choose machine.ep and the number of workers so that workers / ep divides "
                "model.width and model.ffn.",
            )
