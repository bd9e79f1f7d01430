"""What can go wrong in a request, with stable codes: pages for people, problem+json (RFC 9457) for others."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from http import HTTPStatus


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
    """HTTP status and words of a problem."""

    status: HTTPStatus
    title: str
    detail: str


KINDS: dict[ProblemCode, ProblemKind] = {
    ProblemCode.BAD_REQUEST: ProblemKind(
        HTTPStatus.BAD_REQUEST, "This request cannot be understood", "Go back and try again."
    ),
    ProblemCode.LOGIN_NEEDED: ProblemKind(
        HTTPStatus.UNAUTHORIZED, "Please log in", "This page is for people who are logged in."
    ),
    ProblemCode.LOGIN_FAILED: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        "Log-in failed",
        "The email address or the password is not right.",
    ),
    ProblemCode.FORBIDDEN: ProblemKind(
        HTTPStatus.FORBIDDEN, "Your role does not allow this", "Ask an administrator of your company."
    ),
    ProblemCode.CROSS_SITE: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "This request came from another site",
        "Nothing was changed. Open the page here and try again.",
    ),
    ProblemCode.FORM_EXPIRED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "This form is no longer valid",
        "Nothing was changed. Load the page again and repeat what you did.",
    ),
    ProblemCode.NOT_FOUND: ProblemKind(
        HTTPStatus.NOT_FOUND, "There is nothing here", "The page does not exist, or it is not yours to see."
    ),
    ProblemCode.METHOD_NOT_ALLOWED: ProblemKind(
        HTTPStatus.METHOD_NOT_ALLOWED, "This cannot be done here", "The address does not take this method."
    ),
    ProblemCode.TOO_LARGE: ProblemKind(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "This is too large", "The request holds more than is accepted."
    ),
    ProblemCode.TOO_MANY: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS, "Too many attempts", "Wait a moment, then try again."
    ),
    ProblemCode.CODES_INVALID: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY, "Check the codes", "They do not look like those of a label."
    ),
    ProblemCode.BUSY: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS, "Too much to do right now", "Try again in a few seconds."
    ),
    ProblemCode.FACTOR_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "Prove that it is you",
        "This needs your second factor, or your password again. Nothing was changed.",
    ),
    ProblemCode.STOLEN: ProblemKind(
        HTTPStatus.CONFLICT, "This device is marked as stolen", "Lift the mark first. Nothing was changed."
    ),
    ProblemCode.CLONE_SUSPECTED: ProblemKind(
        HTTPStatus.CONFLICT,
        "Two devices use this device's key",
        "Give it a new key, or clear the suspicion first. Nothing was changed.",
    ),
    ProblemCode.RELEASING: ProblemKind(
        HTTPStatus.CONFLICT, "This device is being released", "Keep it first. Nothing was changed."
    ),
    ProblemCode.NOTHING_OPEN: ProblemKind(
        HTTPStatus.CONFLICT,
        "There is nothing to decide any more",
        "Somebody was faster, or its time is over. Nothing was changed.",
    ),
    ProblemCode.UNKNOWN_OFFER: ProblemKind(
        HTTPStatus.NOT_FOUND,
        "There is no such offer",
        "It has expired, was withdrawn or taken, or the link is not complete.",
    ),
    ProblemCode.OFFER_FOR_ANOTHER: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "This offer was made to another email address",
        "Log in with the account of the address that got the offer, or ask for a new one.",
    ),
    ProblemCode.OWN_DEVICE: ProblemKind(
        HTTPStatus.CONFLICT, "This device is yours already", "Nothing was changed."
    ),
    ProblemCode.DATABASE_UNAVAILABLE: ProblemKind(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "The portal cannot reach its data right now",
        "Your devices keep their readings and send them later; nothing is lost. Try again in a moment.",
    ),
    ProblemCode.INTERNAL: ProblemKind(
        HTTPStatus.INTERNAL_SERVER_ERROR,
        "Something went wrong on our side",
        "It has been logged. If it stays, tell the operator the request number below.",
    ),
    ProblemCode.REFUSED: ProblemKind(HTTPStatus.CONFLICT, "This cannot be done", "Nothing was changed."),
    ProblemCode.WORK_NEEDED: ProblemKind(
        HTTPStatus.TOO_MANY_REQUESTS,
        "Many claims are open",
        "Solve the challenge, then send the same again with the solution. Nothing was spent.",
    ),
    ProblemCode.FIELD_INVALID: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Something cannot be used",
        "The member faults says what, and why. Nothing was changed.",
    ),
    ProblemCode.EMAIL_TAKEN: ProblemKind(
        HTTPStatus.CONFLICT,
        "This email address is taken",
        "An account with it exists already. Nothing was changed.",
    ),
    ProblemCode.CODE_WRONG: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This code is not right",
        "It is not the one of the newest email.",
    ),
    ProblemCode.CODE_EXPIRED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This code is too old",
        "Ask for a new one.",
    ),
    ProblemCode.CODE_SPENT: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "Too many wrong codes",
        "Ask for a new one.",
    ),
    ProblemCode.LINK_INVALID: ProblemKind(
        HTTPStatus.NOT_FOUND,
        "This link leads nowhere",
        "It has expired, was used, or is not complete.",
    ),
    ProblemCode.PASSWORD_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "The password is not right",
        "Nothing was changed.",
    ),
    ProblemCode.FACTOR_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "The code is not right",
        "It is wrong, or it was used before. Nothing was changed.",
    ),
    ProblemCode.FACTOR_OFF: ProblemKind(
        HTTPStatus.CONFLICT,
        "Two-Factor Authentication is off",
        "Turn it on first. Nothing was changed.",
    ),
    ProblemCode.FACTOR_ON: ProblemKind(
        HTTPStatus.CONFLICT,
        "Two-Factor Authentication is on already",
        "Nothing was changed.",
    ),
    ProblemCode.ALREADY_INVITED: ProblemKind(
        HTTPStatus.CONFLICT,
        "Already invited",
        "An invitation to this address is open. Nothing was changed.",
    ),
    ProblemCode.OTHER_ADDRESS: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "Sent to another email address",
        "Log in with the account of the address it was sent to.",
    ),
    ProblemCode.ALREADY_MEMBER: ProblemKind(
        HTTPStatus.CONFLICT,
        "A member already",
        "Nothing was changed.",
    ),
    ProblemCode.LAST_OWNER: ProblemKind(
        HTTPStatus.CONFLICT,
        "A company needs an owner",
        "Make another member its owner first. Nothing was changed.",
    ),
    ProblemCode.ROBOT_CHECK: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The work is not done",
        "Solve a new challenge, then send its solution.",
    ),
    ProblemCode.KEY_REUSED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The Idempotency-Key was used for another request",
        "Use a new key for a new request. Nothing was changed.",
    ),
    ProblemCode.KEY_IN_USE: ProblemKind(
        HTTPStatus.CONFLICT,
        "A request with this Idempotency-Key is running",
        "Send it again in a moment, with the same key.",
    ),
    ProblemCode.TWO_FACTOR_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "Turn on Two-Factor Authentication",
        "Outlets are switched by people with it only. Nothing was sent.",
    ),
    ProblemCode.SMARTCONNECT_OFF: ProblemKind(
        HTTPStatus.CONFLICT,
        "SmartConnect is switched off at the UPS",
        "Enable it there. Nothing was sent.",
    ),
    ProblemCode.DEVICE_OFFLINE: ProblemKind(
        HTTPStatus.CONFLICT,
        "The device is not connected",
        "Nothing is kept for later. Try again when it is online.",
    ),
    ProblemCode.UPS_SILENT: ProblemKind(
        HTTPStatus.CONFLICT,
        "The agent gets no readings from its UPS",
        "Check the cable between them. Nothing was sent.",
    ),
    ProblemCode.NO_SUCH_GROUP: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This UPS has no such outlet group",
        "Choose one it has. Nothing was sent.",
    ),
    ProblemCode.ON_BATTERY: ProblemKind(
        HTTPStatus.CONFLICT,
        "The UPS runs on battery",
        "Wait for the mains, or force it. Nothing was sent.",
    ),
    ProblemCode.UPS_FAULT: ProblemKind(
        HTTPStatus.CONFLICT,
        "The UPS reports a fault",
        "Have it looked at, or force it. Nothing was sent.",
    ),
    ProblemCode.COMMAND_UNDER_WAY: ProblemKind(
        HTTPStatus.CONFLICT,
        "Another outlet command is under way",
        "Wait for its result. Nothing was sent.",
    ),
    ProblemCode.OTHER_SLOT: ProblemKind(
        HTTPStatus.FORBIDDEN, "Only the other account of this system can do this", "Nothing was changed."
    ),
    ProblemCode.SYSTEM_PROOF_INVALID: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        "It is not sealed by whom it names",
        "Fetch the key set anew, and seal it again.",
    ),
    **{
        code: ProblemKind(HTTPStatus.CONFLICT, title, detail)
        for code, title, detail in (
            (ProblemCode.SYSTEM_RETIRED, "This System ID has retired", "Enter the one that is shown now."),
            (ProblemCode.SYSTEM_TAKEN, "It is registered already", "Ask its holder to hand it over."),
            (ProblemCode.SLOT_TAKEN, "This slot has a holder", "Only its holder can hand it over."),
            (ProblemCode.LEAD_REFUSED, "These cannot be lead and shadow", "Nothing was changed."),
            (ProblemCode.SUPERSEDED, "Somebody was faster", "Look at the system again, then decide."),
            (ProblemCode.SYSTEM_REPORT_OLD, "A later report was taken", "Send one with a greater counter."),
        )
    },
    ProblemCode.PHOTO_REFUSED: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "This photo cannot be searched",
        "The member reason says why. Take another one, of the label only.",
    ),
    ProblemCode.GROUP_NAME_WRONG: ProblemKind(
        HTTPStatus.UNPROCESSABLE_ENTITY,
        "The typed name is not that of the outlet group",
        "Nothing was sent.",
    ),
    ProblemCode.TOKEN_INVALID: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        "This token is not valid",
        "It is not complete, has expired, was revoked, or its owner has left the company. Make a new one "
        "under My Account, API tokens.",
    ),
    ProblemCode.SCOPE_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "The token lacks a scope",
        "The member scope names it. Make a token that has it. Nothing was changed.",
    ),
    ProblemCode.PERSON_NEEDED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "This needs a person",
        "A token cannot prove that somebody is there: log in, and do it yourself. Nothing was changed.",
    ),
    ProblemCode.FACTOR_REQUIRED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "Your company requires Two-Factor Authentication",
        "Turn it on first: My Account, View Profile, Two-Factor Authentication, Turn On.",
    ),
    ProblemCode.LOGIN_GONE: ProblemKind(
        HTTPStatus.UNAUTHORIZED,
        "This log-in took too long",
        "Begin again with email address and password.",
    ),
    ProblemCode.PASSKEYS_UNAVAILABLE: ProblemKind(
        HTTPStatus.CONFLICT,
        "Passkeys do not work at the address of this portal",
        "They need a name and https. Use an authenticator app.",
    ),
    ProblemCode.PASSKEY_EXPIRED: ProblemKind(
        HTTPStatus.CONFLICT,
        "There is no challenge for this answer",
        "It ran out, or was answered before. Ask for a new one.",
    ),
    ProblemCode.PASSKEY_WRONG: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "The passkey proves nothing here",
        "It is somebody else's, was made for another address, or nobody was verified. Nothing was changed.",
    ),
    ProblemCode.PASSKEY_COPIED: ProblemKind(
        HTTPStatus.FORBIDDEN,
        "There may be a copy of this passkey",
        "Its counter has gone back. Use another method, then remove it.",
    ),
    ProblemCode.PASSKEY_KNOWN: ProblemKind(
        HTTPStatus.CONFLICT, "This passkey is registered already", "Nothing was changed."
    ),
    ProblemCode.LINK_WITHDRAWN: ProblemKind(
        HTTPStatus.NOT_FOUND,
        "This invitation was withdrawn",
        "Ask who invited you for a new one.",
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
