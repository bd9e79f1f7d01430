"""Half handshakes of one address do not shut the door for others."""

from cloud.gateway.endpoint import CROWDED, FAIR_SHARE, Door, Place


async def enter(door: Door, address: str) -> bool:
    await door.wait_free()
    return door.enter(address)


async def test_one_address_may_have_many_until_it_is_crowded() -> None:
    door = Door()
    assert all([await enter(door, "192.0.2.1") for _ in range(CROWDED)])
    assert not await enter(door, "192.0.2.1")
    assert all([await enter(door, "192.0.2.2") for _ in range(FAIR_SHARE)])
    assert not await enter(door, "192.0.2.2")
    assert await enter(door, "192.0.2.3")


async def test_who_leaves_makes_room() -> None:
    door = Door()
    for _ in range(CROWDED):
        await enter(door, "192.0.2.1")
    for _ in range(CROWDED - FAIR_SHARE + 1):
        door.leave("192.0.2.1")
    assert await enter(door, "192.0.2.1")


async def test_a_place_is_given_back_once() -> None:
    door = Door()
    for _ in range(CROWDED):
        await enter(door, "192.0.2.1")
    place = Place(door, "192.0.2.1")
    for _ in range(CROWDED):
        place.leave()
    for _ in range(CROWDED - FAIR_SHARE):
        door.leave("192.0.2.1")
    assert await enter(door, "192.0.2.1"), "one of them and the place itself"
