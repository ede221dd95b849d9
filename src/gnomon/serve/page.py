"""The page: what the browser loads, and the addresses of its views.

The page is a client of the public API and nothing else. What is served here holds no content, so
that whoever must sign in first can be asked to.
"""

from __future__ import annotations

from pathlib import Path

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

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
    "<code>make page</code> where Gnomon's source is, then load this again.</p></body></html>"
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
    app.mount("/page", _Built(directory=PAGE, check_dir=False), name="page")
    app.mount("/static", _Checked(directory=STATIC), name="static")


class _Checked(StaticFiles):
    """Files that are checked for newness on each use, so that an upgrade shows at once."""

    _cache = "no-cache"

    def file_response(self, *args: object, **kwargs: object) -> Response:
        response = super().file_response(*args, **kwargs)  # type: ignore[arg-type]
        response.headers["cache-control"] = self._cache
        return response


class _Built(_Checked):
    """Files whose names change with their content."""

    _cache = "public, max-age=31536000, immutable"
