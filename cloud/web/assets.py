"""Static files as they leave the portal: their checksum in the address, and squeezed once a process.

The style sheet is one file for all pages, joined of parts: a page waits for one answer, and the next page for
none. Whatever is asked for with the checksum of its content never changes.
"""

import gzip
import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Final

STATIC: Final = Path(__file__).parent / "static"
STYLE: Final = "style.css"
STYLE_PARTS: Final = ("portal.css", "list.css", "device.css", "dist/chart.css", "print.css")
"""What the style sheet is joined of, in their order; one in ``dist`` may be missing."""


@lru_cache(maxsize=256)
def content(path: str) -> bytes:
    """A file of ``static``, or the style sheet. OSError."""
    if path != STYLE:
        return (STATIC / path).read_bytes()
    parts = [STATIC / part for part in STYLE_PARTS]
    return b"".join(part.read_bytes() for part in parts if part.is_file() or part.parent == STATIC)


@lru_cache(maxsize=256)
def version(path: str) -> str:
    """Checksum of a file in its address. OSError."""
    return hashlib.sha256(content(path)).hexdigest()[:12]


@lru_cache(maxsize=256)
def squeezed(path: str) -> bytes:
    """A file by gzip, as small as it gets. OSError."""
    return gzip.compress(content(path), mtime=0)


def static_url(path: str) -> str:
    """Address of a static file; it changes with the content, so browsers may keep it for ever."""
    return f"/static/{path}?v={version(path)}"


def built(path: str) -> bool:
    """Whether the bundler has made this file; pages work without it, but nothing is live."""
    return (STATIC / "dist" / path).is_file()
