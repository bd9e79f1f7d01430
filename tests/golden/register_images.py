"""Register words and what they mean, typed by hand from the reference: independent of the tables in protocol.

Agent and simulator share one register map, so a wrong address in it would be wrong in both and unseen; these
images are what catches it. The captures are words of real units as published in NUT's issue 139; the
inventory of an SMT1500RM2UC has the values of a public hardware report; the others are made up, with
another value in each row. Dates, fractions and bits were worked out by hand, too.
"""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, slots=True)
class Image:
    """Words read from ``start``, and the values that the reference says they have."""

    name: str
    start: int
    words: tuple[int, ...]
    expect: dict[str, object]


def _image(name: str, start: int, words: str, expect: dict[str, object]) -> Image:
    """A set in ``expect`` stands for a bit field."""
    values = {key: frozenset(value) if isinstance(value, set) else value for key, value in expect.items()}
    return Image(name, start, tuple(int(word, 16) for word in words.split()), values)


NOTHING: set[str] = set()

CAPTURES = (
    _image(
        "capture: status of an SMT behind a network card",
        0,
        "0000 2002 0008 0000 0000 0000 0001 0000 0000 0001 0000 0000 0001 0000 0000 0000 0000 0000 0000 0000 "
        "0000 0000 0000 0044 0048 0001 0000",
        {
            "ups_status": {"online", "high_efficiency"},
            "status_change_cause": "acceptable_input",
            "simple_signaling_status": NOTHING,
            "general_error": NOTHING,
            "power_system_error": NOTHING,
            "battery_system_error": NOTHING,
            "battery_test_status": {"passed", "source_protocol"},
            "runtime_calibration_status": {"failed", "source_protocol"},
            "battery_lifetime_status": {"ok"},
            "user_interface_status": NOTHING,
        },
    ),
    _image(
        "capture: dynamic of an SMT behind a network card",
        128,
        "0000 4B76 C800 06D0 0000 280D 0001 0EB4 08BB 0000 0A79 0000 0027 0000 1E38 0000 1E01 0032 881C 0000 "
        "0000 0000 0001 1E38 0000 0000 2DC0 0000 0000 0000 0000 FFFF",
        {
            "runtime_remaining": 19318,
            "state_of_charge": 100.0,
            "battery_voltage": 54.5,
            "battery_replace_by": date(2028, 1, 27),
            "battery_temperature": 29.40625,
            "output_real_power_pct": 8.73046875,
            "output_apparent_power_pct": 10.47265625,
            "output_current": 1.21875,
            "output_voltage": 120.875,
            "output_frequency": 60.0078125,
            "output_energy": 3311644,
            "input_status": {"acceptable"},
            "input_voltage": 120.875,
            "efficiency": 91.5,
            "sog0_turn_off_countdown": -1,
        },
    ),
    _image(
        "capture: settings of an SMT behind a network card",
        1026,
        "007F 006A 0001 0000 0000 0000 0000",
        {"transfer_high": 127, "transfer_low": 106, "sensitivity": {"normal"}, "mog_turn_off_delay": 0},
    ),
    _image(
        "capture: settings of a Smart-UPS X 750",
        1026,
        "010C 00D4 0002 00B4 0000 0000 0008",
        {
            "transfer_high": 268,
            "transfer_low": 212,
            "sensitivity": {"reduced"},
            "mog_turn_off_delay": 180,
            "mog_turn_on_delay": 0,
            "mog_stay_off_delay": 8,
        },
    ),
    _image(
        "report: inventory of an SMT1500RM2UC, padded in three ways",
        516,
        "5550 5320 3034 2E31 2020 2020 2020 2020 FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF "
        "536D 6172 742D 5550 5320 3135 3030 2020 2020 2020 2020 2020 2020 2020 2020 2020 "
        "534D 5431 3530 3052 4D32 5543 0000 0000 0000 0000 0000 0000 0000 0000 0000 0000 "
        "4153 3137 3432 3233 3132 3334 2020 FFFF 4150 4352 4243 3133 3300 0000 2020 FFFF "
        "0000 0000 0000 0000 0000 0000 0000 0000 05A0 03E8 0003 1DAA 0002 0000 FFFF 1E04",
        {
            "firmware_version": "UPS 04.1",
            "model": "Smart-UPS 1500",
            "sku": "SMT1500RM2UC",
            "serial_number": "AS1742231234",
            "battery_sku": "APCRBC133",
            "external_battery_sku": "",
            "rated_apparent_power": 1440,
            "rated_real_power": 1000,
            "sog_relay_config": {"mog", "sog0"},
            "manufacture_date": date(2020, 10, 16),
            "output_voltage_setting": {"120V"},
            "acceptable_frequency_setting": NOTHING,
            "battery_install_date": date(2021, 1, 14),
        },
    ),
)

HAND_MADE = (
    _image(
        "status: something in every row",
        0,
        "0020 2044 0002 0000 0001 FFFF 0000 0202 FFFF 0000 0404 FFFF 0000 4008 FFFF 0000 0110 FFFF 0003 0081 "
        "0000 2001 0004 0044 4048 0002 0006",
        {
            "ups_status": {"overload", "high_efficiency", "input_bad", "on_battery"},
            "status_change_cause": "low_input_voltage",
            "mog_outlet_status": {"on"},
            "sog0_outlet_status": {"off", "pending_off_delay"},
            "sog1_outlet_status": {"rebooting", "pending_on_ac_presence"},
            "sog2_outlet_status": {"shutting_down", "low_runtime"},
            "sog3_outlet_status": {"sleeping", "pending_on_delay"},
            "simple_signaling_status": {"power_failure", "shutdown_imminent"},
            "general_error": {"site_wiring", "epo_active"},
            "power_system_error": {"output_overload", "inverter"},
            "battery_system_error": {"needs_replacement"},
            "battery_test_status": {"passed", "source_protocol"},
            "runtime_calibration_status": {"failed", "source_protocol", "why_load_too_low"},
            "battery_lifetime_status": {"near_end"},
            "user_interface_status": {"alarm_sounding", "alarm_muted"},
        },
    ),
    _image(
        "status: mains fails",
        0,
        "0000 0244 0003",
        {
            "ups_status": {"on_battery", "input_bad", "pending_output_off"},
            "status_change_cause": "distorted_input",
        },
    ),
    _image(
        "dynamic: another value in every row",
        128,
        "0001 5180 9933 0667 FC80 1CCD 0001 FB40 2A80 1540 3120 0C10 00B9 0051 3990 1CE8 1903 0002 D690 0004 "
        "3A40 18FB 0011 2BC4 FFFF FFFF FFFC 003C 0005 0000 012C FFFF 0007 0000 012D 000A 0014 0001 5181 001E "
        "0028 0000 0032 0046 0050 0000 005A",
        {
            "runtime_remaining": 86400,
            "state_of_charge": 76.599609375,
            "battery_voltage": 51.21875,
            "battery_negative_voltage": -28.0,
            "battery_replace_by": date(2020, 3, 9),
            "reserved_134": 1,
            "battery_temperature": -9.5,
            "output_real_power_pct": 42.5,
            "output_real_power_pct_phase2": 21.25,
            "output_apparent_power_pct": 49.125,
            "output_apparent_power_pct_phase2": 12.0625,
            "output_current": 5.78125,
            "output_current_phase2": 2.53125,
            "output_voltage": 230.25,
            "output_voltage_phase2": 115.625,
            "output_frequency": 50.0234375,
            "output_energy": 186000,
            "bypass_input_status": {"voltage_low"},
            "bypass_voltage": 233.0,
            "bypass_frequency": 49.9609375,
            "input_status": {"acceptable", "distorted"},
            "input_voltage": 175.0625,
            "efficiency": "on_battery",
            "mog_turn_off_countdown": 60,
            "mog_turn_on_countdown": 5,
            "mog_stay_off_countdown": 300,
            "sog0_turn_off_countdown": -1,
            "sog0_turn_on_countdown": 7,
            "sog0_stay_off_countdown": 301,
            "sog1_turn_off_countdown": 10,
            "sog1_turn_on_countdown": 20,
            "sog1_stay_off_countdown": 86401,
            "sog2_turn_off_countdown": 30,
            "sog2_turn_on_countdown": 40,
            "sog2_stay_off_countdown": 50,
            "sog3_turn_off_countdown": 70,
            "sog3_turn_on_countdown": 80,
            "sog3_stay_off_countdown": 90,
        },
    ),
    _image(
        "dynamic: rows that do not apply",
        128,
        "0000 0000 0000 0000 FFFF 0000 0000 0000 0000 FFFF 0000 FFFF 0000 FFFF 0000 FFFF 0000 0000 0000 0000 "
        "FFFF FFFF 0000 FFFF FFFF FFFF FFFF",
        {
            "battery_negative_voltage": None,
            "output_real_power_pct_phase2": None,
            "output_apparent_power_pct_phase2": None,
            "output_current_phase2": None,
            "output_voltage_phase2": None,
            "bypass_voltage": None,
            "bypass_frequency": None,
            "input_voltage": None,
            "efficiency": "not_available",
            "runtime_remaining": 0,
            "battery_replace_by": date(2000, 1, 1),
        },
    ),
    _image(
        "idle and expired countdowns",
        159,
        "FFFF 0000 FFFF FFFF",
        {"sog0_turn_off_countdown": -1, "sog0_turn_on_countdown": 0, "sog0_stay_off_countdown": -1},
    ),
    _image("efficiency of 93.25 %", 154, "2EA0", {"efficiency": 93.25}),
    _image("number in the USB product string", 512, "0413", {"usb_product_id_number": 1043}),
    _image(
        "inventory: texts that fill their rows",
        516,
        "5550 5320 3136 2E35 2062 7569 6C64 2039 FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF "
        "536D 6172 742D 5550 5320 5352 5420 3130 3030 3056 4120 524D 2032 3330 562D 584C "
        "5352 5431 304B 524D 584C 492D 3031 3233 3435 3637 3839 4142 4344 4546 4748 494A "
        "4153 3138 3131 3233 3435 3637 3030 3839 4150 4352 4243 3134 302D 4142 4344 4546 "
        "5352 5431 3932 524D 4250 2D30 3132 3334 2710 2328 000F 1A5B 0020 0001 FFFF 1A5C",
        {
            "firmware_version": "UPS 16.5 build 9",
            "model": "Smart-UPS SRT 10000VA RM 230V-XL",
            "sku": "SRT10KRMXLI-0123456789ABCDEFGHIJ",
            "serial_number": "AS18112345670089",
            "battery_sku": "APCRBC140-ABCDEF",
            "external_battery_sku": "SRT192RMBP-01234",
            "rated_apparent_power": 10000,
            "rated_real_power": 9000,
            "sog_relay_config": {"mog", "sog0", "sog1", "sog2"},
            "manufacture_date": date(2018, 6, 22),
            "output_voltage_setting": {"230V"},
            "acceptable_frequency_setting": {"auto"},
            "battery_install_date": date(2018, 6, 23),
        },
    ),
    _image(
        "names: texts that fill their rows",
        596,
        "4142 4344 4546 4748 494A 4B4C 4D4E 4F50 6162 6364 6566 6768 696A 6B6C 6D6E 6F70 "
        "3031 3233 3435 3637 3839 3A3B 3C3D 3E3F 2021 2223 2425 2627 2829 2A2B 2C2D 2E2F "
        "405B 5C5D 5E5F 607B 7C7D 7E51 5253 5455 5657 5859 5A76 7778 797A 7172 7374 7539 0000 0020",
        {
            "ups_name": "ABCDEFGHIJKLMNOP",
            "mog_name": "abcdefghijklmnop",
            "sog0_name": "0123456789:;<=>?",
            "sog1_name": " !\"#$%&'()*+,-./",
            "sog2_name": "@[\\]^_`{|}~QRSTU",
            "sog3_name": "VWXYZvwxyzqrstu9",
            "output_voltage_setting_long": {"bit_5"},
        },
    ),
    _image(
        "names: leading zero words, mixed padding, characters outside the set",
        596,
        "5261 636B 2037 206C 6566 7400 2000 FFFF 0000 0000 4D61 696E 2020 2020 2020 2020 "
        "FFFF FFFF FFFF FFFF FFFF FFFF FFFF FFFF 4107 42FF 4320 2020 2020 2020 2020 2020",
        {"ups_name": "Rack 7 left", "mog_name": "Main", "sog0_name": "", "sog1_name": "A?B?C"},
    ),
    _image(
        "settings: another value in every row",
        1024,
        "0010 0001 010C 00D4 0002 00B4 0003 0001 0008 0011 001B 0025 0001 002F 0039 0043 004D 0001 0057 0061 "
        "006B 0075 0001 007F 0089 0093 009D 0001 00A7 00B1 0000 0001 0000 0002 0000 0008 0000 0010 FFFF FFFF "
        "00BB 00C5 00CF FFFF 00D9 00E3 00E5 FFFF 00ED 00F7",
        {
            "battery_test_interval": {"7d_since_last"},
            "power_quality_setting": {"bit_0"},
            "transfer_high": 268,
            "transfer_low": 212,
            "sensitivity": {"reduced"},
            "mog_turn_off_delay": 180,
            "mog_turn_on_delay": 3,
            "mog_stay_off_delay": 65544,
            "mog_min_return_runtime": 17,
            "sog0_turn_off_delay": 27,
            "sog0_turn_on_delay": 37,
            "sog0_stay_off_delay": 65583,
            "sog0_min_return_runtime": 57,
            "sog1_turn_off_delay": 67,
            "sog1_turn_on_delay": 77,
            "sog1_stay_off_delay": 65623,
            "sog1_min_return_runtime": 97,
            "sog2_turn_off_delay": 107,
            "sog2_turn_on_delay": 117,
            "sog2_stay_off_delay": 65663,
            "sog2_min_return_runtime": 137,
            "sog3_turn_off_delay": 147,
            "sog3_turn_on_delay": 157,
            "sog3_stay_off_delay": 65703,
            "sog3_min_return_runtime": 177,
            "mog_load_shed_config": {"use_off_delay"},
            "sog0_load_shed_config": {"manual_restart"},
            "sog1_load_shed_config": {"by_time_on_battery"},
            "sog2_load_shed_config": {"by_runtime_remaining"},
            "sog0_load_shed_runtime": 187,
            "sog1_load_shed_runtime": 197,
            "sog2_load_shed_runtime": 207,
            "sog0_load_shed_time_on_battery": 217,
            "sog1_load_shed_time_on_battery": 227,
            "sog2_load_shed_time_on_battery": 229,
            "mog_load_shed_runtime": 237,
            "mog_load_shed_time_on_battery": 247,
        },
    ),
    _image(
        "verification block",
        2048,
        "3030 2E35 3132 3334 3536 3738 1234 5678 FFFF FFFB 1234 FFFB 2020 DFE0",
        {
            "modbus_map_id": "00.5",
            "test_string": "12345678",
            "test_u32": 305419896,
            "test_s32": -5,
            "test_u16": 4660,
            "test_s16": -5,
            "test_fixed_pos": 128.5,
            "test_fixed_neg": -128.5,
        },
    ),
)

IMAGES = CAPTURES + HAND_MADE

# Words of commands: the first three were captured from NUT's client, the others follow from the bit table.
COMMANDS: tuple[tuple[str, int, frozenset[str], tuple[int, ...]], ...] = (
    ("outlet_command", 1538, frozenset({"output_shutdown", "mod_use_off_delay", "target_sog0"}), (0, 648)),
    (
        "outlet_command",
        1538,
        frozenset({"output_off", "mod_use_off_delay", "target_main_or_unswitched", "target_sog0"}),
        (0, 900),
    ),
    ("battery_test_command", 1541, frozenset({"start"}), (1,)),
    ("outlet_command", 1538, frozenset({"output_reboot", "target_sog1"}), (0, 0x0410)),
    ("outlet_command", 1538, frozenset({"output_on", "target_sog3"}), (8, 2)),
    ("ups_command", 1536, frozenset({"clear_faults"}), (0, 0x0200)),
    ("simple_signaling_command", 1540, frozenset({"remote_off"}), (2,)),
    ("runtime_calibration_command", 1542, frozenset({"abort"}), (2,)),
    ("user_interface_command", 1543, frozenset({"mute_all"}), (4,)),
)

# Our extension block, by its definition: "SCXB", version 1, on, AB12CD34EF56, K0123456789XYZ, 7 presses.
EXTENSION_START = 8192
EXTENSION_WORDS = _image(
    "extension block",
    EXTENSION_START,
    "5343 5842 0001 0001 4142 3132 4344 3334 4546 3536 4B30 3132 3334 3536 3738 3958 595A 0007",
    {},
).words

# Every named bit and code, "number name", as listed in the reference.
BITS: dict[str, str] = {
    "ups_status": "1 online 2 on_battery 3 bypass 4 output_off 5 fault 6 input_bad 7 test_in_progress "
    "8 pending_output_on 9 pending_output_off 10 commanded 13 high_efficiency 14 informational_alert "
    "15 fault_state 21 overload",
    "mog_outlet_status": "0 on 1 off 2 rebooting 3 shutting_down 4 sleeping 7 pending_load_shed "
    "8 pending_on_delay 9 pending_off_delay 10 pending_on_ac_presence 11 pending_on_min_runtime "
    "12 member_group_process_1 13 member_group_process_2 14 low_runtime",
    "simple_signaling_status": "0 power_failure 1 shutdown_imminent",
    "general_error": "0 site_wiring 1 eeprom 2 ad_converter 3 logic_supply 4 internal_communication "
    "5 ui_button 7 epo_active 8 firmware_mismatch",
    "power_system_error": "0 output_overload 1 output_short 2 output_overvoltage 4 overtemperature "
    "5 backfeed_relay 6 avr_relay 7 pfc_input_relay 8 output_relay 9 bypass_relay 10 fan 11 pfc "
    "12 dc_bus_overvoltage 13 inverter",
    "battery_system_error": "0 disconnected 1 overvoltage 2 needs_replacement 3 overtemperature_critical "
    "4 charger 5 temperature_sensor 6 bus_soft_start 7 overtemperature_warning 8 general 9 communication",
    "battery_test_status": "0 pending 1 in_progress 2 passed 3 failed 4 refused 5 aborted 6 source_protocol "
    "7 source_local_ui 8 source_internal 9 why_invalid_state 10 why_internal_fault 11 why_state_of_charge",
    "runtime_calibration_status": "0 pending 1 in_progress 2 passed 3 failed 4 refused 5 aborted "
    "6 source_protocol 7 source_local_ui 8 source_internal 9 why_invalid_state 10 why_internal_fault "
    "11 why_state_of_charge 12 why_load_change 13 why_ac_input 14 why_load_too_low "
    "15 why_overcharge_in_progress",
    "battery_lifetime_status": "0 ok 1 near_end 2 exceeded 3 near_end_acknowledged 4 exceeded_acknowledged",
    "user_interface_status": "0 continuous_test 1 alarm_sounding 2 alarm_muted 3 button_pressed_recently",
    "input_status": "0 acceptable 1 pending_acceptable 2 voltage_low 3 voltage_high 4 distorted 5 boost "
    "6 trim 7 frequency_low 8 frequency_high 9 not_phase_locked 10 phase_delta 11 neutral_missing "
    "12 not_acceptable 13 plug_rating_exceeded",
    "output_voltage_setting": "0 100V 1 120V 2 200V 3 208V 4 220V 5 230V 6 240V",
    "sog_relay_config": "0 mog 1 sog0 2 sog1 3 sog2 4 sog3",
    "battery_test_interval": "0 never 1 at_startup 2 startup_plus_7d 3 startup_plus_14d 4 7d_since_last "
    "5 14d_since_last",
    "sensitivity": "0 normal 1 reduced 2 low",
    "mog_load_shed_config": "0 use_off_delay 1 manual_restart 3 by_time_on_battery 4 by_runtime_remaining "
    "5 on_overload",
    "ups_command": "3 restore_factory_settings 4 into_bypass 5 out_of_bypass 9 clear_faults 13 reset_strings "
    "14 reset_logs",
    "outlet_command": "0 cancel 1 output_on 2 output_off 3 output_shutdown 4 output_reboot "
    "5 mod_cold_boot_allowed 6 mod_use_on_delay 7 mod_use_off_delay 8 target_main_or_unswitched "
    "9 target_sog0 10 target_sog1 11 target_sog2 12 source_usb 13 source_local_user 14 source_rj45 "
    "15 source_smartslot1 16 source_smartslot2 17 source_internal_net1 18 source_internal_net2 "
    "19 target_sog3",
    "simple_signaling_command": "0 request_shutdown 1 remote_off 2 remote_on",
    "battery_test_command": "0 start 1 abort",
    "user_interface_command": "0 short_test 1 continuous_test 2 mute_all 3 cancel_mute 5 ack_battery_alarms "
    "6 ack_site_wiring",
}
CAUSES = (  # raw 0, 1, …
    "system_initialization high_input_voltage low_input_voltage distorted_input rapid_input_change "
    "high_input_frequency low_input_frequency frequency_or_phase_difference acceptable_input automatic_test "
    "test_ended local_ui_command protocol_command low_battery_voltage general_error power_system_error "
    "battery_system_error error_cleared automatic_restart distorted_inverter_output "
    "inverter_output_acceptable epo_interface input_phase_delta input_neutral_missing ats_transfer "
    "configuration_change alert_asserted alert_cleared plug_rating_exceeded outlet_group_state_change "
    "failure_bypass_expired"
)
EFFICIENCY_REASONS = (  # raw -1, -2, …
    "not_available load_too_low output_off on_battery in_bypass battery_charging poor_ac_input "
    "battery_disconnected"
)
