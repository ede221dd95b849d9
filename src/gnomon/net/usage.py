"""What a publisher wishes that its content be used for.

Read from `Content-Usage` (draft-ietf-aipref-attach and -vocab) and `Content-Signal`, as response
headers and as rules of robots.txt. Where several speak, a no counts. Silence is neither.
"""

from __future__ import annotations

import re

import msgspec
from protego import Protego

from gnomon.types import Policy

DIRECTIVES = ("content-usage", "content-signal")
_RULE = re.compile(r"\s*(?:content-usage|content-signal)\s*:\s*(?P<rest>[^#]*)", re.IGNORECASE)
_AGENTS = re.compile(r"\s*user-agent\s*:\s*(?P<name>\S*)", re.IGNORECASE)
_MEMBER = re.compile(r"(?:allow|disallow|crawl-delay)\s*:", re.IGNORECASE)
_WORDS = {"n": False, "no": False, "?0": False, "y": True, "yes": True, "?1": True}
_EVERYTHING = ("bots", "all")
_TRAIN = ("train-ai", "train-genai", "ai-train")
_SEARCH = ("search",)
_INPUT = ("ai-input", "ai-use")
_MAX_RULES = 500


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """A publisher's wishes: yes, no, or nothing said."""

    train: bool | None = None
    """Training models."""
    search: bool | None = None
    """Finding it again by search."""
    input: bool | None = None
    """Answering questions from it."""

    def __or__(self, other: Usage) -> Usage:
        """Both wishes together: a no counts."""
        return Usage(
            train=_both(self.train, other.train),
            search=_both(self.search, other.search),
            input=_both(self.input, other.input),
        )

    def limit(self, policy: Policy) -> Policy:
        """The policy without what is not wished. Nothing is ever allowed by this."""
        return Policy(
            display=policy.display,
            snippet=policy.snippet and self.input is not False,
            index=policy.index and self.search is not False,
            train=policy.train and self.train is not False,
        )


NOTHING_SAID = Usage()


def parse_usage(text: str) -> Usage:
    """The wishes in a header's value, such as `train-ai=n, search=y`. Unknown ones are skipped."""
    said: dict[str, bool] = {}
    for member in text.split(","):
        name, _, value = member.partition(";")[0].partition("=")
        word = _WORDS.get(value.strip().lower())
        if word is not None:
            said[name.strip().lower()] = word
    if not said:
        return NOTHING_SAID
    general = _of(said, _EVERYTHING)
    found = (_of(said, names) for names in (_TRAIN, _SEARCH, _INPUT))
    train, search, answers = (general if wish is None else wish for wish in found)
    return Usage(train=train, search=search, input=answers)


class UsageRules:
    """What a robots.txt wishes for each of its paths, as told to `agent`, else to `*`."""

    def __init__(self, text: str, agent: str) -> None:
        found = _rules_of(text, agent.lower())[:_MAX_RULES]
        self._rules = [(len(path), _matcher(path), usage) for path, usage in found]

    def of(self, url: str) -> Usage:
        """The wishes for `url`: those of the longest path that matches."""
        matching = [
            (length, usage)
            for length, matcher, usage in self._rules
            if matcher is None or not matcher.can_fetch(url, "any")
        ]
        longest = max((length for length, _ in matching), default=0)
        wish = NOTHING_SAID
        for length, usage in matching:
            if length == longest:
                wish |= usage
        return wish


def _rules_of(text: str, agent: str) -> list[tuple[str, Usage]]:
    groups: dict[str, list[tuple[str, Usage]]] = {}
    names: list[str] = []
    in_rules = True
    for line in text.splitlines():
        if match := _AGENTS.match(line):
            names = [match["name"].lower()] if in_rules else [*names, match["name"].lower()]
            in_rules = False
            groups.setdefault(names[-1], [])
        elif match := _RULE.match(line):
            in_rules = True
            for name in names:
                groups[name].append(_rule(match["rest"].strip()))
        elif _MEMBER.match(line.strip()):
            in_rules = True
    return groups.get(agent, groups.get("*", []))


def _rule(text: str) -> tuple[str, Usage]:
    """A path and what is wished for it; without a path, for all."""
    if not text.startswith(("/", "*")):
        return "/", parse_usage(text)
    path, *rest = text.split(maxsplit=1)
    return path, parse_usage(rest[0] if rest else "")


def _matcher(path: str) -> Protego | None:
    """Something that refuses exactly what `path` matches; None for a path that is everything."""
    return None if path == "/" else Protego.parse(f"User-agent: *\nDisallow: {path}")


def _of(said: dict[str, bool], names: tuple[str, ...]) -> bool | None:
    return next((said[name] for name in names if name in said), None)


def _both(one: bool | None, other: bool | None) -> bool | None:
    if one is False or other is False:
        return False
    return True if one or other else None
