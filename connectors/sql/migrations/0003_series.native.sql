-- Time series as native partitions, a day each, in UTC: order_events_20261125. What is of no day that was made
-- ahead goes to order_events_default, and from there to its own day when that is made: no insert ever fails.

CREATE FUNCTION trading.start_of(day date) RETURNS bigint IMMUTABLE STRICT LANGUAGE sql
RETURN (day - date '1970-01-01')::bigint * 86400000000000;

CREATE FUNCTION trading.today() RETURNS date STABLE LANGUAGE sql
RETURN (now() AT TIME ZONE 'UTC')::date;

CREATE PROCEDURE trading.make_series(series text) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE trading.%I RENAME TO shape', series);
    EXECUTE format(
        'CREATE TABLE trading.%I (LIKE trading.shape INCLUDING ALL) PARTITION BY RANGE (at_ns)', series
    );
    DROP TABLE trading.shape;
    EXECUTE format(
        'CREATE TABLE trading.%I PARTITION OF trading.%I DEFAULT', series || '_default', series
    );
    CALL trading.refuse_truncate(series || '_default');
END
$$;

CREATE PROCEDURE trading.make_partition(series text, day date) LANGUAGE plpgsql AS $$
DECLARE
    part text := series || '_' || to_char(day, 'YYYYMMDD');
    rest text := series || '_default';
    first bigint := trading.start_of(day);
    behind bigint := trading.start_of(day + 1);
BEGIN
    IF to_regclass(format('trading.%I', part)) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('LOCK TABLE trading.%I IN ACCESS EXCLUSIVE MODE', rest);
    EXECUTE format('CREATE TABLE trading.%I (LIKE trading.%I INCLUDING ALL)', part, series);
    EXECUTE format(
        'WITH moved AS (DELETE FROM trading.%I WHERE at_ns >= %s AND at_ns < %s RETURNING *)
             INSERT INTO trading.%I SELECT * FROM moved',
        rest, first, behind, part
    );
    EXECUTE format(
        'ALTER TABLE trading.%I ATTACH PARTITION trading.%I FOR VALUES FROM (%s) TO (%s)',
        series, part, first, behind
    );
    CALL trading.refuse_truncate(part);
END
$$;

CREATE FUNCTION trading.days_of(series text) RETURNS SETOF date STABLE LANGUAGE sql
BEGIN ATOMIC
    SELECT to_date(right(child.relname, 8), 'YYYYMMDD')
    FROM pg_inherits
    JOIN pg_class AS child ON child.oid = inhrelid
    WHERE inhparent = to_regclass(format('trading.%I', series)) AND child.relname ~ '_[0-9]{8}$';
END;

-- Makes the days ahead and those that rows wait for, drops what is older than is to be kept. Run it daily.
CREATE PROCEDURE trading.maintain(days_ahead integer DEFAULT 3) LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    day date;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtext('trading.maintain'));
    FOR kept IN SELECT * FROM trading.series ORDER BY name LOOP
        FOR day IN SELECT trading.today() + ahead FROM generate_series(0, days_ahead) AS ahead LOOP
            CALL trading.make_partition(kept.name, day);
        END LOOP;
        FOR day IN EXECUTE format(
            'SELECT DISTINCT trading.date_of(at_ns / 86400000000000) FROM trading.%I', kept.name || '_default'
        ) LOOP
            CALL trading.make_partition(kept.name, day);
        END LOOP;
        FOR day IN SELECT it FROM trading.days_of(kept.name) AS it
            WHERE it < trading.today() - kept.retain_days
        LOOP
            EXECUTE format('DROP TABLE trading.%I', kept.name || '_' || to_char(day, 'YYYYMMDD'));
        END LOOP;
    END LOOP;
END
$$;

DO $$
DECLARE
    series text;
BEGIN
    FOR series IN SELECT name FROM trading.series LOOP
        CALL trading.make_series(series);
    END LOOP;
    CALL trading.maintain();
END
$$;
