"""Acceptance ``restore``: a backup of an hour ago is back: agents take the next command, setting, epoch.

Real PostgreSQL, gateway, portal, agent and simulator. A person gives a command and changes a setting; the
database is dumped (``pg_dump`` of the packaged PostgreSQL). Then everything goes on: more commands and
settings, and the device is handed to another company, which gives it a new epoch. The dump is restored into
an empty database, with every time and number of the cloud's own put back by an hour, as the clock of a
running machine cannot be put forward; only epochs stay, for they name the ownership that the agent is in.
``admin restore-check`` finds nothing bad; the cloud starts; the agent, which has seen higher numbers of every
kind, does the next command and obeys the next setting, of the restored owner, and after the next hand-over of
the next one. At last the check is shown what must be bad: numbers ahead of the clock.
"""

import asyncio
import os
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from cloud.postgres.admin import create_database
from cloud.postgres_binaries import find_installation
from tests.accept import CheckError, expect, passed, progress, wait_until
from tests.accept._settings_site import WAIT_S, SettingsSite, settings_site
from tests.faults.processes import clean_environment

NAME: Final = "restore"
HOUR_MS: Final = 3_600_000
CLOUD: Final = ("gateway", "portal")
NUMBERS: Final = (
    ("device", "last_counter"),
    ("command", "counter"),
    ("device_setting", "version"),
    ("device_setting", "base_version"),
    ("setting_change", "version"),
    ("latest", "session_no"),
)
"""Beside all times: numbers that are made of the clock, and compared with what the agent remembers."""
TIMES: Final = """
SELECT c.relname, a.attname FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
 WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'r' AND a.attname LIKE '%\\_ms'
   AND a.atttypid = 'bigint'::regtype AND NOT a.attisdropped"""


@dataclass(frozen=True)
class Seen:
    """The highest numbers that the agent has seen, and where its commands ended."""

    epoch: int
    counter: int
    version: int


class Run:
    """One house and its database."""

    def __init__(self, site: SettingsSite, folder: Path) -> None:
        self.site = site
        self.cloud = site.house.cloud
        self._dump = folder / "backup.dump"

    def rows(self, statement: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """What the database says."""
        with psycopg.connect(self.cloud.dsn, autocommit=True) as connection:
            found = connection.execute(statement.encode(), list(values) or None)
            return found.fetchall() if found.description else []

    def seen(self) -> Seen:
        """The numbers as they stand: what the agent has been given."""
        [(epoch, counter, version)] = self.rows(
            "SELECT d.last_epoch, d.last_counter, coalesce(s.version, 0) FROM device d"
            " LEFT JOIN device_setting s USING (device_id) WHERE d.device_id = %s",
            [self.site.house.label.device_id],
        )
        return Seen(epoch, counter, version)

    # --- people ---------------------------------------------------------------------------------------------

    async def command(self, person: int) -> None:
        """A person lets the UPS show itself, and it does. CheckError."""
        asked = self.site.people[person]
        path = f"/api/v1{self.site.path}/commands"
        for _ in range(int(WAIT_S / 0.1)):
            answer = await asked.ask("POST", path, {"kind": "identify"})
            if answer.body.get("code") not in {"ups_silent", "device_offline"}:
                break
            await asyncio.sleep(0.1)
        expect(answer.status in {200, 201, 202}, f"no command is taken: {answer.status} {answer.body}")
        for _ in range(int(WAIT_S / 0.1)):
            listed = await asked.ask("GET", path)
            mine = next(
                one for one in listed.body["commands"] if one["command_id"] == answer.body["command_id"]
            )
            if mine["state"] not in {"requested", "delivered"}:
                expect(mine["state"] == "done", f"the agent did not do a command: {mine}")
                return
            await asyncio.sleep(0.1)
        raise CheckError(f"a command has no end: {mine}")

    async def setting(self, what: str, value: int, person: int = 0) -> None:
        """A person changes a setting that the UPS has told of, and both ends agree on it. CheckError."""
        for _ in range(int(WAIT_S / 0.1)):
            said = (await self.site.settings(person)).get("transfer_low", {})
            if said.get("state", "unknown") != "unknown":
                break
            await asyncio.sleep(0.1)
        else:
            raise CheckError(f"{what}: the UPS does not tell of its settings: {said}")
        await self.site.want(person, transfer_low=value)
        await self.site.agree(what, {"transfer_low": value}, person)

    # --- backup and restore ---------------------------------------------------------------------------------

    def back_up(self) -> None:
        """Dump the database while everything runs."""
        self._tool("pg_dump", "--format=custom", f"--file={self._dump}")

    def restore(self) -> int:
        """Stop the cloud, restore the dump into an empty database, an hour back; how many columns that is."""
        for name in CLOUD:
            self.cloud.stop(name)
        self._dsn = self.cloud.dsn
        name = str(conninfo_to_dict(self._dsn)["dbname"])
        other = make_conninfo(self._dsn, dbname="postgres")
        with psycopg.connect(other, autocommit=True) as connection:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        create_database(other, name)
        self._tool("pg_restore", "--exit-on-error", "--no-owner", f"--dbname={name}", str(self._dump))
        return self._put_back()

    def _put_back(self) -> int:
        """Every time and number of the restored cloud lies an hour further back."""
        columns = [(str(table), str(column)) for table, column in self.rows(TIMES)]
        columns += NUMBERS
        by_table: dict[str, list[str]] = {}
        for table, column in columns:
            by_table.setdefault(table, []).append(column)
        with psycopg.connect(self.cloud.dsn) as connection:
            for table, names in by_table.items():
                changes = sql.SQL(", ").join(
                    sql.SQL("{0} = CASE WHEN {0} > 1600000000000 THEN {0} - {1} ELSE {0} END").format(
                        sql.Identifier(one), sql.Literal(HOUR_MS)
                    )
                    for one in names
                    if (table, one) != ("latest", "ts_ms")
                )
                connection.execute(sql.SQL("UPDATE {} SET {}").format(sql.Identifier(table), changes))
        return len(columns)

    def _tool(self, name: str, *words: str) -> None:
        """A program of the packaged PostgreSQL; the password is not among its words."""
        known = conninfo_to_dict(self.cloud.dsn)
        environment = clean_environment({"PGPASSWORD": str(known["password"]), "PGHOST": str(known["host"])})
        environment |= {"PGUSER": str(known["user"]), "PGDATABASE": str(known["dbname"])}
        if "port" in known:
            environment["PGPORT"] = str(known["port"])
        program = find_installation() / "bin" / name
        done = subprocess.run(
            [os.fspath(program), *words], capture_output=True, text=True, check=False, env=environment
        )
        expect(done.returncode == 0, f"{name}: {done.stderr[-500:]}")

    def check(self) -> tuple[int, list[str]]:
        """``admin restore-check``: its exit status and its lines."""
        done = subprocess.run(
            self.cloud.command("admin", "restore-check"),
            capture_output=True,
            text=True,
            check=False,
            env=clean_environment(),
        )
        return done.returncode, done.stdout.splitlines()


async def run(check: Run) -> str:
    """Every part in turn; the figures for the last line."""
    site = check.site
    await site.agree("told at first", {"transfer_low": 207})
    await check.command(0)
    await check.setting("before the backup", 200)
    await asyncio.to_thread(check.back_up)
    progress("backed up, after a command and a setting")
    at_backup = check.seen()
    await check.command(0)
    await check.setting("after the backup", 198)
    await site.hand_over()
    await check.command(1)
    await check.setting("of the next owner", 196, person=1)
    lost = check.seen()
    expect(
        lost.epoch > at_backup.epoch
        and lost.counter > at_backup.counter
        and lost.version > at_backup.version,
        f"nothing went on: {at_backup} {lost}",
    )
    progress("the agent has gone on: another command, setting and epoch")
    columns = await asyncio.to_thread(check.restore)
    status, lines = await asyncio.to_thread(check.check)
    for line in lines:
        progress(f"  {line}")
    expect(status == 0, f"restore-check is not content: {lines}")
    expect(any("1 h 0 min old" in line for line in lines), f"restore-check does not see the hour: {lines}")
    restored = check.seen()
    expect(restored.counter <= at_backup.counter - HOUR_MS, f"the database is not an hour old: {restored}")
    for name in CLOUD:
        await asyncio.to_thread(check.cloud.start, name)
    await check.command(0)
    await check.setting("of the restored owner", 194)
    after = check.seen()
    expect(after.epoch == at_backup.epoch, "the restored ownership is another one")
    expect(after.counter > lost.counter, f"a counter was given twice: {lost} {after}")
    expect(after.version > lost.version, f"a settings version was given twice: {lost} {after}")
    progress("the agent took the next command and setting in the restored ownership")
    await site.hand_over()
    await check.command(1)
    await check.setting("of the next epoch", 192, person=1)
    moved = check.seen()
    expect(moved.epoch > lost.epoch, f"an epoch was given twice: {lost} {moved}")
    stored = await asyncio.to_thread(_stores, check, moved.epoch)
    progress("the agent took the next epoch, too")
    check.rows("UPDATE device SET last_counter = %s, last_epoch = %s", [moved.epoch + HOUR_MS] * 2)
    status, lines = await asyncio.to_thread(check.check)
    bad = [line.split()[1] for line in lines if line.startswith("BAD")]
    expect(status == 1 and {"epochs", "counters"} <= set(bad), f"restore-check is content: {lines}")
    took = ", ".join(f"{what} {seconds:.2f} s" for what, seconds in site.took_s.items() if "of the" in what)
    gained = (
        f"counter {after.counter - lost.counter} ms, version {after.version - lost.version} ms, epoch"
        f" {moved.epoch - lost.epoch} ms above the highest it had seen"
    )
    return f"""a dump of an hour ago ({columns} columns of times and numbers) restored; restore-check content,
        and not with numbers ahead of the clock; the agent did the next command, obeyed the next setting and
        took the next epoch: {gained}; {stored} samples in the new epoch; agreed after: {took}"""


def _stores(check: Run, epoch: int) -> int:
    """Samples of this epoch, once there are some."""

    def count() -> int:
        [(found,)] = check.rows("SELECT count(*) FROM v_telemetry WHERE epoch = %s", [epoch])
        return int(found)

    wait_until("telemetry is stored in the new epoch", count, WAIT_S, 0.2)
    return count()


async def both(folder: Path) -> str:
    """In a house of its own."""
    async with settings_site(folder, rtu=False) as site:
        return await run(Run(site, folder))


def main() -> int:
    """Run the check."""
    with tempfile.TemporaryDirectory(prefix="sc-restore-") as name:
        return passed(NAME, asyncio.run(both(Path(name))))
