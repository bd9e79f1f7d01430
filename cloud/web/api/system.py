"""What devices ask a portal: the installation's keys, and the time."""

import asyncio
from typing import Annotated, Any, Final

from aiohttp import web
from msgspec import Meta

from cloud.provision import load_signer, sealed_key_set
from cloud.web.api.operation import Section
from cloud.web.middleware import anonymous
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import SETTINGS, now_ms
from protocol.identity import unb64url
from protocol.messages import KeyUse, SignedTime
from protocol.signing import seal_time

SECTION: Final = Section("System", "For devices and third parties; nobody needs to be logged in.")
NONCE_BYTES: Final = range(16, 65)

Signed = dict[str, Any]
Nonce = Annotated[str, Meta(description="base64url of 16 to 64 bytes.")]


@SECTION.operation("GET", "/keys", is_public=True, marks=[anonymous], answer=Signed)
async def keys(request: web.Request) -> web.Response:
    """The signed key set, as devices get it."""
    body = await asyncio.to_thread(sealed_key_set, request.app[SETTINGS].state_dir)
    return web.Response(
        body=body, content_type="application/json", headers={"Cache-Control": "public, max-age=300"}
    )


@SECTION.operation("GET", "/time", is_public=True, marks=[anonymous], answer=Signed)
async def time(request: web.Request, nonce: Nonce = "") -> web.Response:
    """The server's clock, signed for the asker's nonce."""
    try:
        given = unb64url(nonce)
    except ValueError:
        given = b""
    if len(given) not in NONCE_BYTES:
        raise Problem(ProblemCode.BAD_REQUEST, detail="nonce: base64url of 16 to 64 bytes.")
    signer = await asyncio.to_thread(load_signer, request.app[SETTINGS].state_dir, KeyUse.TIME)
    body = seal_time(SignedTime(nonce=given, time_ms=now_ms()), signer.key_id, signer.key)
    return web.Response(body=body, content_type="application/json")
