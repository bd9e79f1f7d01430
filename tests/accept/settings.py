"""Acceptance ``settings``: changed in the portal while the device is offline, at the front panel meanwhile,
and across a transfer. Real portal, gateway, agent, simulator and PostgreSQL.

Both ends agree within 5 s of reconnecting, the later change wins, and the page says who won.
"""

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import Final

import structlog

from tests.accept import CheckError, expect, failed, passed, progress, wait_until
from tests.accept._settings_site import WAIT_S, SettingsSite, settings_site

GOAL_S: Final = 5.0


async def until(what: str, holds: object) -> None:
    """Wait in a thread."""
    await asyncio.to_thread(wait_until, what, holds, WAIT_S)  # type: ignore[arg-type]  # a callable


async def expect_page(site: SettingsSite, words: tuple[str, ...], person: int = 0) -> None:
    """The page says all of it."""
    text = await site.page(person)
    missing = [word for word in words if word not in text]
    expect(not missing, f"the page does not say {missing}")


async def online(site: SettingsSite) -> None:
    """While the device is connected: both ways at once."""
    await site.agree("told at first", {"transfer_low": 207, "report_interval_s": 1})
    await site.want(transfer_low=200, report_interval_s=2, battery_test_interval="never")
    wanted = {"transfer_low": 200, "report_interval_s": 2, "battery_test_interval": "never"}
    await site.agree("portal, connected", wanted)
    await until("the agent obeys the interval", lambda: site.ledger()["own"] == {"report_interval_s": 2})
    site.panel("transfer_low", 198)
    await site.agree("front panel, connected", {"transfer_low": 198})
    await expect_page(site, ("Changed at the device", "at the device"))
    await site.want(transfer_low=100)
    said = await _settled(site, "transfer_low")
    expect(said["state"] == "refused", f"what the UPS refuses is {said['state']}")
    expect(site.registers()["transfer_low"] == 198, "a refused value was written")
    await expect_page(site, ("100 V, wanted by Ada Number0, was refused: the UPS does not take this value",))


async def _settled(site: SettingsSite, name: str) -> dict[str, object]:
    for _ in range(int(WAIT_S / 0.05)):
        said = (await site.settings())[name]
        if said["state"] != "pending":
            return said
        await asyncio.sleep(0.05)
    raise CheckError(f"{name} stays pending")


async def offline(site: SettingsSite) -> None:
    """The gateway is away: portal first, panel first, one alone, the other alone, both alike."""
    site.house.cloud.stop("gateway")
    await until("offline", lambda: not site.connected())
    site.panel("transfer_high", 246)
    await until("the agent has seen the front panel", lambda: site.noticed("transfer_high"))
    await site.want(transfer_low=196, transfer_high=250, ups_name="Rack 4", mog_name="Servers")
    await expect_page(
        site, ("4 settings wait for the device", "Waits for the device", "wanted by Ada Number0")
    )
    site.panel("transfer_low", 190)
    site.panel("sensitivity", "low")
    site.panel("ups_name", "Rack 4")
    await until("the agent has seen it", lambda: site.noticed("sensitivity") and site.noticed("transfer_low"))
    await until("the agent has seen the name", lambda: site.noticed("ups_name"))
    site.house.cloud.start("gateway")
    agreed = {
        "transfer_low": 190,
        "transfer_high": 250,
        "ups_name": "Rack 4",
        "mog_name": "Servers",
        "sensitivity": "low",
    }
    await site.agree("offline, both sides", agreed)
    await expect_page(
        site,
        (
            "Both sides agree",
            "It was changed there later than 196 V, wanted by Ada Number0.",
            "overtaken: a later change at the device stands",
            "replaced by a later change",
        ),
    )


async def killed(site: SettingsSite) -> None:
    """The agent is killed; the UPS is changed by hand and from afar before it comes back."""
    site.house.agent.kill()
    await until("offline", lambda: not site.connected())
    await site.want(sensitivity="reduced", mog_name="Backup", report_interval_s=3)
    site.panel("sensitivity", "normal")
    site.house.agent.start()
    agreed = {"sensitivity": "normal", "mog_name": "Backup", "report_interval_s": 3}
    await site.agree("agent killed, both sides", agreed)
    await expect_page(site, ("It was changed there later than Reduced, wanted by Ada Number0.",))


async def transferred(site: SettingsSite) -> None:
    """What the giver wanted dies with the ownership; what the UPS is set to stays with the UPS."""
    site.house.cloud.stop("gateway")
    await until("offline", lambda: not site.connected())
    await site.want(transfer_low=205, report_interval_s=4, name="Old name", device_sensitivity_s=60)
    await site.hand_over()
    answer = await site.people[0].ask("GET", f"/api/v1{site.path}/settings")
    expect(answer.status == 404, f"the giver still reads the settings: {answer.status}")
    said = await site.settings(1)
    expect(said["name"]["value"] == "", "the taker sees the giver's name")
    expect(said["device_sensitivity_s"]["value"] == 0, "the taker has the giver's sensitivity")
    waiting = [name for name, one in said.items() if one["state"] == "pending"]
    expect(not waiting, f"the giver's wishes wait on: {waiting}")
    site.house.cloud.start("gateway")
    await site.agree("transferred", {"transfer_low": 190, "report_interval_s": 1, "mog_name": "Backup"}, 1)
    await site.want(1, transfer_low=202)
    await site.agree("the taker's own", {"transfer_low": 202}, 1)
    text = await site.page(1)
    expect("Ada Number0" not in text and "Old name" not in text, "the taker reads of the giver")
    expect(site.ledger()["own"] == {}, "the giver's interval lives on in the agent")


async def check(folder: Path, *, rtu: bool) -> dict[str, float]:
    """All of it, with the UPS on a serial line or on TCP; how long each took to agree."""
    async with settings_site(folder, rtu=rtu) as site:
        for part in (online, offline, killed, transferred):
            progress(part.__doc__ or "")
            await part(site)
            progress(", ".join(f"{what} {took:.2f} s" for what, took in site.took_s.items()))
        return site.took_s


def main() -> int:
    """The check."""
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.stderr))  # of the services it calls
    try:
        took_s: dict[str, float] = {}
        for line, rtu in (("TCP", False), ("RTU", True)):
            with tempfile.TemporaryDirectory() as folder:
                found = asyncio.run(check(Path(folder), rtu=rtu))
            took_s |= {f"{line} {what}": took for what, took in found.items()}
        late = {what: round(took, 1) for what, took in took_s.items() if took > GOAL_S}
        expect(not late, f"the ends took longer than {GOAL_S:g} s to agree: {late}")
    except (CheckError, AssertionError) as reason:
        return failed("settings", str(reason))
    figures = ", ".join(f"{what} {took:.1f} s" for what, took in took_s.items())
    return passed(
        "settings",
        f"both ends agree within {GOAL_S:g} s of reconnecting, and the page says who won: {figures}",
    )
