-- An ownership ends when its fence closes, not when the request for it came: what was stored until then is of its
-- time. Otherwise samples would lie behind the end of their ownership, in the time of the next one.

-- To be called once the fence of this ownership is closed. Clocks of devices count only up to ours.
CREATE FUNCTION ownership_reaches_stored(p_device_id bigint, p_epoch bigint) RETURNS void
LANGUAGE sql VOLATILE SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE ownership o SET until_ms = greatest(o.until_ms, (
        SELECT (extract(epoch FROM max(s.newest)) * 1000)::bigint FROM (
            SELECT max(t.ts) AS newest FROM telemetry t WHERE t.device_id = p_device_id AND t.epoch = p_epoch
               AND t.ts > to_timestamp(o.until_ms / 1000.0) AND t.ts <= clock_timestamp()
            UNION ALL
            SELECT max(t.ts) FROM telemetry_late t WHERE t.device_id = p_device_id AND t.epoch = p_epoch
               AND t.ts > to_timestamp(o.until_ms / 1000.0) AND t.ts <= clock_timestamp()) s))
     WHERE o.device_id = p_device_id AND o.epoch = p_epoch AND o.until_ms IS NOT NULL
$$;

-- As in 0006.
CREATE OR REPLACE FUNCTION end_ownership(
    p_device_id bigint, p_epoch bigint, p_reason text, p_account_id bigint, p_now_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_old  ownership%ROWTYPE;
BEGIN
    PERFORM 1 FROM device WHERE device_id = p_device_id FOR NO KEY UPDATE;
    UPDATE device_key SET state = 'candidate' WHERE device_id = p_device_id AND state = 'bound'
       AND EXISTS (SELECT 1 FROM ownership WHERE device_id = p_device_id AND epoch = p_epoch AND until_ms IS NULL);
    UPDATE ownership SET until_ms = greatest(p_now_ms, from_ms), ended_by = p_reason
     WHERE device_id = p_device_id AND epoch = p_epoch AND until_ms IS NULL RETURNING * INTO v_old;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE latest SET revoked = true, connected = false WHERE device_id = p_device_id;
    PERFORM ownership_reaches_stored(p_device_id, p_epoch);
    PERFORM forget_shown(p_device_id);
    UPDATE device SET version = version + 1 WHERE device_id = p_device_id;
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail)
    VALUES (p_device_id, p_now_ms, 'released', p_epoch, v_old.company_id, p_account_id, v_old.kid,
            jsonb_build_object('reason', p_reason));
    PERFORM pg_notify('device', p_device_id::text);
    RETURN true;
END $$;

-- As in 0006; the fence moves before the next ownership begins.
CREATE OR REPLACE FUNCTION move_ownership(
    p_device_id bigint, p_epoch bigint, p_company_id bigint, p_account_id bigint, p_reason text, p_now_ms bigint)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_old    ownership%ROWTYPE;
    v_epoch  bigint;
BEGIN
    SELECT greatest(last_epoch + 1, p_now_ms) INTO v_epoch FROM device WHERE device_id = p_device_id
       FOR NO KEY UPDATE;
    UPDATE ownership SET until_ms = greatest(p_now_ms, from_ms), ended_by = p_reason
     WHERE device_id = p_device_id AND epoch = p_epoch AND until_ms IS NULL RETURNING * INTO v_old;
    IF NOT FOUND THEN RETURN NULL; END IF;
    UPDATE latest SET epoch = v_epoch WHERE device_id = p_device_id;
    PERFORM ownership_reaches_stored(p_device_id, p_epoch);
    INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)
    VALUES (p_device_id, v_epoch, p_company_id, coalesce(p_account_id, v_old.account_id), v_old.kid,
            ownership_start(p_device_id, p_now_ms));
    PERFORM forget_shown(p_device_id);
    UPDATE device SET last_epoch = v_epoch, version = version + 1 WHERE device_id = p_device_id;
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail)
    VALUES (p_device_id, p_now_ms, 'handed_over', p_epoch, v_old.company_id, NULL, v_old.kid,
            jsonb_build_object('reason', p_reason)),
           (p_device_id, p_now_ms, 'received', v_epoch, p_company_id, p_account_id, v_old.kid,
            jsonb_build_object('reason', p_reason));
    PERFORM pg_notify('device', p_device_id::text);
    RETURN v_epoch;
END $$;
