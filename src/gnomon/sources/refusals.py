"""What the refusal of a public stream means: come back later, not in a day."""

from __future__ import annotations

from gnomon.errors import UpstreamError, UpstreamTransient

_RETRY_S = 900.0
_PASSING = (401, 403, 404, 410, 451)
"""Public streams answer so while they are moved, repaired or under attack, too."""


def refused(error: UpstreamError) -> UpstreamError:
    """The error as a source that needs no key sees it: such a refusal may pass."""
    status = error.fields.get("status")
    if error.code != "net.status" or status not in _PASSING:
        return error
    return UpstreamTransient(
        error.message,
        code="source.refused",
        retry_after_s=_RETRY_S,
        hint="Check the address.",
        status=status,
        url=error.fields.get("url", ""),
    )
