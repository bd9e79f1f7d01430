"""What codes on labels may hold, and which Product ID and Product Key that is: for server and browser."""

from typing import Final

ID: Final = "AB12CD34EF56"
KEY: Final = "GH12JK34LM56NP"

HOLDING: Final[tuple[str, ...]] = (
    f"https://portal.example.org/r#{ID}.{KEY}",
    f"http://127.0.0.1:8080/r#{ID}.{KEY}",
    f"https://smartconnect.example.org/register?id={ID}&key={KEY}",
    f"https://smartconnect.example.org/{ID}/{KEY}/",
    f"HTTPS://SMARTCONNECT.EXAMPLE.ORG/R?ID={ID}&KEY={KEY}",
    f"https://portal.example.org/x?d=id%3D{ID}%26key%3D{KEY}",
    f"{ID} {KEY}",
    f"{KEY};{ID}",
    f"{ID}\t{KEY}\r\n",
    f"{ID.lower()}.{KEY.lower()}",
    f"Product ID {ID} Product Key {KEY}",
    f'{{"productId": "{ID}", "productKey": "{KEY}", "model": "SMT1500IC"}}',
    f"PID:{ID}|PK:{KEY}|SN:AS1234567890X",
    f"{ID} {KEY} {ID} {KEY}",
    f"smartconnect {ID} notifications! {KEY}",
    f"REGISTRATION {ID} ESTABLISHMENTS {KEY}",
    f"Größe {ID}\u00a0{KEY}",
)
"""Each holds just ID and KEY."""

LETTERS: Final = ("ABCDEFGHJKLM ABCDEFGHJKLMNP", "ABCDEFGHJKLM", "ABCDEFGHJKLMNP")
"""Codes without digits: a text, its Product ID, its Product Key."""

HOLDING_NONE: Final[tuple[str, ...]] = (
    "",
    " ",
    "https://smartconnect.example.org/help",
    "https://portal.example.org/r",
    ID,
    KEY,
    f"https://portal.example.org/r#{KEY}.{ID}X",
    f"https://portal.example.org/r#{ID}{KEY}",
    f"https://{ID}.example.org/{KEY}",
    f"{ID} {KEY} 123456789012",
    f"{ID} {KEY} 12345678901234",
    "smartconnect notifications1",
    "REGISTRATION SMARTCONNECT ESTABLISHMENTS",
    f"{ID} {KEY} " + "x" * 4300,
    f"{ID}ä{KEY}0",
    f"{ID} GH12 JK34 LM56 NP",
    "WIFI:T:WPA;S:example;P:correct horse;;",
    "%zz%4",
    "\x00\ud83d\ude00",
)
"""None of them holds the codes of one label."""
