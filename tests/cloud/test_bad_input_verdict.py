"""The verdict of the acceptance check ``bad-input`` about two percentiles."""

import pytest

from tests.accept import CheckError
from tests.accept.bad_input import judge


def test_twice_the_quiet_percentile_is_allowed() -> None:
    judge(4.0, 8.0, "figures")
    with pytest.raises(CheckError, match=r"^figures$"):
        judge(4.0, 8.1, "figures")


@pytest.mark.parametrize("disturbed_ms", [90.0, 150.0, 900.0])
def test_a_busy_machine_gives_no_verdict_of_a_ratio(disturbed_ms: float) -> None:
    with pytest.raises(CheckError, match="the machine is too busy to judge: figures"):
        judge(100.1, disturbed_ms, "figures")
