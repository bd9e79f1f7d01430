"""Random lives of building systems: plain rules and the services on PostgreSQL say and hold the same."""

import contextlib
import copy
from collections import Counter
from collections.abc import Callable
from typing import Any, ClassVar, Final

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from protocol.system_code import CodeRefusal, written_number
from tests.support.system_rules import BOXES, COMPANIES, DAY, ENTERPRISE, INTENT, SLOTS, Model, RefusedError
from tests.support.system_world import REFUSED, SystemWorld

START_MS: Final = 1_800_000_000_000
boxes = st.integers(0, BOXES - 1)
companies = st.integers(0, COMPANIES - 1)
slots = st.sampled_from(SLOTS)
ways = st.sampled_from(["link", "request"])
some = st.integers(0, 7)
flags = st.booleans()
spans = st.sampled_from([1, 60_000, 16 * 60_000, DAY, 8 * DAY])


class DifferenceError(AssertionError):
    """World and model say or hold something else."""


class SystemLife(RuleBasedStateMachine):
    """Random lives; ``world`` and ``tally`` are set by a subclass."""

    world: SystemWorld
    tally: ClassVar[Counter[tuple[str, str]]]

    @initialize()
    def begin(self) -> None:
        self.now = START_MS
        self.trail: list[str] = []
        self.model = Model()
        self.used: set[int] = set()
        self.world.start(self.now)

    def both(self, what: str, model: Callable[[Model], Any], world: Callable[[], Any]) -> Any:
        """The same to model and world; they must answer alike and hold the same."""
        after = copy.deepcopy(self.model)
        answer: Any = None
        try:
            answer, said = model(after), "done"
        except RefusedError as error:
            after, said = self.model, str(error)
        try:
            world()
        except REFUSED as error:
            heard = error.code.value
        else:
            heard = "done"
        self.trail.append(f"{self.now - START_MS:+} ms: {what}: {said}")
        self.tally[what.split(" ", 1)[0], said] += 1
        if said != heard:
            self.differ(f"{what}: the model says {said}, the world {heard}")
        self.model = after
        self.agree()
        return answer if said == "done" else None

    def differ(self, why: str) -> None:
        raise DifferenceError(
            "\n".join([why, "--- the life so far", *self.trail, "--- the model", str(self.model)])
        )

    def agree(self) -> None:
        """Every registration and every server, field by field."""
        world = self.world
        if len(world.numbers) != len(self.model.regs):
            self.differ(f"{len(world.numbers)} registrations, the model has {len(self.model.regs)}")
        for reg, number in zip(self.model.regs, world.numbers, strict=True):
            system_id, holders, lead, information, personal, edited, site, ended = world.registration(number)
            held = (
                system_id,
                {slot: world.companies[company] for slot, company in holders.items()},
                None if lead is None else world.numbers.index(lead),
                *(information, personal, edited, site, ended),
            )
            wanted = (
                world.ids[reg.box_id],
                *(reg.holders, reg.lead, reg.information, reg.personal, reg.edited, reg.site, reg.ended),
            )
            if held != wanted:
                self.differ(f"registration {written_number(number)} is {held}, the model has {wanted}")
        for box_id, at in self.model.databases.items():
            found = world.rows(
                "SELECT number, retired_ms IS NOT NULL FROM system_server WHERE system_id = %s",
                [world.ids[box_id]],
            )
            there = found[0] if found else (None, False)
            wanted_there = (None if at.reg is None else world.numbers[at.reg], at.retired)
            if there != wanted_there:
                self.differ(f"server {box_id} is {there}, the model has {wanted_there}")

    def reg(self, number: int) -> int | None:
        """One of the registrations there are."""
        return number % len(self.model.regs) if self.model.regs else None

    def hear(self, box: int) -> None:
        """The box reports: the words of attached servers that it carries count anew."""
        if box in ENTERPRISE:
            carried = self.world.members[box]
            known = {one: box_id for box_id, one in self.world.ids.items()}
            self.model.database(self.model.of(box)).members = {known[one] for one in carried}

    # --- registering ----------------------------------------------------------------------------------------

    @rule(box=boxes, company=companies, slot=slots, way=ways)
    def register(self, box: int, company: int, slot: str, way: str) -> None:
        if way == "link":
            self.hear(box)
        self.both(
            f"register box {box} by {company} as {slot}, {way}",
            lambda model: model.register(box, company, slot),
            lambda: self.world.register(box, company, slot, way),
        )

    @rule(box=boxes, company=companies, reg=some, way=ways, stale=flags)
    def associate(self, box: int, company: int, reg: int, way: str, stale: bool) -> None:
        number = self.reg(reg)
        if number is None:
            return
        replaces = self.model.regs[number].box_id
        if stale:
            replaces = next((one for one in self.world.ids if one != replaces), replaces)
        if way == "link":
            self.hear(box)
        self.both(
            f"associate box {box} by {company} with {number}, {way}, stale {stale}",
            lambda model: model.associate(box, company, number, replaces),
            lambda: self.world.associate(
                box, company, self.world.numbers[number], self.world.ids[replaces], way
            ),
        )

    @rule(box=boxes, company=companies, slot=slots, accept=flags, wait=spans)
    def type_in(self, box: int, company: int, slot: str, accept: bool, wait: int) -> None:
        """A System ID that is only typed does nothing, until its server says yes."""
        before = self.model.database(self.model.of(box))
        mine = before.reg is not None and company in self.model.regs[before.reg].holders.values()
        try:
            outcome = self.world.register(box, company, slot, "typed")
        except REFUSED as error:
            if error.code.value != "system_retired" or not before.retired:
                self.differ(f"typing is refused: {error.code}")
            return
        self.trail.append(f"{self.now - START_MS:+} ms: type box {box} by {company} as {slot}")
        self.agree()
        if mine:
            if outcome.number is None:
                self.differ("a holder was not led to the registration")
            return
        if outcome.number is not None:
            self.differ("a System ID that was only typed got a registration")
        self.now += wait
        self.world.now = self.now
        in_time = wait < INTENT
        self.hear(box)
        self.both(
            f"{'accept' if accept else 'decline'} box {box} for {company}",
            lambda model: self._accepted(model, box, company, slot) if accept and in_time else None,
            lambda: self.world.ask(box, **{"accept" if accept else "decline": outcome.intent_id}),
        )

    def _accepted(self, model: Model, box: int, company: int, slot: str) -> None:
        """What cannot be done any more does nothing, and the server's report is taken all the same."""
        with contextlib.suppress(RefusedError):
            model.register(box, company, slot)

    # --- slots ----------------------------------------------------------------------------------------------

    @rule(company=companies, reg=some, slot=slots, to=companies)
    def offer(self, company: int, reg: int, slot: str, to: int) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"offer {slot} of {number} by {company} to {to}",
                lambda model: model.offer(company, number, slot, to, self.now),
                lambda: self.world.offer(company, number, slot, to),
            )

    @rule(company=companies, offer=some, right=flags)
    def take(self, company: int, offer: int, right: bool) -> None:
        if not self.model.offers:
            return
        number = len(self.model.offers) - 1 - offer % len(self.model.offers)
        taker = self.model.offers[number][4] if right else company
        if number in self.used:
            return  # a repeated one is answered as the first time; tested by itself
        if (
            self.both(
                f"take offer {number} by {taker}",
                lambda model: model.take(taker, number, self.now),
                lambda: self.world.take(taker, number),
            )
            is not None
        ):
            self.used.add(number)

    @rule(company=companies, reg=some, slot=slots)
    def leave(self, company: int, reg: int, slot: str) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"leave {slot} of {number} by {company}",
                lambda model: model.leave(company, number, slot),
                lambda: self.world.leave(company, number, slot),
            )

    @rule(company=companies, reg=some)
    def end(self, company: int, reg: int) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"end {number} by {company}",
                lambda model: model.end(company, number),
                lambda: self.world.end(company, number),
            )

    # --- data -----------------------------------------------------------------------------------------------

    @rule(company=companies, reg=some, information=flags, personal=flags)
    def consent(self, company: int, reg: int, information: bool, personal: bool) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"consent to {number} by {company}",
                lambda model: model.consent(company, number, information, personal),
                lambda: self.world.consent(company, number, information, personal),
            )

    @rule(company=companies, reg=some, site=st.sampled_from(["North", "South"]))
    def write(self, company: int, reg: int, site: str) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"write {number} by {company}",
                lambda model: model.write(company, number, site),
                lambda: self.world.write(company, number, site),
            )

    @rule(company=companies, reg=some)
    def warranty(self, company: int, reg: int) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"warranty of {number} by {company}",
                lambda model: model.warranty(company, number),
                lambda: self.world.warranty(company, number),
            )

    # --- lead and shadow, attached servers ------------------------------------------------------------------

    @rule(company=companies, reg=some, lead=some)
    def follow(self, company: int, reg: int, lead: int) -> None:
        number, over = self.reg(reg), self.reg(lead)
        if number is not None and over is not None:
            self.both(
                f"follow {number} to {over} by {company}",
                lambda model: model.follow(company, number, over),
                lambda: self.world.follow(company, number, over),
            )

    @rule(pick=st.integers(0, 99))
    def follow_own(self, pick: int) -> None:
        """By somebody who holds both, which chance seldom finds."""
        regs = list(enumerate(self.model.regs))
        held = [
            (company, number, over)
            for number, one in regs
            for over, other in regs
            if number != over
            for company in sorted(set(one.holders.values()) & set(other.holders.values()))
        ]
        if held:
            company, number, over = held[pick % len(held)]
            self.both(
                f"follow {number} to {over} by {company}",
                lambda model: model.follow(company, number, over),
                lambda: self.world.follow(company, number, over),
            )

    @rule(company=companies, reg=some)
    def stand_alone(self, company: int, reg: int) -> None:
        number = self.reg(reg)
        if number is not None:
            self.both(
                f"stand_alone {number} by {company}",
                lambda model: model.stand_alone(company, number),
                lambda: self.world.stand_alone(company, number),
            )

    @rule(box=boxes, over=st.sampled_from([*ENTERPRISE, None]), carried=flags)
    def attach(self, box: int, over: int | None, carried: bool) -> None:
        if box in ENTERPRISE:
            return
        model = self.model
        model.database(model.of(box)).attached_to = None if over is None else model.of(over)
        self.world.attach(box, over, carried=carried)
        if over is not None and carried:
            self.hear(over)
        self.trail.append(f"{self.now - START_MS:+} ms: attach box {box} to {over}, carried {carried}")
        self.tally["attach" if over is not None else "detach", "done"] += 1
        self.agree()

    @rule(box=boxes, over=st.sampled_from(ENTERPRISE))
    def drop(self, box: int, over: int) -> None:
        self.world.drop(box, over)
        self.hear(over)
        self.trail.append(f"{self.now - START_MS:+} ms: {over} drops {box}")
        self.tally["drop", "done"] += 1
        self.agree()

    # --- servers and time -----------------------------------------------------------------------------------

    @rule(box=boxes)
    def delete_database(self, box: int) -> None:
        self.model.life[box] += 1
        self.world.delete_database(box, self.model.life[box])
        self.trail.append(f"{self.now - START_MS:+} ms: box {box} loses its database")
        self.tally["delete_database", "done"] += 1

    @rule(box=boxes)
    def ask(self, box: int) -> None:
        """What the server is told is what the model says it shows."""
        state = self.world.ask(box)
        self.hear(box)
        at = self.model.database(self.model.of(box))
        source, reg = self.model.shown(self.model.of(box))
        wanted = None if reg is None else written_number(self.world.numbers[reg])
        told = None if state.registration is None else state.registration.number
        if (state.source.value, told) != (source, wanted):
            self.differ(f"box {box} is told {state.source.value} {told}, the model says {source} {wanted}")
        one = None if reg is None else self.model.regs[reg]
        stand = "retired" if at.retired else "unregistered"
        if one is not None and not at.retired:
            stand = "registered" if one.information and one.personal else "pending"
        if state.stand.value != stand:
            self.differ(f"box {box} is told {state.stand}, the model says {stand}")
        if (
            one is not None
            and state.registration
            and state.registration.data.get("site_name", "") != one.site
        ):
            self.differ(f"box {box} is told the site {state.registration.data}")
        self.tally["ask", stand] += 1

    @rule(box=boxes, company=companies, slot=slots)
    def register_offline(self, box: int, company: int, slot: str) -> None:
        """From the request to the code that is entered."""
        self.register(box, company, slot, "request")
        self.enter_code(box, late=False)

    @rule(box=boxes, late=flags)
    def enter_code(self, box: int, late: bool) -> None:
        """A code works once, in time, for the open request."""
        server, code = self.world.boxes[box], self.world.codes.get(box)
        there = server.open_request is not None
        known = code is not None and self.world_code_fits(box)
        said = self.world.enter_code(box, self.now + (9 * DAY if late else 0))
        if code is None:
            wanted = {
                CodeRefusal.MISTYPED.value,
                CodeRefusal.NO_OPEN_REQUEST.value,
                "not made for this request",
            }
        elif not there:
            wanted = {CodeRefusal.NO_OPEN_REQUEST.value}
        elif not known:
            wanted = {CodeRefusal.NOT_FOR_REQUEST.value}
        else:
            wanted = {CodeRefusal.EXPIRED.value} if late else {"done", CodeRefusal.EXPIRED.value}
        if said not in wanted:
            self.differ(f"a code at box {box} is {said}, expected {wanted}")
        self.tally["enter_code", said] += 1

    def world_code_fits(self, box: int) -> bool:
        """Whether the last code of the box was made for its open request."""
        request = self.world.boxes[box].open_request
        if request is None:
            return False
        rows = self.world.rows(
            "SELECT code FROM system_request WHERE system_id = %s AND nonce = %s",
            [request.system_id.value, request.nonce],
        )
        return bool(rows) and rows[0][0] == self.world.codes.get(box)

    @rule(span=spans)
    def wait(self, span: int) -> None:
        self.now += span
        self.world.now = self.now
