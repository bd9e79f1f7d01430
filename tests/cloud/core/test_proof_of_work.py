"""The proof of work: what is a challenge, what solves it."""

import base64
import hashlib

import pytest

from cloud.core import proof_of_work
from cloud.core.proof_of_work import LIFE_MS, MAX_BITS, PUZZLES

NOW = 1_700_000_000_000
SEAL = "s" * 43
RANDOM = base64.urlsafe_b64encode(bytes(range(18))).decode()


def challenge(bits: int = 4) -> str:
    """A sealed challenge."""
    return f"{proof_of_work.compose(RANDOM, now_ms=NOW, bits=bits)}.{SEAL}"


def test_a_solved_challenge_says_what_it_is() -> None:
    text = challenge()
    parsed = proof_of_work.parse(proof_of_work.solve(text, 4, PUZZLES))
    assert parsed is not None
    found, numbers = parsed
    assert (found.text, found.seal, found.bits, found.puzzles) == (text, SEAL, 4, PUZZLES)
    assert found.sealed == text.removesuffix(f".{SEAL}")
    assert proof_of_work.is_solved(found, numbers)


def test_the_rule_is_leading_zero_bits_of_sha256() -> None:
    text = challenge(bits=9)
    numbers = proof_of_work.solve(text, 9, PUZZLES).rpartition(":")[2].split(",")
    for index, number in enumerate(numbers):
        digest = hashlib.sha256(f"{text}.{index}.{number}".encode()).digest()
        assert digest[0] == 0
        assert digest[1] < 0x80


def test_each_puzzle_counts() -> None:
    parsed = proof_of_work.parse(proof_of_work.solve(challenge(), 4, PUZZLES))
    assert parsed is not None
    found, numbers = parsed
    wrong = next(n for n in range(1000) if not proof_of_work.is_solved(found, (*numbers[:-1], n)))
    assert wrong != numbers[-1]
    assert not proof_of_work.is_solved(found, numbers[:-1])
    assert not proof_of_work.is_solved(found, (*numbers, 0))


@pytest.mark.parametrize(
    ("at_ms", "is_open"),
    [(NOW - 1, False), (NOW, True), (NOW + LIFE_MS - 1, True), (NOW + LIFE_MS, False)],
)
def test_a_challenge_lives_five_minutes(at_ms: int, is_open: bool) -> None:
    parsed = proof_of_work.parse(f"{challenge()}:1")
    assert parsed is not None
    assert parsed[0].is_open(at_ms) is is_open


@pytest.mark.parametrize(
    "text",
    [
        "",
        ":",
        challenge(),
        f"{challenge()}:",
        f"{challenge()}:1,",
        f"{challenge()}:-1",
        f"{challenge()}:1,x",
        f"2{challenge()[1:]}:1",
        f"{challenge()}=:1",
        f"{challenge()}:" + ",".join(["1"] * 300),
        f"{challenge()}:{'9' * 40}",
    ],
)
def test_anything_else_is_no_solution(text: str) -> None:
    assert proof_of_work.parse(text) is None


@pytest.mark.parametrize("bits", [0, -1, MAX_BITS + 1])
def test_a_puzzle_has_a_size(bits: int) -> None:
    with pytest.raises(ValueError, match="bits"):
        proof_of_work.compose(RANDOM, now_ms=NOW, bits=bits)
