"""The cloud's processes one by one, to be killed, restarted and held while a check watches from outside."""

import contextlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from cloud.postgres.safety import DatabaseUnavailableError, check_safety
from tests.faults.processes import Part, Parts
from tests.support.prepared import prepare
from tests.support.stack import Cloud, answers, listens

NAMES: Final = ("postgres", "gateway", "portal")
"""What a test gets that asks for nothing else, in the order in which they start."""
ALL: Final = (*NAMES, "jobs")


class CloudParts(Cloud):
    """``postgres``, ``gateway``, ``portal``, ``jobs`` of one cloud, each a process on a fixed port.

    Start them from the main thread: Linux would end them with any other one.
    """

    def __init__(self, state_dir: Path, processes: Parts) -> None:
        super().__init__(state_dir)
        ready: dict[str, Callable[[], bool]] = {
            "postgres": self._database_answers,
            "gateway": lambda: listens(self.gateway_port),
            "portal": lambda: answers(self.portal_port),
            "jobs": lambda: answers(self.jobs_metrics_port),
        }
        self.parts: dict[str, Part] = {
            name: processes.add(name, self.command(name), ready=ready[name]) for name in ALL
        }

    def start_all(self, names: Sequence[str] = NAMES) -> None:
        """PostgreSQL with the newest schema, and the others of ``names``."""
        prepare(self.state_dir)
        for name in ("postgres", *(name for name in names if name != "postgres")):
            self.start(name)

    def start(self, name: str, *, fault: str = "") -> None:
        """Start one part and wait until it serves; ``fault`` arms a fault point in it. PartError."""
        if name == "postgres":
            (self.state_dir / "pg.dsn").unlink(missing_ok=True)  # of a server that was killed
        self.parts[name].start(fault=fault).wait_ready()

    def kill(self, name: str) -> None:
        """SIGKILL to one part and all below it."""
        self.parts[name].kill()

    def stop(self, name: str) -> None:
        """SIGTERM to one part. PartError where it does not end in time, or not well."""
        status = self.parts[name].stop()
        if status != 0:
            raise RuntimeError(f"{name} ended with status {status}: {self.parts[name].tail()}")

    def restart(self, name: str, *, fault: str = "") -> None:
        """Stop one part and start it again."""
        self.stop(name)
        self.start(name, fault=fault)

    def _database_answers(self) -> bool:
        try:
            check_safety(self.dsn)
        except (FileNotFoundError, DatabaseUnavailableError):
            return False
        return True


@contextlib.contextmanager
def running_parts(state_dir: Path, names: Sequence[str] = NAMES) -> Iterator[CloudParts]:
    """PostgreSQL and the others of ``names``, until the block ends."""
    with Parts(state_dir.with_name(f"{state_dir.name}-logs")) as processes:
        cloud = CloudParts(state_dir, processes)
        cloud.start_all(names)
        yield cloud
