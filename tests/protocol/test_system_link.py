"""What travels between servers: attach codes as people type them, proofs that bind, messages."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.codec import decode, encode
from protocol.errors import DecodeError, ErrorCode
from protocol.system_code import MistypedError
from protocol.system_keys import link_secret, make_system_key
from protocol.system_link import (
    FINGERPRINT_BYTES,
    MAX_LINE_BYTES,
    SECRET_BYTES,
    DetachReason,
    LinkKind,
    LinkMessage,
    LinkReport,
    check_link_proof,
    link_proof,
    read_attach_code,
    write_attach_code,
)

if TYPE_CHECKING:
    from protocol.system import SystemId

TEN = st.binary(min_size=FINGERPRINT_BYTES, max_size=FINGERPRINT_BYTES)


@given(TEN, TEN)
def test_a_code_reads_back_however_it_is_typed(fingerprint: bytes, secret: bytes) -> None:
    code = write_attach_code(fingerprint, secret)
    assert len(code) == 7 * 6 + 6
    for typed in (code, code.lower(), code.replace("-", ""), code.replace("-", " "), f" {code}\n"):
        assert read_attach_code(typed) == (fingerprint, secret)


def test_a_wrong_character_is_found_in_its_group() -> None:
    code = write_attach_code(bytes(FINGERPRINT_BYTES), bytes(SECRET_BYTES))
    for place, sign in enumerate(code):
        if sign != "-":
            with pytest.raises(MistypedError) as caught:
                read_attach_code(code[:place] + ("7" if sign != "7" else "8") + code[place + 1 :])
            assert (caught.value.code, caught.value.group) == (ErrorCode.CODE_MISTYPED, place // 7 + 1)


def test_lengths_are_fixed() -> None:
    with pytest.raises(ValueError, match="ten bytes"):
        write_attach_code(b"", bytes(SECRET_BYTES))
    with pytest.raises(MistypedError):
        read_attach_code("")


@given(st.text(max_size=60))
def test_no_text_breaks_the_reader(text: str) -> None:
    try:
        found = read_attach_code(text)
    except MistypedError:
        return
    assert write_attach_code(*found)


def test_a_proof_binds_both_ids_and_both_certificates() -> None:
    keys = [make_system_key(X25519PrivateKey.generate) for _ in range(3)]
    (one, one_id), (other, other_id), (third, third_id) = keys
    secret = link_secret(one, other_id, other_id, one_id)
    assert secret == link_secret(other, one_id, other_id, one_id)
    assert secret != link_secret(third, one_id, other_id, one_id)
    proof = link_proof(secret, prover=one_id, own=b"a", other=b"b")
    assert check_link_proof(secret, proof, prover=one_id, own=b"a", other=b"b")
    wrong: list[tuple[SystemId, bytes, bytes]] = [
        (other_id, b"a", b"b"),
        (third_id, b"a", b"b"),
        (one_id, b"x", b"b"),
        (one_id, b"a", b"x"),
        (one_id, b"b", b"a"),
    ]
    for prover, own, peer in wrong:
        assert not check_link_proof(secret, proof, prover=prover, own=own, other=peer)
    assert not check_link_proof(secret, b"", prover=one_id, own=b"a", other=b"b")


def test_messages_round_trip() -> None:
    report = LinkReport(name="one", version="1.9", licences=("a", "b"), uptime_s=3, attachment=b"w")
    for message in (
        LinkMessage(kind=LinkKind.HELLO, system_id="x", name="es"),
        LinkMessage(kind=LinkKind.REPORT, report=report),
        LinkMessage(kind=LinkKind.DETACHED, reason=DetachReason.DATABASE_DELETED),
        LinkMessage(kind=LinkKind.PASSED_ON, passed=b"sealed"),
    ):
        line = encode(message)
        assert b"\n" not in line
        assert decode(line, LinkMessage, MAX_LINE_BYTES) == message


@given(st.binary(max_size=200))
def test_rubbish_is_no_message(data: bytes) -> None:
    with pytest.raises(DecodeError):
        decode(data, LinkMessage, MAX_LINE_BYTES)
