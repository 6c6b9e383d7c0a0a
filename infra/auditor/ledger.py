"""Check 5: money. Postings are replayed into balances, and fills into positions.

Both must be what settlement says, and what it says of a fill must be what the fill's own terms give.
"""

from typing import Any, Final

from infra.auditor import money
from infra.auditor.money import NANOSECONDS_PER_DAY, Held
from infra.auditor.report import Report
from infra.auditor.sessions import Sessions
from schemas import events
from schemas import settlement_events as s
from schemas.ids import trade_id
from schemas.maximums import INT64_MAX

Key = tuple[str, str]
"""An account, and a currency or an instrument."""

OWN: Final = ("house", "clearing", "cash")  # accounts of the partition itself: `house:0`


class Group:
    """What settlement says of one fill: its confirmation and what comes with it."""

    __slots__ = ("confirmed", "delivers", "fee_minor", "paid_minor", "profit_minor")

    def __init__(self, confirmed: s.TradeConfirmed, profit_minor: int) -> None:
        self.confirmed = confirmed
        self.profit_minor = profit_minor
        self.delivers = False
        self.paid_minor = self.fee_minor = 0


class Book:
    """One partition's books, replayed from its events."""

    def __init__(self, partition: int) -> None:
        self.partition = partition
        self.cash: dict[Key, int] = {}
        self.unsettled: dict[Key, int] = {}
        self.versions: dict[Key, int] = {}
        self.positions: dict[Key, Held] = {}
        self.releases: dict[tuple[int, str, str], int] = {}
        self.next_posting = 0
        # Of the record at hand: what was changed and must still be said, and the fill or cash it is about.
        self.unsaid: set[Key] = set()
        self.unsaid_positions: set[Key] = set()
        self.group: Group | None = None
        self.varied: dict[str, int] = {}


class Ledger:
    """All partitions' books, and what joins them with fills and cash commands."""

    def __init__(self, report: Report) -> None:
        self.books: dict[int, Book] = {}
        self.kinds: dict[str, str] = {}
        self.currencies: dict[str, str] = {}
        self._postings = report.tally("postings are numbered without gap, and each is a transfer")
        self._balances = report.tally("balances are what the postings give")
        self._positions = report.tally("positions are what the fills give")
        self._fills = report.tally("every fill is settled once, with its own terms' money")
        self._cash = report.tally("every deposit and withdrawal is posted once")
        self._released = report.tally("receipts are released on their day, in full")
        self.sessions = Sessions(report)
        self._flat = report.tally("positions sum to zero over all accounts, for each instrument")
        self._conserved = report.tally("cash of all accounts = deposits - withdrawals, for each currency")
        self._cleared = report.tally("clearing is zero but for futures' open cost, for each currency")
        self._waiting_fills: dict[tuple[int, str], events.OrderFilled] = {}
        self._waiting_groups: dict[tuple[int, str], Group] = {}
        self._waiting_cash: dict[tuple[str, str], tuple[str, int]] = {}
        self._posted_cash: dict[tuple[str, str], tuple[str, int]] = {}
        self.net_cash: dict[str, int] = {}
        self._units: dict[str, int] = {}

    def book(self, partition: int) -> Book:
        """A partition's books."""
        book = self.books.get(partition)
        if book is None:
            book = self.books[partition] = Book(partition)
        return book

    # What settlement was told.

    def on_fill(self, partition: int, fill: events.OrderFilled) -> None:
        """A fill that settlement must settle."""
        self.sessions.on_fill(partition, fill)
        key = fill.trade_id, fill.liquidity
        group = self._waiting_groups.pop(key, None)
        if group is not None:
            self._join(fill, group)
        elif key in self._waiting_fills:
            self._fills.breach(f"trade {fill.trade_id} fills its {fill.liquidity} twice")
        else:
            self._waiting_fills[key] = fill

    def on_cash(self, item: events.CashDeposited | events.CashWithdrawn) -> None:
        """Cash that risk let in or out."""
        if item.possible_resend:
            return
        amount = item.amount_minor if type(item) is events.CashDeposited else -item.amount_minor
        self.net_cash[item.currency] = self.net_cash.get(item.currency, 0) + amount
        self._match_cash(
            self._waiting_cash, self._posted_cash, (item.account, item.command_id), (item.currency, amount)
        )

    # What settlement says.

    def on_settled(self, partition: int, items: tuple[s.SettlementEvent, ...]) -> None:
        """One record of settlement's."""
        book = self.book(partition)
        for item in items:
            _HANDLERS[type(item)](self, book, item)
        self._end_group(book)
        for key in book.unsaid:
            self._balances.breach(f"{' '.join(key)} changed, and nothing was said of it")
        for key in book.unsaid_positions:
            self._positions.breach(f"{' '.join(key)} changed, and nothing was said of it")
        book.unsaid.clear()
        book.unsaid_positions.clear()
        book.varied.clear()

    def _confirm(self, book: Book, item: s.TradeConfirmed) -> None:
        self._end_group(book)
        key = item.account, item.instrument
        held = book.positions.get(key, Held())
        now = money.after_fill(held, item.side, item.quantity_lots, item.notional_minor)
        profit = now.realised_minor - held.realised_minor
        self._positions.equal(
            item.realised_profit_minor, profit, f"trade {item.trade_id}, profit of {item.account}"
        )
        book.positions[key] = now
        book.unsaid_positions.add(key)
        book.group = Group(item, profit)

    def _oblige(self, book: Book, item: s.ObligationCreated) -> None:
        group = book.group
        if group is None:
            self._fills.breach(f"an obligation for trade {item.trade_id} without a confirmation")
            return
        known, group.delivers = group.confirmed, True
        goods, cash = known.quantity_lots, known.notional_minor
        wanted = (goods, 0, 0, cash) if known.side == "BUY" else (0, goods, cash, 0)
        found = (
            item.receive_quantity_lots,
            item.deliver_quantity_lots,
            item.receive_minor,
            item.deliver_minor,
        )
        same = (item.trade_id, item.account, item.instrument, item.settlement_day, item.currency) == (
            known.trade_id,
            known.account,
            known.instrument,
            known.settlement_day,
            known.currency,
        )
        if found != wanted or not same:
            self._fills.breach(
                f"trade {known.trade_id}: {known.account}'s obligation is not what was confirmed"
            )

    def _position(self, book: Book, item: s.PositionChanged) -> None:
        key = item.account, item.instrument
        book.unsaid_positions.discard(key)
        found = Held(item.quantity_lots, item.open_cost_minor, item.realised_profit_minor, item.version)
        self._positions.equal(found, book.positions.get(key), f"{' '.join(key)}")
        self.currencies[item.instrument] = item.currency

    def _post(self, book: Book, item: s.Posting) -> None:
        due = trade_id(book.partition, book.next_posting)
        self._postings.equal(item.posting_id, due, "posting")
        book.next_posting = (item.posting_id & (1 << 54) - 1) + 1
        if not 0 < item.amount_minor <= INT64_MAX or item.debit_account == item.credit_account:
            self._postings.breach(f"posting {item.posting_id} is no transfer")
        for account, amount in (
            (item.debit_account, -item.amount_minor),
            (item.credit_account, item.amount_minor),
        ):
            key = account, item.currency
            book.cash[key] = book.cash.get(key, 0) + amount
            book.unsaid.add(key)
        self._purpose(book, item)

    def _purpose(self, book: Book, item: s.Posting) -> None:
        house, clearing, cash = (f"{name}:{book.partition}" for name in OWN)
        pair = {item.debit_account, item.credit_account}
        other = item.credit_account if item.debit_account in (house, clearing, cash) else item.debit_account
        amount = item.amount_minor if item.credit_account == other else -item.amount_minor
        group = book.group
        own = {"TRADE": clearing, "FEE": house, "REBATE": house, "DEPOSIT": cash, "WITHDRAWAL": cash}
        if own.get(item.kind, clearing) not in pair:
            self._postings.breach(
                f"posting {item.posting_id} ({item.kind}) is not against the partition's account"
            )
        if item.kind in ("DEPOSIT", "WITHDRAWAL"):
            key = other, item.source_id
            self._match_cash(self._posted_cash, self._waiting_cash, key, (item.currency, amount))
        elif item.kind == "VARIATION":
            if book.varied.pop(other, None) != amount:
                self._postings.breach(f"posting {item.posting_id} is of no variation")
        elif group is None or (group.confirmed.account, str(group.confirmed.trade_id)) != (
            other,
            item.source_id,
        ):
            self._postings.breach(f"posting {item.posting_id} ({item.kind}) belongs to no fill")
        elif item.kind == "TRADE":
            group.paid_minor += amount
        else:
            group.fee_minor -= amount

    def _balance(self, book: Book, item: s.BalanceChanged) -> None:
        self._end_group(book)
        key = item.account, item.currency
        book.unsaid.discard(key)
        version = book.versions[key] = book.versions.get(key, 0) + 1
        wanted = book.cash.get(key, 0), book.unsettled.get(key, 0), version
        self._balances.equal(
            (item.cash_minor, item.unsettled_minor, item.version), wanted, f"{' '.join(key)}"
        )

    def _release(self, book: Book, item: s.CashReleased) -> None:
        key = item.settlement_day, item.account, item.currency
        due = book.releases.pop(key, 0)
        self._released.equal(
            item.amount_minor, due, f"{item.account}, {item.currency}, day {item.settlement_day}"
        )
        if item.at_ns // NANOSECONDS_PER_DAY < item.settlement_day:
            self._released.breach(f"{item.account} got {item.currency} before day {item.settlement_day}")
        waiting = item.account, item.currency
        book.unsettled[waiting] = book.unsettled.get(waiting, 0) - item.amount_minor
        book.unsaid.add(waiting)

    def _vary(self, book: Book, item: s.VariationSettled) -> None:
        self.sessions.on_variation(item)
        key = item.account, item.instrument
        held = book.positions.get(key, Held())
        # mark x quantity x unit = cost + variation: the unit is not said here, but must be one for all.
        worth, lots = held.open_cost_minor + item.amount_minor, item.mark_price_ticks * held.quantity_lots
        unit, rest = divmod(worth, lots) if lots else (0, 1)
        good = not rest and self._units.setdefault(item.instrument, unit) == unit
        self._positions.expect(good, f"{' '.join(key)}: a variation of {item.amount_minor}")
        book.positions[key] = Held(
            held.quantity_lots,
            held.open_cost_minor + item.amount_minor,
            held.realised_minor + item.amount_minor,
            held.version + 1,
        )
        book.unsaid_positions.add(key)
        book.varied[item.account] = item.amount_minor

    def _end_group(self, book: Book) -> None:
        """The fill at hand is whole: its postings must be its money, and it meets its fill."""
        group, book.group = book.group, None
        if group is None:
            return
        known = group.confirmed
        bought = known.side == "BUY"
        due = (
            (-known.notional_minor if bought else known.notional_minor)
            if group.delivers
            else group.profit_minor
        )
        if (group.paid_minor, group.fee_minor) != (due, known.fee_minor):
            self._fills.breach(
                f"trade {known.trade_id}: {known.account} was posted {group.paid_minor} and a fee of"
                f" {group.fee_minor}, not {due} and {known.fee_minor}"
            )
        receipt = due - known.fee_minor
        if receipt > 0 and group.delivers and known.settlement_day > known.at_ns // NANOSECONDS_PER_DAY:
            key, release = (
                (known.account, known.currency),
                (known.settlement_day, known.account, known.currency),
            )
            book.releases[release] = book.releases.get(release, 0) + receipt
            book.unsettled[key] = book.unsettled.get(key, 0) + receipt
        fill = self._waiting_fills.pop((known.trade_id, known.liquidity), None)
        if fill is None:
            self._waiting_groups[known.trade_id, known.liquidity] = group
        else:
            self._join(fill, group)

    def _join(self, fill: events.OrderFilled, group: Group) -> None:
        known, terms = group.confirmed, fill.terms
        amount = money.notional(terms, fill.last_price_ticks, fill.last_quantity_lots)
        bps = terms.maker_bps if fill.liquidity == "MAKER" else terms.taker_bps
        day = money.settlement_day(fill.at_ns, terms.settlement_days)
        wanted = (
            *(fill.account, fill.client_order_id, fill.order_id, fill.instrument, fill.side),
            *(
                fill.last_price_ticks,
                fill.last_quantity_lots,
                terms.currency,
                amount,
                money.fee(amount, bps),
                day,
            ),
            terms.kind != "FUTURE",
        )
        found = (
            *(known.account, known.client_order_id, known.order_id, known.instrument, known.side),
            *(known.price_ticks, known.quantity_lots, known.currency, known.notional_minor, known.fee_minor),
            *(known.settlement_day, group.delivers),
        )
        self._fills.equal(found, wanted, f"trade {fill.trade_id}, {fill.liquidity}")
        self.kinds[fill.instrument] = terms.kind
        if terms.kind == "FUTURE" and self._units.setdefault(fill.instrument, terms.minor_per_tick_lot) != (
            terms.minor_per_tick_lot
        ):
            self._positions.breach(f"{fill.instrument}: variations were of another unit than its fills")

    def _match_cash(
        self,
        own: dict[tuple[str, str], tuple[str, int]],
        others: dict[tuple[str, str], tuple[str, int]],
        key: tuple[str, str],
        cash: tuple[str, int],
    ) -> None:
        if key in others:
            self._cash.equal(cash, others.pop(key), f"{' '.join(key)}")
        elif key in own:
            self._cash.breach(f"{' '.join(key)} is there twice")
        else:
            own[key] = cash

    # The end.

    def finish(self) -> None:
        """Counts what has not found its other half, and sums up."""
        for identity, liquidity in self._waiting_fills:
            self._fills.miss(f"trade {identity}, {liquidity}: never settled")
        for identity, liquidity in self._waiting_groups:
            self._fills.miss(f"trade {identity}, {liquidity}: settled without a fill")
        for key in self._waiting_cash:
            self._cash.miss(f"{' '.join(key)} was let through and never posted")
        for key in self._posted_cash:
            self._cash.miss(f"{' '.join(key)} was posted and never let through")
        self._sum_positions()
        self._sum_cash()

    def _sum_positions(self) -> None:
        lots: dict[str, int] = {}
        for book in self.books.values():
            for (_, instrument), held in book.positions.items():
                lots[instrument] = lots.get(instrument, 0) + held.quantity_lots
        for instrument, total in sorted(lots.items()):
            self._flat.expect(not total, f"{instrument}: {total} lots")

    def _sum_cash(self) -> None:
        accounts: dict[str, int] = {}
        clearing: dict[str, int] = {}
        for book in self.books.values():
            for (account, currency), cash in book.cash.items():
                if account != f"cash:{book.partition}":
                    accounts[currency] = accounts.get(currency, 0) + cash
                if account == f"clearing:{book.partition}":
                    clearing[currency] = clearing.get(currency, 0) + cash
            for (_, instrument), held in book.positions.items():
                if self.kinds.get(instrument) == "FUTURE":
                    currency = self.currencies[instrument]
                    clearing[currency] = clearing.get(currency, 0) + held.open_cost_minor
        for currency in sorted(accounts.keys() | self.net_cash.keys()):
            net = self.net_cash.get(currency, 0)
            self._conserved.equal(accounts.get(currency, 0), net, f"{currency}, all accounts")
        for currency, total in sorted(clearing.items()):
            self._cleared.expect(not total, f"{currency}: {total}")


_HANDLERS: Final[dict[type[Any], Any]] = {
    s.TradeConfirmed: Ledger._confirm,  # noqa: SLF001 - a table of this class's own methods
    s.ObligationCreated: Ledger._oblige,  # noqa: SLF001
    s.PositionChanged: Ledger._position,  # noqa: SLF001
    s.Posting: Ledger._post,  # noqa: SLF001
    s.BalanceChanged: Ledger._balance,  # noqa: SLF001
    s.CashReleased: Ledger._release,  # noqa: SLF001
    s.VariationSettled: Ledger._vary,  # noqa: SLF001
}
