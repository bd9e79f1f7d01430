"""The maker's list: files and the rule."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cloud.core.manifest import Entry, ManifestError, ManifestMode, admits, parse, render
from protocol.identity import ProductId

ONE = Entry(ProductId("A" * 12), b"1" * 32)
TWO = Entry(ProductId("B" * 12), b"2" * 32, b"f" * 32)


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_file_comes_back(form: str) -> None:
    assert [row.entry for row in parse(render([ONE, TWO], form))] == [ONE, TWO]


def test_each_faulty_row_has_its_reason() -> None:
    good = ",".join(ONE.cells().values())
    text = f"product_id,label_pub,factory_pub\n{good}\n{good}\nshort,x,\n{'A' * 12},x,\n{'A' * 12},,\n"
    rows = parse(text)
    assert [row.line for row in rows] == [2, 3, 4, 5, 6]
    assert [row.entry for row in rows] == [ONE, None, None, None, None]
    assert rows[1].reason == "the same device stands in line 2"
    assert "12 characters" in rows[2].reason
    assert "label_pub" in rows[3].reason
    assert "label_pub" in rows[4].reason


@pytest.mark.parametrize("text", ["", "a,b\n", "{}", "[", "[" * 5000])
def test_files_that_are_none(text: str) -> None:
    with pytest.raises(ManifestError):
        parse(text)


@given(st.text())
def test_no_text_breaks_it(text: str) -> None:
    try:
        rows = parse("product_id,label_pub\n" + text)
    except ManifestError:
        return
    assert all((row.entry is None) == bool(row.reason) for row in rows)


@pytest.mark.parametrize(
    ("mode", "entry", "admitted"),
    [
        (ManifestMode.NONE, None, True),
        (ManifestMode.LABEL, None, False),
        (ManifestMode.LABEL, ONE, True),
        (ManifestMode.ATTESTED, ONE, False),
        (ManifestMode.ATTESTED, TWO, True),
    ],
)
def test_who_is_admitted(mode: ManifestMode, entry: Entry | None, admitted: bool) -> None:
    assert admits(mode, entry, b"f" * 32) is admitted
