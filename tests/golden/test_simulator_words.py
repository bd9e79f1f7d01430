"""Words of a simulated unit, worked out by hand: a map wrong in agent and simulator alike fails here."""

from protocol.identity import ProductId, ProductKey
from simulators.core.register_image import RegisterImage
from simulators.core.smart_ups import SmartUps
from tests.golden.register_images import EXTENSION_WORDS


def hexed(words: list[int]) -> str:
    return " ".join(f"{word:04X}" for word in words)


def still_unit() -> SmartUps:
    """Half charged, 40 % load, mains at exactly 230 V."""
    ups = SmartUps(charge=0.5, load_pct=40)
    ups.dip_v = 0.0
    return ups


def test_status_on_mains() -> None:
    assert hexed(RegisterImage(still_unit()).read(0, 27)) == (
        "0000 2002 0000 0000 0001 FFFF 0000 0001 FFFF 0000 0000 FFFF 0000 0000 FFFF 0000 0000 FFFF "
        "0000 0000 0000 0000 0000 0000 0000 0001 0000"
    )


def test_status_on_battery() -> None:
    ups = still_unit()
    ups.plug(into_mains=False)
    words = RegisterImage(ups).read(0, 27)
    assert hexed(words[:3]) == "0000 0244 0004"
    assert words[18] == 1
    assert words[26] == 2


def test_dynamic_on_mains() -> None:
    words = RegisterImage(still_unit()).read(128, 44)
    assert words[2] == 25600  # 50 % of charge, times 512
    assert words[3] == 1693  # 24 cells of 2.205 V: 52.92 V, times 32
    assert words[7] == 3200  # 25 °C, times 128
    assert words[8] == 10240  # 40 %, times 256
    assert words[10] == 7585  # 444.4 VA of 1500 VA: 29.63 %, times 256
    assert words[12] == 62  # 444.4 VA at 230 V: 1.932 A, times 32
    assert words[14] == 14720  # 230 V, times 64
    assert words[16] == 6400  # 50 Hz, times 128
    assert words[17:19] == [2, 52928]  # 184000 Wh
    assert words[22] == 1  # input acceptable
    assert words[23] == 14720
    assert words[26] == 0xFFFA  # battery charging
    assert words[27:31] == [0xFFFF] * 4


def test_dynamic_on_battery() -> None:
    ups = still_unit()
    ups.plug(into_mains=False)
    words = RegisterImage(ups).read(128, 27)
    assert words[23] == 0
    assert words[14] == 14720
    assert words[26] == 0xFFFC  # on battery
    assert words[0] == 0


def test_inventory_and_names() -> None:
    image = RegisterImage(SmartUps())
    assert hexed(image.read(516, 8)) == "5550 5320 3034 2E31 2020 2020 2020 2020"  # "UPS 04.1"
    assert hexed(image.read(532, 16)) == "536D 6172 742D 5550 5320 3135 3030" + 9 * " 2020"
    assert hexed(image.read(548, 16)) == "534D 5431 3530 3049 4320" + 11 * " 2020"  # "SMT1500IC"
    assert hexed(image.read(564, 8)) == "4153 3231 3433 3236 3031 3137 2020 2020"  # "AS2143260117"
    assert hexed(image.read(588, 5)) == "05DC 03E8 0003 22C7 0020"  # 1500 VA, 1000 W, 2024-05-17, 230 V
    assert hexed(image.read(596, 8)) == "4150 4355 5053 2020 2020 2020 2020 2020"  # "APCUPS"


def test_settings() -> None:
    image = RegisterImage(SmartUps())
    assert hexed(image.read(1024, 15)) == (
        "0020 0000 00FD 00CF 0001 0000 0000 0000 0008 0000 005A 0000 0000 0008 0000"
    )


def test_verification_and_extension() -> None:
    codes = (ProductId.parse("AB12CD34EF56"), ProductKey.parse("K0123456789XYZ"))
    ups = SmartUps()
    for _ in range(7):
        ups.press_button()
    image = RegisterImage(ups, codes=codes)
    assert hexed(image.read(2048, 14)) == (
        "3030 2E35 3132 3334 3536 3738 1234 5678 FFFF FFFB 1234 FFFB 2020 DFE0"
    )
    assert tuple(image.read(8192, 18)) == EXTENSION_WORDS
