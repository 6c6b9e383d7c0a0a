from infra.demo.collector import Collector
from infra.demo.plain_book import Level
from schemas.commands import PlaceOrder
from schemas.envelopes import AccountCommands, AccountEvents, MarketData, Origin, SettlementEvents
from schemas.events import LevelChanged, OrderCancelled, OrderRejected
from schemas.record import Side
from schemas.settlement_events import BalanceChanged, PositionChanged


def rejected(name: str) -> OrderRejected:
    """A refusal of one order."""
    return OrderRejected(
        account="a",
        client_order_id=name,
        instrument="X",
        order_id=1,
        reason="post_only_would_trade",
        reason_code=200,
        at_ns=0,
    )


def said(sequence: int, name: str) -> AccountEvents:
    """A record of matching with one refusal."""
    return AccountEvents(
        items=(rejected(name),), origin=Origin(stage="matching", partition=0, sequence=sequence, chain=0)
    )


def level(side: Side, price_ticks: int, quantity_lots: int) -> LevelChanged:
    """A change of one level."""
    return LevelChanged(
        instrument="X",
        side=side,
        price_ticks=price_ticks,
        quantity_lots=quantity_lots,
        order_count=1,
        at_ns=0,
    )


def balance(account: str, cash_minor: int) -> BalanceChanged:
    """The cash of an account."""
    return BalanceChanged(
        account=account, currency="USD", cash_minor=cash_minor, unsettled_minor=0, version=1, at_ns=0
    )


def position(account: str, quantity_lots: int) -> PositionChanged:
    """The holding of an account."""
    return PositionChanged(
        account=account,
        instrument="X",
        currency="USD",
        quantity_lots=quantity_lots,
        open_cost_minor=0,
        realised_profit_minor=0,
        version=1,
        at_ns=0,
    )


def test_a_repeat_is_counted_and_changes_nothing() -> None:
    """A sequence that was seen is dropped, per origin and partition; one that is skipped is a gap."""
    collector = Collector()
    collector.take("account-events", 0, said(0, "1"), 10)
    collector.take("account-events", 0, said(0, "other"), 20)
    collector.take("account-events", 1, said(0, "2"), 30)
    assert collector.refusals == {"1": "post_only_would_trade", "2": "post_only_would_trade"}
    assert collector.answered_ns == {"1": 10, "2": 30}
    assert (collector.repeats["matching"], collector.gaps.total()) == (1, 0)
    collector.take("account-events", 0, said(2, "3"), 40)
    assert collector.gaps["matching"] == 1


def test_a_command_that_intake_sends_twice_is_its_repeat() -> None:
    """An edge's records have no origin: its repeats are those of command ids."""
    collector = Collector()
    order = PlaceOrder(
        account="a",
        client_order_id="1",
        instrument="X",
        side="BUY",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=1,
        price_ticks=1,
    )
    collector.take("account-commands", 0, AccountCommands(items=(order,)), 0)
    collector.take("account-commands", 0, AccountCommands(items=(order,)), 0)
    assert collector.repeats["intake"] == 1
    assert not collector.answered_ns


def test_a_cancel_is_answered_by_the_cancelled_order() -> None:
    """The event that ends an order names the command that did it."""
    collector = Collector()
    event = OrderCancelled(
        account="a",
        client_order_id="1",
        instrument="X",
        order_id=1,
        reason="requested",
        reason_code=300,
        command_id="1/cancel",
        cancelled_quantity_lots=1,
        cum_quantity_lots=0,
        at_ns=0,
    )
    collector.take("account-events", 0, AccountEvents(items=(event,)), 7)
    assert collector.answered_ns == {"1/cancel": 7}


def test_the_book_is_the_last_word_on_each_level() -> None:
    """A level at zero is gone; the best levels come first on both sides."""
    collector = Collector()
    changes = (level("BUY", 99, 5), level("BUY", 98, 1), level("SELL", 101, 2), level("SELL", 102, 3))
    collector.take("market-data", 0, MarketData(items=changes), 0)
    collector.take("market-data", 0, MarketData(items=(level("SELL", 101, 0),)), 0)
    assert collector.book(1) == {"BUY": (Level(99, 5),), "SELL": (Level(102, 3),)}


def test_cash_is_summed_by_whose_it_is() -> None:
    """The house, clearing and the world outside stand apart from the accounts."""
    collector = Collector()
    items = (
        position("a", 3),
        position("b", -3),
        balance("a", 60),
        balance("b", 38),
        balance("house:0", 2),
        balance("clearing:0", 5),
        balance("clearing:1", -5),
        balance("cash:0", -100),
    )
    collector.take("settlement-events", 0, SettlementEvents(items=items), 0)
    money = collector.money(100)
    assert (money.accounts_holding, money.gross_position_lots, money.net_position_lots) == (2, 6, 0)
    assert (money.accounts_cash_minor, money.house_cash_minor) == (98, 2)
    assert (money.clearing_cash_minor, money.outside_cash_minor) == (0, -100)
