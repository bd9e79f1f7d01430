"""Compare the decoder with the images, and measure what the images would catch."""

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass

from protocol.registers import BY_NAME, REGISTERS, Access, Kind, Register, decode_block, decode_register
from tests.golden.register_images import BITS, CAUSES, COMMANDS, EFFICIENCY_REASONS, IMAGES, Image


@dataclass(frozen=True, slots=True)
class Mutant:
    """A row of the map made wrong on purpose."""

    register: Register
    change: str


def image_faults(image: Image) -> list[str]:
    """What the decoder says otherwise than the image."""
    values = decode_block(image.start, image.words)
    return [
        f"{image.name}: {name} is {values.get(name)!r}, should be {expected!r}"
        for name, expected in image.expect.items()
        if name not in values or values[name] != expected or type(values[name]) is not type(expected)
    ]


def bit_faults() -> list[str]:
    """Bits and codes that the decoder calls otherwise than the reference."""
    faults = []
    for name, text in BITS.items():
        words = text.split()
        for number, meaning in zip(words[::2], words[1::2], strict=True):
            faults += _bit_fault(name, int(number), meaning)
    for raw, cause in enumerate(CAUSES.split()):
        if decode_register(BY_NAME["status_change_cause"], (raw,)) != cause:
            faults.append(f"cause {raw} is not {cause}")
    for index, reason in enumerate(EFFICIENCY_REASONS.split(), 1):
        if decode_register(BY_NAME["efficiency"], (0x10000 - index,)) != reason:
            faults.append(f"efficiency -{index} is not {reason}")
    return faults


def _bit_fault(name: str, bit: int, meaning: str) -> list[str]:
    register = BY_NAME[name]
    raw = 1 << bit
    words = (raw >> 16, raw & 0xFFFF)[-register.count :]
    decoded = decode_register(register, words)
    return (
        [] if decoded == frozenset({meaning}) else [f"{name} bit {bit} is {decoded!r}, should be {meaning}"]
    )


def uncovered_rows() -> set[str]:
    """Rows that no image and no command vector has a value for."""
    covered = {name for image in IMAGES for name in image.expect} | {name for name, *_ in COMMANDS}
    return {register.name for register in REGISTERS} - covered


def mutants() -> Iterator[Mutant]:
    """Every readable row with its address, length or scale off by one."""
    for register in REGISTERS:
        if register.access is Access.COMMAND:
            continue
        for step in (-1, 1):
            moved = dataclasses.replace(register, address=register.address + step)
            yield Mutant(moved, f"{register.name} at {moved.address}")
        if register.kind in {Kind.SIGNED, Kind.UNSIGNED}:
            for step in (-1, 1):
                scale = register.scale_log2 + step
                if scale >= 0:
                    yield Mutant(
                        dataclasses.replace(register, scale_log2=scale), f"{register.name} /2^{scale}"
                    )
        if register.count > 1:
            shorter = dataclasses.replace(register, count=register.count - 1)
            yield Mutant(shorter, f"{register.name} of {shorter.count} words")


def survivors() -> list[str]:
    """Mutants that no image notices."""
    return [mutant.change for mutant in mutants() if not any(_notices(image, mutant) for image in IMAGES)]


def _notices(image: Image, mutant: Mutant) -> bool:
    register = mutant.register
    if register.name not in image.expect:
        return False
    offset = register.address - image.start
    words = image.words[max(offset, 0) : offset + register.count]
    if offset < 0 or len(words) < register.count:
        return True  # the row would not be in the block at all
    return decode_register(register, words) != image.expect[register.name]
