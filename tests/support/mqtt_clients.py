"""MQTT clients that other people wrote, driven alike: log in, do some things in turn, tell what came back.

paho, gmqtt and aiomqtt, each with MQTT 3.1.1 and 5. The last two keep some answers to themselves; what they
were told is then read where they take it in.
"""

import asyncio
import contextlib
import ssl
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import aiomqtt
import gmqtt  # type: ignore[import-untyped]  # it has no types
import paho.mqtt.client as paho
from gmqtt.mqtt.constants import MQTTv50, MQTTv311  # type: ignore[import-untyped]  # it has no types
from gmqtt.mqtt.handler import MQTTConnectError  # type: ignore[import-untyped]  # it has no types
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from protocol.mqtt import V5

TIMEOUT_S: Final = 10.0
POLL_S: Final = 0.002
CLOSED: Final = 0
"""``Seen.ended`` of a connection that was closed without a word, as MQTT 3.1.1 has it."""
_RETURN_CODE: Final = {0x84: 1, 0x85: 2, 0x88: 3, 0x86: 4, 0x87: 5}
"""paho shows a 3.1.1 return code as the reason code of MQTT 5 that says the same."""


@dataclass(frozen=True, slots=True)
class Login:
    """Where a client connects, and as whom."""

    host: str
    port: int
    ca_pem: str
    client_id: str
    username: str
    password: str

    def tls(self) -> ssl.SSLContext:
        """Verifies the server, and nothing is switched off."""
        return ssl.create_default_context(cadata=self.ca_pem)


@dataclass(frozen=True, slots=True)
class Message:
    """Publish this."""

    topic: str
    payload: bytes
    qos: int = 1
    retain: bool = False


@dataclass(frozen=True, slots=True)
class Filter:
    """Subscribe to this."""

    name: str


Action = Message | Filter


@dataclass
class Seen:
    """What the client was told, as codes of the protocol version it speaks."""

    connect: int | None = None
    """Of the CONNACK."""
    acks: list[int] = field(default_factory=list)
    """Of each PUBACK."""
    granted: list[int] = field(default_factory=list)
    """Of each SUBACK."""
    ended: int | None = None
    """Reason of the server's DISCONNECT, or CLOSED; None if the connection stayed."""

    def answers(self, action: Action) -> int:
        """How many answers of this kind of action have come."""
        return len(self.granted if isinstance(action, Filter) else self.acks)


Driver = Callable[[Login, int, Sequence[Action]], Seen]


# --- paho ---------------------------------------------------------------------------------------------------


def drive_paho(login: Login, version: int, actions: Sequence[Action]) -> Seen:
    """With paho-mqtt; its network loop is a thread."""
    seen, changed = Seen(), threading.Condition()
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=login.client_id,
        protocol=MQTTProtocolVersion.MQTTv5 if version == V5 else MQTTProtocolVersion.MQTTv311,
        reconnect_on_failure=False,
    )
    client.tls_set_context(login.tls())
    client.username_pw_set(login.username, login.password)
    _watch_paho(client, version, seen, changed)

    def on_connect(_client: object, _data: object, _flags: object, code: Any, _more: object) -> None:
        with changed:
            seen.connect = _connack_of(code, version)
            changed.notify_all()

    client.on_connect = on_connect

    def wait(holds: Callable[[], bool]) -> None:
        with changed:
            if not changed.wait_for(lambda: holds() or seen.ended is not None, TIMEOUT_S):
                raise TimeoutError(f"paho waits in vain: {seen}")

    client.connect(login.host, login.port)
    client.loop_start()
    try:
        wait(lambda: seen.connect is not None)
        for action in actions if seen.connect == 0 else ():
            before = seen.answers(action)
            if isinstance(action, Filter):
                client.subscribe(action.name)
            else:
                client.publish(action.topic, action.payload, action.qos, action.retain)
            wait(lambda a=action, n=before: seen.answers(a) > n)  # type: ignore[misc]  # bound per action
    finally:
        client.on_disconnect = None
        client.disconnect()
        client.loop_stop()
    return seen


def _watch_paho(client: paho.Client, version: int, seen: Seen, changed: threading.Condition) -> None:
    """Note PUBACKs, SUBACKs and the end; version 2 callbacks of paho."""

    def on_publish(_client: object, _data: object, _id: int, code: Any, _more: object) -> None:
        with changed:
            seen.acks.append(code.value)
            changed.notify_all()

    def on_subscribe(_client: object, _data: object, _id: int, codes: Any, _more: object) -> None:
        with changed:
            seen.granted.extend(code.value for code in codes)
            changed.notify_all()

    def on_disconnect(_client: object, _data: object, flags: Any, code: Any, _more: object) -> None:
        with changed:
            told = flags.is_disconnect_packet_from_server and version == V5
            if seen.connect == 0:  # what follows a refused log-in is no news
                seen.ended = code.value if told else CLOSED
            changed.notify_all()

    client.on_publish = on_publish
    client.on_subscribe = on_subscribe
    client.on_disconnect = on_disconnect


def _connack_of(code: Any, version: int) -> int:
    value = int(code.value if isinstance(code, ReasonCode) else code)
    return value if version == V5 else _RETURN_CODE.get(value, value)


# --- aiomqtt ------------------------------------------------------------------------------------------------


def drive_aiomqtt(login: Login, version: int, actions: Sequence[Action]) -> Seen:
    """With aiomqtt, on an event loop of its own. It hides PUBACK reasons; they are read from under it."""
    return asyncio.run(_drive_aiomqtt(login, version, actions))


async def _drive_aiomqtt(login: Login, version: int, actions: Sequence[Action]) -> Seen:
    seen = Seen()
    client = aiomqtt.Client(
        login.host,
        login.port,
        identifier=login.client_id,
        username=login.username,
        password=login.password,
        protocol=aiomqtt.ProtocolVersion.V5 if version == V5 else aiomqtt.ProtocolVersion.V311,
        tls_context=login.tls(),
        timeout=TIMEOUT_S,
    )
    own = client._client.on_publish
    assert own is not None

    def on_publish(*values: Any) -> None:
        seen.acks.append(values[3].value)
        own(*values)

    client._client.on_publish = on_publish
    try:
        async with client:
            seen.connect = 0
            for action in actions:
                await _unless_it_ends(client, _act_aiomqtt(client, action, seen))
    except aiomqtt.exceptions.MqttConnectError as error:
        seen.connect = _connack_of(error.rc, version)
    except aiomqtt.MqttCodeError as error:
        told = isinstance(error.rc, ReasonCode) and version == V5 and error.rc.value != _UNTOLD
        seen.ended = error.rc.value if told and isinstance(error.rc, ReasonCode) else CLOSED
    return seen


_UNTOLD: Final = 0x80
"""What paho makes of a connection that broke without a DISCONNECT."""


async def _act_aiomqtt(client: aiomqtt.Client, action: Action, seen: Seen) -> None:
    if isinstance(action, Filter):
        codes: Any = await client.subscribe(action.name)
        seen.granted.extend(int(getattr(code, "value", code)) for code in codes)
    else:
        await client.publish(action.topic, action.payload, qos=action.qos, retain=action.retain)


async def _unless_it_ends(client: aiomqtt.Client, work: Awaitable[None]) -> None:
    """Do the work; where the connection ends before, raise how it ended."""
    working = asyncio.ensure_future(work)
    ending = asyncio.ensure_future(_hear_out(client))
    await asyncio.wait({working, ending}, return_when=asyncio.FIRST_COMPLETED)
    for task in (working, ending):
        if not task.done():
            task.cancel()
    outcomes = await asyncio.gather(working, ending, return_exceptions=True)
    if client._disconnected.done():
        client._disconnected.result()  # raises the reason
    if isinstance(outcomes[0], BaseException):
        raise outcomes[0]


async def _hear_out(client: aiomqtt.Client) -> None:
    async for _message in client.messages:
        pass


# --- gmqtt --------------------------------------------------------------------------------------------------


def drive_gmqtt(login: Login, version: int, actions: Sequence[Action]) -> Seen:
    """With gmqtt, on an event loop of its own. It does not read PUBACK reasons; they are read beside it."""
    return asyncio.run(_drive_gmqtt(login, version, actions))


_NEVER: Final = -2
"""gmqtt connects again while the failures (from 0) are no more than this; -1 means for ever."""


async def _drive_gmqtt(login: Login, version: int, actions: Sequence[Action]) -> Seen:
    seen = Seen()
    client = gmqtt.Client(login.client_id)
    client.set_config({"reconnect_retries": _NEVER})  # a token works once
    client.set_auth_credentials(login.username, login.password)
    _watch_gmqtt(client, seen)
    protocol_version = MQTTv50 if version == V5 else MQTTv311
    try:
        async with asyncio.timeout(TIMEOUT_S):
            await client.connect(login.host, login.port, ssl=login.tls(), version=protocol_version)
        seen.connect = 0
        for action in actions:
            before = seen.answers(action)
            if isinstance(action, Filter):
                client.subscribe(action.name)
            else:
                client.publish(action.topic, action.payload, qos=action.qos, retain=action.retain)
            await _until(lambda a=action, n=before: seen.answers(a) > n or seen.ended is not None)  # type: ignore[misc]  # bound per action
    except MQTTConnectError as error:
        seen.connect = int(error._code)
    finally:
        client.on_disconnect = _ignore
        with contextlib.suppress(OSError):
            await client.disconnect()
    return seen


def _ignore(*_values: object) -> None:
    """Our own end of the connection is no news."""


def _watch_gmqtt(client: Any, seen: Seen) -> None:
    handler = client._package_handler
    own_puback = handler._handle_puback_packet

    def on_puback(command: int, packet: bytes) -> None:
        seen.acks.append(packet[2] if len(packet) > 2 else 0)
        own_puback(command, packet)

    def on_subscribe(_client: object, _id: int, codes: Sequence[int], _properties: object) -> None:
        seen.granted.extend(codes)

    def on_disconnect(_client: object, packet: bytes, _error: object = None) -> None:
        if seen.connect == 0 and seen.ended is None and isinstance(packet, bytes):
            seen.ended = packet[0] if packet else CLOSED

    handler._handle_puback_packet = on_puback
    client.on_subscribe = on_subscribe
    client.on_disconnect = on_disconnect


async def _until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + TIMEOUT_S
    while not holds():
        if time.monotonic() > deadline:
            raise TimeoutError("the client waits in vain")
        await asyncio.sleep(POLL_S)


LIBRARIES: Final[Mapping[str, Driver]] = {
    "paho": drive_paho,
    "gmqtt": drive_gmqtt,
    "aiomqtt": drive_aiomqtt,
}
