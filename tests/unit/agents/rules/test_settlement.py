"""Settlement books fills and cash."""

from datetime import date
from typing import Any, get_args

import msgspec
import pytest

from agents.rules.outbox import Outbox, Place
from agents.rules.settlement import HANDLERS, Settlement, check_settlement, settlement_day
from schemas.book_commands import Terms
from schemas.control_events import ClockTicked
from schemas.envelopes import AccountEventItem
from schemas.events import CashDeposited, CashWithdrawn, MarkChanged, OrderFilled, SessionEnded
from schemas.maximums import NANOSECONDS_PER_DAY, SETTLEMENTS_PER_RECORD
from schemas.record import InstrumentKind, Liquidity, Record, Side
from schemas.settlement_events import CashReleased, VariationSettled
from schemas.topics import ACCOUNT_COMMANDS, SETTLEMENT_EVENTS, PartitionCounts
from tables.settlement import SettlementTables

P = 3
COUNTS = PartitionCounts(accounts=4, books=1)
FRIDAY = (date(2026, 1, 2) - date(1970, 1, 1)).days
NOON = FRIDAY * NANOSECONDS_PER_DAY + NANOSECONDS_PER_DAY // 2
END = (FRIDAY + 1) * NANOSECONDS_PER_DAY


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


def ended(price: int, days: int = 0) -> SessionEnded:
    """X's session ends at a mark, so many days after FRIDAY."""
    end_ns = END + days * NANOSECONDS_PER_DAY
    return SessionEnded(instrument="X", mark_price_ticks=price, session_end_ns=end_ns, at_ns=end_ns)


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


@pytest.mark.parametrize("side", ["BUY", "SELL"])
def test_variation_is_posted_at_session_end(side: Side) -> None:
    """Mark x quantity - cost goes from clearing to the holder, or from him; risk hears nothing of it from here."""
    desk, sign = Desk(), 1 if side == "BUY" else -1
    desk.fill("a", side, 3, 100, kind="FUTURE")
    said = desk.send_all(ended(110))
    assert list(said) == [(SETTLEMENT_EVENTS, P)]
    assert said[SETTLEMENT_EVENTS, P][0] == VariationSettled(
        account="a",
        instrument="X",
        currency="USD",
        mark_price_ticks=110,
        session_end_ns=END,
        amount_minor=sign * 30,
        at_ns=END,
    )
    assert names(said[SETTLEMENT_EVENTS, P][1:]) == [
        "Posting",
        "PositionChanged",
        "BalanceChanged",
        "BalanceChanged",
    ]
    assert (desk.cash("a"), desk.cash("clearing:3")) == (sign * 30, sign * -30)
    assert desk.position("a") == (sign * 3, sign * 330, sign * 30)
    assert not desk.send(tick(END + 1))
    assert not desk.send(ended(110, days=1))  # the mark is where it was
    desk.fill("a", "SELL" if side == "BUY" else "BUY", 3, 120, kind="FUTURE")
    assert desk.position("a") == (0, 0, sign * 60)
    assert desk.cash("a") == sign * 60


def test_variations_of_one_session_sum_to_zero() -> None:
    """What the longs gain the shorts lose, so clearing is at zero with the costs of both."""
    desk = Desk()
    desk.fill("a", "BUY", 3, 100, kind="FUTURE")
    desk.fill("b", "SELL", 2, 100, kind="FUTURE")
    desk.fill("c", "SELL", 1, 100, kind="FUTURE")
    desk.send(ended(110))
    assert [desk.cash(name) for name in ("a", "b", "c", "clearing:3")] == [30, -20, -10, 0]


def test_where_nobody_holds_a_session_end_says_nothing() -> None:
    """Never traded, closed within the session, or no future: there is nothing to settle, and no trace is left."""
    desk = Desk()
    assert not desk.send_all(ended(110))
    desk.fill("a", "BUY", 3, 100, kind="FUTURE")
    desk.fill("a", "SELL", 3, 90, kind="FUTURE")
    assert not desk.send_all(ended(110))
    desk.send(msgspec.structs.replace(fill("a", "BUY", 1, 100), instrument="S"))
    assert not desk.send_all(msgspec.structs.replace(ended(110), instrument="S"))
    assert not desk.tables.variations
    assert desk.cash("a") == -30 - 100


def holders(count: int) -> tuple[SettlementTables, list[str]]:
    """So many holders of one lot of X at 100, by name, each with a receipt that waits for Monday."""
    tables = SettlementTables()
    rules = Settlement(tables, COUNTS, P)
    accounts = [f"{number:04}" for number in range(count)]
    for account in accounts:
        for item in (
            fill(account, "BUY", 1, 100, kind="FUTURE"),
            msgspec.structs.replace(fill(account, "SELL", 1, 5, days=1), instrument="S"),
        ):
            rules.apply(item, Place(P, 0, 0, NOON), Outbox())
    return tables, accounts


def send(tables: SettlementTables, offset: int, *items: AccountEventItem) -> list[Any]:
    """What settlement, made anew from its tables, says of one record."""
    rules, outbox = Settlement(tables, COUNTS, P), Outbox()
    for index, item in enumerate(items):
        rules.apply(item, Place(P, offset, index, item.at_ns), outbox)
    check_settlement(tables)
    return outbox.items.get((SETTLEMENT_EVENTS, P), [])


def test_many_holders_are_settled_over_several_records() -> None:
    """One record holds so many settlements at most; ticks go on, receipts first, at the session's mark."""
    tables, accounts = holders(SETTLEMENTS_PER_RECORD + 10)
    said = [send(tables, 1, ended(110))]
    monday = NOON + 3 * NANOSECONDS_PER_DAY
    said += [send(tables, offset, mark(120), tick(monday + offset)) for offset in range(2, 6)]
    settled = [
        (
            sum(isinstance(it, VariationSettled) for it in items),
            sum(isinstance(it, CashReleased) for it in items),
        )
        for items in said
    ]
    full = SETTLEMENTS_PER_RECORD
    assert settled == [(full, 0), (0, full), (10, 10), (0, 0), (0, 0)]
    varied = [it for items in said for it in items if isinstance(it, VariationSettled)]
    assert [it.account for it in varied] == accounts
    assert {(it.mark_price_ticks, it.amount_minor) for it in varied} == {(110, 10)}
    assert not tables.variations


def test_sessions_that_end_in_one_record_share_its_budget() -> None:
    """A tick at which many futures' sessions end makes a record of settlement's no longer than one of them."""
    tables, accounts = holders(SETTLEMENTS_PER_RECORD - 10)
    rules = Settlement(tables, COUNTS, P)
    for account in accounts:
        other = msgspec.structs.replace(fill(account, "BUY", 1, 100, kind="FUTURE"), instrument="Y")
        rules.apply(other, Place(P, 0, 0, NOON), Outbox())
    said = [send(tables, 1, ended(110), msgspec.structs.replace(ended(90), instrument="Y"))]
    said.append(send(tables, 2, tick(END)))
    counts = [sum(isinstance(it, VariationSettled) for it in items) for items in said]
    assert counts == [SETTLEMENTS_PER_RECORD, len(accounts) - 10]


def test_a_fill_finds_its_position_varied() -> None:
    """Who must wait for his variation gets it before his next fill; who opens meanwhile waits for none."""
    tables, accounts = holders(SETTLEMENTS_PER_RECORD + 2)
    last, newcomer = accounts[-1], "9999"
    send(tables, 1, ended(110))
    said = send(tables, 2, fill(last, "SELL", 2, 130, kind="FUTURE", trade=7))
    assert names(said)[:3] == ["VariationSettled", "Posting", "PositionChanged"]
    assert (said[0].mark_price_ticks, said[0].amount_minor) == (110, 10)
    assert tables.positions[last, "X"].open_cost_minor == -130
    assert tables.balances[last, "USD"].cash_minor == 5 + 10 + 20
    send(tables, 3, fill(newcomer, "BUY", 1, 105, kind="FUTURE", trade=8))
    said = send(tables, 4, tick(END + 1))
    assert [it.account for it in said if isinstance(it, VariationSettled)] == accounts[-2:-1]
    assert tables.positions[newcomer, "X"].open_cost_minor == 105
    assert not tables.variations


def test_a_session_end_behind_another_takes_both() -> None:
    """Who still waits when the next session ends gets the variation of both in one."""
    tables, accounts = holders(SETTLEMENTS_PER_RECORD + 1)
    send(tables, 1, ended(110))
    send(tables, 2, ended(130, days=1))
    said = send(tables, 3, tick(END + NANOSECONDS_PER_DAY))
    assert [(it.account, it.amount_minor) for it in said if isinstance(it, VariationSettled)] == [
        (accounts[-1], 30)
    ]
    assert {tables.positions[it, "X"].open_cost_minor for it in accounts} == {130}


def test_every_item_of_the_inbox_has_a_handler() -> None:
    """Whatever stands in account-events is handled, and nothing else is."""
    assert set(HANDLERS) == set(get_args(AccountEventItem))
