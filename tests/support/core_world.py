"""The core alone as a world of the ownership model: the facts in memory, every effect looked at."""

from dataclasses import replace
from typing import Any

from cloud.core.claim import decide, is_due
from cloud.core.device import ClaimState, Device, KeyState, MatterKind, MatterStatus
from cloud.core.effects import (
    Bind,
    CloseMatter,
    Effect,
    EndClaim,
    EndOwnership,
    MoveOwnership,
    NoteReminder,
    Notice,
    Notify,
    Refuse,
)
from cloud.core.inputs import (
    Announced,
    Cancelled,
    Claimed,
    CloneCleared,
    CloneSuspected,
    DisputeDismissed,
    DisputeGranted,
    DisputeWithdrawn,
    Expired,
    IllegalTransitionError,
    Input,
    Objected,
    OfferDeclined,
    Offered,
    OfferTaken,
    OfferWithdrawn,
    OwnerLeft,
    Picked,
    RekeyApproved,
    RekeyDismissed,
    ReleaseAsked,
    ReleaseCancelled,
    SecondHandAsked,
    StolenLifted,
    StolenMarked,
)
from tests.support.ownership_rules import DAY, DEVICES, PENDING, IllegalError

OWNERS_ACTS: dict[str, Input] = {
    "ask_release": ReleaseAsked(),
    "cancel_release": ReleaseCancelled(),
    "withdraw_offer": OfferWithdrawn(),
    "object_second_hand": Objected(),
    "clear_clone": CloneCleared(),
    "mark_stolen": StolenMarked(),
    "lift_stolen": StolenLifted(),
}


class CoreWorld:
    """Facts in a list; restarting means nothing, for the facts are all there is."""

    devices: list[Device]

    def start(self) -> None:
        self.devices = [Device() for _ in range(DEVICES)]
        self.told: list[dict[Notice, int]] = [{} for _ in range(DEVICES)]
        self.count = 0

    def restart(self) -> None:
        """The facts are what outlives a process."""

    def hear(self, device: int, now: int, *, connected: bool) -> None:
        facts = self.devices[device]
        assert facts.owner is not None
        heard_ms = max(facts.owner.heard_ms, now)
        self.devices[device] = replace(
            facts, owner=replace(facts.owner, connected=connected, heard_ms=heard_ms)
        )

    def store(self, device: int, at: int) -> None:
        facts = self.devices[device]
        assert facts.owner is not None
        stored_ms = max(facts.owner.stored_ms, at)
        self.devices[device] = replace(facts, owner=replace(facts.owner, stored_ms=stored_ms))

    def do(self, what: str, device: int, now: int, *arguments: int | None, **flags: bool) -> str:
        if what == "pass_time":
            if is_due(self.devices[device], now):
                self._decide(device, Expired(), now)
            return "ok"
        if what == "close_company":
            return self._close_company(device, now, *arguments)
        try:
            effects = self._decide(device, self._input(what, device, now, *arguments, **flags), now)
        except IllegalTransitionError as error:
            raise IllegalError from error
        return self._said(what, device, effects, arguments)

    def _said(self, what: str, device: int, effects: tuple[Effect, ...], arguments: tuple[Any, ...]) -> str:
        facts = self.devices[device]
        if what == "announce":
            key = facts.key(f"k{arguments[0]}")
            assert key is not None
            return {KeyState.REVOKED: "revoked", KeyState.BOUND: "bound"}.get(key.state, "recorded")
        if what == "claim":
            if facts.owner is None:
                return "waiting"
            refused = facts.owner.company_id != arguments[0]
            assert refused == any(isinstance(one, Refuse) for one in effects) or not refused
            return "refused" if refused else "won"
        return "ok"

    def _decide(self, device: int, what: Input, now: int) -> tuple[Effect, ...]:
        before = self.devices[device]
        after, effects = decide(before, what, now)
        self.devices[device] = after
        self._check(device, before, after, effects, now)
        return effects

    def _check(
        self, device: int, before: Device, after: Device, effects: tuple[Effect, ...], now: int
    ) -> None:
        """Effects say what the facts became, and nobody is told too often."""
        changes = [one for one in effects if isinstance(one, Bind | EndOwnership | MoveOwnership)]
        epochs = [None if one is None else one.epoch for one in (before.owner, after.owner)]
        assert bool(changes) == (epochs[0] != epochs[1]), (effects, epochs)
        assert after.last_epoch >= before.last_epoch
        if changes and after.owner is not None:
            assert after.owner.epoch == after.last_epoch > before.last_epoch
        bound = [key.kid for key in after.keys if key.state is KeyState.BOUND]
        assert bound == ([] if after.owner is None else [after.owner.kid])
        subjects = [(one.kind, one.subject) for one in after.matters]
        assert len(subjects) == len(set(subjects))
        told = self.told[device]
        over = any(isinstance(one, CloseMatter) and one.status is MatterStatus.EXPIRED for one in effects)
        if changes or over or any(key.state is KeyState.REVOKED for key in after.keys):
            told.clear()
        for effect in effects:
            if isinstance(effect, Notify) and effect.kind in {Notice.REKEY_REQUESTED, Notice.DISPUTED}:
                assert now - told.get(effect.kind, now - DAY) >= DAY
                told[effect.kind] = now
        recalled = [one for one in effects if isinstance(one, NoteReminder)]
        assert all(one.reminded in {1, 2} for one in recalled)
        assert len(recalled) == sum(
            isinstance(one, Notify) and one.kind is Notice.SECOND_HAND_REMINDER for one in effects
        )
        assert all(one.state is not ClaimState.WON for one in effects if isinstance(one, EndClaim))

    def _input(self, what: str, device: int, now: int, *arguments: int | None, **flags: bool) -> Input:
        facts = self.devices[device]
        first = arguments[0] if arguments else 0
        second = arguments[1] if len(arguments) > 1 else 0
        self.count += 1
        name = f"n{self.count:09d}"
        owner = None if facts.owner is None else facts.owner.company_id
        ours = {*OWNERS_ACTS, "make_offer", "approve_rekey", "dismiss_rekey", "dismiss_dispute"}
        if what in ours and (owner is None or owner != first):
            raise IllegalError
        assert first is not None
        match what:
            case "announce":
                return Announced(f"k{first}", flags["on"], flags["release"])
            case "claim":
                return Claimed(name, first, 100 + first, now + PENDING)
            case "pick" | "cancel":
                claim = next((one for one in facts.pending if one.company_id == first), None)
                if claim is None or claim.expires_ms <= now:
                    raise IllegalError
                return Picked(claim.claim_id, f"k{second}") if what == "pick" else Cancelled(claim.claim_id)
            case _ if what in OWNERS_ACTS:
                return OWNERS_ACTS[what]
            case _:
                return self._of_two(what, facts, first, second, name)

    def _of_two(self, what: str, facts: Device, first: int, second: int | None, name: str) -> Input:
        """Inputs with two sides."""
        match what:
            case "make_offer":
                return Offered(name, 100 + first, second, None, b"")
            case "take_offer" | "decline_offer":
                if not any(one.ref and one.kid is None and one.company_id == first for one in facts.matters):
                    raise IllegalError
                return OfferTaken(first, 100 + first) if what == "take_offer" else OfferDeclined()
            case "approve_rekey":
                return RekeyApproved(f"k{second}")
            case "dismiss_rekey":
                return RekeyDismissed(f"k{second}")
            case "dismiss_dispute":
                assert second is not None
                return DisputeDismissed(second)
            case "withdraw_dispute":
                return DisputeWithdrawn(first)
            case "grant_dispute":
                return DisputeGranted(first)
            case "ask_second_hand":
                return SecondHandAsked(first, 100 + first, f"k{second}", name)
            case "suspect_clone":
                return CloneSuspected("" if facts.owner is None else facts.owner.kid)
            case _:
                raise KeyError(what)

    def _close_company(self, device: int, now: int, *arguments: int | None) -> str:
        company, to = arguments
        if is_due(self.devices[device], now):
            self._decide(device, Expired(), now)
        facts = self.devices[device]
        if facts.owner is not None and facts.owner.company_id == company:
            self._decide(device, OwnerLeft(to, None), now)
        for claim in facts.pending:
            if claim.company_id == company:
                self._decide(device, Cancelled(claim.claim_id), now)
        if company is not None and self.devices[device].open(MatterKind.DISPUTE, str(company)) is not None:
            self._decide(device, DisputeWithdrawn(company), now)
        return "ok"

    def describe(self, device: int) -> str:
        return repr(self.devices[device])

    def facts(self, device: int) -> tuple[Any, ...]:
        facts = self.devices[device]
        owner = facts.owner
        return (
            None if owner is None else owner.company_id,
            None if owner is None else int(owner.kid[1:]),
            facts.last_epoch,
            frozenset(claim.company_id for claim in facts.pending),
            frozenset(
                (one.kind.value, f"c{one.subject}" if one.kind.value == "dispute" else one.subject)
                for one in facts.matters
                if one.status is MatterStatus.OPEN
            ),
            frozenset(int(key.kid[1:]) for key in facts.keys if key.state is KeyState.REVOKED),
            sum(one.reminded for one in facts.matters if one.status is MatterStatus.OPEN),
        )
