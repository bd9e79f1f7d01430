"""Modbus RTU as a Smart-UPS speaks it: frames out of a byte stream, and the answer to a frame.

A unit takes 35 ms of silence as the end of whatever it heard: garbage, or half a request, spoils only what
arrives before the next such pause (reference, "timing").
"""

from collections.abc import Mapping

from simulators.core.register_image import AccessError, ExceptionCode, RegisterImage

SILENCE_S = 0.035
_LONGEST_FRAME = 256
_SHORTEST_FRAME = 4
_CRC = 2
READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY = 3, 4, 6, 16


def crc16(data: bytes) -> int:
    """CRC of the Modbus serial line specification, appendix B."""
    crc = 0xFFFF
    for byte in data:
        crc = crc >> 8 ^ _CRC_TABLE[(crc ^ byte) & 0xFF]
    return crc


def seal(body: bytes) -> bytes:
    """The frame of unit, function and data: CRC appended, low byte first."""
    return body + crc16(body).to_bytes(_CRC, "little")


def is_intact(frame: bytes) -> bool:
    """Whether the CRC fits."""
    return len(frame) >= _SHORTEST_FRAME and seal(frame[:-_CRC]) == frame


class Receiver:
    """Cuts the byte stream of a line into request frames."""

    def __init__(self) -> None:
        self._buffer = b""
        self._last_s = float("-inf")

    def feed(self, data: bytes, now_s: float) -> bytes | None:
        """The frame that ``data``, which arrived at ``now_s``, completes; None if none is complete."""
        if now_s - self._last_s >= SILENCE_S:
            self._buffer = b""
        self._last_s = now_s
        self._buffer = (self._buffer + data)[: _LONGEST_FRAME + 1]
        expected = _length_of(self._buffer)
        if (expected is not None and len(self._buffer) != expected) or not is_intact(self._buffer):
            return None
        frame, self._buffer = self._buffer, b""
        return frame


def answer(images: Mapping[int, RegisterImage], frame: bytes) -> bytes | None:
    """What the line's units answer to an intact frame; None when it is for none of them."""
    unit, function, data = frame[0], frame[1], frame[2:-_CRC]
    image = images.get(unit)
    if image is None:
        return None
    try:
        reply = _execute(image, function, data)
    except AccessError as refusal:
        return seal(bytes((unit, function | 0x80, refusal.code)))
    return seal(bytes((unit, function)) + reply)


def _execute(image: RegisterImage, function: int, data: bytes) -> bytes:
    if function not in {READ_HOLDING, READ_INPUT, WRITE_ONE, WRITE_MANY}:
        raise AccessError(ExceptionCode.ILLEGAL_FUNCTION)
    address, second = int.from_bytes(data[:2], "big"), int.from_bytes(data[2:4], "big")
    if function in {READ_HOLDING, READ_INPUT}:
        words = image.read(address, second)
        return bytes((2 * len(words),)) + b"".join(word.to_bytes(2, "big") for word in words)
    if function == WRITE_ONE:
        image.write(address, (second,))
        return data
    body = data[5:]
    if len(body) != data[4] or len(body) != 2 * second:
        raise AccessError(ExceptionCode.ILLEGAL_VALUE)
    image.write(address, [int.from_bytes(body[i : i + 2], "big") for i in range(0, len(body), 2)])
    return data[:4]


def _length_of(buffer: bytes) -> int | None:
    """Length of the request that begins so; None where the function does not tell, or not yet."""
    if len(buffer) < 2:
        return None
    if buffer[1] in {1, 2, 3, 4, 5, 6}:
        return 8
    if buffer[1] in {15, 16}:
        return 9 + buffer[6] if len(buffer) > 6 else _LONGEST_FRAME
    return None


def _crc_table() -> tuple[int, ...]:
    table = []
    for byte in range(256):
        crc = byte
        for _ in range(8):
            crc = crc >> 1 ^ (0xA001 if crc & 1 else 0)
        table.append(crc)
    return tuple(table)


_CRC_TABLE = _crc_table()
