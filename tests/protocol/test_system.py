"""System IDs as people type them, and sealed messages."""

import contextlib
import re
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from protocol.errors import ErrorCode, IdentityError, SignatureError
from protocol.messages import KeySet
from protocol.system import FIELDS, PassedOn, Stand, SystemId, SystemReport, SystemState
from protocol.system_keys import (
    check_ups,
    cloud_secret,
    link_secret,
    make_system_key,
    read_envelope,
    seal,
    sign_ups,
    system_key,
    unseal,
)

KEY, ID = make_system_key(X25519PrivateKey.generate)
OTHER_KEY, OTHER = make_system_key(X25519PrivateKey.generate)
CLOUD = X25519PrivateKey.generate()
CLOUD_PUB = CLOUD.public_key().public_bytes_raw()
SECRET = cloud_secret(KEY, CLOUD_PUB, ID, 3)
REPORT = SystemReport(system_id=ID.value, counter=1, nonce=bytes(16))
LIMIT = 4096


def test_a_system_id_is_a_public_key_that_people_can_read() -> None:
    assert ID.public == KEY.public_key().public_bytes_raw()
    assert re.fullmatch(r"[1-9A-HJ-NP-Za-km-z]{43}", ID.value)
    assert SystemId.of(ID.public) == ID
    assert re.fullmatch(r"(?:[1-9A-HJ-NP-Za-km-z]{5}-){8}[1-9A-HJ-NP-Za-km-z]{5}", ID.written)


def test_it_may_be_typed_with_blanks_and_dashes_and_without_its_check() -> None:
    written = ID.written
    for text in (
        ID.value,
        written,
        f" {written} ",
        written.replace("-", " "),
        written.replace("-", "\u2013"),
        written.replace("-", ""),
    ):
        assert SystemId.parse(text) == ID


@given(st.data())
def test_a_wrong_character_is_noticed(data: st.DataObject) -> None:
    text = ID.written.replace("-", "")
    at = data.draw(st.integers(0, len(text) - 1))
    sign = data.draw(st.sampled_from("123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"))
    wrong = text[:at] + sign + text[at + 1 :]
    if wrong == text:
        return
    with contextlib.suppress(IdentityError):
        found = SystemId.parse(wrong)  # one in 3364 passes; it is another ID, never this one
        assert found != ID
        assert found.check == wrong[43:]


def test_the_check_characters_notice_typing_errors() -> None:
    flat = ID.written.replace("-", "")
    passed = 0
    for at in range(43):
        wrong = flat[:at] + ("2" if flat[at] != "2" else "3") + flat[at + 1 :]
        with contextlib.suppress(IdentityError):
            SystemId.parse(wrong)
            passed += 1
    assert passed <= 2
    with pytest.raises(IdentityError) as caught:
        SystemId.parse(flat[:-1] + ("2" if flat[-1] != "2" else "3"))
    assert caught.value.code is ErrorCode.SYSTEM_ID_MISTYPED


@pytest.mark.parametrize(
    "text",
    ["", "0" * 43, ID.value[:-1], ID.value + "A", "x" * 300, ID.value[:42] + "l"],
    ids=["empty", "no such character", "short", "long", "much too long", "look-alike"],
)
def test_what_cannot_be_one_is_refused(text: str) -> None:
    with pytest.raises(IdentityError) as caught:
        SystemId.parse(text)
    assert caught.value.code is ErrorCode.SYSTEM_ID_INVALID


def test_keys_that_are_none_have_no_system_id() -> None:
    assert SystemId.of(bytes(32)) is None
    assert SystemId.of(b"\xff" * 32) is None
    with pytest.raises(IdentityError):
        SystemId.of(b"short")


def test_both_sides_have_the_same_secret_and_nobody_else() -> None:
    assert cloud_secret(CLOUD, ID.public, ID, 3) == SECRET
    assert cloud_secret(CLOUD, ID.public, ID, 4) != SECRET
    assert cloud_secret(CLOUD, OTHER.public, OTHER, 3) != SECRET
    link = link_secret(KEY, OTHER, ID, OTHER)
    assert link == link_secret(OTHER_KEY, ID, ID, OTHER)
    assert link != link_secret(OTHER_KEY, ID, OTHER, ID)
    with pytest.raises(SignatureError):
        cloud_secret(KEY, bytes(32), ID, 3)


def test_a_sealed_message_is_opened_under_its_secret_as_its_kind_alone() -> None:
    sealed = seal(REPORT, ID, SECRET, 3)
    system_id, envelope = read_envelope(sealed, LIMIT)
    assert (system_id, envelope.key_number) == (ID, 3)
    assert unseal(envelope, SystemReport, SECRET, LIMIT) == REPORT
    with pytest.raises(SignatureError):
        unseal(envelope, SystemState, SECRET, LIMIT)
    with pytest.raises(SignatureError):
        unseal(envelope, SystemReport, bytes(32), LIMIT)
    for broken in (
        replace(envelope, body=envelope.body + b" "),
        replace(envelope, mac=envelope.mac[:16]),
        replace(envelope, mac=b""),
    ):
        with pytest.raises(SignatureError):
            unseal(broken, SystemReport, SECRET, LIMIT)


def test_what_is_passed_on_travels_without_the_cloud() -> None:
    passed = PassedOn(from_id=ID.value, to=OTHER.value, counter=1, version=1, stand=Stand.UNREGISTERED)
    sealed = seal(passed, ID, link_secret(KEY, OTHER, ID, OTHER))
    _who, envelope = read_envelope(sealed, LIMIT)
    assert unseal(envelope, PassedOn, link_secret(OTHER_KEY, ID, ID, OTHER), LIMIT) == passed


def test_a_ups_says_itself_under_which_server_it_is() -> None:
    device = Ed25519PrivateKey.generate()
    word = sign_ups(device, ID)
    public = device.public_key().public_bytes_raw()
    check_ups(public, ID, word)
    with pytest.raises(SignatureError):
        check_ups(public, OTHER, word)


def test_a_key_set_without_keys_for_systems_says_so() -> None:
    with pytest.raises(SignatureError) as caught:
        system_key(KeySet(version=1, issued_ms=0, keys=()))
    assert caught.value.code is ErrorCode.KEY_SET_INVALID


def test_every_field_has_words() -> None:
    assert all(FIELDS.values())
    assert len(set(FIELDS.values())) == len(FIELDS)
