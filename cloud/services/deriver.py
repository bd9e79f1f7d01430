"""Label keys, derived in a process of its own that gives way to everything else on the machine.

A derivation keeps a core busy for 14 ms. In a process with a high nice value it takes the time that telemetry
and pages leave, and never holds the portal's interpreter lock while it is out of turn, as a thread would.

``Deriver`` starts the process with its first use and again should it end. It reads a line of Product ID and
Product Key and answers with the public label key in hex; it keeps nothing, and ends with its standard input,
so it does not outlive whoever started it. Product Keys are in neither its arguments nor its environment.
"""

import contextlib
import os
import signal
import subprocess
import sys
from typing import BinaryIO, Final

from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key, public_bytes

NICE: Final = 5
"""A third of the share of a process with nice 0, where both want the same core (sched(7))."""
TRIES: Final = 2
END_S: Final = 1.0


class DeriverError(Exception):
    """The process ended each time it was asked."""


class Deriver:
    """One process; use it from one thread at a time."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the process, if it does not run; it takes a moment until it can answer. OSError."""
        if self._process is None:
            command = [sys.executable, "-P", "-m", "cloud.services.deriver"]
            self._process = subprocess.Popen(  # noqa: S603 - this very program
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            )

    def derive(self, product_id: ProductId, product_key: ProductKey) -> bytes:
        """The public label key of these codes; blocks. DeriverError, OSError."""
        question = b"%s %s\n" % (product_id.value.encode(), product_key.value.encode())
        for _ in range(TRIES):
            self.start()
            answer = self._ask(question)
            if answer.endswith(b"\n"):
                return bytes.fromhex(answer.decode("ascii"))
            self.close()
        raise DeriverError("the process that derives label keys ends whenever it is asked")

    def close(self) -> None:
        """End the process."""
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        with contextlib.suppress(OSError):  # of what it did not read
            process.communicate(timeout=END_S)

    def _ask(self, question: bytes) -> bytes:
        """Its line; an unfinished one where it ended."""
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            return b""
        try:
            process.stdin.write(question)
            process.stdin.flush()
        except OSError:
            return b""
        return process.stdout.readline()


def serve(questions: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line, until there are no more."""
    while line := questions.readline():
        product_id, product_key = line.decode("ascii").split()
        key = label_key(ProductId.parse(product_id), ProductKey.parse(product_key))
        answers.write(public_bytes(key).hex().encode("ascii") + b"\n")
        answers.flush()


def main() -> None:
    """The process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for whoever started us
    os.nice(NICE)
    with contextlib.suppress(BrokenPipeError):  # nobody waits for the answer any more
        serve(sys.stdin.buffer, sys.stdout.buffer)


if __name__ == "__main__":
    main()
