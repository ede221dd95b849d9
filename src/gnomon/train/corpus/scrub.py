"""Personal data out of texts: addresses of mail and of machines, telephone numbers.

What is found is replaced by a stand-in that is reserved for examples, so that sentences keep their
form. Written forms only: names and postal addresses stay. Private and local addresses of
machines stay too, as they point at nobody.
"""

from __future__ import annotations

import ipaddress
import re
from collections import Counter

EMAIL = "email@example.com"
IP = "192.0.2.1"
IPV6 = "2001:db8::1"
PHONE = "+1 202 555 0100"

_EMAIL = re.compile(
    r"(?<![\w.+-])[A-Za-z0-9][\w.+%-]{0,63}@(?:[A-Za-z0-9-]{1,63}\.)+[A-Za-z]{2,24}\b"
)
_IP = re.compile(r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\.?\d)")
_IPV6 = re.compile(r"(?<![\w:])(?:[0-9A-Fa-f]{0,4}:){2,7}[0-9A-Fa-f]{1,4}(?![\w:])")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:"
    r"\+\d{1,3}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{1,4}(?:[ .-]?\d{2,4}){2,4}"
    r"|(?:1[ .-])?\(\d{3}\) ?\d{3}[ .-]\d{4}"
    r"|(?:1[ .-])?\d{3}([ .-])\d{3}\1\d{4}"
    r")(?![\w-]|\.\d)"
)
_DIGITS = re.compile(r"\d{2}")


def scrub(text: str) -> tuple[str, Counter[str]]:
    """`text` without personal data, and how much of each sort was replaced."""
    found: Counter[str] = Counter()
    if "@" in text:
        text, found["email"] = _EMAIL.subn(EMAIL, text)
    if _DIGITS.search(text) or "::" in text:

        def machine(match: re.Match[str]) -> str:
            try:
                address = ipaddress.ip_address(match[0])
            except ValueError:
                return match[0]
            if not address.is_global:
                return match[0]
            found["ip"] += 1
            return IP if address.version == 4 else IPV6

        text = _IP.sub(machine, text)
        if ":" in text:
            text = _IPV6.sub(machine, text)
        text, found["phone"] = _PHONE.subn(PHONE, text)
    return text, +found
