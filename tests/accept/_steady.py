"""A healthy device in a process of its own: publishes at a steady pace and writes down every PUBACK.

``python -m tests.accept._steady CONFIG OUT`` runs until SIGTERM. CONFIG is JSON (``login``, ``topic``,
``rate_hz``); OUT gets a line a sample, ``SEQ DUE_S LATENCY_MS``: when it was due by the monotonic clock, and
how long after that its PUBACK was there, so that a stall counts for all the samples it delayed.
"""

import json
import signal
import sys
import time
from pathlib import Path

from protocol.codec import pack_batch, pack_sample
from tests.accept import CheckError
from tests.accept._wire import Session, login_from_json


def main(config_path: str, out_path: str) -> int:
    """Publish until SIGTERM; the exit status."""
    config = json.loads(Path(config_path).read_bytes())
    stopping = False

    def stop(_number: int, _frame: object) -> None:
        nonlocal stopping
        stopping = True

    signal.signal(signal.SIGTERM, stop)
    session = Session.open(login_from_json(config["login"]))
    pause_s = 1.0 / config["rate_hz"]
    seq, due_s = 0, time.monotonic()
    with Path(out_path).open("w", encoding="ascii", buffering=1) as out:
        while not stopping:
            time.sleep(max(0.0, due_s - time.monotonic()))
            seq += 1
            reason = session.publish(config["topic"], pack_batch([_sample(seq)]))
            if reason:
                raise CheckError(f"a good sample was refused with {reason:#x}")
            out.write(f"{seq} {due_s:.6f} {1000 * (time.monotonic() - due_s):.3f}\n")
            due_s += pause_s
    session.close()
    return 0


def _sample(seq: int) -> bytes:
    return pack_sample(
        {"ts": time.time_ns() // 1_000_000, "seq": seq, "ups_status": 2, "output_voltage": 230.0}
    )


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
