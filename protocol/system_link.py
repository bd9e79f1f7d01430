"""The link between an Enterprise Server and a stand-alone server that is attached to it. No cloud is in it.

TLS 1.3; the stand-alone server calls. Each end knows the certificate of the other since they were attached
and trusts no other. A message is one line of JSON::

    Enterprise Server                     stand-alone server
    hello{system_id, name}          -->                           to everybody, also to who knocks
                                    <--   attach{attach code's secret, system_id, certificate, proof}
    attached{proof} | refused{code} -->                           once, over TLS without a certificate
                                    <--   gone{system_id, proof}  instead, where the key shown is not known
    detached{system_id, proof}      -->                           the farewell, if there is one

                                    <--   report{version, licences, …}             at once and every 20 s
    passed_on{passed}               -->                           after each report and each change
                                    <--   detach
    detached{reason}                -->                           also unasked; from then on nothing else

The *attach code* that a person carries over names the Enterprise Server's certificate and proves, once and
for an hour, that they may attach. A *proof* is an HMAC under the secret that the two System IDs share: it
says that the holder of a System ID is the holder of the certificate.

Who deletes an Enterprise Server's database cannot reach those that are off just then. Before its key is gone,
a *farewell* is therefore made for each, a MAC under the secret that only the two System IDs share: whoever
finds another key there asks for it, proves to be the one it is for, and believes nothing else.
"""

import hashlib
import hmac
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from protocol.errors import ErrorCode
from protocol.system import SystemId
from protocol.system_code import MistypedError, read_groups, write_groups
from protocol.system_keys import Secret, mac

LINK_PORT: Final = 8884
MAX_LINE_BYTES: Final = 65_536
FINGERPRINT_BYTES: Final = 10  # 80 bits: who wants another certificate with the same must try 2^80
SECRET_BYTES: Final = 10
CODE_LIFE_MS: Final = 3_600_000
REPORT_EVERY_S: Final = 20.0
CODE_GROUPS: Final = 7
_PADDING: Final = CODE_GROUPS * 25 - 8 * (FINGERPRINT_BYTES + SECRET_BYTES)
SILENCE_S: Final = 50.0  # two reports or answers missed: the line is dead


class LinkKind(StrEnum):
    """What a line says. Append only."""

    HELLO = "hello"
    ATTACH = "attach"
    ATTACHED = "attached"
    REFUSED = "refused"
    REPORT = "report"
    PASSED_ON = "passed_on"
    DETACH = "detach"
    DETACHED = "detached"
    GONE = "gone"


class LinkRefusal(StrEnum):
    """Why an Enterprise Server does not attach somebody. Append only."""

    CODE_UNKNOWN = "attach_code_unknown"
    CODE_EXPIRED = "attach_code_expired"
    PROOF_WRONG = "proof_wrong"
    NOT_ENTERPRISE = "not_enterprise"
    TOO_MANY = "too_many"
    NOT_KNOWN = "not_known"


class DetachReason(StrEnum):
    """Why an attached server stands alone again. Append only."""

    BY_ATTACHED = "by_attached"
    BY_ENTERPRISE = "by_enterprise"
    DATABASE_DELETED = "database_deleted"


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkReport:
    """Attached server → Enterprise Server: what it is. ``attachment``: its word for the cloud, sealed."""

    name: str
    attachment: bytes = b""
    version: str = ""
    licences: tuple[str, ...] = ()
    uptime_s: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkMessage:
    """One line, of either end. ``passed`` is a sealed `PassedOn`."""

    kind: LinkKind
    system_id: str = ""
    name: str = ""
    secret: bytes = b""
    certificate: bytes = b""
    proof: bytes = b""
    code: str = ""
    reason: DetachReason | None = None
    report: LinkReport | None = None
    passed: bytes = b""


def write_attach_code(fingerprint: bytes, secret: bytes) -> str:
    """The attach code: seven groups of six characters, as in :mod:`protocol.system_code`."""
    if len(fingerprint) != FINGERPRINT_BYTES or len(secret) != SECRET_BYTES:
        raise ValueError("fingerprint and secret have ten bytes each")
    return write_groups(int.from_bytes(fingerprint + secret, "big") << _PADDING, CODE_GROUPS)


def read_attach_code(text: str) -> tuple[bytes, bytes]:
    """Fingerprint and secret of a code as it was typed; MistypedError names the wrong group."""
    number = read_groups(text, CODE_GROUPS, ErrorCode.CODE_MISTYPED, "attach code")
    if number & (1 << _PADDING) - 1:
        raise MistypedError(ErrorCode.CODE_MISTYPED, "This is another code, not an attach code.")
    data = (number >> _PADDING).to_bytes(FINGERPRINT_BYTES + SECRET_BYTES, "big")
    return data[:FINGERPRINT_BYTES], data[FINGERPRINT_BYTES:]


def link_proof(secret: Secret, *, prover: SystemId, own: bytes, other: bytes) -> bytes:
    """Under the secret of the two System IDs: who holds ``prover`` holds the certificate ``own``, too.

    Bound to both certificates, so that it proves nothing to anybody else, nor for another key.
    """
    body = prover.public + hashlib.sha256(own).digest() + hashlib.sha256(other).digest()
    return mac(secret, "link", body)


def check_link_proof(secret: Secret, proof: bytes, *, prover: SystemId, own: bytes, other: bytes) -> bool:
    """Whether this is the proof; ``own`` is the prover's certificate."""
    return hmac.compare_digest(link_proof(secret, prover=prover, own=own, other=other), proof)


def farewell_proofs(secret: Secret, *, enterprise: SystemId, attached: SystemId) -> tuple[bytes, bytes]:
    """What the attached server asks for a farewell with, and the farewell, under the secret of the two.

    The farewell says that the Enterprise Server's System ID is gone for good; there is nothing to replay.
    """
    body = enterprise.public + attached.public
    return mac(secret, "farewell-ask", body), mac(secret, "farewell", body)
