"""The page in a real browser: what it loads, how soon it takes a key, how smoothly it goes on.

    python bench/page_bench.py [--runs 5]

Needs Debian's `chromium` (or CHROMIUM=/path/to/it), the built page and the development install. A
real Gnomon with its demo world serves it. Beside each figure stands a ceiling from the same run: an
empty page of the same server, and the same words as plain paragraphs without any script.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, Page, sync_playwright

from harness import save

FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
STREAM_S = 10
TOKENS_PER_S = 200
WORDS_PER_SENTENCE = 10
MESSAGES = 500
LIVE_MINUTES = 30

WATCH = """
window.tasks = [];
new PerformanceObserver((list) => {
  for (const task of list.getEntries()) window.tasks.push(task.duration);
}).observe({ type: "longtask", buffered: true });
"""
SPEAK = """({ events, everyMs }) => {
  const real = window.fetch;
  window.fetch = (path, init) => {
    if (path !== "/v1/ask") return real(path, init);
    const bytes = new TextEncoder();
    const body = new ReadableStream({
      async start(control) {
        for (const event of events) {
          control.enqueue(bytes.encode(event));
          await new Promise((done) => setTimeout(done, everyMs));
        }
        control.close();
      },
    });
    const headers = { "content-type": "text/event-stream" };
    return Promise.resolve(new Response(body, { headers }));
  };
}"""
SCROLL = """() => new Promise((done) => {
  const frames = [];
  const began = performance.now();
  let last = began;
  const step = (now) => {
    frames.push(now - last);
    last = now;
    window.scrollBy(0, 40);
    if (now - began < 5000) requestAnimationFrame(step);
    else done(frames.slice(2));
  };
  window.scrollTo(0, 0);
  requestAnimationFrame(step);
})"""


def fps(frames: list[float]) -> float:
    """Frames a second over the whole time, slow ones included."""
    return round(1000 * len(frames) / sum(frames), 1)


def answer(question: str, sentences: list[str]) -> dict[str, Any]:
    """An answer as the API gives it, with one citation for all."""
    verdict = {"kind": "supported", "score": 0.97, "reasons": []}
    cited = {
        "number": 1, "key": "feed:x", "version": 1, "seq": 1, "start": 0, "end": 5,
        "quote": "Words", "title": "A title", "source": "feed:x",
        "url": "https://news.quillhaven.example/1",
        "author": "", "kind": "article", "lang": "en", "published_at": "2026-01-01T00:00:00Z",
        "observed_at": "2026-01-01T00:00:00Z", "copies": 1, "copy_sources": [], "context": [],
        "saved_url": "/saved/feed:x?version=1",
    }  # fmt: skip
    freshness = {"newest_at": None, "newest_age_s": None, "searched": 9, "silent": []}
    said = [
        {"text": text, "citations": [1], "verdict": verdict, "origins": 1, "also": [],
         "until": None, "disputed": False}
        for text in sentences
    ]  # fmt: skip
    return {
        "id": "a", "question": question, "created_at": "2026-01-01T00:00:00Z", "as_of": None,
        "sentences": said, "citations": [cited], "abstained": False, "closest": None,
        "freshness": freshness, "writer": "extractive", "notes": [], "disagreements": [],
        "superseded": [], "timings_ms": {"whole": 300.0},
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }  # fmt: skip


def words(n: int) -> str:
    """A sentence of so many words."""
    return " ".join(f"word{n * 7 % 97}{i}" for i in range(WORDS_PER_SENTENCE)) + "."


def load(browser: Browser, url: str, runs: int) -> dict[str, Any]:
    """Compressed script of the first load, and the time until a typed key stands in the box."""
    ready, empty, script = [], [], 0
    for _ in range(runs):
        context = browser.new_context()
        page = context.new_page()
        sizes: list[int] = []
        page.on(
            "response",
            lambda r, sizes=sizes: (
                r.url.endswith(".js") and sizes.append(int(r.headers.get("content-length", 0)))
            ),
        )
        page.goto(url, wait_until="commit")
        page.keyboard.type("x")
        page.wait_for_selector(".composer textarea:focus")
        page.keyboard.type("y")
        page.locator(".composer textarea").evaluate("(node) => node.value")
        ready.append(page.evaluate("performance.now()"))
        page.wait_for_load_state("networkidle")
        script = sum(sizes)
        bare = context.new_page()
        bare.goto(f"{url}/health", wait_until="load")
        empty.append(bare.evaluate("performance.now()"))
        context.close()
    return {
        "script_compressed_kb": round(script / 1000, 1),
        "takes_a_key_ms": round(statistics.median(ready)),
        "ceiling_an_empty_reply_ms": round(statistics.median(empty)),
    }


def streaming(page: Page, url: str) -> dict[str, Any]:
    """The longest task while an answer streams, and the longest of the same page at rest."""
    every_ms = 1000 * WORDS_PER_SENTENCE // TOKENS_PER_S
    sentences = [words(n) for n in range(STREAM_S * 1000 // every_ms)]
    whole = answer("What is new?", sentences)
    plan = {"search_text": "new", "notes": [], "as_of": None}
    told = [("planned", {"id": "a", "plan": plan})]
    told += [
        ("sentence", {"sentence": s, "citations": whole["citations"]}) for s in whole["sentences"]
    ]
    told += [("finished", {"id": "a", "answer": whole})]
    events = [f"event: {name}\ndata: {json.dumps(data)}\n\n" for name, data in told]
    page.goto(url)
    page.wait_for_selector(".composer textarea")
    page.wait_for_timeout(2000)
    page.evaluate("window.tasks.length = 0")
    page.wait_for_timeout(STREAM_S * 1000)
    rest = page.evaluate("window.tasks")
    page.evaluate(SPEAK, {"events": events, "everyMs": every_ms})
    page.evaluate("window.tasks.length = 0")
    page.locator(".composer textarea").fill("What is new?")
    page.keyboard.press("Enter")
    page.wait_for_selector(".freshness", timeout=60_000)
    tasks = page.evaluate("window.tasks")
    return {
        "sentences": len(sentences),
        "tokens_per_s": TOKENS_PER_S,
        "longest_task_ms": round(max(tasks, default=0)),
        "tasks_over_50_ms": len(tasks),
        "ceiling_at_rest_longest_task_ms": round(max(rest, default=0)),
    }


def scrolling(page: Page, url: str) -> dict[str, Any]:
    """Frames a second through a long conversation, and through the same words without script."""
    turns, before = [], None
    for n in range(MESSAGES // 2):
        body = answer(f"Question {n}?", [words(n), words(n + 1), words(n + 2)])
        turns.append({"id": f"t{n}", "previous_id": before, "answer": body})
        before = f"t{n}"
    thread = {
        "id": "t0", "title": "Long", "folder": "", "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z", "answers": len(turns), "share_url": None,
        "turns": turns,
    }  # fmt: skip
    page.route("**/v1/threads/t0", lambda route: route.fulfill(json=thread))
    page.goto(f"{url}/c/t0")
    page.wait_for_selector(".turn")
    page.wait_for_timeout(1500)
    ours = page.evaluate(SCROLL)
    plain = "".join(f"<h2>Q</h2><p>{words(n)}</p><p>{words(n)}</p>" for n in range(MESSAGES // 2))
    page.set_content(f"<main>{plain}</main>")
    bare = page.evaluate(SCROLL)
    return {
        "messages": MESSAGES,
        "frames_per_s": fps(ours),
        "slowest_frame_ms": round(max(ours), 1),
        "ceiling_plain_paragraphs_frames_per_s": fps(bare),
    }


def living(browser: Browser, url: str) -> dict[str, Any]:
    """The heap before and after half an hour of updates; the page's clock is run ahead."""
    page = browser.new_page()
    page.clock.install()
    page.goto(url)
    page.wait_for_selector(".strip")
    session = page.context.new_cdp_session(page)

    def heap() -> float:
        session.send("HeapProfiler.collectGarbage")
        return float(session.send("Runtime.getHeapUsage")["usedSize"]) / 1e6

    page.clock.run_for(60_000)
    page.wait_for_timeout(500)
    before = heap()
    halfway = before
    for minute in range(LIVE_MINUTES):
        for _ in range(6):
            page.clock.run_for(10_000)
            page.wait_for_timeout(30)
        if minute == LIVE_MINUTES // 2:
            halfway = heap()
    after = heap()
    page.close()
    return {
        "minutes": LIVE_MINUTES,
        "heap_mb_before": round(before, 2),
        "heap_mb_halfway": round(halfway, 2),
        "heap_mb_after": round(after, 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    runs = parser.parse_args().runs
    gnomon = Path(sys.executable).with_name("gnomon")
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [gnomon, "--home", folder, "--set", "log.level=error", "up", "--port", "0"],
            stdout=subprocess.PIPE,
            text=True,
            env=os.environ | {"GNOMON_STARTER__MODE": "off"},
        )
        try:
            assert server.stdout is not None
            url = server.stdout.readline().split()[-1]
            with sync_playwright() as play:
                path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
                browser = play.chromium.launch(executable_path=path, args=FLAGS)
                figures = {"load": load(browser, url, runs)}
                page = browser.new_page(viewport={"width": 1200, "height": 800})
                page.add_init_script(WATCH)
                figures["streaming"] = streaming(page, url)
                figures["scrolling"] = scrolling(page, url)
                figures["living"] = living(browser, url)
                browser.close()
        finally:
            server.terminate()
            server.wait()
    save("page", figures)


if __name__ == "__main__":
    main()
