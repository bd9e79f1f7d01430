"""``smartconnect-cloud admin restore-check``: is a restored database still ahead of every agent?

To be run after a backup was restored and before gateway, portal and jobs start; it changes nothing. A line a
finding: verdict (ok, look, BAD), what was looked at, and why. Exit status 1 where something is BAD.
"""

import contextlib
import sys
import time
from typing import Final

from cloud.config import Settings
from cloud.core.restoring import Facts, Key, KeySetFacts, Verdict, judge
from cloud.postgres import restoring
from cloud.provision import ProvisionError, load_key_set, load_signer
from protocol.errors import ProtocolError
from protocol.messages import CloudKey, KeyUse

FAILED: Final = 1
WORDS: Final = {Verdict.OK: "ok", Verdict.LOOK: "look", Verdict.BAD: "BAD"}


def run(settings: Settings) -> int:
    """Print what was found; 1 where something must be put right first."""
    clock_ms = time.time_ns() // 1_000_000
    held = restoring.read(settings.dsn, clock_ms)
    findings = judge(
        Facts(
            clock_ms=clock_ms,
            database_ms=held.database_ms,
            newest_ms=held.newest_ms,
            series=held.series,
            live_commands=held.live_commands,
            queued=held.queued,
            pending_migrations=held.pending_migrations,
            key_set=_key_set(settings),
            uses=[use.value for use in KeyUse],
        )
    )
    for one in findings:
        sys.stdout.write(f"{WORDS[one.verdict]:<4} {one.name:<17} {one.text}\n")
    bad = sum(one.verdict is Verdict.BAD for one in findings)
    if bad:
        sys.stdout.write(f"{bad} to be put right before anything starts\n")
        return FAILED
    sys.stdout.write("agents take the next epoch, command and setting\n")
    return 0


def _key_set(settings: Settings) -> KeySetFacts | None:
    """The key set of the state directory; None where it is missing or broken."""
    try:
        found = load_key_set(settings.state_dir)
    except (OSError, ProtocolError):
        return None
    keys = tuple(_key(settings, one) for one in found.keys)
    return KeySetFacts(found.version, found.issued_ms, keys)


def _key(settings: Settings, one: CloudKey) -> Key:
    here = False
    with contextlib.suppress(OSError, ProvisionError, ValueError):
        here = load_signer(settings.state_dir, one.use).key_id == one.key_id
    return Key(one.use.value, one.not_before_ms, one.not_after_ms, here)
