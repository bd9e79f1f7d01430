"""QR codes in a photo, found in a process of its own that gives way to everything else on the machine.

What opens pictures is a million lines of C, and what people send is not ours: so each photo gets a process
with a bound on memory and time, a high nice value and nothing to read but the photo on its standard input. It
answers with one line of JSON and ends. Neither its arguments nor its environment nor any file holds a code.

The answer: ``{"texts": [...]}``, from top to bottom; or ``{"fault": "no_picture" | "too_many_pixels"}``.
"""

import contextlib
import io
import json
import os
import resource
import struct
import sys
import zlib
from collections.abc import Iterator
from typing import Final

import zxingcpp
from PIL import Image, ImageFilter, ImageOps

NICE: Final = 5
"""As for the derivation of label keys: a third of the share of a process with nice 0 (sched(7))."""
MEMORY_BYTES: Final = 1 << 30
"""Address space; the largest photo there may be takes a third of it."""
CPU_S: Final = 15
FORMATS: Final = ("JPEG", "PNG")
"""What cameras and screenshots are. Browsers make others of theirs into a JPEG (scan.ts)."""
MAX_PIXELS: Final = {"PNG": 17_000_000}
MAX_PIXELS_JPEG: Final = 52_000_000
"""50 megapixels, the most that usual telephones take; a JPEG is read at a fraction of it."""
LONGEST: Final = 4096
"""Pixels of the longer side of what is searched: a code of 29 modules may then be a 30th of the picture."""
MAX_CODES: Final = 50
QR_CODES: Final = zxingcpp.BarcodeFormats(zxingcpp.BarcodeFormat.QRCode)

Image.MAX_IMAGE_PIXELS = None  # judged here, before anything is unpacked

_BROKEN: Final = (
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    EOFError,
    ArithmeticError,
    MemoryError,
    struct.error,
    zlib.error,
)
"""What Pillow raises for a file that is not what it says."""


class PhotoError(Exception):
    """The photo cannot be searched; the text is a stable code."""


def read(photo: bytes) -> list[str]:
    """The texts of the QR codes in a photo, from top to bottom, each once. PhotoError."""
    try:
        picture = _open(photo)
    except _BROKEN as error:
        raise PhotoError("no_picture") from error
    places: dict[str, tuple[int, int]] = {}
    for shrunk, attempt in _attempts(picture):
        for code in zxingcpp.read_barcodes(attempt, formats=QR_CODES):
            corner = code.position.top_left
            if code.valid and code.text:
                places.setdefault(code.text, (corner.y * shrunk, corner.x * shrunk))
    return sorted(places, key=lambda text: places[text])[:MAX_CODES]


def _open(photo: bytes) -> Image.Image:
    """The photo in shades of grey, its longer side LONGEST at most."""
    with Image.open(io.BytesIO(photo), formats=FORMATS) as image:
        width, height = image.size
        if width * height > MAX_PIXELS.get(image.format or "", MAX_PIXELS_JPEG):
            raise PhotoError("too_many_pixels")
        shrink = max(1, -(-max(width, height) // LONGEST))
        wanted = (max(1, width // shrink), max(1, height // shrink))
        image.draft("L", wanted)  # a JPEG need not be unpacked in full
        grey = image.convert("L")
    left = -(-max(grey.size) // LONGEST)
    return grey.reduce(left) if left > 1 else grey


def _attempts(picture: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The picture as it is, then as labels in the dark, from afar and in motion are easier to read.

    Each with how much smaller it is. All are searched: of several labels each may need another one.
    """
    yield 1, picture
    yield 1, ImageOps.autocontrast(picture, cutoff=1)
    yield 1, picture.filter(ImageFilter.UnsharpMask(radius=6, percent=300, threshold=0))
    if max(picture.size) > 1000:
        yield 2, ImageOps.autocontrast(picture.reduce(2), cutoff=1)


def main() -> None:
    """The process."""
    os.nice(NICE)
    for kind, most in ((resource.RLIMIT_AS, MEMORY_BYTES), (resource.RLIMIT_CPU, CPU_S)):
        with contextlib.suppress(OSError, ValueError):  # not on every system
            resource.setrlimit(kind, (most, most))
    try:
        answer: dict[str, object] = {"texts": read(sys.stdin.buffer.read())}
    except PhotoError as fault:
        answer = {"fault": str(fault)}
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more
        sys.stdout.buffer.write(json.dumps(answer).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
