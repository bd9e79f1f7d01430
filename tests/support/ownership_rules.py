"""A second, simpler telling of the ownership rules: dictionaries, and docs/owning.md in plain words.

It knows nothing of the product's code. :mod:`tests.support.ownership_model` compares the two.
"""

import copy
from dataclasses import dataclass, field
from typing import Any, Final

START_MS: Final = 1_800_000_000_000
SECOND, MINUTE, DAY = 1_000, 60_000, 86_400_000
COMPANIES: Final = 4
KEYS: Final = 3
DEVICES: Final = 2
PENDING: Final = 7 * DAY


class IllegalError(Exception):
    """The rules do not allow this now."""


@dataclass
class Key:
    """A device key."""

    announced: int
    on: bool
    revoked: bool = False


@dataclass
class Model:
    """One device by the rules of docs/owning.md."""

    keys: dict[int, Key] = field(default_factory=dict)
    pending: dict[int, dict[str, Any]] = field(default_factory=dict)
    owner: int | None = None
    bound: int | None = None
    epoch: int = 0
    connected: bool = False
    heard: int = 0
    stored: int = 0
    release: dict[str, Any] | None = None
    offer: dict[str, Any] | None = None
    second_hand: dict[str, Any] | None = None
    objected: bool = False
    rekeys: set[int] = field(default_factory=set)
    rekeys_dismissed: set[int] = field(default_factory=set)
    disputes: set[int] = field(default_factory=set)
    disputes_dismissed: set[int] = field(default_factory=set)
    clone: bool = False
    stolen: bool = False

    def copy(self) -> "Model":
        """One of its own; what is open is replaced, never changed."""
        one = copy.copy(self)
        one.keys = {kid: copy.copy(key) for kid, key in self.keys.items()}
        one.pending = {company: dict(claim) for company, claim in self.pending.items()}
        one.rekeys, one.rekeys_dismissed = set(self.rekeys), set(self.rekeys_dismissed)
        one.disputes, one.disputes_dismissed = set(self.disputes), set(self.disputes_dismissed)
        return one

    # --- what is held

    def facts(self) -> tuple[Any, ...]:
        """What must be the same everywhere."""
        kinds = ("release", "offer", "second_hand", "clone", "stolen")
        matters = {(kind, "") for kind in kinds if getattr(self, kind)}
        matters |= {("rekey", f"k{kid}") for kid in self.rekeys}
        matters |= {("dispute", f"c{company}") for company in self.disputes}
        return (
            self.owner,
            self.bound,
            self.epoch,
            frozenset(self.pending),
            frozenset(matters),
            frozenset(kid for kid, key in self.keys.items() if key.revoked),
            self.second_hand["reminded"] if self.second_hand else 0,
        )

    # --- rules

    def forget_open(self) -> None:
        """The ownership is over, and with it what was open on it."""
        self.release = self.offer = self.second_hand = None
        self.objected = self.clone = self.stolen = False
        self.rekeys, self.rekeys_dismissed = set(), set()
        self.disputes, self.disputes_dismissed = set(), set()
        self.stored = 0

    def free(self) -> None:
        """Nobody's."""
        self.forget_open()
        self.owner = self.bound = None
        self.connected, self.heard = False, 0

    def give(self, company: int, now: int) -> None:
        """Another company's."""
        self.forget_open()
        self.owner = company
        self.epoch = max(self.epoch + 1, now)

    def settle(self, now: int) -> None:
        """The oldest waiting claim with a bindable key wins."""
        live = [kid for kid, key in self.keys.items() if not key.revoked and now - key.announced <= 90_000]
        for company in sorted(self.pending, key=lambda one: self.pending[one]["created"]):
            pick = self.pending[company]["pick"]
            kid = pick if pick in live else live[0] if pick is None and len(live) == 1 else None
            if kid is not None and self.keys[kid].on:
                self.free()
                self.pending = {}
                self.bound = kid
                self.give(company, now)
                return

    def pass_time(self, now: int) -> None:
        """What is due."""
        self.pending = {one: claim for one, claim in self.pending.items() if claim["expires"] > now}
        if self.owner is None:
            return
        if self.release and (
            self.release["due"] <= now or not self.connected or self.stored >= self.release["at"]
        ):
            self.free()
            return
        if self.offer and self.offer["due"] <= now:
            self.offer = None
        self.rekeys = {kid for kid in self.rekeys if now - self.keys[kid].announced <= DAY}
        asked = self.second_hand
        if asked and asked["kid"] is not None and self.heard > asked["at"]:
            self.second_hand = None
        elif asked and asked["due"] <= now:
            self.free()
            if asked["kid"] is not None:
                claim = {"created": now, "expires": now + PENDING, "pick": asked["kid"]}
                self.pending = {asked["company"]: claim}
                self.settle(now)
        elif asked:
            due = 2 if now >= asked["at"] + 7 * DAY else 1 if now >= asked["at"] + 3 * DAY else 0
            self.second_hand = {**asked, "reminded": max(due, asked["reminded"])}

    def need(self, holds: object) -> None:
        """IllegalError unless it holds."""
        if not holds:
            raise IllegalError

    @property
    def movable(self) -> bool:
        """Owned, and nothing forbids its owner to move it."""
        return self.owner is not None and not (self.stolen or self.clone or self.release)

    def announce(self, now: int, kid: int, *, on: bool, release: bool) -> str:
        """A device key is heard with the right label."""
        key = self.keys.get(kid)
        if key is not None and key.revoked:
            return "revoked"
        self.keys[kid] = Key(now, on)
        if self.owner is None:
            self.settle(now)
        elif kid == self.bound:
            if self.second_hand and self.second_hand["kid"] is not None:
                self.second_hand = None
            if release and self.movable and not self.second_hand and not self.objected:
                self.second_hand = {"kid": None, "at": now, "due": now + 14 * DAY, "reminded": 0}
        elif kid not in self.rekeys_dismissed:
            self.rekeys.add(kid)
        return "bound" if self.bound == kid else "recorded"

    def claim(self, now: int, company: int) -> str:
        """A company enters the codes."""
        if self.owner == company:
            return "won"
        if self.owner is not None:
            if company not in self.disputes_dismissed:
                self.disputes.add(company)
            return "refused"
        if company not in self.pending:
            newest = max((claim["created"] + 1 for claim in self.pending.values()), default=now)
            claim = {"created": max(now, newest), "expires": now + PENDING, "pick": None}
            self.pending[company] = claim
        self.settle(now)
        return "won" if self.owner == company else "refused" if self.owner is not None else "waiting"

    def pick(self, now: int, company: int, kid: int) -> str:
        """Of several keys, this one."""
        self.need(company in self.pending and kid in self.keys and not self.keys[kid].revoked)
        self.pending[company]["pick"] = kid
        self.settle(now)
        return "ok"

    def cancel(self, _now: int, company: int) -> str:
        """No longer wait."""
        self.need(company in self.pending)
        del self.pending[company]
        return "ok"

    def ask_release(self, now: int, company: int) -> str:
        """Give it up."""
        self.need(self.owner == company and not self.stolen and not self.clone)
        if self.release:
            return "ok"
        if not self.connected:
            self.free()
            return "ok"
        self.offer = None
        self.release = {"at": now, "due": now + MINUTE}
        return "ok"

    def cancel_release(self, _now: int, company: int) -> str:
        """Keep it."""
        self.need(self.owner == company and self.release and not self.stolen and not self.clone)
        self.release = None
        return "ok"

    def make_offer(self, now: int, company: int, to: int) -> str:
        """Offer it."""
        self.need(self.owner == company and self.movable and to != company)
        self.offer = {"to": to, "due": now + 7 * DAY}
        return "ok"

    def take_offer(self, now: int, company: int) -> str:
        """Accept."""
        self.need(self.movable and self.offer and self.offer["to"] == company)
        self.give(company, now)
        return "ok"

    def decline_offer(self, _now: int, company: int) -> str:
        """Do not."""
        self.need(self.movable and self.offer and self.offer["to"] == company)
        self.offer = None
        return "ok"

    def withdraw_offer(self, _now: int, company: int) -> str:
        """Take it back."""
        self.need(self.owner == company and self.movable and self.offer)
        self.offer = None
        return "ok"

    def approve_rekey(self, _now: int, company: int, kid: int) -> str:
        """The owner knows this key."""
        self.need(self.owner == company and kid in self.rekeys and not self.stolen and not self.release)
        assert self.bound is not None
        self.keys[self.bound].revoked = True
        self.rekeys.discard(kid)
        self.bound, self.clone, self.second_hand = kid, False, None
        self.connected, self.heard = False, 0
        return "ok"

    def dismiss_rekey(self, _now: int, company: int, kid: int) -> str:
        """A stranger."""
        self.need(self.owner == company and kid in self.rekeys)
        self.rekeys.discard(kid)
        self.rekeys_dismissed.add(kid)
        return "ok"

    def dismiss_dispute(self, _now: int, company: int, claimant: int) -> str:
        """Not theirs."""
        self.need(self.owner == company and claimant in self.disputes)
        self.disputes.discard(claimant)
        self.disputes_dismissed.add(claimant)
        if self.second_hand and self.second_hand.get("company") == claimant:
            self.second_hand, self.objected = None, True
        return "ok"

    def withdraw_dispute(self, _now: int, claimant: int) -> str:
        """Give up."""
        self.need(claimant in self.disputes)
        self.disputes.discard(claimant)
        if self.second_hand and self.second_hand.get("company") == claimant:
            self.second_hand = None
        return "ok"

    def grant_dispute(self, now: int, claimant: int) -> str:
        """An operator decides for the claimant."""
        self.need(self.movable and claimant in self.disputes)
        self.give(claimant, now)
        return "ok"

    def ask_second_hand(self, now: int, claimant: int, kid: int) -> str:
        """The owner is gone, and here is a new key."""
        key = self.keys.get(kid)
        self.need(self.movable and claimant in self.disputes and key is not None)
        assert key is not None
        self.need(not self.second_hand and not self.objected and not self.connected)
        self.need(not key.revoked and kid != self.bound and key.on and now - key.announced <= 90_000)
        asked = {"kid": kid, "company": claimant, "at": now, "due": now + 14 * DAY, "reminded": 0}
        self.second_hand = asked
        return "ok"

    def object_second_hand(self, _now: int, company: int) -> str:
        """We are here."""
        self.need(self.owner == company and self.second_hand)
        self.second_hand, self.objected = None, True
        return "ok"

    def suspect_clone(self, _now: int) -> str:
        """Two holders of the bound key."""
        self.need(self.owner is not None)
        if not self.clone:
            self.clone, self.release, self.offer, self.second_hand = True, None, None, None
        return "ok"

    def clear_clone(self, _now: int, company: int) -> str:
        """No clone."""
        self.need(self.owner == company and self.clone)
        self.clone = False
        return "ok"

    def mark_stolen(self, _now: int, company: int) -> str:
        """Stolen."""
        self.need(self.owner == company)
        if not self.stolen:
            self.stolen, self.release, self.offer, self.second_hand = True, None, None, None
        return "ok"

    def lift_stolen(self, _now: int, company: int) -> str:
        """Back."""
        self.need(self.owner == company and self.stolen)
        self.stolen = False
        return "ok"

    def close_company(self, now: int, company: int, to: int | None) -> str:
        """The company is closed."""
        self.pending.pop(company, None)
        if self.owner == company and to != company:
            if to is None:
                self.free()
            else:
                self.give(to, now)
        if company in self.disputes:
            self.withdraw_dispute(now, company)
        return "ok"
