"""One device's session: who it is, where its key stands, and what the cloud says to it."""

import time
from dataclasses import dataclass, field
from typing import Protocol

from cloud.core.session import UNOWNED_BURST, UNOWNED_PERIOD_MS, Bucket, Refusal, Standing
from cloud.core.upload import Fence
from cloud.provision import Signer
from protocol import faults, topics
from protocol.messages import Hello, Watch
from protocol.mqtt import Publish, encode
from protocol.signing import seal_control

WATCH_PAUSE_MS = 5_000
"""A lease that somebody renews is told to the device at most this often."""

ASIDE_BURST = 64
"""Refused messages of one session that are kept and logged at once…"""
ASIDE_PERIOD_MS = 10_000
"""…and one more in this time: a device that goes wrong must not fill log and disk."""


class Link(Protocol):
    """What carries a session. Event loop only."""

    def send(self, packet: bytes) -> None:
        """Write a packet, if the connection is still there."""

    def flush(self) -> None:
        """Send the PUBACKs that are decided, and read on."""

    def end(self, refusal: Refusal) -> None:
        """End the connection for this reason."""

    def forget_template(self) -> None:
        """Judge the next message anew."""

    @property
    def suspended(self) -> bool:
        """Whether we do not read, so that the peer's silence says nothing."""


@dataclass(frozen=True, slots=True)
class Voice:
    """What the gateway speaks with: the notice key, and the key set that vouches for it."""

    notice: Signer
    key_set: bytes
    key_set_version: int


@dataclass(slots=True, eq=False)
class Session:
    """A logged-in connection of one device key. ``login_ms`` is the ``iat`` of its token."""

    link: Link
    voice: Voice
    kid: str
    device_id: int
    login_ms: int
    version: int
    keep_alive_s: int
    peer: str
    nonce: bytes
    standing: Standing
    fence: Fence | None = None
    """What the writer believes of ``latest``. Its writer's alone."""
    heard_s: float = 0.0
    """Monotonic time of the last bytes."""
    announced_s: float = field(default_factory=time.monotonic)
    """Monotonic time of the last announcement, at first of the log-in."""
    heard_ms: int = 0
    """The server's clock at them, to be noted; 0 once noted."""
    lane: int = 0
    """Which of the gateway's writers has what it sent last."""
    waiting: int = 0
    """Messages that the writer has not decided."""
    subscribed: bool = False
    closed: bool = False
    taken_over: bool = False
    """Whether it was noted that another log-in took its place."""
    watch_told_ms: int = 0
    settings_told: int = 0
    """Version of the wanted settings that it was told last."""
    quota: Bucket = field(default_factory=lambda: Bucket(UNOWNED_BURST, UNOWNED_PERIOD_MS))
    aside: Bucket = field(default_factory=lambda: Bucket(ASIDE_BURST, ASIDE_PERIOD_MS))
    """How many of its refused messages are kept; the rest is counted. Its writer's alone."""
    not_kept: int = 0
    """Refused messages that were only counted since the last one that was kept."""
    _n: int = 0

    def say_hello(self, now_ms: int) -> None:
        """Tell the device what the cloud holds of it."""
        standing = self.standing
        self._n += 1
        hello = Hello(
            kid=self.kid,
            login_ms=self.login_ms,
            n=self._n,
            server_time_ms=now_ms,
            nonce=self.nonce,
            owned=standing.owned,
            epoch=standing.epoch,
            stream=standing.stream,
            seq=standing.seq,
            settings_version=standing.settings_version,
            key_set_version=self.voice.key_set_version,
            since_ms=standing.since_ms,
            settings_revision=standing.settings_revision,
        )
        faults.reach("gateway.hello")
        self.say(seal_control(hello, self.voice.notice.key_id, self.voice.notice.key))

    def say_watch(self, now_ms: int) -> None:
        """Tell the device how long somebody will look, if somebody does and it has not just been told."""
        left_ms = self.standing.watch_until_ms - now_ms
        if not self.subscribed or left_ms <= 0 or now_ms < self.watch_told_ms + WATCH_PAUSE_MS:
            return
        self.watch_told_ms = now_ms
        self._n += 1
        watch = Watch(kid=self.kid, login_ms=self.login_ms, n=self._n, seconds=-(-left_ms // 1000))
        self.say(seal_control(watch, self.voice.notice.key_id, self.voice.notice.key))

    @property
    def awaits_settings(self) -> bool:
        """Whether somebody wants settings that this session has not been told of."""
        standing = self.standing
        news = standing.settings_open and standing.settings_version != self.settings_told
        return news and self.subscribed and not self.closed

    def say(self, payload: bytes) -> None:
        """Publish on the device's control topic (QoS 0), if it has subscribed."""
        if self.subscribed:
            self.link.send(encode(Publish(topics.control(self.kid), payload), self.version))
