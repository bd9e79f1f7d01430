"""The company: what it says about itself, its members and their roles, invitations."""

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.core.api_token import Scope
from cloud.core.authz import Role
from cloud.postgres.companies import Invitation as InvitationRow
from cloud.services import companies, factor_policy
from cloud.web import sessions
from cloud.web.api import once
from cloud.web.api.kinds import Email, Line, Ms, Number, Token
from cloud.web.api.operation import PERSON, Section, json_of
from cloud.web.api.ownership import fresh
from cloud.web.middleware import sets_up_factor
from cloud.web.problems import ProblemCode
from cloud.web.state import KIT, SETTINGS, actor_of, now_ms, session_of

SECTION: Final = Section(
    "Company",
    "The company you act for, and who belongs to it.",
    reads=Scope.COMPANY_READ,
    writes=Scope.COMPANY_WRITE,
)


class CompanyDetails(Struct):
    """What a company says about itself. Which fields are needed and what they may hold: `faults` tells."""

    company_name: Line
    business_type: Line
    address: Line
    city: Line
    zip_code: Line
    location: Annotated[str, Meta(max_length=64, description="A country's name.")]
    state_province: Line
    area_of_focus: Line = ""
    industry_segment: Line = ""
    contact_name: Line = ""
    contact_email: Line = ""
    contact_phone: Line = ""


class MyCompany(Struct):
    """A company you belong to."""

    company_id: int
    name: str
    role: Role


class MyCompanies(Struct):
    """In the order of joining."""

    companies: list[MyCompany]


class Member(Struct):
    """Somebody in the company."""

    account_id: int
    email: str
    first_name: str
    last_name: str
    role: Role
    two_factor: bool
    created_ms: Annotated[int, Meta(description="Unix ms of joining.")]


class Members(Struct):
    """Everybody in the company, owners first."""

    members: list[Member]


class RoleChange(Struct):
    """Another role."""

    role: Role


class FactorPolicy(Struct):
    """Whether all members need a second factor."""

    required: bool
    since_ms: Annotated[int | None, Meta(description="Unix ms.")]
    grace_days: int
    without: Annotated[int, Meta(description="Members who have none yet.")]


class FactorWish(Struct):
    """Whether to require it, and how many days members have for it: 0, 1, 7, 14 or 30."""

    required: bool
    grace_days: Annotated[int, Meta(ge=0, le=30)] = factor_policy.USUAL_GRACE_DAYS


class NewInvitation(Struct):
    """Whom to invite."""

    email: Email
    role: Role = Role.OPERATOR


class Invitation(Struct):
    """An invitation that nobody has answered. The code of its link is in the mail alone."""

    invitation_id: int
    email: str
    role: Role
    inviter: str
    created_ms: Ms
    sent_ms: Annotated[int, Meta(description="Unix ms of its newest mail.")]
    expires_ms: Ms


class Invitations(Struct):
    """Those that nobody has answered, newest first; past `expires_ms` their links work no longer."""

    invitations: list[Invitation]


class InvitationCode(Struct):
    """What the mailed link has behind its #."""

    token: Token


class Invited(Struct):
    """Who invites you."""

    company: str
    role: Role
    inviter: str
    expires_ms: Ms


class Joined(Struct):
    """The company you belong to now; this log-in acts for it."""

    company_id: int


# --- details ------------------------------------------------------------------------------------------------


@SECTION.operation("GET", "/companies", scope=PERSON, marks=[sets_up_factor])
async def list_mine(request: web.Request) -> MyCompanies:
    """The companies you belong to."""
    found = await companies.mine(request.app[KIT], actor_of(request).account_id)
    return MyCompanies([MyCompany(*one) for one in found])


@SECTION.operation("GET", "/company")
async def show(request: web.Request) -> CompanyDetails:
    """What the company says about itself."""
    found = await companies.details(request.app[KIT], actor_of(request))
    fields = {
        name: getattr(found, name) for name in CompanyDetails.__struct_fields__ if name != "company_name"
    }
    return CompanyDetails(company_name=found.name, **fields)


@SECTION.operation("PUT", "/company", problems=[ProblemCode.FIELD_INVALID, ProblemCode.FORBIDDEN])
async def change(request: web.Request, body: CompanyDetails) -> CompanyDetails:
    """Change it."""
    form: dict[str, Any] = msgspec.to_builtins(body)
    await companies.change_details(request.app[KIT], actor_of(request), form, now_ms())
    return await show(request)


# --- members ------------------------------------------------------------------------------------------------


@SECTION.operation("GET", "/company/members")
async def list_members(request: web.Request) -> Members:
    """Everybody in the company."""
    found = await companies.members(request.app[KIT], actor_of(request))
    return Members([msgspec.convert(one, Member, from_attributes=True) for one in found])


@SECTION.operation(
    "PATCH",
    "/company/members/{account_id}",
    problems=[ProblemCode.FORBIDDEN, ProblemCode.LAST_OWNER],
)
async def change_role(request: web.Request, account_id: Number, body: RoleChange) -> Members:
    """Give a member another role."""
    await companies.change_role(request.app[KIT], actor_of(request), account_id, body.role, now_ms())
    return await list_members(request)


@SECTION.operation(
    "DELETE",
    "/company/members/{account_id}",
    answer=type(None),
    problems=[ProblemCode.FORBIDDEN, ProblemCode.LAST_OWNER],
)
async def remove(request: web.Request, account_id: Number) -> web.Response:
    """Remove a member, or leave.

    Their log-ins for this company end at once; devices stay with the company.
    """
    actor = actor_of(request)
    await companies.remove(request.app[KIT], actor, account_id, now_ms())
    response = json_of(None, HTTPStatus.NO_CONTENT)
    if account_id == actor.account_id:
        sessions.drop_cookie(response, request.app[SETTINGS])
    return response


@SECTION.operation("GET", "/company/second-factor")
async def show_factor_policy(request: web.Request) -> FactorPolicy:
    """Whether the company requires Two-Factor Authentication of all its members."""
    return msgspec.convert(
        await factor_policy.read(request.app[KIT], actor_of(request)), FactorPolicy, from_attributes=True
    )


@SECTION.operation(
    "PUT",
    "/company/second-factor",
    scope=PERSON,
    problems=[
        ProblemCode.FACTOR_OFF,
        ProblemCode.FACTOR_NEEDED,
        ProblemCode.FIELD_INVALID,
        ProblemCode.FORBIDDEN,
    ],
)
async def set_factor_policy(request: web.Request, body: FactorWish) -> FactorPolicy:
    """Require Two-Factor Authentication of all members, or no longer.

    `factor_off`: your own account has none yet. Members without it have the days of grace; after them every
    operation but those that set it up answers `factor_required`.
    """
    kit, session, is_fresh = request.app[KIT], session_of(request), fresh(request)
    if body.required:
        await factor_policy.require(kit, session, grace_days=body.grace_days, fresh=is_fresh, now_ms=now_ms())
    else:
        await factor_policy.lift(kit, session, fresh=is_fresh, now_ms=now_ms())
    return await show_factor_policy(request)


# --- invitations --------------------------------------------------------------------------------------------


def _invitation_of(row: InvitationRow) -> Invitation:
    return msgspec.convert(row, Invitation, from_attributes=True)


@SECTION.operation("GET", "/company/invitations", problems=[ProblemCode.FORBIDDEN])
async def list_invitations(request: web.Request) -> Invitations:
    """The company's pending invitations."""
    found = await companies.invitations(request.app[KIT], actor_of(request))
    return Invitations([_invitation_of(row) for row in found])


@SECTION.operation(
    "POST",
    "/company/invitations",
    statuses={HTTPStatus.CREATED: "The mail is on its way."},
    problems=[
        ProblemCode.FIELD_INVALID,
        ProblemCode.ALREADY_INVITED,
        ProblemCode.TOO_MANY,
        ProblemCode.FORBIDDEN,
    ],
)
async def invite(request: web.Request, body: NewInvitation) -> Invitation:
    """Send a co-worker an invite to the portal."""
    kit, actor = request.app[KIT], actor_of(request)

    def answer(row: InvitationRow) -> web.Response:
        return json_of(_invitation_of(row), HTTPStatus.CREATED)

    doing = companies.invite(kit, actor, body.email, body.role, now_ms())
    return _invitation_of(await once.done(request, InvitationRow, answer, doing))


@SECTION.operation(
    "POST",
    "/company/invitations/{invitation_id}/resend",
    problems=[ProblemCode.TOO_MANY, ProblemCode.FORBIDDEN],
)
async def resend_invitation(request: web.Request, invitation_id: Number) -> Invitation:
    """Mail an invitation again, with all its time. Three mails a day to one address."""

    def answer(row: InvitationRow) -> web.Response:
        return json_of(_invitation_of(row), HTTPStatus.OK)

    doing = companies.resend(request.app[KIT], actor_of(request), invitation_id, now_ms())
    return _invitation_of(await once.done(request, InvitationRow, answer, doing))


@SECTION.operation("DELETE", "/company/invitations/{invitation_id}", problems=[ProblemCode.FORBIDDEN])
async def withdraw_invitation(request: web.Request, invitation_id: Number) -> None:
    """Make an invitation's link void."""
    await companies.withdraw(request.app[KIT], actor_of(request), invitation_id, now_ms())


@SECTION.operation(
    "POST",
    "/invitations/look",
    scope=PERSON,
    problems=[ProblemCode.LINK_INVALID, ProblemCode.LINK_WITHDRAWN],
)
async def look_at_invitation(request: web.Request, body: InvitationCode) -> Invited:
    """Who invites you. Changes nothing."""
    found = await companies.look_at_invitation(request.app[KIT], body.token, now_ms())
    return Invited(found.company_name, found.role, found.inviter, found.expires_ms)


@SECTION.operation(
    "POST",
    "/invitations/accept",
    scope=PERSON,
    problems=[
        ProblemCode.LINK_INVALID,
        ProblemCode.LINK_WITHDRAWN,
        ProblemCode.OTHER_ADDRESS,
        ProblemCode.ALREADY_MEMBER,
    ],
)
async def accept_invitation(request: web.Request, body: InvitationCode) -> Joined:
    """Join the company; this log-in acts for it from now on."""

    def answer(row: InvitationRow) -> web.Response:
        return json_of(Joined(row.company_id), HTTPStatus.OK)

    doing = companies.accept(request.app[KIT], session_of(request), body.token, now_ms())
    return Joined(await once.done(request, InvitationRow, answer, doing))
