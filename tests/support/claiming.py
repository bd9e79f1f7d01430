"""People and devices for tests of claiming: accounts in the database, announcements with real signatures."""

import secrets
from dataclasses import dataclass, field

import psycopg
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from cloud.core.authz import Actor, Role
from cloud.postgres.pool import Pool
from cloud.services import claiming
from protocol.identity import ProductId, device_id_of, kid_of
from protocol.messages import Announcement, Request
from protocol.signing import public_bytes, seal_announcement

NOW = 1_800_000_000_000


def make_actors(dsn: str, count: int, name: str = "p") -> list[Actor]:
    """So many people, each the owner of a company of their own; ``name`` begins their addresses."""
    actors = []
    with psycopg.connect(dsn, autocommit=True) as connection:
        for number in range(count):
            company = connection.execute(
                "INSERT INTO company (name, created_ms) VALUES (%s, %s) RETURNING company_id",
                (f"company {number}", NOW),
            ).fetchone()
            account = connection.execute(
                "INSERT INTO account (email, email_norm, password_hash, created_ms)"
                " VALUES (%s, %s, '', %s) RETURNING account_id",
                (f"{name}{number}@example.org", f"{name}{number}@example.org", NOW),
            ).fetchone()
            assert company is not None
            assert account is not None
            connection.execute(
                "INSERT INTO membership VALUES (%s, %s, 'owner', %s)", (company[0], account[0], NOW)
            )
            actors.append(Actor(account[0], company[0], Role.OWNER))
    return actors


def random_product_id() -> ProductId:
    """A Product ID nobody else has."""
    return ProductId.parse("".join(secrets.choice("ABCDEFGHJKLMNPQRSTUVWXYZ23456789") for _ in range(12)))


@dataclass
class TestDevice:
    """A device with its keys; the label key is random instead of derived, which saves the scrypt."""

    __test__ = False
    product_id: ProductId = field(default_factory=random_product_id)
    label: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    key: Ed25519PrivateKey = field(default_factory=Ed25519PrivateKey.generate)
    model: str = "Smart-UPS 1500"

    @property
    def label_pub(self) -> bytes:
        return public_bytes(self.label)

    @property
    def device_id(self) -> int:
        return device_id_of(self.product_id, self.label_pub)

    @property
    def kid(self) -> str:
        return kid_of(public_bytes(self.key))

    def twin(self) -> "TestDevice":
        """The same label on another card."""
        return TestDevice(self.product_id, self.label, model="Smart-UPS twin")

    def announcement(
        self, *, smartconnect: bool = True, watts: int = 1000, request: Request = Request.NONE
    ) -> Announcement:
        """What the device would sign."""
        return Announcement(
            product_id=self.product_id.value,
            device_pub=public_bytes(self.key),
            label_pub=self.label_pub,
            boot="boot",
            nonce=bytes(32),
            ts_ms=NOW,
            model=self.model,
            sku="SMT1500IC",
            serial="AS1234567890",
            firmware="UPS 04.1",
            rated_real_power_w=watts,
            rated_apparent_power_va=1500,
            smartconnect=smartconnect,
            request=request,
        )

    async def announce(
        self,
        pool: Pool,
        now_ms: int = NOW,
        *,
        smartconnect: bool = True,
        iat_ms: int = 1,
        watts: int = 1000,
        request: Request = Request.NONE,
    ) -> claiming.Noted:
        """Announce as through a session that the gateway has verified."""
        announcement = self.announcement(smartconnect=smartconnect, watts=watts, request=request)
        return await claiming.announced(
            pool,
            kid=self.kid,
            announcement=announcement,
            sealed=seal_announcement(announcement, self.label, self.key),
            iat_ms=iat_ms,
            now_ms=now_ms,
        )
