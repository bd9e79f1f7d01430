"""Files that hold secrets: 0600 from the first byte, replaced whole or not at all."""

import os
from pathlib import Path


def private_opener(path: str, flags: int) -> int:
    """Opener for ``open`` that makes new files 0600."""
    return os.open(path, flags, 0o600)


def write_private(path: Path, content: str | bytes) -> None:
    """Replace ``path`` by a 0600 file with ``content``, at once or not at all."""
    part = path.with_name(path.name + ".part")
    part.unlink(missing_ok=True)
    with open(part, "xb", opener=private_opener) as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)
