"""What programs ask a portal: is it alive, can it serve, its figures. Keys and time are of the API."""

import asyncio
import ipaddress
from collections.abc import Mapping
from typing import Final

from aiohttp import web

from cloud.postgres.safety import UNAVAILABLE
from cloud.web import assets
from cloud.web.assets import STATIC, STYLE
from cloud.web.middleware import anonymous, public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.responses import json_response, see_other
from cloud.web.state import METRICS, POOL, visit_of

READY_TIMEOUT_S: Final = 2.0
SQUEEZED: Final[Mapping[str, str]] = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
}
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
    name = request.match_info["path"]
    try:
        path = (STATIC / name).resolve()
        there = path.is_relative_to(STATIC) and not path.name.startswith(".") and path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        there = False
    if not there and name != STYLE:
        raise Problem(ProblemCode.NOT_FOUND)
    name = name if name == STYLE else path.relative_to(STATIC).as_posix()
    lasting = path.name.startswith("chunk-") or request.query.get("v") == assets.version(name)
    headers = {
        "Cache-Control": "public, max-age=31536000, immutable" if lasting else "no-cache",
        "Vary": "Accept-Encoding",
    }
    whole = "Range" not in request.headers
    if whole and path.suffix in SQUEEZED and "gzip" in request.headers.get("Accept-Encoding", ""):
        headers |= {"Content-Encoding": "gzip", "Content-Type": SQUEEZED[path.suffix]}
        return web.Response(body=assets.squeezed(name), headers=headers)
    if name == STYLE:
        return web.Response(body=assets.content(STYLE), content_type="text/css", headers=headers)
    return web.FileResponse(path, headers=headers)


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/", home)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_get("/static/{path:.+}", static_file)
