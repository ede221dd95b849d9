"""The error tree. What failed decides the class; whether to retry decides the mixin.

`ConfigError` is the operator's to mend, `UpstreamError` a source's or site's,
`ContentError` one bad item, `ModelError` a model's, `StoreError` our own durable state.
Nobody matches strings: `code` is for programs, `hint` is the next step for people,
`fields` hold the values that the message names.
"""

from __future__ import annotations

from typing import Any, ClassVar


class GnomonError(Exception):
    """Root of all errors that Gnomon raises on purpose."""

    exit_status: ClassVar[int] = 1
    default_code: ClassVar[str] = "error"

    def __init__(self, message: str, *, code: str = "", hint: str = "", **fields: Any) -> None:
        super().__init__(message)
        self.message = message
        self.code = code or self.default_code
        self.hint = hint
        self.fields = fields

    def __str__(self) -> str:
        return f"{self.message} {self.hint}".strip()


class ConfigError(GnomonError):
    """A setting, argument or key is wrong: the operator can mend it."""

    exit_status = 2
    default_code = "config"


class UpstreamError(GnomonError):
    """A source or site failed, refused or misbehaved."""

    exit_status = 3
    default_code = "upstream"


class ContentError(GnomonError):
    """One item could not be read. The rest goes on."""

    exit_status = 3
    default_code = "content"


class ModelError(GnomonError):
    """A model is missing, broken, or gave something unusable."""

    default_code = "model"


class StoreError(GnomonError):
    """Our own durable state is damaged or cannot be written. The process stops."""

    exit_status = 4
    default_code = "store"


class Transient(GnomonError):
    """Mixin: worth trying again, after `retry_after_s` seconds if that is not None."""

    retry_after_s: float | None = None

    def __init__(
        self, message: str, *, retry_after_s: float | None = None, **described: Any
    ) -> None:
        super().__init__(message, **described)
        if retry_after_s is not None:
            self.retry_after_s = retry_after_s


class Terminal:
    """Mixin: trying again cannot help until somebody changes something."""


class UpstreamTransient(Transient, UpstreamError):
    """A failure of a source or site that may pass."""


class UpstreamTerminal(Terminal, UpstreamError):
    """A source or site said no for good: gone, forbidden, refused by our own guard."""


class ModelTransient(Transient, ModelError):
    """A failure of a model that may pass: a busy endpoint, a broken connection."""


class ModelTerminal(Terminal, ModelError):
    """A model said no for good: unknown, forbidden, a request that it cannot take."""
