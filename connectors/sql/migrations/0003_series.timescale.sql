-- Time series as hypertables, a day a chunk, compressed and dropped by TimescaleDB's own jobs.

CREATE FUNCTION trading.now_ns() RETURNS bigint STABLE LANGUAGE sql
RETURN (extract(epoch FROM now()) * 1000000000)::bigint;

-- Sets the policies anew, as trading.series has them: run it after a change there. TimescaleDB does the rest.
CREATE PROCEDURE trading.maintain(days_ahead integer DEFAULT 3) LANGUAGE plpgsql AS $$
DECLARE
    kept record;
    relation regclass;
BEGIN
    FOR kept IN SELECT * FROM trading.series ORDER BY name LOOP
        relation := format('trading.%I', kept.name)::regclass;
        PERFORM remove_compression_policy(relation, if_exists => true);
        PERFORM add_compression_policy(relation, kept.compress_after_days * 86400000000000);
        PERFORM remove_retention_policy(relation, if_exists => true);
        IF kept.retain_days IS NOT NULL THEN
            PERFORM add_retention_policy(relation, kept.retain_days * 86400000000000);
        END IF;
    END LOOP;
END
$$;

CREATE EXTENSION IF NOT EXISTS timescaledb;

DO $$
DECLARE
    series text;
    relation regclass;
BEGIN
    FOR series IN SELECT name FROM trading.series LOOP
        relation := format('trading.%I', series)::regclass;
        PERFORM create_hypertable(relation, 'at_ns', chunk_time_interval => 86400000000000);
        PERFORM set_integer_now_func(relation, 'trading.now_ns');
        EXECUTE format(
            'ALTER TABLE trading.%I SET (timescaledb.compress, timescaledb.compress_segmentby = ''epoch'',
                 timescaledb.compress_orderby = ''at_ns'')',
            series
        );
    END LOOP;
    CALL trading.maintain();
END
$$;
