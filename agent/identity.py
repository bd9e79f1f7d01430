"""Who a device is to the cloud: its device key, and once the label is known, its label key and device id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from protocol.identity import ProductId, device_id_of, fingerprint_of, kid_of
from protocol.messages import Announcement, Request
from protocol.signing import TOKEN_LIFE_MS, login_token, public_bytes, seal_announcement
from protocol.system import UpsUnder
from protocol.system_keys import sign_ups

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from agent.core.sampling import Inventory
    from protocol.system import SystemId


@dataclass(frozen=True, slots=True)
class Label:
    """What a label says, without its secret: the key derived from it stands for it."""

    product_id: ProductId
    key: Ed25519PrivateKey

    @property
    def device_id(self) -> int:
        """The device this label names."""
        return device_id_of(self.product_id, public_bytes(self.key))


class Identity:
    """The keys of one device. ``label`` is None until a label was seen."""

    def __init__(self, device_key: Ed25519PrivateKey, label: Label | None = None) -> None:
        self._device_key = device_key
        self._device_pub = public_bytes(device_key)
        self.kid = kid_of(self._device_pub)
        self.label = label

    @property
    def fingerprint(self) -> str:
        """The kid as people compare it."""
        return fingerprint_of(self.kid)

    def token(self, label: Label, audience: str, iat_ms: int) -> str:
        """The password of one log-in. It has its full life, because the clock may be behind."""
        return login_token(
            self._device_key,
            audience=audience,
            device_id=label.device_id,
            iat_ms=iat_ms,
            exp_ms=iat_ms + TOKEN_LIFE_MS,
        )

    def under(self, system_id: SystemId) -> UpsUnder | None:
        """The device's word that it is under this server; None before its label was seen."""
        if self.label is None:
            return None
        return UpsUnder(
            device_id=str(self.label.device_id),
            kid=self.kid,
            signature=sign_ups(self._device_key, system_id),
        )

    def announcement(
        self,
        label: Label,
        inventory: Inventory,
        *,
        boot: str,
        nonce: bytes,
        ts_ms: int,
        smartconnect: bool,
        release: bool,
    ) -> bytes:
        """An announcement, signed by both keys; ``release``: its holder asks that its ownership end."""
        announcement = Announcement(
            product_id=label.product_id.value,
            device_pub=self._device_pub,
            label_pub=public_bytes(label.key),
            boot=boot,
            nonce=nonce,
            ts_ms=ts_ms,
            model=inventory.model,
            sku=inventory.sku,
            serial=inventory.serial,
            firmware=inventory.firmware,
            rated_real_power_w=inventory.rated_real_power_w,
            rated_apparent_power_va=inventory.rated_apparent_power_va,
            smartconnect=smartconnect,
            request=Request.RELEASE if release else Request.NONE,
        )
        return seal_announcement(announcement, label.key, self._device_key)
