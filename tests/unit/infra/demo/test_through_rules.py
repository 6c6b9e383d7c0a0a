from collections.abc import Sequence

import pytest

from agents.rules.intake import refusal
from agents.rules.pipeline import Pipeline
from infra.demo.accounts import mark, reference
from infra.demo.collector import TOPICS, Collector
from infra.demo.compare import compare_books, compare_refusals, compare_trades
from infra.demo.session import Session
from schemas.envelopes import AccountEvents
from schemas.record import Record
from schemas.topics import CHANNELS, PartitionCounts


@pytest.mark.slow
def test_all_rules_together_repeat_the_session(sample: Session) -> None:
    """Intake's, risk's, matching's and settlement's rules make the plain book's trades, and lose no cash."""
    collector = Collector()

    def watch(channel: str, partition: int, said: Sequence[Record]) -> None:
        record = AccountEvents(items=tuple(said))  # type: ignore[arg-type]  # the collector looks at items only
        for topic in CHANNELS[channel].topics:
            if topic in TOPICS:
                collector.take(topic, partition, record, 0)

    pipeline = Pipeline(PartitionCounts(accounts=4, books=2), watch)
    opened_at_ns = sample.opened_at_ns
    pipeline.send(*reference(opened_at_ns))
    pipeline.send(mark(sample.opening_mark_ticks, opened_at_ns))
    pipeline.send(*sample.deposits)
    refused = {each.client_order_id: fault[0] for each in sample.commands if (fault := refusal(each))}
    for command in sample.commands:
        if command.client_order_id not in refused:
            pipeline.send(command)

    refusals = collector.refusals | refused
    trades = compare_trades(sample, collector.trades, refusals)
    assert (trades.recorded, trades.made, trades.exact, len(trades.made_up)) == (284, 282, 281, 1)
    assert trades.unlike_plain_book == ()
    found = compare_refusals(sample, refusals)
    assert found.crossing_in_both == found.crossing_recorded == 100_518
    assert found.by_reason == {
        "post_only_would_trade": 100_518,
        "number_out_of_range": 24,
        "insufficient_margin": 1,
    }
    assert found.unexplained == 0
    assert not collector.cancel_refusals
    assert all(row.recorded == row.engine for row in compare_books(sample, collector.book(10)))
    money = collector.money(sum(deposit.amount_minor for deposit in sample.deposits))
    assert collector.confirmed == collector.fills == 2 * 282
    assert money.net_position_lots == money.clearing_cash_minor == 0
    assert money.accounts_cash_minor + money.house_cash_minor == money.deposited_minor
    assert money.outside_cash_minor == -money.deposited_minor
