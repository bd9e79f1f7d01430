-- What each process may do in the database: its group role's rights, and nothing else. Applied anew, in one
-- transaction, whenever the database is brought to the newest schema (cloud/postgres/roles.py); a table that is not
-- named here is out of every process' reach. Who runs "migrate" and "admin" owns the tables and may do everything.
-- Why so: docs/decisions/0040-database-roles.md.

REVOKE ALL ON ALL TABLES IN SCHEMA public FROM smartconnect_gateway, smartconnect_portal, smartconnect_jobs;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA public FROM smartconnect_gateway, smartconnect_portal, smartconnect_jobs;
GRANT USAGE ON SCHEMA public TO smartconnect_gateway, smartconnect_portal, smartconnect_jobs;

-- ------------------------------------------------------------------------------------------------- the gateway
-- It adds telemetry and reads none. It never writes an owner itself: that is in the functions.

GRANT INSERT ON telemetry, telemetry_late, rejected, device_audit, ownership_notice TO smartconnect_gateway;
GRANT INSERT, SELECT (device_id, stream, seq) ON event TO smartconnect_gateway;
GRANT SELECT, UPDATE ON latest TO smartconnect_gateway;
GRANT SELECT, INSERT,
      UPDATE (version, model, sku, serial, firmware, rated_real_power_w, rated_apparent_power_va)
   ON device TO smartconnect_gateway;
GRANT SELECT, INSERT, UPDATE (login_ms, announced_ms, smartconnect, request, announcement)
   ON device_key TO smartconnect_gateway;
GRANT SELECT (device_id, epoch, company_id, kid, from_ms, until_ms, ended_by) ON ownership TO smartconnect_gateway;
GRANT SELECT, UPDATE (state, reason, decided_ms) ON claim TO smartconnect_gateway;
GRANT SELECT (company_id, closed_ms) ON company TO smartconnect_gateway;
GRANT SELECT, INSERT, UPDATE (status, closed_ms, reminded) ON matter TO smartconnect_gateway;
GRANT SELECT ON manifest TO smartconnect_gateway;
GRANT SELECT,
      UPDATE (state, delivered_ms, session_no, due_ms, ended_ms, reported_ms, code, detail)
   ON command TO smartconnect_gateway;
GRANT SELECT, INSERT, UPDATE ON device_setting TO smartconnect_gateway;
GRANT SELECT, INSERT, UPDATE, DELETE ON setting_change TO smartconnect_gateway;
GRANT SELECT, INSERT, UPDATE ON listening TO smartconnect_gateway;

GRANT EXECUTE ON FUNCTION
    bind_device(bigint, uuid, text, bigint),
    end_ownership(bigint, bigint, text, bigint, bigint),
    move_ownership(bigint, bigint, bigint, bigint, text, bigint),
    rekey_device(bigint, bigint, text, bigint, bigint),
    note_takeover(bigint, text, bigint, bigint),
    newest_sample_ms(bigint, bigint, bigint)
TO smartconnect_gateway;

-- -------------------------------------------------------------------------------------------------- the portal
-- Accounts, companies and what people do. It makes no telemetry, no event and no owner, and no operator; telemetry it
-- reads by functions alone, which take the company and one of its ownerships.

GRANT SELECT, INSERT, UPDATE, DELETE
   ON account, account_audit, api_token, attempt, bulk_job, bulk_row, calibration_schedule, claim_place, company,
      device_setting, email_change, help_opinion, idempotency, invitation, invitation_link, login_step, mail,
      mailed_code, maintenance_window, membership, notice, notice_channel, notice_company, notice_delivery,
      notice_opt_out, notice_pace, notice_policy, notice_target, partner_identity, passkey, passkey_challenge,
      password_reset, recovery_code, registration, registration_audit, registration_field, registration_offer,
      registration_slot, rule, setting_change, sign_up, site, system_intent, system_member, system_notice,
      system_request, system_server, system_ups, totp, used_challenge, web_session
   TO smartconnect_portal;
GRANT SELECT ON account_factor, member_factor, event, manifest, rule_state, latest TO smartconnect_portal;
GRANT UPDATE (watch_until_ms) ON latest TO smartconnect_portal;
GRANT SELECT, DELETE ON rejected, operator TO smartconnect_portal;
GRANT SELECT, INSERT ON device_audit, alarm_told TO smartconnect_portal;
GRANT SELECT, INSERT, UPDATE ON alarm, battery, ownership_notice, notice_intake TO smartconnect_portal;
GRANT SELECT, INSERT,
      UPDATE (version, model, sku, serial, firmware, rated_real_power_w, rated_apparent_power_va, last_counter)
   ON device TO smartconnect_portal;
GRANT SELECT, DELETE ON device_key TO smartconnect_portal;
GRANT SELECT, UPDATE (name, description, time_zone, notifications, device_sensitivity_s, site_id)
   ON ownership TO smartconnect_portal;
GRANT SELECT, INSERT, UPDATE (state, reason, decided_ms, picked_kid) ON claim TO smartconnect_portal;
GRANT SELECT, INSERT, UPDATE (status, closed_ms, reminded) ON matter TO smartconnect_portal;
GRANT SELECT, INSERT, UPDATE (state, ended_ms, due_ms, code) ON command TO smartconnect_portal;

GRANT EXECUTE ON FUNCTION
    bind_device(bigint, uuid, text, bigint),
    end_ownership(bigint, bigint, text, bigint, bigint),
    move_ownership(bigint, bigint, bigint, bigint, text, bigint),
    rekey_device(bigint, bigint, text, bigint, bigint),
    newest_sample_ms(bigint, bigint, bigint),
    company_samples(bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, integer),
    company_pieces(bigint, bigint, bigint, text[], bigint, integer, bigint, bigint),
    company_stored_from(bigint, bigint, bigint),
    company_lowest_charges(bigint, bigint, bigint, bigint[], bigint[])
TO smartconnect_portal;

-- ---------------------------------------------------------------------------------------------------- the jobs
-- What happens by itself. Of accounts it sees whom to write to, never a secret.

GRANT SELECT ON telemetry, telemetry_late, latest, rule, battery, site TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON rollup, rollup_state, rule_cursor, rule_state, rule_worker, absence
   TO smartconnect_jobs;
GRANT SELECT ON listening TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE (noticed) ON event TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE ON alarm, alarm_told, notice_company, notice_pace, notice_delivery TO smartconnect_jobs;
GRANT SELECT, INSERT, DELETE ON notice TO smartconnect_jobs;
GRANT SELECT, INSERT ON notice_policy TO smartconnect_jobs;
GRANT SELECT, INSERT, DELETE ON notice_target TO smartconnect_jobs;
GRANT SELECT ON notice_channel, notice_opt_out, maintenance_window TO smartconnect_jobs;
GRANT SELECT, UPDATE ON notice_intake TO smartconnect_jobs;
GRANT INSERT, SELECT (mail_id, delivery_id) ON mail TO smartconnect_jobs;
GRANT SELECT (account_id, email, email_norm, first_name, last_name, language, time_zone, disabled_ms)
   ON account TO smartconnect_jobs;
GRANT SELECT ON membership, company, ownership, claim, matter, device_key TO smartconnect_jobs;
GRANT UPDATE (created_ms) ON company TO smartconnect_jobs;  -- to hold the row, which takes a right to some change
GRANT SELECT, UPDATE (version, last_counter) ON device TO smartconnect_jobs;
GRANT INSERT ON device_audit TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE (state, ended_ms, due_ms, code) ON command TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE ON device_setting TO smartconnect_jobs;
GRANT SELECT, INSERT, UPDATE, DELETE ON setting_change TO smartconnect_jobs;
GRANT SELECT, DELETE, UPDATE (due_ms, try_ms, missing) ON calibration_schedule TO smartconnect_jobs;

GRANT EXECUTE ON FUNCTION ensure_telemetry_days(date, integer) TO smartconnect_jobs;
