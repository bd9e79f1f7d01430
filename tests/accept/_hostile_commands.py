"""Commands that must not be acted on, as many as are wanted, of every kind that is wrong in its own way."""

import json
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.provision import Signer
from protocol.codec import MAX_CONTROL_BYTES, decode, encode
from protocol.errors import DecodeError
from protocol.messages import Command
from protocol.signing import seal_control
from tests.agent.gateway_peer import GatewayPeer, now_ms

KINDS: Final = ("outlet_off", "outlet_on", "outlet_reboot")
SHARES: Final = {
    "malformed": 34,
    "duplicated": 16,
    "unsigned": 20,
    "wrong epoch": 10,
    "wrong kid": 10,
    "retained": 6,
    "late": 2,
    "meaningless": 2,
}
"""Of a hundred. The last two are answered, each with a write to the agent's disk and one to the cloud."""
ANSWERED: Final = frozenset({"late", "meaningless"})


@dataclass(frozen=True, slots=True)
class Hostile:
    """One payload for the control topic."""

    sort: str
    payload: bytes
    retain: bool = False


class Attacker:
    """Knows everything but how to be right: even the command key signs for it, where that does not help."""

    def __init__(self, peer: GatewayPeer, acted_on: Sequence[bytes], dice: random.Random) -> None:
        self._peer = peer
        self._acted_on = acted_on
        self._dice = dice
        self._stranger = Ed25519PrivateKey.generate()
        self._makers: dict[str, Callable[[], Hostile]] = {
            "malformed": self._malformed,
            "duplicated": lambda: Hostile("duplicated", dice.choice(acted_on)),
            "unsigned": self._unsigned,
            "wrong epoch": lambda: self._sealed("wrong epoch", epoch=self._other_epoch()),
            "wrong kid": lambda: self._sealed("wrong kid", kid=self._other_kid()),
            "retained": lambda: replace(self._sealed("retained"), retain=True),
            "late": self._late,
            "meaningless": self._meaningless,
        }

    def stream(self, count: int) -> Iterator[Hostile]:
        """So many, mixed by the dice."""
        sorts, weights = list(SHARES), list(SHARES.values())
        for _ in range(count):
            yield self._makers[self._dice.choices(sorts, weights)[0]]()

    def sound(self, **changes: object) -> Command:
        """A reboot that would be obeyed, but for the changes."""
        kind = str(changes.pop("kind", self._dice.choice(KINDS)))
        changes.setdefault("arguments", {"group": "sog0", "force": True})
        return self._peer.command(kind, **changes)

    def _sealed(self, sort: str, by: Signer | None = None, **changes: object) -> Hostile:
        signer = by or self._peer.orders
        return Hostile(sort, seal_control(self.sound(**changes), signer.key_id, signer.key))

    def _other_epoch(self) -> int:
        assert self._peer.hello is not None
        epoch = self._peer.hello.epoch
        return self._dice.choice([0, 1, epoch - 1, epoch + 1, 2**62, -epoch])

    def _other_kid(self) -> str:
        kid = self._peer.kid
        return self._dice.choice(["", kid[:-1], kid + "A", kid[::-1], kid.swapcase(), "A" * len(kid)])

    def _malformed(self) -> Hostile:
        sound = self._sealed("malformed").payload
        at = self._dice.randrange(len(sound))
        value = json.loads(sound)
        field = self._dice.choice(list(value))
        forms: tuple[Callable[[], bytes], ...] = (
            lambda: b"",
            lambda: self._dice.randbytes(self._dice.randrange(400)),
            lambda: sound[:at],
            lambda: sound + sound,
            lambda: sound[:at] + bytes([sound[at] ^ 1 << self._dice.randrange(8)]) + sound[at + 1 :],
            lambda: json.dumps({name: item for name, item in value.items() if name != field}).encode(),
            lambda: json.dumps(value | {field: self._dice.choice([None, 7, [], {}, "", "x"])}).encode(),
            lambda: json.dumps(
                value | {"kind": self._dice.choice(["hello", "watch", "desired", "x"])}
            ).encode(),
            lambda: b"[" * 5000,
            lambda: b" " * 20_000,
        )
        payload = self._dice.choice(forms)()
        return Hostile("malformed", b"{" if _same(payload, sound) else payload)

    def _unsigned(self) -> Hostile:
        body = encode(self.sound())
        key_id = self._peer.orders.key_id
        forms: tuple[Callable[[], bytes], ...] = (
            lambda: seal_control(self.sound(), key_id, self._stranger),
            lambda: seal_control(self.sound(), self._peer.signer.key_id, self._peer.signer.key),
            lambda: seal_control(self.sound(), key_id, self._peer.signer.key),
            lambda: seal_control(self.sound(), "root", self._stranger),
            lambda: encode(_Envelope("command", key_id, body, b"")),
            lambda: encode(_Envelope("command", key_id, body, bytes(64))),
            lambda: encode(_Envelope("command", key_id, body, self._signature_of_another())),
            lambda: encode(_Envelope("command", "", body, self._dice.randbytes(64))),
        )
        return Hostile("unsigned", self._dice.choice(forms)())

    def _signature_of_another(self) -> bytes:
        return _opened(self._dice.choice(self._acted_on))

    def _late(self) -> Hostile:
        ago_ms = self._dice.choice([1, 1_000, 60_000, 86_400_000])
        life_ms = self._dice.randrange(1, 60_000)
        ends_ms = now_ms() - ago_ms
        return self._sealed("late", issued_ms=ends_ms - life_ms, expires_ms=ends_ms)

    def _meaningless(self) -> Hostile:
        now = now_ms()
        changes: dict[str, object] = self._dice.choice(
            [
                {"kind": "outlet"},
                {"kind": "OUTLET_OFF"},
                {"arguments": {}},
                {"arguments": {"group": "sog3"}},
                {"arguments": {"group": "all"}},
                {"arguments": {"group": "sog0", "force": "yes"}},
                {"arguments": {"group": "sog0", "register": 1538}},
                {"expires_ms": now + 120_000},
                {"issued_ms": now + 100_000, "expires_ms": now + 150_000},
                {"issued_ms": now, "expires_ms": now},
            ]
        )
        return self._sealed("meaningless", None, **changes)


@dataclass(frozen=True, slots=True)
class _Envelope:
    """The shape of a sealed control message."""

    kind: str
    key_id: str
    body: bytes
    signature: bytes


def _opened(sealed: bytes) -> bytes:
    """The signature in a sealed message."""
    return decode(sealed, _Envelope, MAX_CONTROL_BYTES).signature


def _same(payload: bytes, sound: bytes) -> bool:
    """Whether it says the same in other letters, as base64 with another last bit does: that is not wrong."""
    try:
        return decode(payload, _Envelope, MAX_CONTROL_BYTES) == decode(sound, _Envelope, MAX_CONTROL_BYTES)
    except DecodeError:
        return False
