-- The second wall around companies: of these tables the portal's role sees the rows of the company and the person it
-- acts for (cloud/postgres/acting.py), unless it has said why it must look across. Applied after rights.sql, policy by
-- policy, where one is missing or was another. No table whose key is a device's alone, where a new owner's row takes
-- the place of the last one's. The gateway and the jobs look across by nature; whoever owns the tables
-- is not bound. Never on telemetry: COPY and row-level security exclude each other.

DO $$
DECLARE
    c_company CONSTANT text := 'company_id = (SELECT acting_company())';
    c_account CONSTANT text := 'account_id = (SELECT acting_account())';
    c_tables  CONSTANT text[] := ARRAY[
        -- Its people, also those who have left: their names stand in its history.
        ['account', c_account || ' OR EXISTS (SELECT 1 FROM membership m WHERE m.account_id = account.account_id'
                              || ' AND m.company_id = (SELECT acting_company()))'
                              || ' OR EXISTS (SELECT 1 FROM account_audit u WHERE u.account_id = account.account_id'
                              || ' AND u.company_id = (SELECT acting_company()))'],
        ['company', c_company || ' OR EXISTS (SELECT 1 FROM membership m WHERE m.company_id = company.company_id'
                              || ' AND m.account_id = (SELECT acting_account()))'],
        ['membership', c_company || ' OR ' || c_account],
        ['ownership', c_company],
        ['claim', c_company],
        ['api_token', c_company || ' OR ' || c_account],
        ['invitation', c_company],
        ['site', c_company],
        ['rule', c_company],
        ['alarm', c_company],
        ['command', c_company],
        ['bulk_job', c_company],
        ['maintenance_window', c_company],
        ['notice', c_company],
        ['notice_channel', c_company],
        ['notice_company', c_company],
        ['notice_delivery', c_company],
        ['notice_policy', c_company],
        ['web_session', c_account],
        ['totp', c_account],
        ['recovery_code', c_account],
        ['passkey', c_account],
        ['partner_identity', c_account]];
    v_table   text[];
    v_rule    text;
    v_former  text;
BEGIN
    FOR v_former IN SELECT tablename FROM pg_policies WHERE policyname = 'of_whom_it_acts_for'
                       AND schemaname = 'public' AND NOT EXISTS (
                           SELECT 1 FROM generate_subscripts(c_tables, 1) AS i WHERE c_tables[i][1] = tablename) LOOP
        EXECUTE format('DROP POLICY of_whom_it_acts_for ON %I', v_former);
        EXECUTE format('DROP POLICY of_everybody ON %I', v_former);
        EXECUTE format('ALTER TABLE %I DISABLE ROW LEVEL SECURITY', v_former);
    END LOOP;
    FOREACH v_table SLICE 1 IN ARRAY c_tables LOOP
        v_rule := format('%s OR (SELECT acting_across())', v_table[2]);
        CONTINUE WHEN EXISTS (
            SELECT 1 FROM pg_policy WHERE polrelid = v_table[1]::regclass AND polname = 'of_whom_it_acts_for'
               AND obj_description(oid, 'pg_policy') = v_rule);
        EXECUTE format('DROP POLICY IF EXISTS of_whom_it_acts_for ON %I', v_table[1]);
        EXECUTE format('DROP POLICY IF EXISTS of_everybody ON %I', v_table[1]);
        EXECUTE format('CREATE POLICY of_whom_it_acts_for ON %I TO smartconnect_portal USING (%s)', v_table[1], v_rule);
        EXECUTE format('COMMENT ON POLICY of_whom_it_acts_for ON %I IS %L', v_table[1], v_rule);
        EXECUTE format('CREATE POLICY of_everybody ON %I TO smartconnect_gateway, smartconnect_jobs USING (true)',
                       v_table[1]);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', v_table[1]);
    END LOOP;
END $$;
