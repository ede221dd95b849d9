"""The HTTP application: every route behind one guard, and the page."""

from __future__ import annotations

from dataclasses import replace

from fastapi import FastAPI
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.routing import Route

from gnomon.serve import (
    ask,
    batches,
    catalogue,
    chat,
    chunks,
    compact,
    configuring,
    containers,
    conversations,
    diff,
    documents,
    errors,
    files,
    following,
    memory,
    messages,
    now,
    openapi,
    page,
    people,
    registry,
    responses,
    runs,
    search,
    system,
    timeline,
    vectors,
    watches,
    websub,
)
from gnomon.serve.access import Access
from gnomon.serve.batching import Batches
from gnomon.serve.guard import Guard, is_loopback
from gnomon.serve.interactive import Interactive
from gnomon.serve.jobs import Jobs
from gnomon.serve.mcp.door import McpDoor
from gnomon.serve.services import Services


def create_app(services: Services) -> FastAPI:
    """The application over `services`. `check_bind` belongs before listening, not here."""
    settings = services.settings
    interactive = Interactive(services.answerer)
    services = replace(services, answerer=interactive)
    access = Access(
        settings.server,
        services.accounts,
        services.clock,
        loopback=is_loopback(settings.server.host),
        token=services.token,
    )
    middleware = [Middleware(Guard, settings=settings, ids=services.ids, access=access)]
    if settings.server.cors_origins:
        cors = Middleware(
            CORSMiddleware,
            allow_origins=list(settings.server.cors_origins),
            allow_methods=["GET", "POST", "PUT", "PATCH", "DELETE"],
            allow_headers=[
                "authorization",
                "content-type",
                "last-event-id",
                "mcp-method",
                "mcp-name",
                "mcp-protocol-version",
            ],
        )
        middleware.insert(0, cors)  # Before the guard: a preflight carries no key.
    app = FastAPI(
        title="Gnomon",
        version=services.version,
        summary="Live sources, remembered, found, and answered with checked sentences.",
        middleware=middleware,
        docs_url=None,  # These pages load scripts from elsewhere.
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.services = services
    app.state.jobs = Jobs(services.clock)
    app.state.batches = Batches(services, access, interactive)
    app.state.stories = now.Kept()
    app.state.access = access
    if services.runs is not None:
        services.runs.count = runs.counting(access)
    errors.install(app)
    for room in (
        system,
        now,
        ask,
        diff,
        search,
        timeline,
        documents,
        following,
        conversations,
        people,
        configuring,
        memory,
        runs,
        watches,
        responses,
        compact,
        chat,
        files,
        containers,
        chunks,
        batches,
        messages,
        catalogue,
        vectors,
        registry,
        websub,
    ):
        app.include_router(room.router)
    openapi.install(app)

    app.state.mcp = McpDoor(app, services)
    app.router.routes.append(Route("/mcp", app.state.mcp, include_in_schema=False))
    page.install(app)
    return app
