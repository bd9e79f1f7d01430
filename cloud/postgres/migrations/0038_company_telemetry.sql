-- How the portal reads telemetry: by functions that take the company, one of its ownerships of a device, and a span of
-- time. They find nothing of any other ownership, whatever else is asked for. The portal may not read the tables
-- themselves (cloud/postgres/rights.sql; docs/decisions/0040-database-roles.md).

-- Whether this ownership is, or was, this company's.
CREATE FUNCTION was_owned_by(p_company_id bigint, p_device_id bigint, p_epoch bigint) RETURNS boolean
LANGUAGE sql STABLE SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT EXISTS (SELECT 1 FROM ownership
                    WHERE device_id = p_device_id AND epoch = p_epoch AND company_id = p_company_id)
$$;

-- The next samples of an ownership in order of time, behind the mark (unix microseconds, stream, seq), none from before
-- p_from_ms, at or after p_to_ms, or behind its end. The key has that order: a planner that thinks few rows are left
-- would read them all for every page and sort them.
CREATE FUNCTION company_samples(
    p_company_id bigint, p_device_id bigint, p_epoch bigint, p_from_ms bigint, p_to_ms bigint,
    p_at_us bigint, p_stream bigint, p_seq bigint, p_limit integer) RETURNS SETOF telemetry
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET enable_sort = off SET plan_cache_mode = force_custom_plan AS $$
    SELECT found.* FROM ownership o, LATERAL (
        (SELECT * FROM telemetry t WHERE t.device_id = o.device_id AND t.epoch = o.epoch
            AND t.ts >= greatest(to_timestamp(p_from_ms / 1000.0), to_timestamp(p_at_us / 1000000.0))
            AND t.ts < least(to_timestamp(p_to_ms / 1000.0), to_timestamp(o.until_ms / 1000.0))
            AND (t.ts, t.stream, t.seq) > (to_timestamp(p_at_us / 1000000.0), p_stream, p_seq)
          ORDER BY t.ts, t.stream, t.seq LIMIT p_limit)
        UNION ALL
        (SELECT * FROM telemetry_late t WHERE t.device_id = o.device_id AND t.epoch = o.epoch
            AND t.ts >= greatest(to_timestamp(p_from_ms / 1000.0), to_timestamp(p_at_us / 1000000.0))
            AND t.ts < least(to_timestamp(p_to_ms / 1000.0), to_timestamp(o.until_ms / 1000.0))
            AND (t.ts, t.stream, t.seq) > (to_timestamp(p_at_us / 1000000.0), p_stream, p_seq)
          ORDER BY t.ts, t.stream, t.seq LIMIT p_limit)) AS found
     WHERE o.device_id = p_device_id AND o.epoch = p_epoch AND o.company_id = p_company_id
     ORDER BY found.ts, found.stream, found.seq LIMIT p_limit
$$;

-- Pieces of time of an ownership, p_piece_ms wide, oldest first, no empty ones: of each point the mean, the lowest and
-- the highest value. With p_width_s, what is rolled up comes from rollups of that width and the rest from samples; a
-- piece on that edge comes twice, a part each. Samples that came from the future (flag 2) do not count; flag 4:
-- imported; bit 2 of ups_status: on battery.
CREATE FUNCTION company_pieces(
    p_company_id bigint, p_device_id bigint, p_epoch bigint, p_points text[], p_piece_ms bigint, p_width_s integer,
    p_from_ms bigint, p_to_ms bigint)
RETURNS TABLE (ts_ms bigint, samples bigint, on_battery boolean, imported boolean,
               means double precision[], lows real[], highs real[])
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
DECLARE
    c_known CONSTANT text[] := ARRAY[
        'input_voltage', 'output_voltage', 'output_frequency', 'output_current', 'output_real_power_pct',
        'state_of_charge', 'battery_voltage', 'battery_temperature', 'runtime_remaining', 'efficiency'];
    v_split_ms bigint := p_from_ms;
    v_columns  text;
    v_made     text;
    v_rolled   text;
    v_query    text;
BEGIN
    IF NOT p_points <@ c_known OR cardinality(p_points) = 0 THEN
        RAISE EXCEPTION 'no such points: %', p_points USING ERRCODE = 'invalid_parameter_value';
    END IF;
    IF NOT was_owned_by(p_company_id, p_device_id, p_epoch) THEN RETURN; END IF;
    IF p_width_s IS NOT NULL THEN
        SELECT greatest(p_from_ms, least(done_ms / (p_width_s * 1000) * (p_width_s * 1000::bigint),
                                         p_to_ms / (p_width_s * 1000) * (p_width_s * 1000::bigint)))
          INTO v_split_ms FROM rollup_state WHERE device_id = p_device_id;
        v_split_ms := coalesce(v_split_ms, p_from_ms);
    END IF;
    SELECT string_agg(format('%I', name), ', ' ORDER BY place),
           format('ARRAY[%s]::float8[], ARRAY[%s]::real[], ARRAY[%s]::real[]',
                  string_agg(format('avg(nullif(%I, ''NaN''))', name), ', ' ORDER BY place),
                  string_agg(format('min(nullif(%I, ''NaN''))', name), ', ' ORDER BY place),
                  string_agg(format('max(nullif(%I, ''NaN''))', name), ', ' ORDER BY place)),
           format('ARRAY[%s]::float8[], ARRAY[%s]::real[], ARRAY[%s]::real[]',
                  string_agg(format('sum(%1$I * samples) / nullif(sum(samples) FILTER (WHERE %1$I IS NOT NULL), 0)',
                                    name || '_mean'), ', ' ORDER BY place),
                  string_agg(format('min(%I)', name || '_low'), ', ' ORDER BY place),
                  string_agg(format('max(%I)', name || '_high'), ', ' ORDER BY place))
      INTO v_columns, v_made, v_rolled
      FROM unnest(p_points) WITH ORDINALITY AS point(name, place);
    v_query := format(
        'SELECT date_bin($6, ts, ''epoch'') AS piece, count(*) AS samples, bool_or(ups_status & 4 <> 0) AS battery,'
        ' bool_or(flags & 4 <> 0) AS imported, %2$s FROM ('
        ' SELECT ts, ups_status, flags, %1$s FROM telemetry WHERE device_id = $1 AND epoch = $2'
        '    AND ts >= $4 AND ts < $5 AND flags & 2 = 0'
        ' UNION ALL'
        ' SELECT ts, ups_status, flags, %1$s FROM telemetry_late WHERE device_id = $1 AND epoch = $2'
        '    AND ts >= $4 AND ts < $5 AND flags & 2 = 0) AS samples GROUP BY piece', v_columns, v_made);
    IF v_split_ms > p_from_ms THEN
        v_query := v_query || format(
            ' UNION ALL SELECT date_bin($6, ts, ''epoch'') AS piece, sum(samples), sum(on_battery) > 0,'
            ' bool_or(imported), %s FROM rollup WHERE device_id = $1 AND epoch = $2 AND width_s = $7 AND samples > 0'
            ' AND ts >= $3 AND ts < $4 GROUP BY piece', v_rolled);
    END IF;
    RETURN QUERY EXECUTE format(
        'SELECT (extract(epoch FROM piece) * 1000)::bigint, found.samples::bigint, found.battery, found.imported,'
        ' found.means, found.lows, found.highs'
        ' FROM (%s) AS found(piece, samples, battery, imported, means, lows, highs) ORDER BY piece', v_query)
    USING p_device_id, p_epoch, to_timestamp(p_from_ms / 1000.0), to_timestamp(v_split_ms / 1000.0),
          to_timestamp(p_to_ms / 1000.0), make_interval(secs => p_piece_ms / 1000.0), p_width_s;
END $$;

-- Since when something of an ownership may be stored, unix ms: an imported past lies before it. NULL for a stranger.
CREATE FUNCTION company_stored_from(p_company_id bigint, p_device_id bigint, p_epoch bigint) RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT least(o.from_ms, (SELECT (extract(epoch FROM min(r.ts)) * 1000)::bigint FROM rollup r
            WHERE r.device_id = o.device_id AND r.epoch = o.epoch AND r.width_s = 3600))
      FROM ownership o WHERE o.device_id = p_device_id AND o.epoch = p_epoch AND o.company_id = p_company_id
$$;

-- For each span, in their order, the lowest charge that a reading of an ownership shows; NULL without one.
CREATE FUNCTION company_lowest_charges(
    p_company_id bigint, p_device_id bigint, p_epoch bigint, p_from_ms bigint[], p_to_ms bigint[])
RETURNS TABLE (lowest real)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT least(
        (SELECT min(nullif(t.state_of_charge, 'NaN')) FROM telemetry t WHERE t.device_id = o.device_id
            AND t.epoch = o.epoch AND t.flags & 2 = 0
            AND t.ts >= to_timestamp(u.from_ms / 1000.0) AND t.ts <= to_timestamp(u.to_ms / 1000.0)),
        (SELECT min(nullif(t.state_of_charge, 'NaN')) FROM telemetry_late t WHERE t.device_id = o.device_id
            AND t.epoch = o.epoch AND t.flags & 2 = 0
            AND t.ts >= to_timestamp(u.from_ms / 1000.0) AND t.ts <= to_timestamp(u.to_ms / 1000.0)))
      FROM unnest(p_from_ms, p_to_ms) WITH ORDINALITY AS u(from_ms, to_ms, place)
      LEFT JOIN ownership o ON o.device_id = p_device_id AND o.epoch = p_epoch AND o.company_id = p_company_id
     ORDER BY u.place
$$;

-- For whom the portal acts on this connection, as it says itself (cloud/postgres/acting.py): the second wall around
-- companies (cloud/postgres/rights.sql). Nothing is said: nobody's, nothing is found.
CREATE FUNCTION acting_company() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('smartconnect.company', true), '')::bigint $$;
CREATE FUNCTION acting_account() RETURNS bigint LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT nullif(current_setting('smartconnect.account', true), '')::bigint $$;
-- Whether it has said why it must look across companies.
CREATE FUNCTION acting_across() RETURNS boolean LANGUAGE sql STABLE PARALLEL SAFE AS
$$ SELECT coalesce(current_setting('smartconnect.across', true), '') <> '' $$;

REVOKE EXECUTE ON FUNCTION
    was_owned_by(bigint, bigint, bigint),
    company_samples(bigint, bigint, bigint, bigint, bigint, bigint, bigint, bigint, integer),
    company_pieces(bigint, bigint, bigint, text[], bigint, integer, bigint, bigint),
    company_stored_from(bigint, bigint, bigint),
    company_lowest_charges(bigint, bigint, bigint, bigint[], bigint[])
FROM PUBLIC;
