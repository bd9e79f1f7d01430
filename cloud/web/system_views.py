"""What programs ask a portal: is it alive, can it serve, its figures, the installation's keys, the time."""

import asyncio
import ipaddress
from typing import Final

from aiohttp import web

from cloud.postgres.safety import UNAVAILABLE
from cloud.provision import load_signer, sealed_key_set
from cloud.web.middleware import anonymous, public
from cloud.web.problems import Problem, ProblemCode
from cloud.web.render import STATIC
from cloud.web.responses import json_response, see_other
from cloud.web.state import METRICS, POOL, SETTINGS, now_ms, visit_of
from protocol.identity import unb64url
from protocol.messages import KeyUse, SignedTime
from protocol.signing import seal_time

NONCE_BYTES: Final = range(16, 65)
READY_TIMEOUT_S: Final = 2.0


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
async def keys(request: web.Request) -> web.Response:
    """The signed key set, as devices get it."""
    body = await asyncio.to_thread(sealed_key_set, request.app[SETTINGS].state_dir)
    return web.Response(
        body=body, content_type="application/json", headers={"Cache-Control": "public, max-age=300"}
    )


@anonymous
async def signed_time(request: web.Request) -> web.Response:
    """The server's clock, signed for the asker's nonce (base64url, 16 to 64 bytes)."""
    try:
        nonce = unb64url(request.query.get("nonce", ""))
    except ValueError:
        nonce = b""
    if len(nonce) not in NONCE_BYTES:
        raise Problem(ProblemCode.BAD_REQUEST, detail="nonce: base64url of 16 to 64 bytes.")
    signer = await asyncio.to_thread(load_signer, request.app[SETTINGS].state_dir, KeyUse.TIME)
    body = seal_time(SignedTime(nonce=nonce, time_ms=now_ms()), signer.key_id, signer.key)
    return web.Response(body=body, content_type="application/json")


@anonymous
async def static_file(request: web.Request) -> web.StreamResponse:
    """One file of ``static``; addresses carry a checksum, so what is asked for with one never changes."""
    path = (STATIC / request.match_info["path"]).resolve()
    if not path.is_relative_to(STATIC) or path.name.startswith(".") or not path.is_file():
        raise Problem(ProblemCode.NOT_FOUND)
    lasting = "v" in request.query or path.name.startswith("chunk-")
    cache = "public, max-age=31536000, immutable" if lasting else "no-cache"
    return web.FileResponse(path, headers={"Cache-Control": cache})


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/", home)
    app.router.add_get("/healthz", alive)
    app.router.add_get("/readyz", ready)
    app.router.add_get("/metrics", metrics)
    app.router.add_get("/favicon.ico", favicon)
    app.router.add_get("/api/v1/keys", keys)
    app.router.add_get("/api/v1/time", signed_time)
    app.router.add_get("/static/{path:.+}", static_file)
