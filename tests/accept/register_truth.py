"""Acceptance ``register-truth``: what the agent reads is what the reference says.

The agent's own driver, over real sockets with both framings, reads every hand-typed image and every capture
of a real unit from a server that knows no register map, and decodes it exactly. Hypothesis takes every row
of the map through encode and decode. And a map that is wrong in agent and simulator alike, so that the two
agree, is caught by the images: shown live for one exchange of rows, and for every row off by one.
"""

import asyncio
import contextlib
import dataclasses
import gc
from collections.abc import Iterator, Sequence
from typing import Final, cast

from hypothesis import HealthCheck, given, settings

from agent.clock import SystemClock
from agent.config import ModbusAddress
from agent.core.sampling import Inventory, Reading
from agent.errors import LinkError
from agent.modbus import Lines
from agent.poller import Poller
from protocol.extension import Extension
from protocol.registers import BY_NAME, REGISTERS, Kind, Register, Value, decode_register, encode_value
from simulators.unit import Simulator, UnitSpec, build
from tests.accept import CheckError, expect, passed, progress
from tests.agent.modbus_peer import ModbusPeer
from tests.golden.register_check import bit_faults, image_faults, mutants, survivors, uncovered_rows
from tests.golden.register_images import CAPTURES, IMAGES, Image
from tests.protocol.test_registers import values_of, words_of

EXAMPLES: Final = 60
VERIFICATION: Final = next(image for image in IMAGES if image.name == "verification block")
EXCHANGED: Final = ("input_voltage", "output_voltage")  # rows of one shape, so nothing else can notice


def main() -> int:
    """Run the check."""
    captures, values = asyncio.run(read_images())
    polled = asyncio.run(poll_a_capture())
    progress("round trips")
    examples = round_trips()
    progress("wrong maps")
    expect(not bit_faults(), "; ".join(bit_faults()))
    expect(not uncovered_rows(), f"no image has a value for {sorted(uncovered_rows())}")
    expect(not survivors(), f"the images do not notice {survivors()}")
    asyncio.run(exchange_two_rows())
    return passed(
        "register-truth",
        f"{captures} captures and {len(IMAGES) - captures} hand-typed images read by the driver over TCP and"
        f" RTU framing, {values} values exact, {polled} of them again through the agent's poll;"
        f" {examples} round trips over {len(REGISTERS)} rows of {len({r.kind for r in REGISTERS})} types;"
        f" {len(list(mutants()))} wrong rows all noticed; {' and '.join(EXCHANGED)} exchanged in agent and"
        " simulator alike: they agree, the images do not",
    )


# --- the images through the driver --------------------------------------------------------------------------


async def read_images() -> tuple[int, int]:
    """Every image over both framings; (captures, values compared)."""
    values = 0
    for image in IMAGES:
        for rtu in (False, True):
            words = await read(image, rtu=rtu)
            faults = image_faults(dataclasses.replace(image, words=tuple(words)))
            expect(not faults, "; ".join(faults))
            values += len(image.expect)
        progress(f"{image.name}: {len(image.expect)} values")
    return len(CAPTURES), values


async def read(image: Image, *, rtu: bool) -> Sequence[int]:
    """The words of an image as the driver gets them."""
    async with ModbusPeer(rtu=rtu) as peer:
        peer.load(VERIFICATION.start, VERIFICATION.words)
        peer.load(image.start, image.words)
        lines = Lines()
        try:
            return await lines.link(ModbusAddress.parse(peer.address), 1, 9600).read(
                image.start, len(image.words)
            )
        except LinkError as error:
            raise CheckError(f"{image.name}: {error}") from error
        finally:
            await lines.close()


class _Notebook:
    """A sink that remembers what the poller saw."""

    def __init__(self) -> None:
        self.inventory = Inventory()
        self.reading: Reading | None = None
        self.missed = ""

    async def on_inventory(self, inventory: Inventory) -> None:
        self.inventory = inventory

    async def on_extension(self, found: Extension | None) -> None:
        expect(found is None, "an extension block where there is none")

    async def on_reading(self, reading: Reading, inventory: Inventory) -> None:
        expect(inventory == self.inventory, "another inventory")
        self.reading = reading

    async def on_missed(self, mono_ms: int, reason: str) -> None:
        self.missed = f"{reason} at {mono_ms}"


async def poll_a_capture() -> int:
    """One whole poll of the agent against the captures of one unit; how many values were compared."""
    wanted = [image for image in CAPTURES if image.start in {0, 128, 516}]
    async with ModbusPeer() as peer:
        for image in (VERIFICATION, *wanted):
            peer.load(image.start, image.words)
        lines, notes = Lines(), _Notebook()
        link = lines.link(ModbusAddress.parse(peer.address), 1, 9600)
        await Poller(link, SystemClock(), notes, name="capture", interval_s=1.0).poll()
        await lines.close()
    if notes.reading is None:
        raise CheckError(f"the poll failed: {notes.missed}")
    expect(
        (notes.inventory.sku, notes.inventory.rated_apparent_power_va) == ("SMT1500RM2UC", 1440),
        f"the inventory is {notes.inventory}",
    )
    compared = 0
    for image in wanted:
        for name, value in image.expect.items():
            if name in notes.reading.values:
                got = notes.reading.values[name]
                expect(got == value, f"{name} is {got!r} in the poll, should be {value!r}")
                compared += 1
    return compared


# --- round trips --------------------------------------------------------------------------------------------


def round_trips() -> int:
    """Every row, any words and any value it can hold; how many were tried."""
    count = 0
    quietly = settings(
        max_examples=EXAMPLES, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )

    def words_return(register: Register, words: Sequence[int]) -> None:
        nonlocal count
        count += 1
        value = decode_register(register, words)
        again = encode_value(register.name, value)
        expect(decode_register(register, again) == value, f"{register.name}: {list(words)} changed")
        expect(register.kind is Kind.STRING or again == tuple(words), f"{register.name}: words changed")

    def value_returns(register: Register, value: Value) -> None:
        nonlocal count
        count += 1
        back = decode_register(register, encode_value(register.name, value))
        wanted = value.rstrip(" ") if isinstance(value, str) and register.kind is Kind.STRING else value
        expect(
            back == wanted or (back is None and register.na is not None),
            f"{register.name}: {value!r} came back as {back!r}",
        )

    def check(register: Register) -> None:
        quietly(given(words_of(register))(lambda words: words_return(register, words)))()
        quietly(given(values_of(register))(lambda value: value_returns(register, value)))()

    for register in REGISTERS:
        check(register)
    return count


# --- a map that is wrong everywhere -------------------------------------------------------------------------


@contextlib.contextmanager
def wrong_map() -> Iterator[None]:
    """The two rows exchange their places in the one map that agent and simulator share."""
    (rows,) = cast(
        "list[dict[str, Register]]", gc.get_referents(BY_NAME)
    )  # the dict behind the read-only view
    one, other = (rows[name] for name in EXCHANGED)

    def exchange(first: str, second: str) -> None:
        object.__setattr__(one, "name", first)
        object.__setattr__(other, "name", second)
        rows[first], rows[second] = one, other

    exchange(EXCHANGED[1], EXCHANGED[0])
    try:
        yield
    finally:
        exchange(*EXCHANGED)


async def exchange_two_rows() -> None:
    """Agent and simulator agree on a wrong map; the images do not agree with it."""
    with wrong_map():
        image = build(UnitSpec(profile="ups_serial"))
        image.ups.plug(into_mains=False)
        image.ups.step(1.0)
        simulator = Simulator({1: image})
        host, port = await simulator.listen_tcp("127.0.0.1", 0)
        stop = asyncio.Event()
        running = asyncio.create_task(simulator.run(stop))
        lines, notes = Lines(), _Notebook()
        link = lines.link(ModbusAddress.parse(f"tcp://{host}:{port}"), 1, 9600)
        await Poller(link, SystemClock(), notes, name="simulator", interval_s=1.0).poll()
        await lines.close()
        stop.set()
        await running
        if notes.reading is None:
            raise CheckError(f"the simulator could not be read: {notes.missed}")
        seen = [notes.reading.number(name) for name in EXCHANGED]
        true = [image.ups.input_v, image.ups.output_v]
        agree = all(s is not None and abs(s - t) < 1 for s, t in zip(seen, true, strict=True))
        expect(agree, f"agent and simulator do not agree on the wrong map: {seen} against {true}")
        expect(abs(true[0] - true[1]) > 50, "the two rows have the same value, so nothing is shown")
        faults = [fault for image in IMAGES for fault in image_faults(image)]
        expect(faults, "the images do not notice two rows exchanged")
    expect(not [f for image in IMAGES for f in image_faults(image)], "the right map was not put back")
