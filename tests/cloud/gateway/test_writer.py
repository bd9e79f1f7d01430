"""A writer on a real PostgreSQL, where it is away at the worst moment."""

from collections.abc import Callable

import psycopg
import pytest

from cloud.core.session import Standing
from cloud.core.upload import Upload
from cloud.gateway.metrics import Metrics
from cloud.gateway.session import Session
from cloud.gateway.writer import Done, Writer
from cloud.postgres.telemetry import Batch, ConnectionTroubleError, Store, TooSlowError
from protocol.errors import Reason
from protocol.mqtt import V5, puback
from tests.accept import wait_until
from tests.support import ingest
from tests.support.ingest import KID, ONE, TWO, own_devices, sample, stored

STOP_TIMEOUT_S = 10.0


class FailingStore(Store):
    """A store whose first writes fail as the functions say, after which it is as good as any."""

    def __init__(self, dsn: str, failures: list[Callable[[], Exception]]) -> None:
        super().__init__(dsn, "test")
        self.failures = failures

    def write(self, batch: Batch, *, staged: bool = False) -> None:
        if self.failures:
            failure = self.failures.pop(0)
            raise failure()
        super().write(batch, staged=staged)


def session(device_id: int) -> Session:
    """The session that may write for the device, as far as a writer looks at it."""
    return Session(
        link=None,  # type: ignore[arg-type]  # a writer only reports
        voice=None,  # type: ignore[arg-type]  # the same
        kid=KID,
        device_id=device_id,
        login_ms=1,
        version=V5,
        keep_alive_s=60,
        peer="127.0.0.1:1",
        nonce=b"",
        standing=Standing(),
    )


def upload(*seqs: int) -> Upload:
    return ingest.upload([ingest.protobuf([sample(seq)]) for seq in seqs])


class Desk:
    """A writer, and what it has reported."""

    def __init__(self, dsn: str, *failures: Callable[[], Exception]) -> None:
        self.store = FailingStore(dsn, list(failures))
        self.done: list[Done] = []
        self.writer = Writer(self.store, "test", self.done.append, Metrics())

    def run(self) -> None:
        """Until it has done what it can, and ended."""
        self.writer.start()
        self.run_out()

    def run_out(self) -> None:
        """Ask a started writer to end."""
        self.writer.stop(STOP_TIMEOUT_S)
        assert not self.writer._thread.is_alive()
        assert self.writer.failed is None


@pytest.fixture
def dsn(database: str) -> str:
    own_devices(database, [ONE, TWO])
    return database


def test_what_came_before_the_stop_is_stored(dsn: str) -> None:
    desk = Desk(dsn)
    uploads = [upload(1, 2), upload(3)]
    device = session(ONE)
    for one in uploads:
        desk.writer.put(device, one)
    desk.run()
    assert stored(dsn) == [(ONE, 1, 1), (ONE, 1, 2), (ONE, 1, 3)]
    assert all(one.acks is not None for one in uploads)


@pytest.mark.parametrize("parted", [False, True], ids=["at once", "in parts"])
def test_nothing_is_stored_after_what_could_not_be(
    dsn: str, monkeypatch: pytest.MonkeyPatch, *, parted: bool
) -> None:
    """Asked to stop while the database is away, and it is back a moment later: a later batch would move the
    position past an earlier one, and its device would take that one for stored.
    """
    monkeypatch.setattr("cloud.gateway.writer.MAX_ROWS", 2)
    device = session(ONE)
    desk = Desk(dsn)

    def away() -> Exception:
        desk.writer._stopping = True
        return ConnectionTroubleError("away")

    desk.store.failures = [lambda: ValueError("a fault of ours"), away] if parted else [away]
    uploads = [upload(1), upload(2), upload(3), upload(4)]
    for one in uploads:
        desk.writer.put(device, one)
    desk.run()
    assert stored(dsn) == []
    assert [one.acks for one in uploads] == [None] * 4


def test_a_fault_with_one_message_is_found_and_the_others_are_stored(dsn: str) -> None:
    """Whole batch, each half, each upload, each message: what fails alone is refused."""
    bad, good = session(ONE), session(TWO)

    def fault() -> Exception:
        return ValueError("a fault of ours")

    desk = Desk(dsn, fault, fault, fault)  # the batch, the first session's part, its first message
    uploads = [upload(1, 2), upload(1, 2)]
    desk.writer.put(bad, uploads[0])
    desk.writer.put(good, uploads[1])
    desk.run()
    assert stored(dsn) == [(ONE, 1, 2), (TWO, 1, 1), (TWO, 1, 2)]
    assert uploads[0].acks == b"\x40\x03\x00\x01\x99" + b"\x40\x02\x00\x02"
    assert uploads[1].acks == b"\x40\x02\x00\x01" + b"\x40\x02\x00\x02"


def test_a_refused_message_is_kept_aside_once_the_database_is_back(dsn: str) -> None:
    """It is not answered before: a refusal without its row would be a silent loss."""
    desk = Desk(dsn, lambda: ValueError("a fault of ours"), lambda: ConnectionTroubleError("away"))
    bad = upload(1)
    desk.writer.start()
    desk.writer.put(session(ONE), bad)
    wait_until("the message is decided", lambda: bad.acks is not None, STOP_TIMEOUT_S)
    desk.writer.stop(STOP_TIMEOUT_S)
    assert bad.reasons == {0: Reason.PAYLOAD_FORMAT_INVALID}
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT device_id, code FROM rejected").fetchall()
    assert rows == [(ONE, "out_of_range")]


def test_what_waits_when_its_ownership_ends_is_dropped_and_the_session_goes_on(dsn: str) -> None:
    """Nobody has taken the session over: closing it would only make the device log in again."""
    desk = Desk(dsn)
    uploads = [upload(1, 2), ingest.upload([ingest.protobuf([sample(1)])], epoch=2)]
    with psycopg.connect(dsn) as connection:
        assert connection.execute("SELECT end_ownership(%s, 1, 'released', NULL, 2)", [ONE]).fetchone() == (
            True,
        )
    for one in uploads:
        desk.writer.put(session(ONE), one)
    desk.run()
    assert stored(dsn) == []
    assert [one.acks for one in uploads] == [
        puback(1, V5, Reason.NO_MATCHING_SUBSCRIBERS) + puback(2, V5, Reason.NO_MATCHING_SUBSCRIBERS),
        puback(1, V5, Reason.NOT_AUTHORIZED),
    ]
    assert [done.end for done in desk.done if done.end] == []
    assert {found.device_id for done in desk.done for found in done.flush} == {ONE}


def test_a_session_that_was_taken_over_is_ended(dsn: str) -> None:
    desk = Desk(dsn)
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE latest SET session_no = 2, revoked = true WHERE device_id = %s", [ONE])
    desk.writer.put(session(ONE), upload(1))
    desk.run()
    assert [refusal.reason for done in desk.done for _, refusal in done.end] == [Reason.SESSION_TAKEN_OVER]


def test_of_two_sessions_of_one_log_in_the_later_one_writes(dsn: str) -> None:
    """The fence has room for one of them: with both, nothing of the whole batch would ever be stored."""
    desk = Desk(dsn)
    uploads = [upload(1), upload(2)]
    first, second = session(ONE), session(ONE)
    desk.writer.put(first, uploads[0])
    desk.writer.put(second, uploads[1])
    desk.writer.put(session(TWO), upload(1))
    desk.run()
    assert stored(dsn) == [(ONE, 1, 2), (TWO, 1, 1)]
    assert [ended for done in desk.done for ended, _ in done.end] == [first]
    assert uploads[0].acks is None


def test_a_batch_that_takes_too_long_is_halved_and_nothing_is_refused(dsn: str) -> None:
    desk = Desk(dsn, *[lambda: TooSlowError("cancelled")] * 4)  # both, then one of two, one message, again
    uploads = [upload(1, 2), upload(1)]
    desk.writer.put(session(ONE), uploads[0])
    desk.writer.put(session(TWO), uploads[1])
    desk.writer.start()
    wait_until("all is decided", lambda: all(one.acks is not None for one in uploads), STOP_TIMEOUT_S)
    desk.run_out()
    assert stored(dsn) == [(ONE, 1, 1), (ONE, 1, 2), (TWO, 1, 1)]
    assert [done.refused for done in desk.done if done.refused] == []


def test_a_batch_is_bounded_by_its_bytes_however_they_came(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cloud.gateway.writer.MAX_ROWS", 10)
    desk = Desk(dsn)
    for _ in range(3):
        desk.writer.put(session(ONE), ingest.upload([ingest.protobuf([sample(seq) for seq in range(1, 12)])]))
    (share,) = desk.writer._take()
    assert len(list(share.uploads())) == 1
