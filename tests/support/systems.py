"""A server of a building system, as the cloud meets it: its key, its reports, its requests, its codes."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from cloud.services.kit import Kit
from cloud.services.system_exchange import exchange
from protocol.messages import KeySet, SystemKey
from protocol.system import (
    MAX_STATE_BYTES,
    Attachment,
    System,
    SystemId,
    SystemReport,
    SystemState,
    UpsUnder,
)
from protocol.system_code import NONCE_BYTES, OpenRequest, Operation, Registered, read_code, write_request
from protocol.system_keys import (
    Secret,
    cloud_secret,
    make_system_key,
    read_envelope,
    seal,
    system_key,
    unseal,
)


@dataclass(frozen=True)
class TestCloudKeys:
    """The cloud's keys for systems: private halves, and the key set that servers are given."""

    __test__ = False
    private: Mapping[int, X25519PrivateKey]

    @classmethod
    def make(cls, *numbers: int) -> "TestCloudKeys":
        """New keys of these numbers; without any, number 1."""
        return cls({number: X25519PrivateKey.generate() for number in numbers or (1,)})

    @property
    def key_set(self) -> KeySet:
        """What servers know."""
        systems = tuple(
            SystemKey(
                number=number, pub=key.public_key().public_bytes_raw(), not_before_ms=0, not_after_ms=1 << 50
            )
            for number, key in self.private.items()
        )
        return KeySet(version=1, issued_ms=0, keys=(), systems=systems)


@dataclass
class TestServer:
    """A server with one database. ``refused`` reports raise what the service raises."""

    __test__ = False
    keys: TestCloudKeys
    kind: System = System.STANDALONE
    name: str = "Server"
    counter: int = 0
    open_request: OpenRequest | None = None
    key: X25519PrivateKey = field(init=False)
    system_id: SystemId = field(init=False)

    def __post_init__(self) -> None:
        self.delete_database()

    def delete_database(self) -> None:
        """A new System ID."""
        self.key, self.system_id = make_system_key(X25519PrivateKey.generate)
        self.open_request = None

    @property
    def id(self) -> str:
        """The System ID as text."""
        return self.system_id.value

    def secret(self, number: int | None = None) -> Secret:
        """What it shares with the cloud's key of this number, or its newest."""
        found = system_key(self.keys.key_set, number)
        return cloud_secret(self.key, found.pub, self.system_id, found.number)

    # --- online ---------------------------------------------------------------------------------------------

    def attachment(self, to: "TestServer | None") -> bytes:
        """Its own sealed word that it belongs to this Enterprise Server, or to none."""
        self.counter += 1
        word = Attachment(system_id=self.id, to="" if to is None else to.id, counter=self.counter)
        return seal(word, self.system_id, self.secret(), 1)

    def report(
        self,
        *,
        register: bool = False,
        accept: str = "",
        decline: str = "",
        attachment: bytes = b"",
        attached: tuple[bytes, ...] = (),
        ups: tuple[UpsUnder, ...] = (),
    ) -> bytes:
        """A sealed report with the next counter."""
        self.counter += 1
        report = SystemReport(
            system_id=self.id,
            counter=self.counter,
            nonce=secrets.token_bytes(16),
            kind=self.kind,
            name=self.name,
            version="1.9",
            licences=("Example licence",),
            uptime_s=3600,
            register=register,
            accept=accept,
            decline=decline,
            attachment=attachment,
            attached=attached,
            ups=ups,
        )
        return seal(report, self.system_id, self.secret(), 1)

    def read_state(self, payload: bytes) -> SystemState:
        """What the cloud's answer says."""
        _system_id, envelope = read_envelope(payload, MAX_STATE_BYTES)
        return unseal(envelope, SystemState, self.secret(), MAX_STATE_BYTES)

    async def ask(
        self,
        kit: Kit,
        now_ms: int,
        *,
        register: bool = False,
        accept: str = "",
        decline: str = "",
        attachment: bytes = b"",
        attached: tuple[bytes, ...] = (),
        ups: tuple[UpsUnder, ...] = (),
    ) -> SystemState:
        """Report to the service, without a portal; its state."""
        sent = self.report(
            register=register,
            accept=accept,
            decline=decline,
            attachment=attachment,
            attached=attached,
            ups=ups,
        )
        return self.read_state(await exchange(kit, self.keys.private, 1, sent, now_ms))

    async def link(self, kit: Kit, now_ms: int) -> str:
        """The link of Register now."""
        return (await self.ask(kit, now_ms, register=True)).link

    # --- offline --------------------------------------------------------------------------------------------

    def request(self, operation: Operation, number: int | None = None) -> str:
        """A new open request, as text; an older one is forgotten."""
        found = system_key(self.keys.key_set, number)
        self.open_request = OpenRequest(
            self.system_id, found.number, operation, secrets.token_bytes(NONCE_BYTES)
        )
        return write_request(self.open_request, self.secret(found.number))

    def enter(self, code: str, now_ms: int) -> Registered:
        """Enter a registration code; a good one closes the request. CodeRefusedError."""
        request = self.open_request
        secret = None if request is None else self.secret(request.key_number)
        done = read_code(code, request, secret, now_ms)
        self.open_request = None
        return done
