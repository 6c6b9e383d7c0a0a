"""The whole demo: an engine of its own, the recorded session through it, and what came of it."""

import shutil
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from rich.console import Console
from rich.progress import Progress

from infra.auditor import run as auditor
from infra.commands.progress import jar_bar, uninterrupted, until_interrupted
from infra.demo import views
from infra.demo.accounts import ACCOUNT_NAMES
from infra.demo.compare import TradeComparison, compare_books, compare_refusals, compare_trades
from infra.demo.killer import STAGES
from infra.demo.latency import over_all, over_time
from infra.demo.picture import Kill, PictureData, TradePoint, draw
from infra.demo.plain_book import Fill
from infra.demo.proof import prove
from infra.demo.replay import Replay
from infra.demo.report import Check, DemoResult, Proof, print_report
from infra.demo.session import Session
from infra.engine import Engine
from infra.processes import FolderLock
from infra.settings import Settings
from schemas.commands import PlaceOrder
from schemas.events import Trade

ARCHIVE_COMMIT_S: Final = 5  # its last commit is waited for
_NS_PER_MINUTE: Final = 60_000_000_000
_NS_PER_S: Final = 1_000_000_000
_BOOK_DEPTH: Final = 10
_DRAWN_DEPTH: Final = 200


def run(settings: Settings, session: Session, console: Console, *, rate: int, keep: bool) -> int:
    """Run the session through an engine under ``DATA_FOLDER/demo``, and give the exit code.

    Raises:
        OperatorError: the engine did not come up, or the session did not get through it.

    """
    settings = fresh(settings)
    engine = Engine(settings, lambda line: console.log(line, highlight=False))
    code = 1
    try:
        with until_interrupted():
            with jar_bar(console) as on_jar:
                engine.start(on_jar, with_sinks=False)
            code = print_report(_play(engine, session, console, rate), console)
            if keep:
                console.print(f"The engine stays up, Ctrl-C stops it. {_addresses(engine)}", soft_wrap=True)
                engine.run()
    finally:
        with uninterrupted():
            engine.stop()
    return code


def _addresses(engine: Engine) -> str:
    """Where its servers are; in an environment so, the other commands of `trading` find this engine."""
    settings, sinks = engine.settings, engine.sinks
    addresses = {"Kafka": settings.kafka_bootstrap} | (sinks.addresses if sinks else {})
    told = ", ".join(f"{name} {address}" for name, address in addresses.items())
    return (
        f"{told}. For other commands: export TRADING_DATA_FOLDER={settings.data_folder}"
        f" TRADING_ACCOUNT_PARTITIONS={settings.account_partitions} TRADING_BOOK_PARTITIONS={settings.book_partitions}"
    )


def fresh(settings: Settings) -> Settings:
    """Empty the demo's folder, and give settings for it.

    With one account partition the engine sees the orders of all accounts as the recording has them, and its one
    instrument needs one partition of books. The folder must be new, since an engine answers a command that it
    knows with the first outcome.
    """
    folder = settings.data_folder.absolute() / "demo"
    lock = FolderLock(folder).acquire()
    for child in folder.iterdir():
        if child.is_symlink():  # Postgres, where its user may not enter the demo's folder
            shutil.rmtree(child.resolve(), ignore_errors=True)
            child.unlink()
        elif child.is_dir():
            shutil.rmtree(child)
    lock.release()
    return settings.model_copy(
        update={
            "data_folder": folder,
            "account_partitions": 1,
            "book_partitions": 1,
            "workers": (*STAGES, "audit"),  # each alone, as each stage is killed
            "archive_commit_interval_s": ARCHIVE_COMMIT_S,
        }
    )


def _play(engine: Engine, session: Session, console: Console, rate: int) -> DemoResult:
    with Progress(console=console, transient=True) as bar:
        task = bar.add_task(f"{rate:,} commands a second", total=len(session.commands))
        replay = Replay(
            engine,
            session,
            rate,
            engine.settings.start_timeout_s,
            lambda done, total: bar.update(task, completed=done, total=total),
        )
        try:
            replay.prepare()
            replay.run()
        finally:
            replay.close()
    return _result(engine, session, replay, console)


def _checked(
    engine: Engine, trades: Sequence[Trade], views_url: str, console: Console
) -> tuple[list[Check], Proof | None]:
    """What the auditor finds, on a core of its own, and meanwhile what the sinks keep."""
    settings = engine.settings
    with ProcessPoolExecutor(1, get_context("spawn")) as other_core:
        console.log("auditing all topics")
        audit = other_core.submit(_audit, settings, views_url)
        proof = None
        if engine.sinks:
            proof = prove(engine, trades, settings.start_timeout_s, console.log, other_core)
        return audit.result(), proof


def _result(engine: Engine, session: Session, replay: Replay, console: Console) -> DemoResult:
    collector = replay.collector
    samples = replay.samples()
    trades = compare_trades(session, collector.trades, collector.refusals)
    path = engine.settings.data_folder / "demo.png"
    address = engine.views["risk"]
    told, viewed = collector.book(_BOOK_DEPTH), views.book(address, engine.settings, _BOOK_DEPTH)
    kills = replay.kills()
    draw(
        PictureData(
            **_points(session, trades),
            recorded_book=session.recorded_book,
            engine_book=collector.book(_DRAWN_DEPTH),
            latency=over_time(samples),
            kills=[Kill(kill.stage, kill.at_s) for kill in kills],
        ),
        path,
    )
    audit, proof = _checked(engine, collector.trades, address, console)
    return DemoResult(
        rows=session.rows,
        commands=len(session.commands),
        answered=replay.answered(),
        seconds=(replay.end_ns - replay.start_ns) / _NS_PER_S,
        latency=over_all(samples),
        latency_in_peace=over_all(replay.samples_in_peace()),
        trades=trades,
        refusals=compare_refusals(session, collector.refusals),
        cancel_refusals=collector.cancel_refusals,
        book=compare_books(session, viewed, _BOOK_DEPTH),
        money=collector.money(sum(deposit.amount_minor for deposit in session.deposits)),
        kills=kills,
        gaps=collector.gaps.total(),
        further=[
            Check("the live book is what market data told", viewed == told, f"{_BOOK_DEPTH} levels a side"),
            *audit,
        ],
        proof=proof,
        views=views.worth_a_look(address, ACCOUNT_NAMES[0]),
        picture=str(path),
    )


def _audit(settings: Settings, views_url: str) -> list[Check]:
    """Every line of the auditor, as `trading check` gives them."""
    found: list[Check] = []
    for tally in auditor.run(settings, views_url=views_url):
        seen = f"{tally.breaches:,} of {tally.count:,} break it" if tally.breaches else f"{tally.count:,}"
        notes = (*tally.examples, tally.note) if tally.breaches else (tally.note,)
        text = "; ".join((seen, *filter(None, notes)))
        found.append(Check(f"audit: {tally.name}", not tally.breaches, text))
    return found


def _points(session: Session, trades: TradeComparison) -> dict[str, list[TradePoint]]:
    """Give the picture's trades in the recording's time; a made-up one stands where its taker was sent."""
    left = Counter(difference.fill for difference in trades.missing)
    exact: list[TradePoint] = []
    missing: list[TradePoint] = []
    for trade in session.recorded:
        lost = left[trade.fill] > 0
        left[trade.fill] -= lost
        (missing if lost else exact).append(_point(session, trade.fill, trade.at_ns))
    sent_at_ns = {
        order.client_order_id: order.at_ns for order in session.commands if isinstance(order, PlaceOrder)
    }
    made_up = [
        _point(session, fill, max(sent_at_ns[fill.buy_id], sent_at_ns[fill.sell_id]))
        for fill in (difference.fill for difference in trades.made_up)
    ]
    return {"exact": exact, "missing": missing, "made_up": made_up}


def _point(session: Session, fill: Fill, at_ns: int) -> TradePoint:
    return TradePoint((at_ns - session.opened_at_ns) / _NS_PER_MINUTE, fill.price_ticks, fill.quantity_lots)
