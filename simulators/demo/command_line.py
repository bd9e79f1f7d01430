"""``smartconnect-demo``: the whole product on one machine, with two simulated UPSs. Runs until Ctrl-C."""

import argparse
import contextlib
import io
import shutil
import signal
import sys
import time
from pathlib import Path

from simulators.demo.layout import DemoError, Home
from simulators.demo.report import OutputClosedError, check_output, say
from simulators.demo.stage import Stage

CHECK_PAUSE_S = 0.5
_asked: list[int] = []
"""The signals that arrived: an exception that a handler raises inside a finaliser is lost."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)  # Ctrl-C, `kill`, the terminal was closed


class Stopped(Exception):  # noqa: N818 - not an error: somebody asked for the end
    """One of the STOPPING signals arrived."""


def main(arguments: list[str] | None = None) -> int:
    """Entry point; the exit status."""
    parser = argparse.ArgumentParser(prog="smartconnect-demo", description=__doc__)
    parser.add_argument(
        "--state-dir", type=Path, default=Path(".state/demo"), metavar="DIR", help="kept between starts"
    )
    parser.add_argument(
        "--lan", action="store_true", help="serve HTTPS on this machine's address in its network"
    )
    parser.add_argument("--reset", action="store_true", help="forget accounts, claims and history, and end")
    options = parser.parse_args(arguments)
    home = Home(options.state_dir)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # no encoding is a reason to stop
    try:
        for number in STOPPING:
            if number is not signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:  # else: nohup
                signal.signal(number, _stop)
        with home:
            return _reset(home) if options.reset else _run(home, lan=options.lan)
    except DemoError as error:
        sys.stderr.write(f"smartconnect-demo: {error}\n")
        return 1
    except (Stopped, OutputClosedError):  # nobody reads any more: nobody wants it any more
        return 0


def _stop(received: int, _frame: object) -> None:
    _asked.append(received)
    for number in STOPPING:
        signal.signal(number, signal.SIG_IGN)  # the end has begun; it takes 10 s at most
    raise Stopped


def _reset(home: Home) -> int:
    shutil.rmtree(home.folder)  # ours alone: taken just before
    say(f"forgotten: {home.folder}")
    return 0


def _run(home: Home, *, lan: bool) -> int:
    stage = Stage(home, lan=lan)
    try:
        stage.open()
        while not _asked:
            time.sleep(CHECK_PAUSE_S)
            check_output()
            stage.look_after()
        return 0
    finally:
        began = time.monotonic()
        with contextlib.suppress(OutputClosedError):
            say("\nstopping …")
        stage.close()
        with contextlib.suppress(OutputClosedError):
            say(f"stopped after {time.monotonic() - began:.1f} s; nothing is left running")
