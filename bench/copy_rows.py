"""Rows as PostgreSQL's binary COPY format, built by numpy without a loop over rows."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from protocol.columns import Rows
from protocol.points import VALUES, Wire

EPOCH_2000_MS: Final = 946_684_800_000  # PostgreSQL counts from 2000-01-01
HEADER: Final = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER: Final = b"\xff\xff"
_KEY: Final = {"device_id": ">i8", "ts": ">i8", "stream": ">i8", "seq": ">i8", "epoch": ">i8"}
_TYPE: Final = {Wire.FIXED32: ">i4", Wire.FLOAT: ">f4", Wire.DOUBLE: ">f8", Wire.FIXED64: ">i8"}
COLUMNS: Final = {**_KEY, **{point.name: _TYPE[point.wire] for point in VALUES}}
COPY: Final = f"COPY telemetry ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"


def _frame() -> np.dtype[np.void]:
    fields: list[tuple[str, str]] = [("#", ">i2")]
    for name, kind in COLUMNS.items():
        fields += [(f"#{name}", ">i4"), (name, kind)]
    return np.dtype(fields)


FRAME: Final = _frame()


def copy_buffer(rows: Rows, places: NDArray[np.int64]) -> bytes:
    """The COPY stream of these rows; ``places`` is (n, 3): device_id, epoch, stream of each."""
    out = np.empty(len(rows), FRAME)
    out["#"] = len(COLUMNS)
    for name, kind in COLUMNS.items():
        out[f"#{name}"] = np.dtype(kind).itemsize
    for column, name in enumerate(("device_id", "epoch", "stream")):
        out[name] = places[:, column]
    out["ts"] = (rows["ts"].astype(np.int64) - EPOCH_2000_MS) * 1000
    out["seq"] = rows["seq"]
    for point in VALUES:
        out[point.name] = rows[point.name]
    return HEADER + out.tobytes() + TRAILER


def places_of(found: Sequence[tuple[int, int, int]], counts: NDArray[Any]) -> NDArray[np.int64]:
    """(device_id, epoch, stream) of every row of payloads that have so many rows each."""
    return np.repeat(np.array(found, np.int64).reshape(-1, 3), counts, axis=0)
