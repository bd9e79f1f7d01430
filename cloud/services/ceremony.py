"""The ceremonies of WebAuthn: what a browser is asked, and whether its answer proves what was asked for.

Nothing is read or written here. An answer is the JSON of a PublicKeyCredential (WebAuthn level 3, section
5.1.8), checked for challenge, origin, RP id, user presence, user verification and signature. Attestations
are not asked for: what is accepted has none, or one by the key itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from webauthn import (
    generate_authentication_options,
    generate_registration_options,
    verify_authentication_response,
    verify_registration_response,
)
from webauthn.helpers import (
    options_to_json_dict,
    parse_attestation_object,
    parse_authentication_credential_json,
    parse_client_data_json,
    parse_registration_credential_json,
)
from webauthn.helpers.exceptions import WebAuthnException
from webauthn.helpers.structs import (
    AttestationFormat,
    AuthenticatorSelectionCriteria,
    AuthenticatorTransport,
    PublicKeyCredentialDescriptor,
    ResidentKeyRequirement,
    UserVerificationRequirement,
)

from cloud.core.passkey import CHALLENGE_LIFE_MS, MAX_ANSWER_CHARS, Site

REJECTED: Final = (
    WebAuthnException,
    InvalidSignature,
    UnsupportedAlgorithm,
    AttributeError,
    LookupError,
    OverflowError,
    RecursionError,
    TypeError,
    ValueError,
)
"""What the library raises at answers that are not true, or are none: it does not check the type of all it
unpacks."""
MAX_ID_BYTES: Final = 1023
"""WebAuthn level 2, section 5.1."""
_FORMATS: Final = frozenset({AttestationFormat.NONE, AttestationFormat.PACKED})


class NotProvedError(Exception):
    """The answer does not prove what was asked for; the text says why, and is for logs only."""


@dataclass(frozen=True, slots=True)
class Known:
    """A passkey that a browser is told about."""

    credential_id: bytes
    transports: Sequence[str]


@dataclass(frozen=True, slots=True)
class Made:
    """A new passkey, as its authenticator has made it."""

    credential_id: bytes
    public_key: bytes
    sign_count: int
    transports: list[str]


@dataclass(frozen=True, slots=True)
class Person:
    """For whom a passkey is made; ``handle`` names the account to authenticators and says nothing else."""

    handle: bytes
    email: str
    name: str


def creation_options(
    site: Site, brand: str, person: Person, challenge: bytes, known: Sequence[Known]
) -> dict[str, Any]:
    """What ``navigator.credentials.create`` is given, as JSON."""
    options = generate_registration_options(
        rp_id=site.rp_id,
        rp_name=brand,
        user_id=person.handle,
        user_name=person.email,
        user_display_name=person.name or person.email,
        challenge=challenge,
        timeout=CHALLENGE_LIFE_MS,
        authenticator_selection=AuthenticatorSelectionCriteria(
            resident_key=ResidentKeyRequirement.PREFERRED,
            user_verification=UserVerificationRequirement.REQUIRED,
        ),
        exclude_credentials=_described(known),
    )
    return options_to_json_dict(options)


def request_options(site: Site, challenge: bytes, known: Sequence[Known]) -> dict[str, Any]:
    """What ``navigator.credentials.get`` is given, as JSON."""
    options = generate_authentication_options(
        rp_id=site.rp_id,
        challenge=challenge,
        timeout=CHALLENGE_LIFE_MS,
        allow_credentials=_described(known),
        user_verification=UserVerificationRequirement.REQUIRED,
    )
    return options_to_json_dict(options)


def _described(known: Sequence[Known]) -> list[PublicKeyCredentialDescriptor]:
    ways = {one.value for one in AuthenticatorTransport}
    return [
        PublicKeyCredentialDescriptor(
            id=one.credential_id,
            transports=[AuthenticatorTransport(way) for way in one.transports if way in ways] or None,
        )
        for one in known
    ]


def made(site: Site, challenge: bytes, answer: str) -> Made:
    """The passkey that was made for this challenge. NotProvedError."""
    _bounded(answer)
    try:
        given = parse_registration_credential_json(answer)
        _from_our_own_page(given.response.client_data_json)
        if parse_attestation_object(given.response.attestation_object).fmt not in _FORMATS:
            raise NotProvedError("an attestation that nobody asked for")
        found = verify_registration_response(
            credential=given,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            require_user_verification=True,
        )
    except REJECTED as error:
        raise NotProvedError(str(error)) from error
    if len(found.credential_id) > MAX_ID_BYTES:
        raise NotProvedError("the id of the credential is too long")
    ways = sorted({one.value for one in given.response.transports or []})
    return Made(found.credential_id, found.credential_public_key, found.sign_count, ways)


def credential_of(answer: str) -> tuple[bytes, bytes | None]:
    """Which passkey an answer claims to be of, and of which account if it says that. NotProvedError."""
    _bounded(answer)
    try:
        given = parse_authentication_credential_json(answer)
    except REJECTED as error:
        raise NotProvedError(str(error)) from error
    return given.raw_id, given.response.user_handle or None


def shown_count(site: Site, challenge: bytes, public_key: bytes, answer: str) -> int:
    """The signature counter of an answer by the passkey of this key. NotProvedError."""
    _bounded(answer)
    try:
        given = parse_authentication_credential_json(answer)
        _from_our_own_page(given.response.client_data_json)
        found = verify_authentication_response(
            credential=given,
            expected_challenge=challenge,
            expected_rp_id=site.rp_id,
            expected_origin=site.origin,
            credential_public_key=public_key,
            credential_current_sign_count=0,  # cloud.core.passkey judges it: a copy is no mere mistake
            require_user_verification=True,
        )
    except REJECTED as error:
        raise NotProvedError(str(error)) from error
    return found.new_sign_count


def _bounded(answer: str) -> None:
    if len(answer) > MAX_ANSWER_CHARS:
        raise NotProvedError("the answer is too long")


def _from_our_own_page(client_data: bytes) -> None:
    """NotProvedError where another site has our page in a frame."""
    if parse_client_data_json(client_data).cross_origin:
        raise NotProvedError("asked for in a frame of another site")
