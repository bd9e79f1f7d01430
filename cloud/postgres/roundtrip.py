"""Several statements in one round trip, below psycopg's cursors, for the path every sample takes.

A small batch is mostly waiting for answers, so here BEGIN travels with the statement after it (libpq's
pipeline), and COMMIT with the COPY before it (one simple query of two statements). All waiting is done in
``poll``, with Python's lock released. The connection is psycopg's, and may be used through its cursors before
and after. Errors are psycopg's; after one the caller rolls back.
"""

import select
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
from psycopg.abc import Buffer
from psycopg.errors import error_from_result
from psycopg.pq import ExecStatus, Format
from psycopg.pq.abc import PGconn, PGresult

CHUNK_BYTES: Final = 262_144
"""libpq wants to hold what it is given at once; this bounds it."""
_FAILED: Final = frozenset({ExecStatus.FATAL_ERROR, ExecStatus.BAD_RESPONSE, ExecStatus.PIPELINE_ABORTED})


def prepare(pgconn: PGconn, name: bytes, statement: bytes) -> None:
    """Prepare a statement under a name."""
    _checked([pgconn.prepare(name, statement)])


def begin_and_run(pgconn: PGconn, name: bytes, values: Sequence[Buffer]) -> int:
    """BEGIN and a prepared statement with binary values; how many rows the statement touched."""
    pgconn.enter_pipeline_mode()
    pgconn.send_query_params(b"BEGIN", None)
    pgconn.send_query_prepared(name, values, [Format.BINARY] * len(values))
    pgconn.pipeline_sync()
    results: list[PGresult] = []
    while (result := _next(pgconn)) is None or result.status != ExecStatus.PIPELINE_SYNC:
        if result is not None:
            results.append(result)
    pgconn.exit_pipeline_mode()
    _checked(results)
    return results[-1].command_tuples or 0


def copy_and_commit(pgconn: PGconn, copy: bytes, buffer: Buffer, before_end: Callable[[], None]) -> None:
    """COPY the buffer and COMMIT. ``before_end`` is called when all is sent but the end of the data."""
    pgconn.send_query(copy + b"; COMMIT")
    first = _next(pgconn)
    if first is None or first.status != ExecStatus.COPY_IN:
        _checked([first, *_rest(pgconn)])
        raise psycopg.InternalError("a COPY that does not ask for data")
    view = memoryview(buffer)
    for at in range(0, len(view), CHUNK_BYTES):
        while not pgconn.put_copy_data(view[at : at + CHUNK_BYTES]):
            _flush(pgconn)
    before_end()
    while not pgconn.put_copy_end():
        _flush(pgconn)
    results = _checked(_rest(pgconn))
    if not results or results[-1].command_status != b"COMMIT":
        raise psycopg.InternalError("a COPY that was not committed")


def _checked(results: Sequence[PGresult | None]) -> list[PGresult]:
    """The same; the first error is raised."""
    found = [result for result in results if result is not None]
    for result in found:
        if result.status in _FAILED:
            raise error_from_result(result)
    return found


def _rest(pgconn: PGconn) -> list[PGresult]:
    """The results that are left of a query."""
    results: list[PGresult] = []
    while (result := _next(pgconn)) is not None:
        results.append(result)
    return results


def _next(pgconn: PGconn) -> PGresult | None:
    """The next result of what was sent."""
    _flush(pgconn)
    while pgconn.is_busy():
        _wait(pgconn, select.POLLIN)
    return pgconn.get_result()


def _flush(pgconn: PGconn) -> None:
    """Send what libpq holds; what arrives meanwhile is read, so that both ends cannot wait for each other."""
    while pgconn.flush():
        _wait(pgconn, select.POLLIN | select.POLLOUT)


def _wait(pgconn: PGconn, events: int) -> None:
    line = select.poll()
    line.register(pgconn.socket, events)
    if any(found & ~select.POLLOUT for _, found in line.poll()):
        pgconn.consume_input()
