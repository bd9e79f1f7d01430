"""The bounded pool that turns product codes into label keys."""

import asyncio
import contextlib
import itertools
from types import SimpleNamespace

import pytest

from cloud.services.derivation import ACTIVE, MAX_EACH, BusyError, LabelKeys
from protocol.identity import ProductId, ProductKey
from protocol.signing import label_key, public_bytes

PRODUCT = ProductId.parse("ABCDEFGHJKLM")
KEY = ProductKey.parse("ABCDEFGHJKLMNP")


async def test_it_gives_what_the_device_derives() -> None:
    with LabelKeys(2) as label_keys:
        assert await label_keys.label_pub(PRODUCT, KEY) == public_bytes(label_key(PRODUCT, KEY))


async def test_typed_goes_before_bulk_and_the_bound_is_kept() -> None:
    done: list[str] = []
    with LabelKeys(1, max_typed=2, max_bulk=2) as label_keys:

        async def derive(name: str, *, bulk: bool) -> None:
            await label_keys.label_pub(PRODUCT, KEY, bulk=bulk)
            done.append(name)

        async with asyncio.TaskGroup() as group:
            for name, bulk in (("first", False), ("b1", True), ("b2", True), ("t1", False), ("t2", False)):
                group.create_task(derive(name, bulk=bulk))
                await asyncio.sleep(0)
            assert label_keys.waiting == 4
            for bulk in (False, True):
                with pytest.raises(BusyError) as refused:
                    await label_keys.label_pub(PRODUCT, KEY, bulk=bulk)
                assert refused.value.retry_after_s == 1
        assert done == ["first", "t1", "t2", "b1", "b2"]
        assert label_keys.waiting == 0


async def test_a_caller_who_leaves_neither_keeps_nor_loses_a_place() -> None:
    with LabelKeys(1, max_typed=3) as label_keys:
        tasks = [asyncio.create_task(label_keys.label_pub(PRODUCT, KEY)) for _ in range(4)]
        await asyncio.sleep(0)
        tasks[0].cancel()  # its derivation runs on
        tasks[2].cancel()  # waits in the queue
        results = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = [type(result) for result in results]
        assert kinds == [asyncio.CancelledError, bytes, asyncio.CancelledError, bytes]
        assert isinstance(await label_keys.label_pub(PRODUCT, KEY), bytes)


async def test_who_still_waits_at_the_end_is_told() -> None:
    label_keys = LabelKeys(1)
    running = asyncio.create_task(label_keys.label_pub(PRODUCT, KEY))
    waiting = asyncio.create_task(label_keys.label_pub(PRODUCT, KEY))
    await asyncio.sleep(0)
    label_keys.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert isinstance(await running, bytes)


def test_room_is_bounded_for_all_and_for_each() -> None:
    with LabelKeys(1, max_typed=MAX_EACH + 1) as label_keys, contextlib.ExitStack() as own:
        for _ in range(MAX_EACH):
            own.enter_context(label_keys.admit("7"))
        with pytest.raises(BusyError), label_keys.admit("7"):
            pass
        with label_keys.admit("8"), pytest.raises(BusyError), label_keys.admit("9"):
            pass
        own.close()
        with label_keys.admit("7"):
            pass


async def test_when_to_come_again_follows_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    clock_s = itertools.count(0, 2 * ACTIVE)  # each turn takes that long: a claim is answered every 2 s
    monkeypatch.setattr("cloud.services.derivation.time", SimpleNamespace(monotonic=clock_s.__next__))
    with LabelKeys(1, max_typed=10) as label_keys, contextlib.ExitStack() as inside:
        for who in range(10):
            inside.enter_context(label_keys.admit(str(who)))
        assert (label_keys.full, label_keys.retry_after_s) == (True, 1)
        for _ in range(200):
            async with label_keys.turn():
                pass
        assert label_keys.retry_after_s == 20
        inside.pop_all().close()
        assert not label_keys.full
