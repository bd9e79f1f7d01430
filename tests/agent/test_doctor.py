"""`doctor`: which hop it names, against real listeners."""

from __future__ import annotations

import asyncio
import datetime as dt
import socket
from dataclasses import replace
from typing import TYPE_CHECKING

from agent import doctor
from tests.agent.gateway_peer import GatewayPeer
from tests.support.stack import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from protocol.messages import Installation

UPS = {
    "name": "rack-1",
    "ups": "answers",
    "model": "Smart-UPS 1500",
    "product_id": "ABCD2345EFGH",
    "smartconnect": True,
    "owned": True,
    "reset": False,
    "cloud": "connected",
}


async def hops(installation: Installation) -> list[tuple[str, bool]]:
    """What it finds on the way to this cloud."""
    return [(one.hop, one.fine) for one in await asyncio.to_thread(doctor.examine_cloud, installation)]


async def test_every_hop_to_the_cloud(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "ours") as ours, GatewayPeer(tmp_path / "theirs") as theirs:
        good = [("name", True), ("connection", True)]
        assert await hops(ours.installation) == [*good, ("encryption", True)]
        other = replace(ours.installation, gateway_port=theirs.installation.gateway_port)
        assert await hops(other) == [*good, ("encryption", False)]
        nowhere = replace(ours.installation, gateway_port=free_port())
        assert await hops(nowhere) == [good[0], ("connection", False)]
        nobody = replace(ours.installation, gateway_host="gateway.invalid")
        assert await hops(nobody) == [("name", False)]


async def test_a_wrong_clock_is_named_and_no_obstacle(tmp_path: Path) -> None:
    made = dt.datetime.now(dt.UTC) + dt.timedelta(days=400)
    async with GatewayPeer(tmp_path, made=made) as later:
        found = await asyncio.to_thread(doctor.examine_cloud, later.installation)
        assert found[-1].fine
        assert "clocks is wrong" in found[-1].text


async def test_something_that_speaks_no_tls(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path) as ours:
        with socket.create_server(("127.0.0.1", 0)) as listener:

            def hang_up() -> None:
                listener.accept()[0].close()

            hanging = asyncio.create_task(asyncio.to_thread(hang_up))
            other = replace(ours.installation, gateway_port=listener.getsockname()[1])
            assert (await hops(other))[-1] == ("encryption", False)
            await hanging


def test_every_trouble_of_a_ups_is_named_with_what_to_do() -> None:
    assert all(one.fine for one in doctor.examine_ups(UPS))
    for change, hop, word in (
        ({"ups": "no answer"}, "UPS", "check cable"),
        ({"product_id": ""}, "codes", "product_key_file"),
        ({"smartconnect": False}, "SmartConnect", "smartconnect-agent enable --ups rack-1"),
        ({"cloud": "the cloud refused the log-in"}, "log-in", "refused"),
    ):
        (bad,) = [one for one in doctor.examine_ups({**UPS, **change}) if not one.fine]
        assert (bad.hop, word in bad.text) == (hop, True)
    assert "claim it" in doctor.examine_ups({**UPS, "owned": False})[-1].text
    assert "released" in doctor.examine_ups({**UPS, "reset": True})[-1].text
    outlets = {
        one.text for allow in (False, True) for one in doctor.examine_ups({**UPS, "outlet_control": allow})
    }
    assert sum("allow_outlet_control = true" in text for text in outlets) == 2
    text = doctor.readable({"rack-1": doctor.examine_ups({**UPS, "smartconnect": False})})
    assert text.splitlines()[3].split()[:3] == ["FAILS", "SmartConnect", "off:"]
