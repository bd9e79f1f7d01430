"""Log-in of a device: its token against its key, once: a token never works twice."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from cloud.core.session import LoginRequest, Refusal, Standing, judge_standing
from cloud.postgres.pool import Pool
from cloud.postgres.safety import DatabaseUnavailableError
from cloud.postgres.sessions import find_key, find_standings, log_in
from protocol.errors import IdentityError, Reason, SignatureError
from protocol.identity import kid_of
from protocol.signing import read_login_token, verify_login_token

MAX_STRANGERS: Final = 50_000


@dataclass(frozen=True, slots=True)
class Admission:
    """A device key that has logged in."""

    kid: str
    device_id: int
    login_ms: int
    standing: Standing


class Strangers:
    """The newest log-in of each key that the database does not know, as long as its token might come again.

    Bounded: past ``MAX_STRANGERS`` the one that came first is forgotten. Of one process: a token that is used
    at two gateways within the hour before the key announces itself works at both.
    """

    def __init__(self) -> None:
        self._login_ms: OrderedDict[str, int] = OrderedDict()

    def enter(self, kid: str, login_ms: int) -> bool:
        """Whether this is newer than every log-in of the key before; then it is noted."""
        if login_ms <= self._login_ms.get(kid, 0):
            return False
        self._login_ms[kid] = login_ms
        self._login_ms.move_to_end(kid)
        if len(self._login_ms) > MAX_STRANGERS:
            self._login_ms.popitem(last=False)
        return True


async def admit(pool: Pool, audience: str, request: LoginRequest, now_ms: int) -> Admission | Refusal:
    """Log in, or say why not. A key that the cloud does not know yet writes nothing."""
    try:
        return await _admit(pool, audience, request, now_ms)
    except (SignatureError, IdentityError) as error:
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, f"{error.code}: {error}")
    except DatabaseUnavailableError as error:
        return Refusal(Reason.SERVER_UNAVAILABLE, f"the database does not answer: {error}")


async def _admit(pool: Pool, audience: str, request: LoginRequest, now_ms: int) -> Admission | Refusal:
    claimed = read_login_token(request.token)
    kid, device_id = request.kid, claimed.device_id
    if claimed.kid != kid:
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the log-in token names another key")
    brought = claimed.device_pub
    if brought is not None and kid_of(brought) == kid:  # judged before the database is asked
        verify_login_token(request.token, brought, audience, now_ms)
    stored = await find_key(pool, device_id, kid)
    public = brought if stored is None else stored.device_pub
    if public is None or kid_of(public) != kid:
        return Refusal(
            Reason.BAD_USER_NAME_OR_PASSWORD, "the key is unknown, and the token does not bring it"
        )
    claims = verify_login_token(request.token, public, audience, now_ms)
    if stored is not None:
        if stored.revoked:
            return Refusal(Reason.BANNED, "the device key was revoked")
        if not await log_in(pool, device_id, kid, claims.iat_ms, now_ms):
            return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the log-in token was used before")
    standing = (await find_standings(pool, [(device_id, kid)]))[0]
    if stored is None and standing.known:  # announced meanwhile, perhaps by this very token's session
        return Refusal(Reason.BAD_USER_NAME_OR_PASSWORD, "the key has become known; log in anew")
    refusal = judge_standing(standing, claims.iat_ms)
    return refusal or Admission(kid, device_id, claims.iat_ms, standing)
