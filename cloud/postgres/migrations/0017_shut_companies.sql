-- A company that is being closed gets no device any more, whatever it still waits for.

-- As in 0006.
CREATE OR REPLACE FUNCTION bind_device(p_device_id bigint, p_claim_id uuid, p_kid text, p_now_ms bigint)
RETURNS bigint
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
    -- Whoever decided on this claim saw the company open a moment ago: let them look again.
    PERFORM 1 FROM company WHERE company_id = v_claim.company_id AND closed_ms IS NULL FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'company % is closed', v_claim.company_id USING ERRCODE = 'serialization_failure';
    END IF;
    -- Locked: a log-in at this moment is either in login_ms, or waits and then finds the key bound.
    SELECT * INTO v_key FROM device_key
     WHERE device_id = p_device_id AND kid = p_kid AND state = 'candidate' FOR NO KEY UPDATE;
    IF NOT FOUND THEN RETURN NULL; END IF;

    INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)
    VALUES (p_device_id, v_epoch, v_claim.company_id, v_claim.account_id, p_kid,
            ownership_start(p_device_id, p_now_ms))
    ON CONFLICT (device_id) WHERE until_ms IS NULL DO NOTHING;
    IF NOT FOUND THEN RETURN NULL; END IF;

    UPDATE device SET last_epoch = v_epoch, version = version + 1 WHERE device_id = p_device_id;
    UPDATE device_key SET state = 'bound' WHERE device_id = p_device_id AND kid = p_kid;
    INSERT INTO latest (device_id, kid, epoch, session_no, smartconnect)
    VALUES (p_device_id, p_kid, v_epoch, v_key.login_ms, v_key.smartconnect)
    ON CONFLICT (device_id) DO UPDATE
       SET kid = excluded.kid, epoch = excluded.epoch, session_no = excluded.session_no,
           smartconnect = excluded.smartconnect, revoked = false, connected = false, seen_ms = 0;
    PERFORM forget_shown(p_device_id);
    UPDATE claim SET state = 'won', decided_ms = p_now_ms
     WHERE device_id = p_device_id AND claim_id = p_claim_id;
    UPDATE claim SET state = 'refused', reason = 'owned_elsewhere', decided_ms = p_now_ms
     WHERE device_id = p_device_id AND state = 'pending';
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid)
    VALUES (p_device_id, p_now_ms, 'bound', v_epoch, v_claim.company_id, v_claim.account_id, p_kid);
    PERFORM pg_notify('device', p_device_id::text);
    RETURN v_epoch;
END $$;
