"""An announcement that came through a session: is it this session's, and what does the cloud say to it?"""

import time
from dataclasses import dataclass

import structlog

from cloud.core.manifest import ManifestMode
from cloud.core.session import Refusal
from cloud.gateway.session import Session
from cloud.postgres.claims import DeviceMismatchError
from cloud.postgres.pool import Pool
from cloud.postgres.safety import DatabaseUnavailableError
from cloud.services.claiming import Noted, announced
from protocol.errors import DecodeError, ErrorCode, IdentityError, Reason, SignatureError
from protocol.identity import ProductId, device_id_of, kid_of
from protocol.messages import Announcement
from protocol.signing import open_announcement

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of an announcement; ``name`` is for counting."""

    name: str
    reason: Reason = Reason.SUCCESS
    refusal: Refusal | None = None


async def announce(
    pool: Pool, session: Session, payload: bytes, mode: ManifestMode = ManifestMode.NONE
) -> Outcome:
    """Check an announcement against its session and take note of it."""
    try:
        announcement = open_announcement(payload)
    except (DecodeError, IdentityError, SignatureError) as error:
        reason = Reason.PAYLOAD_FORMAT_INVALID
        if error.code is ErrorCode.SIGNATURE_INVALID:
            reason = Reason.NOT_AUTHORIZED
        return _refused(str(error.code), reason, f"{error.code}: {error}")
    why = _foreign(announcement, session)
    if why is not None:
        return _refused("foreign", Reason.NOT_AUTHORIZED, why)
    try:
        noted = await announced(
            pool,
            kid=session.kid,
            announcement=announcement,
            sealed=payload,
            iat_ms=session.login_ms,
            now_ms=time.time_ns() // 1_000_000,
            mode=mode,
        )
    except DatabaseUnavailableError as error:
        return _refused("unavailable", Reason.UNSPECIFIED, f"the database does not answer: {error}")
    except DeviceMismatchError as error:
        log.error("a device that cannot be", reason=str(error), kid=session.kid)  # noqa: TRY400 - an alarm
        return _refused("mismatch", Reason.NOT_AUTHORIZED, str(error))
    match noted:
        case Noted.SUPERSEDED:
            why = "the key has logged in elsewhere"
            return _refused(noted.value, Reason.SESSION_TAKEN_OVER, why, ends=True)
        case Noted.REVOKED:
            why = "the device key was revoked"
            return _refused(noted.value, Reason.ADMINISTRATIVE_ACTION, why, ends=True)
        case Noted.NOT_LISTED:
            return _refused(noted.value, Reason.NOT_AUTHORIZED, "the manifest does not have this device")
        case Noted.RECORDED | Noted.BOUND:
            return Outcome(noted.value)


def _refused(name: str, reason: Reason, why: str, *, ends: bool = False) -> Outcome:
    return Outcome(name, reason, Refusal(reason, why, ends=ends))


def _foreign(announcement: Announcement, session: Session) -> str | None:
    """Why an announcement with good signatures is not this session's, if so."""
    if kid_of(announcement.device_pub) != session.kid:
        return "the announcement is another device key's"
    if announcement.nonce != session.nonce:
        return "the announcement carries another session's nonce"
    if device_id_of(ProductId.parse(announcement.product_id), announcement.label_pub) != session.device_id:
        return "the announcement is for another device than the log-in"
    return None
