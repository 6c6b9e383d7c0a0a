-- The tables as the records of schemas/flat.py: a field a column, under the same name. Times are nanoseconds since
-- 1970, prices ticks, quantities lots, money minor units; the views turn them into numeric.

-- What accounts were told: orders, other commands, cash.
CREATE TABLE trading.order_events (
    epoch bigint NOT NULL,
    origin text NOT NULL,
    partition bigint NOT NULL,
    sequence bigint NOT NULL,
    item bigint NOT NULL,
    event text NOT NULL,
    at_ns bigint NOT NULL,
    account text,
    client_order_id text,
    original_client_order_id text,
    command_id text,
    instrument text,
    order_id bigint,
    trade_id bigint,
    side text,
    order_type text,
    time_in_force text,
    liquidity text,
    price_ticks bigint,
    stop_price_ticks bigint,
    trigger_price_ticks bigint,
    last_price_ticks bigint,
    last_quantity_lots bigint,
    quantity_lots bigint,
    cum_quantity_lots bigint,
    leaves_quantity_lots bigint,
    reduced_quantity_lots bigint,
    cancelled_quantity_lots bigint,
    currency text,
    amount_minor bigint,
    order_count bigint,
    reason text,
    reason_code bigint,
    detail text,
    possible_resend boolean NOT NULL,
    PRIMARY KEY (at_ns, epoch, origin, partition, sequence, item)
);

-- The Orders DB: the latest state of each order that was accepted.
CREATE TABLE trading.order_states (
    epoch bigint NOT NULL,
    order_id bigint NOT NULL,
    version bigint NOT NULL,
    account text NOT NULL,
    client_order_id text NOT NULL,
    instrument text NOT NULL,
    side text NOT NULL,
    order_type text NOT NULL,
    time_in_force text NOT NULL,
    state text NOT NULL,
    price_ticks bigint,
    stop_price_ticks bigint,
    quantity_lots bigint NOT NULL,
    cum_quantity_lots bigint NOT NULL,
    leaves_quantity_lots bigint NOT NULL,
    reason text,
    accepted_at_ns bigint NOT NULL,
    at_ns bigint NOT NULL,
    PRIMARY KEY (epoch, order_id)
);

CREATE TABLE trading.trades (
    epoch bigint NOT NULL,
    trade_id bigint NOT NULL,
    instrument text NOT NULL,
    price_ticks bigint NOT NULL,
    quantity_lots bigint NOT NULL,
    aggressor_side text NOT NULL,
    maker_order_id bigint NOT NULL,
    maker_client_order_id text NOT NULL,
    maker_account text NOT NULL,
    taker_order_id bigint NOT NULL,
    taker_client_order_id text NOT NULL,
    taker_account text NOT NULL,
    at_ns bigint NOT NULL,
    PRIMARY KEY (at_ns, epoch, trade_id)
);

-- The Positions DB: what accounts hold now.
CREATE TABLE trading.positions (
    epoch bigint NOT NULL,
    account text NOT NULL,
    instrument text NOT NULL,
    version bigint NOT NULL,
    currency text NOT NULL,
    quantity_lots bigint NOT NULL,
    open_cost_minor bigint NOT NULL,
    realised_profit_minor bigint NOT NULL,
    at_ns bigint NOT NULL,
    PRIMARY KEY (epoch, account, instrument)
);

CREATE TABLE trading.balances (
    epoch bigint NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    version bigint NOT NULL,
    cash_minor bigint NOT NULL,
    unsettled_minor bigint NOT NULL,
    at_ns bigint NOT NULL,
    PRIMARY KEY (epoch, account, currency)
);

CREATE TABLE trading.ledger (
    epoch bigint NOT NULL,
    posting_id bigint NOT NULL,
    kind text NOT NULL,
    debit_account text NOT NULL,
    credit_account text NOT NULL,
    currency text NOT NULL,
    amount_minor bigint NOT NULL,
    source_id text NOT NULL,
    at_ns bigint NOT NULL,
    PRIMARY KEY (at_ns, epoch, posting_id)
);

-- Confirmations, obligations, cash released, variations.
CREATE TABLE trading.settlements (
    epoch bigint NOT NULL,
    origin text NOT NULL,
    partition bigint NOT NULL,
    sequence bigint NOT NULL,
    item bigint NOT NULL,
    event text NOT NULL,
    at_ns bigint NOT NULL,
    account text NOT NULL,
    currency text NOT NULL,
    instrument text,
    trade_id bigint,
    order_id bigint,
    client_order_id text,
    side text,
    liquidity text,
    price_ticks bigint,
    quantity_lots bigint,
    notional_minor bigint,
    fee_minor bigint,
    realised_profit_minor bigint,
    settlement_day bigint,
    receive_quantity_lots bigint,
    deliver_quantity_lots bigint,
    receive_minor bigint,
    deliver_minor bigint,
    amount_minor bigint,
    mark_price_ticks bigint,
    session_end_ns bigint,
    PRIMARY KEY (at_ns, epoch, origin, partition, sequence, item)
);

-- Margin, halts, kills, control's answers to operators.
CREATE TABLE trading.risk_events (
    epoch bigint NOT NULL,
    origin text NOT NULL,
    partition bigint NOT NULL,
    sequence bigint NOT NULL,
    item bigint NOT NULL,
    event text NOT NULL,
    at_ns bigint NOT NULL,
    account text,
    instrument text,
    side text,
    currency text,
    equity_minor bigint,
    required_minor bigint,
    allow_reducing boolean,
    rules_version bigint,
    command_id text,
    command text,
    reason text,
    reason_code bigint,
    detail text,
    possible_resend boolean NOT NULL,
    PRIMARY KEY (at_ns, epoch, origin, partition, sequence, item)
);

CREATE TABLE trading.market_data (
    epoch bigint NOT NULL,
    origin text NOT NULL,
    partition bigint NOT NULL,
    sequence bigint NOT NULL,
    item bigint NOT NULL,
    event text NOT NULL,
    at_ns bigint NOT NULL,
    instrument text NOT NULL,
    price_ticks bigint NOT NULL,
    side text,
    quantity_lots bigint,
    order_count bigint,
    PRIMARY KEY (at_ns, epoch, origin, partition, sequence, item)
);

-- Definitions in force; the columns after `definition` are an instrument's units.
CREATE TABLE trading.reference (
    epoch bigint NOT NULL,
    kind text NOT NULL,
    name text NOT NULL,
    version bigint NOT NULL,
    definition text NOT NULL,
    currency text,
    currency_exponent bigint,
    tick_size_e9 bigint,
    lot_size_e9 bigint,
    minor_per_tick_lot bigint,
    at_ns bigint NOT NULL,
    PRIMARY KEY (epoch, kind, name)
);

-- What came from outside and could not be read.
CREATE TABLE trading.dead_letters (
    epoch bigint NOT NULL,
    source_topic text NOT NULL,
    source_partition bigint NOT NULL,
    source_offset bigint NOT NULL,
    reason text NOT NULL,
    reason_code bigint NOT NULL,
    detail text NOT NULL,
    source_key bytea,
    source_value bytea,
    at_ns bigint NOT NULL,
    PRIMARY KEY (at_ns, epoch, source_topic, source_partition, source_offset)
);

-- Who did what to the engine (schemas/audit.py): few rows, so no series.
CREATE TABLE trading.audit (
    act_id text NOT NULL,
    outcome text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    operator text NOT NULL,
    os_user text NOT NULL,
    host text NOT NULL,
    program text NOT NULL,
    command_id text,
    details text,
    before text,
    after text,
    reason text,
    note text,
    at_ns bigint NOT NULL,
    PRIMARY KEY (act_id, outcome)
);

CREATE INDEX ON trading.order_events (order_id);
CREATE INDEX ON trading.order_events (account, at_ns);
CREATE INDEX ON trading.order_states (account, state);
CREATE INDEX ON trading.trades (instrument, at_ns);
CREATE INDEX ON trading.trades (trade_id);
CREATE INDEX ON trading.ledger (source_id);
CREATE INDEX ON trading.settlements (account, at_ns);
CREATE INDEX ON trading.settlements (trade_id);
CREATE INDEX ON trading.market_data (instrument, at_ns);

-- The time series, all by at_ns, a day a piece. What is to be kept for how long is an operator's to change here.
CREATE TABLE trading.series (
    name text PRIMARY KEY,
    retain_days integer, -- null: for ever
    compress_after_days integer NOT NULL DEFAULT 7 -- where TimescaleDB is
);
INSERT INTO trading.series (name, retain_days) VALUES
    ('order_events', NULL),
    ('trades', NULL),
    ('ledger', NULL),
    ('settlements', NULL),
    ('risk_events', NULL),
    ('market_data', 30),
    ('dead_letters', NULL);
