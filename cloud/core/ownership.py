"""Who owns a device, and since when: one live ownership a device, numbered by an epoch that only grows.

Everything a device sends and everything a person reads is cut by the epoch (docs/owning.md), so the number
must never repeat, not even after a restored backup: the clock keeps it ahead.
"""

from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Ownership:
    """One company's time with a device; ``until_ms`` is None while it lasts."""

    company_id: int
    account_id: int
    kid: str
    epoch: int
    from_ms: int
    until_ms: int | None = None

    @property
    def live(self) -> bool:
        """Whether this is the present owner."""
        return self.until_ms is None


def next_epoch(last_epoch: int, now_ms: int) -> int:
    """Number of the next ownership: above every earlier one, and ahead of any backup."""
    return max(last_epoch + 1, now_ms)


def ended(ownership: Ownership, now_ms: int) -> Ownership:
    """The ownership after its release; it never ends before it began. ValueError where it has ended."""
    if not ownership.live:
        raise ValueError("this ownership has ended already")
    return replace(ownership, until_ms=max(now_ms, ownership.from_ms))
