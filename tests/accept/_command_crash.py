"""A valid reboot of an outlet group, and an agent that is killed at each named point of it."""

import asyncio
import json
import signal
import uuid
from dataclasses import dataclass
from functools import partial
from typing import Any, Final

import psycopg

from agent.control import ask
from cloud.core.command import State, state_at
from cloud.provision import load_signer
from protocol.messages import Command, CommandState, KeyUse
from protocol.signing import seal_control
from protocol.topics import UpKind
from tests.accept import CheckError, expect, progress, wait_until
from tests.agent.gateway_peer import GatewayPeer, now_ms
from tests.agent.house import House

WAIT_S: Final = 60.0
REPLAYS: Final = 5
GROUP: Final = "sog0"


@dataclass(frozen=True, slots=True)
class Death:
    """How many writes the UPS has seen when the agent dies, and what is told of the command then."""

    writes: int
    told: CommandState | None  # None: nothing was begun, and nobody is told


DEATHS: Final = {
    "agent.command.persist": Death(0, None),
    "agent.command.started": Death(0, CommandState.UNKNOWN),
    "agent.serial.write": Death(0, CommandState.UNKNOWN),
    "agent.command.written": Death(1, CommandState.UNKNOWN),
    "agent.command.read_back": Death(1, CommandState.UNKNOWN),
    "agent.command.result": Death(1, CommandState.DONE),
    "agent.command.publish": Death(1, CommandState.DONE),
    "agent.command.puback": Death(1, CommandState.DONE),
}


def writes(house: House) -> int:
    """Write requests that have reached the outlet and command registers of the UPS."""
    counted: dict[str, int] = house.order("state")["writes"]
    return sum(number for row, number in counted.items() if row.endswith("_command"))


def figures(house: House) -> dict[str, Any]:
    """What the agent says of the commands it was given."""
    answer = ask(house.folder / "state", {"order": "status"})
    if answer is None:
        raise CheckError("the agent does not run")
    (ups,) = answer["upss"]
    found: dict[str, Any] = ups["commands"]
    return found


def settle(house: House) -> None:
    """Until the agent has nothing to tell any more, and the group has come back from its reboot."""
    wait_until("no result waits", lambda: not figures(house)["waiting"]["results"], WAIT_S)
    wait_until("the group is on again", lambda: house.order("state")["outlets"][GROUP], WAIT_S)


async def until(peer: GatewayPeer, what: str, holds: Any) -> None:
    """As `GatewayPeer.until`, with a CheckError."""
    try:
        await peer.until(what, holds, WAIT_S)
    except AssertionError as error:
        raise CheckError(str(error)) from error


async def connected(house: House, peer: GatewayPeer, fault: str = "") -> None:
    """Start the agent, and wait until it is owned and has read its UPS."""
    seen = peer.subscriptions
    house.agent.start(fault=fault)
    await until(peer, "the agent is connected", lambda: peer.subscriptions > seen)
    peer.received.clear()
    peer.say_watch(0)
    await until(peer, "the agent shows itself", lambda: peer.of(UpKind.NOW))


# --- a gateway that sends the same bytes again and again ----------------------------------------------------


async def crash_at_each_point(house: House, peer: GatewayPeer) -> str:
    """Kill, restart, replay; the figures."""
    told: dict[str, int] = {}
    for point, death in DEATHS.items():
        await connected(house, peer, f"{point}:1:kill")
        before = writes(house)
        command = peer.command("outlet_reboot", arguments={"group": GROUP})
        sealed = seal_control(command, peer.orders.key_id, peer.orders.key)
        peer.say_bytes(sealed)
        await until(peer, f"the agent dies at {point}", lambda: not house.agent.alive)
        expect(house.agent.status == -signal.SIGKILL, f"{point}: it ended with {house.agent.status}")
        wrote = writes(house) - before
        expect(wrote == death.writes, f"{point}: {wrote} writes before the kill, not {death.writes}")
        await connected(house, peer)
        for _ in range(REPLAYS):
            peer.say_bytes(sealed)
        result = await peer.result_of(command, WAIT_S)
        peer.received.clear()
        peer.say_watch(0)
        await until(peer, "the replays were looked at", lambda: peer.of(UpKind.NOW))
        wrote = writes(house) - before
        wanted = death.told or CommandState.DONE  # nothing was begun, so the same bytes may do it now, once
        expect(result.state is wanted, f"{point}: the result is {result}")
        expect(wrote == (death.writes if death.told else 1), f"{point}: {wrote} writes after the replays")
        later = [one.state for one in peer.results() if one.command_id == command.command_id]
        expect(set(later) <= {wanted}, f"{point}: another result came, {later}")
        told[result.state.value] = told.get(result.state.value, 0) + 1
        progress(f"{point}: {wrote} write, {result.state} {result.code}")
        await asyncio.to_thread(settle, house)
        house.agent.kill()
    shares = " and ".join(f"{number} {state}" for state, number in told.items())
    killed = f"killed at {len(DEATHS)} points of a reboot, each replayed {REPLAYS} times"
    return f"{killed}: {shares}, 1 write at most"


# --- the real cloud -----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Row:
    """What the cloud holds of a command."""

    state: State
    due_ms: int | None
    reported_ms: int | None

    @property
    def shown(self) -> State:
        """What the portal shows once its time is over."""
        return state_at(self.state, self.due_ms, self.due_ms or 0)


class CloudSide:
    """The rows of the house's cloud, as its portal makes and reads them."""

    def __init__(self, house: House) -> None:
        self._house = house
        self._signer = load_signer(house.cloud.state_dir, KeyUse.COMMAND)

    def session(self) -> int:
        """The log-in whose session is connected; 0 without one."""
        rows = self._house.rows("SELECT session_no FROM latest WHERE device_id = %s AND connected")
        return int(rows[0][0]) if rows else 0

    def ask(self) -> str:
        """Store a signed reboot as the portal does once every safety step holds; its id."""
        house, now = self._house, now_ms()
        device_id = house.label.device_id
        with psycopg.connect(house.cloud.dsn, connect_timeout=5) as connection:
            found = connection.execute(
                "UPDATE device d SET last_counter = greatest(last_counter + 1, %s) FROM ownership o"
                " JOIN membership m USING (company_id) WHERE d.device_id = %s AND o.device_id = d.device_id"
                " AND o.until_ms IS NULL"
                " RETURNING d.last_counter, o.epoch, o.kid, o.company_id, m.account_id",
                [now, device_id],
            ).fetchone()
            if found is None:
                raise CheckError("the device has no owner")
            counter, epoch, kid, company_id, account_id = found
            command = Command(
                command_id=str(uuid.uuid4()),
                kid=kid,
                epoch=epoch,
                counter=counter,
                issued_ms=now,
                expires_ms=now + 30_000,
                kind="outlet_reboot",
                arguments={"group": GROUP, "force": False},
            )
            connection.execute(
                "INSERT INTO command (device_id, command_id, epoch, kid, counter, kind, arguments, sealed,"
                " company_id, account_id, issued_ms, expires_ms, due_ms)"
                " VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s)",
                [
                    *(device_id, command.command_id, epoch, kid, counter, command.kind),
                    json.dumps(command.arguments),
                    seal_control(command, self._signer.key_id, self._signer.key),
                    *(company_id, account_id, now, command.expires_ms, command.expires_ms),
                ],
            )
            connection.execute("SELECT pg_notify('device', %s)", [str(device_id)])
        return command.command_id

    def is_reported(self, command_id: str) -> bool:
        """Whether the device's result is stored."""
        return self.row(command_id).reported_ms is not None

    def row(self, command_id: str) -> Row:
        """The command as it stands."""
        with psycopg.connect(self._house.cloud.dsn, connect_timeout=5) as connection:
            found = connection.execute(
                "SELECT state, due_ms, reported_ms FROM command WHERE device_id = %s AND command_id = %s",
                [self._house.label.device_id, command_id],
            ).fetchone()
        if found is None:
            raise CheckError("the command is gone")
        return Row(State(found[0]), found[1], found[2])


def crash_with_the_cloud(house: House) -> str:
    """Kill at each point while gateway and database are the real ones; the figures."""
    house.start_cloud()
    house.agent.start()
    house.claim()
    wait_until("the device has an owner and reports", lambda: house.stored() >= 1, WAIT_S)
    cloud = CloudSide(house)
    shown: dict[str, int] = {}
    for point, death in DEATHS.items():
        house.agent.kill()
        _reconnect(house, cloud, f"{point}:1:kill")
        before = writes(house)
        command_id = cloud.ask()
        wait_until(f"the agent dies at {point}", lambda: not house.agent.alive, WAIT_S)
        expect(house.agent.status == -signal.SIGKILL, f"{point}: it ended with {house.agent.status}")
        _reconnect(house, cloud)
        if death.told is not None:
            wait_until("the cloud has the result", partial(cloud.is_reported, command_id), WAIT_S)
        row = cloud.row(command_id)
        wrote = writes(house) - before
        wanted = State.UNKNOWN if death.told is None else State(death.told.value)
        expect(row.shown is wanted, f"{point}: the portal shows {row.shown}, not {wanted}")
        expect(wrote == death.writes, f"{point}: {wrote} writes, not {death.writes}")
        shown[row.shown.value] = shown.get(row.shown.value, 0) + 1
        progress(f"{point}: {wrote} write, the portal shows {row.shown}")
        settle(house)
    command_id = cloud.ask()
    wait_until("a reboot without a kill is done", lambda: cloud.row(command_id).state is State.DONE, WAIT_S)
    words = " and ".join(f"{number} {state}" for state, number in shown.items())
    return f"with the real cloud the portal shows {words}, and done without a kill"


def _reconnect(house: House, cloud: CloudSide, fault: str = "") -> None:
    """Start the agent, and wait until the gateway has its new session and newer values of the UPS."""
    before = cloud.session()
    house.agent.start(fault=fault)
    wait_until("the agent is connected", lambda: cloud.session() > before, WAIT_S)
    since = house.stored()
    wait_until("it has read its UPS", lambda: house.stored() > since, WAIT_S)
