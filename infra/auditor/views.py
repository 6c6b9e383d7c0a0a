"""Check 8: what the live views answer is what the log gives."""

import asyncio
from collections.abc import Iterator, Mapping
from decimal import Decimal
from itertools import islice
from typing import Any, Final
from urllib.parse import quote

from aiohttp import ClientError, ClientSession, ClientTimeout

from infra.auditor.agreement import Reference
from infra.auditor.ledger import Ledger
from infra.auditor.money import Held
from infra.auditor.orders import Orders
from infra.auditor.report import Report, Tally
from schemas.reference import Instrument

ASKED_MAX: Final = 1_000  # accounts that are asked for: a view takes about a millisecond
DEPTH_MAX: Final = 1_000  # levels that the view of a book shows
NO_LEVEL: Final = (0, 0)
TIMEOUT: Final = ClientTimeout(total=10)
_E9: Final = 9


def check_views(
    url: str, token: str | None, reference: Reference, ledger: Ledger, orders: Orders, report: Report
) -> None:
    """Asks one worker's views, which pass a question on to whoever knows."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    asyncio.run(_ask_all(url.rstrip("/"), headers, reference, ledger, orders, report))


async def _ask_all(
    url: str,
    headers: Mapping[str, str],
    reference: Reference,
    ledger: Ledger,
    orders: Orders,
    report: Report,
) -> None:
    accounts = report.tally("views of accounts are what the log gives")
    books = report.tally("views of books are what the log gives")
    if len(reference.accounts) > ASKED_MAX:
        accounts.note = f"the first {ASKED_MAX} of {len(reference.accounts)} accounts were asked for"
    async with ClientSession(headers=headers, timeout=TIMEOUT) as session:
        for name, partition in islice(sorted(reference.accounts.items()), ASKED_MAX):
            path = f"/accounts/{quote(name)}"
            risk = await _get(session, url + path, accounts)
            settled = await _get(session, f"{url}{path}/positions", accounts)
            if risk is not None and settled is not None:
                book = ledger.book(partition)
                positions = {
                    symbol: held for (owner, symbol), held in book.positions.items() if owner == name
                }
                cash = {
                    currency: (amount, book.unsettled.get((owner, currency), 0))
                    for (owner, currency), amount in book.cash.items()
                    if owner == name
                }
                _account(name, risk, settled, positions, cash, reference, orders, accounts)
        for symbol, instrument in sorted(reference.instruments.items()):
            shown = await _get(session, f"{url}/books/{quote(symbol)}?depth={DEPTH_MAX}", books)
            if shown is not None:
                _book(shown, instrument, reference, books)


async def _get(session: ClientSession, url: str, tally: Tally) -> Any:
    try:
        async with session.get(url) as answer:
            if answer.ok:
                return await answer.json()
            tally.miss(f"{url}: {answer.status} {(await answer.text())[:200]}")
    except (ClientError, TimeoutError) as error:
        tally.miss(f"{url}: {error!r}")
    return None


def _account(
    name: str,
    risk: Any,
    settled: Any,
    positions: Mapping[str, Held],
    cash: Mapping[str, tuple[int, int]],
    reference: Reference,
    orders: Orders,
    tally: Tally,
) -> None:
    shown = {it["currency"]: (Decimal(it["cash"]), Decimal(it["unsettled"])) for it in risk["balances"]}
    for currency, amounts in cash.items():
        exponent = reference.exponents.get(currency, 0)  # a currency of no instrument is shown in minor units
        wanted = tuple(Decimal(amount).scaleb(-exponent) for amount in amounts)
        tally.equal(shown.get(currency, (0, 0)), wanted, f"{name}, {currency}")
    booked = {it["instrument"]: it for it in settled["positions"]}
    for symbol, held in positions.items():
        row, instrument = booked.get(symbol, {}), reference.instruments[symbol]
        found = tuple(
            Decimal(row.get(field, "NaN")) for field in ("quantity", "open_cost", "realised_profit")
        )
        minor = -instrument.currency_exponent
        due = (
            quantity_of(instrument, held.quantity_lots),
            Decimal(held.open_cost_minor).scaleb(minor),
            Decimal(held.realised_minor).scaleb(minor),
        )
        tally.equal(found, due, f"{name}, {symbol}")
    on_order = {
        it["instrument"]: (Decimal(it["open_buys"]), Decimal(it["open_sells"])) for it in risk["positions"]
    }
    for symbol, lots in _open_lots(name, orders).items():
        need = tuple(quantity_of(reference.instruments[symbol], it) for it in lots)
        tally.equal(on_order.get(symbol), need, f"{name}, {symbol}: on order")


def _open_lots(name: str, orders: Orders) -> dict[str, tuple[int, int]]:
    lots: dict[str, tuple[int, int]] = {}
    for order in orders.open.values():
        if order.account == name:
            buys, sells = lots.get(order.instrument, (0, 0))
            bought = order.leaves if order.side == "BUY" else 0
            lots[order.instrument] = buys + bought, sells + order.leaves - bought
    return lots


def _book(shown: Any, instrument: Instrument, reference: Reference, tally: Tally) -> None:
    found = {
        (side, Decimal(it["price"])): (Decimal(it["quantity"]), it["order_count"])
        for side, levels in (("BUY", shown["bids"]), ("SELL", shown["asks"]))
        for it in levels
    }
    wanted = dict(_levels(instrument, reference))
    if all(len(shown[side]) < DEPTH_MAX for side in ("bids", "asks")):
        for key in found.keys() | wanted.keys():
            name = f"{instrument.symbol} {key[0]} {key[1]}"
            tally.equal(found.get(key, NO_LEVEL), wanted.get(key, NO_LEVEL), name)
    else:
        tally.note = f"books deeper than {DEPTH_MAX} levels were left out"


def _levels(
    instrument: Instrument, reference: Reference
) -> Iterator[tuple[tuple[str, Decimal], tuple[Decimal, int]]]:
    for (symbol, side, ticks), (lots, count) in reference.levels.items():
        if symbol == instrument.symbol:
            price = Decimal(ticks * instrument.tick_size_e9).scaleb(-_E9)
            yield (side, price), (quantity_of(instrument, lots), count)


def quantity_of(instrument: Instrument, lots: int) -> Decimal:
    """Lots in the instrument's units."""
    return Decimal(lots * instrument.lot_size_e9).scaleb(-_E9)
