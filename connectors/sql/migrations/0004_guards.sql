-- What happened is written once, a state only gets newer, and each role may do what it is for.

CALL trading.make_append_only('order_events');
CALL trading.make_append_only('trades');
CALL trading.make_append_only('ledger');
CALL trading.make_append_only('settlements');
CALL trading.make_append_only('risk_events');
CALL trading.make_append_only('market_data');
CALL trading.make_append_only('dead_letters');
CALL trading.make_append_only('audit');

CALL trading.make_state('order_states');
CALL trading.make_state('positions');
CALL trading.make_state('balances');
CALL trading.make_state('reference');

-- An upsert reads what it meets. Nobody but the owner has DELETE or TRUNCATE.
GRANT SELECT, INSERT, UPDATE ON
    trading.order_events, trading.order_states, trading.trades, trading.positions, trading.balances,
    trading.ledger, trading.settlements, trading.risk_events, trading.market_data, trading.reference,
    trading.dead_letters, trading.audit
TO trading_writer;
GRANT SELECT ON
    trading.order_events, trading.order_states, trading.trades, trading.positions, trading.balances,
    trading.ledger, trading.settlements, trading.risk_events, trading.market_data, trading.reference,
    trading.dead_letters, trading.audit, trading.series, trading.migrations
TO trading_reader;
