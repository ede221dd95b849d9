"""PyTorch is an extra: whoever needs it asks here, and is told plainly when it is absent."""

from __future__ import annotations

import importlib.util

from gnomon.errors import ConfigError


def need(*modules: str) -> None:
    """Raise ConfigError naming the extra if one of `modules` is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"Training needs {', '.join(missing)}, which is not installed.",
            code="train.not_installed",
            hint="Install it with `pip install gnomon[train]`.",
            missing=missing,
        )
