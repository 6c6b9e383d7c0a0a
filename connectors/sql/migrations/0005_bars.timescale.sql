-- Bars of a minute out of the trades, in ticks and lots, kept up to date by TimescaleDB. Of one instrument a later
-- trade has the greater id.

CREATE MATERIALIZED VIEW trading.trade_bars WITH (timescaledb.continuous) AS
SELECT
    epoch,
    instrument,
    time_bucket(60000000000::bigint, at_ns) AS minute_ns,
    first(price_ticks, trade_id) AS open_ticks,
    max(price_ticks) AS high_ticks,
    min(price_ticks) AS low_ticks,
    last(price_ticks, trade_id) AS close_ticks,
    sum(quantity_lots) AS quantity_lots,
    count(*) AS trade_count
FROM trading.trades
GROUP BY epoch, instrument, time_bucket(60000000000::bigint, at_ns)
WITH NO DATA;

ALTER MATERIALIZED VIEW trading.trade_bars SET (timescaledb.materialized_only = false);
SELECT add_continuous_aggregate_policy(
    'trading.trade_bars',
    start_offset => 3 * 86400000000000,
    end_offset => 60000000000,
    schedule_interval => interval '1 minute'
);
