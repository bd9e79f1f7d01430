"""Unsubscribe without a log-in: a link that names a policy and a person, signed against inventors."""

import hmac
import struct
from typing import Final

from cloud.postgres import notice_policies
from cloud.postgres.pool import Pool
from cloud.postgres.transaction import Connection, in_transaction
from cloud.services.vault import Vault
from protocol.identity import b64url, unb64url

_PURPOSE: Final = "unsubscribe"
_NUMBERS: Final = struct.Struct(">qq")
_PROOF_BYTES: Final = 16


def unsubscribe_token(vault: Vault, policy_id: int, account_id: int) -> str:
    """The signed part of the link. It allows to end these mails, and nothing else."""
    numbers = _NUMBERS.pack(policy_id, account_id)
    return b64url(numbers + vault.hash_code(_PURPOSE, numbers, "")[:_PROOF_BYTES])


def unsubscribe_url(vault: Vault, portal_url: str, policy_id: int, account_id: int) -> str:
    """The whole link."""
    return f"{portal_url}/unsubscribe/{unsubscribe_token(vault, policy_id, account_id)}"


def read_token(vault: Vault, token: str) -> tuple[int, int] | None:
    """Policy and account of a link of ours; None for any other text."""
    try:
        raw = unb64url(token)
    except ValueError:
        return None
    numbers, proof = raw[: _NUMBERS.size], raw[_NUMBERS.size :]
    if len(raw) != _NUMBERS.size + _PROOF_BYTES:
        return None
    if not hmac.compare_digest(proof, vault.hash_code(_PURPOSE, numbers, "")[:_PROOF_BYTES]):
        return None
    policy_id, account_id = _NUMBERS.unpack(numbers)
    return policy_id, account_id


async def unsubscribe(pool: Pool, vault: Vault, token: str, now_ms: int) -> bool:
    """End the mails of a link, also when they were ended before; False where the link is none of ours."""
    named = read_token(vault, token)
    if named is None:
        return False

    async def work(connection: Connection) -> None:
        await notice_policies.opt_out(connection, *named, now_ms)

    await in_transaction(pool, work)
    return True
