"""One partition of risk under test: what it is told, what it says, and matching's answers made by hand."""

from typing import Any

from agents.rules.outbox import Outbox, Place
from agents.rules.risk import Risk, check_risk
from schemas import commands, control_events, events
from schemas.book_commands import EnterOrder
from schemas.reasons import CODES
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument, Limits
from schemas.topics import ACCOUNT_EVENTS, BOOK_COMMANDS, RISK_EVENTS, PartitionCounts
from tables.risk import RiskTables

START_NS = 1_000 * 86_400 * 1_000_000_000  # a midnight
SECOND_NS = 1_000_000_000
COUNTS = PartitionCounts(accounts=1, books=3)
FEES = (FeeRate(fee_class="default", maker_bps=5, taker_bps=10),)


def make_instrument(symbol: str = "XYZ", **changes: Any) -> Instrument:
    """Prices around 100 ticks, a tick of a lot worth 10 minor units, a collar of 10 %, margin of 10 %."""
    fields: dict[str, Any] = {
        "symbol": symbol,
        "kind": "SPOT",
        "currency": "EUR",
        "currency_exponent": 2,
        "tick_size_e9": 10**9,
        "lot_size_e9": 10**8,
        "multiplier": 1,
        "minor_per_tick_lot": 10,
        "maximum_quantity_lots": 1_000,
        "maximum_notional_minor": 10**6,
        "collar_bps": 1_000,
        "initial_margin_bps": 1_000,
    }
    return Instrument(**(fields | changes))


class World:
    """A partition of risk; ``clear`` empties what it has said, which ``said`` holds by channel."""

    def __init__(
        self, *, account_type: str = "CASH", cash: int = 0, mark: int | None = 100, **instrument: Any
    ) -> None:
        """An account ``a`` with that cash, and the instrument XYZ with that mark."""
        self.risk = Risk(RiskTables(), COUNTS, 0)
        self.offset = 0
        self.now_ns = START_NS
        self.said: dict[str, list[Any]] = {}
        self.last: list[Any] = []
        self.entered: dict[str, EnterOrder] = {}
        self.define_instrument(**instrument)
        self.define_account(account_type=account_type)
        if mark is not None:
            self.mark(mark)
        if cash:
            self.deposit(cash, command_id="cash")
        self.clear()

    # What goes in.

    def tell(self, item: Record) -> list[Any]:
        """Applies one item, checks what must hold, and gives what was said, whatever the channel."""
        outbox = Outbox()
        self.offset += 1
        self.risk.apply(item, Place(0, self.offset, 0, self.now_ns), outbox)  # type: ignore[arg-type]
        for (channel, _), items in outbox.items.items():
            self.said.setdefault(channel, []).extend(items)
            self.entered |= {it.client_order_id: it for it in items if isinstance(it, EnterOrder)}
        check_risk(self.risk)
        self.last = [it for items in outbox.items.values() for it in items]
        return self.last

    def define_instrument(self, **fields: Any) -> None:
        """Defines an instrument."""
        self.tell(control_events.InstrumentDefined(instrument=make_instrument(**fields), at_ns=self.now_ns))

    def define_account(self, account: str = "a", **fields: Any) -> None:
        """Defines an account."""
        self.tell(
            control_events.AccountDefined(account=Account(account=account, **fields), at_ns=self.now_ns)
        )

    def limit(self, account: str = "a", **limits: int) -> None:
        """Sets an account's limits."""
        self.tell(control_events.LimitsChanged(account=account, limits=Limits(**limits), at_ns=self.now_ns))

    def mark(self, price: int, instrument: str = "XYZ") -> None:
        """Changes a mark."""
        self.tell(events.MarkChanged(instrument=instrument, price_ticks=price, at_ns=self.now_ns))

    def end_session(
        self, price: int, instrument: str = "XYZ", session_end_ns: int | None = None
    ) -> list[Any]:
        """A session ends at a mark, now unless told."""
        end_ns = self.now_ns if session_end_ns is None else session_end_ns
        return self.tell(
            events.SessionEnded(
                instrument=instrument, mark_price_ticks=price, session_end_ns=end_ns, at_ns=self.now_ns
            )
        )

    def tick(self, seconds: float = 0) -> list[Any]:
        """Lets time pass, and the clock say so."""
        self.now_ns += int(seconds * SECOND_NS)
        return self.tell(control_events.ClockTicked(tick_ns=self.now_ns, at_ns=self.now_ns))

    def deposit(self, amount: int, command_id: str = "in", account: str = "a") -> list[Any]:
        """Asks for a deposit."""
        return self.tell(
            commands.Deposit(
                account=account, command_id=command_id, currency="EUR", amount_minor=amount, at_ns=self.now_ns
            )
        )

    def withdraw(self, amount: int, command_id: str = "out", account: str = "a") -> list[Any]:
        """Asks for a withdrawal."""
        return self.tell(
            commands.Withdraw(
                account=account, command_id=command_id, currency="EUR", amount_minor=amount, at_ns=self.now_ns
            )
        )

    def order(
        self, client_order_id: str = "1", side: str = "BUY", lots: int = 1, **fields: Any
    ) -> commands.PlaceOrder:
        """A LIMIT order at 100 good till cancelled, unless told."""
        order_type = fields.get("order_type", "LIMIT")
        content = {
            "account": "a",
            "client_order_id": client_order_id,
            "instrument": "XYZ",
            "side": side,
            "order_type": "LIMIT",
            "time_in_force": "IOC" if order_type == "MARKET" else "GTC",
            "quantity_lots": lots,
            "price_ticks": 100 if order_type in {"LIMIT", "STOP_LIMIT"} else None,
            "at_ns": self.now_ns,
        }
        return commands.PlaceOrder(**(content | fields))

    def place(self, client_order_id: str = "1", side: str = "BUY", lots: int = 1, **fields: Any) -> list[Any]:
        """Places an order."""
        return self.tell(self.order(client_order_id, side, lots, **fields))

    def work(self, client_order_id: str = "1", side: str = "BUY", lots: int = 1, **fields: Any) -> EnterOrder:
        """Places an order that must be let through and is accepted."""
        self.place(client_order_id, side, lots, **fields)
        enter = self.entered[client_order_id]
        self.accept(client_order_id)
        return enter

    def own(self, lots: int, price: int = 100, side: str = "BUY", instrument: str = "XYZ") -> None:
        """Gives account ``a`` a position by a trade; the cash for it must be there."""
        name = f"own-{self.offset}"
        self.work(name, side, lots, price_ticks=price, instrument=instrument)
        self.fill(name, lots, price)

    def cancel(self, original: str, client_order_id: str = "c", account: str = "a") -> list[Any]:
        """Asks for a cancel."""
        return self.tell(
            commands.CancelOrder(
                account=account,
                client_order_id=client_order_id,
                original_client_order_id=original,
                at_ns=self.now_ns,
            )
        )

    def replace(
        self, original: str, client_order_id: str = "r", price: int | None = None, lots: int | None = None
    ) -> list[Any]:
        """Asks for a replace."""
        return self.tell(
            commands.ReplaceOrder(
                account="a",
                client_order_id=client_order_id,
                original_client_order_id=original,
                price_ticks=price,
                quantity_lots=lots,
                at_ns=self.now_ns,
            )
        )

    # Matching's answers; an order is named by the id it was placed under.

    def accept(self, name: str) -> None:
        """Matching accepts an order."""
        it = self.entered[name]
        self.tell(
            events.OrderAccepted(
                account=it.account,
                client_order_id=it.client_order_id,
                instrument=it.instrument,
                order_id=it.order_id,
                side=it.side,
                order_type=it.order_type,
                time_in_force=it.time_in_force,
                quantity_lots=it.quantity_lots,
                price_ticks=it.price_ticks,
                stop_price_ticks=it.stop_price_ticks,
                at_ns=self.now_ns,
            )
        )

    def reject(self, name: str, reason: str = "post_only_would_trade") -> None:
        """Matching rejects an order."""
        self.tell(
            events.OrderRejected(
                **self._named(name), reason=reason, reason_code=CODES[reason], at_ns=self.now_ns
            )
        )

    def fill(self, name: str, lots: int, price: int = 100, liquidity: str = "TAKER") -> None:
        """A fill of an order, whose quantities are what its row says."""
        it = self.entered[name]
        row = self.risk.desk.tables.orders[it.order_id]
        cum = row.cum_quantity_lots + lots
        self.tell(
            events.OrderFilled(
                **(self._named(name)),
                trade_id=self.offset,
                side=it.side,
                liquidity=liquidity,  # type: ignore[arg-type]
                last_price_ticks=price,
                last_quantity_lots=lots,
                cum_quantity_lots=cum,
                leaves_quantity_lots=row.quantity_lots - cum,
                terms=it.terms,
                at_ns=self.now_ns,
            )
        )

    def cancelled(self, name: str, by: str | None = "c", reason: str = "requested") -> None:
        """An order is cancelled."""
        row = self.risk.desk.tables.orders[self.entered[name].order_id]
        self.tell(
            events.OrderCancelled(
                **self._named(name),
                reason=reason,
                reason_code=CODES[reason],
                command_id=by,
                cancelled_quantity_lots=row.quantity_lots - row.cum_quantity_lots,
                cum_quantity_lots=row.cum_quantity_lots,
                at_ns=self.now_ns,
            )
        )

    def expire(self, name: str) -> None:
        """An order expires; nothing of it was filled, as far as anybody looks."""
        self.tell(
            events.OrderExpired(
                **self._named(name), cancelled_quantity_lots=0, cum_quantity_lots=0, at_ns=self.now_ns
            )
        )

    def replaced(self, name: str, by: str, *, price: int | None, lots: int) -> None:
        """An order is replaced."""
        row = self.risk.desk.tables.orders[self.entered[name].order_id]
        named = self._named(name) | {"client_order_id": by}
        cum = row.cum_quantity_lots
        self.tell(
            events.OrderReplaced(
                **named,
                original_client_order_id=row.client_order_id,
                price_ticks=price,
                quantity_lots=lots,
                cum_quantity_lots=cum,
                leaves_quantity_lots=max(lots - cum, 0),
                at_ns=self.now_ns,
            )
        )

    def request_rejected(self, kind: type[Record], by: str, name: str, reason: str) -> None:
        """Matching rejects a cancel or a replace."""
        named = self._named(name) | {"client_order_id": by}
        self.tell(
            kind(
                **named,
                original_client_order_id=name,
                reason=reason,
                reason_code=CODES[reason],
                at_ns=self.now_ns,
            )
        )

    def _named(self, name: str) -> dict[str, Any]:
        it = self.entered[name]
        row = self.risk.desk.tables.orders.get(it.order_id)
        return {
            "account": it.account,
            "client_order_id": row.client_order_id if row else it.client_order_id,
            "instrument": it.instrument,
            "order_id": it.order_id,
        }

    # What came out, and what there is.

    def clear(self) -> None:
        """Forgets what was said."""
        self.said = {ACCOUNT_EVENTS: [], BOOK_COMMANDS: [], RISK_EVENTS: []}

    @property
    def cash(self) -> int:
        """The cash of account ``a`` in EUR."""
        return self.risk.desk.tables.cash["a EUR"].cash_minor

    @property
    def held(self) -> int:
        """What open buys of account ``a`` hold of its EUR."""
        return self.risk.desk.ledgers["a"].purses["EUR"].held_minor

    def reason(self) -> str | None:
        """Why the last item was refused, if it was."""
        return next((it.reason for it in self.last if hasattr(it, "reason_code")), None)

    def restore(self) -> None:
        """Goes on with what a changelog would have kept."""
        tables = RiskTables()
        for key, value in self.risk.desk.tables.entries():
            tables.load(key, value)
        self.risk = Risk(tables, COUNTS, 0)
