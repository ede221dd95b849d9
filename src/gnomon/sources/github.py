"""GitHub releases: a repository's own Atom feed, followed by the feed connector.

GitHub's public events are up to six hours late and their number is limited, its feeds are neither.
This module only understands addresses and makes releases of the entries.
"""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from gnomon.sources.base import SourceSpec
from gnomon.sources.feed import FeedSettings, follow
from gnomon.sources.polling import web_address
from gnomon.types import Policy, SourceConfig

_OWNER = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,38})")
_REPOSITORY = re.compile(r"[A-Za-z0-9._-]{1,100}")
_NO_OWNERS = frozenset(
    {
        "about",
        "advisories",
        "apps",
        "collections",
        "contact",
        "customer-stories",
        "enterprise",
        "events",
        "explore",
        "features",
        "issues",
        "login",
        "marketplace",
        "new",
        "notifications",
        "orgs",
        "pricing",
        "pulls",
        "search",
        "security",
        "settings",
        "signup",
        "site",
        "sponsors",
        "stars",
        "team",
        "topics",
        "trending",
    }
)
"""First parts of paths that GitHub keeps for itself."""
_FEEDS = ("releases", "tags")


def identify(text: str) -> SourceConfig | None:
    """`github:owner/repository`, or an address of a repository, its releases or its tags."""
    text = text.strip()
    prefix, _, short = text.partition(":")
    if prefix.lower() == "github" and "//" not in short:
        host, path = "github.com", short
    else:
        parts = urlsplit(web_address(text))
        host, path = parts.hostname or "", parts.path
    if host not in ("github.com", "www.github.com"):
        return None
    owner, repository, page, *_ = [*path.strip("/").split("/"), "", "", ""]
    feed = page.removesuffix(".atom") or "releases"
    repository = repository.removesuffix(".git")
    if owner.lower() in _NO_OWNERS or not _OWNER.fullmatch(owner):
        return None
    if not _REPOSITORY.fullmatch(repository) or feed not in _FEEDS:
        return None
    what = "" if feed == "releases" else f"/{feed}"
    return SourceConfig(
        name=f"github:{owner}/{repository}{what}".lower(),
        type="feed",
        title=f"{owner}/{repository}: {feed}",
        settings={
            "url": f"https://github.com/{owner}/{repository}/{feed}.atom",
            "kind": "release",
        },
    )


SOURCE = SourceSpec(
    name="github",
    title="GitHub releases",
    docs_url="reference/sources/github",
    follow=follow,
    settings=FeedSettings,
    policy=Policy(),
    identify=identify,
    examples=("github:owner/repository",),
)
