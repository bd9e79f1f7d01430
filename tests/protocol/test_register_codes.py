from protocol.register_codes import BITFIELDS, ENUMERATIONS
from protocol.register_map import REGISTERS


def test_every_kind_of_code_a_row_names_exists_and_is_used() -> None:
    named = {register.codes for register in REGISTERS if register.codes}
    assert named == set(BITFIELDS) | set(ENUMERATIONS)


def test_names_are_unique_inside_a_field() -> None:
    for names in (*BITFIELDS.values(), *ENUMERATIONS.values()):
        assert len(set(names.values())) == len(names)


def test_bits_fit_their_rows() -> None:
    for register in REGISTERS:
        names = BITFIELDS.get(register.codes, {})
        assert all(0 <= bit < 16 * register.count for bit in names), register.name
