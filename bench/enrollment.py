"""Devices that may send: each announces itself to the gateway, and is claimed by its product codes."""

import asyncio
import time
from dataclasses import dataclass

from bench.processes import BenchError
from bench.setting import Place
from cloud.core.authz import Actor, Role
from cloud.postgres.pool import Pool, make_pool
from cloud.provision import load_installation, load_key_set
from cloud.services import claiming
from cloud.services.accounts import create_account
from cloud.services.claim_view import ViewState
from cloud.services.derivation import LabelKeys
from cloud.services.passwords import Passwords
from tests.support.device import WireDevice


@dataclass(frozen=True, slots=True)
class Owned:
    """A device whose bound key may publish."""

    device_id: int
    kid: str
    epoch: int
    private_hex: str


def enroll(place: Place, count: int) -> tuple[Owned, ...]:
    """So many devices of one new account, through the running gateway and the portal's own service."""
    return asyncio.run(_enroll(place, count))


async def _enroll(place: Place, count: int) -> tuple[Owned, ...]:
    installation = load_installation(place.settings.state_dir)
    key_set = load_key_set(place.settings.state_dir)
    async with make_pool(place.dsn, name="bench", max_size=2) as pool:
        actor = await _make_actor(pool)
        with LabelKeys() as label_keys:
            return tuple(
                [
                    await _claim(pool, actor, label_keys, WireDevice(installation, key_set))
                    for _ in range(count)
                ]
            )


async def _make_actor(pool: Pool) -> Actor:
    with Passwords() as passwords:
        identity = await create_account(
            pool,
            passwords,
            email="bench@example.org",
            password="Correct horse 7 battery",
            first_name="Ada",
            last_name="Number",
            now_ms=_now_ms(),
        )
    return Actor(identity.account_id, identity.company_id, Role.OWNER)


async def _claim(pool: Pool, actor: Actor, label_keys: LabelKeys, device: WireDevice) -> Owned:
    await asyncio.to_thread(device.connect)
    try:
        code = await asyncio.to_thread(device.announce)
        if code != 0:
            raise BenchError(f"an announcement was answered with {code:#x}")
        label_pub = await label_keys.label_pub(device.product_id, device.product_key)
        view = await claiming.submit(pool, actor, device.product_id, label_pub, _now_ms())
        if view.state is not ViewState.WON:
            raise BenchError(f"a claim of a device that has announced itself is {view.state}")
        epoch = (await asyncio.to_thread(device.wait_owned)).epoch
    finally:
        await asyncio.to_thread(device.close)
    return Owned(device.device_id, device.kid, epoch, device.key.private_bytes_raw().hex())


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
