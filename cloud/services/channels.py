"""Channels of a company: webhooks and what apprise speaks. Their addresses are sealed as secrets are."""

import json
import secrets
from typing import Final

from cloud.postgres.notice_policies import ChannelRow
from cloud.services.vault import Vault

PURPOSE: Final = "notice channel"
SECRET_BYTES: Final = 32


def new_secret() -> str:
    """What signs the messages of a new webhook; shown once, when it is made."""
    return "whsec_" + secrets.token_hex(SECRET_BYTES)


def seal_channel(vault: Vault, channel_id: int, address: str, secret: str) -> bytes:
    """What the database keeps of both."""
    return vault.seal(PURPOSE, channel_id, json.dumps({"url": address, "secret": secret}).encode())


def open_channel(vault: Vault, channel: ChannelRow) -> tuple[str, bytes]:
    """Address and secret again. VaultError."""
    found = json.loads(vault.open(PURPOSE, channel.channel_id, channel.sealed))
    return found["url"], found["secret"].encode()
