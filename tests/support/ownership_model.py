"""Random lives of devices: plain rules and a *world* (the core, or the services) say and hold the same."""

from collections import Counter
from typing import Any, ClassVar, Final, Protocol

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.support.ownership_rules import (
    COMPANIES,
    DAY,
    DEVICES,
    KEYS,
    SECOND,
    START_MS,
    IllegalError,
    Model,
)


class World(Protocol):
    """What is compared with the model; IllegalError where it refuses."""

    def start(self) -> None:
        """Fresh devices."""

    def do(self, what: str, device: int, now: int, *arguments: int | None, **flags: bool) -> str:
        """The operation of this name of ``Model``."""

    def hear(self, device: int, now: int, *, connected: bool) -> None:
        """The bound key is heard, and is connected or not."""

    def store(self, device: int, at: int) -> None:
        """A sample of this time is stored."""

    def restart(self) -> None:
        """Every process stops and starts again."""

    def facts(self, device: int) -> tuple[Any, ...]:
        """As ``Model.facts``."""

    def describe(self, device: int) -> str:
        """All that is known of the device, for whoever looks for a difference."""


class DifferenceError(AssertionError):
    """World and model said or hold something else; tells the whole life that led there."""


companies = st.integers(0, COMPANIES - 1)
kids = st.integers(0, KEYS - 1)
which = st.integers(0, DEVICES - 1)
spans = st.sampled_from(
    [1, SECOND, 30 * SECOND, 61 * SECOND, 95 * SECOND, DAY + 1, 3 * DAY, 4 * DAY, 7 * DAY, 14 * DAY]
)
jumps = st.sampled_from([-1, -SECOND, -61 * SECOND, -DAY, -7 * DAY, 30 * DAY])
halves = st.permutations(["on", "off", "claim", "cancel"])


COMPANY_ACTS: Final = (
    *("cancel", "ask_release", "cancel_release", "take_offer", "take_offer", "decline_offer"),
    *("withdraw_offer", "object_second_hand", "clear_clone", "mark_stolen", "lift_stolen", "lift_stolen"),
    *("withdraw_dispute", "grant_dispute"),
)


OWNER_ACTS: Final = (
    *("ask_release", "cancel_release", "withdraw_offer", "object_second_hand", "clear_clone"),
    *("mark_stolen", "lift_stolen"),
)


def allowed_acts(model: Model, now: int) -> list[tuple[str, tuple[int, ...]]]:
    """Acts that the rules allow now, suspicion and theft aside, since they forbid most others."""
    pairs = [(one, other) for one in range(COMPANIES) for other in range(COMPANIES)]
    acts: list[tuple[str, tuple[int, ...]]]
    acts = [(what, (one,)) for what in sorted({*COMPANY_ACTS} - {"mark_stolen"}) for one in range(COMPANIES)]
    acts += [("make_offer", pair) for pair in pairs] + [("dismiss_dispute", pair) for pair in pairs]
    for company in range(COMPANIES):
        for kid in range(KEYS):
            acts += [
                (what, (company, kid))
                for what in ("pick", "approve_rekey", "dismiss_rekey", "ask_second_hand")
            ]
    found = []
    for what, arguments in acts:
        one = model.copy()
        try:
            one.pass_time(now)
            getattr(one, what)(now, *arguments)
        except IllegalError:
            continue
        found.append((what, arguments))
    return found


class OwnershipLife(RuleBasedStateMachine):
    """Random lives of two devices; ``world`` is set by a subclass."""

    world: World
    tally: ClassVar[Counter[tuple[str, str]]]
    """How often each operation was answered how: the steps made so far."""

    @initialize()
    def begin(self) -> None:
        self.now = START_MS
        self.trail: list[str] = []
        self.models = [Model() for _ in range(DEVICES)]
        self.world.start()

    def both(self, what: str, device: int, *arguments: int | None, **flags: bool) -> None:
        """The same to model and world; they must say and hold the same."""
        before = self.models[device]
        after = before.copy()
        try:
            if what in {"pick", "cancel"}:  # nobody can name a claim that time is only about to make
                before.need(arguments[0] in before.pending)
            after.pass_time(self.now)
            said = getattr(after, what)(self.now, *arguments, **flags)
        except IllegalError:
            after, said = before, "illegal"
        try:
            heard = self.world.do(what, device, self.now, *arguments, **flags)
        except IllegalError:
            heard = "illegal"
        given = (*arguments, *(f"{name}={value}" for name, value in flags.items()))
        self.trail.append(f"{self.now - START_MS:+} ms: {what} device {device} {given}: {said}")
        if heard != said:
            self.differ(device, f"the world said {heard}")
        self.tally[what, said] += 1
        self.models[device] = after
        self.agree(device)

    def differ(self, device: int, why: str) -> None:
        """Fail, and tell how it came to this."""
        life = "\n".join(self.trail)
        raise DifferenceError(
            f"{why}\n--- the life so far\n{life}\n--- the model\n{self.models[device]}"
            f"\n--- the world\n{self.world.describe(device)}"
        )

    def agree(self, device: int) -> None:
        """World and model hold the same, and the model's rules hold."""
        model = self.models[device]
        held = self.world.facts(device)
        if held != model.facts():
            self.differ(device, f"the world holds {held}, the model {model.facts()}")
        assert (model.owner is None) == (model.bound is None)
        assert model.owner is None or not model.pending
        assert model.bound is None or not model.keys[model.bound].revoked

    @rule(device=which, kid=kids, on=st.sampled_from([True, True, True, False]), release=st.booleans())
    def announce(self, device: int, kid: int, *, on: bool, release: bool) -> None:
        self.both("announce", device, kid, on=on, release=release)

    @rule(device=which, kid=kids)
    def announce_twice(self, device: int, kid: int) -> None:
        self.both("announce", device, kid, on=True, release=False)
        self.both("announce", device, kid, on=True, release=False)

    @rule(device=which, company=companies, kid=kids, order=halves)
    def reorder(self, device: int, company: int, kid: int, order: list[str]) -> None:
        """What a device and a person send at the same time arrives in any order."""
        for what in order:
            if what in {"claim", "cancel"}:
                self.both(what, device, company)
            else:
                self.both("announce", device, kid, on=what == "on", release=False)

    @rule(device=which, company=companies)
    def claim(self, device: int, company: int) -> None:
        self.both("claim", device, company)

    @rule(device=which)
    def race(self, device: int) -> None:
        """Several accounts claim."""
        for company in range(COMPANIES):
            self.both("claim", device, company)

    @rule(device=which, company=companies, kid=kids)
    def pick(self, device: int, company: int, kid: int) -> None:
        self.both("pick", device, company, kid)

    @rule(device=which, company=companies, kid=kids)
    def claim_among_keys(self, device: int, company: int, kid: int) -> None:
        """Several keys announce, and the claimant knows the fingerprint."""
        for one in range(KEYS):
            self.both("announce", device, one, on=True, release=False)
        self.both("claim", device, company)
        self.both("pick", device, company, kid)

    @rule(
        device=which,
        company=companies,
        what=st.sampled_from(COMPANY_ACTS),
    )
    def act(self, device: int, company: int, what: str) -> None:
        self.both(what, device, company)

    @rule(
        device=which,
        what=st.sampled_from(OWNER_ACTS),
    )
    def owner_acts(self, device: int, what: str) -> None:
        self.both(what, device, self.models[device].owner or 0)

    @rule(device=which, company=companies, to=companies)
    def offer(self, device: int, company: int, to: int) -> None:
        owner = self.models[device].owner
        self.both("make_offer", device, company if owner is None or to % 2 else owner, to)

    def owner_of(self, device: int) -> int:
        """The owner; nobody's device is claimed first, which may have to wait."""
        if self.models[device].owner is None:
            self.both("claim", device, 0)
            self.both("announce", device, 0, on=True, release=False)
        return self.models[device].owner or 0

    @rule(
        device=which,
        to=companies,
        span=st.sampled_from([0, 0, SECOND, 7 * DAY]),
        end=st.sampled_from(["take_offer", "decline_offer", "withdraw_offer"]),
    )
    def transfer(self, device: int, to: int, span: int, end: str) -> None:
        """An offer and its answer, in time or not."""
        owner = self.owner_of(device)
        self.both("make_offer", device, owner, to)
        self.now += span
        self.both(end, device, owner if end == "withdraw_offer" else to)

    @rule(
        device=which,
        claimant=companies,
        end=st.sampled_from(["dismiss_dispute", "withdraw_dispute", "grant_dispute"]),
    )
    def dispute(self, device: int, claimant: int, end: str) -> None:
        """Another claims what is owned, and somebody decides."""
        owner = self.owner_of(device)
        self.both("claim", device, claimant)
        self.both(end, device, *((owner, claimant) if end == "dismiss_dispute" else (claimant,)))

    @rule(device=which, kept=st.booleans(), span=st.sampled_from([0, SECOND, 61 * SECOND]))
    def release(self, device: int, span: int, *, kept: bool) -> None:
        """The owner of a connected device gives it up, and may think better of it."""
        owner = self.models[device].owner or 0
        self.hear(device, connected=True)
        self.both("ask_release", device, owner)
        self.now += span
        if kept:
            self.both("cancel_release", device, owner)

    @rule(device=which, span=st.sampled_from([0, DAY]))
    def steal(self, device: int, span: int) -> None:
        """The device is gone, and comes back."""
        owner = self.models[device].owner or 0
        self.both("mark_stolen", device, owner)
        self.both("ask_release", device, owner)
        self.now += span
        self.both("lift_stolen", device, owner)

    @rule(device=which, away=st.sampled_from([0, DAY, 7 * DAY]), objects=st.booleans())
    def reset_offline(self, device: int, away: int, *, objects: bool) -> None:
        """The device was reset while it was away, and asks to be released once it is back."""
        bound = self.models[device].bound
        if bound is None:
            return
        self.hear(device, connected=False)
        self.now += away
        self.both("announce", device, bound, on=True, release=True)
        if objects:
            self.both("object_second_hand", device, self.models[device].owner or 0)
        for span in (3 * DAY, 4 * DAY, 7 * DAY):
            self.now += span
            self.both("announce", device, bound, on=True, release=True)

    @rule(device=which, kid=kids, company=companies, what=st.sampled_from(["approve_rekey", "dismiss_rekey"]))
    def rekey(self, device: int, kid: int, company: int, what: str) -> None:
        """Another key of an owned device, and what its owner (or another) says to it."""
        owner = self.owner_of(device)
        self.both("announce", device, kid, on=True, release=False)
        self.both(what, device, company if kid == 0 else owner, kid)

    @rule(device=which, claimant=companies)
    def dismiss_dispute(self, device: int, claimant: int) -> None:
        self.both("dismiss_dispute", device, self.models[device].owner or 0, claimant)

    @rule(device=which, claimant=companies, kid=kids)
    def second_hand(self, device: int, claimant: int, kid: int) -> None:
        self.both("ask_second_hand", device, claimant, kid)

    @rule(device=which, choice=st.integers(0, 1000), more=st.integers(0, 1000))
    def allowed(self, device: int, choice: int, more: int) -> None:
        """Two acts that are allowed: most of the others are not."""
        for number in (choice, more):
            acts = allowed_acts(self.models[device], self.now)
            if acts:
                kinds = sorted({what for what, _arguments in acts})
                of_kind = [act for act in acts if act[0] == kinds[number % len(kinds)]]
                what, arguments = of_kind[number // len(kinds) % len(of_kind)]
                self.both(what, device, *arguments)

    @rule(device=which, company=companies, kid=kids)
    def come_to_own(self, device: int, company: int, kid: int) -> None:
        """As most people do."""
        self.both("claim", device, company)
        self.both("announce", device, kid, on=True, release=False)
        self.hear(device, connected=True)

    @rule(
        device=which,
        claimant=companies,
        kid=kids,
        span=st.sampled_from([DAY, 14 * DAY]),
        objects=st.sampled_from([False, False, True]),
    )
    def buy_second_hand(self, device: int, claimant: int, kid: int, span: int, *, objects: bool) -> None:
        """As somebody does whose seller is gone."""
        self.both("claim", device, claimant)
        self.both("announce", device, kid, on=True, release=False)
        self.both("ask_second_hand", device, claimant, kid)
        if objects:
            self.both("object_second_hand", device, self.models[device].owner or 0)
        self.now += span
        self.both("announce", device, kid, on=True, release=False)

    @rule(device=which, cleared=st.booleans())
    def suspect_clone(self, device: int, *, cleared: bool) -> None:
        """Two holders of the key that is bound now: what is due has happened before."""
        self.sweep_at(device)
        self.both("suspect_clone", device)
        if cleared:
            self.both("clear_clone", device, self.models[device].owner or 0)

    @rule(device=which, company=companies, to=st.none() | companies)
    def delete_account(self, device: int, company: int, to: int | None) -> None:
        """The last account of a company goes, and its company with it."""
        if to != company:
            for one in (device, 1 - device):
                self.both("close_company", one, company, to)

    @rule(device=which, connected=st.booleans())
    def contact(self, device: int, *, connected: bool) -> None:
        self.hear(device, connected=connected)

    def hear(self, device: int, *, connected: bool) -> None:
        """The bound key comes or goes."""
        model = self.models[device]
        if model.owner is not None:
            model.connected, model.heard = connected, max(model.heard, self.now)
            self.trail.append(f"{self.now - START_MS:+} ms: heard device {device}, connected: {connected}")
            self.world.hear(device, self.now, connected=connected)

    @rule(device=which, late=st.sampled_from([0, SECOND, DAY]))
    def store(self, device: int, late: int) -> None:
        model = self.models[device]
        if model.owner is not None:
            model.stored = max(model.stored, self.now - late)
            self.trail.append(f"{self.now - START_MS:+} ms: stored device {device}, {late} ms late")
            self.world.store(device, self.now - late)

    @rule(span=spans)
    def let_time_pass(self, span: int) -> None:
        self.now += span

    @rule(span=jumps)
    def jump_clock(self, span: int) -> None:
        self.now += span

    @rule(device=which, span=st.sampled_from([0, 0, 61 * SECOND, 3 * DAY, 7 * DAY, 14 * DAY]))
    def sweep(self, device: int, span: int) -> None:
        self.now += span
        self.sweep_at(device)

    def sweep_at(self, device: int) -> None:
        """What is due now happens."""
        model = self.models[device]
        held = model.facts()
        model.pass_time(self.now)
        self.world.do("pass_time", device, self.now)
        self.trail.append(f"{self.now - START_MS:+} ms: sweep device {device}")
        self.tally["pass_time", "nothing" if held == model.facts() else "ok"] += 1
        self.agree(device)

    @rule()
    def restart(self) -> None:
        self.world.restart()
        self.trail.append("restart")
        for device in range(DEVICES):
            self.agree(device)
