"""What each reason code of a PUBACK means: only three of them may ever delete something."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from agent.core.delivery import Verdict, judge
from protocol.errors import Reason

WANTED = {
    Reason.SUCCESS: Verdict.STORED,
    Reason.NO_MATCHING_SUBSCRIBERS: Verdict.AWAIT_HELLO,
    Reason.PAYLOAD_FORMAT_INVALID: Verdict.REFUSED,
    Reason.NOT_AUTHORIZED: Verdict.AWAIT_HELLO,
    Reason.QUOTA_EXCEEDED: Verdict.LATER,
    Reason.UNSPECIFIED: Verdict.LATER,
    Reason.IMPLEMENTATION_SPECIFIC: Verdict.LATER,
}


def test_the_codes_of_the_table() -> None:
    assert {reason: judge(reason) for reason in WANTED} == WANTED


@given(st.integers(0, 255))
def test_no_other_code_deletes(reason: int) -> None:
    assert judge(reason) is WANTED.get(
        Reason(reason) if reason in set(Reason) else Reason.UNSPECIFIED, Verdict.LATER
    )
