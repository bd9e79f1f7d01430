import pytest

from protocol.extension import Extension, decode_extension, encode_extension
from protocol.registers import BLOCKS, BY_NAME, REGISTERS, encode_value, verification_ok
from tests.golden.register_check import bit_faults, image_faults, mutants, survivors, uncovered_rows
from tests.golden.register_images import COMMANDS, EXTENSION_WORDS, IMAGES, Image


@pytest.mark.parametrize("image", IMAGES, ids=lambda image: image.name)
def test_image_decodes_to_what_the_reference_says(image: Image) -> None:
    assert image_faults(image) == []


def test_bits_and_codes_have_the_names_of_the_reference() -> None:
    assert bit_faults() == []


@pytest.mark.parametrize(("name", "address", "bits", "words"), COMMANDS)
def test_command_words(name: str, address: int, bits: frozenset[str], words: tuple[int, ...]) -> None:
    assert BY_NAME[name].address == address
    assert encode_value(name, bits) == words


def test_map_is_complete() -> None:
    assert len(REGISTERS) == 125
    assert sum(register.count for register in REGISTERS) == 257
    assert {name: (block.start, block.count) for name, block in BLOCKS.items()} == {
        "status": (0, 27),
        "dynamic": (128, 44),
        "inventory": (516, 80),
        "names": (596, 40),
        "settings": (1024, 50),
        "commands": (1536, 8),
        "verification": (2048, 14),
    }


def test_every_row_is_in_an_image() -> None:
    assert uncovered_rows() == set()


def test_images_notice_every_wrong_row() -> None:
    assert len(list(mutants())) > 350
    assert survivors() == []


def test_verification_block() -> None:
    image = next(image for image in IMAGES if image.name == "verification block")
    assert verification_ok(image.words)
    assert verification_ok(image.words[2:])


def test_extension_block() -> None:
    extension = Extension(enabled=True, product_id="AB12CD34EF56", product_key="K0123456789XYZ", presence=7)
    assert decode_extension(EXTENSION_WORDS) == extension
    assert encode_extension(extension) == EXTENSION_WORDS
