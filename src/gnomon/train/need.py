"""PyTorch and Ray are extras: whoever needs one asks here, and is told when it is absent."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version

from gnomon.errors import ConfigError


def need(*modules: str, extra: str = "train") -> None:
    """Raise ConfigError naming the extra if one of `modules` is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        raise ConfigError(
            f"This needs {', '.join(missing)}, which is not installed.",
            code="train.not_installed",
            hint=f"Install it with `pip install 'gnomon[{extra}]'`.",
            missing=missing,
        )


def installed(extra: str) -> str:
    """How an extra stands, in a few words."""
    title, package = {"train": ("PyTorch", "torch"), "cluster": ("Ray", "ray")}[extra]
    try:
        return f"{title} {version(package)}"
    except PackageNotFoundError:
        return f"no {title} (`pip install 'gnomon[{extra}]'`)"
