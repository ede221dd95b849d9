"""One spelling for an address, and whose it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gnomon.extract.urls import absolute, canonical_url, domain, same_site


@pytest.mark.parametrize(
    ("url", "canonical"),
    [
        ("HTTP://WWW.Example.com:80/a?b=2&a=1#top", "http://www.example.com/a?a=1&b=2"),
        ("https://example.com", "https://example.com/"),
        ("https://example.com:443/?utm_source=x&id=7&fbclid=y", "https://example.com/?id=7"),
        ("https://example.com/a?pk_campaign=1&gclid=2", "https://example.com/a"),
        ("https://user:secret@example.com/", "https://example.com/"),
        ("https://example.com:8443/%7Ea", "https://example.com:8443/~a"),
        ("https://münchen.de/ä", "https://xn--mnchen-3ya.de/%C3%A4"),
        ("http://[::1]:8000/x", "http://[::1]:8000/x"),
        ("javascript:alert(1)", ""),
        ("mailto:a@b.example", ""),
        ("not an address", ""),
        ("http://", ""),
        ("http://[broken/", ""),
        ("http://a:99999/", ""),
        ("https://example.com/" + "a" * 9_000, ""),
    ],
)
def test_canonical_url(url: str, canonical: str) -> None:
    assert canonical_url(url) == canonical


@given(
    st.text(max_size=100) | st.from_regex(r"https?://[a-z.:@\[\]/?&=%#é ]{1,40}", fullmatch=True)
)
def test_canonical_is_stable(url: str) -> None:
    once = canonical_url(url)
    assert canonical_url(once) == once
    assert once == "" or once.startswith(("http://", "https://"))


@pytest.mark.parametrize(
    ("url", "registrable"),
    [
        ("https://www.bbc.co.uk/news", "bbc.co.uk"),
        ("https://news.example.com:8080/", "example.com"),
        ("https://someone.github.io/", "someone.github.io"),
        ("http://localhost:8000/", "localhost"),
        ("http://192.168.1.7/", "192.168.1.7"),
        ("http://[::1]/", "::1"),
        ("nothing", ""),
    ],
)
def test_domain(url: str, registrable: str) -> None:
    assert domain(url) == registrable


def test_same_site() -> None:
    assert same_site("https://m.example.co.uk/a", "http://www.example.co.uk/")
    assert not same_site("https://a.co.uk/", "https://b.co.uk/")
    assert not same_site("https://one.github.io/", "https://two.github.io/")
    assert not same_site("", "")


@pytest.mark.parametrize(
    ("link", "found"),
    [
        ("/x", "https://e.example/x"),
        (" ../y?q#f ", "https://e.example/y?q#f"),
        ("//o.example/z", "https://o.example/z"),
        ("HTTPS://O.example/", "https://O.example/"),
        ("", ""),
        ("javascript:alert(1)", ""),
        ("data:text/html,x", ""),
        ("http://[bad", ""),
    ],
)
def test_absolute(link: str, found: str) -> None:
    assert absolute("https://e.example/a/b", link) == found
