"""The manifest: which devices a maker has shipped, by public keys only. A switch of the installation.

A device that is not listed may neither announce itself nor be claimed while nobody owns it; an owner keeps
what they have. What people are told is the same as for a wrong key: that the device is waited for.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Final

from cloud.core.device import Device
from protocol.errors import IdentityError
from protocol.identity import PUBLIC_KEY_LENGTH, ProductId, b64url, device_id_of, kid_of, unb64url

COLUMNS: Final = ("product_id", "label_pub", "factory_pub")


class ManifestMode(StrEnum):
    """The setting ``manifest``."""

    NONE = "none"
    LABEL = "label"
    """Product ID and label key must be listed."""
    ATTESTED = "attested"
    """Besides, the device must use the device key it left the factory with."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A device as its maker lists it; the keys are raw Ed25519 public keys of 32 bytes."""

    product_id: ProductId
    label_pub: bytes
    factory_pub: bytes | None = None

    @property
    def device_id(self) -> int:
        """Its number."""
        return device_id_of(self.product_id, self.label_pub)

    def cells(self) -> dict[str, str]:
        """The columns as text, keys in base64url."""
        factory = b64url(self.factory_pub) if self.factory_pub else ""
        return dict(zip(COLUMNS, (self.product_id.value, b64url(self.label_pub), factory), strict=True))


@dataclass(frozen=True, slots=True)
class Row:
    """A line of a file: an entry, or the reason why there is none. ``line`` counts from 1."""

    line: int
    entry: Entry | None
    reason: str = ""


class ManifestError(Exception):
    """The file as a whole cannot be read."""


def admits(mode: ManifestMode, entry: Entry | None, device_pub: bytes) -> bool:
    """Whether a device that nobody owns may announce itself with this device key."""
    if mode is ManifestMode.NONE:
        return True
    if entry is None:
        return False
    return mode is ManifestMode.LABEL or entry.factory_pub == device_pub


def without_strangers(device: Device, mode: ManifestMode, entry: Entry | None) -> Device:
    """The device as a claim may see it: without keys that the manifest does not admit."""
    if mode is ManifestMode.NONE or device.owner is not None:
        return device
    if entry is None:
        return replace(device, keys=())
    if mode is ManifestMode.LABEL:
        return device
    wanted = kid_of(entry.factory_pub) if entry.factory_pub else None
    return replace(device, keys=tuple(key for key in device.keys if key.kid == wanted))


# --- files --------------------------------------------------------------------------------------------------


def parse(text: str) -> list[Row]:
    """The rows of a CSV file with a heading, or of a JSON list of objects. ManifestError."""
    text = text.lstrip("\ufeff")
    rows = _from_json(text) if text.lstrip().startswith(("[", "{")) else _from_csv(text)
    seen: dict[int, int] = {}
    result = []
    for line, cells in rows:
        row = _row(line, cells)
        if row.entry is not None:
            first = seen.setdefault(row.entry.device_id, line)
            if first != line:
                row = Row(line, None, f"the same device stands in line {first}")
        result.append(row)
    return result


def _from_json(text: str) -> list[tuple[int, Mapping[str, object]]]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise ManifestError(f"this is not JSON: {error}") from error
    if not isinstance(found, list):
        raise ManifestError("the JSON must be a list of objects")
    return [(number, one if isinstance(one, dict) else {}) for number, one in enumerate(found, 1)]


def _from_csv(text: str) -> list[tuple[int, Mapping[str, object]]]:
    reader = csv.DictReader(io.StringIO(text))
    try:
        missing = [name for name in COLUMNS[:2] if name not in (reader.fieldnames or ())]
        if missing:
            raise ManifestError(f"the heading lacks {' and '.join(missing)}")
        return [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ManifestError(f"this is not CSV: {error}") from error


def _row(line: int, cells: Mapping[str, object]) -> Row:
    try:
        product_id = ProductId.parse(_cell(cells, "product_id"))
    except IdentityError as error:
        return Row(line, None, str(error))
    keys: list[bytes | None] = []
    for name in COLUMNS[1:]:
        text = _cell(cells, name)
        if not text and name == "factory_pub":
            keys.append(None)
            continue
        try:
            key = unb64url(text.rstrip("="))
        except ValueError:
            key = b""
        if len(key) != PUBLIC_KEY_LENGTH:
            return Row(line, None, f"{name} is not a public key (32 bytes in base64url)")
        keys.append(key)
    label_pub, factory_pub = keys
    if label_pub is None:
        raise AssertionError("only factory_pub may be empty")
    return Row(line, Entry(product_id, label_pub, factory_pub))


def _cell(cells: Mapping[str, object], name: str) -> str:
    value = cells.get(name)
    return value.strip() if isinstance(value, str) else ""


def render(entries: Iterable[Entry], form: str) -> str:
    """A file of these entries; ``form`` is csv or json."""
    rows = [entry.cells() for entry in entries]
    if form == "json":
        return json.dumps(rows, indent=1) + "\n"
    out = io.StringIO()
    writer = csv.DictWriter(out, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue()
