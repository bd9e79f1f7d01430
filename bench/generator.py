"""Many devices' worth of telemetry from one small process: raw sockets, TLS, QoS 1, packets patched by numpy.

``python -m bench.generator`` reads a :class:`bench.load.Load` as JSON from standard input, publishes, waits
for the last PUBACK, and prints a :class:`bench.load.Outcome` as JSON. Two ways:

* closed loop (``rate`` 0): each connection keeps ``window`` messages unacknowledged, for ``seconds``;
* fixed rate: messages become due evenly, all connections together ``rate`` a second. Latency counts from when
  a message was *due*, so a server that stalls cannot hide by making the generator wait.

PUBACKs have to come in the order of the PUBLISHes; one that does not ends the run.
"""

import contextlib
import gc
import selectors
import socket
import ssl
import sys
import time
from typing import Final

import msgspec
import numpy as np
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from numpy.typing import NDArray

from bench.load import Book, Load, LoadError, Outcome, Sender
from bench.wire import Packets
from protocol.errors import Reason
from protocol.mqtt import (
    V5,
    ConnAck,
    Connect,
    Disconnect,
    MqttError,
    Packet,
    Property,
    PubAck,
    decode,
    encode,
    find_packet,
)
from protocol.signing import TOKEN_LIFE_MS, login_token

TICK_S: Final = 0.001
CHUNK_BYTES: Final = 262_144
QUIET_S: Final = 20.0  # nothing acknowledged for so long: the server is stuck, the run ends
PUBACK_HEAD: Final = 0x4002  # first byte and remaining length of a PUBACK without reason (success)


class Line:
    """One TLS connection of a logged-in device. Not blocking after :meth:`log_in`."""

    def __init__(self, load: Load, sender: Sender, context: ssl.SSLContext) -> None:
        self._load = load
        self._sender = sender
        self.socket = socket.create_connection((load.host, load.port), timeout=10)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=load.host)
        self._unsent = memoryview(b"")
        self._rest = b""
        self.book = Book(load.window)
        rows = max(1, min(load.window, CHUNK_BYTES // (200 + 600 * load.shape.samples)))
        self.rows = rows if load.rate else load.window
        self.packets = Packets(sender.kid, sender.epoch, sender.stream, load.shape, self.rows)

    def log_in(self) -> None:
        """TLS handshake, CONNECT, CONNACK; LoadError where the server refuses or grants a smaller window."""
        while True:
            try:
                self._tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                self._flush_blocking()
                self._receive_blocking()
        now_ms = time.time_ns() // 1_000_000
        token = login_token(
            Ed25519PrivateKey.from_private_bytes(bytes.fromhex(self._sender.private_hex)),
            audience=self._load.audience,
            device_id=self._sender.device_id,
            iat_ms=now_ms,
            exp_ms=now_ms + TOKEN_LIFE_MS,
        )
        kid = self._sender.kid
        self._tls.write(encode(Connect(kid, V5, username=kid, password=token.encode()), V5))
        self._flush_blocking()
        while not (packets := self._take(self._read())):
            self._receive_blocking()
        self._check_connack(packets[0])
        self.socket.setblocking(False)

    def _check_connack(self, packet: Packet) -> None:
        if not isinstance(packet, ConnAck) or packet.code != Reason.SUCCESS:
            raise LoadError(f"the server refuses the log-in: {packet!r}")
        granted = packet.properties.get(Property.RECEIVE_MAXIMUM, 65_535)
        if not isinstance(granted, int) or granted < self._load.window:
            raise LoadError(f"the server grants {granted!r} messages in flight, not {self._load.window}")

    def _read(self) -> bytes:
        """All plain text there is, after the incomplete packet of the last time."""
        parts = [self._rest]
        try:
            while part := self._tls.read(65_536):
                parts.append(part)
        except ssl.SSLWantReadError:
            pass
        return b"".join(parts)

    def _take(self, data: bytes) -> list[Packet]:
        """Its complete packets; the rest is kept."""
        packets, at = [], 0
        while found := find_packet(data, at, 65_536):
            body, end = found
            packets.append(decode(data[at], data[body:end], V5, from_client=False))
            at = end
        self._rest = data[at:]
        return packets

    def _flush_blocking(self) -> None:
        self.socket.sendall(self._outgoing.read())

    def _receive_blocking(self) -> None:
        data = self.socket.recv(65_536)
        if not data:
            raise LoadError("the server closed the connection before CONNACK")
        self._incoming.write(data)

    @property
    def wants_write(self) -> bool:
        """Bytes are left that the socket did not take."""
        return bool(self._unsent)

    def publish(self, count: int, due_ns: NDArray[np.int64]) -> None:
        """Send the next ``count`` messages."""
        packets = self.packets.fill(self.book.sent, count, time.time_ns() // 1_000_000)
        self.book.add(due_ns)
        self._tls.write(packets)
        self._unsent = memoryview(bytes(self._unsent) + self._outgoing.read())
        self.flush()

    def flush(self) -> None:
        """Give the socket what it takes now."""
        try:
            sent = self.socket.send(self._unsent)
        except BlockingIOError:
            return
        self._unsent = self._unsent[sent:]

    def receive(self) -> None:
        """Take what has arrived and book the PUBACKs."""
        try:
            data = self.socket.recv(262_144)
        except BlockingIOError:
            return
        if not data:
            raise LoadError("the server closed the connection")
        self._incoming.write(data)
        self._confirm(self._read())

    def _confirm(self, data: bytes) -> None:
        """Book plain PUBACKs at once, anything else packet by packet."""
        now_ns = time.monotonic_ns()
        pairs = np.frombuffer(data, ">u2", len(data) // 4 * 2).reshape(-1, 2)
        if (pairs[:, 0] == PUBACK_HEAD).all():
            self.book.confirm(pairs[:, 1].astype(np.int64), now_ns)
            self._rest = data[len(pairs) * 4 :]
            return
        for packet in self._take(data):
            if isinstance(packet, Disconnect):
                raise LoadError(f"the server closes the connection: {packet}")
            if isinstance(packet, PubAck):
                self.book.rejected += packet.reason >= Reason.UNSPECIFIED
                self.book.confirm(np.array([packet.packet_id]), now_ns)

    def say_goodbye(self) -> None:
        """DISCONNECT; whoever made the line closes its socket."""
        self.socket.setblocking(True)
        self._tls.write(encode(Disconnect(), V5))
        self._flush_blocking()


def run(load: Load) -> Outcome:
    """Log in, publish, wait for every PUBACK. LoadError as said there."""
    context = ssl.create_default_context(cafile=load.ca_file)
    with contextlib.ExitStack() as stack:
        selector = stack.enter_context(selectors.DefaultSelector())
        lines = []
        for sender in load.senders:
            lines.append(Line(load, sender, context))
            stack.callback(lines[-1].socket.close)
        for line in lines:
            line.log_in()
            selector.register(line.socket, selectors.EVENT_READ, line)
        gc.collect()
        gc.freeze()  # what measures must not pause by itself
        cpu_s = time.process_time()
        begin_ns = time.monotonic_ns()
        late_ns = (_fixed_rate if load.rate else _closed_loop)(load, lines, selector)
        _drain(lines, selector)
        end_ns = time.monotonic_ns()
        cpu_s = time.process_time() - cpu_s
        for line in lines:
            line.say_goodbye()
    return _outcome(lines, begin_ns, end_ns, late_ns, cpu_s)


def _outcome(lines: list[Line], begin_ns: int, end_ns: int, late_ns: int, cpu_s: float) -> Outcome:
    books = [line.book for line in lines]
    waits = np.concatenate([part for book in books for part in book.waits_ns]) / 1e6
    p50, p99, worst = np.percentile(waits, (50, 99, 100))
    return Outcome(
        acknowledged=sum(book.acknowledged - book.rejected for book in books),
        rejected=sum(book.rejected for book in books),
        begin_ns=begin_ns,
        end_ns=end_ns,
        payload_bytes=lines[0].packets.payload_bytes,
        p50_ms=round(float(p50), 3),
        p99_ms=round(float(p99), 3),
        max_ms=round(float(worst), 3),
        late_ms=round(late_ns / 1e6, 3),
        cpu_s=round(cpu_s, 3),
        connections=tuple(book.acknowledged - book.rejected for book in books),
    )


def _serve(lines: list[Line], selector: selectors.BaseSelector, timeout_s: float) -> bool:
    """One round of reading and writing; whether anything was acknowledged."""
    for line in lines:
        wanted = selectors.EVENT_READ | (selectors.EVENT_WRITE if line.wants_write else 0)
        if selector.get_key(line.socket).events != wanted:
            selector.modify(line.socket, wanted, line)
    before = sum(line.book.acknowledged for line in lines)
    for key, events in selector.select(timeout_s):
        if events & selectors.EVENT_WRITE:
            key.data.flush()
        if events & selectors.EVENT_READ:
            key.data.receive()
    return sum(line.book.acknowledged for line in lines) > before


def _closed_loop(load: Load, lines: list[Line], selector: selectors.BaseSelector) -> int:
    end_ns = time.monotonic_ns() + int(load.seconds * 1e9)
    quota = load.messages // len(lines) if load.messages else sys.maxsize
    quiet_ns = time.monotonic_ns()
    low_water = max(1, load.window // 16)  # wait for this much room: few large writes, as an agent does
    while True:
        now_ns = time.monotonic_ns()
        if quota == sys.maxsize and now_ns >= end_ns:
            return 0
        if all(line.book.sent >= quota for line in lines):
            return 0
        for line in lines:
            count = min(line.book.room, line.rows, quota - line.book.sent)
            if count >= min(low_water, quota - line.book.sent) and count > 0 and not line.wants_write:
                line.publish(count, np.full(count, now_ns))
        if _serve(lines, selector, 0.1):
            quiet_ns = now_ns
        _check_quiet(quiet_ns)


def _fixed_rate(load: Load, lines: list[Line], selector: selectors.BaseSelector) -> int:
    """Publish what is due; the connections' ticks are spread over the tick. Returns the greatest lateness."""
    per_tick = load.rate * TICK_S / len(lines)
    tick_ns = int(TICK_S * 1e9)
    shift_ns = tick_ns // len(lines)
    begin_ns = time.monotonic_ns()
    total = int(load.messages or load.rate * load.seconds) // len(lines)
    late_ns, quiet_ns = 0, begin_ns
    while any(line.book.sent < total for line in lines):
        now_ns = time.monotonic_ns()
        next_ns = now_ns + tick_ns
        for place, line in enumerate(lines):
            start_ns = begin_ns + place * shift_ns
            due = min(total, int((now_ns - start_ns) // tick_ns * per_tick))
            count = min(due - line.book.sent, line.book.room, line.rows)
            if count > 0 and not line.wants_write:
                numbers = np.arange(line.book.sent, line.book.sent + count)
                due_ns = start_ns + (np.ceil((numbers + 1) / per_tick) * tick_ns).astype(np.int64)
                late_ns = max(late_ns, now_ns - int(due_ns[0]))
                line.publish(count, due_ns)
            next_ns = min(next_ns, start_ns + ((now_ns - start_ns) // tick_ns + 1) * tick_ns)
        if _serve(lines, selector, max(0.0, (next_ns - time.monotonic_ns()) / 1e9)):
            quiet_ns = now_ns
        _check_quiet(quiet_ns)
    return late_ns


def _drain(lines: list[Line], selector: selectors.BaseSelector) -> None:
    quiet_ns = time.monotonic_ns()
    while any(line.book.acknowledged < line.book.sent for line in lines):
        if _serve(lines, selector, 0.1):
            quiet_ns = time.monotonic_ns()
        _check_quiet(quiet_ns)


def _check_quiet(since_ns: int) -> None:
    if time.monotonic_ns() - since_ns > QUIET_S * 1e9:
        raise LoadError(f"nothing was acknowledged for {QUIET_S:.0f} s")


def main() -> int:
    """Run the load on standard input; the outcome goes to standard output."""
    load = msgspec.json.decode(sys.stdin.buffer.read(), type=Load)
    try:
        outcome = run(load)
    except (LoadError, MqttError, OSError) as error:
        print(f"bench.generator: {error}", file=sys.stderr)
        return 1
    print(msgspec.json.encode(outcome).decode())
    return 0


if __name__ == "__main__":
    sys.exit(main())
