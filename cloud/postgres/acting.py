"""For whom this task acts in the database: the second wall around companies.

The portal's role sees rows of one company and one person (``row_security.sql``). Whoever handles a request
says which with ``acting_for``; every connection that is then taken from the portal's pool says so to
PostgreSQL, in the round trip in which it is checked anyway. Nothing said: no row is found.

What must look across companies (who is this? is the device somebody's?) says why with ``across``, or is a
function marked ``crossing``. The reasons are all there are. What is said counts for connections taken from
then on.
"""

import contextlib
import functools
from collections.abc import Callable, Coroutine, Iterator
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, ParamSpec, TypeVar

from psycopg import AsyncConnection
from psycopg.rows import TupleRow

P = ParamSpec("P")
T = TypeVar("T")
Function = Callable[P, Coroutine[Any, Any, T]]


class Reason(StrEnum):
    """Why something looks across companies."""

    VISITOR = "visitor"
    """Nobody is known yet: what is asked for is found by a secret, an address or a cookie."""
    OWNERSHIP = "ownership"
    """One device that another company may have, or get: claims, transfers, disputes."""
    MEMBERSHIP = "membership"
    """A person who is, or comes to be, in several companies."""
    SYSTEM = "system"
    """Servers and registrations of building systems, which two companies share."""
    OPERATOR = "operator"
    """Who looks after the whole installation."""
    UPKEEP = "upkeep"
    """What the portal does by itself: mails, what is due, open pages."""


@dataclass(frozen=True, slots=True)
class Scope:
    """What a connection is told; empty: nobody's."""

    company: str = ""
    account: str = ""
    across: str = ""


NOBODY: Final = Scope()
_SCOPE: Final[ContextVar[Scope]] = ContextVar("acting", default=NOBODY)
_SAY: Final = (
    "SELECT set_config('smartconnect.company', %s, false), set_config('smartconnect.account', %s, false),"
    " set_config('smartconnect.across', %s, false)"
)


@contextlib.contextmanager
def acting_for(company_id: int, account_id: int) -> Iterator[None]:
    """Act for a person in a company while the block runs, in this task."""
    with _scope(Scope(str(company_id), str(account_id))):
        yield


@contextlib.contextmanager
def nobody() -> Iterator[None]:
    """Act for nobody while the block runs, in this task."""
    with _scope(NOBODY):
        yield


@contextlib.contextmanager
def across(reason: Reason) -> Iterator[None]:
    """Look across companies while the block runs, in this task."""
    now = _SCOPE.get()
    with _scope(Scope(now.company, now.account, reason.value)):
        yield


def crossing(
    reason: Reason,
) -> Callable[[Callable[P, Coroutine[Any, Any, T]]], Callable[P, Coroutine[Any, Any, T]]]:
    """Mark a coroutine function that looks across companies."""

    def mark(function: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
        @functools.wraps(function)
        async def marked(*args: P.args, **kwargs: P.kwargs) -> T:
            with across(reason):
                return await function(*args, **kwargs)

        return marked

    return mark


async def say(connection: AsyncConnection[TupleRow]) -> None:
    """Tell PostgreSQL for whom this task acts; also finds out whether the connection still lives."""
    scope = _SCOPE.get()
    await connection.execute(_SAY, [scope.company, scope.account, scope.across])


@contextlib.contextmanager
def _scope(scope: Scope) -> Iterator[None]:
    token = _SCOPE.set(scope)
    try:
        yield
    finally:
        _SCOPE.reset(token)
