"""A private PostgreSQL that is made and migrated once a test process, and copied for each cloud that starts.

That a cloud starts from nothing is shown by ``tests/cloud/test_app.py`` and by the tests of the demo.
"""

import atexit
import functools
import shutil
import subprocess
import tempfile
from pathlib import Path

from cloud.embedded import EmbeddedPostgres
from cloud.postgres.migrate import migrate
from cloud.postgres.partitions import ensure_days
from tests.support.postgres import SETTINGS

PARTS = ("pg", "pg.password")


def prepare(state_dir: Path) -> None:
    """Give ``state_dir``, where nothing was started yet, a migrated PostgreSQL that does not run."""
    state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    template = _template()
    subprocess.run(["cp", "-a", *(template / part for part in PARTS), state_dir], check=True)


@functools.cache
def _template() -> Path:
    folder = Path(tempfile.mkdtemp(prefix="sc-test-prepared-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with EmbeddedPostgres(folder, SETTINGS) as server:
        migrate(server.dsn())
        ensure_days(server.dsn())
    return folder
