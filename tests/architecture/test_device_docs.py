"""docs/devices.md against the language of the devices list."""

from pathlib import Path

from cloud.core.device_filters import FILTERS, STATES
from cloud.core.fleet import Sort

PAGE = Path(__file__).parents[2] / "docs" / "devices.md"


def test_every_filter_state_and_order_is_documented() -> None:
    text = PAGE.read_text(encoding="utf-8")
    assert [one.example for one in FILTERS.values() if f"`{one.example}`" not in text] == ["is:offline"]
    assert [name for name in (*STATES, *Sort) if f"`{name}`" not in text] == []
