"""All books of a partition, and its open orders by account and by expiry, derived from the tables."""

from collections import deque
from collections.abc import Iterator
from operator import attrgetter

from sortedcontainers import SortedDict

from tables.book import Book, check_book
from tables.matching import BookOrder, BookRow, MatchingTables, OwedElection


class Books:
    """The open orders of a partition under every index; all changes of orders go through here."""

    def __init__(self, tables: MatchingTables) -> None:
        """Builds every index from the rows: equal rows give equal indexes."""
        self.tables = tables
        self.orders = tables.orders
        self.by_symbol = {symbol: Book(symbol, tables.books[symbol]) for symbol in sorted(tables.books)}
        self.by_account: dict[str, set[int]] = {}
        self.trades_made = max((row.trades_made for row in tables.books.values()), default=0)
        self._expiries: SortedDict[int, set[int]] = SortedDict()
        self._due: deque[int] = deque()
        self._rebuild()
        for number in sorted(tables.owed):
            owed = tables.owed[number]
            self.by_symbol[owed.instrument].unelected.append((number, owed.price_ticks, owed.priority))
        for book in self.by_symbol.values():
            self.refresh(book)

    def define(self, symbol: str, row: BookRow) -> None:
        """Opens a book."""
        assert symbol not in self.by_symbol, f"{symbol} has a book"
        book = self.by_symbol[symbol] = Book(symbol, row)
        self.save(book)

    def save(self, book: Book) -> None:
        """Remembers a book's state."""
        self.tables.books[book.instrument] = book.row()
        book.trades_saved = book.trades_made
        self.refresh(book)

    def refresh(self, book: Book) -> None:
        """Derives whether the book takes new orders."""
        if book.trading_state == "CLOSED":
            book.refusal = "session_closed"
        elif book.trading_state == "HALTED" or book.halted or self.tables.clock.halted:
            book.refusal = "instrument_halted"
        else:
            book.refusal = None

    def add(self, order: BookOrder) -> None:
        """Remembers a new order, which waits or rests from here on."""
        self.orders[order.order_id] = order
        self._index(order)
        self.by_symbol[order.instrument].add(order)

    def remove(self, order: BookOrder) -> None:
        """Forgets an order, given as it stands."""
        self.by_symbol[order.instrument].remove(order)
        self.forget(order)

    def forget(self, order: BookOrder) -> None:
        """Forgets an order that is out of its book already."""
        order_id = order.order_id
        del self.orders[order_id]
        ids = self.by_account[order.account]
        ids.remove(order_id)
        if not ids:
            del self.by_account[order.account]
        if order.expires_at_ns is not None:
            self._unschedule(order.expires_at_ns, order_id)

    def owe(self, book: Book) -> None:
        """Remembers the trades that have not elected their stops yet."""
        for number, price_ticks, priority in book.unelected:
            if number not in self.tables.owed:
                self.tables.owed[number] = OwedElection(book.instrument, price_ticks, priority)

    def settle(self, book: Book) -> None:
        """The first of these trades has elected all its stops."""
        number, _, _ = book.unelected.popleft()
        self.tables.owed.pop(number, None)

    def due(self, tick_ns: int) -> Iterator[BookOrder]:
        """Orders whose expiry has come, in order of (expiry, order id); to be removed as they are given.

        A bucket is sorted once, when its time has come: no order that expires then can enter any more.
        """
        while self._expiries and self._expiries.peekitem(0)[0] <= tick_ns:
            self._due.extend(sorted(self._expiries.popitem(0)[1]))
        while self._due:
            order = self.orders.get(self._due[0])
            if order is not None:
                yield order
            else:
                self._due.popleft()

    def check_expiries(self) -> None:
        """Asserts that each order that expires is scheduled, or due."""
        scheduled = {order_id: expiry for expiry, ids in self._expiries.items() for order_id in ids}
        expiring = {
            order.order_id: order.expires_at_ns for order in self.orders.values() if order.expires_at_ns
        }
        assert all(ids for ids in self._expiries.values()), "an expiry has no order"
        due = {order_id: expiring[order_id] for order_id in self._due if order_id in expiring}
        assert expiring == scheduled | due, "an order that expires is neither scheduled nor due"

    def _rebuild(self) -> None:
        of_book: dict[str, list[BookOrder]] = {symbol: [] for symbol in self.by_symbol}
        for order in sorted(self.orders.values(), key=attrgetter("priority")):
            of_book[order.instrument].append(order)
            self._index(order)
        for symbol, orders in of_book.items():
            self.by_symbol[symbol].rebuild(orders)

    def _index(self, order: BookOrder) -> None:
        order_id = order.order_id
        ids = self.by_account.get(order.account)
        if ids is None:
            self.by_account[order.account] = {order_id}
        else:
            ids.add(order_id)
        if order.expires_at_ns is not None:
            self._schedule(order.expires_at_ns, order_id)

    def _schedule(self, expires_at_ns: int, order_id: int) -> None:
        bucket = self._expiries.get(expires_at_ns)
        if bucket is None:
            self._expiries[expires_at_ns] = {order_id}
        else:
            bucket.add(order_id)

    def _unschedule(self, expires_at_ns: int, order_id: int) -> None:
        bucket = self._expiries.get(expires_at_ns)
        if bucket is not None:  # else the order is due, and ``due`` finds it gone
            bucket.remove(order_id)
            if not bucket:
                del self._expiries[expires_at_ns]


def check_books(books: Books) -> None:
    """Asserts everything that must hold of a partition of the books between two commands."""
    of_book: dict[str, dict[int, BookOrder]] = {symbol: {} for symbol in books.by_symbol}
    by_account: dict[str, set[int]] = {}
    for order_id, order in books.orders.items():
        assert order_id == order.order_id, f"order {order.order_id} is filed under {order_id}"
        of_book[order.instrument][order_id] = order
        by_account.setdefault(order.account, set()).add(order_id)
    assert books.by_account == by_account, "the index by account is not that of the orders"
    for symbol, book in books.by_symbol.items():
        assert books.tables.books[symbol] == book.row(), f"{symbol}: its row is behind"
        check_book(book, of_book[symbol])
    owed = {number for book in books.by_symbol.values() for number, _, _ in book.unelected}
    assert books.tables.owed.keys() == owed, "the elections that are owed are not those of the books"
    books.check_expiries()
