-- For people: prices, quantities and money in their own units, times as timestamps. A row whose instrument or
-- currency has no definition here yet shows null in its place.

CREATE VIEW trading.instruments AS
SELECT
    epoch, name AS instrument, currency, currency_exponent, tick_size_e9, lot_size_e9, minor_per_tick_lot,
    definition::jsonb AS definition, trading.moment(at_ns) AS defined_at
FROM trading.reference
WHERE kind = 'INSTRUMENT';

CREATE VIEW trading.accounts AS
SELECT
    account.epoch, account.name AS account, account.definition::jsonb AS definition,
    limits.definition::jsonb AS limits, trading.moment(account.at_ns) AS defined_at
FROM trading.reference AS account
LEFT JOIN trading.reference AS limits
    ON limits.epoch = account.epoch AND limits.name = account.name AND limits.kind = 'LIMITS'
WHERE account.kind = 'ACCOUNT';

CREATE VIEW trading.currencies AS
SELECT DISTINCT epoch, currency, currency_exponent FROM trading.instruments;

CREATE VIEW trading.orders_decimal AS
SELECT
    o.epoch, o.order_id, o.account, o.client_order_id, o.instrument, o.side, o.order_type, o.time_in_force, o.state,
    trading.units(o.price_ticks, i.tick_size_e9) AS price,
    trading.units(o.stop_price_ticks, i.tick_size_e9) AS stop_price,
    trading.units(o.quantity_lots, i.lot_size_e9) AS quantity,
    trading.units(o.cum_quantity_lots, i.lot_size_e9) AS cum_quantity,
    trading.units(o.leaves_quantity_lots, i.lot_size_e9) AS leaves_quantity,
    o.reason, trading.moment(o.accepted_at_ns) AS accepted_at, trading.moment(o.at_ns) AS at
FROM trading.order_states AS o
LEFT JOIN trading.instruments AS i USING (epoch, instrument);

CREATE VIEW trading.order_events_decimal AS
SELECT
    o.epoch, o.origin, o.partition, o.sequence, o.item, trading.moment(o.at_ns) AS at, o.event, o.account,
    o.client_order_id, o.original_client_order_id, o.command_id, o.instrument, o.order_id, o.trade_id, o.side,
    o.order_type, o.time_in_force, o.liquidity,
    trading.units(o.price_ticks, i.tick_size_e9) AS price,
    trading.units(o.stop_price_ticks, i.tick_size_e9) AS stop_price,
    trading.units(o.trigger_price_ticks, i.tick_size_e9) AS trigger_price,
    trading.units(o.last_price_ticks, i.tick_size_e9) AS last_price,
    trading.units(o.last_quantity_lots, i.lot_size_e9) AS last_quantity,
    trading.units(o.quantity_lots, i.lot_size_e9) AS quantity,
    trading.units(o.cum_quantity_lots, i.lot_size_e9) AS cum_quantity,
    trading.units(o.leaves_quantity_lots, i.lot_size_e9) AS leaves_quantity,
    trading.units(o.cancelled_quantity_lots, i.lot_size_e9) AS cancelled_quantity,
    o.currency, trading.money(o.amount_minor, c.currency_exponent) AS amount,
    o.order_count, o.reason, o.detail, o.possible_resend
FROM trading.order_events AS o
LEFT JOIN trading.instruments AS i USING (epoch, instrument)
LEFT JOIN trading.currencies AS c ON c.epoch = o.epoch AND c.currency = o.currency;

CREATE VIEW trading.trades_decimal AS
SELECT
    t.epoch, t.trade_id, trading.moment(t.at_ns) AS at, t.instrument, i.currency,
    trading.units(t.price_ticks, i.tick_size_e9) AS price,
    trading.units(t.quantity_lots, i.lot_size_e9) AS quantity,
    trading.money(
        t.price_ticks::numeric * t.quantity_lots * i.minor_per_tick_lot, i.currency_exponent
    ) AS notional,
    t.aggressor_side, t.maker_account, t.maker_client_order_id, t.maker_order_id,
    t.taker_account, t.taker_client_order_id, t.taker_order_id
FROM trading.trades AS t
LEFT JOIN trading.instruments AS i USING (epoch, instrument);

CREATE VIEW trading.positions_decimal AS
SELECT
    p.epoch, p.account, p.instrument, p.currency,
    trading.units(p.quantity_lots, i.lot_size_e9) AS quantity,
    trading.money(p.open_cost_minor, i.currency_exponent) AS open_cost,
    trading.money(p.realised_profit_minor, i.currency_exponent) AS realised_profit,
    trading.moment(p.at_ns) AS at
FROM trading.positions AS p
LEFT JOIN trading.instruments AS i USING (epoch, instrument);

CREATE VIEW trading.balances_decimal AS
SELECT
    b.epoch, b.account, b.currency,
    trading.money(b.cash_minor, c.currency_exponent) AS cash,
    trading.money(b.unsettled_minor, c.currency_exponent) AS unsettled,
    trading.moment(b.at_ns) AS at
FROM trading.balances AS b
LEFT JOIN trading.currencies AS c USING (epoch, currency);

CREATE VIEW trading.ledger_decimal AS
SELECT
    l.epoch, l.posting_id, trading.moment(l.at_ns) AS at, l.kind, l.debit_account, l.credit_account, l.currency,
    trading.money(l.amount_minor, c.currency_exponent) AS amount, l.source_id
FROM trading.ledger AS l
LEFT JOIN trading.currencies AS c USING (epoch, currency);

CREATE VIEW trading.settlements_decimal AS
SELECT
    s.epoch, s.origin, s.partition, s.sequence, s.item, trading.moment(s.at_ns) AS at, s.event, s.account,
    s.instrument, s.currency, s.trade_id, s.order_id, s.client_order_id, s.side, s.liquidity,
    trading.units(s.price_ticks, i.tick_size_e9) AS price,
    trading.units(s.quantity_lots, i.lot_size_e9) AS quantity,
    trading.money(s.notional_minor, c.currency_exponent) AS notional,
    trading.money(s.fee_minor, c.currency_exponent) AS fee,
    trading.money(s.realised_profit_minor, c.currency_exponent) AS realised_profit,
    trading.date_of(s.settlement_day) AS settlement_date,
    trading.units(s.receive_quantity_lots, i.lot_size_e9) AS receive_quantity,
    trading.units(s.deliver_quantity_lots, i.lot_size_e9) AS deliver_quantity,
    trading.money(s.receive_minor, c.currency_exponent) AS receive_amount,
    trading.money(s.deliver_minor, c.currency_exponent) AS deliver_amount,
    trading.money(s.amount_minor, c.currency_exponent) AS amount,
    trading.units(s.mark_price_ticks, i.tick_size_e9) AS mark_price,
    trading.moment(s.session_end_ns) AS session_end
FROM trading.settlements AS s
LEFT JOIN trading.instruments AS i USING (epoch, instrument)
LEFT JOIN trading.currencies AS c ON c.epoch = s.epoch AND c.currency = s.currency;

CREATE VIEW trading.risk_events_decimal AS
SELECT
    r.epoch, r.origin, r.partition, r.sequence, r.item, trading.moment(r.at_ns) AS at, r.event, r.account,
    r.instrument, r.side, r.currency,
    trading.money(r.equity_minor, c.currency_exponent) AS equity,
    trading.money(r.required_minor, c.currency_exponent) AS required,
    r.allow_reducing, r.rules_version, r.command_id, r.command, r.reason, r.detail, r.possible_resend
FROM trading.risk_events AS r
LEFT JOIN trading.currencies AS c USING (epoch, currency);

CREATE VIEW trading.market_data_decimal AS
SELECT
    m.epoch, m.origin, m.partition, m.sequence, m.item, trading.moment(m.at_ns) AS at, m.event, m.instrument,
    m.side,
    trading.units(m.price_ticks, i.tick_size_e9) AS price,
    trading.units(m.quantity_lots, i.lot_size_e9) AS quantity,
    m.order_count
FROM trading.market_data AS m
LEFT JOIN trading.instruments AS i USING (epoch, instrument);

CREATE VIEW trading.trade_bars_decimal AS
SELECT
    b.epoch, b.instrument, trading.moment(b.minute_ns) AS minute,
    trading.units(b.open_ticks, i.tick_size_e9) AS open,
    trading.units(b.high_ticks, i.tick_size_e9) AS high,
    trading.units(b.low_ticks, i.tick_size_e9) AS low,
    trading.units(b.close_ticks, i.tick_size_e9) AS close,
    trading.units(b.quantity_lots, i.lot_size_e9) AS quantity,
    b.trade_count
FROM trading.trade_bars AS b
LEFT JOIN trading.instruments AS i USING (epoch, instrument);

GRANT SELECT ON
    trading.instruments, trading.accounts, trading.currencies, trading.orders_decimal, trading.order_events_decimal,
    trading.trades_decimal, trading.positions_decimal, trading.balances_decimal, trading.ledger_decimal,
    trading.settlements_decimal, trading.risk_events_decimal, trading.market_data_decimal, trading.trade_bars,
    trading.trade_bars_decimal
TO trading_reader;
