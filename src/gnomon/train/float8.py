"""Multiplications in 8-bit floating point, by torchao, where the device has them. Needs PyTorch.

Weights stay in fp32, activations in bf16; both are scaled and rounded to 8 bits as they are
multiplied. Embedding, output and router stay in bf16, and so do experts: torchao has nothing stable
for their grouped multiplication yet.
"""

from __future__ import annotations

import torch
from torch import nn

from gnomon.errors import ConfigError
from gnomon.train.need import need

_CAPABILITY = (8, 9)
"""Of the first NVIDIA GPUs with 8-bit floating point: Ada; Hopper is 9.0."""
_MULTIPLE = 16
"""Rows and columns that the multiplication takes come in so many."""


def must_compute_in_float8(device: torch.device) -> None:
    """Raise ConfigError unless `device` multiplies in float8 and torchao is installed."""
    name = "the CPU"
    if device.type == "cuda":
        name = f"{torch.cuda.get_device_name(device)} (capability {_dotted(_capability(device))})"
    if device.type != "cuda" or _capability(device) < _CAPABILITY:
        raise ConfigError(
            f"machine.precision is float8, in which {name} cannot multiply.",
            code="train.float8",
            hint='Set machine.precision = "bf16", or train on a GPU of capability '
            f"{_dotted(_CAPABILITY)} or more, such as an H100 or L40S.",
        )
    need("torchao")


def in_float8(model: nn.Module, *, emulate: bool = False) -> None:
    """Have the matrices inside the layers of `model` multiply in float8.

    `emulate` rounds in the same way on any device, and multiplies in full. Raises ConfigError if
    no matrix of the model fits.
    """
    from torchao.float8 import Float8LinearConfig, convert_to_float8_training

    def fits(module: nn.Module, name: str) -> bool:
        inside = name.startswith("blocks.") and not name.endswith(".router")
        sizes = (module.in_features, module.out_features) if isinstance(module, nn.Linear) else (1,)
        return inside and all(size % _MULTIPLE == 0 for size in sizes)

    if not any(fits(module, name) for name, module in model.named_modules()):
        raise ConfigError(
            f"No matrix of the model has rows and columns in multiples of {_MULTIPLE}.",
            code="train.float8",
            hint='Set machine.precision = "bf16", or choose model.width and model.ffn so.',
        )
    config = Float8LinearConfig(emulate=emulate)
    convert_to_float8_training(model, config=config, module_filter_fn=fits)


def _capability(device: torch.device) -> tuple[int, int]:
    return torch.cuda.get_device_capability(device)


def _dotted(numbers: tuple[int, int]) -> str:
    return ".".join(map(str, numbers))
