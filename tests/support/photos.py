"""Photos and films of printed labels, drawn for tests: QR codes on grey, tilted and blurred at wish."""

import io
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import segno
from PIL import Image, ImageFilter

GREY: Final = 150
FRAMES: Final = 15
"""A second of film; a browser begins again at its end."""


def qr(text: str, scale: int = 6) -> Image.Image:
    """The QR code of a label, ``scale`` pixels a module, with its quiet zone."""
    drawn = io.BytesIO()
    segno.make(text, error="m", micro=False).save(drawn, kind="png", scale=scale, border=4)
    return Image.open(drawn).convert("L")


def photo(
    texts: Sequence[str],
    *,
    tilt: float = 0.0,
    blur: float = 0.0,
    scale: int = 6,
    size: tuple[int, int] = (1280, 720),
) -> Image.Image:
    """Labels side by side and below each other; ``tilt`` in degrees, ``blur`` in pixels of deviation."""
    picture = Image.new("L", size, GREY)
    left, top, row = 40, 40, 0
    for text in texts:
        code = qr(text, scale)
        if blur:
            code = code.filter(ImageFilter.GaussianBlur(blur))
        if tilt:
            code = code.rotate(tilt, resample=Image.Resampling.BICUBIC, expand=True, fillcolor=GREY)
        if left + code.width > size[0]:
            left, top, row = 40, top + row + 40, 0
        picture.paste(code, (left, top))
        left, row = left + code.width + 40, max(row, code.height)
    return picture


def jpeg(picture: Image.Image, **options: object) -> bytes:
    """The file a camera writes."""
    file = io.BytesIO()
    picture.save(file, "JPEG", quality=85, **options)
    return file.getvalue()


def png(picture: Image.Image) -> bytes:
    """The file of a screenshot."""
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def film(picture: Image.Image, path: Path) -> Path:
    """A film of one picture for Chromium's fake camera: MJPEG, which is just one JPEG behind the other."""
    path.write_bytes(jpeg(picture.convert("RGB"), subsampling=2) * FRAMES)
    return path


def huge_png(side: int) -> bytes:
    """A file of a few bytes that says it has ``side`` times ``side`` pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1 << 20))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def huge_jpeg(side: int) -> bytes:
    """A small JPEG whose header says ``side`` times ``side`` pixels."""
    small = jpeg(Image.new("L", (16, 16), GREY))
    at = small.index(b"\xff\xc0") + 5  # start of frame: length, precision, then height and width
    return small[:at] + struct.pack(">HH", side, side) + small[at + 4 :]
