"""The way out to the cloud: straight, or through an HTTP proxy by CONNECT (RFC 9110 section 9.3.6).

A proxy sees host, port and encrypted bytes: TLS is between the agent and the cloud, whose certificate is
checked as without a proxy, and names are looked up by the proxy. Links between servers of a building and UPSs
are in the own network and never go through it.
"""

from __future__ import annotations

import base64
import socket
import urllib.parse
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from agent.config import Settings

NONE: Final = "none"
DEFAULT_PORT: Final = 8080
MAX_ANSWER_BYTES: Final = 16_384
LOOPBACK: Final = frozenset({"localhost", "127.0.0.1", "::1"})
OK: Final = range(200, 300)  # RFC 9110: any of them means that the tunnel is there
AUTHENTICATION: Final = 407


class ProxyError(OSError):
    """The proxy cannot be reached, or does not connect us; the text says what to do."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.strerror = text


@dataclass(frozen=True, slots=True)
class Proxy:
    """Where a proxy is. What it wants to know of us is never shown."""

    host: str
    port: int
    authorization: str = field(default="", repr=False)

    @classmethod
    def parse(cls, text: str) -> Proxy:
        """``[http://][user:password@]host[:port]``; ValueError says what is wrong, without the password."""
        parts = urllib.parse.urlsplit(text if "://" in text else f"http://{text}")
        try:
            host, port = parts.hostname, parts.port or DEFAULT_PORT
        except ValueError:
            host, port = None, 0
        if parts.scheme != "http" or not host or parts.path not in {"", "/"} or parts.query:
            raise ValueError("a proxy is http://host:port, or http://user:password@host:port")
        authorization = ""
        if parts.username is not None:
            user, word = (urllib.parse.unquote(part or "") for part in (parts.username, parts.password))
            authorization = "Basic " + base64.b64encode(f"{user}:{word}".encode()).decode("ascii")
        return cls(host, port, authorization)

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class Way:
    """How hosts of the cloud are reached; without a proxy, straight."""

    proxy: Proxy | None = None
    straight: tuple[str, ...] = ()
    """Names, ``.suffixes`` or ``*`` that are reached without it, in lower case."""

    @classmethod
    def of(cls, settings: Settings) -> Way:
        """What the settings say, which were checked."""
        if settings.proxy in {None, NONE}:
            return cls()
        parts = (settings.no_proxy or "").replace(" ", ",").lower().split(",")
        return cls(Proxy.parse(settings.proxy or ""), tuple(part for part in parts if part))

    def proxy_to(self, host: str) -> Proxy | None:
        """The proxy on the way there, if any."""
        host = host.lower().rstrip(".")
        if self.proxy is None or host in LOOPBACK:
            return None
        for name in self.straight:
            bare = name.lstrip("*").lstrip(".")
            if name == "*" or (bare and (host == bare or host.endswith(f".{bare}"))):
                return None
        return self.proxy

    def connect(self, host: str, port: int, timeout_s: float) -> socket.socket:
        """A TCP connection to there, or a tunnel. OSError; ProxyError where it is the proxy's fault."""
        proxy = self.proxy_to(host)
        if proxy is None:
            return socket.create_connection((host, port), timeout=timeout_s)
        try:
            line = socket.create_connection((proxy.host, proxy.port), timeout=timeout_s)
        except OSError as error:
            raise ProxyError(
                f"no connection to the HTTP proxy {proxy} ({error.strerror or error}): check the setting"
                " proxy, or HTTPS_PROXY of the environment"
            ) from error
        try:
            _tunnel(line, proxy, host, port)
        except BaseException:
            line.close()
            raise
        return line


STRAIGHT: Final = Way()


def from_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The settings proxy and no_proxy as the usual variables have them; small letters win, as with curl."""
    found = {
        "proxy": environment.get("https_proxy") or environment.get("HTTPS_PROXY") or "",
        "no_proxy": environment.get("no_proxy") or environment.get("NO_PROXY") or "",
    }
    return {name: value for name, value in found.items() if value}


def _tunnel(line: socket.socket, proxy: Proxy, host: str, port: int) -> None:
    """Let the proxy connect us."""
    try:
        name = f"[{host}]" if ":" in host else host.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ProxyError(f"{host!r} is no name of a host") from error
    there = f"{name}:{port}"
    lines = [f"CONNECT {there} HTTP/1.1", f"Host: {there}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    try:
        line.sendall("\r\n".join([*lines, "", ""]).encode("ascii"))
        status, reason = _answer(line)
    except OSError as error:
        raise ProxyError(f"the HTTP proxy {proxy} does not answer ({error.strerror or error})") from error
    if status in OK:
        return
    if status == AUTHENTICATION:
        raise ProxyError(
            f"the HTTP proxy {proxy} wants to know who asks ({status} {reason}): set proxy ="
            ' "http://user:password@host:port"'
        )
    raise ProxyError(
        f"the HTTP proxy {proxy} does not connect to {there} ({status} {reason}): let it allow CONNECT to"
        " this host and port"
    )


def _answer(line: socket.socket) -> tuple[int, str]:
    """Status and reason. Read byte by byte: what comes after the blank line belongs to the tunnel."""
    said = b""
    while not said.endswith(b"\r\n\r\n"):
        byte = line.recv(1)
        if not byte:
            raise OSError("it hung up")
        said += byte
        if len(said) > MAX_ANSWER_BYTES:
            raise OSError("its answer does not end")
    version, _, rest = said.partition(b"\r\n")[0].decode("latin-1").partition(" ")
    status, _, reason = rest.partition(" ")
    if not version.startswith("HTTP/1.") or not (len(status) == 3 and status.isascii() and status.isdigit()):
        raise OSError("what answers there is no HTTP proxy")
    plain = "".join(sign for sign in reason if sign.isprintable())
    return int(status), plain[:100]
