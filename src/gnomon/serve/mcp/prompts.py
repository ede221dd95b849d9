"""The MCP prompts: requests that a person picks from a menu, which lead a model to the tools."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from mcp_types import GetPromptResult, Prompt, PromptArgument, PromptMessage, TextContent

MAX_CHARS = 2_000


class _Spec(NamedTuple):
    name: str
    title: str
    description: str
    arguments: Mapping[str, str]
    """What each stands for; all are needed."""
    text: str


_KEEP = (
    "Keep every citation as a link to its saved copy, mark each sentence that is less than "
    "supported, name who disagrees, and end with how old the newest evidence is and which sources "
    "were silent."
)
PROMPTS: Sequence[_Spec] = (
    _Spec(
        "brief",
        "Brief me",
        "What is known now, checked and cited.",
        {"topic": "What to be briefed on."},
        "Brief me on {topic}. Ask Gnomon (the tool `ask`) what happened, who says so and what is "
        "disputed, each as a question of its own; open a document where a quote is not enough. "
        + _KEEP,
    ),
    _Spec(
        "since",
        "What changed since?",
        "What is new, gone or different since a moment, and why.",
        {"topic": "What to look at.", "since": "The earlier moment, such as `2 hours ago`."},
        "What changed about {topic} since {since}? Use Gnomon's tool `what_changed`, and tell what "
        "is new, what is gone and what is different, with what made the difference. " + _KEEP,
    ),
)


def listed() -> list[Prompt]:
    """All prompts as clients see them."""
    return [
        Prompt(
            name=spec.name,
            title=spec.title,
            description=spec.description,
            arguments=[
                PromptArgument(name=name, description=text, required=True)
                for name, text in spec.arguments.items()
            ],
        )
        for spec in PROMPTS
    ]


def filled(name: str, given: Mapping[str, str]) -> GetPromptResult:
    """A prompt with its arguments. Raises ValueError where there is none such, or one lacks."""
    spec = next((spec for spec in PROMPTS if spec.name == name), None)
    if spec is None:
        raise ValueError(f"There is no prompt {name[:100]!r} here.")
    values = {argument: given.get(argument, "").strip()[:MAX_CHARS] for argument in spec.arguments}
    missing = [argument for argument, value in values.items() if not value]
    if missing:
        raise ValueError(f"The prompt {name} needs {missing[0]}.")
    message = PromptMessage(role="user", content=TextContent(text=spec.text.format(**values)))
    return GetPromptResult(description=spec.description, messages=[message])
