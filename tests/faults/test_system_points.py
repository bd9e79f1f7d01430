"""Death at each fault point of registering building systems: nothing half done, no code used twice.

The portal dies with everything that asks it still to be answered; each restart arms the next point. The agent
dies around the writing of its server's database, the only place that says what it knows.
"""

import asyncio
import contextlib
import json
import signal
import time
from pathlib import Path
from typing import Any, Final

import aiohttp
import psycopg
import pytest

from agent import app, control
from agent.config import load
from agent.errors import StateError
from cloud.provision_systems import load_system_keys
from protocol.codec import encode
from protocol.system import SystemState
from protocol.system_code import Operation, read_number
from tests.accept import wait_until
from tests.faults.processes import Part, Parts, clean_environment, script
from tests.support.parts import CloudParts, running_parts
from tests.support.person import PASSWORD, Person, make_accounts
from tests.support.system_cloud import SystemCloud
from tests.support.system_world import SITE
from tests.support.systems import TestCloudKeys, TestServer

WAIT_S: Final = 20.0
FIRST: Final = "systems.register.before"
LOST: Final = (aiohttp.ClientError, TimeoutError, OSError)


class World:
    """A portal that dies, two people and servers."""

    def __init__(self, parts: CloudParts, ada: Person, eve: Person) -> None:
        self.parts, self.ada, self.eve = parts, ada, eve
        self.keys = TestCloudKeys(load_system_keys(parts.state_dir / "keys"))
        self.http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=WAIT_S))

    def rows(self, statement: Any, *values: object) -> list[tuple[Any, ...]]:
        """What the database says, past all of our code."""
        with psycopg.connect(self.parts.dsn) as connection:
            return connection.execute(statement, values).fetchall()

    async def arm(self, point: str) -> None:
        """Start the portal that has died; it is to die where it next passes this point. "" lives."""
        self.parts.start("portal", fault=f"{point}:1:kill" if point else "")
        for person in (self.ada, self.eve):
            await person.ask("GET", "/api/v1/devices")

    async def dies(self, work: Any, point: str) -> None:
        """Send what kills the portal; it is not answered."""
        with contextlib.suppress(*LOST):
            answer = await work
            raise AssertionError(f"{point}: it was answered: {answer}")
        part = self.parts.parts["portal"]
        await asyncio.to_thread(wait_until, f"the portal dies at {point}", lambda: not part.alive, WAIT_S)
        assert part.status == -signal.SIGKILL

    async def report(self, server: TestServer, sent: bytes) -> tuple[int, SystemState | None]:
        """Exchange; the status, and what was told."""
        url = f"{self.parts.portal_url}/api/v1/systems/exchange"
        headers = {"Content-Type": "application/json"}
        async with self.http.post(url, data=sent, headers=headers) as answer:
            payload = await answer.read()
            return answer.status, server.read_state(payload) if answer.status == 200 else None

    async def ask(self, who: Person, method: str, path: str, **body: object) -> Any:
        """The API's answer, once."""
        return await who.ask_once(method, f"/api/v1/systems{path}", body)


@pytest.mark.timeout(240)
async def test_the_portal_dies_at_each_point_of_systems(tmp_path: Path) -> None:
    with running_parts(tmp_path / "cloud", ("postgres",)) as parts:
        emails = await make_accounts(parts.dsn, 2, time.time_ns() // 1_000_000)
        parts.start("portal", fault=f"{FIRST}:1:kill")
        async with Person(parts.portal_url, emails[0]) as ada, Person(parts.portal_url, emails[1]) as eve:
            world = World(parts, ada, eve)
            async with world.http:
                await _portal_life(world, emails[1])


async def _portal_life(world: World, eves_email: str) -> None:
    ada, eve = world.ada, world.eve
    server = TestServer(world.keys)
    request = server.request(Operation.REGISTER)
    new = {"proof": request, "slot": "integrator"}

    await world.dies(world.ask(ada, "POST", "", **new), FIRST)
    assert world.rows("SELECT 1 FROM registration UNION ALL SELECT 1 FROM system_server") == []
    assert world.rows("SELECT 1 FROM registration_slot UNION ALL SELECT 1 FROM system_request") == []

    await world.arm("systems.register.after")
    await world.dies(world.ask(ada, "POST", "", **new), "systems.register.after")
    ((number, code),) = world.rows("SELECT number, code FROM system_request")
    assert world.rows("SELECT number, slot FROM registration_slot") == [(number, "integrator")]
    assert world.rows("SELECT number FROM system_server") == [(number,)]

    await world.arm("systems.change.before")
    again = await world.ask(ada, "POST", "", **new)  # the request that was not answered, once more
    assert (again.status, again.body["code"]) == (201, code)
    written = again.body["number"]
    assert read_number(written) == number
    assert server.enter(code, time.time_ns() // 1_000_000).registration == number
    assert world.rows("SELECT count(*) FROM registration") == [(1,)]
    data = {"part": "data", "values": {**SITE, "site_name": "North"}}
    await world.dies(world.ask(ada, "PUT", f"/{written}/data", **data), "systems.change.before")
    assert world.rows("SELECT 1 FROM registration_field") == []
    assert world.rows("SELECT 1 FROM registration_audit WHERE kind = 'field'") == []
    assert world.rows("SELECT 1 FROM mail WHERE kind = 'system_data'") == []

    await world.arm("systems.exchange.before")
    assert (await world.ask(ada, "PUT", f"/{written}/data", **data)).status == 200
    sent = server.report(register=True)
    await world.dies(world.report(server, sent), "systems.exchange.before")
    assert world.rows("SELECT counter, ticket_hash FROM system_server") == [(0, None)]

    await world.arm("systems.exchange.after")
    await world.dies(world.report(server, sent), "systems.exchange.after")
    ((counter, told),) = world.rows("SELECT counter, told_version FROM system_server")
    assert (counter, told > 0) == (server.counter, True)

    await world.arm("systems.change.after")
    assert (await world.report(server, sent))[0] == 409  # it counted, though nobody heard so
    status, state = await world.report(server, server.report())
    assert (status, state is not None and state.registration is not None) == (200, True)
    assert state is not None
    assert state.version == told
    assert (await eve.ask("POST", "/api/v1/session/proof", {"password": PASSWORD})).status < 300
    offer = {"slot": "end_user", "to_email": eves_email}
    assert (await world.ask(ada, "POST", f"/{written}/offers", **offer)).status == 200
    ((text,),) = world.rows("SELECT text FROM mail WHERE kind = 'system_offer'")
    token = text.split("/systems/offer#")[1].split()[0]
    await world.dies(world.ask(eve, "POST", "/offers/accept", token=token), "systems.change.after")
    slots = world.rows("SELECT slot FROM registration_slot WHERE until_ms IS NULL ORDER BY slot")
    assert slots == [("end_user",), ("integrator",)]

    await world.arm("")
    repeated = await world.ask(eve, "POST", "/offers/accept", token=token)
    assert (repeated.status, repeated.body["slots"]) == (200, ["end_user"])
    assert world.rows("SELECT count(*) FROM registration_slot") == [(2,)]
    stranger = await world.ask(ada, "POST", "/offers/accept", token=token)
    assert stranger.status in {403, 404, 409, 410}
    kinds = [kind for (kind,) in world.rows("SELECT kind FROM registration_audit ORDER BY audit_no")]
    assert [kinds.count(kind) for kind in ("registered", "integrator", "end_user", "offered")] == [1] * 4
    assert (await world.report(server, server.report()))[0] == 200


# --- the agent ----------------------------------------------------------------------------------------------


class Host:
    """One agent whose server registers by codes; it can be killed."""

    def __init__(self, folder: Path, processes: Parts) -> None:
        self.cloud = SystemCloud()
        self.state_dir = folder / "state"
        installation = folder / "installation.json"
        installation.write_bytes(encode(self.cloud.installation()))
        config = folder / "agent.toml"
        config.write_text(
            f'installation = "{installation}"\nstate_dir = "{self.state_dir}"\n'
            'link_host = "127.0.0.1"\nlink_port = 0\nsystem_online = false\n'
        )
        self.part: Part = processes.add(
            "agent",
            [script("smartconnect-agent"), "run", "--config", str(config)],
            environment=clean_environment(),
            ready=self._answers,
        )

    def _answers(self) -> bool:
        try:
            return control.ask(self.state_dir, {"order": "status"}) is not None
        except (StateError, OSError):
            return False

    def do(self, what: str, **more: object) -> dict[str, Any]:
        """Give the running agent an order. StateError."""
        answer = control.ask(self.state_dir, {"order": "system", "do": what, **more})
        if answer is None:
            raise StateError("no agent runs")
        return answer

    def start(self, point: str = "", passing: int = 1) -> None:
        """Start it; it is to die where it passes this point for the so-manieth time. "" lives."""
        self.part.start(fault=f"{point}:{passing}:kill" if point else "").wait_ready()

    def dies(self, what: str, **more: object) -> None:
        """It dies of this order, where it was told to."""
        with pytest.raises(StateError, match="does not answer"):
            self.do(what, **more)
        wait_until(f"the agent dies of {what}", lambda: not self.part.alive, WAIT_S)
        assert self.part.status == -signal.SIGKILL


@pytest.mark.timeout(120)
def test_the_agent_dies_around_the_writing_of_its_server_s_database(tmp_path: Path) -> None:
    """What the clock shows is written while a request is open: at the start, and before a code is judged. So
    the third writing is that of the code.
    """
    with Parts(tmp_path / "logs") as processes:
        host = Host(tmp_path, processes)
        settings = load(tmp_path / "agent.toml", {}, {})
        app.system_offline(settings, {"do": "create", "kind": "standalone", "name": "one"})
        asking = {"do": "request", "operation": "register", "new": True}
        first = app.system_offline(settings, asking)["request"]
        code = host.cloud.code(first)

        host.start("agent.system.before", 3)
        host.dies("enter", code=code)
        host.start("agent.system.after", 3)
        shown = host.do("show")
        assert (shown["stand"], shown["request_open"]) == ("unregistered", "register")
        assert host.do("request", operation="register", new=False)["request"] == first

        host.dies("enter", code=code)
        host.start("agent.system.before")
        shown = host.do("show")
        assert (shown["stand"], shown["request_open"]) == ("registered", None)
        with pytest.raises(StateError, match="code_no_open_request"):
            host.do("enter", code=code)

        system_id = shown["system_id"]
        host.dies("delete")
        host.start("agent.system.after")
        assert host.do("show")["system_id"] == system_id
        host.dies("delete")
        host.start()
        shown = host.do("show")
        assert (shown["stand"], shown["previous"]) == ("unregistered", [system_id])
        with pytest.raises(StateError, match="code_no_open_request"):
            host.do("enter", code=code)
        kept = json.loads((tmp_path / "state" / "_system" / "database.json").read_bytes())
        assert kept["system_id"] == shown["system_id"]
