-- Bars of a minute out of the trades, in ticks and lots; made when they are asked for. Of one instrument a later
-- trade has the greater id.

CREATE VIEW trading.trade_bars AS
SELECT
    epoch,
    instrument,
    at_ns / 60000000000 * 60000000000 AS minute_ns,
    (array_agg(price_ticks ORDER BY trade_id))[1] AS open_ticks,
    max(price_ticks) AS high_ticks,
    min(price_ticks) AS low_ticks,
    (array_agg(price_ticks ORDER BY trade_id DESC))[1] AS close_ticks,
    sum(quantity_lots) AS quantity_lots,
    count(*) AS trade_count
FROM trading.trades
GROUP BY epoch, instrument, at_ns / 60000000000;
