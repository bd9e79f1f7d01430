"""The third-party provider of ``oidc-provider-mock`` as a process of its own, and a browser's way over it."""

import contextlib
import json
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults.processes import Part, Parts
from tests.support.portal import Answer, Visitor
from tests.support.stack import answers, free_port

GRACE: Final[Mapping[str, Any]] = {
    "sub": "grace-1",
    "email": "grace@example.org",
    "email_verified": True,
    "given_name": "Grace",
    "family_name": "South",
}
FRANK: Final[Mapping[str, Any]] = {"sub": "frank-1", "email": "frank@example.org", "email_verified": False}


@dataclass(frozen=True, slots=True)
class ForeignProvider:
    """The provider's process."""

    port: int
    part: Part

    @property
    def issuer(self) -> str:
        """Its issuer."""
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start it, with a new signing key, and wait until it answers."""
        self.part.start().wait_ready()

    def stop(self) -> None:
        """End it."""
        self.part.stop()


def settings_for(provider: ForeignProvider, folder: Path) -> dict[str, Any]:
    """Settings of a portal whose people may log in there; it wants a secret, be it any."""
    secret = folder / "client-secret"
    secret.write_text("a secret of the client\n")
    return {
        "oidc_issuer": provider.issuer,
        "oidc_client_id": "portal",
        "oidc_client_secret_file": secret,
    }


@contextlib.contextmanager
def third_party(logs: Path) -> Iterator[ForeignProvider]:
    """The provider while the block runs; what it says goes to a file in ``logs``."""
    port = free_port()
    people = [f"--user-claims={json.dumps(dict(person))}" for person in (GRACE, FRANK)]
    command = [sys.executable, "-m", "oidc_provider_mock", "--port", str(port), "--require-nonce", "yes"]
    with Parts(logs) as parts:
        part = parts.add("partner", [*command, *people], ready=lambda: answers(port))
        provider = ForeignProvider(port, part)
        provider.start()
        yield provider


async def way_back(browser: Visitor, subject: str, path: str = "/login/partner") -> str:
    """From the portal to the provider's form and through it: path and query of where it sends the browser."""
    away = await browser.get(path)
    assert away.status == 303, away.text
    there, form = away.headers["Location"], {"sub": subject}
    async with browser.http.post(there, data=form, allow_redirects=False) as answer:
        back = answer.headers["Location"]
    assert back.startswith(f"{browser.url}/login/partner/back?"), back
    return back.removeprefix(browser.url)


async def log_in_there(browser: Visitor, subject: str, path: str = "/login/partner") -> Answer:
    """The same, and back to the portal: its answer."""
    return await browser.get(await way_back(browser, subject, path))
