"""How long to wait before the next attempt: exponential with full jitter, between two bounds.

Full jitter (the whole interval is random, not a part of it) keeps thousands of agents that lost the
same gateway at the same instant from coming back at the same instant.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

RETRY_FIRST_S = 1.0  # nobody gains from a reconnect faster than a gateway restarts
RETRY_MAX_S = 60.0  # an outage of a minute costs at most one more minute of buffering


@dataclass(frozen=True, slots=True)
class Backoff:
    """The state of one retry ladder; `failed` and `refused` climb, `succeeded` starts again."""

    first_s: float = RETRY_FIRST_S
    max_s: float = RETRY_MAX_S
    failures: int = 0

    def ceiling_s(self) -> float:
        """The longest wait the present number of failures allows."""
        doublings = min(self.failures, 32)  # 2**32 seconds is beyond every bound
        return min(self.max_s, self.first_s * 2.0**doublings)

    def delay_s(self, draw: float) -> float:
        """The wait for a uniform `draw` from [0, 1): somewhere from `first_s` up to the ceiling."""
        if not 0.0 <= draw < 1.0:
            raise ValueError("draw must be in [0, 1)")
        return self.first_s + draw * (self.ceiling_s() - self.first_s)

    def failed(self) -> Backoff:
        """After a failure of the line."""
        return replace(self, failures=self.failures + 1)

    def refused(self) -> Backoff:
        """After the peer said no: at once to the longest waits, asking faster helps nobody."""
        doublings = 0
        while self.first_s * 2.0**doublings < self.max_s and doublings < 32:
            doublings += 1
        return replace(self, failures=max(self.failures + 1, doublings))

    def succeeded(self) -> Backoff:
        """After a success that lasted."""
        return replace(self, failures=0)
