"""A gateway in the test's own event loop, on a real database, with real TLS."""

import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from cloud import background
from cloud.config import Settings
from cloud.core.authz import Actor
from cloud.gateway.endpoint import accept, open_listener, tls_context
from cloud.gateway.gateway import Gateway
from cloud.gateway.metrics import Metrics
from cloud.gateway.session import Voice
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.roles import Part, login_dsn
from cloud.provision import load_key_set, load_signer, provision, sealed_key_set
from cloud.services import claiming
from protocol.messages import KeySet, KeyUse
from protocol.mqtt import V5
from tests.support.claiming import NOW, make_actors
from tests.support.raw_mqtt import RawDevice


@dataclass
class Site:
    """What a test needs of the gateway and around it."""

    gateway: Gateway
    pool: Pool
    dsn: str
    port: int
    authority: str
    key_set: KeySet
    actors: list[Actor]
    devices: list[RawDevice]

    def device(self, version: int = V5) -> RawDevice:
        """A device nobody has seen before."""
        device = RawDevice(self.port, self.authority, self.key_set, version)
        self.devices.append(device)
        return device

    async def claim(self, device: RawDevice, actor: int = 0) -> None:
        """A person claims the device."""
        identity = device.identity
        await claiming.submit(
            self.pool, self.actors[actor], identity.product_id, identity.label_pub, device.iat_ms or NOW
        )

    async def owned(self, version: int = V5) -> tuple[RawDevice, int]:
        """A device that has announced itself and been claimed, connected; and its epoch."""
        device = self.device(version)
        hello = await device.greet()
        assert not hello.owned
        ack = await device.announce(hello)
        assert ack.reason == 0
        await self.claim(device)
        hello = await device.hello(lambda hello: hello.owned)
        return device, hello.epoch

    async def rows(self, statement: str, *values: object) -> list[tuple[object, ...]]:
        """What a query gives."""
        async with self.pool.connection() as connection:
            found = await connection.execute(statement, list(values))
            return await found.fetchall()

    async def stored(self, device: RawDevice) -> list[tuple[object, ...]]:
        """(stream, seq) of the device's samples, in order."""
        return await self.rows(
            "SELECT stream, seq FROM v_telemetry WHERE device_id = %s ORDER BY stream, seq",
            device.identity.device_id,
        )


@contextlib.asynccontextmanager
async def running(dsn: str, state_dir: Path, **changes: object) -> AsyncIterator[Site]:
    """A gateway until the block ends."""
    own_dsn = login_dsn(dsn, Part.GATEWAY)
    settings = Settings(state_dir=state_dir, database_url=own_dsn, gateway_port=0)
    settings = replace(settings, **changes)  # type: ignore[arg-type]  # names of settings
    installation = provision(settings)
    voice = Voice(
        load_signer(state_dir, KeyUse.NOTICE), sealed_key_set(state_dir), load_key_set(state_dir).version
    )
    actors = make_actors(dsn, 2)
    with open_listener("127.0.0.1", 0) as listener:
        async with make_pool(own_dsn, name="gateway") as own, make_pool(dsn, name="scene") as pool:
            gateway = Gateway(settings, own, voice, Metrics())
            gateway.start()
            parts = {**gateway.hub.parts(), "accept": accept(listener, tls_context(settings), gateway)}
            port = listener.getsockname()[1]
            site = Site(gateway, pool, dsn, port, installation.ca_pem, load_key_set(state_dir), actors, [])
            try:
                async with background.running(parts):
                    yield site
                    assert not gateway.failed.is_set()
                    for device in site.devices:
                        await device.close()
            finally:
                await gateway.stop()


@pytest.fixture
async def site(database: str, tmp_path: Path) -> AsyncIterator[Site]:
    """A gateway with ordinary settings."""
    async with running(database, tmp_path / "state") as made:
        yield made


Start = Callable[..., contextlib.AbstractAsyncContextManager[Site]]


@pytest.fixture
def start(database: str, tmp_path: Path) -> Start:
    """``start(receive_maximum=4)``: a gateway with other settings."""
    return lambda **changes: running(database, tmp_path / "state", **changes)
