"""Labels to be printed: an SVG of A4 pages with QR code and codes; and the maker's list of them."""

import csv
import io
from collections.abc import Sequence
from typing import Final
from xml.sax.saxutils import escape

import segno

from protocol.identity import ProductId, ProductKey, b64url, qr_link
from protocol.signing import label_key, public_bytes

Codes = tuple[ProductId, ProductKey]

PAGE_MM: Final = (210, 297)
MARGIN_MM: Final = (10, 13)
LABEL_MM: Final = (95, 34)
ACROSS, DOWN = 2, 8
QR_MM: Final = 30
QUIET: Final = 4
"""Light modules around a QR code (ISO/IEC 18004, section 5.3.8)."""


def render(portal_url: str, codes: Sequence[Codes]) -> str:
    """The sheet: pages below each other, 16 labels a page, lengths in millimetres."""
    pages = max(1, -(-len(codes) // (ACROSS * DOWN)))
    width, height = PAGE_MM[0], PAGE_MM[1] * pages
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}mm" height="{height}mm"'
        f' viewBox="0 0 {width} {height}" font-family="monospace">'
    )
    parts = [head, f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for number, one in enumerate(codes):
        page, place = divmod(number, ACROSS * DOWN)
        row, column = divmod(place, ACROSS)
        left = MARGIN_MM[0] + column * LABEL_MM[0]
        top = PAGE_MM[1] * page + MARGIN_MM[1] + row * LABEL_MM[1]
        parts.append(f'<g transform="translate({left} {top})">{_label(portal_url, *one)}</g>')
    return "\n".join([*parts, "</svg>", ""])


def _label(portal_url: str, product_id: ProductId, product_key: ProductKey) -> str:
    dark, size = qr_path(qr_link(portal_url, product_id, product_key))
    scale = QR_MM / size
    texts = (
        (9, 3, "Product ID"),
        (14, 5, product_id.value),
        (21, 3, "Product Key"),
        (26, 5, product_key.value),
    )
    words = "".join(
        f'<text x="36" y="{y}" font-size="{points}">{escape(text)}</text>' for y, points, text in texts
    )
    return (
        f'<rect width="{LABEL_MM[0]}" height="{LABEL_MM[1]}" fill="none" stroke="#bbb" stroke-width="0.1"/>'
        f'<path transform="translate(2 2) scale({scale:.5f})" d="{dark}"/>{words}'
    )


def qr_path(text: str) -> tuple[str, int]:
    """The dark modules as an SVG path, and the width of the code in modules with its quiet zone."""
    code = segno.make(text, error="m", micro=False)
    rows = [list(row) for row in code.matrix_iter(border=QUIET)]
    runs = [f"M{x} {y}h1v1h-1z" for y, row in enumerate(rows) for x, module in enumerate(row) if module]
    return "".join(runs), len(rows)


def manifest(codes: Sequence[Codes]) -> str:
    """The maker's list as CSV: public keys only, nothing that helps to claim a device."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["product_id", "label_pub", "factory_pub"])
    for product_id, product_key in codes:
        label_pub = public_bytes(label_key(product_id, product_key))
        writer.writerow([product_id.value, b64url(label_pub), ""])
    return out.getvalue()
