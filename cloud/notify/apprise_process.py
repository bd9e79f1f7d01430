"""Sends by apprise, each message in a process of its own.

The library knows some hundred services, blocks while it talks to them, and follows what they answer. So it
gets a short life: the address comes by standard input (never in argv), the process is killed when it takes
too long, and an audit hook judges every connection at the moment it is made: only the public internet, no
other program, no socket of this machine, unless the operator allows private addresses.
"""

import asyncio
import contextlib
import json
import os
import sys
from typing import Any, Final

from cloud.core.language import N_
from cloud.core.public_address import is_public
from cloud.notify.webhook import ChannelError

TIMEOUT_S: Final = 30.0
KEPT: Final = ("PATH", "LANG", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR")
FORBIDDEN: Final = frozenset(
    {"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "os.forkpty"}
    | {"syslog.openlog", "syslog.syslog", "ctypes.dlopen"}
)
"""Audit events of what a message has no business with."""
REFUSED: Final = 3
NOT_SENT: Final = 4


async def notify(address: str, title: str, text: str, *, private: bool) -> None:
    """Send one message. ChannelError."""
    await _ask({"url": address, "title": title, "text": text, "private": private})


async def check(address: str) -> str:
    """What the service is called, where the library can read the address. ChannelError."""
    return (await _ask({"url": address, "private": False})).strip()


async def _ask(order: dict[str, Any]) -> str:
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", "-m", "cloud.notify.apprise_process"),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        env={name: os.environ[name] for name in KEPT if name in os.environ},
    )
    try:
        output, _ = await asyncio.wait_for(process.communicate(json.dumps(order).encode()), TIMEOUT_S)
    except TimeoutError:
        raise ChannelError(N_("the service did not answer in time")) from None
    finally:
        if process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
            await process.wait()
    if process.returncode == REFUSED:
        raise ChannelError(N_("apprise does not know this address"), final=True)
    if process.returncode != 0:
        raise ChannelError(N_("the service did not take the message"))
    return output.decode(errors="replace")


def _guard(event: str, arguments: tuple[Any, ...]) -> None:
    """Audit hook (PEP 578): it cannot be taken back, and sees every connection of the interpreter."""
    if event in FORBIDDEN:
        raise PermissionError("no other programs")
    if event in {"socket.connect", "socket.sendto"}:
        address = arguments[-1]
        if not (isinstance(address, tuple) and is_public(str(address[0]))):
            raise PermissionError("only hosts of the public internet")


def main() -> int:
    """Do one order from standard input; the exit status says how it went."""
    import apprise  # noqa: PLC0415 - slow to load, and only this process needs it

    order = json.load(sys.stdin)
    if not order["private"]:
        sys.addaudithook(_guard)
    asset = apprise.AppriseAsset(app_id="SmartConnect", app_desc="SmartConnect", app_url="")
    service = apprise.Apprise.instantiate(order["url"], asset=asset, suppress_exceptions=True)
    if service is None:
        return REFUSED
    if "text" not in order:
        sys.stdout.write(str(service.service_name or type(service).__name__))
        return 0
    sender = apprise.Apprise(asset=asset)
    sender.add(service)
    return 0 if sender.notify(title=order["title"], body=order["text"]) else NOT_SENT


if __name__ == "__main__":
    sys.exit(main())
