"""``smartconnect-cloud admin``: what an operator does by hand."""

import argparse
import asyncio
import getpass
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any, Final

import structlog

from cloud import admin_manifest, admin_owning, admin_restore, background, catalogs, logs
from cloud.app import REFUSALS
from cloud.config import Settings
from cloud.core.refusal import RefusedError
from cloud.postgres.history import find_owned, import_past
from cloud.postgres.pool import Pool, make_pool
from cloud.postgres.safety import DatabaseUnavailableError
from cloud.postgres.transaction import in_transaction
from cloud.provision import load_installation, provision
from cloud.services import helping, second_factor
from cloud.services.accounts import create_account
from cloud.services.kit import Kit
from cloud.services.passwords import Passwords
from cloud.services.vault import KEY_BYTES, Vault
from cloud.supervisor import EXIT_CONFIGURATION, handle_signals
from protocol.codec import encode
from protocol.messages import Installation

FOLLOW_PAUSE_S: Final = 0.3

log = structlog.get_logger()


def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Carry out one administrative command."""
    logs.configure("admin", level="warning", form=settings.log_format)
    try:
        return _run(chosen, settings)
    except RefusedError as error:
        sys.stderr.write(f"smartconnect-cloud: {error}\n")
        return 1
    except REFUSALS as error:
        sys.stderr.write(f"smartconnect-cloud: {error}\n")
        return EXIT_CONFIGURATION


def _run(chosen: argparse.Namespace, settings: Settings) -> int:
    match chosen.subject:
        case "bundle":
            sys.stdout.write(encode(_installation(settings)).decode() + "\n")
        case "keys":
            provision(settings)
            sys.stdout.write(f"keys and certificates are in {settings.state_dir}\n")
        case "account" if chosen.action == "factor-off":
            asyncio.run(_turn_factor_off(chosen.email, settings))
            sys.stdout.write(f"{chosen.email} logs in with the password alone now\n")
        case "account" if chosen.action == "operator":
            asyncio.run(_name_operator(chosen.email, settings, on=not chosen.off))
            sees = "no longer sees" if chosen.off else "sees"
            sys.stdout.write(f"{chosen.email} {sees} the operator's pages\n")
        case "account":
            asyncio.run(_add_account(chosen, settings, _read_password()))
            sys.stdout.write(f"added {chosen.email}\n")
        case "manifest":
            return asyncio.run(admin_manifest.run(chosen, settings))
        case "dispute" | "clone":
            return asyncio.run(admin_owning.run(chosen, settings))
        case "restore-check":
            return admin_restore.run(settings)
        case "history":
            files = [json.loads(Path(path).read_text(encoding="utf-8")) for path in chosen.files]
            asyncio.run(_import_history(files, settings, follow=chosen.follow))
    return 0


def _installation(settings: Settings) -> Installation:
    """What ``serve`` has written, with the hosts it was given; made from our own settings before its first
    start.
    """
    try:
        return load_installation(settings.state_dir)
    except FileNotFoundError:
        return provision(settings)


def _read_password() -> str:
    """From a terminal without echo, else the first line of standard input; never an argument."""
    if sys.stdin.isatty():
        return getpass.getpass("Password: ")
    return sys.stdin.readline().rstrip("\n")


async def _add_account(chosen: argparse.Namespace, settings: Settings, password: str) -> None:
    with Passwords(threads=1) as passwords:
        async with make_pool(settings.dsn, name="admin", max_size=2) as pool:
            await create_account(
                pool,
                passwords,
                email=chosen.email,
                password=password,
                first_name=chosen.first_name,
                last_name=chosen.last_name,
                company_name=chosen.company,
                now_ms=time.time_ns() // 1_000_000,
            )


async def _name_operator(email: str, settings: Settings, *, on: bool) -> None:
    at_ms = time.time_ns() // 1_000_000
    async with make_pool(settings.dsn, name="admin", max_size=2) as pool:
        await helping.name_operator(pool, email, at_ms, on=on)


async def _turn_factor_off(email: str, settings: Settings) -> None:
    catalogs.load()  # a mail tells the account's owner
    with Passwords(threads=1) as passwords:
        async with make_pool(settings.dsn, name="admin", max_size=2) as pool:
            vault = Vault(
                secrets.token_bytes(KEY_BYTES)
            )  # opens nothing here, and works when the key is lost
            kit = Kit(pool, passwords, vault, settings.brand, settings.portal_url)
            await second_factor.turn_off_as_operator(kit, email, time.time_ns() // 1_000_000)


async def _import_history(files: list[dict[str, Any]], settings: Settings, *, follow: bool) -> None:
    """Give each file's past to its device: once, or again for every new owner until told to stop."""
    done: set[tuple[int, int]] = set()
    async with make_pool(settings.dsn, name="history", max_size=1) as pool:
        if not follow:
            for content in files:
                await _import_file(pool, content, done)
            return
        stopping = asyncio.Event()
        handle_signals(stopping.set)
        async with background.running({"history": _follow(pool, files, done)}):
            await stopping.wait()


async def _follow(pool: Pool, files: list[dict[str, Any]], done: set[tuple[int, int]]) -> None:
    while True:
        try:
            for content in files:
                await _import_file(pool, content, done)
        except DatabaseUnavailableError as error:
            log.warning("the database does not answer", reason=str(error))
        await asyncio.sleep(FOLLOW_PAUSE_S)


async def _import_file(pool: Pool, content: dict[str, Any], done: set[tuple[int, int]]) -> None:
    for owned in await in_transaction(pool, lambda connection: find_owned(connection, content["product_id"])):
        key = (owned.device_id, owned.epoch)
        if key in done:
            continue
        await in_transaction(
            pool,
            lambda connection, owned=owned: import_past(  # type: ignore[misc]  # bound early, as it must be
                connection, owned, content["samples"], content["events"]
            ),
        )
        done.add(key)
