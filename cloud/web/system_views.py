"""What programs ask a portal: is it alive, can it serve, its figures. Keys and time are of the API."""

import asyncio
import ipaddress
from typing import Final

from aiohttp import web

from cloud.postgres.safety import UNAVAILABLE
from cloud.web.middleware import anonymous, public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.render import STATIC
from cloud.web.responses import json_response, see_other
from cloud.web.state import METRICS, POOL, visit_of

READY_TIMEOUT_S: Final = 2.0
SQUEEZED: Final = frozenset({".css", ".js", ".svg", ".txt"})
"""Kinds of static files that become smaller."""


@public
async def home(request: web.Request) -> web.Response:
    """The front door."""
    return see_other("/devices" if visit_of(request).session else "/login")


@anonymous
async def alive(_request: web.Request) -> web.Response:
    """The process answers."""
    return json_response({"status": "ok"})


@anonymous
async def ready(request: web.Request) -> web.Response:
    """The process can serve: its database answers."""
    try:
        async with asyncio.timeout(READY_TIMEOUT_S), request.app[POOL].connection() as connection:
            await connection.execute("SELECT 1")
    except (TimeoutError, *UNAVAILABLE):
        return json_response({"status": "no database"}, status=503)
    return json_response({"status": "ready"})


@anonymous
async def metrics(request: web.Request) -> web.Response:
    """Prometheus metrics, for this machine only."""
    forwarded = "X-Forwarded-For" in request.headers or "Forwarded" in request.headers
    try:
        local = ipaddress.ip_address(request.remote or "").is_loopback
    except ValueError:
        local = False
    if forwarded or not local:
        raise Problem(ProblemCode.NOT_FOUND)
    return web.Response(body=request.app[METRICS].text(), content_type="text/plain", charset="utf-8")


@anonymous
async def favicon(_request: web.Request) -> web.FileResponse:
    """The icon that browsers ask for without being told."""
    return web.FileResponse(STATIC / "icon.svg", headers={"Cache-Control": "public, max-age=86400"})


@anonymous
async def static_file(request: web.Request) -> web.StreamResponse:
    """One file of ``static``; addresses carry a checksum, so what is asked for with one never changes."""
    try:
        path = (STATIC / request.match_info["path"]).resolve()
        there = path.is_relative_to(STATIC) and not path.name.startswith(".") and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there:
        raise Problem(ProblemCode.NOT_FOUND)
    lasting = "v" in request.query or path.name.startswith("chunk-")
    cache = "public, max-age=31536000, immutable" if lasting else "no-cache"
    response = web.FileResponse(path, headers={"Cache-Control": cache, "Vary": "Accept-Encoding"})
    accepted = request.headers.get("Accept-Encoding", "")
    if path.suffix in SQUEEZED and "gzip" in accepted and "Range" not in request.headers:
        response.enable_compression(web.ContentCoding.gzip)  # pages are not: they hold tokens
    return response


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/", home)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_get("/static/{path:.+}", static_file)
