"""The connection of one's account with one at a partner's portal; making it takes a browser at both."""

from typing import Final

from aiohttp import web
from msgspec import Struct

from cloud.services import partner_log_in
from cloud.web.api.kinds import Ms
from cloud.web.api.operation import Section
from cloud.web.api.ownership import fresh
from cloud.web.partner_views import partner_of
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, now_ms, session_of

SECTION: Final = Section("Partner log-in", "The connection with an account of another portal.")


class PartnerConnection(Struct):
    """The account there that leads in here, too."""

    partner: str
    email: str
    connected_ms: Ms
    used_ms: Ms


@SECTION.operation("GET", "/account/partner", problems=[ProblemCode.NOT_FOUND])
async def show_connection(request: web.Request) -> PartnerConnection:
    """What this account is connected with."""
    partner = partner_of(request)
    found = await partner_log_in.connection_of(
        request.app[KIT], session_of(request).account_id, partner.issuer
    )
    if found is None:
        raise Problem(ProblemCode.NOT_FOUND)
    return PartnerConnection(partner.name, found.email, found.connected_ms, found.used_ms)


@SECTION.operation("DELETE", "/account/partner", problems=[ProblemCode.NOT_FOUND, ProblemCode.FACTOR_NEEDED])
async def disconnect(request: web.Request) -> None:
    """From now on only the account's own log-in leads in."""
    issuer = partner_of(request).issuer
    await partner_log_in.disconnect(
        request.app[KIT], session_of(request), issuer, fresh=fresh(request), now_ms=now_ms()
    )
