-- Settings of a device: what its owner wants (wishes), what is in force, and who won (design section 6). What lives in
-- the cloud alone stays in the ownership; a new one begins with the defaults.

ALTER TABLE ownership ADD COLUMN notifications boolean NOT NULL DEFAULT true;
ALTER TABLE ownership ADD COLUMN device_sensitivity_s integer NOT NULL DEFAULT 0;  -- on battery before anybody is told

-- One row a device, of its present ownership. ``version`` only grows, from one ownership to the next, too.
CREATE TABLE device_setting (
    device_id     bigint PRIMARY KEY REFERENCES device,
    epoch         bigint NOT NULL,
    version       bigint NOT NULL DEFAULT 0,        -- of the last wish: max(last + 1, unix ms)
    wishes        jsonb  NOT NULL DEFAULT '{}',     -- those that are open: setting → value, set_ms, version, account_id
    sealed        bytea,                            -- they, signed for kid; null: there is none
    kid           text   NOT NULL DEFAULT '',
    base_version  bigint NOT NULL DEFAULT 0,        -- the last version that the device has considered
    revision      bigint NOT NULL DEFAULT 0,        -- of its last report
    reported      jsonb  NOT NULL DEFAULT '{}',     -- setting → value in force
    at_device     jsonb  NOT NULL DEFAULT '{}',     -- setting → when it was changed at the device, where that stands
    reported_ms   bigint NOT NULL DEFAULT 0         -- the server's clock at the last report
);

-- Who changed what when, and who won.
CREATE TABLE setting_change (
    device_id     bigint NOT NULL REFERENCES device,
    change_id     bigint GENERATED ALWAYS AS IDENTITY,
    epoch         bigint NOT NULL,
    name          text   NOT NULL,
    value         jsonb  NOT NULL,
    origin        text   NOT NULL CHECK (origin IN ('portal', 'device')),
    account_id    bigint REFERENCES account,
    made_ms       bigint NOT NULL,
    version       bigint NOT NULL,                  -- of the wish, or the last one known when the device changed it
    state         text   NOT NULL CHECK (state IN ('pending', 'in_force', 'overtaken', 'refused', 'replaced')),
    code          text   NOT NULL DEFAULT '',       -- why it was refused
    closed_ms     bigint,
    PRIMARY KEY (device_id, change_id)
);
CREATE INDEX setting_change_newest ON setting_change (device_id, epoch, change_id);

-- As in 0012; what an owner wanted and was told of settings ends with the ownership.
CREATE OR REPLACE FUNCTION forget_shown(p_device_id bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE latest SET ts_ms = 0, watch_until_ms = 0,
        shown_from_ms = coalesce((SELECT from_ms FROM ownership
                                   WHERE device_id = p_device_id AND until_ms IS NULL), 0),
        output_energy = 'NaN', flags = 0, ups_status = 0, input_status = 0, general_error = 0,
        power_system_error = 0, battery_system_error = 0, mog_outlet_status = 0, sog0_outlet_status = 0,
        sog1_outlet_status = 0, sog2_outlet_status = 0, input_voltage = 'NaN', output_voltage = 'NaN',
        output_frequency = 'NaN', output_current = 'NaN', output_real_power_pct = 'NaN',
        output_apparent_power_pct = 'NaN', state_of_charge = 'NaN', battery_voltage = 'NaN',
        battery_temperature = 'NaN', runtime_remaining = 'NaN', efficiency = 'NaN', bypass_voltage = 'NaN'
     WHERE device_id = p_device_id;
    UPDATE device_setting SET wishes = '{}', sealed = NULL, kid = '', base_version = 0, revision = 0,
        reported = '{}', at_device = '{}', reported_ms = 0
     WHERE device_id = p_device_id
$$;

-- For checks from outside; read only.
CREATE VIEW v_setting AS
    SELECT device_id, epoch, version, wishes, base_version, revision, reported, at_device, reported_ms
    FROM device_setting;
