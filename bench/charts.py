"""How long charts take: ``python -m bench.charts [--rows N]`` on a private PostgreSQL of its own.

One device that reports every second, a million rows by default, rolled up by the jobs' own code; behind them
a year of rollups. Every range is asked for as the API does, and the table under it as the page does.
"""

import argparse
import asyncio
import statistics
import tempfile
import time
from pathlib import Path
from typing import Final

import psycopg

from cloud.core import chart
from cloud.core.chart import DAY_S, HOUR_S
from cloud.embedded import EmbeddedPostgres
from cloud.postgres import charts, rollups
from cloud.postgres.admin import create_database
from cloud.postgres.migrate import migrate
from cloud.postgres.pool import Pool, make_pool
from protocol.points import VALUES, Wire

ROUNDS: Final = 20
DEVICE: Final = 1
COMPANY: Final = 1
POINTS: Final = ("input_voltage", "output_voltage", "output_real_power_pct", "state_of_charge")
RANGES: Final = {
    "1 h": HOUR_S,
    "6 h": 6 * HOUR_S,
    "12 h": 12 * HOUR_S,
    "24 h": DAY_S,
    "7 d": 7 * DAY_S,
    "30 d": 30 * DAY_S,
    "1 y": 365 * DAY_S,
    "all": 0,
}


def fill(dsn: str, rows: int, now_ms: int) -> None:
    """One device with so many samples, a second apart, up to now."""
    values = ", ".join(
        "0"
        if point.wire is Wire.FIXED32 and point.name != "ups_status"
        else "2"
        if point.name == "ups_status"
        else f"{point.number * 10} + random() * 5"
        for point in VALUES
    )
    names = ", ".join(point.name for point in VALUES)
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT ensure_telemetry_days((to_timestamp(%s / 1000.0) AT TIME ZONE 'UTC')::date, %s)",
            [now_ms - rows * 1000, rows // DAY_S + 3],
        )
        connection.execute("INSERT INTO company (name, created_ms) VALUES ('c', 0)")
        connection.execute(
            "INSERT INTO account (email, email_norm, password_hash, created_ms) VALUES ('a', 'a', '', 0)"
        )
        connection.execute(
            "INSERT INTO device (device_id, product_id, label_pub, created_ms) VALUES (1, 'P', '', 0)"
        )
        connection.execute(
            "INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)"
            " SELECT 1, 1, company_id, account_id, 'k', %s FROM company, account",
            [now_ms - 365 * DAY_S * 1000],
        )
        connection.execute("INSERT INTO latest (device_id, session_no, epoch, kid) VALUES (1, 1, 1, 'k')")
        connection.execute(
            f"INSERT INTO telemetry (device_id, ts, stream, seq, epoch, {names})"
            f" SELECT 1, to_timestamp(%s / 1000.0) - make_interval(secs => {rows} - n), 2, n, 1, {values}"
            f" FROM generate_series(1, {rows}) AS n".encode(),
            [now_ms],
        )
        connection.execute("UPDATE latest SET stream = 2, seq = %s", [rows])


def fill_year(dsn: str, rows: int, now_ms: int) -> None:
    """Rollups of the year before: copies of the newest day that is rolled up."""
    parts = [f"{point}_{part}" for point in rollups.POINTS for part in ("low", "mean", "high")]
    columns = ", ".join(["rows", "samples", "on_battery", "imported", *parts])
    with psycopg.connect(dsn, autocommit=True) as connection:
        for width_s, days in ((chart.FINE_S, 100), (chart.COARSE_S, 365)):
            connection.execute(
                f"INSERT INTO rollup (device_id, epoch, width_s, ts, {columns})"
                f" SELECT device_id, epoch, width_s, ts - make_interval(days => n), {columns}"
                f" FROM rollup, generate_series({rows // DAY_S}, {days}) AS n WHERE width_s = %s"
                " AND ts >= to_timestamp(%s / 1000.0) - interval '30 hours'"
                " AND ts < to_timestamp(%s / 1000.0) - interval '6 hours'"
                " ON CONFLICT DO NOTHING".encode(),
                [width_s, now_ms, now_ms],
            )
        connection.execute("VACUUM ANALYZE")


async def measure(dsn: str, rows: int, now_ms: int) -> None:
    """Roll up, then ask; figures to standard output."""
    async with make_pool(dsn, name="bench", statement_timeout_ms=120_000) as pool:
        began, days = time.monotonic(), 1
        while await rollups.roll(pool, DEVICE, now_ms):
            days += 1
        took_s = time.monotonic() - began
        print(f"rolled up: {rows} samples in {took_s:.1f} s, {rows / took_s:.0f} a second, {days} days")
        began = time.monotonic()
        await rollups.sweep(pool, DEVICE, now_ms)
        print(f"counted: {(time.monotonic() - began) * 1000:.0f} ms")
        began = time.monotonic()
        await rollups.roll(pool, DEVICE, now_ms + rollups.PERIOD_MS)
        print(f"rolled up again: {(time.monotonic() - began) * 1000:.0f} ms")
        await asyncio.to_thread(fill_year, dsn, rows, now_ms)
        print(f"{'range':>6} {'source':>8} {'pieces':>7} {'p50 ms':>7} {'p95 ms':>7} {'table p95':>10}")
        for name, range_s in RANGES.items():
            stored_ms = await charts.stored_from_ms(pool, COMPANY, DEVICE, 1)
            window = chart.last(range_s, now_ms) if range_s else chart.everything(stored_ms, now_ms)
            plan = chart.plan(window, chart.PIECES, now_ms)
            table = chart.plan_pieces(window, chart.table_piece_ms(window), now_ms)
            took, found = await timed(pool, plan)
            for_table, _ = await timed(pool, table)
            source = "samples" if plan.width_s is None else f"{plan.width_s} s"
            print(
                f"{name:>6} {source:>8} {found:>7} {statistics.median(took):>7.1f}"
                f" {percentile(took):>7.1f} {percentile(for_table):>10.1f}"
            )
        whole = chart.Plan(rows * 1000 // 360, None, now_ms - rows * 1000, now_ms)
        began = time.monotonic()
        await charts.read_pieces(pool, COMPANY, DEVICE, 1, POINTS, whole)
        print(f"all {rows} samples without rollups: {(time.monotonic() - began) * 1000:.0f} ms")


async def timed(pool: Pool, plan: chart.Plan) -> tuple[list[float], int]:
    """Milliseconds of each round, and how many pieces there are."""
    took, pieces = [], 0
    for _ in range(ROUNDS):
        began = time.monotonic()
        pieces = len(await charts.read_pieces(pool, COMPANY, DEVICE, 1, POINTS, plan))
        took.append((time.monotonic() - began) * 1000)
    return took, pieces


def percentile(took: list[float]) -> float:
    """The 95th."""
    return sorted(took)[int(len(took) * 0.95) - 1]


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    rows = parser.parse_args().rows
    now_ms = time.time_ns() // 1_000_000
    with (
        tempfile.TemporaryDirectory(prefix="sc-bench-charts-") as folder,
        EmbeddedPostgres(Path(folder)) as server,
    ):
        create_database(server.dsn("postgres"), "charts")
        dsn = server.dsn("charts")
        migrate(dsn)
        fill(dsn, rows, now_ms)
        asyncio.run(measure(dsn, rows, now_ms))


if __name__ == "__main__":
    main()
