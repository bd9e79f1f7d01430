-- Rollups: what charts of long ranges are drawn from. The jobs process makes them of telemetry, beside its path; the
-- epoch is part of the key, so a piece of time that two ownerships share has a row for each. docs/charts.md.

CREATE TABLE rollup (
    device_id                  bigint NOT NULL,
    epoch                      bigint NOT NULL,
    width_s                    integer NOT NULL CHECK (width_s IN (300, 3600)),
    ts                         timestamptz NOT NULL,     -- where the piece begins
    rows                       integer NOT NULL,         -- of telemetry, all of them
    samples                    integer NOT NULL,         -- without those that came from the future
    on_battery                 integer NOT NULL,         -- how many of them were on battery
    imported                   boolean NOT NULL,         -- whether any of them was
    input_voltage_low          real,
    input_voltage_mean         real,
    input_voltage_high         real,
    output_voltage_low         real,
    output_voltage_mean        real,
    output_voltage_high        real,
    output_frequency_low       real,
    output_frequency_mean      real,
    output_frequency_high      real,
    output_current_low         real,
    output_current_mean        real,
    output_current_high        real,
    output_real_power_pct_low  real,
    output_real_power_pct_mean real,
    output_real_power_pct_high real,
    state_of_charge_low        real,
    state_of_charge_mean       real,
    state_of_charge_high       real,
    battery_voltage_low        real,
    battery_voltage_mean       real,
    battery_voltage_high       real,
    battery_temperature_low    real,
    battery_temperature_mean   real,
    battery_temperature_high   real,
    runtime_remaining_low      real,
    runtime_remaining_mean     real,
    runtime_remaining_high     real,
    efficiency_low             real,
    efficiency_mean            real,
    efficiency_high            real,
    PRIMARY KEY (device_id, width_s, ts, epoch)
);

-- How far a device is rolled up: every piece before done_ms, of all that was stored up to the position.
CREATE TABLE rollup_state (
    device_id                  bigint PRIMARY KEY,
    stream                     bigint NOT NULL DEFAULT 0,
    seq                        bigint NOT NULL DEFAULT 0,
    done_ms                    bigint NOT NULL DEFAULT 0,
    due_ms                     bigint NOT NULL DEFAULT 0, -- the next look, if there is news
    swept_ms                   bigint NOT NULL DEFAULT 0  -- when its rows were counted against telemetry's
);
