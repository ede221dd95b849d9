"""The page: what the browser loads, and the addresses of its views.

The page is a client of the public API and nothing else. What is served here holds no content, so
that whoever must sign in first can be asked to.
"""

from __future__ import annotations

import asyncio
from mimetypes import guess_type
from pathlib import Path

from fastapi import FastAPI
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

PAGE = Path(__file__).parent / "page"
"""Built from `web/`; not there in a checkout that was not built."""
STATIC = Path(__file__).parent / "static"

VIEWS = (
    "/",
    "/c/{id}",
    "/r/{id}",
    "/s/{token}",
    "/search",
    "/threads",
    "/watches",
    "/sources",
    "/models",
    "/settings",
    "/people",
    "/changes/{key:path}",
)
_FOLDERS = ("/page/", "/static/", "/c/", "/r/", "/s/", "/changes/")
_SINGLE = frozenset(view for view in VIEWS if "{" not in view)
_UNBUILT = (
    '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>Gnomon</title></head><body>'
    "<h1>The page is not built</h1><p>Gnomon runs and its API answers. To build the page, run "
    "<code>make page</code> where Gnomon's source is, and start it again.</p></body></html>"
)


def is_page(path: str) -> bool:
    """Whether `path` is of the page itself: its files, and the addresses of its views."""
    return path in _SINGLE or path.startswith(_FOLDERS)


def install(app: FastAPI) -> None:
    """Serve the page at the address of each of its views."""

    def view(request: Request) -> Response:
        index = PAGE / "index.html"
        if not index.is_file():
            return HTMLResponse(_UNBUILT, status_code=503)
        return FileResponse(index, headers={"cache-control": "no-cache"})

    for path in VIEWS:
        app.add_api_route(path, view, methods=["GET"], include_in_schema=False)
    if PAGE.is_dir():
        app.mount("/page", _Built(directory=PAGE), name="page")
    app.mount("/static", _Checked(directory=STATIC), name="static")


class _Checked(StaticFiles):
    """Files that are checked for newness on each use, so that an upgrade shows at once."""

    _cache = "no-cache"

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = self._cache
        return response


class _Built(_Checked):
    """Files whose names change with their content, compressed where the browser takes that."""

    _cache = "public, max-age=31536000, immutable"

    async def get_response(self, path: str, scope: Scope) -> Response:
        whole = path.startswith("assets") and not path.endswith(".gz")
        if whole and "gzip" in Headers(scope=scope).get("accept-encoding", ""):
            _, found = await asyncio.to_thread(self.lookup_path, f"{path}.gz")
            if found is not None:
                response = await super().get_response(f"{path}.gz", scope)
                response.headers["content-encoding"] = "gzip"
                response.headers["content-type"] = guess_type(path)[0] or "text/plain"
                response.headers["vary"] = "accept-encoding"
                return response
        return await super().get_response(path, scope)
