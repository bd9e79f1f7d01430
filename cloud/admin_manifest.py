"""``smartconnect-cloud admin manifest import|check|export``: the maker's list of devices."""

import argparse
import sys
import time
from collections import Counter
from typing import Final

from cloud.config import Settings
from cloud.core.manifest import ManifestError, parse, render
from cloud.postgres.pool import make_pool
from cloud.services import manifest
from cloud.services.manifest import Outcome

FAULTY: Final = 1


async def run(chosen: argparse.Namespace, settings: Settings) -> int:
    """Carry it out; the exit status is 1 where rows were refused, or, for ``check``, are not listed."""
    async with make_pool(settings.dsn, name="admin", max_size=2) as pool:
        if chosen.action == "export":
            sys.stdout.write(render(await manifest.give_out(pool), chosen.format))
            return 0
        try:
            rows = parse(chosen.file.read_text(encoding="utf-8"))
        except (OSError, UnicodeDecodeError, ManifestError) as error:
            sys.stderr.write(f"smartconnect-cloud: {chosen.file}: {error}\n")
            return FAULTY
        checks = chosen.action == "check"
        dry_run = checks or chosen.dry_run
        answers = await manifest.take_in(pool, rows, time.time_ns() // 1_000_000, dry_run=dry_run)
    for one in answers:
        reason = f": {one.reason}" if one.reason else ""
        if one.outcome is not Outcome.SAME:
            sys.stdout.write(f"line {one.line}  {one.product_id or '-'}  {one.outcome}{reason}\n")
    counts = Counter(one.outcome for one in answers)
    summary = ", ".join(f"{counts[outcome]} {outcome}" for outcome in Outcome)
    sys.stdout.write(f"{len(answers)} rows: {summary}{'; nothing was written' if dry_run else ''}\n")
    bad = len(answers) - counts[Outcome.SAME] if checks else counts[Outcome.REFUSED]
    return FAULTY if bad else 0
