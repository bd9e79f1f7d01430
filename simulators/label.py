"""The label of a simulated UPS: minted codes, the line with both of them, and the QR code for a terminal."""

import secrets
from pathlib import Path

from protocol.identity import PRODUCT_ID_LENGTH, PRODUCT_KEY_LENGTH, ProductId, ProductKey, qr_link
from simulators.terminal import code_text

# Without characters that people confuse; a code that is typed from a sticker should not need a second try.
ALPHABET = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"


def mint() -> tuple[ProductId, ProductKey]:
    """New codes, as a maker would print them."""
    product_id = "".join(secrets.choice(ALPHABET) for _ in range(PRODUCT_ID_LENGTH))
    product_key = "".join(secrets.choice(ALPHABET) for _ in range(PRODUCT_KEY_LENGTH))
    return ProductId.parse(product_id), ProductKey.parse(product_key)


def read_key(path: Path) -> ProductKey:
    """Product Key from the first line of a file: never from an argument, which others could see."""
    lines = path.read_text("ascii").splitlines()
    return ProductKey.parse(lines[0] if lines else "")


def line(product_id: ProductId, product_key: ProductKey) -> str:
    """One line a label, for people and for grep."""
    return f"Product ID {product_id.value}  Product Key {product_key.value}"


def qr_text(portal_url: str, product_id: ProductId, product_key: ProductKey) -> str:
    """The label's QR code in half-block characters, without colour."""
    return code_text(qr_link(portal_url, product_id, product_key))
