"""The order of the two words of an outlet row: some units exchange them (reference, "outlet_word_swap").

Status rows of outlet groups know bits 0 to 14 only, so the word that holds them tells the order. The same
units want the words of the outlet command exchanged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from protocol.registers import BLOCKS, BY_NAME

if TYPE_CHECKING:
    from collections.abc import Sequence

_START: Final = BLOCKS["status"].start


def low_word_first(status: Sequence[int], groups: Sequence[str]) -> bool | None:
    """The order, from the words of the status block; None where the groups disagree or say nothing."""
    rows = [(status[at], status[at + 1]) for at in _places(groups)]
    if any(first and second for first, second in rows):
        return None
    orders = {bool(first) for first, second in rows if first or second}
    return orders.pop() if len(orders) == 1 else None


def high_word_first(status: Sequence[int], groups: Sequence[str]) -> Sequence[int]:
    """The status block with its outlet rows as most units have them; as it is where no order shows."""
    if not low_word_first(status, groups):
        return status
    words = list(status)
    for at in _places(groups):
        words[at], words[at + 1] = words[at + 1], words[at]
    return words


def _places(groups: Sequence[str]) -> list[int]:
    return [BY_NAME[f"{group}_outlet_status"].address - _START for group in groups]
