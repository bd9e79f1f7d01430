"""The services on a real PostgreSQL as a world of the ownership model."""

import asyncio
import itertools
from typing import Any, Final

import psycopg

from cloud.core.authz import Actor
from cloud.core.device import Device, KeyState, MatterKind, MatterStatus
from cloud.postgres import claims
from cloud.postgres.pool import Pool, make_pool
from cloud.services import claiming, offering, owning
from cloud.services.acting import OwningError
from cloud.services.claim_view import ViewState
from protocol.messages import Request
from tests.support.claiming import TestDevice, make_actors
from tests.support.ownership_rules import COMPANIES, DEVICES, KEYS, PENDING, IllegalError

STATES: Final = {ViewState.WON: "won", ViewState.REFUSED: "refused"}
ANSWERS: Final = {
    claiming.Noted.BOUND: "bound",
    claiming.Noted.REVOKED: "revoked",
    claiming.Noted.RECORDED: "recorded",
}
REFUSALS: Final = (OwningError, claiming.UnknownClaimError, claiming.UnknownKeyError)


class PostgresWorld:
    """Devices and companies in the database ``dsn``, fresh ones at each start."""

    def __init__(self, dsn: str) -> None:
        self._dsn = dsn
        self._people: list[Actor] = []
        self._companies: dict[int, int] = {}
        self._starts = itertools.count()
        self._runner = asyncio.Runner()
        self._pool: Pool | None = None
        self._sql = psycopg.connect(dsn, autocommit=True)
        self._keys: list[list[TestDevice]] = []

    def close(self) -> None:
        """End all connections."""
        self._stop()
        self._runner.close()
        self._sql.close()

    def start(self) -> None:
        if self._pool is None:
            self.restart()
        self._people = make_actors(self._dsn, COMPANIES, f"life{next(self._starts)}-")
        self._companies = {person.company_id: number for number, person in enumerate(self._people)}
        first = [TestDevice() for _ in range(DEVICES)]
        self._keys = [[one, *(one.twin() for _ in range(KEYS - 1))] for one in first]

    def restart(self) -> None:
        self._stop()
        pool = make_pool(self._dsn, name="world", max_size=2)
        self._runner.run(_open(pool))
        self._pool = pool

    def _stop(self) -> None:
        if self._pool is not None:
            self._runner.run(self._pool.close())
            self._pool = None

    # --- what is done

    def hear(self, device: int, now: int, *, connected: bool) -> None:
        self._sql.execute(
            "UPDATE latest SET connected = %s, seen_ms = greatest(seen_ms, %s) WHERE device_id = %s",
            (connected, now, self._id(device)),
        )

    def store(self, device: int, at: int) -> None:
        self._sql.execute(
            "INSERT INTO telemetry_late SELECT device_id, to_timestamp(%s / 1000.0), 1,"
            " (SELECT count(*) FROM telemetry_late), epoch, output_energy, flags, ups_status, input_status,"
            " general_error, power_system_error, battery_system_error, mog_outlet_status,"
            " sog0_outlet_status, sog1_outlet_status, sog2_outlet_status, input_voltage, output_voltage,"
            " output_frequency, output_current, output_real_power_pct, output_apparent_power_pct,"
            " state_of_charge, battery_voltage, battery_temperature, runtime_remaining, efficiency,"
            " bypass_voltage FROM latest WHERE device_id = %s",
            (at, self._id(device)),
        )

    def do(self, what: str, device: int, now: int, *arguments: int | None, **flags: bool) -> str:
        try:
            return self._runner.run(self._do(what, device, now, *arguments, **flags))
        except REFUSALS as error:
            raise IllegalError from error

    async def _do(self, what: str, device: int, now: int, *arguments: int | None, **flags: bool) -> str:
        pool, device_id = self._open_pool(), self._id(device)
        first = arguments[0] if arguments else None
        second = arguments[1] if len(arguments) > 1 else None
        match what:
            case "announce":
                assert first is not None
                return await self._announce(device, first, now, **flags)
            case "claim":
                assert first is not None
                key = self._keys[device][0]
                view = await claiming.submit(
                    pool, self._people[first], key.product_id, key.label_pub, now, pending_ms=PENDING
                )
                return STATES.get(view.state, "waiting")
            case "pass_time":
                await owning.pass_time(pool, device_id, now)
            case "suspect_clone":
                await self._suspect_clone(device, now)
            case "close_company":
                assert first is not None
                await owning.pass_time(pool, device_id, now)
                to = None if second is None else self._people[second].company_id
                await owning.close_company(
                    pool,
                    self._people[first].company_id,
                    now,
                    hand_to_company_id=to,
                    account_id=None if second is None else self._people[second].account_id,
                )
            case _:
                assert first is not None
                await self._act(what, device, now, self._people[first], second)
        return "ok"

    async def _announce(self, device: int, kid: int, now: int, *, on: bool, release: bool) -> str:
        key = self._keys[device][kid]
        request = Request.RELEASE if release else Request.NONE
        noted = await key.announce(self._open_pool(), now, smartconnect=on, request=request)
        return ANSWERS[noted]

    async def _suspect_clone(self, device: int, now: int) -> None:
        facts = await self._load(device)
        if facts.owner is None:
            raise IllegalError
        self._sql.execute(
            "UPDATE device_key SET takeovers = 3, takeovers_from_ms = %s WHERE device_id = %s AND kid = %s",
            (now, self._id(device), facts.owner.kid),
        )
        await owning.note_takeover(self._open_pool(), self._id(device), facts.owner.kid, now)
        if (await self._load(device)).open(MatterKind.CLONE) is None:
            raise IllegalError

    async def _act(self, what: str, device: int, now: int, person: Actor, second: int | None) -> None:
        pool, device_id = self._open_pool(), self._id(device)
        facts = await self._load(device)
        match what:
            case "pick" | "cancel":
                await self._act_on_claim(what, device, now, person, second)
            case "make_offer":
                assert second is not None
                to = self._people[second].company_id
                await offering.offer(pool, person, device_id, now, fresh=True, to_company_id=to)
            case "take_offer" | "decline_offer":
                await self._answer_offer(what, facts, person, now)
            case "approve_rekey" | "dismiss_rekey":
                kid = self._kid(device, second)
                if facts.open(MatterKind.REKEY, kid) is None:
                    raise IllegalError
                if what == "approve_rekey":
                    await owning.approve_rekey(pool, person, device_id, kid, now, fresh=True)
                else:
                    await owning.dismiss_rekey(pool, person, device_id, kid, now)
            case "ask_second_hand":
                await owning.ask_second_hand(pool, person, device_id, self._kid(device, second), now)
            case _:
                await self._act_alone(what, device_id, now, person, second, facts)

    async def _answer_offer(self, what: str, facts: Device, person: Actor, now: int) -> None:
        made = facts.open(MatterKind.OFFER)
        if made is None or made.ref is None or made.company_id != person.company_id:
            raise IllegalError
        if what == "take_offer":
            await offering.accept_offer(self._open_pool(), person, made.ref, now, fresh=True)
        else:
            await offering.decline_offer(self._open_pool(), person, made.ref, now)

    async def _act_on_claim(
        self, what: str, device: int, now: int, person: Actor, second: int | None
    ) -> None:
        pool, facts = self._open_pool(), await self._load(device)
        claim = next((one for one in facts.pending if one.company_id == person.company_id), None)
        if claim is None or claim.expires_ms <= now:
            raise IllegalError
        if what == "cancel":
            await claiming.cancel(pool, person, claim.claim_id, now)
        else:
            await claiming.pick(pool, person, claim.claim_id, self._kid(device, second), now)

    async def _act_alone(
        self, what: str, device_id: int, now: int, person: Actor, second: int | None, facts: Device
    ) -> None:
        pool = self._open_pool()
        match what:
            case "ask_release":
                if facts.owner is None or facts.owner.company_id != person.company_id:
                    raise IllegalError
                await owning.release(pool, person, device_id, now, fresh=True)
            case "cancel_release":
                await owning.cancel_release(pool, person, device_id, now)
            case "withdraw_offer":
                await offering.withdraw_offer(pool, person, device_id, now)
            case "object_second_hand":
                await owning.object_second_hand(pool, person, device_id, now)
            case "clear_clone":
                await owning.clear_clone(pool, person, device_id, now, fresh=True)
            case "mark_stolen":
                await owning.mark_stolen(pool, person, device_id, now)
            case "lift_stolen":
                await owning.lift_stolen(pool, person, device_id, now, fresh=True)
            case "dismiss_dispute":
                assert second is not None
                claimant = self._people[second].company_id
                await owning.dismiss_dispute(pool, person, device_id, claimant, now)
            case "withdraw_dispute":
                await owning.withdraw_dispute(pool, person, device_id, now)
            case "grant_dispute":
                await owning.decide_dispute(
                    pool, device_id, person.company_id, now, for_claimant=True, operator="op"
                )
            case _:
                raise KeyError(what)

    # --- what is held

    def facts(self, device: int) -> tuple[Any, ...]:
        facts = self._runner.run(self._load(device))
        names = {key.kid: number for number, key in enumerate(self._keys[device])}
        owner = facts.owner
        return (
            None if owner is None else self._companies[owner.company_id],
            None if owner is None else names[owner.kid],
            facts.last_epoch,
            frozenset(self._companies[claim.company_id] for claim in facts.pending),
            frozenset(
                (one.kind.value, self._subject(one.kind, one.subject, names))
                for one in facts.matters
                if one.status is MatterStatus.OPEN
            ),
            frozenset(names[key.kid] for key in facts.keys if key.state is KeyState.REVOKED),
            sum(one.reminded for one in facts.matters if one.status is MatterStatus.OPEN),
        )

    def describe(self, device: int) -> str:
        return repr(self._runner.run(self._load(device)))

    def _subject(self, kind: MatterKind, subject: str, names: dict[str, int]) -> str:
        if kind is MatterKind.REKEY:
            return f"k{names[subject]}"
        return f"c{self._companies[int(subject)]}" if kind is MatterKind.DISPUTE else subject

    async def _load(self, device: int) -> Device:
        async with self._open_pool().connection() as connection:
            return await claims.load(connection, self._id(device))

    def _open_pool(self) -> Pool:
        assert self._pool is not None
        return self._pool

    def _id(self, device: int) -> int:
        return self._keys[device][0].device_id

    def _kid(self, device: int, kid: int | None) -> str:
        assert kid is not None
        return self._keys[device][kid].kid


async def _open(pool: Pool) -> None:
    await pool.open()
