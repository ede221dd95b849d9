"""Being connected to a Ray cluster, and errors that cross it. Needs Ray."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from tempfile import TemporaryDirectory
from typing import Any

import msgspec
import ray
from ray._private import ray_constants

from gnomon.errors import ConfigError, GnomonError, ModelError, StoreError
from gnomon.train.launch import Stopped

LOOPBACK = "127.0.0.1"
_OBJECT_STORE_BYTES = 100_000_000
"""Of a cluster of our own. What is large stays in files."""

_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # it would show each of our log lines twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # it would wait for a save that nobody makes
}


class Refusal(msgspec.Struct, frozen=True):
    """Why starting again would not help."""

    kind: str
    message: str
    code: str
    hint: str

    @classmethod
    def of(cls, error: GnomonError) -> Refusal:
        """What `error` says."""
        kind = next(kind for kind in type(error).__mro__ if kind.__name__ in _KINDS)
        return cls(kind.__name__, error.message, error.code, error.hint)

    def error(self) -> GnomonError:
        """The error again."""
        return _KINDS[self.kind](self.message, code=self.code, hint=self.hint)


_KINDS: dict[str, type[GnomonError]] = {
    kind.__name__: kind for kind in (Stopped, ConfigError, ModelError, StoreError, GnomonError)
}


@contextmanager
def cluster(address: str, *, cpus: int) -> Iterator[None]:
    """Be connected to the cluster at `address`, or to a private one of `cpus` places.

    An empty address is what RAY_ADDRESS says. A private cluster listens on loopback only.
    """
    os.environ |= _QUIET
    address = address or os.environ.get("RAY_ADDRESS", "")
    shown = ray.LoggingConfig(log_level="ERROR")  # of Ray's own; ours is told as always
    wanted: dict[str, Any] = {"logging_level": "warning", "logging_config": shown}
    with ExitStack() as stack:
        if address:
            wanted["address"] = address
        else:
            wanted |= stack.enter_context(_private(cpus))
        try:
            ray.init(**wanted)
        except (ConnectionError, ValueError, RuntimeError) as error:
            raise ConfigError(
                f"No Ray cluster answers at {address or 'this machine'}: {error}",
                code="train.no_cluster",
                hint="Run this on one of its machines, with --address auto.",
            ) from error
        stack.callback(ray.shutdown)
        yield


@contextmanager
def _private(cpus: int) -> Iterator[dict[str, Any]]:
    """How to start a cluster of our own, for as long as the context lasts."""
    # Ray replaces a loopback address by the machine's own unless it takes this for a system on
    # which it makes no clusters. Its processes ask the environment, this one has asked already.
    was = ray_constants.ENABLE_RAY_CLUSTER
    os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR] = "0"
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        with TemporaryDirectory(prefix="gnomon-ray-", ignore_cleanup_errors=True) as aside:
            yield {
                "address": "local",
                "num_cpus": cpus,
                "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
                "_node_ip_address": LOOPBACK,
                "_temp_dir": aside,
            }
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = was
        del os.environ[ray_constants.ENABLE_RAY_CLUSTERS_ENV_VAR]
