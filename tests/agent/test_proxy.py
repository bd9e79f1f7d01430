"""Through an HTTP proxy that alone knows where the cloud is: exchange, time, MQTT and doctor."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from agent import doctor
from agent.clock import SystemClock
from agent.config import Settings, load
from agent.errors import ConfigError, UplinkDownError
from agent.proxy import Proxy, ProxyError, Way
from agent.system.doctor import examine_portal
from agent.system.portal import KEYS, Portal
from agent.talker import Talker
from agent.time_service import TimeService
from agent.uplink import tls_context
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer, now_ms
from tests.agent.system_rig import Rig, until
from tests.agent.test_system_online import PortalPeer
from tests.agent.test_time_service import Portal as TimePeer
from tests.support.connect_proxy import ConnectProxy
from tests.support.stack import free_port
from tests.support.system_cloud import SystemCloud

if TYPE_CHECKING:
    from agent.doctor import Finding

HOST = "cloud.example.org"  # no name server knows it: the proxy does
PATH = "installation.json"


def way_by(proxy: ConnectProxy, **more: str) -> Way:
    """As the settings of an agent say it."""
    return Way.of(
        load(None, {"HTTPS_PROXY": f"http://127.0.0.1:{proxy.port}"}, {"installation": PATH, **more})
    )


def listening(server: asyncio.Server | None) -> int:
    """The port."""
    assert server is not None
    port: int = server.sockets[0].getsockname()[1]
    return port


async def test_a_server_exchanges_with_the_portal_through_the_proxy(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "cloud", hosts=(HOST,)) as gateway, PortalPeer(SystemCloud()) as plain:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(gateway.folder / "tls" / "server.pem", gateway.folder / "tls" / "server.key")
        portal = await asyncio.start_server(plain._serve, "127.0.0.1", 0, ssl=tls)
        place = f"{HOST}:{listening(portal)}"
        installation = plain.cloud.installation(f"https://{place}", gateway.installation.ca_pem)
        async with ConnectProxy({place: listening(portal)}) as proxy:
            time = TimeService(installation, SystemClock())
            rig = Rig(
                tmp_path / "server",
                installation,
                online=True,
                time=time,
                proxy=f"127.0.0.1:{proxy.port}",
            )
            async with rig:
                await rig.do("create", kind="standalone", name="one")
                await until(
                    "it exchanges", lambda: rig.server.online and rig.server.online.state == "connected"
                )
            assert set(proxy.asked) == {place}
            assert proxy.carried > 1000
            assert plain.reports
        with pytest.raises(UplinkDownError):  # without the proxy there is no such name
            await Portal(installation).ask(KEYS, None, time)
        portal.close()
        await portal.wait_closed()


async def test_a_ups_reports_and_learns_the_time_through_the_proxy(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups")
    async with (
        GatewayPeer(tmp_path / "cloud", hosts=(HOST,)) as gateway,
        TimePeer(gateway, now_ms()) as portal,
    ):
        gateway.hello = gateway.unowned()
        mqtt, https = gateway.installation.gateway_port, listening(portal._server)
        installation = replace(gateway.installation, gateway_host=HOST, portal_url=f"https://{HOST}:{https}")
        places = {f"{HOST}:{mqtt}": mqtt, f"{HOST}:{https}": https}
        async with ConnectProxy(places, "agent", "secret word") as proxy:
            way = Way(Proxy.parse(f"http://agent:secret%20word@127.0.0.1:{proxy.port}"))
            time = TimeService(installation, desk.clock, way)
            assert await time.fetch()
            talker = Talker(
                desk.device, installation, tls_context(installation.ca_pem), asyncio.Semaphore(1), time
            )
            running = asyncio.create_task(talker.run())
            try:
                await gateway.until("connected", lambda: desk.device.uplink_state == "connected")
            finally:
                running.cancel()
                await asyncio.gather(running, return_exceptions=True)
            assert set(proxy.asked) == set(places)
            stranger = TimeService(installation, desk.clock, Way(Proxy("127.0.0.1", proxy.port)))
            assert not await stranger.fetch()
    desk.close()


async def test_the_doctor_names_what_the_proxy_does_not_let_through(tmp_path: Path) -> None:
    async with GatewayPeer(tmp_path / "cloud", hosts=(HOST,)) as gateway:
        port = gateway.installation.gateway_port
        installation = replace(gateway.installation, gateway_host=HOST, portal_url=f"https://{HOST}:1")

        async def seen(way: Way) -> list[Finding]:
            return await asyncio.to_thread(doctor.examine_cloud, installation, way)

        async with ConnectProxy({f"{HOST}:{port}": port}) as proxy:
            way = way_by(proxy)
            assert [(one.hop, one.fine) for one in await seen(way)] == [("proxy", True), ("encryption", True)]
            (blocked,) = await asyncio.to_thread(examine_portal, installation, way)
            assert (blocked.hop, blocked.fine) == ("proxy", False)
            assert f"does not connect to {HOST}:1 (403 Forbidden)" in blocked.text
            assert "CONNECT" in blocked.text
            proxy.user = "agent"
            (asked,) = await seen(way)
            assert "wants to know who asks" in asked.text
        gone = Way(Proxy("127.0.0.1", free_port()))
        (down,) = await seen(gone)
        assert "no connection to the HTTP proxy" in down.text


@pytest.mark.parametrize(
    "said", [b"", b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 2xx\r\n\r\n", b"HTTP/1.1 200 " + b"x" * 20_000]
)
def test_what_is_no_proxy_is_told(said: bytes) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        proxy = Proxy("127.0.0.1", listener.getsockname()[1])

        def answer() -> None:
            line, _ = listener.accept()
            with line:
                line.sendall(said)

        answering = threading.Thread(target=answer)
        answering.start()
        with pytest.raises(ProxyError, match="does not answer"):
            Way(proxy).connect(HOST, 443, 5.0)
        answering.join()


@pytest.mark.parametrize(
    ("host", "no_proxy", "through"),
    [
        (HOST, "", True),
        (HOST, "*", False),
        (HOST, "other.example.org, cloud.example.org", False),
        (HOST, ".example.org", False),
        (HOST, "example.org", False),
        (HOST, "*.example.org", False),
        ("cloud.example.org.", "EXAMPLE.org", False),
        ("notexample.org", "example.org", True),
        ("localhost", "", False),
        ("127.0.0.1", "", False),
    ],
)
def test_which_hosts_are_reached_without_it(host: str, no_proxy: str, *, through: bool) -> None:
    environment = {"https_proxy": "proxy.example.net", "HTTPS_PROXY": "http://wrong", "NO_PROXY": no_proxy}
    way = Way.of(load(None, environment, {"installation": PATH}))
    assert way.proxy_to(host) == (Proxy("proxy.example.net", 8080) if through else None)


def test_settings_win_over_the_environment_and_none_is_no_proxy() -> None:
    environment = {"HTTPS_PROXY": "http://proxy.example.net:3128", "NO_PROXY": "*"}

    def way(**flags: str) -> Way:
        return Way.of(load(None, environment, {"installation": PATH, **flags}))

    assert way(proxy="none").proxy is None
    own = way(proxy="http://u:p%40ss@[2001:db8::1]:81", no_proxy="x")
    assert own.proxy_to(HOST) == Proxy("2001:db8::1", 81, "Basic dTpwQHNz")
    assert "dTpwQHNz" not in repr(own)
    assert str(own.proxy) == "2001:db8::1:81"
    assert Way.of(Settings(installation=Path(PATH))).proxy is None


@pytest.mark.parametrize(
    "text", ["socks5://h:1", "https://h:1", "http://", "http://h:99999", "http://h/path"]
)
def test_what_is_no_proxy_is_a_wrong_setting_and_no_password_is_told(text: str) -> None:
    with pytest.raises(ConfigError, match="http://host:port") as caught:
        load(None, {"HTTPS_PROXY": text.replace("//h", "//user:hidden@h")}, {"installation": PATH})
    assert "hidden" not in str(caught.value)
