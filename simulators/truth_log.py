"""A file of what really happened: one line of JSON for each fact of a unit that changed, and when."""

import json
import time
from pathlib import Path
from typing import Self

from simulators.core.truth import Fact, changed


class TruthLog:
    """Appends to the file; the first look at a unit writes all of its facts."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a", encoding="utf-8")
        self._known: dict[int, dict[str, Fact]] = {}

    def look(self, unit: int, facts: dict[str, Fact]) -> None:
        """Write down what is new of a unit."""
        before = self._known.get(unit, {})
        news = changed(before, facts)
        if not news:
            return
        self._known[unit] = {**before, **facts}
        ms = time.time_ns() // 1_000_000
        for fact, value in news.items():
            line = {"ms": ms, "unit": unit, "fact": fact, "value": value}
            self._file.write(json.dumps(line) + "\n")
        self._file.flush()

    def close(self) -> None:
        """No more is written."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
