"""All operations of the API, and the document that describes them."""

from collections.abc import Sequence
from functools import cache
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
    listings,
    metrics,
    notifications,
    offers,
    opinions,
    outages,
    ownership,
    partner,
    photos,
    rules,
    second_factor,
    session,
    settings,
    system,
    systems,
    tokens,
)
from cloud.web.api.operation import PREFIX, Section, add_route
from cloud.web.middleware import anonymous
from cloud.web.state import SETTINGS

SECTIONS: Final[Sequence[Section]] = (
    session.SECTION,
    tokens.SECTION,
    account.SECTION,
    second_factor.SECTION,
    partner.SECTION,
    company.SECTION,
    devices.SECTION,
    outages.SECTION,
    settings.SECTION,
    commands.SECTION,
    alarms.SECTION,
    notifications.SECTION,
    rules.SECTION,
    claims.SECTION,
    photos.SECTION,
    bulk.SECTION,
    ownership.SECTION,
    offers.SECTION,
    listings.SECTION,
    exports.SECTION,
    metrics.SECTION,
    opinions.SECTION,
    systems.SECTION,
    system.SECTION,
)


@anonymous
async def show_document(request: web.Request) -> web.Response:
    """The OpenAPI document."""
    chosen = request.app[SETTINGS]
    body = document_of(chosen.brand, sessions.cookie_name(chosen))
    return web.Response(body=body, content_type="application/json", charset="utf-8")


@cache
def document_of(brand: str, cookie: str) -> bytes:
    """As JSON. Made when it is first asked for: it takes longer than all the rest of a portal's start."""
    return msgspec.json.encode(document.make(SECTIONS, brand, cookie))


def add_routes(app: web.Application) -> None:
    """Register all of it."""
    app.router.add_get(f"{PREFIX}/openapi.json", show_document)
    exports.prepare(app)
    metrics.prepare(app)
    for section in SECTIONS:
        for operation in section.operations:
            add_route(app, operation)
