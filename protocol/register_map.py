"""The Smart-UPS register map as data: 125 rows, 257 words, and what a client may write.

Addresses are those on the wire: decimal, 0-based, holding registers. A row of more than one word is one
indivisible block: a read may join rows but must not cut one, a write touches exactly one. Source: reference
collection of the Modbus map (vendor application note 176 v12, and tests on real units). Decoding and encoding
are in ``protocol.registers``, bit and code names in ``protocol.register_codes``.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType

MAX_READ_WORDS = 125  # of one request, Modbus specification
SCALAR_WRITE_MAX = 32767  # a real unit answers exception 4 to larger ones, although they are unsigned


class Kind(StrEnum):
    """How the words of a row are read."""

    UNSIGNED = "u"
    SIGNED = "s"
    STRING = "str"
    BITS = "bits"
    ENUM = "enum"
    DATE = "date"


class Access(StrEnum):
    """Who may do what. Command rows read as 0 when idle."""

    READ = "R"
    READ_WRITE = "RW"
    COMMAND = "W"


class Family(StrEnum):
    """Product families whose maps differ, told apart by the SKU."""

    SMT = "SMT"
    SMX = "SMX"
    SMC = "SMC"
    SRT = "SRT"
    SURTD = "SURTD"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Register:
    """One row: ``value = raw / 2**scale_log2``; ``na`` is the raw value that says "not applicable"."""

    address: int
    count: int
    name: str
    kind: Kind
    access: Access
    scale_log2: int = 0
    unit: str = ""
    codes: str = ""
    na: int | None = None
    families: frozenset[Family] = frozenset()  # empty: all of them

    @property
    def end(self) -> int:
        """First address after the row."""
        return self.address + self.count


@dataclass(frozen=True, slots=True)
class Block:
    """A stretch of the map that one request reads."""

    name: str
    start: int
    count: int

    @property
    def end(self) -> int:
        """First address after the block."""
        return self.start + self.count


@dataclass(frozen=True, slots=True)
class WriteRule:
    """What a client may write to a row: a range of raw values, or exactly some bit patterns."""

    minimum: int = 0
    maximum: int = SCALAR_WRITE_MAX
    one_of: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Quirks:
    """How a unit departs from the common behaviour (reference, "what differs between units")."""

    undefined_block_word: int = 0xFFFF  # what an undefined word reads as, inside a block
    undefined_read_fails: bool = False  # exception 2 to a read of one undefined word
    outlet_low_word_first: bool = False  # outlet bit fields and command 1538 with their words exchanged
    outlet_command_refused: bool = False  # exception 4 to every write of 1538; 1540 works
    response_timeout_ms: int = 500


BLOCKS: Mapping[str, Block] = MappingProxyType(
    {
        block.name: block
        for block in (
            Block("status", 0, 27),
            Block("dynamic", 128, 44),  # to 174 where outlet group 3 exists
            Block("inventory", 516, 80),
            Block("names", 596, 40),
            Block("settings", 1024, 50),
            Block("commands", 1536, 8),
            Block("verification", 2048, 14),
        )
    }
)

# The constants of addresses 2050 to 2061. A client that reads others must not trust the link.
VERIFICATION_START = 2050
VERIFICATION_WORDS: tuple[int, ...] = (
    *(0x3132, 0x3334, 0x3536, 0x3738),  # "12345678"
    *(0x1234, 0x5678),  # unsigned 0x12345678
    *(0xFFFF, 0xFFFB),  # signed -5
    0x1234,
    0xFFFB,  # signed -5
    0x2020,  # 128.5 with 6 fraction bits
    0xDFE0,  # -128.5
)

GROUPS: tuple[str, ...] = ("mog", "sog0", "sog1", "sog2", "sog3")  # in the order of sog_relay_config's bits

_U, _S, _STR = Kind.UNSIGNED, Kind.SIGNED, Kind.STRING
_BITS, _ENUM, _DATE = Kind.BITS, Kind.ENUM, Kind.DATE
_R, _RW, _W = Access.READ, Access.READ_WRITE, Access.COMMAND
_NA = 0xFFFF  # how most rows say "not applicable"
_ON = frozenset({Family.SRT, Family.SURTD})
_SPLIT = frozenset({Family.SURTD})
_INTERACTIVE = frozenset({Family.SMT, Family.SMX, Family.SMC})

REGISTERS: tuple[Register, ...] = (
    Register(0, 2, "ups_status", _BITS, _R, codes="ups_status"),
    Register(2, 1, "status_change_cause", _ENUM, _R, codes="status_change_cause"),
    Register(3, 2, "mog_outlet_status", _BITS, _R, codes="outlet_status"),
    Register(6, 2, "sog0_outlet_status", _BITS, _R, codes="outlet_status"),
    Register(9, 2, "sog1_outlet_status", _BITS, _R, codes="outlet_status"),
    Register(12, 2, "sog2_outlet_status", _BITS, _R, codes="outlet_status"),
    Register(15, 2, "sog3_outlet_status", _BITS, _R, codes="outlet_status"),
    Register(18, 1, "simple_signaling_status", _BITS, _R, codes="simple_signaling_status"),
    Register(19, 1, "general_error", _BITS, _R, codes="general_error"),
    Register(20, 2, "power_system_error", _BITS, _R, codes="power_system_error"),
    Register(22, 1, "battery_system_error", _BITS, _R, codes="battery_system_error"),
    Register(23, 1, "battery_test_status", _BITS, _R, codes="test_status"),
    Register(24, 1, "runtime_calibration_status", _BITS, _R, codes="calibration_status"),
    Register(25, 1, "battery_lifetime_status", _BITS, _R, codes="battery_lifetime_status"),
    Register(26, 1, "user_interface_status", _BITS, _R, codes="user_interface_status"),
    Register(128, 2, "runtime_remaining", _U, _R, unit="s"),
    Register(130, 1, "state_of_charge", _U, _R, scale_log2=9, unit="%"),
    Register(131, 1, "battery_voltage", _S, _R, scale_log2=5, unit="V"),
    Register(132, 1, "battery_negative_voltage", _S, _R, scale_log2=5, unit="V", na=_NA, families=_ON),
    Register(133, 1, "battery_replace_by", _DATE, _R),
    Register(134, 1, "reserved_134", _U, _R),
    Register(135, 1, "battery_temperature", _S, _R, scale_log2=7, unit="degC"),
    Register(136, 1, "output_real_power_pct", _U, _R, scale_log2=8, unit="% of W"),
    Register(
        137,
        1,
        "output_real_power_pct_phase2",
        _U,
        _R,
        scale_log2=8,
        unit="% of W",
        na=_NA,
        families=_SPLIT,
    ),
    Register(138, 1, "output_apparent_power_pct", _U, _R, scale_log2=8, unit="% of VA"),
    Register(
        139,
        1,
        "output_apparent_power_pct_phase2",
        _U,
        _R,
        scale_log2=8,
        unit="% of VA",
        na=_NA,
        families=_SPLIT,
    ),
    Register(140, 1, "output_current", _U, _R, scale_log2=5, unit="A"),
    Register(141, 1, "output_current_phase2", _U, _R, scale_log2=5, unit="A", na=_NA, families=_SPLIT),
    Register(142, 1, "output_voltage", _U, _R, scale_log2=6, unit="V"),
    Register(143, 1, "output_voltage_phase2", _U, _R, scale_log2=6, unit="V", na=_NA, families=_SPLIT),
    Register(144, 1, "output_frequency", _U, _R, scale_log2=7, unit="Hz"),
    Register(145, 2, "output_energy", _U, _R, unit="Wh"),
    Register(147, 1, "bypass_input_status", _BITS, _R, codes="input_status", families=_ON),
    Register(148, 1, "bypass_voltage", _U, _R, scale_log2=6, unit="V", na=_NA, families=_ON),
    Register(149, 1, "bypass_frequency", _U, _R, scale_log2=7, unit="Hz", na=_NA, families=_ON),
    Register(150, 1, "input_status", _BITS, _R, codes="input_status"),
    Register(151, 1, "input_voltage", _U, _R, scale_log2=6, unit="V", na=_NA),
    Register(154, 1, "efficiency", _S, _R, scale_log2=7, unit="%", codes="efficiency"),
    Register(155, 1, "mog_turn_off_countdown", _S, _R, unit="s"),
    Register(156, 1, "mog_turn_on_countdown", _S, _R, unit="s"),
    Register(157, 2, "mog_stay_off_countdown", _S, _R, unit="s"),
    Register(159, 1, "sog0_turn_off_countdown", _S, _R, unit="s"),
    Register(160, 1, "sog0_turn_on_countdown", _S, _R, unit="s"),
    Register(161, 2, "sog0_stay_off_countdown", _S, _R, unit="s"),
    Register(163, 1, "sog1_turn_off_countdown", _S, _R, unit="s"),
    Register(164, 1, "sog1_turn_on_countdown", _S, _R, unit="s"),
    Register(165, 2, "sog1_stay_off_countdown", _S, _R, unit="s"),
    Register(167, 1, "sog2_turn_off_countdown", _S, _R, unit="s"),
    Register(168, 1, "sog2_turn_on_countdown", _S, _R, unit="s"),
    Register(169, 2, "sog2_stay_off_countdown", _S, _R, unit="s"),
    Register(171, 1, "sog3_turn_off_countdown", _S, _R, unit="s"),
    Register(172, 1, "sog3_turn_on_countdown", _S, _R, unit="s"),
    Register(173, 2, "sog3_stay_off_countdown", _S, _R, unit="s"),
    Register(512, 1, "usb_product_id_number", _U, _R),
    Register(516, 8, "firmware_version", _STR, _R),
    Register(532, 16, "model", _STR, _R),
    Register(548, 16, "sku", _STR, _R),
    Register(564, 8, "serial_number", _STR, _R),
    Register(572, 8, "battery_sku", _STR, _R),
    Register(580, 8, "external_battery_sku", _STR, _R),
    Register(588, 1, "rated_apparent_power", _U, _R, unit="VA"),
    Register(589, 1, "rated_real_power", _U, _R, unit="W"),
    Register(590, 1, "sog_relay_config", _BITS, _R, codes="sog_relay_config"),
    Register(591, 1, "manufacture_date", _DATE, _R),
    Register(592, 1, "output_voltage_setting", _BITS, _R, codes="output_voltage_setting"),
    Register(593, 1, "acceptable_frequency_setting", _BITS, _RW, codes="acceptable_frequency", families=_ON),
    Register(595, 1, "battery_install_date", _DATE, _RW),
    Register(596, 8, "ups_name", _STR, _RW),
    Register(604, 8, "mog_name", _STR, _RW),
    Register(612, 8, "sog0_name", _STR, _RW),
    Register(620, 8, "sog1_name", _STR, _RW),
    Register(628, 8, "sog2_name", _STR, _RW),
    Register(636, 8, "sog3_name", _STR, _RW),
    Register(644, 2, "output_voltage_setting_long", _BITS, _R),
    Register(1024, 1, "battery_test_interval", _BITS, _RW, codes="battery_test_interval"),
    Register(1025, 1, "power_quality_setting", _BITS, _RW),
    Register(1026, 1, "transfer_high", _U, _RW, unit="V"),
    Register(1027, 1, "transfer_low", _U, _RW, unit="V"),
    Register(1028, 1, "sensitivity", _BITS, _RW, codes="sensitivity", families=_INTERACTIVE),
    Register(1029, 1, "mog_turn_off_delay", _S, _RW, unit="s"),
    Register(1030, 1, "mog_turn_on_delay", _S, _RW, unit="s"),
    Register(1031, 2, "mog_stay_off_delay", _S, _RW, unit="s"),
    Register(1033, 1, "mog_min_return_runtime", _U, _RW, unit="s"),
    Register(1034, 1, "sog0_turn_off_delay", _S, _RW, unit="s"),
    Register(1035, 1, "sog0_turn_on_delay", _S, _RW, unit="s"),
    Register(1036, 2, "sog0_stay_off_delay", _S, _RW, unit="s"),
    Register(1038, 1, "sog0_min_return_runtime", _U, _RW, unit="s"),
    Register(1039, 1, "sog1_turn_off_delay", _S, _RW, unit="s"),
    Register(1040, 1, "sog1_turn_on_delay", _S, _RW, unit="s"),
    Register(1041, 2, "sog1_stay_off_delay", _S, _RW, unit="s"),
    Register(1043, 1, "sog1_min_return_runtime", _U, _RW, unit="s"),
    Register(1044, 1, "sog2_turn_off_delay", _S, _RW, unit="s"),
    Register(1045, 1, "sog2_turn_on_delay", _S, _RW, unit="s"),
    Register(1046, 2, "sog2_stay_off_delay", _S, _RW, unit="s"),
    Register(1048, 1, "sog2_min_return_runtime", _U, _RW, unit="s"),
    Register(1049, 1, "sog3_turn_off_delay", _S, _RW, unit="s"),
    Register(1050, 1, "sog3_turn_on_delay", _S, _RW, unit="s"),
    Register(1051, 2, "sog3_stay_off_delay", _S, _RW, unit="s"),
    Register(1053, 1, "sog3_min_return_runtime", _U, _RW, unit="s"),
    Register(1054, 2, "mog_load_shed_config", _BITS, _RW, codes="load_shed_config"),
    Register(1056, 2, "sog0_load_shed_config", _BITS, _RW, codes="load_shed_config"),
    Register(1058, 2, "sog1_load_shed_config", _BITS, _RW, codes="load_shed_config"),
    Register(1060, 2, "sog2_load_shed_config", _BITS, _RW, codes="load_shed_config"),
    Register(1064, 1, "sog0_load_shed_runtime", _U, _RW, unit="s", na=_NA),
    Register(1065, 1, "sog1_load_shed_runtime", _U, _RW, unit="s", na=_NA),
    Register(1066, 1, "sog2_load_shed_runtime", _U, _RW, unit="s", na=_NA),
    Register(1068, 1, "sog0_load_shed_time_on_battery", _U, _RW, unit="s", na=_NA),
    Register(1069, 1, "sog1_load_shed_time_on_battery", _U, _RW, unit="s", na=_NA),
    Register(1070, 1, "sog2_load_shed_time_on_battery", _U, _RW, unit="s", na=_NA),
    Register(1072, 1, "mog_load_shed_runtime", _U, _RW, unit="s", na=_NA),
    Register(1073, 1, "mog_load_shed_time_on_battery", _U, _RW, unit="s", na=_NA),
    Register(1536, 2, "ups_command", _BITS, _W, codes="ups_command"),
    Register(1538, 2, "outlet_command", _BITS, _W, codes="outlet_command"),
    Register(1540, 1, "simple_signaling_command", _BITS, _W, codes="simple_signaling_command"),
    Register(1541, 1, "battery_test_command", _BITS, _W, codes="test_command"),
    Register(1542, 1, "runtime_calibration_command", _BITS, _W, codes="test_command"),
    Register(1543, 1, "user_interface_command", _BITS, _W, codes="user_interface_command"),
    Register(2048, 2, "modbus_map_id", _STR, _R),
    Register(2050, 4, "test_string", _STR, _R),
    Register(2054, 2, "test_u32", _U, _R),
    Register(2056, 2, "test_s32", _S, _R),
    Register(2058, 1, "test_u16", _U, _R),
    Register(2059, 1, "test_s16", _S, _R),
    Register(2060, 1, "test_fixed_pos", _S, _R, scale_log2=6),
    Register(2061, 1, "test_fixed_neg", _S, _R, scale_log2=6),
)

BY_NAME: Mapping[str, Register] = MappingProxyType({register.name: register for register in REGISTERS})
BY_ADDRESS: Mapping[int, Register] = MappingProxyType({register.address: register for register in REGISTERS})

_TEXT = WriteRule()  # printable ASCII, checked by the encoder
_DELAY = WriteRule(0, SCALAR_WRITE_MAX)
_STAY_OFF = WriteRule(4, 300)  # the usual range; longer ones turn a reboot into a sleep
_VOLTS = WriteRule(70, 300)  # the unit itself knows the tighter range of its nominal voltage
_START_OR_ABORT = WriteRule(one_of=frozenset({1, 2}))

# The static allow-list. Not in it, on purpose: the output frequency of SRT (a wrong value endangers a load),
# bypass and factory settings (1536), load shedding (refused by real units), undocumented bits (1025).
WRITABLE: Mapping[str, WriteRule] = MappingProxyType(
    {
        "battery_install_date": WriteRule(1, SCALAR_WRITE_MAX),
        "battery_test_interval": WriteRule(one_of=frozenset({1, 2, 16, 32})),
        "transfer_high": _VOLTS,
        "transfer_low": _VOLTS,
        "sensitivity": WriteRule(one_of=frozenset({1, 2, 4})),
        "ups_name": _TEXT,
        **{f"{group}_name": _TEXT for group in GROUPS},
        **{f"{group}_turn_off_delay": _DELAY for group in GROUPS},
        **{f"{group}_turn_on_delay": _DELAY for group in GROUPS},
        **{f"{group}_stay_off_delay": _STAY_OFF for group in GROUPS},
        **{f"{group}_min_return_runtime": _DELAY for group in GROUPS},
        "outlet_command": WriteRule(0, 0xFFFFF),  # legal patterns: OUTLET_MODIFIERS
        "simple_signaling_command": WriteRule(one_of=frozenset({1, 2, 4})),
        "battery_test_command": _START_OR_ABORT,
        "runtime_calibration_command": _START_OR_ABORT,
        "user_interface_command": WriteRule(one_of=frozenset({1, 2, 4, 8, 32, 64})),
    }
)

# Legal modifiers of each outlet command (1538).
OUTLET_MODIFIERS: Mapping[str, frozenset[str]] = MappingProxyType(
    {
        "cancel": frozenset(),
        "output_on": frozenset({"mod_use_on_delay", "mod_cold_boot_allowed"}),
        "output_off": frozenset({"mod_use_off_delay"}),
        "output_shutdown": frozenset({"mod_use_off_delay", "mod_use_on_delay"}),
        "output_reboot": frozenset({"mod_use_off_delay", "mod_use_on_delay", "mod_cold_boot_allowed"}),
    }
)

# Bit that names a group as the target of an outlet command.
OUTLET_TARGETS: Mapping[str, str] = MappingProxyType(
    {
        "mog": "target_main_or_unswitched",
        "sog0": "target_sog0",
        "sog1": "target_sog1",
        "sog2": "target_sog2",
        "sog3": "target_sog3",
    }
)

# Where the effect of a command is read back.
COMMAND_STATUS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "battery_test_command": ("battery_test_status",),
        "runtime_calibration_command": ("runtime_calibration_status",),
        "outlet_command": tuple(f"{group}_outlet_status" for group in GROUPS),
        "simple_signaling_command": ("ups_status", "simple_signaling_status"),
        "user_interface_command": ("user_interface_status",),
    }
)

QUIRKS: Mapping[str, Quirks] = MappingProxyType(
    {
        "ups_serial": Quirks(),
        "smt_word_swap": Quirks(outlet_low_word_first=True),
        "srt_16_5": Quirks(outlet_command_refused=True),
        "nmc_tcp": Quirks(undefined_block_word=0, undefined_read_fails=True, response_timeout_ms=2000),
        "smartconnect": Quirks(),
    }
)
