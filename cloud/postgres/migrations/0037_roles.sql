-- What processes with roles of their own need (cloud/postgres/rights.sql): partitions belong to whoever owns the
-- telemetry table, also where the jobs make them; and nothing here is for everybody who may connect.

ALTER FUNCTION ensure_telemetry_days(date, integer) SECURITY DEFINER;
ALTER FUNCTION ensure_telemetry_days(date, integer) SET search_path = public, pg_temp;  -- where it makes tables

-- Time of the newest stored sample of an ownership at or after a moment, unix ms; 0 without one. A release waits for
-- it, whoever looks at the device: the gateway, too, which reads no telemetry otherwise.
CREATE FUNCTION newest_sample_ms(p_device_id bigint, p_epoch bigint, p_from_ms bigint) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT coalesce(max((extract(epoch FROM newest.ts) * 1000)::bigint), 0) FROM (
        SELECT max(ts) AS ts FROM telemetry WHERE device_id = p_device_id AND epoch = p_epoch
           AND ts >= to_timestamp(p_from_ms / 1000.0)
        UNION ALL
        SELECT max(ts) FROM telemetry_late WHERE device_id = p_device_id AND epoch = p_epoch
           AND ts >= to_timestamp(p_from_ms / 1000.0)) AS newest
$$;

REVOKE EXECUTE ON FUNCTION
    ensure_telemetry_days(date, integer),
    bind_device(bigint, uuid, text, bigint),
    end_ownership(bigint, bigint, text, bigint, bigint),
    move_ownership(bigint, bigint, bigint, bigint, text, bigint),
    rekey_device(bigint, bigint, text, bigint, bigint),
    note_takeover(bigint, text, bigint, bigint),
    forget_shown(bigint),
    ownership_start(bigint, bigint),
    ownership_reaches_stored(bigint, bigint),
    newest_sample_ms(bigint, bigint, bigint)
FROM PUBLIC;
