"""Keeps the process small: the memory of a label key's derivation goes back to the system."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

M_MMAP_THRESHOLD: Final = -3  # malloc.h of glibc
LARGE_BYTES: Final = 1024 * 1024  # nothing of ours but scrypt (8 MiB) asks for so much at once


def give_back_large_blocks() -> None:
    """Call once, early. glibc alone learns from the first large block to keep all later ones, in each thread:
    an agent of 50 UPSs stayed 49 MiB larger after its first start.
    """
    with contextlib.suppress(OSError, AttributeError):  # another C library
        ctypes.CDLL(None).mallopt(M_MMAP_THRESHOLD, LARGE_BYTES)
