-- The life of an owned device: what is open on it, what its people are told, and the three changes that end, move or
-- re-key an ownership. Like bind_device they lock the device's row first and change the fence in "latest", so that
-- whatever a session still sends of the old time is cut (design sections 3 and 4).

CREATE TABLE matter (
    device_id    bigint NOT NULL REFERENCES device,
    matter_id    bigint GENERATED ALWAYS AS IDENTITY,
    epoch        bigint NOT NULL,                   -- of the ownership it is about
    kind         text   NOT NULL CHECK (kind IN
                     ('release', 'offer', 'rekey', 'dispute', 'second_hand', 'clone', 'stolen')),
    subject      text   NOT NULL DEFAULT '',        -- the claimant's company of a dispute, the key of a re-key
    status       text   NOT NULL DEFAULT 'open' CHECK (status IN
                     ('open', 'done', 'dismissed', 'withdrawn', 'declined', 'expired', 'void')),
    company_id   bigint REFERENCES company,         -- who asks, or is offered the device
    account_id   bigint REFERENCES account,
    kid          text,
    ref          uuid,                              -- of an offer, or the claim of a second-hand request
    to_email     text,
    secret_hash  bytea,                             -- SHA-256 of what the offer's link holds
    opened_ms    bigint NOT NULL,
    due_ms       bigint,
    told_ms      bigint NOT NULL DEFAULT 0,
    closed_ms    bigint,
    PRIMARY KEY (device_id, matter_id)
);
CREATE UNIQUE INDEX matter_open ON matter (device_id, kind, subject) WHERE status = 'open';
CREATE INDEX matter_due ON matter (due_ms) WHERE status = 'open' AND due_ms IS NOT NULL;
CREATE INDEX matter_company ON matter (company_id) WHERE status = 'open';
CREATE INDEX matter_email ON matter (to_email) WHERE status = 'open' AND kind = 'offer';

-- What people are to be told, written with the change it tells of; the portal makes mails of it.
CREATE TABLE ownership_notice (
    device_id    bigint NOT NULL,
    notice_id    bigint GENERATED ALWAYS AS IDENTITY,
    ts_ms        bigint NOT NULL,
    kind         text   NOT NULL,
    epoch        bigint,
    company_id   bigint REFERENCES company,
    to_email     text,
    detail       jsonb  NOT NULL DEFAULT '{}',
    mailed_ms    bigint,
    PRIMARY KEY (device_id, notice_id)
);
CREATE INDEX ownership_notice_new ON ownership_notice (ts_ms) WHERE mailed_ms IS NULL;

-- Sessions of one key that ended each other while both were alive.
ALTER TABLE device_key ADD COLUMN takeovers integer NOT NULL DEFAULT 0;
ALTER TABLE device_key ADD COLUMN takeovers_from_ms bigint NOT NULL DEFAULT 0;

ALTER TABLE ownership ADD COLUMN ended_by text;     -- released, transferred, second_hand, …

-- Clears what is shown of a device: the next owner sees nothing of the last one.
CREATE FUNCTION forget_shown(p_device_id bigint) RETURNS void
LANGUAGE sql SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE latest SET ts_ms = 0, watch_until_ms = 0,
        output_energy = 'NaN', flags = 0, ups_status = 0, input_status = 0, general_error = 0,
        power_system_error = 0, battery_system_error = 0, mog_outlet_status = 0, sog0_outlet_status = 0,
        sog1_outlet_status = 0, sog2_outlet_status = 0, input_voltage = 'NaN', output_voltage = 'NaN',
        output_frequency = 'NaN', output_current = 'NaN', output_real_power_pct = 'NaN',
        output_apparent_power_pct = 'NaN', state_of_charge = 'NaN', battery_voltage = 'NaN',
        battery_temperature = 'NaN', runtime_remaining = 'NaN', efficiency = 'NaN', bypass_voltage = 'NaN'
     WHERE device_id = p_device_id
$$;

-- When the next ownership may begin: never before the last one ended, whatever a clock says.
CREATE FUNCTION ownership_start(p_device_id bigint, p_now_ms bigint) RETURNS bigint
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT greatest(p_now_ms, coalesce(max(until_ms), 0)) FROM ownership WHERE device_id = p_device_id
$$;

-- As in 0003, with a start that never lies before the end of the last ownership.
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

-- Ends the live ownership of this epoch: nobody owns the device, its key may be claimed again, and the fence is
-- closed. False where that ownership is not the live one.
CREATE FUNCTION end_ownership(
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
    PERFORM forget_shown(p_device_id);
    UPDATE device SET version = version + 1 WHERE device_id = p_device_id;
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail)
    VALUES (p_device_id, p_now_ms, 'released', p_epoch, v_old.company_id, p_account_id, v_old.kid,
            jsonb_build_object('reason', p_reason));
    PERFORM pg_notify('device', p_device_id::text);
    RETURN true;
END $$;

-- Gives the device of this epoch to another company, with the key it has, in a new epoch. The new epoch, or NULL
-- where that ownership is not the live one.
CREATE FUNCTION move_ownership(
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
    INSERT INTO ownership (device_id, epoch, company_id, account_id, kid, from_ms)
    VALUES (p_device_id, v_epoch, p_company_id, coalesce(p_account_id, v_old.account_id), v_old.kid,
            ownership_start(p_device_id, p_now_ms));
    UPDATE latest SET epoch = v_epoch WHERE device_id = p_device_id;
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

-- The device of this epoch goes on with another key; the old one is revoked. False where that ownership is not the
-- live one or the key is no candidate.
CREATE FUNCTION rekey_device(
    p_device_id bigint, p_epoch bigint, p_kid text, p_account_id bigint, p_now_ms bigint) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    v_old  ownership%ROWTYPE;
    v_key  device_key%ROWTYPE;
BEGIN
    PERFORM 1 FROM device WHERE device_id = p_device_id FOR NO KEY UPDATE;
    -- Locked for the same reason as in bind_device; both keys in one order.
    PERFORM 1 FROM device_key WHERE device_id = p_device_id AND (state = 'bound' OR kid = p_kid)
      ORDER BY kid FOR NO KEY UPDATE;
    SELECT * INTO v_key FROM device_key WHERE device_id = p_device_id AND kid = p_kid AND state = 'candidate';
    IF NOT FOUND THEN RETURN false; END IF;
    SELECT * INTO v_old FROM ownership WHERE device_id = p_device_id AND epoch = p_epoch AND until_ms IS NULL;
    IF NOT FOUND THEN RETURN false; END IF;
    UPDATE device_key SET state = 'revoked' WHERE device_id = p_device_id AND state = 'bound';
    UPDATE device_key SET state = 'bound', takeovers = 0 WHERE device_id = p_device_id AND kid = p_kid;
    UPDATE ownership SET kid = p_kid WHERE device_id = p_device_id AND epoch = p_epoch;
    UPDATE latest SET kid = p_kid, session_no = v_key.login_ms, smartconnect = v_key.smartconnect,
           revoked = false, connected = false, seen_ms = 0
     WHERE device_id = p_device_id;
    UPDATE device SET version = version + 1 WHERE device_id = p_device_id;
    INSERT INTO device_audit (device_id, ts_ms, kind, epoch, company_id, account_id, kid, detail)
    VALUES (p_device_id, p_now_ms, 'rekeyed', p_epoch, v_old.company_id, p_account_id, p_kid,
            jsonb_build_object('revoked', v_old.kid));
    PERFORM pg_notify('device', p_device_id::text);
    RETURN true;
END $$;

-- Counts that a live session of this key was ended by another log-in with it; how often within p_window_ms.
CREATE FUNCTION note_takeover(p_device_id bigint, p_kid text, p_now_ms bigint, p_window_ms bigint) RETURNS integer
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    UPDATE device_key
       SET takeovers = CASE WHEN p_now_ms - takeovers_from_ms <= p_window_ms THEN takeovers + 1 ELSE 1 END,
           takeovers_from_ms = CASE WHEN p_now_ms - takeovers_from_ms <= p_window_ms THEN takeovers_from_ms
                                    ELSE p_now_ms END
     WHERE device_id = p_device_id AND kid = p_kid AND state = 'bound'
    RETURNING takeovers
$$;

CREATE OR REPLACE VIEW v_ownership AS
    SELECT device_id, epoch, company_id, account_id, kid, from_ms, until_ms, ended_by FROM ownership;
CREATE VIEW v_matter AS
    SELECT device_id, matter_id, epoch, kind, subject, status, company_id, kid, opened_ms, due_ms, closed_ms
    FROM matter;
