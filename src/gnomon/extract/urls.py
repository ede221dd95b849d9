"""Addresses: one spelling for each page, and which site it belongs to.

Registrable domains come from the Public Suffix List snapshot inside the `tld` package; nothing is
ever downloaded.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from ipaddress import ip_address
from urllib.parse import SplitResult, urljoin, urlsplit

from tld import get_fld
from w3lib.url import canonicalize_url

_MAX_CHARS = 8_192
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}
_TRACKERS = frozenset(
    (
        *("_branch_match_id", "_ga", "_gl", "_hsenc", "_hsmi", "_openstat", "at_campaign"),
        *("at_medium", "dclid", "dm_i", "ef_id", "epik", "fb_action_ids", "fb_source", "fbclid"),
        *(
            "ga_campaign",
            "ga_medium",
            "ga_source",
            "gbraid",
            "gclid",
            "gclsrc",
            "gs_l",
            "hmb_source",
        ),
        *("icid", "igsh", "igshid", "li_fat_id", "mc_cid", "mc_eid", "mkt_tok", "ml_subscriber"),
        *("ml_subscriber_hash", "msclkid", "ncid", "ns_campaign", "ns_mchannel", "ns_source"),
        *("oly_anon_id", "oly_enc_id", "rb_clickid", "ref_src", "ref_url", "s_cid", "sc_campaign"),
        *("spm", "srsltid", "ttclid", "twclid", "vero_conv", "vero_id", "wbraid", "wickedid"),
        *("wt_mc", "wt_zmc", "xtor", "yclid", "ysclid", "zanpid"),
    )
)
_COMPLETE = re.compile(r"https?://", re.IGNORECASE)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_TRACKER_FAMILIES = re.compile(r"^(utm|pk|piwik|mtm|matomo|hsa|oft|stm|itm)_")


def canonical_url(url: str) -> str:
    """The one spelling of an http(s) address, without trackers and fragment; else empty."""
    parts = _split(url)
    if parts is None:
        return ""
    try:
        tidy = urlsplit(canonicalize_url(parts.geturl(), keep_fragments=False))
    except ValueError:
        return ""
    query = "&".join(pair for pair in tidy.query.split("&") if pair and not _tracks(pair))
    host, port = tidy.hostname or "", tidy.port
    shown = f"[{host}]" if ":" in host else host
    if port is not None and port != _PORTS[tidy.scheme]:
        shown = f"{shown}:{port}"
    # What is left of the list was sorted by w3lib; credentials never belong to an address.
    return SplitResult(tidy.scheme, shown, tidy.path or "/", query, "").geturl()


def absolute(base: str, link: str) -> str:
    """`link` as an absolute http(s) address, seen from `base`; empty if it is none."""
    link = link.strip()
    if not link:
        return ""
    try:
        parts = _split(link if _COMPLETE.match(link) else urljoin(base, link))
    except ValueError:
        return ""
    return parts.geturl() if parts is not None else ""


def domain(url: str) -> str:
    """The registrable domain (`bbc.co.uk`); the host itself where there is none; else empty."""
    parts = _split(url)
    if parts is None or not parts.hostname:
        return ""
    host = parts.hostname.removesuffix(".")
    try:
        return str(ip_address(host))
    except ValueError:
        found = get_fld(f"http://{host}/", fail_silently=True)
        return str(found) if found else host


def same_site(one: str, other: str) -> bool:
    """Whether both addresses belong to one registrable domain."""
    return bool(domain(one)) and domain(one) == domain(other)


def _tracks(pair: str) -> bool:
    name = pair.partition("=")[0].lower()
    return name in _TRACKERS or bool(_TRACKER_FAMILIES.match(name))


def _split(url: str) -> SplitResult | None:
    """An http(s) address taken apart; None for anything else."""
    if len(url) > _MAX_CHARS:
        return None
    url = _CONTROL.sub("", url.strip())
    try:
        parts = urlsplit(url)
        if parts.scheme.lower() not in _PORTS or not parts.hostname:
            return None
        _ = parts.port
    except ValueError:
        return None
    return parts
