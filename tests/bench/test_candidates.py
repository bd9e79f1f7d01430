"""Short runs of the product as the bench makes them: real PostgreSQL, gateway and generator."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence

import pytest

from bench.candidates import Gateway, gateway, run_ours
from bench.enrollment import Owned, enroll
from bench.processes import BenchError
from bench.setting import Place, Sent, place
from bench.wire import FIRST_SEQ, Shape

Ground = tuple[Place, Gateway, Sequence[Owned]]


@pytest.fixture(scope="module")
def ground() -> Iterator[Ground]:
    """Everything the bench has, with two claimed devices."""
    with place() as found, gateway(found) as at:
        yield found, at, enroll(found, 2)


@pytest.mark.parametrize("shape", [Shape(json=False, samples=1), Shape(json=True, samples=3)])
def test_every_acknowledged_sample_is_counted_in_the_table(ground: Ground, shape: Shape) -> None:
    found, at, devices = ground
    run = run_ours(found, devices, at, "ours", shape, 0.3)
    assert run.rows > 0
    assert run.rows % shape.samples == 0
    assert run.rows_per_s == pytest.approx(run.rows / run.seconds, rel=0.01)
    assert 0 < run.p50_ms <= run.p99_ms <= run.max_ms
    assert run.cores.keys() == {"gateway", "postgres", "generator", "others"}


def test_a_fixed_rate_is_kept(ground: Ground) -> None:
    found, at, devices = ground
    run = run_ours(found, devices, at, "ours", Shape(json=False, samples=1), 0.5, 1000.0)
    assert run.rows == 500


@pytest.fixture
def sent(ground: Ground) -> tuple[Sent, ...]:
    """What one more run has stored."""
    found, at, devices = ground
    run_ours(found, devices, at, "ours", Shape(json=False, samples=1), 0.2, 1000.0)
    with found.connect() as connection:
        rows = connection.execute(
            "SELECT device_id, stream, epoch, count(*) FROM telemetry GROUP BY 1, 2, 3"
        ).fetchall()
    stored = tuple(Sent(*row) for row in rows)
    assert found.check_rows("ours", stored) == 200
    return stored


@pytest.mark.parametrize(
    "change",
    [
        f"DELETE FROM telemetry WHERE seq = {FIRST_SEQ + 7}",
        f"UPDATE telemetry SET input_voltage = 230 WHERE seq = {FIRST_SEQ + 7}",
        f"INSERT INTO telemetry_late SELECT * FROM telemetry WHERE seq = {FIRST_SEQ + 7}",
        f"UPDATE telemetry SET seq = {FIRST_SEQ + 100} WHERE seq = {FIRST_SEQ + 7}",
    ],
)
def test_a_row_too_few_too_many_or_changed_ends_the_bench(
    ground: Ground, sent: tuple[Sent, ...], change: str
) -> None:
    found, _, _ = ground
    with found.connect() as connection:
        assert connection.execute(change).rowcount == 2
    with pytest.raises(BenchError, match="each acknowledged sample once"):
        found.check_rows("ours", sent)


def _one_more(sent: tuple[Sent, ...]) -> tuple[Sent, ...]:
    return dataclasses.replace(sent[0], samples=sent[0].samples + 1), *sent[1:]


def _one_device_less(sent: tuple[Sent, ...]) -> tuple[Sent, ...]:
    return sent[1:]


@pytest.mark.parametrize("change", [_one_more, _one_device_less])
def test_what_was_acknowledged_has_to_be_what_is_there(
    ground: Ground, sent: tuple[Sent, ...], change: Callable[[tuple[Sent, ...]], tuple[Sent, ...]]
) -> None:
    with pytest.raises(BenchError, match="each acknowledged sample once"):
        ground[0].check_rows("ours", change(sent))
