from pathlib import Path

import pytest

from protocol.errors import IdentityError
from protocol.identity import ProductId, ProductKey
from simulators import label


def test_minted_codes_are_new_and_free_of_look_alikes() -> None:
    codes = [label.mint() for _ in range(50)]
    assert len({product_id.value for product_id, _ in codes}) == 50
    assert len({product_key.value for _, product_key in codes}) == 50
    assert not set("".join(key.value + pid.value for pid, key in codes)) & set("01IO")


def test_the_line() -> None:
    text = label.line(ProductId.parse("AB12CD34EF56"), ProductKey.parse("K0123456789XYZ"))
    assert text == "Product ID AB12CD34EF56  Product Key K0123456789XYZ"


def test_the_qr_code_is_uncoloured_text() -> None:
    text = label.qr_text("https://x", ProductId.parse("A" * 12), ProductKey.parse("B" * 14))
    assert "\x1b" not in text
    assert len(set(map(len, text.splitlines()))) == 1
    assert set(text) <= set("█▀▄ \n")


def test_key_file(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("k0123456789xyz\n")
    assert label.read_key(path).value == "K0123456789XYZ"
    path.write_text("")
    with pytest.raises(IdentityError):
        label.read_key(path)
