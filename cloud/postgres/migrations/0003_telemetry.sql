-- Telemetry, the latest state with its fence, and events (design section 5). The value columns are the points of
-- protocol/points.py, widest first; "not available" is NaN in a floating-point column and 0 in a bit field.

CREATE TABLE telemetry (
    device_id                 bigint NOT NULL,
    ts                        timestamptz NOT NULL,
    stream                    bigint NOT NULL,
    seq                       bigint NOT NULL,
    epoch                     bigint NOT NULL,
    output_energy             double precision NOT NULL,
    flags                     integer NOT NULL,
    ups_status                integer NOT NULL,
    input_status              integer NOT NULL,
    general_error             integer NOT NULL,
    power_system_error        integer NOT NULL,
    battery_system_error      integer NOT NULL,
    mog_outlet_status         integer NOT NULL,
    sog0_outlet_status        integer NOT NULL,
    sog1_outlet_status        integer NOT NULL,
    sog2_outlet_status        integer NOT NULL,
    input_voltage             real NOT NULL,
    output_voltage            real NOT NULL,
    output_frequency          real NOT NULL,
    output_current            real NOT NULL,
    output_real_power_pct     real NOT NULL,
    output_apparent_power_pct real NOT NULL,
    state_of_charge           real NOT NULL,
    battery_voltage           real NOT NULL,
    battery_temperature       real NOT NULL,
    runtime_remaining         real NOT NULL,
    efficiency                real NOT NULL,
    bypass_voltage            real NOT NULL,
    PRIMARY KEY (device_id, ts, stream, seq)
) PARTITION BY RANGE (ts);

-- Rows whose day has no partition (any more, or not yet). No default partition: one row in it would block the
-- creation of that day.
CREATE TABLE telemetry_late (LIKE telemetry, PRIMARY KEY (device_id, ts, stream, seq));

-- Makes the partitions of some days (UTC), where they are missing. Returns how many it made.
CREATE FUNCTION ensure_telemetry_days(p_first date, p_days integer) RETURNS integer
LANGUAGE plpgsql SET timezone TO 'UTC' AS $$
DECLARE
    v_day  date;
    v_made integer := 0;
BEGIN
    FOR i IN 0 .. p_days - 1 LOOP
        v_day := p_first + i;
        IF to_regclass('telemetry_' || to_char(v_day, 'YYYYMMDD')) IS NULL THEN
            EXECUTE format(
                'CREATE TABLE IF NOT EXISTS telemetry_%s PARTITION OF telemetry FOR VALUES FROM (%L) TO (%L)',
                to_char(v_day, 'YYYYMMDD'), v_day::timestamptz, (v_day + 1)::timestamptz);
            v_made := v_made + 1;
        END IF;
    END LOOP;
    RETURN v_made;
END $$;

-- One row a device, made when it is claimed: the fence of every batch, the stored position, what pages show.
CREATE TABLE latest (
    device_id                 bigint PRIMARY KEY,
    session_no                bigint NOT NULL,          -- iat of the log-in that may write now
    epoch                     bigint NOT NULL,
    stream                    bigint NOT NULL DEFAULT 0, -- position: the newest stored (stream, seq)
    seq                       bigint NOT NULL DEFAULT 0,
    ts_ms                     bigint NOT NULL DEFAULT 0, -- of the shown values; 0: none in this ownership yet
    seen_ms                   bigint NOT NULL DEFAULT 0, -- server's clock when the device was last heard
    watch_until_ms            bigint NOT NULL DEFAULT 0, -- somebody looks until then
    kid                       text NOT NULL,
    revoked                   boolean NOT NULL DEFAULT false,
    connected                 boolean NOT NULL DEFAULT false,
    smartconnect              boolean NOT NULL DEFAULT true,
    output_energy             double precision NOT NULL DEFAULT 'NaN',
    flags                     integer NOT NULL DEFAULT 0,
    ups_status                integer NOT NULL DEFAULT 0,
    input_status              integer NOT NULL DEFAULT 0,
    general_error             integer NOT NULL DEFAULT 0,
    power_system_error        integer NOT NULL DEFAULT 0,
    battery_system_error      integer NOT NULL DEFAULT 0,
    mog_outlet_status         integer NOT NULL DEFAULT 0,
    sog0_outlet_status        integer NOT NULL DEFAULT 0,
    sog1_outlet_status        integer NOT NULL DEFAULT 0,
    sog2_outlet_status        integer NOT NULL DEFAULT 0,
    input_voltage             real NOT NULL DEFAULT 'NaN',
    output_voltage            real NOT NULL DEFAULT 'NaN',
    output_frequency          real NOT NULL DEFAULT 'NaN',
    output_current            real NOT NULL DEFAULT 'NaN',
    output_real_power_pct     real NOT NULL DEFAULT 'NaN',
    output_apparent_power_pct real NOT NULL DEFAULT 'NaN',
    state_of_charge           real NOT NULL DEFAULT 'NaN',
    battery_voltage           real NOT NULL DEFAULT 'NaN',
    battery_temperature       real NOT NULL DEFAULT 'NaN',
    runtime_remaining         real NOT NULL DEFAULT 'NaN',
    efficiency                real NOT NULL DEFAULT 'NaN',
    bypass_voltage            real NOT NULL DEFAULT 'NaN'
) WITH (fillfactor = 50);

CREATE TABLE event (
    device_id       bigint NOT NULL,
    stream          bigint NOT NULL,
    seq             bigint NOT NULL,
    epoch           bigint NOT NULL,
    ts              timestamptz NOT NULL,
    received_ms     bigint NOT NULL,
    time_uncertain  boolean NOT NULL,
    kind            text NOT NULL,
    detail          jsonb NOT NULL,
    PRIMARY KEY (device_id, stream, seq)
);
CREATE INDEX event_time ON event (device_id, ts);

-- What was not accepted, with its reason and a capped copy: never a silent loss.
CREATE TABLE rejected (
    device_id    bigint NOT NULL,
    rejected_id  bigint GENERATED ALWAYS AS IDENTITY,
    ts_ms        bigint NOT NULL,
    kid          text NOT NULL,
    topic        text NOT NULL,
    code         text NOT NULL,
    reason       text NOT NULL,
    payload      bytea NOT NULL,
    size_bytes   integer NOT NULL,
    PRIMARY KEY (device_id, rejected_id)
);

-- Gives a device to the claimant: ownership, bound key, fence, claims, audit, hint, in the caller's transaction.
-- Returns the new epoch, or NULL where the claim is no longer pending, the key is no candidate, or somebody
-- else owns the device. The one place that writes an owner, for the portal and for the gateway.
CREATE FUNCTION bind_device(p_device_id bigint, p_claim_id uuid, p_kid text, p_now_ms bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_claim  claim%ROWTYPE;
    v_key    device_key%ROWTYPE;
    v_epoch  bigint;
BEGIN
    SELECT greatest(last_epoch + 1, p_now_ms) INTO v_epoch FROM device WHERE device_id = p_device_id
       FOR NO KEY UPDATE;
    SELECT * INTO v_claim FROM claim
     WHERE device_id = p_device_id AND claim_id = p_claim_id AND state = 'pending' AND expires_ms > p_now_ms;
    IF NOT FOUND THEN RETURN NULL; END IF;
    -- Locked: a log-in at this moment is either in login_ms, or waits and then finds the key bound.
    SELECT * INTO v_key FROM device_key
     WHERE device_id = p_device_id AND kid = p_kid AND state = 'candidate' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;

    INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)
    VALUES (p_device_id, v_epoch, v_claim.company_id, v_claim.account_id, p_kid, p_now_ms)
    ON CONFLICT (device_id) WHERE until_ms IS NULL DO NOTHING;
    IF NOT FOUND THEN RETURN NULL; END IF;

    UPDATE device SET last_epoch = v_epoch, version = version + 1 WHERE device_id = p_device_id;
    UPDATE device_key SET state = 'bound' WHERE device_id = p_device_id AND kid = p_kid;
    INSERT INTO latest (device_id, kid, epoch, session_no, smartconnect)
    VALUES (p_device_id, p_kid, v_epoch, v_key.login_ms, v_key.smartconnect)
    ON CONFLICT (device_id) DO UPDATE
       SET kid = excluded.kid, epoch = excluded.epoch, session_no = excluded.session_no,
           smartconnect = excluded.smartconnect, revoked = false, connected = false,
           ts_ms = 0, seen_ms = 0, watch_until_ms = 0,
            output_energy = 'NaN',
            flags = 0,
            ups_status = 0,
            input_status = 0,
            general_error = 0,
            power_system_error = 0,
            battery_system_error = 0,
            mog_outlet_status = 0,
            sog0_outlet_status = 0,
            sog1_outlet_status = 0,
            sog2_outlet_status = 0,
            input_voltage = 'NaN',
            output_voltage = 'NaN',
            output_frequency = 'NaN',
            output_current = 'NaN',
            output_real_power_pct = 'NaN',
            output_apparent_power_pct = 'NaN',
            state_of_charge = 'NaN',
            battery_voltage = 'NaN',
            battery_temperature = 'NaN',
            runtime_remaining = 'NaN',
            efficiency = 'NaN',
            bypass_voltage = 'NaN';
    UPDATE claim SET state = 'won', decided_ms = p_now_ms
     WHERE device_id = p_device_id AND claim_id = p_claim_id;
    UPDATE claim SET state = 'refused', reason = 'owned_elsewhere', decided_ms = p_now_ms
     WHERE device_id = p_device_id AND state = 'pending';
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid)
    VALUES (p_device_id, p_now_ms, 'bound', v_epoch, v_claim.company_id, v_claim.account_id, p_kid);
    PERFORM pg_notify('device', p_device_id::text);
    RETURN v_epoch;
END $$;

-- For checks from outside; read only.
CREATE VIEW v_ownership AS
    SELECT device_id, epoch, company_id, account_id, kid, from_ms, until_ms FROM ownership;
CREATE VIEW v_pending AS
    SELECT device_id, claim_id, company_id, account_id, created_ms, expires_ms FROM claim WHERE state = 'pending';
CREATE VIEW v_telemetry AS
    SELECT * FROM telemetry UNION ALL SELECT * FROM telemetry_late;
CREATE VIEW v_audit AS
    SELECT device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail FROM device_audit;
