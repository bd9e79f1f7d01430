"""How large an agent stays after it has derived label keys."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from agent.memory import give_back_large_blocks
from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key

def resident_kib():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

def derive(number):
    label_key(ProductId.parse(f"ABCDEF12345{number}"), ProductKey.parse("ABCDEFGH123456"))

give_back_large_blocks()
derive(0)
before = resident_kib()
with ThreadPoolExecutor(4) as threads:
    list(threads.map(derive, range(8)))
    print(resident_kib() - before)
"""


def test_derivations_leave_nothing_behind() -> None:
    """Without it, each thread keeps the 8 MiB of its derivation, and as much again."""
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4096
