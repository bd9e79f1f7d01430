"""Labels in photos: bounded in bytes, in how many are here at once, and in time.

A photo is *taken in* (:meth:`LabelPhotos.admit`) before its bytes are read, ``MAX_TAKEN_IN`` at most and of
one account ``MAX_EACH``; it is searched in a process of its own (:mod:`cloud.services.photo_reader`), one at
a time. It is never written down, and gone with the answer.
"""

import asyncio
import contextlib
import json
import os
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import structlog

from cloud.core.label_text import Label, find_label, shown

MAX_BYTES: Final = 12 * 1024 * 1024
"""Telephones write 2 to 8 MB."""
MAX_TAKEN_IN: Final = 6
MAX_EACH: Final = 2
TIME_S: Final = 20.0
RETRY_AFTER_S: Final = 5
COMMAND: Final = (sys.executable, "-P", "-m", "cloud.services.photo_reader")

KEPT: Final = ("PATH", "LANG")
"""Of the environment: what opens pictures needs to know no more."""

log = structlog.get_logger()


class PhotoFault(StrEnum):
    """Why a photo was not searched. Stable; append only."""

    NO_PICTURE = "no_picture"
    TOO_MANY_PIXELS = "too_many_pixels"
    TOO_HARD = "too_hard"


class PhotoError(Exception):
    """A photo that was not searched."""

    def __init__(self, code: PhotoFault) -> None:
        super().__init__(code.value)
        self.code = code


class BusyError(Exception):
    """Too many photos are here already; try again after RETRY_AFTER_S."""


@dataclass(frozen=True, slots=True)
class Found:
    """Labels from top to bottom, each once; and what codes said that are no labels', as it may be shown."""

    labels: tuple[Label, ...]
    others: tuple[str, ...]


class LabelPhotos:
    """The photos of one process; use it from one event loop."""

    def __init__(self) -> None:
        self._searching = asyncio.Semaphore(1)
        self._taken_in = 0
        self._of_each: Counter[int] = Counter()

    @contextlib.contextmanager
    def admit(self, account_id: int) -> Iterator[None]:
        """Room for one photo, from its first byte to its answer. BusyError."""
        if self._taken_in >= MAX_TAKEN_IN or self._of_each[account_id] >= MAX_EACH:
            raise BusyError("too many photos at once")
        self._taken_in += 1
        self._of_each[account_id] += 1
        try:
            yield
        finally:
            self._taken_in -= 1
            self._of_each[account_id] -= 1
            if not self._of_each[account_id]:
                del self._of_each[account_id]

    async def search(self, photo: bytes) -> Found:
        """The labels in a photo. PhotoError, OSError."""
        async with self._searching:
            answer = await _ask(photo)
        return found_in(answer)


async def _ask(photo: bytes) -> bytes:
    """What the process says of the photo; empty where it ended without an answer or in time."""
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
    )
    try:
        async with asyncio.timeout(TIME_S):
            answer, _ = await process.communicate(photo)
    except TimeoutError:
        return b""
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode:
        log.warning("the search of a photo broke off", status=process.returncode)
    return answer


def found_in(answer: bytes) -> Found:
    """The labels in what the process said. PhotoError."""
    try:
        said = json.loads(answer)
    except ValueError:
        raise PhotoError(PhotoFault.TOO_HARD) from None
    if "fault" in said:
        raise PhotoError(PhotoFault(said["fault"]))
    texts: list[str] = said["texts"]
    labels: dict[Label, None] = {}
    others = []
    for text in texts:
        label = find_label(text)
        if label is None:
            others.append(shown(text))
        else:
            labels[label] = None
    return Found(tuple(labels), tuple(others))
