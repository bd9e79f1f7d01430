"""Time-based codes against RFC 6238's own values, windows, recovery codes."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core import second_factor as core

# RFC 6238 appendix B, SHA-1, the last six of its eight digits.
SECRET = base64.b32encode(b"12345678901234567890").decode()
VECTORS = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
    (20000000000, "353130"),
]
TIMES = st.integers(min_value=0, max_value=2**42)


@pytest.mark.parametrize(("at_s", "code"), VECTORS)
def test_the_codes_are_those_of_the_rfc(at_s: int, code: str) -> None:
    assert core.code_at(SECRET, core.step_of(at_s * 1000)) == code
    assert core.matching_step(SECRET, code, now_ms=at_s * 1000, last_step=0) == at_s // 30


@given(TIMES, st.integers(min_value=-5, max_value=5))
def test_a_code_counts_one_step_early_and_late_and_not_twice(now_ms: int, off: int) -> None:
    step = core.step_of(now_ms) + off
    if step < 1:
        return
    code = core.code_at(SECRET, step)
    found = core.matching_step(SECRET, code, now_ms=now_ms, last_step=0)
    window = range(core.step_of(now_ms) - 1, core.step_of(now_ms) + 2)
    same = [number for number in window if number > 0 and core.code_at(SECRET, number) == code]
    assert found == (same[0] if same else None)
    assert (found is not None) == (abs(off) <= core.WINDOW or bool(same))
    if found is not None:
        again = core.matching_step(SECRET, code, now_ms=now_ms, last_step=max(same))
        assert again is None


@given(st.text(max_size=20))
def test_anything_typed_is_parsed_or_refused(text: str) -> None:
    totp, recovery = core.parse_totp(text), core.parse_recovery(text)
    assert totp is None or (len(totp) == 6 and totp.isascii() and totp.isdigit())
    assert recovery is None or core.parse_recovery(recovery) == recovery
    assert totp is None or recovery is None


@given(st.binary(min_size=10, max_size=10))
def test_a_recovery_code_survives_being_typed(randomness: bytes) -> None:
    shown = core.recovery_text(randomness)
    bare = shown.replace("-", "")
    assert core.parse_recovery(shown) == bare
    typed = f" {shown.lower().replace('0', 'o').replace('1', 'l')} "
    assert core.parse_recovery(typed) == bare


def test_recovery_codes_have_fifty_bits() -> None:
    shown = core.recovery_text(bytes(range(10)))
    assert len(shown) == 11
    assert core.recovery_text(bytes([32, *range(1, 10)])) == shown  # 5 bits a byte
    with pytest.raises(ValueError, match="10 bytes"):
        core.recovery_text(b"short")


def test_the_uri_names_account_and_issuer() -> None:
    uri = core.provisioning_uri(SECRET, account_name="ada@example.org", issuer="SmartConnect")
    assert uri == f"otpauth://totp/SmartConnect:ada%40example.org?secret={SECRET}&issuer=SmartConnect"


@pytest.mark.parametrize(
    ("factor_ms", "fresh"),
    [(None, False), (1_000_000, True), (700_000, True), (699_999, False), (1_000_001, False)],
)
def test_a_proof_is_fresh_for_five_minutes(factor_ms: int | None, fresh: bool) -> None:
    assert core.is_fresh(factor_ms, 1_000_000) is fresh
