"""A search as a client of the Responses API sees it: one item of the output."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from gnomon.answer.base import Planned, Retrieved
from gnomon.serve.compose import citation_url
from gnomon.serve.files import results_of
from gnomon.serve.wire import json_text

_SEARCHES = {"web": "web_search_call", "x": "x_search_call", "files": "file_search_call"}


class SearchItem:
    """One search, from begun to completed."""

    def __init__(
        self,
        kind: str,
        id: str,
        planned: Planned,
        base_url: str,
        *,
        files: Mapping[str, str],
        show: bool,
    ) -> None:
        self._base_url = base_url
        self._files = files
        self._show = show
        self._query = planned.plan.search_text
        self._prefix = f"response.{_SEARCHES[kind]}"
        if kind == "files":
            self._item: dict[str, Any] = {
                "id": id,
                "type": "file_search_call",
                "queries": [self._query],
                "results": None,
            }
        elif kind == "web":
            self._item = {
                "id": id,
                "type": "web_search_call",
                "action": {"type": "search", "query": self._query, "sources": []},
            }
        else:
            self._item = {
                "id": id,
                "type": "x_search_call",
                "call_id": f"xs_call_{id}",
                "name": "x_keyword_search",
                "arguments": json_text({"query": self._query}),
            }

    def begin(self, index: int) -> list[tuple[str, dict[str, Any]]]:
        """The events that show it begun, as the output's item `index`."""
        place = {"item_id": self._item["id"], "output_index": index}
        item = self._item | {"status": "in_progress"}
        return [
            ("response.output_item.added", {"output_index": index, "item": item}),
            (f"{self._prefix}.in_progress", place),
            (f"{self._prefix}.searching", place),
        ]

    def end(
        self, index: int, found: Retrieved
    ) -> tuple[dict[str, Any], list[tuple[str, dict[str, Any]]]]:
        """The finished item and the events that show it."""
        done = self._item | {"status": "completed"}
        if "queries" in done and self._show:
            done["results"] = results_of(found, self._files)
        if "action" in done:
            urls = dict.fromkeys(citation_url(c, self._base_url) for c in found.citations)
            sources = [{"type": "url", "url": url} for url in urls]
            done["action"] = done["action"] | {"sources": sources}
        return done, [
            (
                f"{self._prefix}.completed",
                {"item_id": self._item["id"], "output_index": index},
            ),
            ("response.output_item.done", {"output_index": index, "item": done}),
        ]
