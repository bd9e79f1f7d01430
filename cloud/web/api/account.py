"""One's own account: profile, password, e-mail address, log-ins, second factor, deletion.

Turning Two-Factor Authentication on and off stays with the pages: its secrets are for eyes and an app.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import UNSET, Meta, Struct, UnsetType

from cloud.core.language import LANGUAGES, gettext
from cloud.core.refusal import RefusalCode, RefusedError
from cloud.services import account_deletion, profile, second_factor
from cloud.services.account_deletion import Part
from cloud.web import sessions
from cloud.web.api.kinds import Email, Line, Ms, Number, Password
from cloud.web.api.operation import Section, json_of
from cloud.web.api.ownership import fresh
from cloud.web.middleware import sets_up_factor
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import KIT, SETTINGS, now_ms, session_of

SECTION: Final = Section("Account", "Your own account.")


class Profile(Struct):
    """What is known of you."""

    email: str
    first_name: str
    last_name: str
    language: str
    time_zone: str
    location: str
    address: str
    city: str
    zip_code: str
    state_province: str
    phone: str
    promotions: Annotated[bool, Meta(description="Whether you want promotional materials.")]
    two_factor: bool
    created_ms: Ms
    password_ms: Annotated[int | None, Meta(description="Unix ms of the last change of password.")]


class ProfileChange(Struct, omit_defaults=True):
    """What is not given stays."""

    first_name: Line | UnsetType = UNSET
    last_name: Line | UnsetType = UNSET
    language: Line | UnsetType = UNSET
    time_zone: Line | UnsetType = UNSET
    location: Annotated[str, Meta(max_length=64, description="A country's name.")] | UnsetType = UNSET
    address: Line | UnsetType = UNSET
    city: Line | UnsetType = UNSET
    zip_code: Line | UnsetType = UNSET
    state_province: Line | UnsetType = UNSET
    phone: Line | UnsetType = UNSET
    promotions: bool | UnsetType = UNSET


class SecondFactor(Struct):
    """Two-Factor Authentication."""

    on: bool
    since_ms: int | None
    recovery_codes_left: int


class PasswordChange(Struct):
    """The password that is, and the one that is to be."""

    current: Password
    password: Password


class EmailChange(Struct):
    """The new address; a code is mailed to it."""

    email: Email


class EmailCode(Struct):
    """The six digits that were mailed to the new address."""

    code: Annotated[str, Meta(max_length=64)]


class LogInEntry(Struct):
    """A place where you are logged in."""

    name: Annotated[str, Meta(description="To end it by.")]
    here: Annotated[bool, Meta(description="Whether it is this one.")]
    company: str
    address: str
    user_agent: str
    created_ms: Ms
    seen_ms: Ms
    expires_ms: Ms


class LogInList(Struct):
    """Your log-ins, the most recently used first."""

    log_ins: list[LogInEntry]


class Ended(Struct):
    """How many log-ins were ended."""

    ended: int


class AuditLine(Struct):
    """Something that happened to your account."""

    ts_ms: Ms
    kind: str
    address: str
    detail: dict[str, Any]


class AuditLines(Struct):
    """The newest of them, newest first."""

    lines: list[AuditLine]


class Affected(Struct):
    """A company that deleting the account touches."""

    company_id: int
    name: str
    devices: int
    systems: Annotated[int, Meta(description="Registered systems of which it holds a slot.")]


class Outlook(Struct):
    """What deleting the account does."""

    closing: Annotated[list[Affected], Meta(description="Closed with the account.")]
    staying: Annotated[list[Affected], Meta(description="Go on without you.")]
    blocked_by: Annotated[list[Affected], Meta(description="Need another owner first.")]
    takers: Annotated[
        list[Affected], Meta(description="Could take over devices and systems of those that close.")
    ]


class Deletion(Struct):
    """That you are sure, and who takes devices and systems of companies that close: nobody, or one."""

    sure: bool
    hand_to: Number | None = None


async def _profile(request: web.Request) -> Profile:
    found = await profile.read(request.app[KIT], session_of(request).account_id)
    return msgspec.convert(found, Profile, from_attributes=True)


@SECTION.operation("GET", "/account")
async def show(request: web.Request) -> Profile:
    """Your profile."""
    return await _profile(request)


@SECTION.operation("PATCH", "/account", problems=[ProblemCode.FIELD_INVALID])
async def change(request: web.Request, body: ProfileChange) -> Profile:
    """Change parts of your profile."""
    given: dict[str, Any] = msgspec.to_builtins(body)
    promotions = given.pop("promotions", None)
    if given.get("language", "en") not in LANGUAGES:
        raise Problem(
            ProblemCode.FIELD_INVALID, more={"faults": {"language": gettext("Please choose a language.")}}
        )
    await profile.change(request.app[KIT], session_of(request), given, now_ms(), promotions=promotions)
    return await _profile(request)


@SECTION.operation("GET", "/account/second-factor", marks=[sets_up_factor])
async def show_second_factor(request: web.Request) -> SecondFactor:
    """Whether Two-Factor Authentication is on."""
    found = await second_factor.status(request.app[KIT], session_of(request).account_id)
    return SecondFactor(found.on, found.since_ms, found.recovery_codes_left)


@SECTION.operation(
    "PUT",
    "/account/password",
    problems=[ProblemCode.PASSWORD_WRONG, ProblemCode.FIELD_INVALID, ProblemCode.TOO_MANY, ProblemCode.BUSY],
)
async def change_password(request: web.Request, body: PasswordChange) -> None:
    """Another password; every other log-in ends."""
    kit, session = request.app[KIT], session_of(request)
    await profile.change_password(kit, session, body.current, body.password, now_ms())


@SECTION.operation(
    "POST",
    "/account/email",
    statuses={HTTPStatus.ACCEPTED: "The code is on its way."},
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FIELD_INVALID, ProblemCode.TOO_MANY],
)
async def ask_email(request: web.Request, body: EmailChange) -> EmailChange:
    """Ask for another e-mail address: a code is mailed to it. Nothing changes before that comes back."""
    await profile.ask_email_change(
        request.app[KIT], session_of(request), body.email, fresh=fresh(request), now_ms=now_ms()
    )
    return body


@SECTION.operation(
    "PUT",
    "/account/email",
    problems=[
        ProblemCode.CODE_WRONG,
        ProblemCode.CODE_EXPIRED,
        ProblemCode.CODE_SPENT,
        ProblemCode.EMAIL_TAKEN,
    ],
)
async def confirm_email(request: web.Request, body: EmailCode) -> Profile:
    """Change the address, with the code that was mailed to it."""
    await profile.confirm_email_change(request.app[KIT], session_of(request), body.code, now_ms())
    return await _profile(request)


@SECTION.operation("GET", "/account/log-ins")
async def list_log_ins(request: web.Request) -> LogInList:
    """Where this account is logged in."""
    found = await profile.log_ins(request.app[KIT], session_of(request), now_ms())
    return LogInList(
        [
            LogInEntry(
                name=one.name,
                here=one.here,
                company=one.row.company_name,
                address=one.row.address,
                user_agent=one.row.user_agent,
                created_ms=one.row.created_ms,
                seen_ms=one.row.seen_ms,
                expires_ms=one.row.expires_ms,
            )
            for one in found
        ]
    )


@SECTION.operation("DELETE", "/account/log-ins/{name}")
async def end_log_in(request: web.Request, name: str) -> None:
    """End one of them."""
    await profile.end_log_in(request.app[KIT], session_of(request), name, now_ms())


@SECTION.operation("POST", "/account/log-ins/end-others")
async def end_others(request: web.Request) -> Ended:
    """End all but this one."""
    return Ended(await profile.end_other_log_ins(request.app[KIT], session_of(request), now_ms()))


@SECTION.operation("GET", "/account/audit")
async def list_audit(request: web.Request) -> AuditLines:
    """What happened to your account lately."""
    found = await profile.history(request.app[KIT], session_of(request).account_id)
    return AuditLines([msgspec.convert(line, AuditLine) for line in found])


# --- Delete My Account --------------------------------------------------------------------------------------


def _affected(parts: tuple[Part, ...]) -> list[Affected]:
    return [Affected(part.company_id, part.name, part.devices, part.systems) for part in parts]


@SECTION.operation("GET", "/account/deletion")
async def foresee(request: web.Request) -> Outlook:
    """What would happen to your companies and their devices."""
    found = await account_deletion.foresee(request.app[KIT], session_of(request))
    return Outlook(*map(_affected, (found.closing, found.staying, found.blocked_by, found.takers)))


@SECTION.operation(
    "POST",
    "/account/deletion",
    answer=type(None),
    problems=[
        ProblemCode.FACTOR_NEEDED,
        ProblemCode.LAST_OWNER,
        ProblemCode.NOT_FOUND,
        ProblemCode.FIELD_INVALID,
        ProblemCode.RELEASING,
    ],
)
async def delete(request: web.Request, body: Deletion) -> web.Response:
    """Delete the account. It cannot be undone; sent again after a fault it goes on where it ended."""
    if not body.sure:
        raise RefusedError(RefusalCode.FIELD_INVALID, field="sure", text=gettext("Say that you are sure."))
    await account_deletion.delete(
        request.app[KIT], session_of(request), fresh=fresh(request), hand_to=body.hand_to, now_ms=now_ms()
    )
    response = json_of(None, HTTPStatus.NO_CONTENT)
    sessions.drop_cookie(response, request.app[SETTINGS])
    return response
