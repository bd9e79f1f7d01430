"""One MQTT session over a blocking TLS socket, with nothing between a message and its PUBACK."""

import socket
import ssl
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

from protocol.mqtt import V5, ConnAck, Connect, Disconnect, Packet, PubAck, Publish, Reader, encode
from tests.accept import CheckError, expect
from tests.support.mqtt_clients import Login

TIMEOUT_S = 15.0
KEEP_ALIVE_S = 60


def open_tcp(host: str, port: int) -> socket.socket:
    """A plain connection that sends at once."""
    line = socket.create_connection((host, port), TIMEOUT_S)
    line.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return line


def open_tls(host: str, port: int, ca_pem: str) -> ssl.SSLSocket:
    """A connection after its TLS handshake; the server is verified."""
    context = ssl.create_default_context(cadata=ca_pem)
    return context.wrap_socket(open_tcp(host, port), server_hostname=host)


def name_of(line: socket.socket) -> str:
    """What the server calls our end of it."""
    host, port = line.getsockname()[:2]
    return f"{host}:{port}"


@dataclass
class Session:
    """A logged-in device."""

    line: ssl.SSLSocket
    version: int
    _reader: Reader
    _next_id: int = 0

    @classmethod
    def open(cls, login: Login, version: int = V5) -> Self:
        """Log in. CheckError where that is refused."""
        line = open_tls(login.host, login.port, login.ca_pem)
        session = cls(line, version, Reader(from_client=False, version=version))
        password = login.password.encode("ascii")
        line.sendall(
            encode(Connect(login.client_id, version, True, KEEP_ALIVE_S, login.username, password), version)
        )
        answer = session._receive()
        expect(isinstance(answer, ConnAck) and answer.code == 0, f"the log-in was answered by {answer}")
        return session

    def publish(self, topic: str, payload: bytes) -> int:
        """Publish, wait for the PUBACK: its reason. CheckError where the connection ends instead."""
        self._next_id = self._next_id % 65535 + 1
        self.line.sendall(encode(Publish(topic, payload, 1, self._next_id), self.version))
        answer = self._receive()
        if not isinstance(answer, PubAck):
            raise CheckError(f"a message was answered by {answer}")
        expect(answer.packet_id == self._next_id, "a PUBACK is out of order")
        return answer.reason

    def close(self) -> None:
        """Disconnect."""
        self.line.sendall(encode(Disconnect(), self.version))
        self.line.close()

    def _receive(self) -> Packet:
        while True:
            data = self.line.recv(65536)
            if not data:
                raise CheckError("the gateway closed a connection that had done no wrong")
            for packet in self._reader.feed(data):
                return packet


def login_to_json(login: Login) -> dict[str, Any]:
    """For another process."""
    return asdict(login)


def login_from_json(found: Mapping[str, Any]) -> Login:
    """As `login_to_json` wrote it."""
    return Login(**found)
