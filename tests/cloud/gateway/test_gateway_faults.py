"""Real gateway and PostgreSQL processes that die under a device which sees every packet."""

import asyncio
import contextlib
import signal
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from cloud.core.authz import Actor
from cloud.postgres.pool import make_pool
from cloud.services import claiming
from protocol import codec, topics
from protocol.errors import Reason
from protocol.messages import Event, EventKind
from protocol.mqtt import V5, V311, ConnAck, Connect, PingReq, PingResp, PubAck, Publish, encode
from tests.faults.processes import descendants, signal_all
from tests.support.claiming import make_actors
from tests.support.parts import CloudParts, running_parts
from tests.support.raw_mqtt import RawDevice

TIMEOUT_S = 20.0
STREAM = 5


@dataclass
class Field:
    """A cloud and the devices of one test; its owner claims them."""

    cloud: CloudParts
    owner: Actor
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)

    def device(self, version: int = V5) -> RawDevice:
        """A device nobody has seen before."""
        installation = self.cloud.installation
        device = RawDevice(self.cloud.gateway_port, installation.ca_pem, self.cloud.key_set, version)
        self.stack.push_async_callback(device.close)
        return device

    async def claim(self, device: RawDevice) -> None:
        async with make_pool(self.cloud.dsn, name="test", max_size=1) as pool:
            identity = device.identity
            now_ms = time.time_ns() // 1_000_000
            await claiming.submit(pool, self.owner, identity.product_id, identity.label_pub, now_ms)

    async def owned(self, version: int = V5) -> tuple[RawDevice, int]:
        """A connected device that somebody owns, with the first sample stored; and its epoch."""
        device = self.device(version)
        await device.announce(await device.greet())
        await self.claim(device)
        epoch = (await device.hello(lambda hello: hello.owned)).epoch
        await device.send(device.telemetry(epoch, STREAM, 1))
        assert (await device.wait(PubAck)).reason == 0
        return device, epoch

    def stored(self, device: RawDevice) -> list[int]:
        """``seq`` of the device's samples, in order."""
        with psycopg.connect(self.cloud.dsn) as connection:
            found = connection.execute(
                "SELECT seq FROM v_telemetry WHERE device_id = %s ORDER BY stream, seq",
                [device.identity.device_id],
            )
            return [seq for (seq,) in found.fetchall()]


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudParts]:
    """PostgreSQL and a gateway with one writer, so that who is held holds everything."""
    with running_parts(tmp_path_factory.mktemp("faults") / "cloud", ("postgres",)) as parts:
        parts.parts["gateway"].command = [*parts.parts["gateway"].command, "--writers", "1"]
        parts.start("gateway")
        yield parts


@pytest.fixture(scope="module")
def owner(cloud: CloudParts) -> Actor:
    return make_actors(cloud.dsn, 1)[0]


@pytest.fixture
async def place(cloud: CloudParts, owner: Actor) -> AsyncIterator[Field]:
    """Everything runs before the test and after it."""
    for name in ("postgres", "gateway"):
        if not cloud.parts[name].alive:
            cloud.start(name)
    made = Field(cloud, owner)
    async with made.stack:
        yield made


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while not holds():
            await asyncio.sleep(0.01)


@contextlib.contextmanager
def frozen(cloud: CloudParts) -> Iterator[None]:
    """A database that neither answers nor ends: all its processes are stopped, until the block ends."""
    part = cloud.parts["postgres"]
    pids = [pid for pid in descendants(part.pid) if pid != part.pid]
    signal_all(pids, signal.SIGSTOP)
    try:
        yield
    finally:
        signal_all(pids, signal.SIGCONT)


async def ping(device: RawDevice) -> None:
    """The gateway has read everything that was sent before, and the session is alive."""
    await device.send(PingReq())
    await device.wait(PingResp)


def acks(device: RawDevice) -> list[PubAck]:
    """PUBACKs that nobody has waited for."""
    return [packet for packet in device.received if isinstance(packet, PubAck)]


@pytest.mark.parametrize("end", ["kill", "stop"])
async def test_what_is_sent_while_the_database_is_away_is_acknowledged_after_it_in_order(
    place: Field, end: str
) -> None:
    """Of both versions at once, each in its order."""
    devices = {version: await place.owned(version) for version in (V311, V5)}
    getattr(place.cloud, end)("postgres")
    sent = {version: everything(*devices[version]) for version in devices}
    for version, (device, _) in devices.items():
        for packet in sent[version]:
            await device.send(packet)
    for _ in range(2):
        for device, _ in devices.values():
            await ping(device)
            assert acks(device) == []
    place.cloud.start("postgres")
    for version, (device, _) in devices.items():
        came = await device.wait_acks(len(sent[version]))
        assert [ack.packet_id for ack in came] == [packet.packet_id for packet in sent[version]]
        bad, ignored = (
            (Reason.PAYLOAD_FORMAT_INVALID, Reason.NO_MATCHING_SUBSCRIBERS) if version == V5 else (0, 0)
        )
        assert [ack.reason for ack in came] == [0, 0, 0, bad, 0, ignored, 0, 0, 0]
        assert place.stored(device) == [1, 2, 3, 4, 5, 6, 7]
        await ping(device)
        assert not device.closed


def everything(device: RawDevice, epoch: int) -> list[Publish]:
    """What a gateway can be sent, good and bad."""
    event = Event(stream=1, seq=1, ts_ms=1, kind=EventKind.ON_BATTERY)
    return [
        *(device.telemetry(epoch, STREAM, seq) for seq in (2, 3, 4)),
        device.publish(topics.telemetry(device.identity.kid, epoch, STREAM), b"\xff"),
        device.publish(topics.event(device.identity.kid, epoch), codec.encode(event)),
        device.telemetry(epoch - 1, STREAM, 8),
        device.telemetry(epoch, STREAM, 5, 6),
        device.telemetry(epoch, STREAM, 4),
        device.telemetry(epoch, STREAM, 7),
    ]


async def test_a_log_in_while_the_database_is_away_may_be_tried_again_with_its_token(place: Field) -> None:
    async def is_refused(device: RawDevice, connect: Connect, code: int) -> None:
        for _ in range(2):
            await device.open()
            await device.send(connect)
            assert (await device.wait(ConnAck)).code == code
            await device.wait_closed()

    tried = []
    for version, code in ((V311, 3), (V5, Reason.SERVER_UNAVAILABLE)):
        device, epoch = await place.owned(version)
        await device.close()
        tried.append((device, epoch, device.connect_packet(), code))
    place.cloud.kill("postgres")
    await asyncio.gather(*(is_refused(device, connect, code) for device, _, connect, code in tried))
    place.cloud.start("postgres")
    for device, epoch, connect, _ in tried:
        await device.open()
        await device.send(connect)
        assert (await device.wait(ConnAck)).code == 0
        await device.send(device.telemetry(epoch, STREAM, 2))
        assert (await device.wait(PubAck)).reason == 0
        assert place.stored(device) == [1, 2]


async def test_the_window_is_all_that_is_read_while_nothing_can_be_stored(place: Field) -> None:
    """A device that sends more than its window is not read on, loses nothing, and is not ended."""
    device, epoch = await place.owned(V311)
    place.cloud.kill("postgres")
    sent = [device.telemetry(epoch, STREAM, seq) for seq in range(2, 202)]
    await device.send(*sent)
    place.cloud.start("postgres")
    came = await device.wait_acks(len(sent))
    assert [ack.packet_id for ack in came] == [packet.packet_id for packet in sent]
    assert place.stored(device) == list(range(1, 202))


@pytest.mark.parametrize("point", ["gateway.fence", "gateway.commit.before"])
async def test_nothing_is_acknowledged_before_the_commit(place: Field, tmp_path: Path, point: str) -> None:
    """Held inside the transaction; then the database dies, the hold ends, and the batch is written again."""
    device, epoch = await place.owned()
    held = tmp_path / "held"
    place.cloud.restart("gateway", fault=f"{point}:1:hold:{held}")
    await device.greet()
    sent = device.telemetry(epoch, STREAM, 2)
    await device.send(sent)
    await until(held.exists)
    await ping(device)
    assert acks(device) == []
    assert place.stored(device) == [1]
    place.cloud.kill("postgres")
    held.unlink()
    place.cloud.start("postgres")
    assert await device.wait(PubAck) == PubAck(sent.packet_id)
    assert place.stored(device) == [1, 2]


async def test_a_gateway_that_dies_after_the_commit_tells_by_the_position_what_is_stored(
    place: Field,
) -> None:
    device, epoch = await place.owned()
    place.cloud.restart("gateway", fault="gateway.commit.after:1:kill")
    hello = await device.greet()
    assert (hello.epoch, hello.stream, hello.seq) == (epoch, STREAM, 1)
    sent = device.telemetry(epoch, STREAM, 2, 3)
    await device.send(sent)
    await device.wait_closed()
    assert acks(device) == []
    await until(lambda: not place.cloud.parts["gateway"].alive)
    place.cloud.start("gateway")
    hello = await device.greet()
    assert (hello.epoch, hello.stream, hello.seq) == (epoch, STREAM, 3)
    again = Publish(sent.topic, sent.payload, sent.qos, sent.packet_id, dup=True)
    await device.send(encode(again, V5), device.telemetry(epoch, STREAM, 4))
    assert [ack.reason for ack in await device.wait_acks(2)] == [0, 0]
    assert place.stored(device) == [1, 2, 3, 4]


async def test_a_session_hears_of_its_claim_after_the_database_came_back(place: Field) -> None:
    """The connection for hints died with the database; a new one, or the poll, tells all the same."""
    device = place.device()
    await device.announce(await device.greet())
    place.cloud.kill("postgres")
    await ping(device)
    place.cloud.start("postgres")
    await place.claim(device)
    hello = await device.hello(lambda hello: hello.owned)
    await device.send(device.telemetry(hello.epoch, STREAM, 1))
    assert (await device.wait(PubAck)).reason == 0
    assert place.stored(device) == [1]


async def test_an_announcement_while_the_database_is_away_is_answered_when_it_is_kept(place: Field) -> None:
    device = place.device()
    hello = await device.greet()
    place.cloud.kill("postgres")
    announcing = asyncio.create_task(device.announce(hello))
    await ping(device)
    await ping(device)
    assert not announcing.done()
    place.cloud.start("postgres")
    assert (await announcing).reason == 0
    await place.claim(device)
    assert (await device.hello(lambda hello: hello.owned)).owned


async def test_a_database_that_hangs_is_waited_for(place: Field) -> None:
    """Sessions stay, log-ins are refused in time, and what was sent is acknowledged when it is stored."""
    device, epoch = await place.owned()
    stranger = place.device()
    sent = [device.telemetry(epoch, STREAM, seq) for seq in (2, 3)]
    with frozen(place.cloud):
        await device.send(*sent)
        await stranger.open()
        await stranger.send(stranger.connect_packet())
        with contextlib.suppress(TimeoutError):  # on a busy machine it takes a second wait
            await stranger.wait_closed()
        assert (await stranger.wait(ConnAck)).code == Reason.SERVER_UNAVAILABLE
        await ping(device)
        assert acks(device) == []
    assert [ack.packet_id for ack in await device.wait_acks(2)] == [packet.packet_id for packet in sent]
    assert place.stored(device) == [1, 2, 3]


async def test_a_gateway_stops_while_its_database_hangs(place: Field) -> None:
    device, epoch = await place.owned()
    with frozen(place.cloud):
        await device.send(device.telemetry(epoch, STREAM, 2))
        await ping(device)
        assert place.cloud.parts["gateway"].stop() == 0  # some 4 s on a quiet machine
    place.cloud.start("gateway")
    hello = await device.greet()
    assert (hello.stream, hello.seq) in {(STREAM, 1), (STREAM, 2)}
    await device.send(device.telemetry(epoch, STREAM, 2, 3))
    assert (await device.wait(PubAck)).reason == 0
    assert place.stored(device) == [1, 2, 3]
