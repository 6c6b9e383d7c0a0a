"""What the demo found, for a reader: tables, the checks one by one, and what the exit code is made of."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Final

import msgspec
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from infra.demo.accounts import LOTS_PER_BTC, MINOR_PER_USD, TICKS_PER_USD
from infra.demo.compare import (
    CAVEAT,
    EXACT_TRADES_MINIMUM,
    MADE_UP_TRADES_MAXIMUM,
    BookRow,
    Difference,
    RefusalComparison,
    TradeComparison,
)
from infra.demo.latency import Percentiles
from infra.demo.plain_book import Level

_MOST_SHOWN: Final = 10


class Check(msgspec.Struct, frozen=True):
    """One thing that must hold, and what was seen."""

    name: str
    holds: bool
    seen: str


class StageKill(msgspec.Struct, frozen=True):
    """A stage's worker that was killed: when, how soon it was ready again, and the repeats it made."""

    stage: str
    at_s: float
    ready_after_s: float
    repeats_dropped: int


class Money(msgspec.Struct, frozen=True, kw_only=True):
    """Positions and cash at the end; ``outside`` is the world that deposits come from, and owes them."""

    accounts_holding: int
    gross_position_lots: int
    net_position_lots: int
    deposited_minor: int
    accounts_cash_minor: int
    house_cash_minor: int
    clearing_cash_minor: int
    outside_cash_minor: int


class Slice(msgspec.Struct, frozen=True, kw_only=True):
    """Ten seconds of the session's trades, as Postgres sums them; ``average`` is their price by volume, in USD."""

    since: str
    trades: int
    volume: Decimal
    notional: Decimal
    average: Decimal


class Proof(msgspec.Struct, frozen=True, kw_only=True):
    """What the sinks keep; ``took_s`` is from the session's end until they had all of it."""

    took_s: float
    slices: Sequence[Slice]
    checks: Sequence[Check]
    reports: str


class DemoResult(msgspec.Struct, frozen=True, kw_only=True):
    """All that the report says."""

    rows: Mapping[str, int]
    commands: int
    answered: int
    seconds: float
    latency: Percentiles
    latency_in_peace: Percentiles
    trades: TradeComparison
    refusals: RefusalComparison
    cancel_refusals: Mapping[str, int]
    book: Sequence[BookRow]
    money: Money
    kills: Sequence[StageKill]
    gaps: int
    further: Sequence[Check]
    proof: Proof | None
    views: Sequence[str]
    picture: str


def checks(result: DemoResult) -> tuple[Check, ...]:
    """Every invariant of the demo, and then what the views, the auditor and the sinks' proof found."""
    trades, refusals, money = result.trades, result.refusals, result.money
    unlike = len(trades.unlike_plain_book)
    return (
        Check(
            f"at least {EXACT_TRADES_MINIMUM} of the recorded trades are exact",
            trades.exact >= EXACT_TRADES_MINIMUM,
            f"{trades.exact} of {trades.recorded}",
        ),
        Check(
            f"at most {MADE_UP_TRADES_MAXIMUM} trade is made up",
            len(trades.made_up) <= MADE_UP_TRADES_MAXIMUM,
            str(len(trades.made_up)),
        ),
        Check("every trade is the plain book's", not unlike, f"{unlike} differ"),
        Check(
            "the crossing post-only orders are refused, as the exchange did, and no others",
            not refusals.crossing_only_engine and not refusals.crossing_only_recorded,
            f"{refusals.crossing_in_both} in both, {refusals.crossing_only_recorded} only recorded,"
            f" {refusals.crossing_only_engine} only here",
        ),
        Check(
            "every other refusal is explained by the recording, and no cancel is refused",
            not refusals.unexplained and not any(result.cancel_refusals.values()),
            f"{refusals.unexplained} unexplained, {sum(result.cancel_refusals.values())} cancels",
        ),
        Check(
            "every command has an answer",
            result.answered == result.commands,
            f"{result.answered} of {result.commands}",
        ),
        Check("no record is missing between the stages", result.gaps == 0, f"{result.gaps} gaps"),
        Check(
            "every stage was killed and made repeats, which were dropped",
            _all_repeated(result.kills),
            _repeats(result),
        ),
        Check(
            "long and short positions sum to zero",
            money.net_position_lots == 0,
            _btc(money.net_position_lots),
        ),
        Check(
            "the cash of accounts and house is what was deposited",
            money.accounts_cash_minor + money.house_cash_minor == money.deposited_minor,
            f"{_usd(money.accounts_cash_minor)} + {_usd(money.house_cash_minor)}",
        ),
        Check(
            "the world outside owes exactly that",
            money.outside_cash_minor == -money.deposited_minor,
            _usd(money.outside_cash_minor),
        ),
        Check(
            "both legs of every trade went through clearing, which is zero",
            money.clearing_cash_minor == 0,
            _usd(money.clearing_cash_minor),
        ),
        Check(
            "the best levels of the book at the end are the recorded ones",
            all(row.recorded == row.engine for row in result.book),
            f"{sum(row.recorded == row.engine for row in result.book)} of {len(result.book)}",
        ),
        *result.further,
        *(result.proof.checks if result.proof else ()),
    )


def exit_code(found: Sequence[Check]) -> int:
    """0 if every check holds, else 1."""
    return 0 if all(check.holds for check in found) else 1


def print_report(result: DemoResult, console: Console) -> int:
    """Print everything and give the exit code; tables are plain where the console is no terminal."""
    found = checks(result)
    for table in (_input(result), _trades(result), _refusals(result), _book(result), _run(result)):
        console.print(table, "")
    _differences(console, "Recorded, not made", result.trades.missing)
    _differences(console, "Made, not recorded", result.trades.made_up)
    console.print(escape(CAVEAT), "", soft_wrap=True)
    console.print(_kills(result), "", _money(result.money), "")
    if result.proof:
        console.print(_slices(result.proof), "")
    console.print(_checks(found), "")
    for view in result.views:
        console.print(f"View     {escape(view)}", soft_wrap=True)
    console.print(f"Picture  {escape(result.picture)}", soft_wrap=True)
    if result.proof:
        console.print(f"Report   {escape(result.proof.reports)}", soft_wrap=True)
    broken = sum(not check.holds for check in found)
    console.print(
        f"[bold red]{broken} of {len(found)} checks do not hold[/]"
        if broken
        else f"[bold green]All {len(found)} checks hold[/]"
    )
    return exit_code(found)


def _table(title: str, *columns: str) -> Table:
    table = Table(
        title=title,
        title_justify="left",
        title_style="bold",
        header_style="dim",
        show_header=any(columns),
        box=None,
    )
    for number, column in enumerate(columns):
        table.add_column(column, justify="left" if number == 0 else "right")
    return table


def _input(result: DemoResult) -> Table:
    table = _table(
        "The recording: Bitstamp BTC/USD, 2 May 2026, 02:36 to 03:06 UTC", "rows of the file", "count"
    )
    for name, count in sorted(result.rows.items(), key=lambda row: -row[1]):
        table.add_row(name, f"{count:,}")
    table.add_row("all rows", f"{sum(result.rows.values()):,}", style="bold")
    return table


def _trades(result: DemoResult) -> Table:
    trades = result.trades
    table = _table("Trades", "", "count")
    table.add_row("recorded", f"{trades.recorded:,}")
    table.add_row("made by the engine", f"{trades.made:,}")
    table.add_row("exact: both ids, price and amount", f"{trades.exact:,}", style="bold")
    table.add_row("recorded, not made", f"{len(trades.missing):,}")
    table.add_row("made, not recorded", f"{len(trades.made_up):,}")
    return table


def _differences(console: Console, title: str, differences: Sequence[Difference]) -> None:
    for difference in differences[:_MOST_SHOWN]:
        fill = difference.fill
        console.print(
            f"{title}: buy {fill.buy_id}, sell {fill.sell_id}, {_btc(fill.quantity_lots)} at"
            f" {_price(fill.price_ticks)}: {escape(difference.why)}.",
            "",
            soft_wrap=True,
            highlight=False,
        )
    if len(differences) > _MOST_SHOWN:
        console.print(f"{title}: {len(differences) - _MOST_SHOWN} more", "")


def _refusals(result: DemoResult) -> Table:
    table = _table("Refusals", "reason", "count", "")
    for reason, count in result.refusals.by_reason.items():
        table.add_row(reason, f"{count:,}", result.refusals.explained.get(reason, "as the exchange did"))
    for reason, count in sorted(result.cancel_refusals.items()):
        table.add_row(f"{reason} (cancel or replace)", f"{count:,}", "")
    table.columns[2].justify = "left"
    return table


def _book(result: DemoResult) -> Table:
    table = _table("The book at the end, without the ghosts", "side", "recorded", "BTC", "engine", "BTC")
    sells = [row for row in result.book if row.side == "SELL"]
    buys = [row for row in result.book if row.side == "BUY"]
    for row in (*reversed(sells), *buys):
        style = None if row.recorded == row.engine else "yellow"
        table.add_row(row.side.lower(), *_level(row.recorded), *_level(row.engine), style=style)
    return table


def _run(result: DemoResult) -> Table:
    table = _table("The run", "", "")
    table.add_row("commands sent", f"{result.commands:,}")
    table.add_row("seconds, kills included", f"{result.seconds:.1f}")
    table.add_row("commands a second", f"{result.commands / max(result.seconds, 0.001):,.0f}")
    for name, latency in (("before the first kill", result.latency_in_peace), ("in all", result.latency)):
        table.add_row(
            f"sent to answered, {name}: p50, p99, p99.9",
            f"{latency.p50_ms:,.1f} / {latency.p99_ms:,.1f} / {latency.p999_ms:,.1f} ms",
        )
    return table


def _kills(result: DemoResult) -> Table:
    table = _table("Workers killed (kill -9)", "stage", "at", "ready after", "repeats dropped")
    for kill in result.kills:
        table.add_row(
            kill.stage, f"{kill.at_s:.1f} s", f"{kill.ready_after_s:.1f} s", f"{kill.repeats_dropped:,}"
        )
    return table


def _money(money: Money) -> Table:
    table = _table("Positions and cash", "", "")
    table.add_row("accounts with a position", f"{money.accounts_holding:,}")
    table.add_row("long and short together", _btc(money.gross_position_lots))
    table.add_row("long less short", _btc(money.net_position_lots))
    table.add_row("deposited", _usd(money.deposited_minor))
    table.add_row("cash of the accounts", _usd(money.accounts_cash_minor))
    table.add_row("fees of the house", _usd(money.house_cash_minor))
    table.add_row("clearing", _usd(money.clearing_cash_minor))
    table.add_row("the world outside", _usd(money.outside_cash_minor))
    return table


def _slices(proof: Proof) -> Table:
    table = _table("The trades, summed by SQL in Postgres", "from (UTC)", "trades", "BTC", "USD", "average")
    for it in proof.slices:
        table.add_row(
            it.since, f"{it.trades:,}", f"{it.volume:.8f}", f"{it.notional:,.2f}", f"{it.average:,.2f}"
        )
    table.caption = f"Rows and archive had all of it {proof.took_s:.0f} s after the session"
    table.caption_justify = "left"
    return table


def _checks(found: Sequence[Check]) -> Table:
    table = _table("What was checked", "", "", "seen")
    for check in found:
        table.add_row(
            "[green]holds[/]" if check.holds else "[bold red]BROKEN[/]",
            escape(check.name),
            escape(check.seen),
        )
    for column in table.columns:
        column.justify = "left"
    return table


def _all_repeated(kills: Sequence[StageKill]) -> bool:
    repeated = {kill.stage for kill in kills if kill.repeats_dropped}
    return bool(kills) and repeated == {kill.stage for kill in kills}


def _repeats(result: DemoResult) -> str:
    return ", ".join(f"{kill.stage} {kill.repeats_dropped:,}" for kill in result.kills) or "no kill"


def _level(level: Level | None) -> tuple[str, str]:
    return (
        ("-", "-")
        if level is None
        else (_price(level.price_ticks), f"{level.quantity_lots / LOTS_PER_BTC:.8f}")
    )


def _price(ticks: int) -> str:
    return f"{ticks // TICKS_PER_USD:,}.{ticks % TICKS_PER_USD:02d}"


def _btc(lots: int) -> str:
    return f"{lots / LOTS_PER_BTC:.8f} BTC"


def _usd(minor: int) -> str:
    """Give all ten decimals: sums are compared to the last unit."""
    whole, rest = divmod(abs(minor), MINOR_PER_USD)
    return f"{'-' if minor < 0 else ''}{whole:,}.{rest:010d} USD"
