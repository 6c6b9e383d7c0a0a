"""The trail: all that the log says of one order, one account or one trade, in the log's order, each with its place.

Two passes. The first learns by what names the subject goes (an order's client order ids, its trades, the commands
that touched it), the second collects. A value that holds none of those names is not decoded: Avro writes a text as
its bytes, and an integer in one way only, so that a search for bytes misses nothing.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heapreplace
from typing import Any, Final

import msgspec

from infra.auditor.log import Log, Place, side_by_side
from infra.errors import OperatorError
from infra.sealing.chains import JOURNAL
from schemas import codec, envelopes
from schemas.audit import Act, Seal
from schemas.events import OrderCancelled, Trade
from schemas.record import Record
from schemas.topics import ACCOUNT_COMMANDS, AUDIT, BOOK_COMMANDS, CONTROL, ORDERS, SETTLEMENT_EVENTS

_ACCOUNTS: Final = ("account", "maker_account", "taker_account", "debit_account", "credit_account")
_ORDERS: Final = ("order_id", "maker_order_id", "taker_order_id")
_CLIENT_IDS: Final = (
    ("account", "client_order_id"),
    ("account", "original_client_order_id"),
    ("maker_account", "maker_client_order_id"),
    ("taker_account", "taker_client_order_id"),
)
_SWEEPS: Final = {
    "mass_cancel",
    "killed",
}  # whose command names nobody, or another, and concerns us all the same
ClientId = tuple[str, str]
"""An account, and a client order id of it."""


class Step(msgspec.Struct, frozen=True):
    """One item of the story: where it stands, and what it says; ``seal`` is the number of the one that covers it."""

    time_ms: int
    topic: str
    partition: int
    offset: int
    index: int
    item: Record
    seal: int | None


class Names:
    """By what names a subject goes, as far as they are known; ``concerns`` is of the names of this moment."""

    def __init__(
        self,
        *,
        accounts: Iterable[str] = (),
        orders: Iterable[int] = (),
        client_ids: Iterable[ClientId] = (),
        only_trade: int | None = None,
    ) -> None:
        """An account, or orders; ``only_trade`` leaves out their other trades."""
        self.accounts, self.orders, self.client_ids = set(accounts), set(orders), set(client_ids)
        self._asked_for = frozenset(self.client_ids)
        self.trades: set[int] = set() if only_trade is None else {only_trade}
        self.commands: set[str] = set()
        self._only_trade = only_trade

    def learn(self, item: Record) -> None:
        """Takes in what else an item that concerns the subject calls it."""
        if not self.concerns(item) and self._asked_for.isdisjoint(_client_ids_of(item)):
            return
        if isinstance(item, OrderCancelled) and item.reason in _SWEEPS and item.command_id is not None:
            self.commands.add(item.command_id)
        if self.accounts:
            return
        if isinstance(item, Trade):  # names the counterparty too
            self.trades.add(item.trade_id)
            return
        order, trade = getattr(item, "order_id", None), getattr(item, "trade_id", None)
        self.orders |= {order} if order is not None else set()
        self.trades |= {trade} if trade is not None else set()
        self.client_ids |= set(_client_ids_of(item))

    def concerns(self, item: Record) -> bool:
        """Whether an item is of the subject: by the closest name that it bears."""
        accounts = set(_accounts_of(item))
        if self.accounts:
            return not self.accounts.isdisjoint(accounts) if accounts else self._is_command(item)
        trade = getattr(item, "trade_id", None)
        if trade is not None and self._only_trade not in {None, trade}:
            return False
        if orders := set(_orders_of(item)):
            return not self.orders.isdisjoint(orders)
        own = {account for account, _ in self.client_ids}
        if trade is not None or hasattr(item, "source_id"):
            source = str(getattr(item, "source_id", trade))
            return source in map(str, self.trades) and not own.isdisjoint(accounts)
        if client_ids := set(_client_ids_of(item)):
            return not self.client_ids.isdisjoint(client_ids)
        return self._is_command(item) and (not accounts or not own.isdisjoint(accounts))

    def size(self) -> int:
        """How many names are known."""
        return len(self.orders) + len(self.client_ids) + len(self.trades) + len(self.commands)

    def needles(self) -> tuple[bytes, ...]:
        """Bytes, one of which is in every value that concerns the subject."""
        texts = {
            *self.accounts,
            *self.commands,
            *(name for _, name in self.client_ids),
            *map(str, self.trades),
        }
        numbers = self.orders | self.trades
        return (*(it.encode() for it in sorted(texts)), *(_varint(it) for it in sorted(numbers)))

    def _is_command(self, item: Record) -> bool:
        return getattr(item, "command_id", None) in self.commands


def trail_of_account(log: Log, places: Sequence[Place], account: str) -> list[Step]:
    """All that concerns an account; OperatorError where nothing does."""
    return _trail(log, places, Names(accounts=[account]), f"account {account}")


def trail_of_order(log: Log, places: Sequence[Place], order: int | ClientId) -> list[Step]:
    """All that concerns an order, by its id or by its account and client order id."""
    if isinstance(order, int):
        return _trail(log, places, Names(orders=[order]), f"order {order}")
    return _trail(log, places, Names(client_ids=[order]), f"order {order[0]}/{order[1]}")


def trail_of_trade(log: Log, places: Sequence[Place], trade: int) -> list[Step]:
    """All that concerns a trade: its two orders, their other trades left out, its fills and its money."""
    names = Names()
    for _, _, _, item in _items(log, places, (_varint(trade),)):
        if getattr(item, "trade_id", None) == trade:
            names.orders |= set(_orders_of(item))
            names.client_ids |= set(_client_ids_of(item))
    known = Names(orders=names.orders, client_ids=names.client_ids, only_trade=trade)
    return _trail(log, places, known, f"trade {trade}")


def _trail(log: Log, places: Sequence[Place], names: Names, subject: str) -> list[Step]:
    for *_, item in _items(log, places, names.needles(), names):
        names.learn(item)
    covered = _seals(log)
    told: dict[Place, deque[Step]] = {}
    for at_ms, place, (offset, index), item in _items(log, places, names.needles()):
        if names.concerns(item):
            seal = _seal_of(covered.get(place, []), offset)
            told.setdefault(place, deque()).append(Step(at_ms, *place, offset, index, item, seal))
    if not told:
        raise OperatorError(f"the log says nothing of {subject}: see that the id is right, and not too old")
    return list(_merged(told))


def _merged(told: Mapping[Place, deque[Step]]) -> Iterator[Step]:
    """By time, and within a millisecond as a command flows through the stages; each partition in its own order."""
    heads = [(_depth(steps[0]), place) for place, steps in told.items()]
    heapify(heads)
    while heads:
        place = heads[0][1]
        steps = told[place]
        yield steps.popleft()
        if steps:
            heapreplace(heads, (_depth(steps[0]), place))
        else:
            heappop(heads)


def _items(
    log: Log, places: Sequence[Place], needles: tuple[bytes, ...], names: Names | None = None
) -> Iterator[tuple[int, Place, tuple[int, int], Record]]:
    """Items of records that hold one of the needles, by time: that, their place, offset and index.

    With ``names`` the needles are those of the moment: what was learnt is looked for from there on.
    """
    spans = {place: log.bounds(place) for place in places}
    latest: dict[Place, int] = {}
    size = 0
    for place, record in side_by_side(log, spans):
        latest[place] = at_ms = max(latest.get(place, 0), record.timestamp_ms)
        value = record.value or b""
        if not any(needle in value for needle in needles):
            continue
        try:
            decoded: Any = codec.decode(value)
        except codec.DecodeError:
            continue  # a stranger's, or another program's journal
        for index, item in enumerate(getattr(decoded, "items", (decoded,))):
            yield at_ms, place, (record.offset, index), item
        if names is not None and names.size() != size:
            size = names.size()
            needles = names.needles()


def _depth(step: Step) -> tuple[int, int]:
    item, topic = step.item, step.topic
    if topic == AUDIT:
        stage = 0 if isinstance(item, Act) and item.outcome == "ASKED" else 9
    elif topic in {CONTROL, ORDERS} or topic.startswith(f"{ORDERS}."):
        stage = 1
    elif topic == ACCOUNT_COMMANDS:
        stage = 2 if type(item).__name__ in _COMMANDS else 4
    else:
        stage = {BOOK_COMMANDS: 3, SETTLEMENT_EVENTS: 6}.get(topic, 5)
    return step.time_ms, stage


_COMMANDS: Final = frozenset(
    {"PlaceOrder", "CancelOrder", "ReplaceOrder", "MassCancel", "Deposit", "Withdraw"}
)


def _accounts_of(item: Record) -> Iterator[str]:
    for name in _ACCOUNTS:
        account = getattr(item, name, None)
        if account is not None:
            yield getattr(account, "account", account)  # a definition holds the whole account
    if isinstance(item, Act) and item.target.startswith("account "):
        yield item.target.removeprefix("account ").partition(",")[0]
    if isinstance(item, envelopes.DeadLetter) and item.key is not None:
        yield item.key.decode(errors="replace")


def _orders_of(item: Record) -> Iterator[int]:
    return (order for name in _ORDERS if (order := getattr(item, name, None)) is not None)


def _client_ids_of(item: Record) -> Iterator[ClientId]:
    for account, name in _CLIENT_IDS:
        if (client_id := getattr(item, name, None)) is not None:
            yield getattr(item, account, ""), client_id


def _seals(log: Log) -> Mapping[Place, list[tuple[int, int]]]:
    """Last offset and number of each chain's seals, as they are stated; `trading audit verify` proves them."""
    covered: dict[Place, list[tuple[int, int]]] = {}
    for record in log.read(JOURNAL, log.bounds(JOURNAL)):
        seal = codec.decode(record.value or b"")
        if isinstance(seal, Seal):
            covered.setdefault((seal.topic, seal.partition), []).append((seal.last_offset, seal.number))
    return covered


def _seal_of(covered: list[tuple[int, int]], offset: int) -> int | None:
    at = bisect_left(covered, (offset, -1))
    return covered[at][1] if at < len(covered) else None


def _varint(number: int) -> bytes:
    """An Avro long: zigzag, seven bits a byte, the lowest first."""
    number = number << 1 ^ number >> 63
    parts = bytearray()
    while number > 0x7F:  # noqa: PLR2004 - seven bits
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])
