"""The serial port of simulated UPSs: Modbus RTU on a pseudo-terminal, at the pace of a real line.

A link path points to the terminal's slave side, where a client opens it like any serial port. The frames are
``simulators.core.rtu``'s; this module owns the file descriptors, the clock and the pacing.
"""

import asyncio
import contextlib
import fcntl
import os
import termios
import time
import tty
from collections.abc import Mapping
from pathlib import Path

from simulators.core.register_image import RegisterImage
from simulators.core.rtu import SILENCE_S, Receiver, answer

BAUD = 9600
BITS_PER_BYTE = 10  # start, eight data, stop
THINKING_S = 0.008  # between a request's last byte and the answer's first one
STALE_S = 2.0  # an answer that nobody fetched for so long was for a client that has gone
_SLICE_S = 0.01


class SerialPort:
    """One line with one or more units; create it inside the event loop that serves it."""

    def __init__(self, link: Path, images: Mapping[int, RegisterImage], *, baud: int = BAUD) -> None:
        self._images = images
        self._link = link
        self._byte_s = BITS_PER_BYTE / baud
        self._receiver = Receiver()
        self._readable = asyncio.Event()
        self._last_answer_s = float("-inf")
        self.silent = False
        self.answers = 0
        self.early_requests = 0
        self._closed = False
        self._master, self._slave = os.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.terminal = os.ttyname(self._slave)
        try:
            self._publish()
        except OSError:
            self._close_descriptors()
            raise

    async def serve(self) -> None:
        """Answer until cancelled; then the terminal hangs up and the link goes."""
        loop = asyncio.get_running_loop()
        loop.add_reader(self._master, self._readable.set)
        try:
            while True:
                data = await self._receive()
                now_s = time.monotonic()
                frame = self._receiver.feed(data, now_s)
                if frame is not None:
                    await self._respond(frame, now_s)
        finally:
            loop.remove_reader(self._master)
            self.close()

    def close(self) -> None:
        """Take the link away, if it is still ours, and hang up; once, for our name may then be another's."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(OSError):
            if str(self._link.readlink()) == self.terminal:
                self._link.unlink()
        self._close_descriptors()

    def _publish(self) -> None:
        """Replace the link in one step, so that a client never finds it missing."""
        if self._link.exists() and not self._link.is_symlink():
            raise FileExistsError(f"{self._link} exists and is not a link to a terminal")
        new = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        new.unlink(missing_ok=True)
        new.symlink_to(self.terminal)
        new.replace(self._link)

    def _close_descriptors(self) -> None:
        for descriptor in (self._master, self._slave):
            with contextlib.suppress(OSError):
                os.close(descriptor)

    async def _receive(self) -> bytes:
        while True:
            self._readable.clear()
            with contextlib.suppress(BlockingIOError):
                return os.read(self._master, 512)
            await self._readable.wait()

    async def _respond(self, frame: bytes, now_s: float) -> None:
        self._forget_last_client(now_s)
        reply = None if self.silent else answer(self._images, frame)
        if reply is None:
            return
        if now_s - self._last_answer_s < SILENCE_S:
            self.early_requests += 1
        await asyncio.sleep(len(frame) * self._byte_s + THINKING_S)
        self.answers += 1
        await self._send(reply)
        self._last_answer_s = time.monotonic()

    def _forget_last_client(self, now_s: float) -> None:
        """What a kernel does when a real port is closed: free it, and drop what was not read."""
        fcntl.ioctl(self._slave, termios.TIOCNXCL)
        if now_s - self._last_answer_s > STALE_S:
            termios.tcflush(self._slave, termios.TCIFLUSH)

    async def _send(self, data: bytes) -> None:
        """Hand over each byte no earlier than a line has carried it."""
        begun_s = time.monotonic()
        piece = max(int(_SLICE_S / self._byte_s), 1)
        for start in range(0, len(data), piece):
            end = min(start + piece, len(data))
            await asyncio.sleep(max(begun_s + end * self._byte_s - time.monotonic(), 0.0))
            self._drop_input()  # before the last bytes leave: what comes after them is the next request
            if self.silent:
                return
            with contextlib.suppress(BlockingIOError):  # nobody listens: lost, as on a real line
                os.write(self._master, data[start:end])

    def _drop_input(self) -> None:
        """A unit does not hear while it speaks."""
        with contextlib.suppress(BlockingIOError):
            while os.read(self._master, 512):
                pass
