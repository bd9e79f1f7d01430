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
