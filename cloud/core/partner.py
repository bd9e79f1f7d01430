"""Log-in with a partner's account: what an OpenID provider says, what we ask it, what its answer proves.

OpenID Connect Core 1.0 section 3.1, authorization code with PKCE (RFC 7636). Pure: HTTP, signatures and the
clock are in :mod:`cloud.web.partner_provider`. A person is known by (issuer, subject); the address is only
taken where the provider says that it was verified, and never makes somebody the owner of an account.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from cloud.core.account import AccountError, Email
from cloud.core.second_factor import is_fresh
from cloud.core.sign_up import line_of
from protocol.identity import b64url

SCOPES: Final = "openid email profile"
STEP_LIFE_MS: Final = 600_000
"""How long somebody may be away at the partner's pages."""
LEEWAY_S: Final = 60
"""By how much the clocks may differ."""
ALGORITHMS: Final = (
    *("RS256", "RS384", "RS512"),
    *("PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""Signatures only: ``none`` proves nothing, and what HS256 proves anybody can write who has our secret."""
MAX_SUBJECT_CHARS: Final = 255  # OpenID Connect Core section 2
MAX_NAME_CHARS: Final = 100


class PartnerError(Exception):
    """What came back proves nothing; the text says why, for the log. It holds nothing that was sent."""


class UnverifiedEmailError(PartnerError):
    """The partner knows who it is, but not that the e-mail address is theirs."""


@dataclass(frozen=True, slots=True)
class Metadata:
    """What a provider says about itself (OpenID Connect Discovery 1.0). Endpoints are addresses."""

    issuer: str
    authorization_endpoint: str
    token_endpoint: str
    jwks_uri: str
    userinfo_endpoint: str = ""
    end_session_endpoint: str = ""
    secret_in_form: bool = False
    names_issuer: bool = False


@dataclass(frozen=True, slots=True)
class PartnerPerson:
    """Whom the partner has logged in. ``authenticated_ms``: when they entered a password there, if told."""

    issuer: str
    subject: str
    email: Email
    first_name: str
    last_name: str
    authenticated_ms: int | None = None

    def is_fresh(self, now_ms: int) -> bool:
        """Whether they proved it in the last 5 minutes, not just that a log-in there still lives."""
        when_ms = self.authenticated_ms
        return when_ms is not None and is_fresh(min(when_ms, now_ms), now_ms)


def parse_metadata(document: Mapping[str, Any], issuer: str) -> Metadata:
    """The document of ``/.well-known/openid-configuration``. PartnerError where it is not this issuer's."""
    if document.get("issuer") != issuer:
        raise PartnerError("the provider's document names another issuer")
    methods = document.get("token_endpoint_auth_methods_supported", ["client_secret_basic"])
    in_form = isinstance(methods, list) and "client_secret_basic" not in methods
    return Metadata(
        issuer=issuer,
        authorization_endpoint=_address(document, "authorization_endpoint"),
        token_endpoint=_address(document, "token_endpoint"),
        jwks_uri=_address(document, "jwks_uri"),
        userinfo_endpoint=_address(document, "userinfo_endpoint", needed=False),
        end_session_endpoint=_address(document, "end_session_endpoint", needed=False),
        secret_in_form=in_form and "client_secret_post" in methods,
        names_issuer=document.get("authorization_response_iss_parameter_supported") is True,
    )


def _address(document: Mapping[str, Any], name: str, *, needed: bool = True) -> str:
    value = document.get(name, "")
    if not isinstance(value, str) or (needed and not value):
        raise PartnerError(f"the provider's document has no {name}")
    return value


def challenge_of(verifier: str) -> str:
    """The PKCE challenge S256 of a verifier."""
    return b64url(hashlib.sha256(verifier.encode("ascii")).digest())


def request_of(
    *, client_id: str, redirect_uri: str, state: str, nonce: str, verifier: str, again: bool = False
) -> dict[str, str]:
    """Parameters of the authorization request. ``again``: the partner asks for the password once more."""
    asked = {
        "response_type": "code",
        "client_id": client_id,
        "redirect_uri": redirect_uri,
        "scope": SCOPES,
        "state": state,
        "nonce": nonce,
        "code_challenge": challenge_of(verifier),
        "code_challenge_method": "S256",
    }
    return {**asked, "prompt": "login", "max_age": "0"} if again else asked


def check_answer(metadata: Metadata, named_issuer: str | None) -> None:
    """Whether the answer comes from whom was asked (RFC 9207). PartnerError."""
    if named_issuer is None and metadata.names_issuer:
        raise PartnerError("the answer does not name its issuer, though the provider says that it does")
    if named_issuer is not None and named_issuer != metadata.issuer:
        raise PartnerError("the answer comes from another issuer")


def needs_userinfo(claims: Mapping[str, Any]) -> bool:
    """Whether the ID token leaves out what the provider may tell elsewhere."""
    return "email" not in claims or "email_verified" not in claims


def with_userinfo(claims: Mapping[str, Any], userinfo: Mapping[str, Any]) -> dict[str, Any]:
    """What both say; the ID token's word counts where they differ. PartnerError for another's userinfo."""
    if userinfo.get("sub") != claims.get("sub"):
        raise PartnerError("the userinfo is somebody else's")
    names = ("email", "email_verified", "given_name", "family_name", "name")
    told = {name: userinfo[name] for name in names if name in userinfo}
    if "email" in claims and claims["email"] != told.get("email"):
        told.pop("email_verified", None)  # it was said of another address
    return {**told, **claims}


def person_of(claims: Mapping[str, Any], *, client_id: str, nonce: str) -> PartnerPerson:
    """Whom the claims name; their signature, issuer, audience and times were checked before.

    PartnerError for another's or an old answer, UnverifiedEmailError where no verified address is told.
    """
    if claims.get("nonce") != nonce:
        raise PartnerError("the ID token answers another request: its nonce is not ours")
    audience = claims.get("aud")
    parties = audience if isinstance(audience, list) else [audience]
    authorized = claims.get("azp")
    if authorized != client_id and (authorized is not None or len(parties) > 1):
        raise PartnerError("the ID token was made for another client")
    subject, issuer = claims.get("sub"), claims.get("iss")
    if not isinstance(subject, str) or not isinstance(issuer, str):
        raise PartnerError("the ID token names nobody")
    if not 0 < len(subject) <= MAX_SUBJECT_CHARS or "\0" in subject:
        raise PartnerError("the ID token's subject cannot be one")
    first, last = _names(claims)
    return PartnerPerson(issuer, subject, _email(claims), first, last, _authenticated_ms(claims))


def _email(claims: Mapping[str, Any]) -> Email:
    text = claims.get("email")
    if claims.get("email_verified") is not True or not isinstance(text, str):
        raise UnverifiedEmailError("the provider has not verified the e-mail address")
    try:
        return Email.parse(text)
    except AccountError as error:
        raise UnverifiedEmailError("the provider's e-mail address cannot be one") from error


def _names(claims: Mapping[str, Any]) -> tuple[str, str]:
    """First and last name for a form that its person may correct; what is not told is empty."""
    first, last, whole = (_line(claims.get(name)) for name in ("given_name", "family_name", "name"))
    if not first and not last:
        first, _, last = whole.partition(" ")
    return first, last


def _line(value: object) -> str:
    return line_of(value)[:MAX_NAME_CHARS] if isinstance(value, str) else ""


def _authenticated_ms(claims: Mapping[str, Any]) -> int | None:
    seconds = claims.get("auth_time")
    usable = isinstance(seconds, int) and not isinstance(seconds, bool) and 0 < seconds < 1 << 40
    return seconds * 1000 if usable and isinstance(seconds, int) else None
