"""Writers: threads that turn what sessions have sent into transactions, and decide the PUBACKs.

Theory of operation
-------------------
A session stays with one writer while that has something of it (:mod:`cloud.gateway.lanes`), so its uploads
stay in order; should two writers have sessions of one device, the fence lets one of them write. A writer
takes whatever has arrived, up to ``MAX_ROWS``; while it commits, the next batch gathers: no timer, and the
batch grows with the load.

A batch is made from what the writer believes of each device (:class:`Fence`). Where the database says
otherwise, nothing is written; the writer looks, judges again and repeats: uploads of an earlier ownership are
dropped, sessions that may no longer write are closed. A database that is away is waited for; nothing is
acknowledged meanwhile. A batch that takes longer than a statement may is halved. One that cannot be stored
for another reason is halved until the message at fault is found, which is refused and kept aside.

Uploads get their ``acks`` only after the commit.
"""

import random
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeGuard

import structlog

from cloud.core.session import Refusal
from cloud.core.upload import Fence, Rejection, Upload
from cloud.gateway.metrics import Metrics
from cloud.gateway.plan import Plan, Share, acknowledge, drop_ended, make_plan, rejected_row
from cloud.gateway.session import Session
from cloud.postgres.telemetry import (
    Batch,
    ConnectionTroubleError,
    DuplicateRowsError,
    FencedError,
    NoPartitionError,
    Position,
    Store,
    TooSlowError,
)
from protocol.codec import ENTRY_BYTES
from protocol.errors import DecodeError, ErrorCode, Reason

MAX_ROWS: Final = 8_192
"""Rows of one transaction, about."""
MAX_PAUSE_S: Final = 2.0
FIRST_PAUSE_S: Final = 0.05
DAYS_EVERY_S: Final = 600.0
MAX_FENCED: Final = 8
"""After so many fenced attempts in a row the writer pauses before the next."""

log = structlog.get_logger()


@dataclass(slots=True)
class Done:
    """What a writer has decided: sessions to flush, sessions to end, uploads no longer held."""

    flush: list[Session] = field(default_factory=list)
    end: list[tuple[Session, Refusal]] = field(default_factory=list)
    refused: list[tuple[Session, Rejection]] = field(default_factory=list)
    """What was kept aside."""
    decided: list[tuple[Session, Upload]] = field(default_factory=list)

    def decide(self, session: Session, upload: Upload) -> None:
        """The upload is stored or refused for good: its PUBACKs may leave."""
        self.decided.append((session, upload))
        refusal = acknowledge(upload, session.version)
        if refusal is not None:
            self.end.append((session, refusal))

    def dismiss(self, share: Share, epoch: int) -> None:
        """The ownership has ended under the share's session, which does not know it yet and may go on."""
        drop_ended(share, epoch)
        self.flush.append(share.session)
        for upload in share.uploads():
            self.decide(share.session, upload)

    def drop(self, share: Share) -> None:
        """The share's session may not write (any more): nothing of it is stored or acknowledged."""
        why = Refusal(Reason.SESSION_TAKEN_OVER, "another session may write", ends=True)
        self.end.append((share.session, why))
        self.decided += [(share.session, upload) for upload in share.uploads()]


class Writer:
    """One thread with one database connection. ``report`` is called in that thread."""

    def __init__(self, store: Store, name: str, report: Callable[[Done], None], metrics: Metrics) -> None:
        self._store = store
        self._report = report
        self._metrics = metrics
        self._inbox: deque[tuple[Session, Upload]] = deque()
        self._wake = threading.Event()
        self._stopping = False
        self._away_since: float | None = None
        self._days_at = -DAYS_EVERY_S
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self.failed: BaseException | None = None
        """What ended the thread, if it was not asked to."""

    def start(self) -> None:
        self._thread.start()

    def put(self, session: Session, upload: Upload) -> None:
        """Have this stored."""
        self._inbox.append((session, upload))
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Store what is there, if the database answers, and end."""
        self._stopping = True
        self._wake.set()
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while True:
                self._wake.wait(DAYS_EVERY_S)
                self._wake.clear()
                while self._inbox:
                    if not self._store_all(self._take()):
                        return
                if self._stopping:
                    break
        except BaseException as error:  # the process must not go on without its writer
            log.exception("a writer failed")
            self.failed = error
            self._report(Done())
        finally:
            self._store.close()

    def _take(self) -> list[Share]:
        """Whatever has arrived, up to a bound, by device."""
        shares: dict[Session, Share] = {}
        rows = 0
        while self._inbox and rows < MAX_ROWS:
            session, upload = self._inbox.popleft()
            share = shares.get(session)
            if share is None:
                share = shares[session] = Share(session)
            share.add(upload)
            rows += max(upload.messages, upload.bytes_held() // ENTRY_BYTES)
        return sorted(shares.values(), key=lambda share: (share.session.device_id, share.session.login_ms))

    # --- one batch ------------------------------------------------------------------------------------------

    def _store_all(self, shares: list[Share]) -> bool:
        """Store these shares until all their uploads are decided.

        False when asked to stop before: then nothing later may be stored either. It would move positions past
        what was not, and the devices would take that for stored.
        """
        decided = True
        done = Done()
        attempts = 0
        staged = False
        while shares:
            try:
                self._connect()
                shares = self._believe(shares, done)
                plan = make_plan(shares, self._store.days, time.time_ns() // 1_000_000)
                self._store.write(plan.batch, staged=staged)
            except FencedError:
                self._metrics.fenced.inc()
                _doubt(shares)
                attempts += 1
                if attempts > MAX_FENCED and not self._pause(attempts - MAX_FENCED):
                    return False
            except NoPartitionError:
                self._days_at = -DAYS_EVERY_S
            except DuplicateRowsError as error:
                self._metrics.alarms.inc()
                log.error("rows above the stored position are in the table", reason=str(error)[:300])  # noqa: TRY400 - an alarm, not a fault to trace
                staged = True
            except TooSlowError as error:
                _doubt(shares)
                if _divisible(shares):
                    decided = self._store_apart(shares, error)
                    break
                self._lost(str(error))
                attempts += 1
                if not self._pause(attempts):
                    return False
            except ConnectionTroubleError as error:
                self._lost(str(error))
                _doubt(shares)
                attempts += 1
                if not self._pause(attempts):
                    return False
            except Exception as error:  # noqa: BLE001 - one message must not hold up all others
                _doubt(shares)
                decided = self._store_apart(shares, error)
                break
            else:
                self._found()
                self._finish(plan, shares, done)
                break
        self._report(done)
        return decided

    def _connect(self) -> None:
        self._store.connect()
        now_s = time.monotonic()
        if now_s - self._days_at > DAYS_EVERY_S:
            self._store.look_for_days()
            self._days_at = now_s

    def _believe(self, shares: list[Share], done: Done) -> list[Share]:
        """The shares whose sessions may write, each with a fence."""
        unknown = [share.session.device_id for share in shares if share.session.fence is None]
        positions = self._store.positions(unknown) if unknown else {}
        kept: dict[tuple[int, str], Share] = {}
        for share in shares:
            session = share.session
            position = positions.get(session.device_id)
            if session.fence is None and _is_of(position, session):
                if position.revoked:
                    done.dismiss(share, position.epoch)
                    continue
                session.fence = Fence(position.session_no, position.epoch, position.stream, position.seq)
            if session.fence is None:
                done.drop(share)
            else:
                key = session.device_id, session.kid
                if key in kept:  # the later log-in of one key: the fence has room for one
                    done.drop(kept.pop(key))
                kept[key] = share
        return list(kept.values())

    def _finish(self, plan: Plan, shares: list[Share], done: Done) -> None:
        """The batch is committed: believe it, and acknowledge."""
        for share, fence in zip(shares, plan.fences, strict=True):
            share.session.fence = fence
            done.flush.append(share.session)
            for upload in share.uploads():
                done.decide(share.session, upload)
        done.refused += plan.aside
        self._metrics.batches.inc()
        self._metrics.rows.inc(plan.rows)
        self._metrics.duplicates.inc(plan.duplicates)
        self._metrics.rejected.inc(plan.rejected)

    def _store_apart(self, shares: list[Share], error: Exception) -> bool:
        """Something in this batch cannot be stored: store its parts one after the other. As _store_all."""
        if len(shares) > 1:
            middle = len(shares) // 2
            return self._store_all(shares[:middle]) and self._store_all(shares[middle:])
        session = shares[0].session
        uploads = list(shares[0].uploads())
        if len(uploads) > 1:
            return all(self._store_all([Share.of(session, upload)]) for upload in uploads)
        if uploads[0].messages > 1:
            return self._store_singles(session, uploads[0])
        return self._refuse(session, uploads[0], error)

    def _store_singles(self, session: Session, upload: Upload) -> bool:
        singles = upload.singles()
        if not all(self._store_all([Share.of(session, single)]) for single in singles):
            return False
        acks = [single.acks for single in singles if single.acks is not None]
        if len(acks) == len(singles):
            upload.acks = b"".join(acks)
            self._report(Done(flush=[session]))
        return True

    def _refuse(self, session: Session, upload: Upload, error: Exception) -> bool:
        """Keep a message that cannot be stored aside, and never ask for it again. As _store_all."""
        log.error(
            "a message cannot be stored",
            kind=upload.topic.kind,
            device_id=session.device_id,
            peer=session.peer,
            exc_info=error,
        )
        self._metrics.rejected.inc()
        rejection = Rejection(upload, 0, DecodeError(ErrorCode.OUT_OF_RANGE, f"cannot be stored: {error}"))
        now_ms = time.time_ns() // 1_000_000
        aside = Batch(now_ms=now_ms, rejected=[rejected_row(session, rejection, now_ms)])
        attempts = 0
        while True:
            try:
                self._store.connect()
                self._store.write(aside)
            except ConnectionTroubleError as trouble:  # the device still has it
                self._lost(str(trouble))
                attempts += 1
                if not self._pause(attempts):
                    return False
                continue
            except (
                Exception
            ):  # refused twice: it must not come back for ever, and the line above has its reason
                log.exception("a refused message was not kept aside")
            break
        self._found()
        upload.reasons[0] = Reason.PAYLOAD_FORMAT_INVALID
        done = Done(flush=[session])
        done.decide(session, upload)
        self._report(done)
        return True

    # --- the database comes and goes ------------------------------------------------------------------------

    def _lost(self, reason: str) -> None:
        self._store.close()
        if self._away_since is None:
            self._away_since = time.monotonic()
            log.warning("the database does not answer; nothing is acknowledged until it does", reason=reason)

    def _found(self) -> None:
        if self._away_since is not None:
            log.info("the database answers again", after_s=round(time.monotonic() - self._away_since, 1))
            self._away_since = None

    def _pause(self, attempt: int) -> bool:
        """Wait before the next attempt, longer each time; False when we are asked to stop."""
        longest_s = min(MAX_PAUSE_S, FIRST_PAUSE_S * 2 ** min(attempt, 10))
        deadline = time.monotonic() + random.uniform(longest_s / 2, longest_s)  # noqa: S311  no secret
        while (left_s := deadline - time.monotonic()) > 0:
            if self._stopping:
                return False
            time.sleep(min(left_s, 0.05))
        return not self._stopping


# --- pure helpers -------------------------------------------------------------------------------------------


def _doubt(shares: Sequence[Share]) -> None:
    for share in shares:
        share.session.fence = None


def _divisible(shares: Sequence[Share]) -> bool:
    return len(shares) > 1 or sum(upload.messages for upload in shares[0].uploads()) > 1


def _is_of(position: Position | None, session: Session) -> TypeGuard[Position]:
    """Whether ``latest`` names this session as the one that may write, or might until the ownership ended."""
    return position is not None and (position.kid, position.session_no) == (session.kid, session.login_ms)
