"""Model ids of the registry, beside those that name ways of answering."""

from __future__ import annotations

from gnomon.errors import ModelTerminal
from gnomon.models.registry import Entry
from gnomon.serve.conversation import MODELS, mode_of
from gnomon.serve.errors import ApiError
from gnomon.serve.services import Services


def model_ids(services: Services) -> list[str]:
    """Every model id that can be asked."""
    own = services.served.ids() if services.served else []
    return [*MODELS, *own]


def asked_entry(services: Services, model: str) -> Entry | None:
    """The registry's entry that a model id means; None for a way of answering.

    Raises ApiError: 404 for an id that means nothing, 403 for a model that no gate let pass.
    """
    if model in MODELS:
        return None
    try:
        entry = services.served.entry(model) if services.served else None
    except ModelTerminal as error:
        refused = error.code.startswith("gate.")
        raise ApiError(
            403 if refused else 404,
            error.message,
            code=error.code if refused else "model_not_found",
            param="model",
            hint=error.hint,
        ) from None
    if entry is None:
        mode_of(model, known=model_ids(services))
    return entry
