"""``smartconnect-cloud admin dispute list|decide`` and ``admin clone list|clear``: an operator's decisions.

``dispute decide DEVICE COMPANY --for claimant|owner``: the device goes to the claimant, in a new epoch and
with the key it has, or the claim is dismissed for this ownership; ``clone clear DEVICE``: there is no clone.
With ``--dry-run`` both only say what they would do. Who decided is kept in the device's audit trail, and the
companies are told by mail.
"""

import argparse
import sys
import time
from collections.abc import Mapping
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Final

from cloud.config import Settings
from cloud.core.device import MatterKind
from cloud.postgres.owners import OpenRow
from cloud.postgres.pool import Pool, make_pool
from cloud.services import owning
from cloud.services.acting import OwningCode, OwningError

REFUSED: Final = 1
WHY: Final[Mapping[OwningCode, str]] = MappingProxyType(
    {
        OwningCode.UNKNOWN_DEVICE: "no such device",
        OwningCode.NOTHING_OPEN: "nothing of this is open on the device any more",
        OwningCode.STOLEN: "the device is marked as stolen: only its owner can lift that",
        OwningCode.CLONE_SUSPECTED: "a clone of it is suspected: clear that first (admin clone clear)",
        OwningCode.RELEASING: "the device is being released: it is free within a minute",
    }
)


async def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Carry it out; the exit status is 1 where it was refused."""
    kind = MatterKind.DISPUTE if chosen.subject == "dispute" else MatterKind.CLONE
    async with make_pool(settings.dsn, name="admin", max_size=2) as pool:
        rows = await owning.list_open(pool, kind)
        if chosen.action == "list":
            for row in rows:
                sys.stdout.write(f"{_line(row)}\n")
            sys.stdout.write(f"{len(rows)} open\n")
            return 0
        company = chosen.company if kind is MatterKind.DISPUTE else None
        open_now = [row for row in rows if (row.device_id, row.claimant_id) == (chosen.device, company)]
        if not open_now:
            sys.stderr.write(f"smartconnect-cloud: {WHY[OwningCode.NOTHING_OPEN]}\n")
            return REFUSED
        sys.stdout.write(f"{_line(open_now[0])}\n")
        if chosen.dry_run:
            sys.stdout.write(f"would be {_outcome(chosen)}; nothing was changed\n")
            return 0
        try:
            await _decide(pool, chosen)
        except OwningError as error:
            sys.stderr.write(f"smartconnect-cloud: {WHY.get(error.code, str(error))}\n")
            return REFUSED
    sys.stdout.write(f"{_outcome(chosen)}\n")
    return 0


async def _decide(pool: Pool, chosen: argparse.Namespace) -> None:
    now_ms = time.time_ns() // 1_000_000
    if chosen.subject == "clone":
        await owning.clear_clone_as_operator(pool, chosen.device, now_ms, operator=chosen.operator)
        return
    await owning.decide_dispute(
        pool,
        chosen.device,
        chosen.company,
        now_ms,
        for_claimant=chosen.side == "claimant",
        operator=chosen.operator,
    )


def _outcome(chosen: argparse.Namespace) -> str:
    if chosen.subject == "clone":
        return "cleared of the suspicion"
    return "given to the claimant" if chosen.side == "claimant" else "left to its owner, the claim dismissed"


def _line(row: OpenRow) -> str:
    at = datetime.fromtimestamp(row.opened_ms / 1000, UTC)
    claimant = "" if row.claimant_id is None else f"  claimant {row.claimant_id} {row.claimant!r}"
    return (
        f"device {row.device_id}  {row.product_id}  {row.model or 'UPS'}  owner {row.owner_id} {row.owner!r}"
        f"{claimant}  since {at:%Y-%m-%d %H:%M} UTC"
    )
