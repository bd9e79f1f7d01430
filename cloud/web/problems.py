"""What can go wrong in a request, with stable codes: pages for people, problem+json (RFC 9457) for others."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus

from cloud.core.language import N_


class ProblemCode(StrEnum):
    """Stable names that programs may rely on. Append only."""

    BAD_REQUEST = "bad_request"
    LOGIN_NEEDED = "login_needed"
    LOGIN_FAILED = "login_failed"
    FORBIDDEN = "forbidden"
    CROSS_SITE = "cross_site"
    FORM_EXPIRED = "form_expired"
    NOT_FOUND = "not_found"
    METHOD_NOT_ALLOWED = "method_not_allowed"
    TOO_LARGE = "too_large"
    TOO_MANY = "too_many"
    CODES_INVALID = "codes_invalid"
    BUSY = "busy"
    FACTOR_NEEDED = "factor_needed"
    STOLEN = "stolen"
    CLONE_SUSPECTED = "clone_suspected"
    RELEASING = "releasing"
    NOTHING_OPEN = "nothing_open"
    UNKNOWN_OFFER = "unknown_offer"
    OFFER_FOR_ANOTHER = "offer_for_another"
    OWN_DEVICE = "own_device"
    DATABASE_UNAVAILABLE = "database_unavailable"
    INTERNAL = "internal"
    REFUSED = "refused"
    WORK_NEEDED = "work_needed"
    FIELD_INVALID = "field_invalid"
    EMAIL_TAKEN = "email_taken"
    CODE_WRONG = "code_wrong"
    CODE_EXPIRED = "code_expired"
    CODE_SPENT = "code_spent"
    LINK_INVALID = "link_invalid"
    PASSWORD_WRONG = "password_wrong"  # noqa: S105 - no password
    FACTOR_WRONG = "factor_wrong"
    FACTOR_OFF = "factor_off"
    FACTOR_ON = "factor_on"
    ALREADY_INVITED = "already_invited"
    OTHER_ADDRESS = "other_address"
    ALREADY_MEMBER = "already_member"
    LAST_OWNER = "last_owner"
    ROBOT_CHECK = "robot_check"
    KEY_REUSED = "idempotency_key_reused"
    KEY_IN_USE = "idempotency_key_in_use"
    TWO_FACTOR_NEEDED = "two_factor_needed"
    SMARTCONNECT_OFF = "smartconnect_off"
    DEVICE_OFFLINE = "device_offline"
    UPS_SILENT = "ups_silent"
    NO_SUCH_GROUP = "no_such_group"
    ON_BATTERY = "on_battery"
    UPS_FAULT = "ups_fault"
    COMMAND_UNDER_WAY = "command_under_way"
    GROUP_NAME_WRONG = "group_name_wrong"
    SYSTEM_RETIRED = "system_retired"
    SYSTEM_TAKEN = "system_taken"
    SLOT_TAKEN = "slot_taken"
    OTHER_SLOT = "other_slot"
    LEAD_REFUSED = "lead_refused"
    SUPERSEDED = "superseded"
    PHOTO_REFUSED = "photo_refused"
    SYSTEM_PROOF_INVALID = "system_proof_invalid"
    SYSTEM_REPORT_OLD = "system_report_old"
    TOKEN_INVALID = "token_invalid"  # noqa: S105 - no token
    SCOPE_NEEDED = "scope_needed"
    PERSON_NEEDED = "person_needed"
    FACTOR_REQUIRED = "factor_required"
    LOGIN_GONE = "login_gone"
    PASSKEYS_UNAVAILABLE = "passkeys_unavailable"
    PASSKEY_EXPIRED = "passkey_expired"
    PASSKEY_WRONG = "passkey_wrong"
    PASSKEY_COPIED = "passkey_copied"
    PASSKEY_KNOWN = "passkey_known"
    LINK_WITHDRAWN = "link_withdrawn"


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """HTTP status and words of a problem; they are said with ``gettext`` where they are shown."""

    status: HTTPStatus
    title: str
    detail: str


KINDS: dict[ProblemCode, ProblemKind] = {
    ProblemCode.BAD_REQUEST: ProblemKind(
        HTTPStatus.BAD_REQUEST, N_("This request cannot be understood"), N_("Go back and try again.")
    ),
    ProblemCode.LOGIN_NEEDED: ProblemKind(
        HTTPStatus.UNAUTHORIZED, N_("Please log in"), N_("This page is for people who are logged in.")
    ),
    ProblemCode.LOGIN_FAILED: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        N_("Log-in failed"),
        N_("The email address or the password is not right."),
    ),
    ProblemCode.FORBIDDEN: ProblemKind(
        HTTPStatus.FORBIDDEN, N_("Your role does not allow this"), N_("Ask an administrator of your company.")
    ),
    ProblemCode.CROSS_SITE: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("This request came from another site"),
        N_("Nothing was changed. Open the page here and try again."),
    ),
    ProblemCode.FORM_EXPIRED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("This form is no longer valid"),
        N_("Nothing was changed. Load the page again and repeat what you did."),
    ),
    ProblemCode.NOT_FOUND: ProblemKind(
        HTTPStatus.NOT_FOUND,
        N_("There is nothing here"),
        N_("The page does not exist, or it is not yours to see."),
    ),
    ProblemCode.METHOD_NOT_ALLOWED: ProblemKind(
        HTTPStatus.METHOD_NOT_ALLOWED,
        N_("This cannot be done here"),
        N_("The address does not take this method."),
    ),
    ProblemCode.TOO_LARGE: ProblemKind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
        N_("This is too large"),
        N_("The request holds more than is accepted."),
    ),
    ProblemCode.TOO_MANY: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS, N_("Too many attempts"), N_("Wait a moment, then try again.")
    ),
    ProblemCode.CODES_INVALID: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY, N_("Check the codes"), N_("They do not look like those of a label.")
    ),
    ProblemCode.BUSY: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS, N_("Too much to do right now"), N_("Try again in a few seconds.")
    ),
    ProblemCode.FACTOR_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("Prove that it is you"),
        N_("This needs your second factor, or your password again. Nothing was changed."),
    ),
    ProblemCode.STOLEN: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("This device is marked as stolen"),
        N_("Lift the mark first. Nothing was changed."),
    ),
    ProblemCode.CLONE_SUSPECTED: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Two devices use this device's key"),
        N_("Give it a new key, or clear the suspicion first. Nothing was changed."),
    ),
    ProblemCode.RELEASING: ProblemKind(
        HTTPStatus.CONFLICT, N_("This device is being released"), N_("Keep it first. Nothing was changed.")
    ),
    ProblemCode.NOTHING_OPEN: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("There is nothing to decide any more"),
        N_("Somebody was faster, or its time is over. Nothing was changed."),
    ),
    ProblemCode.UNKNOWN_OFFER: ProblemKind(
        HTTPStatus.NOT_FOUND,
        N_("There is no such offer"),
        N_("It has expired, was withdrawn or taken, or the link is not complete."),
    ),
    ProblemCode.OFFER_FOR_ANOTHER: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("This offer was made to another email address"),
        N_("Log in with the account of the address that got the offer, or ask for a new one."),
    ),
    ProblemCode.OWN_DEVICE: ProblemKind(
        HTTPStatus.CONFLICT, N_("This device is yours already"), N_("Nothing was changed.")
    ),
    ProblemCode.DATABASE_UNAVAILABLE: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        N_("The portal cannot reach its data right now"),
        N_("Your devices keep their readings and send them later; nothing is lost. Try again in a moment."),
    ),
    ProblemCode.INTERNAL: ProblemKind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        N_("Something went wrong on our side"),
        N_("It has been logged. If it stays, tell the operator the request number below."),
    ),
    ProblemCode.REFUSED: ProblemKind(
        HTTPStatus.CONFLICT, N_("This cannot be done"), N_("Nothing was changed.")
    ),
    ProblemCode.WORK_NEEDED: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS,
        N_("Many claims are open"),
        N_("Solve the challenge, then send the same again with the solution. Nothing was spent."),
    ),
    ProblemCode.FIELD_INVALID: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("Something cannot be used"),
        N_("The member faults says what, and why. Nothing was changed."),
    ),
    ProblemCode.EMAIL_TAKEN: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("This email address is taken"),
        N_("An account with it exists already. Nothing was changed."),
    ),
    ProblemCode.CODE_WRONG: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("This code is not right"),
        N_("It is not the one of the newest email."),
    ),
    ProblemCode.CODE_EXPIRED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("This code is too old"),
        N_("Ask for a new one."),
    ),
    ProblemCode.CODE_SPENT: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("Too many wrong codes"),
        N_("Ask for a new one."),
    ),
    ProblemCode.LINK_INVALID: ProblemKind(
        HTTPStatus.NOT_FOUND,
        N_("This link leads nowhere"),
        N_("It has expired, was used, or is not complete."),
    ),
    ProblemCode.PASSWORD_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("The password is not right"),
        N_("Nothing was changed."),
    ),
    ProblemCode.FACTOR_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("The code is not right"),
        N_("It is wrong, or it was used before. Nothing was changed."),
    ),
    ProblemCode.FACTOR_OFF: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Two-Factor Authentication is off"),
        N_("Turn it on first. Nothing was changed."),
    ),
    ProblemCode.FACTOR_ON: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Two-Factor Authentication is on already"),
        N_("Nothing was changed."),
    ),
    ProblemCode.ALREADY_INVITED: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Already invited"),
        N_("An invitation to this address is open. Nothing was changed."),
    ),
    ProblemCode.OTHER_ADDRESS: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("Sent to another email address"),
        N_("Log in with the account of the address it was sent to."),
    ),
    ProblemCode.ALREADY_MEMBER: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("A member already"),
        N_("Nothing was changed."),
    ),
    ProblemCode.LAST_OWNER: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("A company needs an owner"),
        N_("Make another member its owner first. Nothing was changed."),
    ),
    ProblemCode.ROBOT_CHECK: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("The work is not done"),
        N_("Solve a new challenge, then send its solution."),
    ),
    ProblemCode.KEY_REUSED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("The Idempotency-Key was used for another request"),
        N_("Use a new key for a new request. Nothing was changed."),
    ),
    ProblemCode.KEY_IN_USE: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("A request with this Idempotency-Key is running"),
        N_("Send it again in a moment, with the same key."),
    ),
    ProblemCode.TWO_FACTOR_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("Turn on Two-Factor Authentication"),
        N_("Outlets are switched by people with it only. Nothing was sent."),
    ),
    ProblemCode.SMARTCONNECT_OFF: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("SmartConnect is switched off at the UPS"),
        N_("Enable it there. Nothing was sent."),
    ),
    ProblemCode.DEVICE_OFFLINE: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("The device is not connected"),
        N_("Nothing is kept for later. Try again when it is online."),
    ),
    ProblemCode.UPS_SILENT: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("The agent gets no readings from its UPS"),
        N_("Check the cable between them. Nothing was sent."),
    ),
    ProblemCode.NO_SUCH_GROUP: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("This UPS has no such outlet group"),
        N_("Choose one it has. Nothing was sent."),
    ),
    ProblemCode.ON_BATTERY: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("The UPS runs on battery"),
        N_("Wait for the mains, or force it. Nothing was sent."),
    ),
    ProblemCode.UPS_FAULT: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("The UPS reports a fault"),
        N_("Have it looked at, or force it. Nothing was sent."),
    ),
    ProblemCode.COMMAND_UNDER_WAY: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Another outlet command is under way"),
        N_("Wait for its result. Nothing was sent."),
    ),
    ProblemCode.OTHER_SLOT: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("Only the other account of this system can do this"),
        N_("Nothing was changed."),
    ),
    ProblemCode.SYSTEM_PROOF_INVALID: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        N_("It is not sealed by whom it names"),
        N_("Fetch the key set anew, and seal it again."),
    ),
    **{
        code: ProblemKind(HTTPStatus.CONFLICT, title, detail)
        for code, title, detail in (
            (
                ProblemCode.SYSTEM_RETIRED,
                N_("This System ID has retired"),
                N_("Enter the one that is shown now."),
            ),
            (ProblemCode.SYSTEM_TAKEN, N_("It is registered already"), N_("Ask its holder to hand it over.")),
            (ProblemCode.SLOT_TAKEN, N_("This slot has a holder"), N_("Only its holder can hand it over.")),
            (ProblemCode.LEAD_REFUSED, N_("These cannot be lead and shadow"), N_("Nothing was changed.")),
            (ProblemCode.SUPERSEDED, N_("Somebody was faster"), N_("Look at the system again, then decide.")),
            (
                ProblemCode.SYSTEM_REPORT_OLD,
                N_("A later report was taken"),
                N_("Send one with a greater counter."),
            ),
        )
    },
    ProblemCode.PHOTO_REFUSED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("This photo cannot be searched"),
        N_("The member reason says why. Take another one, of the label only."),
    ),
    ProblemCode.GROUP_NAME_WRONG: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        N_("The typed name is not that of the outlet group"),
        N_("Nothing was sent."),
    ),
    ProblemCode.TOKEN_INVALID: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        N_("This token is not valid"),
        N_(
            "It is not complete, has expired, was revoked, or its owner has left the company. Make a new one "
            "under My Account, API tokens."
        ),
    ),
    ProblemCode.SCOPE_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("The token lacks a scope"),
        N_("The member scope names it. Make a token that has it. Nothing was changed."),
    ),
    ProblemCode.PERSON_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("This needs a person"),
        N_("A token cannot prove that somebody is there: log in, and do it yourself. Nothing was changed."),
    ),
    ProblemCode.FACTOR_REQUIRED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("Your company requires Two-Factor Authentication"),
        N_("Turn it on first: My Account, View Profile, Two-Factor Authentication, Turn On."),
    ),
    ProblemCode.LOGIN_GONE: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        N_("This log-in took too long"),
        N_("Begin again with email address and password."),
    ),
    ProblemCode.PASSKEYS_UNAVAILABLE: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("Passkeys do not work at the address of this portal"),
        N_("They need a name and https. Use an authenticator app."),
    ),
    ProblemCode.PASSKEY_EXPIRED: ProblemKind(
        HTTPStatus.CONFLICT,
        N_("There is no challenge for this answer"),
        N_("It ran out, or was answered before. Ask for a new one."),
    ),
    ProblemCode.PASSKEY_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("The passkey proves nothing here"),
        N_(
            "It is somebody else's, was made for another address, or nobody was verified."
            " Nothing was changed."
        ),
    ),
    ProblemCode.PASSKEY_COPIED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        N_("There may be a copy of this passkey"),
        N_("Its counter has gone back. Use another method, then remove it."),
    ),
    ProblemCode.PASSKEY_KNOWN: ProblemKind(
        HTTPStatus.CONFLICT, N_("This passkey is registered already"), N_("Nothing was changed.")
    ),
    ProblemCode.LINK_WITHDRAWN: ProblemKind(
        HTTPStatus.NOT_FOUND,
        N_("This invitation was withdrawn"),
        N_("Ask who invited you for a new one."),
    ),
}


class Problem(Exception):  # noqa: N818 - RFC 9457's word
    """Ends a request with this problem."""

    def __init__(
        self,
        code: ProblemCode,
        *,
        detail: str | None = None,
        retry_after_s: int | None = None,
        more: Mapping[str, object] | None = None,
    ) -> None:
        super().__init__(code)
        self.more = more or {}
        """Further members of the problem+json."""
        self.code = code
        self.detail = detail
        self.retry_after_s = retry_after_s

    @property
    def kind(self) -> ProblemKind:
        """Status and words."""
        return KINDS[self.code]


BY_STATUS: dict[int, ProblemCode] = {
    HTTPStatus.BAD_REQUEST: ProblemCode.BAD_REQUEST,
    HTTPStatus.FORBIDDEN: ProblemCode.FORBIDDEN,
    HTTPStatus.NOT_FOUND: ProblemCode.NOT_FOUND,
    HTTPStatus.METHOD_NOT_ALLOWED: ProblemCode.METHOD_NOT_ALLOWED,
    HTTPStatus.REQUEST_ENTITY_TOO_LARGE: ProblemCode.TOO_LARGE,
}
"""Problems that aiohttp itself raises."""
