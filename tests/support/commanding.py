"""People who may send commands, and devices that have told how they stand."""

import uuid
from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.core.authz import Actor
from cloud.core.command import Group, Order
from cloud.postgres import accounts, factors
from cloud.postgres.accounts import NewSession, Session
from cloud.postgres.commands import CommandRow
from cloud.postgres.pool import Pool
from cloud.provision import Signer, load_signer
from cloud.services import commanding
from cloud.services.commanding import Commander
from protocol.commands import CommandKind
from protocol.messages import KeyUse

DAY_MS: Final = 86_400_000
REBOOT: Final = Order(CommandKind.OUTLET_REBOOT, Group.SOG0, typed="Outlet group 1")
ON: Final = 1
OFF: Final = 2


def commander(pool: Pool, state_dir: Path | None = None) -> Commander:
    """Signs with the key of this state directory, or with one that nobody knows."""
    signer = Signer("command-1", Ed25519PrivateKey.generate())
    return Commander(pool, signer if state_dir is None else load_signer(state_dir, KeyUse.COMMAND))


async def log_in(pool: Pool, actor: Actor, now_ms: int, *, two_factor: bool = True) -> Session:
    """A log-in that has just shown its second factor (its password without one)."""
    name = uuid.uuid4().bytes * 2
    new = NewSession(
        session_hash=name,
        account_id=actor.account_id,
        company_id=actor.company_id,
        csrf_key=name,
        now_ms=now_ms,
        expires_ms=now_ms + DAY_MS,
        address="192.0.2.1",
        user_agent="test",
        factor_ms=now_ms,
    )
    await accounts.insert_session(pool, new, None)
    if two_factor:
        await turn_on_two_factor(pool, actor.account_id, now_ms)
    session = await accounts.find_session(pool, name, now_ms=now_ms, idle_ms=DAY_MS)
    if session is None:
        raise AssertionError("the log-in was just made")
    return session


async def turn_on_two_factor(pool: Pool, account_id: int, now_ms: int) -> None:
    """With a secret that nobody needs to know."""
    async with pool.connection() as connection, connection.transaction():
        if await factors.put_unconfirmed(connection, account_id, b"sealed", now_ms):
            await factors.confirm(connection, account_id, b"sealed", now_ms)


async def tell(pool: Pool, device_id: int, now_ms: int, **values: float) -> None:
    """The device is heard and well, with two outlet groups, but for these values of ``latest``."""
    known = {
        "ts_ms": now_ms,
        "seen_ms": now_ms,
        "ups_status": 2,
        "mog_outlet_status": ON,
        "sog0_outlet_status": ON,
        **values,
    }
    columns = ", ".join(f"{name} = %s" for name in known)
    async with pool.connection() as connection:
        await connection.execute(
            f"UPDATE latest SET connected = true, {columns} WHERE device_id = %s".encode(),
            [*known.values(), device_id],
        )


async def ask(
    commander_: Commander, session: Session, device_id: int, now_ms: int, order: Order = REBOOT
) -> CommandRow:
    """A command of its own name."""
    return await commanding.request(commander_, session, device_id, order, str(uuid.uuid4()), now_ms)
