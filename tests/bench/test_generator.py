"""The generator against a sink: what it sends, what it books, and what it does not let pass."""

import asyncio
from pathlib import Path

import numpy as np
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.generator import run
from bench.load import Book, Load, LoadError, Outcome, Sender
from bench.wire import FIRST_SEQ, Shape
from protocol.columns import decode_payloads
from protocol.errors import Reason
from protocol.identity import kid_of
from protocol.mqtt import PubAck
from protocol.signing import public_bytes
from tests.bench.sink import Sink, acknowledge, sink


def load(
    found: Sink, *, rate: float = 0.0, messages: int = 0, connections: int = 2, window: int = 50
) -> Load:
    keys = [Ed25519PrivateKey.generate() for _ in range(connections)]
    senders = tuple(
        Sender(number, kid_of(public_bytes(key)), 3, 4, key.private_bytes_raw().hex())
        for number, key in enumerate(keys)
    )
    shape = Shape(json=False, samples=1)
    return Load("localhost", found.port, found.ca_file, "test", senders, shape, window, 0.2, rate, messages)


async def outcome(order: Load) -> Outcome:
    return await asyncio.to_thread(run, order)


@pytest.mark.parametrize("rate", [0.0, 5000.0])
async def test_sends_each_message_once_and_in_order(tmp_path: Path, rate: float) -> None:
    async with sink(tmp_path) as found:
        seen = await outcome(load(found, rate=rate, messages=600))
    assert (seen.acknowledged, seen.rejected) == (600, 0)
    assert 0 < seen.p50_ms <= seen.p99_ms <= seen.max_ms
    assert len(found.payloads) == 2
    for payloads in found.payloads.values():
        rows = decode_payloads(payloads).rows
        assert list(rows["seq"]) == list(range(FIRST_SEQ, FIRST_SEQ + 300))
    assert found.goodbyes == 2


async def test_runs_for_a_time(tmp_path: Path) -> None:
    async with sink(tmp_path) as found:
        seen = await outcome(load(found))
    assert seen.acknowledged == sum(map(len, found.payloads.values())) > 0
    assert 0.2 <= seen.seconds < 5


async def test_keeps_a_fixed_rate(tmp_path: Path) -> None:
    async with sink(tmp_path) as found:
        seen = await outcome(load(found, rate=1000.0, messages=300))
    assert seen.seconds >= 0.29


async def test_counts_a_refusing_acknowledgement_apart(tmp_path: Path) -> None:
    def refuse_some(ids: list[int]) -> list[PubAck]:
        return [PubAck(i, Reason.PAYLOAD_FORMAT_INVALID if i == 7 else Reason.SUCCESS) for i in ids]

    async with sink(tmp_path, refuse_some) as found:
        seen = await outcome(load(found, messages=100))
    assert (seen.acknowledged, seen.rejected, seen.connections) == (98, 2, (49, 49))


async def test_an_acknowledgement_out_of_order_ends_the_run(tmp_path: Path) -> None:
    async with sink(tmp_path, lambda ids: acknowledge(ids[::-1])) as found:
        with pytest.raises(LoadError, match="out of order"):
            await outcome(load(found, messages=100))


async def test_a_refused_log_in_ends_the_run(tmp_path: Path) -> None:
    async with sink(tmp_path, code=Reason.NOT_AUTHORIZED) as found:
        with pytest.raises(LoadError, match="refuses"):
            await outcome(load(found))


async def test_a_window_that_is_not_granted_ends_the_run(tmp_path: Path) -> None:
    async with sink(tmp_path, window=49) as found:
        with pytest.raises(LoadError, match="grants 49"):
            await outcome(load(found))


def test_waiting_times_count_from_when_a_message_was_due() -> None:
    book = Book(window=10)
    book.add(np.array([100, 100, 200]))
    book.add(np.array([300]))
    book.confirm(np.array([1, 2]), 1000)
    book.confirm(np.array([3, 4]), 1500)
    assert np.concatenate(book.waits_ns).tolist() == [900, 900, 1300, 1200]
    assert (book.room, book.acknowledged, book.due_ns) == (10, 4, [])


@pytest.mark.parametrize("ids", [[2], [1, 1], [1, 2]])
def test_only_the_next_message_in_order_can_be_confirmed(ids: list[int]) -> None:
    book = Book(window=10)
    book.add(np.array([0]))
    with pytest.raises(LoadError):
        book.confirm(np.array(ids), 1)
