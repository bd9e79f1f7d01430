"""Forms with a photo: read into memory within bounds, never into a file; their form token comes first."""

import asyncio
from typing import Final

from aiohttp import BodyPartReader, hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from cloud.core.language import N_, gettext
from cloud.services.label_photos import MAX_BYTES
from cloud.web import sessions
from cloud.web.middleware import FORM_FIELD, FORM_HEADER
from cloud.web.problems import Problem, ProblemCode
from cloud.web.state import visit_of

MAX_PARTS: Final = 8
MAX_TEXT_BYTES: Final = 4096
CHUNK_BYTES: Final = 65_536
READ_S: Final = 120.0
"""How long a photo may be under way: one of 5 MB at 350 kbit/s."""
MEBIBYTE: Final = 1 << 20
TOO_SLOW: Final = N_(
    "The photo took too long to come. Please try again, with a smaller one or a better network."
)


async def receive(request: web.Request) -> bytes:
    """The photo in this form, the last one that was chosen; empty where there is none.

    What the middleware ``same_site`` does for other forms is done here: nothing is read of a photo before the
    form's token was right. Problem (bad_request, too_large, form_expired).
    """
    if (request.content_length or 0) > MAX_BYTES + MAX_PARTS * MAX_TEXT_BYTES:
        raise Problem(ProblemCode.TOO_LARGE, detail=_too_large())
    try:
        async with asyncio.timeout(READ_S):
            return await _read(request)
    except (ValueError, RuntimeError, LookupError, HttpProcessingError, web.RequestPayloadError):
        raise Problem(ProblemCode.BAD_REQUEST) from None
    except TimeoutError:
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext(TOO_SLOW)) from None


async def receive_plain(request: web.Request) -> bytes:
    """The photo that is the body. Problem (bad_request, too_large)."""
    if (request.content_length or 0) > MAX_BYTES:
        raise Problem(ProblemCode.TOO_LARGE, detail=_too_large())
    content = bytearray()
    try:
        async with asyncio.timeout(READ_S):
            while chunk := await request.content.readany():
                content += chunk
                if len(content) > MAX_BYTES:
                    raise Problem(ProblemCode.TOO_LARGE, detail=_too_large())
    except (HttpProcessingError, web.RequestPayloadError):
        raise Problem(ProblemCode.BAD_REQUEST) from None
    except TimeoutError:
        raise Problem(ProblemCode.BAD_REQUEST, detail=gettext(TOO_SLOW)) from None
    return bytes(content)


def _too_large() -> str:
    return gettext(
        "A photo has {size} MB at most. Choose a smaller size in the camera, or take a picture of the label"
        " only.",
        size=MAX_BYTES // MEBIBYTE,
    )


async def _read(request: web.Request) -> bytes:
    if request.content_type != "multipart/form-data":
        raise ValueError("no form with a photo")
    trusted = FORM_HEADER in request.headers  # then same_site has checked it
    photo = b""
    reader = await request.multipart()
    for _ in range(MAX_PARTS):
        part = await reader.next()
        if part is None:
            break
        if not isinstance(part, BodyPartReader) or hdrs.CONTENT_ENCODING in part.headers:
            raise ValueError("not the form of a photo")
        if part.filename is None:
            text = await _content(part, MAX_TEXT_BYTES)
            if part.name == FORM_FIELD:
                trusted = sessions.token_matches(visit_of(request).form_token, text.decode("utf-8"))
        elif not trusted:
            raise Problem(ProblemCode.FORM_EXPIRED)
        else:
            photo = await _content(part, MAX_BYTES) or photo
    if not trusted:
        raise Problem(ProblemCode.FORM_EXPIRED)
    return photo


async def _content(part: BodyPartReader, most: int) -> bytes:
    content = bytearray()
    while chunk := await part.read_chunk(CHUNK_BYTES):
        content += chunk
        if len(content) > most:
            raise Problem(ProblemCode.TOO_LARGE, detail=_too_large())
    return bytes(content)
