"""Reaching the cloud: what is said when that fails, and how long it takes to try again."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import structlog

from agent.uplink import tls_context
from cloud.config import Settings
from cloud.provision import provision
from protocol.errors import Reason
from protocol.identity import ProductId, ProductKey
from tests.agent.desk import Desk
from tests.agent.gateway_peer import GatewayPeer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from protocol.messages import Installation


@pytest.fixture
async def peer(tmp_path: Path) -> AsyncIterator[GatewayPeer]:
    async with GatewayPeer(tmp_path / "cloud") as listening:
        listening.hello = listening.unowned()
        yield listening


def stranger(peer: GatewayPeer, tmp_path: Path) -> Installation:
    """The right address, another authority."""
    other = provision(Settings(state_dir=tmp_path / "other"))
    return replace(peer.installation, ca_pem=other.ca_pem)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (stranger, "is not this installation's gateway: unable to get local issuer certificate"),
        (lambda peer, _: replace(peer.installation, gateway_port=1), "Connection refused"),
        (lambda peer, _: replace(peer.installation, gateway_host="no.such.host.invalid"), "no.such.host"),
    ],
    ids=["another authority", "nobody there", "no such host"],
)
async def test_what_keeps_it_away_is_said_once_and_plainly(
    peer: GatewayPeer, tmp_path: Path, change: Callable[[GatewayPeer, Path], Installation], words: str
) -> None:
    desk = Desk(tmp_path / "ups")
    with structlog.testing.capture_logs() as lines:
        async with desk.online(change(peer, tmp_path)):
            await peer.until("it failed twice", lambda: len(lines) >= 2)
    assert [line["log_level"] for line in lines[:2]] == ["warning", "debug"]
    assert words in lines[0]["reason"]
    assert words in desk.device.uplink_state
    assert peer.logins == []
    desk.close()


async def test_the_right_authority_with_another_name_is_not_believed(tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups")
    async with GatewayPeer(tmp_path / "cloud", host="127.0.0.2") as peer:
        async with desk.online(peer.installation):
            await peer.until("refused", lambda: "IP address mismatch" in desk.device.uplink_state)
        assert peer.logins == []
    desk.close()


async def test_a_refused_log_in_is_said_and_not_hammered(peer: GatewayPeer, tmp_path: Path) -> None:
    peer.connack = Reason.BAD_USER_NAME_OR_PASSWORD
    desk = Desk(tmp_path / "ups")
    with structlog.testing.capture_logs() as lines:
        async with desk.online(peer.installation):
            await peer.until("refused", lambda: "0x86" in desk.device.uplink_state)
    assert [line["log_level"] for line in lines if line["event"] == "the cloud refused the log-in"] == [
        "warning"
    ]
    assert desk.device.state.value.last_login_ms == 0
    desk.close()


async def test_it_waits_for_the_product_codes(peer: GatewayPeer, tmp_path: Path) -> None:
    desk = Desk(tmp_path / "ups", labelled=False)
    async with desk.online(peer.installation):
        await peer.until("it waits", lambda: "product codes" in desk.device.uplink_state)
        codes = ProductId.parse("AB12CD34EF56"), ProductKey.parse("K0123456789XYZ")
        await desk.device.set_label(*codes)
        await peer.until("connected", lambda: peer.logins)
        await peer.until("greeted", lambda: desk.device.uplink_state == "connected")
        await desk.device.set_label(ProductId.parse("ZZ12CD34EF56"), codes[1])
        await peer.until("connected anew under the other label", lambda: len(peer.logins) == 2)
    desk.close()


def test_tls_verifies_chain_and_name_and_nothing_old(tmp_path: Path) -> None:
    context = tls_context(provision(Settings(state_dir=tmp_path)).ca_pem)
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    assert context.minimum_version.name == "TLSv1_2"
    assert len(context.get_ca_certs()) == 1
