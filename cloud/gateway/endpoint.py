"""The listener of the gateway: TCP, TLS, and the life of the process."""

import asyncio
import contextlib
import resource
import signal
import socket
import ssl
from collections import Counter
from typing import Final

import structlog
import uvloop
from prometheus_client import start_http_server

from cloud import background
from cloud.config import Settings
from cloud.gateway.gateway import Gateway
from cloud.gateway.metrics import Metrics
from cloud.gateway.session import Voice
from cloud.postgres.pool import make_pool
from cloud.process import keep_what_is_loaded
from cloud.provision import load_key_set, load_signer, sealed_key_set
from protocol.messages import KeyUse

BACKLOG: Final = 1024
HANDSHAKE_TIMEOUT_S: Final = 10.0
SHUTDOWN_TIMEOUT_S: Final = 2.0
MAX_HANDSHAKES: Final = 2048
"""Handshakes at once; more wait in the backlog."""
CROWDED: Final = MAX_HANDSHAKES // 2
"""From here on one address may have FAIR_SHARE of them, so that half handshakes do not shut the door."""
FAIR_SHARE: Final = MAX_HANDSHAKES // 16
ACCEPT_PAUSE_S: Final = 0.2
OTHER_DESCRIPTORS: Final = 256

log = structlog.get_logger()


def run(settings: Settings) -> int:
    """Serve devices until SIGTERM or SIGINT. The exit status."""
    keep_what_is_loaded()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(serve(settings))


async def serve(settings: Settings) -> int:
    """Serve devices until the process is asked to stop, or cannot go on (status 1)."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    state_dir = settings.state_dir
    voice = Voice(
        load_signer(state_dir, KeyUse.NOTICE), sealed_key_set(state_dir), load_key_set(state_dir).version
    )
    context = tls_context(settings)
    raise_descriptor_limit(settings.max_sessions)
    with open_listener(settings.gateway_host, settings.gateway_port) as listener:
        pool = make_pool(settings.dsn, name="gateway", max_size=settings.pool_size)
        await pool.open(wait=False)
        try:
            metrics = Metrics()
            gateway = Gateway(settings, pool, voice, metrics)
            gateway.start()
            if settings.gateway_metrics_port:
                start_http_server(settings.gateway_metrics_port, "127.0.0.1", metrics.registry)
            log.info("listening", host=settings.gateway_host, port=listener.getsockname()[1])
            parts = {**gateway.hub.parts(), "accept": accept(listener, context, gateway)}
            try:
                async with background.running(parts):
                    ends = [asyncio.create_task(event.wait()) for event in (stopping, gateway.failed)]
                    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            except ExceptionGroup:
                log.exception("the gateway cannot go on")
            await gateway.stop()
            log.info("stopped")
            return 0 if stopping.is_set() else 1
        finally:
            await pool.close()


def raise_descriptor_limit(sessions: int) -> None:
    """Allow a descriptor for each session and handshake, as far as the system lets us."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = sessions + MAX_HANDSHAKES + OTHER_DESCRIPTORS
    possible = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft != resource.RLIM_INFINITY and soft < possible:
        resource.setrlimit(resource.RLIMIT_NOFILE, (possible, hard))
    if possible < wanted:
        log.warning("fewer descriptors than max_sessions may need", limit=possible, wanted=wanted)


def tls_context(settings: Settings) -> ssl.SSLContext:
    """TLS 1.2 or newer with the server's certificate; devices show who they are by their token."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    certificate, key = settings.certificate_paths
    context.load_cert_chain(certificate, key)
    return context


def open_listener(host: str, port: int) -> socket.socket:
    """A listening socket. OSError where the port is taken."""
    family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.setblocking(False)
    try:
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


class Place:
    """A peer's place at the door, until it has logged in or is gone."""

    def __init__(self, door: "Door", address: str) -> None:
        self._door: Door | None = door
        self._address = address

    def leave(self) -> None:
        """Give it back, once."""
        if self._door is not None:
            self._door.leave(self._address)
            self._door = None


class Door:
    """Who is shaking hands or has not logged in yet, by address."""

    def __init__(self) -> None:
        self._of_address: Counter[str] = Counter()
        self._free = asyncio.Semaphore(MAX_HANDSHAKES)

    async def wait_free(self) -> None:
        """Until there is room for one more."""
        await self._free.acquire()

    def enter(self, address: str) -> bool:
        """Whether this address may begin a handshake, after :meth:`wait_free`."""
        if self._of_address.total() >= CROWDED and self._of_address[address] >= FAIR_SHARE:
            self._free.release()
            return False
        self._of_address[address] += 1
        return True

    def leave(self, address: str) -> None:
        """A handshake has ended, either way."""
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        self._free.release()

    def cancel(self) -> None:
        """Give back what wait_free took."""
        self._free.release()


async def accept(listener: socket.socket, context: ssl.SSLContext, gateway: Gateway) -> None:
    """Accept connections until cancelled."""
    loop = asyncio.get_running_loop()
    door = Door()
    tasks: set[asyncio.Task[None]] = set()
    try:
        while True:
            await door.wait_free()
            try:
                connected, address = await loop.sock_accept(listener)
            except OSError as error:  # out of descriptors, or a peer that has gone already
                door.cancel()
                gateway.warn("cannot accept", reason=str(error))
                await asyncio.sleep(ACCEPT_PAUSE_S)
                continue
            peer = f"{address[0]}:{address[1]}"
            if not door.enter(address[0]):
                connected.close()
                gateway.metrics.handshakes_failed.inc()
                gateway.warn("no TLS handshake", peer=peer, reason="too many handshakes of this address")
                continue
            place = Place(door, address[0])
            task = loop.create_task(shake_hands(connected, peer, context, gateway, place))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
    finally:
        for task in tasks:
            task.cancel()


async def shake_hands(
    connected: socket.socket, peer: str, context: ssl.SSLContext, gateway: Gateway, place: Place
) -> None:
    """The TLS handshake of one connection; why it failed goes to the log."""
    connected.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection = gateway.connect(peer, place.leave)
    shaken = False
    try:
        await asyncio.get_running_loop().connect_accepted_socket(
            lambda: connection,
            connected,
            ssl=context,
            ssl_handshake_timeout=HANDSHAKE_TIMEOUT_S,
            ssl_shutdown_timeout=SHUTDOWN_TIMEOUT_S,
        )
        shaken = True
    except (OSError, TimeoutError, EOFError) as error:
        gateway.discard(connection)
        gateway.metrics.handshakes_failed.inc()
        gateway.warn("no TLS handshake", peer=peer, reason=str(error) or type(error).__name__)
        with contextlib.suppress(OSError):
            connected.close()
    finally:
        if not shaken:
            place.leave()
