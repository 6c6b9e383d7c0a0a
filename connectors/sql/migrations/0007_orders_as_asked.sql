-- An order's terms as they were asked for (event PlaceOrder): what order record keeping needs and no answer repeats.
ALTER TABLE trading.order_events
    ADD COLUMN display_quantity_lots bigint,
    ADD COLUMN minimum_quantity_lots bigint,
    ADD COLUMN post_only boolean,
    ADD COLUMN expires_at_ns bigint,
    ADD COLUMN self_trade_prevention text;
