"""The sessions of this process, kept true to the database: hints, polls, take-overs, who is connected.

A hint (NOTIFY) says that a device has changed; a poll of each session every ``POLL_S`` finds what no hint
told of. Either way the standing is read anew, and the device is told what changed, or its session is closed.
"""

import asyncio
import time
from collections import deque
from collections.abc import Coroutine, Sequence
from typing import Any, Final

import structlog

from cloud.core.session import Refusal, Standing, judge_standing
from cloud.gateway.delivering import deliver, deliver_settings
from cloud.gateway.session import Session
from cloud.postgres.pool import Pool
from cloud.postgres.presence import note_listening
from cloud.postgres.safety import UNAVAILABLE, DatabaseUnavailableError
from cloud.postgres.sessions import find_standings, listen, note_come, note_gone, note_heard
from cloud.services.owning import note_takeover
from protocol.errors import Reason

POLL_S: Final = 1.5
TICK_S: Final = 0.03
"""Sessions are polled as their turns come, not all at once: a thousand would hold up telemetry."""
FEW: Final = 10
HASTE: Final = 4
"""A tick looks at this many times its share, at most: sessions that came together are done in POLL_S / 4."""
ASK_AT_ONCE: Final = 1_000
HEARD_EVERY_S: Final = 15.0
LISTENING_EVERY_S: Final = 5.0
PRESENCE_EVERY_S: Final = 0.5
LISTEN_AGAIN_S: Final = 1.0
KEEP_ALIVE_SLACK: Final = 1.5
"""A session ends after one and a half times its keep-alive in silence (MQTT 5.0, section 3.1.2.10)."""

ALIVE_S: Final = 30.0
"""A session heard so lately was alive when another log-in took its place; a link that broke was not."""
UNANNOUNCED_S: Final = 300.0
"""A session that owns nothing ends so long after its last announcement; a device sends one a minute."""

log = structlog.get_logger()


class Hub:
    """Sessions by key and by device. Event loop only."""

    def __init__(self, pool: Pool, dsn: str) -> None:
        self._pool = pool
        self._dsn = dsn
        self._by_kid: dict[str, Session] = {}
        self._by_device: dict[int, set[Session]] = {}
        self._asked: dict[Session, bool] = {}
        self._ask = asyncio.Event()
        self._come: list[Session] = []
        self._gone: list[Session] = []
        self._taken_over: list[Session] = []
        self._away = False
        self._turns: deque[tuple[float, Session]] = deque()
        """When each session is to be polled, by the monotonic clock; the next one first."""

    def __len__(self) -> int:
        return len(self._by_kid)

    def sessions(self) -> list[Session]:
        """All that are open."""
        return list(self._by_kid.values())

    @property
    def unowned(self) -> int:
        """How many of them own nothing."""
        return sum(not session.standing.owned for session in self._by_kid.values())

    def login_ms(self, kid: str) -> int:
        """``iat`` of the open session of this key; 0 without one."""
        session = self._by_kid.get(kid)
        return 0 if session is None else session.login_ms

    def add(self, session: Session) -> None:
        """A log-in that was admitted; an older session of the same key ends."""
        older = self._by_kid.get(session.kid)
        self._by_kid[session.kid] = session
        self._by_device.setdefault(session.device_id, set()).add(session)
        self._turns.append((time.monotonic() + POLL_S, session))
        if older is not None:
            self._note_taken_over(older)
            older.link.end(Refusal(Reason.SESSION_TAKEN_OVER, "the key has logged in elsewhere", ends=True))

    def remove(self, session: Session) -> None:
        """The connection is gone."""
        if session.closed:
            return
        session.closed = True
        if self._by_kid.get(session.kid) is session:
            del self._by_kid[session.kid]
        of_device = self._by_device[session.device_id]
        of_device.discard(session)
        if not of_device:
            del self._by_device[session.device_id]
        if session.standing.owned:
            self._gone.append(session)

    def parts(self) -> dict[str, Coroutine[Any, Any, None]]:
        """What looks after the sessions until cancelled, by name."""
        return {
            "hints": self._listen(),
            "standings": self._refresh(),
            "poll": self._poll(),
            "heard": self._note_heard(),
            "listening": self._note_listening(),
            "presence": self._note_presence(),
        }

    # --- standings ------------------------------------------------------------------------------------------

    def greet(self, session: Session) -> None:
        """Say hello soon, with what the database says or, while it is away, with what it said last."""
        self._asked[session] = True
        self._ask.set()

    def look_at(self, session: Session) -> None:
        """Read soon where this stands, and tell or close it."""
        self._asked.setdefault(session, False)
        self._ask.set()

    async def _refresh(self) -> None:
        """One reader, so that no older answer comes after a newer one."""
        while True:
            await self._ask.wait()
            self._ask.clear()
            asked, self._asked = list(self._asked.items()), {}
            for start in range(0, len(asked), ASK_AT_ONCE):
                await self._refresh_some(asked[start : start + ASK_AT_ONCE])

    async def _refresh_some(self, asked: Sequence[tuple[Session, bool]]) -> None:
        keys = [(session.device_id, session.kid) for session, _greet in asked]
        try:
            found = await find_standings(self._pool, keys)
            self._away = False
        except DatabaseUnavailableError as error:
            self._note_away(str(error))
            found = [session.standing for session, _greet in asked]
        for (session, greet), standing in zip(asked, found, strict=True):
            if not session.closed:
                self._judge(session, standing, greet=greet)
                if standing.command_waits and session.subscribed and not session.closed:
                    await self._deliver(session)
        awaiting = [session for session, _greet in asked if session.awaits_settings]
        if awaiting:
            await self._deliver_settings(awaiting)

    async def _deliver_settings(self, sessions: Sequence[Session]) -> None:
        try:
            await deliver_settings(self._pool, sessions)
        except UNAVAILABLE as error:
            self._note_away(str(error))

    async def _deliver(self, session: Session) -> None:
        try:
            await deliver(self._pool, session)
        except DatabaseUnavailableError as error:
            self._note_away(str(error))

    def _judge(self, session: Session, standing: Standing, *, greet: bool) -> None:
        before, session.standing = session.standing, standing
        refusal = judge_standing(standing, session.login_ms)
        if refusal is not None:
            log.info("session ended by the cloud", kid=session.kid, reason=refusal.why)
            if refusal.reason is Reason.SESSION_TAKEN_OVER:
                self._note_taken_over(session)
            session.link.end(refusal)
            return
        if standing.hello_differs(before):
            session.link.forget_template()
            greet = True
            if standing.owned:  # an ownership begins with nobody connected
                self._come.append(session)
        if greet:
            session.say_hello(_now_ms())
        session.say_watch(_now_ms())

    def _note_taken_over(self, session: Session) -> None:
        """A session that was alive when its key logged in elsewhere may be one of two holders of the key."""
        alive = time.monotonic() - session.heard_s < ALIVE_S
        if alive and session.standing.owned and not session.closed and not session.taken_over:
            session.taken_over = True
            self._taken_over.append(session)

    def _note_away(self, reason: str) -> None:
        if not self._away:
            self._away = True
            log.warning("where devices stand cannot be read", reason=reason)

    # --- tasks ----------------------------------------------------------------------------------------------

    async def _listen(self) -> None:
        """Hints, as long as there is a connection for them; without them the poll is there."""
        while True:
            try:
                await listen(self._dsn, self._hinted_at)
            except DatabaseUnavailableError as error:
                log.debug("no hints", reason=str(error))
            await asyncio.sleep(LISTEN_AGAIN_S)

    def _hinted_at(self, device_id: int) -> None:
        for session in self._by_device.get(device_id, ()):
            self.look_at(session)

    async def _poll(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self.look_around(time.monotonic())

    def look_around(self, now_s: float) -> None:
        """Look at the sessions whose turn has come, at some of them if they are many."""
        turns = self._turns
        for _ in range(max(FEW, round(HASTE * len(turns) * TICK_S / POLL_S))):
            if not turns or turns[0][0] > now_s:
                return
            _, session = turns.popleft()
            if session.closed:
                continue
            turns.append((now_s + POLL_S, session))
            self._end_if_silent(session, now_s)
            self.look_at(session)

    def _end_if_silent(self, session: Session, now_s: float) -> None:
        silent_s = now_s - session.heard_s
        if silent_s > session.keep_alive_s * KEEP_ALIVE_SLACK and not session.link.suspended:
            why = f"silent for {silent_s:.0f} s"
            session.link.end(Refusal(Reason.KEEP_ALIVE_TIMEOUT, why, ends=True))
        elif not session.standing.owned and now_s - session.announced_s > UNANNOUNCED_S:
            why = "no announcement, and no owner"
            session.link.end(Refusal(Reason.MAXIMUM_CONNECT_TIME, why, ends=True))

    async def _note_heard(self) -> None:
        """Sessions that only ping are alive, too."""
        while True:
            await asyncio.sleep(HEARD_EVERY_S)
            heard = [s for s in self.sessions() if s.heard_ms and s.standing.owned]
            if not heard:
                continue
            rows = [(session.device_id, session.login_ms, session.heard_ms) for session in heard]
            for session in heard:
                session.heard_ms = 0
            try:
                await note_heard(self._pool, rows)
            except DatabaseUnavailableError as error:
                self._note_away(str(error))

    async def _note_listening(self) -> None:
        """Silence counts only while somebody listens, see :mod:`cloud.core.absence`."""
        starts = True
        while True:
            try:
                await note_listening(self._pool, _now_ms(), starts=starts)
                starts = False
            except UNAVAILABLE as error:
                self._note_away(str(error))
            await asyncio.sleep(LISTENING_EVERY_S)

    async def _note_presence(self) -> None:
        while True:
            await asyncio.sleep(PRESENCE_EVERY_S)
            await self.flush_presence()

    async def flush_presence(self) -> None:
        """Write down whose sessions came to have an owner and which have ended, in this order, since one may
        be both; what cannot be written stays for the next time.
        """
        await self._tell_taken_over()
        come, self._come = self._come, []
        gone, self._gone = self._gone, []
        now_ms = _now_ms()
        try:
            await note_come(self._pool, [(one.device_id, one.login_ms, now_ms) for one in come])
            await note_gone(self._pool, [(one.device_id, one.login_ms) for one in gone])
        except DatabaseUnavailableError as error:
            self._come = come + self._come
            self._gone = gone + self._gone
            self._note_away(str(error))

    async def _tell_taken_over(self) -> None:
        taken, self._taken_over = self._taken_over, []
        while taken:
            session = taken[0]
            try:
                if await note_takeover(self._pool, session.device_id, session.kid, _now_ms()):
                    log.warning("two holders of one device key", device_id=session.device_id, kid=session.kid)
            except DatabaseUnavailableError as error:
                self._taken_over = taken + self._taken_over
                self._note_away(str(error))
                return
            del taken[0]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
