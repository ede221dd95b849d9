"""`ask` and `diff`: questions to the server, and answers as a terminal shows them."""

from __future__ import annotations

import json
import sys
from typing import Annotated, Any

import typer

from gnomon.client import described
from gnomon.commands.common import Json, claimed, client, local, localised, time_zone
from gnomon.types import CALL_PREFIX

AsOf = Annotated[
    str, typer.Option("--as-of", help="The moment to ask about: ISO time, or `2 hours ago`.")
]
MARKS = {"supported": "✓", "partly": "~", "not_supported": "✗", "contradicted": "✗"}
_SIGNS = {"new": "+", "gone": "-", "changed": "~", "passed": "±", "unchanged": "="}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to `app`."""
    app.command()(ask)
    app.command()(diff)


def ask(
    question: Annotated[str, typer.Argument(help="The question.")],
    as_of: AsOf = "",
    extract: Annotated[
        bool, typer.Option("--extract", help="Quote only; use no language model.")
    ] = False,
    deep: Annotated[
        bool, typer.Option("--deep", help="Look from several sides and write a report.")
    ] = False,
    steps: Annotated[int | None, typer.Option(min=1, help="Steps of a deep run.")] = None,
    as_json: Json = False,
) -> None:
    """Ask a question; prints each sentence as soon as it is checked."""
    if deep:
        _ask_deep(question, as_of, steps, as_json=as_json)
        return
    body = {
        "question": question,
        "as_of": as_of or None,
        "mode": "extract" if extract else "fast",
        "time_zone": time_zone(),
    }
    with client() as server:
        answer: dict[str, Any] = {}
        own: set[int] = set()
        newness = ""
        for event, data in server.events("/v1/ask", body):
            if event == "planned":
                newness = data["newness"]
            elif event == "sentence" and not as_json:
                sentence = data["sentence"]
                own |= {c["number"] for c in data["citations"] if _of_itself(c)}
                numbers = "".join(f" [{n}]" for n in sentence["citations"] if n not in own)
                print(
                    f"{MARKS[sentence['verdict']['kind']]} {sentence['text']}{numbers}", flush=True
                )
            elif event == "finished":
                answer = data["answer"]
            elif event == "error":
                raise described(data["message"], data["code"], data.get("hint") or "")
    if as_json:
        print(json.dumps(answer, ensure_ascii=False, indent=2))
    else:
        _print_answer(answer, newness)


def _ask_deep(question: str, as_of: str, steps: int | None, *, as_json: bool) -> None:
    """Begin a run, show what it does, print its report; an interrupt cancels it."""
    with client() as server:
        body = {"question": question, "as_of": as_of or None, "steps": steps}
        run = server.call("POST", "/v1/runs", body)
        address = f"/v1/runs/{run['id']}"
        try:
            for name, event in server.events(f"{address}/events", method="GET"):
                if not as_json:
                    print(f"  {name}: {event['text']}", file=sys.stderr, flush=True)
        except KeyboardInterrupt:
            server.call("POST", f"{address}/cancel")
        run = server.call("GET", address)
    if as_json:
        print(json.dumps(run, ensure_ascii=False, indent=2))
        return
    if run["report"] is None:
        raise described(run["ended"], "deep.failed")
    spent, budget = run["spent"], run["budget"]
    print(run["report"]["markdown"])
    print(
        f"{spent['steps']} of {budget['steps']} steps, {spent['seconds']:.0f} of "
        f"{budget['seconds']:.0f} seconds, {spent['usd']:.4f} US dollars. {run['ended']}"
    )


def diff(
    question: Annotated[str, typer.Argument(help="The question.")],
    start: Annotated[str, typer.Argument(help="The earlier moment: ISO time, or `2 hours ago`.")],
    end: Annotated[str, typer.Argument(help="The later moment; now by default.")] = "",
    as_json: Json = False,
) -> None:
    """Say what changed between two moments, and what made the difference."""
    body = {"question": question, "from": start, "to": end or None, "time_zone": time_zone()}
    with client() as server:
        found = server.call("POST", "/v1/diff", body)
    if as_json:
        print(json.dumps(found, ensure_ascii=False, indent=2))
        return
    print(localised(found["summary"]))
    for change in found["changes"]:
        _print_change(change)
    for note in dict.fromkeys(n for side in ("before", "after") for n in found[side]["notes"]):
        print(f"Note: {localised(note)}")


def _print_change(change: dict[str, Any]) -> None:
    before, after, cause = change["before"], change["after"], change["cause"]
    sign = _SIGNS[change["status"]]
    if change["status"] == "changed":
        print(f"\n- {before['text']}\n+ {after['text']}")
    else:
        print(f"\n{sign} {(after or before)['text']}")
    shown = after or before
    print(f"    {_from(shown['citation'])}")
    if cause:
        print(f"    {cause['deed']}, seen {local(cause['at'])}: {cause['title'] or cause['key']}")
    if change["note"]:
        print(f"    {change['note']}")


def _print_answer(answer: dict[str, Any], newness: str) -> None:
    """What its sentences rest on; nothing where Gnomon told of itself, which no source did."""
    if answer["citations"] and all(map(_of_itself, answer["citations"])):
        return
    if answer["abstained"]:
        print("The evidence does not contain an answer.")
        if answer.get("closest"):
            closest = answer["closest"]
            print(f"Closest passage ({_from(closest)}): “{closest['quote']}”")
    for citation in answer["citations"]:
        print(f"\n[{citation['number']}] {_from(citation)}\n    “{citation['quote']}”")
        if citation["url"]:
            print(f"    {citation['url']}")
    freshness = answer["freshness"]
    if freshness.get("newest_at"):
        print(f"\nNewest evidence: {local(freshness['newest_at'])}.")
    print(newness)
    for source in freshness["silent"]:
        print(f"Silent: {source['title'] or source['name']}: {localised(source['text'])}")
    for note in answer["notes"]:
        print(f"Note: {localised(note)}")


def _of_itself(citation: dict[str, Any]) -> bool:
    return str(citation["key"]).startswith(f"{CALL_PREFIX}gnomon:")


def _from(citation: dict[str, Any]) -> str:
    published = citation.get("published_at")
    when = claimed(published) if published else local(citation.get("observed_at"))
    copies = f", same text ×{citation['copies']}" if citation["copies"] > 1 else ""
    title = citation["title"] or citation["key"]
    return f"{citation['source']}: {title}, {when}{copies}"
