"""All operations of the API, and the document that describes them."""

from collections.abc import Sequence
from typing import Final

import msgspec
from aiohttp import web

from cloud.web import sessions
from cloud.web.api import (
    account,
    alarms,
    bulk,
    claims,
    commands,
    company,
    devices,
    document,
    exports,
    notifications,
    offers,
    outages,
    ownership,
    rules,
    session,
    settings,
    system,
)
from cloud.web.api.operation import PREFIX, Section, add_route
from cloud.web.middleware import anonymous
from cloud.web.state import SETTINGS

SECTIONS: Final[Sequence[Section]] = (
    session.SECTION,
    account.SECTION,
    company.SECTION,
    devices.SECTION,
    outages.SECTION,
    settings.SECTION,
    commands.SECTION,
    alarms.SECTION,
    notifications.SECTION,
    rules.SECTION,
    claims.SECTION,
    bulk.SECTION,
    ownership.SECTION,
    offers.SECTION,
    exports.SECTION,
    system.SECTION,
)
DOCUMENT: Final = web.AppKey("api_document", bytes)


@anonymous
async def show_document(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    return web.Response(body=request.app[DOCUMENT], content_type="application/json", charset="utf-8")


def add_routes(app: web.Application) -> None:
    """Register all of it."""
    chosen = app[SETTINGS]
    made = document.make(SECTIONS, chosen.brand, sessions.cookie_name(chosen))
    app[DOCUMENT] = msgspec.json.encode(made)
    app.router.add_get(f"{PREFIX}/openapi.json", show_document)
    exports.prepare(app)
    for section in SECTIONS:
        for operation in section.operations:
            add_route(app, operation)
