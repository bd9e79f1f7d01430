"""Two-Factor Authentication: passkeys, authenticator app, recovery codes; log-in and proof by a passkey.

What holds a secret is a PUT: its answer is never kept for an Idempotency-Key.
"""

from http import HTTPStatus
from typing import Annotated, Any, Final

import msgspec
from aiohttp import web
from msgspec import Meta, Struct

from cloud.postgres.passkeys import Passkey as PasskeyRow
from cloud.services import passkeys, second_factor
from cloud.web import log_in as logging_in
from cloud.web import sessions, tickets
from cloud.web.api.kinds import Code, Ms, Number, Token
from cloud.web.api.operation import Section, json_of
from cloud.web.api.ownership import fresh
from cloud.web.api.session import LoggedIn, SessionInfo, again, info_of, logged_in
from cloud.web.middleware import sets_up_factor
from cloud.web.problems import ProblemCode
from cloud.web.state import KIT, SETTINGS, now_ms, session_of
from cloud.web.tickets import Ticket

SECTION: Final = Section("Second factor", "Passkeys, authenticator app and recovery codes.")
OPEN: Final = [sets_up_factor]
ANSWERED: Final = (ProblemCode.PASSKEYS_UNAVAILABLE, ProblemCode.PASSKEY_EXPIRED, ProblemCode.PASSKEY_WRONG)

Credential = Annotated[
    dict[str, Any],
    Meta(description="A PublicKeyCredential as JSON (WebAuthn level 3, section 5.1.8); bytes as base64url."),
]
Name = Annotated[str, Meta(max_length=200, description="1 to 60 characters.")]


class Options(Struct):
    """For `navigator.credentials`, as JSON (WebAuthn level 3, section 5.1.9). Good for 5 minutes."""

    options: dict[str, Any]


class Passkey(Struct):
    """One of your passkeys."""

    passkey_id: int
    name: str
    made_for: Annotated[str, Meta(description="The host it works for.")]
    created_ms: Ms
    used_ms: Annotated[int | None, Meta(description="Unix ms of its last use.")]


class Passkeys(Struct):
    """All of yours, oldest first."""

    passkeys: list[Passkey]


class NewPasskey(Struct):
    """What `navigator.credentials.create` gave, and a name for it."""

    name: Name
    credential: Credential


class Added(Struct):
    """A passkey that was added."""

    passkey: Passkey
    recovery_codes: Annotated[list[str], Meta(description="Told this once, and with the first factor only.")]


class Renamed(Struct):
    """Another name."""

    name: Name


class AppSecret(Struct):
    """What an authenticator app is given."""

    uri: str
    secret: str


class AppCode(Struct):
    """What the app shows."""

    code: Code


class RecoveryCodes(Struct):
    """They replace those before, and are told this once."""

    recovery_codes: list[str]


class StepOf(Struct):
    """Which log-in: `step` of its `factor_needed`; the log-in page of this browser where it is empty."""

    step: Token = ""


class StepAnswer(Struct):
    """What `navigator.credentials.get` gave."""

    credential: Credential
    step: Token = ""


class ProofAnswer(Struct):
    """What `navigator.credentials.get` gave."""

    credential: Credential


def _passkey(row: PasskeyRow) -> Passkey:
    return Passkey(row.passkey_id, row.name, row.rp_id, row.created_ms, row.used_ms)


def _text(credential: dict[str, Any]) -> str:
    return msgspec.json.encode(credential).decode()


# --- passkeys -----------------------------------------------------------------------------------------------


@SECTION.operation("GET", "/account/passkeys", marks=OPEN)
async def list_passkeys(request: web.Request) -> Passkeys:
    """Your passkeys."""
    found = await second_factor.status(request.app[KIT], session_of(request).account_id)
    return Passkeys([_passkey(row) for row in found.passkeys])


@SECTION.operation(
    "POST",
    "/account/passkeys/options",
    marks=OPEN,
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.PASSKEYS_UNAVAILABLE, ProblemCode.TOO_MANY],
)
async def begin_passkey(request: web.Request) -> Options:
    """Begin to add a passkey: what the browser makes it from. Needs a fresh proof."""
    kit, session = request.app[KIT], session_of(request)
    return Options(await passkeys.begin(kit, session, fresh=fresh(request), now_ms=now_ms()))


@SECTION.operation(
    "PUT",
    "/account/passkeys",
    marks=OPEN,
    problems=[*ANSWERED, ProblemCode.PASSKEY_KNOWN, ProblemCode.FIELD_INVALID, ProblemCode.TOO_MANY],
)
async def add_passkey(request: web.Request, body: NewPasskey) -> Added:
    """Add the passkey that the browser has made. The first factor turns Two-Factor Authentication on."""
    kit, session = request.app[KIT], session_of(request)
    added = await passkeys.add(kit, session, name=body.name, answer=_text(body.credential), now_ms=now_ms())
    found = await second_factor.status(kit, session.account_id)
    (row,) = (one for one in found.passkeys if one.passkey_id == added.passkey_id)
    return Added(_passkey(row), added.recovery_codes)


@SECTION.operation(
    "PATCH", "/account/passkeys/{passkey_id}", marks=OPEN, problems=[ProblemCode.FIELD_INVALID]
)
async def rename_passkey(request: web.Request, passkey_id: Number, body: Renamed) -> Passkeys:
    """Give a passkey another name."""
    await passkeys.rename(request.app[KIT], session_of(request).account_id, passkey_id, body.name)
    return await list_passkeys(request)


@SECTION.operation(
    "DELETE", "/account/passkeys/{passkey_id}", marks=OPEN, problems=[ProblemCode.FACTOR_NEEDED]
)
async def remove_passkey(request: web.Request, passkey_id: Number) -> None:
    """Remove a passkey. With the last factor Two-Factor Authentication is off."""
    await passkeys.remove(
        request.app[KIT],
        session_of(request).account_id,
        passkey_id,
        fresh=fresh(request),
        now_ms=now_ms(),
    )


# --- app and recovery codes ---------------------------------------------------------------------------------


@SECTION.operation(
    "PUT",
    "/account/second-factor/app",
    marks=OPEN,
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FACTOR_ON],
)
async def begin_app(request: web.Request) -> AppSecret:
    """Begin to add an authenticator app: its secret. Nothing is on before its first code."""
    kit, account_id = request.app[KIT], session_of(request).account_id
    made = await second_factor.start(kit, account_id, fresh=fresh(request), now_ms=now_ms())
    return AppSecret(made.uri, made.secret)


@SECTION.operation(
    "PUT",
    "/account/second-factor/app/code",
    marks=OPEN,
    problems=[
        ProblemCode.FACTOR_WRONG,
        ProblemCode.FACTOR_ON,
        ProblemCode.FACTOR_OFF,
        ProblemCode.TOO_MANY,
    ],
)
async def confirm_app(request: web.Request, body: AppCode) -> RecoveryCodes:
    """Add the app by its first code. Recovery codes are told with the first factor only."""
    session = session_of(request)
    return RecoveryCodes(
        await second_factor.confirm(
            request.app[KIT], session.account_id, session.session_hash, body.code, now_ms()
        )
    )


@SECTION.operation(
    "DELETE",
    "/account/second-factor/app",
    marks=OPEN,
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FACTOR_OFF],
)
async def remove_app(request: web.Request) -> None:
    """Remove the authenticator app. Without a passkey Two-Factor Authentication is off."""
    kit, account_id = request.app[KIT], session_of(request).account_id
    await second_factor.remove_app(kit, account_id, fresh=fresh(request), now_ms=now_ms())


@SECTION.operation(
    "PUT",
    "/account/second-factor/recovery-codes",
    marks=OPEN,
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FACTOR_OFF],
)
async def make_recovery_codes(request: web.Request) -> RecoveryCodes:
    """Ten new recovery codes."""
    kit, account_id = request.app[KIT], session_of(request).account_id
    return RecoveryCodes(
        await second_factor.new_recovery_codes(kit, account_id, fresh=fresh(request), now_ms=now_ms())
    )


@SECTION.operation(
    "DELETE",
    "/account/second-factor",
    problems=[ProblemCode.FACTOR_NEEDED, ProblemCode.FACTOR_OFF],
)
async def turn_off(request: web.Request) -> None:
    """Turn Two-Factor Authentication off: passkeys, app and recovery codes."""
    kit, account_id = request.app[KIT], session_of(request).account_id
    await second_factor.turn_off(kit, account_id, fresh=fresh(request), now_ms=now_ms())


# --- proving ------------------------------------------------------------------------------------------------


def _step(request: web.Request, given: str) -> str:
    return given or tickets.read(request, Ticket.LOGIN)


@SECTION.operation(
    "POST",
    "/session/passkey/options",
    is_public=True,
    problems=[ProblemCode.LOGIN_GONE, ProblemCode.FACTOR_OFF, ProblemCode.PASSKEYS_UNAVAILABLE],
)
async def begin_log_in(request: web.Request, body: StepOf) -> Options:
    """The second step of a log-in by a passkey: what the browser asks it."""
    return Options(await passkeys.ask_log_in(request.app[KIT], _step(request, body.step), now_ms()))


@SECTION.operation(
    "POST",
    "/session/passkey",
    is_public=True,
    answer=LoggedIn,
    problems=[ProblemCode.LOGIN_GONE, *ANSWERED, ProblemCode.PASSKEY_COPIED],
)
async def finish_log_in(request: web.Request, body: StepAnswer) -> web.Response:
    """Log in: the second step, by a passkey."""
    step = _step(request, body.step)
    identity = await passkeys.finish_log_in(request.app[KIT], step, _text(body.credential), now_ms())
    cookie = await logging_in.begin(request, identity)
    session = await again(request, sessions.hash_of(cookie))
    response = json_of(logged_in(session), HTTPStatus.OK)
    sessions.set_cookie(response, request.app[SETTINGS], cookie, lasting=True)
    return response


@SECTION.operation(
    "POST",
    "/session/proof/options",
    marks=OPEN,
    problems=[ProblemCode.FACTOR_OFF, ProblemCode.PASSKEYS_UNAVAILABLE],
)
async def begin_proof(request: web.Request) -> Options:
    """Prove again who is there, by a passkey: what the browser asks it."""
    return Options(await passkeys.ask_step_up(request.app[KIT], session_of(request), now_ms()))


@SECTION.operation(
    "POST", "/session/proof/passkey", marks=OPEN, problems=[*ANSWERED, ProblemCode.PASSKEY_COPIED]
)
async def prove(request: web.Request, body: ProofAnswer) -> SessionInfo:
    """Prove again who is there, by a passkey: what needs a fresh factor is done for the next 5 minutes."""
    session = session_of(request)
    await passkeys.step_up(request.app[KIT], session, _text(body.credential), now_ms())
    return info_of(await again(request, session.session_hash))
