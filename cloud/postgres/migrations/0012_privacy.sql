-- What is shown of a device begins with its present ownership: a snapshot that was under way when the device
-- changed hands is of the last owner's time, and shown to nobody.

ALTER TABLE latest ADD COLUMN shown_from_ms bigint NOT NULL DEFAULT 0;
UPDATE latest l SET shown_from_ms = o.from_ms FROM ownership o
 WHERE o.device_id = l.device_id AND o.until_ms IS NULL;

-- As in 0006; called after the ownership has changed.
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
     WHERE device_id = p_device_id
$$;
