"""Labels to be printed, and the maker's list."""

import csv
import io
import re
import stat
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
import segno

from protocol.identity import ProductId, ProductKey, b64url, qr_link
from protocol.signing import label_key, public_bytes
from simulators import sheet
from simulators.__main__ import main
from simulators.label import mint

PORTAL = "https://ups.example.org"


def test_the_drawn_code_is_the_labels_link() -> None:
    text = qr_link(PORTAL, *mint())
    path, size = sheet.qr_path(text)
    drawn = {(int(x), int(y)) for x, y in re.findall(r"M(\d+) (\d+)h1v1h-1z", path)}
    rows = list(segno.make(text, error="m", micro=False).matrix)
    assert size == len(rows) + 8
    assert drawn == {(x + 4, y + 4) for y, row in enumerate(rows) for x, dark in enumerate(row) if dark}


def test_sheet_and_manifest_belong_together(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    drawing, listing = tmp_path / "sheet.svg", tmp_path / "manifest.csv"
    arguments = ["label", "--count", "17", "--sheet", str(drawing), "--manifest", str(listing)]
    assert main([*arguments, "--portal-url", PORTAL]) == 0
    assert capsys.readouterr().out == ""
    assert stat.S_IMODE(drawing.stat().st_mode) == 0o600
    tree = ET.fromstring(drawing.read_text())
    assert tree.get("height") == "594mm"
    words = [item.text or "" for item in tree.iter("{http://www.w3.org/2000/svg}text")]
    codes = [
        (ProductId.parse(words[place + 1]), ProductKey.parse(words[place + 3]))
        for place in range(0, len(words), 4)
    ]
    rows = list(csv.DictReader(io.StringIO(listing.read_text())))
    assert len(rows) == len(codes) == 17
    for row, (product_id, product_key) in zip(rows, codes, strict=True):
        assert row["product_id"] == product_id.value
        assert row["label_pub"] == b64url(public_bytes(label_key(product_id, product_key)))
        assert product_key.value not in listing.read_text()
