"""The company: members and their roles, invitations and how they are accepted, what it says about itself."""

from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from cloud.core.authz import Action, Role
from cloud.core.language import N_, gettext, ngettext
from cloud.core.membership import manageable
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.core.sign_up import CONTACT, LABELS, REQUIRED, choices_with
from cloud.services import companies, factor_policy
from cloud.web import sessions, tickets
from cloud.web.account_views import secret_of
from cloud.web.middleware import public, sets_up_factor
from cloud.web.problems import Problem, ProblemCode
from cloud.web.refusals import FORM, branded, faults_of, form_of, number_of
from cloud.web.responses import page, see_other
from cloud.web.safety_views import confirm_first, is_fresh
from cloud.web.state import KIT, SETTINGS, actor_of, now_ms, session_of, visit_of
from cloud.web.tables import locations, said, said_choices
from cloud.web.tickets import Ticket

UNPROCESSABLE: Final = HTTPStatus.UNPROCESSABLE_ENTITY.value
ROLES: Final = {
    Role.OWNER: N_("Owner"),
    Role.ADMIN: N_("Administrator"),
    Role.OPERATOR: N_("Operator"),
    Role.VIEWER: N_("Viewer"),
}
AS_ROLE: Final = {
    Role.OWNER: N_("owner"),
    Role.ADMIN: N_("administrator"),
    Role.OPERATOR: N_("operator"),
    Role.VIEWER: N_("viewer"),
}
"""The same words within a sentence: somebody is invited as …, or acts as …"""
MEANINGS: Final = {
    Role.OWNER: N_("everything, owners included"),
    Role.ADMIN: N_("devices, their transfer, members and the company’s details"),
    Role.OPERATOR: N_("adds devices and names them"),
    Role.VIEWER: N_("sees everything, changes nothing"),
}


def _graces() -> dict[int, str]:
    """Days → how long members have for their second factor."""
    return {
        days: ngettext("{count} day", "{count} days", days) if days else gettext("no time")
        for days in factor_policy.GRACE_DAYS
    }


async def show_company(request: web.Request) -> web.Response:
    """Members, open invitations, the person's other companies."""
    return await _company(request, {})


async def _company(request: web.Request, faults: dict[str, str]) -> web.Response:
    kit, actor = request.app[KIT], actor_of(request)
    manages = actor.may(Action.MEMBERS)
    context: dict[str, Any] = {
        "company": await companies.details(kit, actor),
        "members": await companies.members(kit, actor),
        "invitations": await companies.invitations(kit, actor) if manages else [],
        "factor": await factor_policy.read(kit, actor),
        "graces": _graces(),
        "usual_grace": factor_policy.USUAL_GRACE_DAYS,
        "mine": await companies.mine(kit, actor.account_id),
        "actor": actor,
        "manages": manages,
        "manageable": [role for role in ROLES if role in manageable(actor.role)],
        "roles": said(ROLES),
        "meanings": said(MEANINGS),
        "faults": faults,
    }
    return page(request, "company.html", context, status=UNPROCESSABLE if faults else 200)


async def change_role(request: web.Request) -> web.Response:
    """Another role for a member."""
    form = await form_of(request)
    try:
        await companies.change_role(
            request.app[KIT], actor_of(request), number_of(form, "member"), _role(form), now_ms()
        )
    except RefusedError as refusal:
        if refusal.code is RefusalCode.LAST_OWNER:
            return await _company(request, faults_of(refusal))
        raise
    return see_other("/company")


async def remove(request: web.Request) -> web.Response:
    """Remove a member, or leave. Whoever leaves is logged out of this company at once."""
    form, actor = await form_of(request), actor_of(request)
    member = number_of(form, "member")
    try:
        await companies.remove(request.app[KIT], actor, member, now_ms())
    except RefusedError as refusal:
        if refusal.code is RefusalCode.LAST_OWNER:
            return await _company(request, faults_of(refusal))
        raise
    if member != actor.account_id:
        return see_other("/company")
    response = see_other("/login")
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response


async def set_factor_policy(request: web.Request) -> web.Response:
    """Require a second factor of all members, or no longer."""
    form, kit, session = await form_of(request), request.app[KIT], session_of(request)
    fresh = is_fresh(request)
    try:
        if form.get("required") == "yes":
            grace_days = number_of(form, "grace_days")
            await factor_policy.require(kit, session, grace_days=grace_days, fresh=fresh, now_ms=now_ms())
        else:
            await factor_policy.lift(kit, session, fresh=fresh, now_ms=now_ms())
    except RefusedError as refusal:
        if refusal.code is RefusalCode.FRESH_NEEDED:
            return confirm_first("/company")
        return await _company(request, faults_of(refusal))
    return see_other("/company#second-factor")


@sets_up_factor
async def switch(request: web.Request) -> web.Response:
    """Act for another of one's companies."""
    form = await form_of(request)
    await companies.switch(request.app[KIT], session_of(request), number_of(form, "company"))
    return see_other("/devices")


def _role(form: dict[str, str]) -> Role:
    try:
        return Role(form.get("role", ""))
    except ValueError:
        raise Problem(ProblemCode.BAD_REQUEST) from None


# --- what the company says about itself ---------------------------------------------------------------------


async def show_details(request: web.Request) -> web.Response:
    """The fields of sign-up's second page, and the contact."""
    company = await companies.details(request.app[KIT], actor_of(request))
    typed = {field: getattr(company, field) for field in (*LABELS, *CONTACT) if field != "company_name"}
    return _details(request, {**typed, "company_name": company.name}, {})


def _details(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    context: dict[str, Any] = {
        "typed": {**dict.fromkeys([*LABELS, *CONTACT], ""), **typed},
        "faults": faults,
        "labels": said(LABELS),
        "contact": said(CONTACT),
        "required": REQUIRED,
        "choices": said_choices(choices_with(request.app[KIT].choices, typed)),
        "locations": locations(),
        "may_change": actor_of(request).may(Action.COMPANY),
        "saved": "saved" in request.query,
    }
    return page(request, "company_details.html", context, status=UNPROCESSABLE if faults else 200)


async def save_details(request: web.Request) -> web.Response:
    """Save them."""
    form = await form_of(request)
    try:
        await companies.change_details(request.app[KIT], actor_of(request), form, now_ms())
    except RefusedError as refusal:
        return _details(request, form, faults_of(refusal))
    return see_other("/company/details?saved=1")


# --- inviting -----------------------------------------------------------------------------------------------


async def show_invite(request: web.Request) -> web.Response:
    """*Send a co-worker an invite to the portal.*"""
    actor_of(request).must(Action.MEMBERS)
    return _invite(request, {}, {})


def _invite(request: web.Request, typed: dict[str, str], faults: dict[str, str]) -> web.Response:
    allowed = manageable(actor_of(request).role)
    context: dict[str, Any] = {
        "email": typed.get("email", ""),
        "role": typed.get("role", Role.OPERATOR),
        "roles": [(role, name) for role, name in said(ROLES).items() if role in allowed],
        "meanings": said(MEANINGS),
        "faults": faults,
    }
    return page(request, "invite.html", context, status=UNPROCESSABLE if faults else 200)


async def invite(request: web.Request) -> web.Response:
    """Send the mail."""
    form, actor = await form_of(request), actor_of(request)
    actor.must(Action.MEMBERS)
    try:
        await companies.invite(request.app[KIT], actor, form.get("email", ""), _role(form), now_ms())
    except RefusedError as refusal:
        return _invite(request, form, faults_of(branded(refusal, request.app[SETTINGS].brand)))
    return see_other("/company/invited")


async def show_invited(request: web.Request) -> web.Response:
    """*Invitation Sent*."""
    return page(request, "invited.html")


async def resend(request: web.Request) -> web.Response:
    """Mail an invitation again."""
    form = await form_of(request)
    try:
        await companies.resend(request.app[KIT], actor_of(request), number_of(form, "invitation"), now_ms())
    except RefusedError as refusal:
        if refusal.code is RefusalCode.TOO_FAST:
            return await _company(request, {FORM: str(refusal)})
        raise
    return see_other("/company/invited")


async def withdraw(request: web.Request) -> web.Response:
    """Make an invitation's link void."""
    form = await form_of(request)
    await companies.withdraw(request.app[KIT], actor_of(request), number_of(form, "invitation"), now_ms())
    return see_other("/company")


# --- accepting ----------------------------------------------------------------------------------------------


@public
async def show_link(request: web.Request) -> web.Response:
    """Where the mailed link leads. Its secret is behind the #, which only the browser knows."""
    return page(request, "join_link.html", {"faults": {}})


@public
async def open_link(request: web.Request) -> web.Response:
    """Keep the invitation in the browser, so that it survives log-in and sign-up."""
    token = secret_of((await form_of(request)).get("link", ""))
    try:
        await companies.look_at_invitation(request.app[KIT], token, now_ms())
    except RefusedError as refusal:
        return page(request, "join_link.html", {"faults": {FORM: str(refusal)}}, status=UNPROCESSABLE)
    response = see_other("/join/accept")
    tickets.give(response, request, Ticket.INVITATION, token)
    return response


@public
async def show_invitation(request: web.Request) -> web.Response:
    """Who invites; join, register or log in."""
    return await _invitation(request, {})


async def _invitation(request: web.Request, faults: dict[str, str]) -> web.Response:
    token = tickets.read(request, Ticket.INVITATION)
    try:
        found = await companies.look_at_invitation(request.app[KIT], token, now_ms())
    except RefusedError as refusal:
        response = page(request, "join_link.html", {"faults": {FORM: str(refusal)}}, status=UNPROCESSABLE)
        tickets.take(response, request, Ticket.INVITATION)
        return response
    context = {"invitation": found, "role": gettext(AS_ROLE[found.role]), "faults": faults}
    return page(request, "join.html", context, status=UNPROCESSABLE if faults else 200)


@public
async def accept(request: web.Request) -> web.Response:
    """Join with the account that is logged in."""
    session = visit_of(request).session
    if session is None:
        return see_other("/login?next=/join/accept")
    try:
        await companies.accept(request.app[KIT], session, tickets.read(request, Ticket.INVITATION), now_ms())
    except RefusedError as refusal:
        return await _invitation(request, faults_of(refusal))
    response = see_other("/company")
    tickets.take(response, request, Ticket.INVITATION)
    return response


def add_routes(app: web.Application) -> None:
    """Register these views."""
    app.router.add_get("/company", show_company)
    app.router.add_post("/company/role", change_role)
    app.router.add_post("/company/remove", remove)
    app.router.add_post("/company/switch", switch)
    app.router.add_get("/company/details", show_details)
    app.router.add_post("/company/details", save_details)
    app.router.add_get("/company/invite", show_invite)
    app.router.add_post("/company/invite", invite)
    app.router.add_get("/company/invited", show_invited)
    app.router.add_post("/company/resend", resend)
    app.router.add_post("/company/withdraw", withdraw)
    app.router.add_post("/company/second-factor", set_factor_policy)
    app.router.add_get("/join", show_link)
    app.router.add_post("/join", open_link)
    app.router.add_get("/join/accept", show_invitation)
    app.router.add_post("/join/accept", accept)
