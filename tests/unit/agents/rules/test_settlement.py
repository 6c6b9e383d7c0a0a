"""Settlement books fills and cash."""

from datetime import date
from typing import Any

import msgspec
import pytest

from agents.rules.outbox import Outbox, Place
from agents.rules.settlement import Settlement, check_settlement, settlement_day
from schemas.book_commands import Terms
from schemas.control_events import ClockTicked, InstrumentDefined
from schemas.envelopes import AccountEventItem
from schemas.events import CashDeposited, CashWithdrawn, MarkChanged, OrderFilled
from schemas.maximums import NANOSECONDS_PER_DAY, SETTLEMENTS_PER_RECORD
from schemas.record import InstrumentKind, Liquidity, Record, Side
from schemas.reference import Instrument
from schemas.settlement_events import CashReleased, VariationSettled
from schemas.topics import ACCOUNT_COMMANDS, SETTLEMENT_EVENTS, PartitionCounts
from tables.settlement import SettlementTables

P = 3
COUNTS = PartitionCounts(accounts=4, books=1)
FRIDAY = (date(2026, 1, 2) - date(1970, 1, 1)).days
NOON = FRIDAY * NANOSECONDS_PER_DAY + NANOSECONDS_PER_DAY // 2


class Desk:
    """Partition 3 of settlement, restored through the changelog's form before every item."""

    def __init__(self) -> None:
        """Starts empty."""
        self.tables = SettlementTables()
        self.trades = 0

    def send(self, item: AccountEventItem) -> list[Record]:
        """What settlement says of one item to settlement-events."""
        return self.send_all(item).get((SETTLEMENT_EVENTS, P), [])

    def send_all(self, item: AccountEventItem) -> dict[tuple[str, int], list[Record]]:
        """All that settlement says of one item."""
        tables, outbox = SettlementTables(), Outbox()
        for key, value in self.tables.entries():
            tables.load(key, value)
        Settlement(tables, COUNTS, P).apply(item, Place(P, 0, 0, item.at_ns), outbox)
        check_settlement(tables)
        self.tables = tables
        return outbox.items

    def fill(self, account: str, side: Side, quantity: int, price: int, **terms: Any) -> list[Record]:
        """A fill at NOON, T+0 spot without fees unless told."""
        self.trades += 1
        return self.send(fill(account, side, quantity, price, trade=self.trades, **terms))

    def cash(self, account: str) -> int:
        """The USD balance of an account."""
        row = self.tables.balances.get((account, "USD"))
        return row.cash_minor if row else 0

    def position(self, account: str) -> tuple[int, int, int]:
        """Lots, open cost and realised profit in X."""
        row = self.tables.positions[account, "X"]
        return row.quantity_lots, row.open_cost_minor, row.realised_profit_minor


def fill(
    account: str,
    side: Side,
    quantity: int,
    price: int,
    *,
    trade: int = 1,
    kind: InstrumentKind = "SPOT",
    liquidity: Liquidity = "TAKER",
    maker_bps: int = 0,
    taker_bps: int = 0,
    days: int = 0,
    at_ns: int = NOON,
) -> OrderFilled:
    """A fill in X, one minor unit a tick and lot."""
    return OrderFilled(
        account=account,
        client_order_id="c",
        instrument="X",
        order_id=7,
        trade_id=trade,
        side=side,
        liquidity=liquidity,
        last_price_ticks=price,
        last_quantity_lots=quantity,
        cum_quantity_lots=quantity,
        leaves_quantity_lots=0,
        terms=Terms(
            kind=kind,
            currency="USD",
            minor_per_tick_lot=1,
            maker_bps=maker_bps,
            taker_bps=taker_bps,
            settlement_days=days,
        ),
        at_ns=at_ns,
    )


def future(end_minute: int = 0) -> InstrumentDefined:
    """X as a future."""
    instrument = Instrument(
        symbol="X",
        kind="FUTURE",
        currency="USD",
        currency_exponent=2,
        tick_size_e9=10_000_000,
        lot_size_e9=1_000_000_000,
        multiplier=1,
        minor_per_tick_lot=1,
        maximum_quantity_lots=1000,
        maximum_notional_minor=10**9,
        session_end_minute_utc=end_minute,
    )
    return InstrumentDefined(instrument=instrument, at_ns=NOON)


def tick(at_ns: int) -> ClockTicked:
    """The clock."""
    return ClockTicked(tick_ns=at_ns, at_ns=at_ns)


def mark(price: int) -> MarkChanged:
    """X's mark."""
    return MarkChanged(instrument="X", price_ticks=price, at_ns=NOON)


def deposit(account: str, amount: int, *, again: bool = False) -> CashDeposited:
    """Cash comes in."""
    return CashDeposited(
        account=account,
        command_id="d",
        currency="USD",
        amount_minor=amount,
        at_ns=NOON,
        possible_resend=again,
    )


def names(items: list[Record]) -> list[str]:
    """The types of events."""
    return [type(item).__name__ for item in items]


def test_a_deposit_is_posted_against_the_world() -> None:
    """Cash comes from cash:P, which shows minus what the partition's accounts put in and did not take out."""
    desk = Desk()
    said: Any = desk.send(deposit("a", 100))
    assert names(said) == ["Posting", "BalanceChanged", "BalanceChanged"]
    assert (said[0].kind, said[0].debit_account, said[0].credit_account) == ("DEPOSIT", "cash:3", "a")
    out = CashWithdrawn(account="a", command_id="w", currency="USD", amount_minor=30, at_ns=NOON)
    said = desk.send(out)
    assert (said[0].kind, said[0].debit_account, said[0].credit_account) == ("WITHDRAWAL", "a", "cash:3")
    assert (desk.cash("a"), desk.cash("cash:3")) == (70, -70)


def test_a_repeated_answer_moves_no_cash() -> None:
    """Risk's first outcome said again is no second deposit."""
    desk = Desk()
    desk.send(deposit("a", 100))
    assert not desk.send(deposit("a", 100, again=True))
    assert desk.cash("a") == 100


def test_a_purchase_moves_cash_position_and_fee() -> None:
    """A fill is confirmed, owed, held and paid, its postings numbered without a gap."""
    desk = Desk()
    said: Any = desk.fill("a", "BUY", 3, 100, taker_bps=10)
    assert names(said) == [
        "TradeConfirmed",
        "ObligationCreated",
        "PositionChanged",
        "Posting",
        "Posting",
        "BalanceChanged",
        "BalanceChanged",
        "BalanceChanged",
    ]
    confirmed, obligation, position, trade, fee = said[:5]
    assert (confirmed.notional_minor, confirmed.fee_minor, confirmed.settlement_day) == (300, 1, FRIDAY)
    assert (obligation.receive_quantity_lots, obligation.deliver_minor) == (3, 300)
    assert (obligation.deliver_quantity_lots, obligation.receive_minor) == (0, 0)
    assert (position.quantity_lots, position.open_cost_minor, position.version) == (3, 300, 1)
    assert (trade.kind, trade.debit_account, trade.credit_account) == ("TRADE", "a", "clearing:3")
    assert (fee.kind, fee.debit_account, fee.credit_account, fee.amount_minor) == ("FEE", "a", "house:3", 1)
    assert fee.posting_id - trade.posting_id == 1
    assert [desk.cash(name) for name in ("a", "clearing:3", "house:3")] == [-301, 300, 1]


def test_a_rebate_comes_from_the_house() -> None:
    """A maker's negative rate is posted the other way, floored."""
    desk = Desk()
    said: Any = desk.fill("a", "SELL", 3, 100, maker_bps=-50, liquidity="MAKER")
    rebate = next(item for item in said if getattr(item, "kind", "") == "REBATE")
    assert (rebate.debit_account, rebate.credit_account, rebate.amount_minor) == ("house:3", "a", 1)
    assert desk.cash("a") == 301


def test_both_legs_leave_clearing_at_zero() -> None:
    """What the buyer paid, the seller got; closing at another price realises the difference."""
    desk = Desk()
    desk.fill("a", "BUY", 3, 100)
    desk.fill("b", "SELL", 3, 100)
    assert desk.cash("clearing:3") == 0
    desk.fill("a", "SELL", 5, 110)
    assert desk.position("a") == (-2, -220, 30)


def test_a_fill_before_its_deposit_is_booked() -> None:
    """No order between origins is assumed: cash may be negative for a moment."""
    desk = Desk()
    desk.fill("a", "BUY", 1, 100)
    desk.send(deposit("a", 100))
    assert desk.cash("a") == 0


def test_receipts_wait_for_their_settlement_day() -> None:
    """T+1 from a Friday is the Monday: then one release for all of the day is said, to risk too."""
    desk = Desk()
    desk.fill("a", "SELL", 1, 100, days=1)
    desk.fill("a", "SELL", 2, 100, days=1, taker_bps=100)
    desk.fill("a", "BUY", 1, 50, days=1)
    assert desk.tables.balances["a", "USD"].unsettled_minor == 298
    monday = (FRIDAY + 3) * NANOSECONDS_PER_DAY
    assert not desk.send(tick(monday - 1))
    said = desk.send_all(tick(monday))
    released = CashReleased(
        account="a", currency="USD", settlement_day=FRIDAY + 3, amount_minor=298, at_ns=monday
    )
    assert said[ACCOUNT_COMMANDS, P] == [released]
    assert names(said[SETTLEMENT_EVENTS, P]) == ["CashReleased", "BalanceChanged"]
    assert desk.tables.balances["a", "USD"].unsettled_minor == 0
    assert desk.cash("a") == 248
    assert not desk.send(tick(monday + 1))


def test_a_fill_after_its_settlement_day_is_released_at_the_next_tick() -> None:
    """A fill that comes late is not forgotten."""
    desk = Desk()
    later = NOON + 7 * NANOSECONDS_PER_DAY
    desk.send(tick(later))
    desk.fill("a", "SELL", 1, 100, days=2)
    assert names(desk.send(tick(later + 1))) == ["CashReleased", "BalanceChanged"]


@pytest.mark.parametrize(
    ("day", "days", "settles"),
    [
        ((2026, 1, 2), 0, (2026, 1, 2)),  # Friday
        ((2026, 1, 2), 1, (2026, 1, 5)),
        ((2026, 1, 2), 2, (2026, 1, 6)),
        ((2026, 1, 3), 0, (2026, 1, 3)),  # Saturday
        ((2026, 1, 3), 1, (2026, 1, 5)),
        ((2026, 1, 4), 2, (2026, 1, 6)),
        ((2026, 1, 5), 2, (2026, 1, 7)),
        ((1970, 1, 1), 2, (1970, 1, 5)),
    ],
)
def test_settlement_days_are_weekdays(
    day: tuple[int, int, int], days: int, settles: tuple[int, int, int]
) -> None:
    """T+n counts weekdays; T+0 is the day itself."""
    epoch = date(1970, 1, 1)
    at_ns = (date(*day) - epoch).days * NANOSECONDS_PER_DAY
    for moment in (at_ns, at_ns + NANOSECONDS_PER_DAY - 1):
        assert settlement_day(moment, days) == (date(*settles) - epoch).days


def test_a_future_moves_only_profit() -> None:
    """A fill of a future posts nothing until it closes something, and owes no delivery."""
    desk = Desk()
    assert names(desk.fill("a", "BUY", 3, 100, kind="FUTURE")) == ["TradeConfirmed", "PositionChanged"]
    desk.fill("a", "SELL", 1, 90, kind="FUTURE")
    assert (desk.cash("a"), desk.cash("clearing:3")) == (-10, 10)


@pytest.mark.parametrize("end_minute", [0, 17 * 60])
def test_variation_is_posted_at_session_end(end_minute: int) -> None:
    """The first tick at or after the session end posts mark x quantity - cost, once, and tells risk."""
    desk = Desk()
    desk.send(tick(NOON))
    desk.fill("a", "BUY", 3, 100, kind="FUTURE")
    desk.fill("b", "SELL", 3, 100, kind="FUTURE")
    desk.send(future(end_minute))  # the definition may come after the fills
    desk.send(mark(110))
    end = NOON + NANOSECONDS_PER_DAY // 2 if end_minute == 0 else NOON + 5 * 3600 * 10**9
    assert not desk.send(tick(end - 1))
    said = desk.send_all(tick(end))
    amounts = [
        (item.account, item.amount_minor)
        for item in said[ACCOUNT_COMMANDS, P]
        if isinstance(item, VariationSettled)
    ]
    assert amounts == [("a", 30), ("b", -30)]
    assert [desk.cash(name) for name in ("a", "b", "clearing:3")] == [30, -30, 0]
    assert desk.position("a") == (3, 330, 30)
    assert desk.position("b") == (-3, -330, -30)
    assert not desk.send(tick(end + 1))
    assert not desk.send(tick(end + NANOSECONDS_PER_DAY))  # the mark is where it was
    desk.fill("a", "SELL", 3, 120, kind="FUTURE")
    assert desk.position("a") == (0, 0, 60)
    assert desk.cash("a") == 60


def test_sessions_that_end_on_one_tick_are_settled_once() -> None:
    """A clock that jumps over a week posts one variation; the first tick of all ends no session."""
    desk = Desk()
    desk.send(future())
    desk.send(mark(110))
    desk.fill("a", "BUY", 1, 100, kind="FUTURE")
    assert not desk.send(tick(NOON))
    said = desk.send(tick(NOON + 7 * NANOSECONDS_PER_DAY))
    assert names(said).count("VariationSettled") == 1


def test_many_holders_are_settled_over_several_ticks() -> None:
    """One record holds so many settlements at most; the next tick goes on, at the mark of the session end."""
    tables = SettlementTables()
    rules = Settlement(tables, COUNTS, P)
    count = SETTLEMENTS_PER_RECORD + 10

    def send(item: AccountEventItem) -> list[Record]:
        outbox = Outbox()
        rules.apply(item, Place(P, 0, 0, NOON), outbox)
        return outbox.items.get((ACCOUNT_COMMANDS, P), [])

    send(tick(NOON))
    send(future())
    send(mark(110))
    for number in range(count):
        send(fill(f"{number:04}", "BUY", 1, 100, kind="FUTURE"))
        send(msgspec.structs.replace(fill(f"{number:04}", "SELL", 1, 5, days=1), instrument="S"))
    said: list[Any] = []
    for _ in range(4):
        said.append(send(tick(NOON + 3 * NANOSECONDS_PER_DAY + len(said))))
        send(mark(120))
    assert [len(items) for items in said] == [SETTLEMENTS_PER_RECORD, SETTLEMENTS_PER_RECORD, 20, 0]
    settled = [item for items in said for item in items if isinstance(item, VariationSettled)]
    assert [item.account for item in settled] == [f"{number:04}" for number in range(count)]
    assert {item.mark_price_ticks for item in settled} == {110}
    check_settlement(tables)
