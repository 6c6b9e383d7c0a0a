"""A whole engine in memory: the real folds over topics that are lists, and a random market for them."""

from collections.abc import Iterator, Mapping
from random import Random
from typing import Any

from agents.control import CONTROL_STAGE
from agents.matching import MATCHING_STAGE
from agents.risk import RISK_STAGE
from agents.settlement import SETTLEMENT_STAGE
from agents.stage.fold import Fold, InboxRecord, Stage
from infra.auditor.log import LogRecord, Place, Span
from schemas import codec, commands
from schemas.envelopes import AccountCommands, ControlCommands
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.partitioner import partition_of
from schemas.record import Record
from schemas.reference import Account, FeeRate, Instrument
from schemas.topics import ACCOUNT_COMMANDS, BY_NAME, CONTROL, TOPICS, PartitionCounts

ENV = "test"
COUNTS = PartitionCounts(accounts=2, books=2)
STAGES: tuple[Stage, ...] = (CONTROL_STAGE, RISK_STAGE, MATCHING_STAGE, SETTLEMENT_STAGE)
START_NS = 19_998 * NANOSECONDS_PER_DAY  # a Wednesday
ACCOUNTS = ("alice", "bob", "carol", "dave", "erin", "frank")
SYMBOLS = ("BTC", "ACME", "GAS")
STEP_NS = 10_000_000


class MemoryLog:
    """A ``Log`` of lists."""

    def __init__(self, records: Mapping[Place, list[LogRecord]]) -> None:
        self.records = dict(records)
        self._starts: dict[Place, int] = {}

    def topics(self) -> Mapping[str, int]:
        """How many partitions each topic has."""
        return {name: sum(place[0] == name for place in self.records) for name, _ in self.records}

    def bounds(self, place: Place) -> Span:
        """The first offset and the one behind the last."""
        start, records = self._starts.get(place, 0), self.records[place]
        return start, records[-1].offset + 1 if records else start

    def delete(self, place: Place, end: int) -> None:
        """Retention deletes what is older."""
        self.records[place] = [record for record in self.records[place] if record.offset >= end]
        self._starts[place] = end

    def read(self, place: Place, span: Span) -> Iterator[LogRecord]:
        """The records of a span."""
        return (record for record in self.records[place] if span[0] <= record.offset < span[1])

    def copy(self) -> "MemoryLog":
        """A log to spoil."""
        return MemoryLog({place: list(records) for place, records in self.records.items()})


class Engine:
    """Four stages; ``pump`` lets them run until nothing is left to do, ``checkpoint`` commits all."""

    def __init__(self) -> None:
        names = {topic.name: COUNTS.of(topic) for topic in TOPICS}
        names |= {changelog(stage): COUNTS.of(BY_NAME[stage.inbox]) for stage in STAGES}
        self.log = MemoryLog({(name, p): [] for name, count in names.items() for p in range(count)})
        self.folds = {
            (stage.name, p): Fold(stage, COUNTS, p)
            for stage in STAGES
            for p in range(COUNTS.of(BY_NAME[stage.inbox]))
        }
        for fold in self.folds.values():
            fold.begin()
        self.now_ns = START_NS

    def append(self, place: Place, value: bytes | None, key: bytes | None = None) -> None:
        """Adds a record at the end of a place."""
        records = self.log.records[place]
        records.append(LogRecord(len(records), self.now_ns // 1_000_000, key, value))

    def account(self, *items: Any) -> None:
        """An edge sends commands of one account."""
        partition = partition_of(items[0].account, COUNTS.accounts)
        self.append((ACCOUNT_COMMANDS, partition), codec.encode(AccountCommands(items=items)))

    def control(self, *items: Any) -> None:
        """An operator, or the clock, sends commands."""
        self.append((CONTROL, 0), codec.encode(ControlCommands(items=items)))

    def tick(self) -> None:
        """The clock, now."""
        self.control(commands.Tick(tick_ns=self.now_ns, at_ns=self.now_ns))

    def pump(self) -> None:
        """Runs all stages to the end of their inboxes."""
        while sum(self._step(fold) for fold in self.folds.values()):
            pass

    def checkpoint(self) -> None:
        """Commits every fold's changes to its changelog."""
        for (_, partition), fold in self.folds.items():
            for key, value in fold.checkpoint().entries():
                self.append((changelog(fold.stage), partition), value, key)

    def repeat(self, place: Place, offset: int) -> None:
        """Says a record again, as a worker does that was killed before its checkpoint."""
        self.append(place, self.log.records[place][offset].value)

    def _step(self, fold: Fold) -> bool:
        records = self.log.records[fold.stage.inbox, fold.partition]
        if fold.next_offset == len(records):
            return False
        for topics, partition, value, _ in fold.apply(InboxRecord(*records[fold.next_offset])):
            for topic in topics:
                self.append((topic, partition), value)
        return True


def changelog(stage: Stage) -> str:
    """The changelog of a stage's first replica."""
    return f"{ENV}-{stage.name}-a-changelog"


def open_market(engine: Engine) -> None:
    """Defines instruments and accounts, and lets cash and goods in."""
    for symbol, kind, days in (("BTC", "SPOT", 0), ("ACME", "EQUITY", 2), ("GAS", "FUTURE", 0)):
        engine.control(
            commands.DefineInstrument(command_id=f"i-{symbol}", instrument=instrument(symbol, kind, days))
        )
    for number, name in enumerate(ACCOUNTS):
        rates = (FeeRate(fee_class="default", maker_bps=-1, taker_bps=3 + number),)
        engine.control(
            commands.DefineAccount(
                command_id=f"a-{name}",
                account=Account(
                    account=name, account_type="CASH" if name == "frank" else "MARGIN", fee_rates=rates
                ),
            )
        )
    engine.tick()
    engine.pump()
    for name in ACCOUNTS:
        engine.account(
            commands.Deposit(
                account=name, command_id="d", currency="USD", amount_minor=10**9, at_ns=engine.now_ns
            )
        )
    engine.pump()


def instrument(symbol: str, kind: Any, days: int) -> Instrument:
    """An instrument with a tick and a lot of one."""
    return Instrument(
        symbol=symbol,
        kind=kind,
        currency="USD",
        currency_exponent=2,
        tick_size_e9=10**7,
        lot_size_e9=10**9,
        multiplier=3,
        minor_per_tick_lot=3,
        maximum_quantity_lots=1_000,
        maximum_notional_minor=10**12,
        collar_bps=2_000,
        initial_margin_bps=1_000,
        settlement_days=days,
    )


def trade_at_random(engine: Engine, seed: int, steps: int, prefix: str = "c") -> None:
    """Places, cancels, replaces and repeats orders of every type, over three days, ticks between."""
    random = Random(seed)
    ids: dict[str, list[str]] = {name: [] for name in ACCOUNTS}
    for step in range(steps):
        engine.now_ns += STEP_NS
        if step in (steps // 4, steps // 3, steps // 2, 2 * steps // 3, 3 * steps // 4):
            engine.now_ns += NANOSECONDS_PER_DAY
        name = random.choice(ACCOUNTS)
        command = _command(random, name, f"{prefix}{step}", ids[name], engine.now_ns)
        engine.account(*([command] * random.choice((1, 1, 1, 1, 2))))
        if step % 10 == 0:
            engine.tick()
        if random.random() < 0.7:
            engine.pump()
    engine.tick()
    engine.pump()


def _command(random: Random, account: str, name: str, ids: list[str], at_ns: int) -> Record:
    dice = random.random()
    if ids and dice < 0.15:
        return commands.CancelOrder(
            account=account, client_order_id=name, original_client_order_id=random.choice(ids), at_ns=at_ns
        )
    if ids and dice < 0.3:
        original = ids.pop(random.randrange(len(ids)))
        ids.append(name)
        return commands.ReplaceOrder(
            account=account,
            client_order_id=name,
            original_client_order_id=original,
            quantity_lots=random.randint(1, 12),
            price_ticks=random.choice((None, random.randint(95, 105))),
            at_ns=at_ns,
        )
    if dice < 0.32:
        return commands.MassCancel(account=account, command_id=name, at_ns=at_ns)
    if dice < 0.36:
        return commands.Withdraw(
            account=account,
            command_id=name,
            currency="USD",
            amount_minor=random.randint(1, 10**9),
            at_ns=at_ns,
        )
    ids.append(name)
    kind: Any = random.choice(("LIMIT", "LIMIT", "LIMIT", "LIMIT", "MARKET", "STOP", "STOP_LIMIT"))
    force: Any = (
        random.choice(("IOC", "FOK")) if kind == "MARKET" else random.choice(("GTC", "GTC", "DAY", "IOC"))
    )
    quantity = random.randint(1, 10)
    return commands.PlaceOrder(
        account=account,
        client_order_id=name,
        instrument=random.choice(SYMBOLS),
        side=random.choice(("BUY", "SELL")),
        order_type=kind,
        time_in_force=force,
        quantity_lots=quantity,
        price_ticks=random.randint(95, 105) if kind in ("LIMIT", "STOP_LIMIT") else None,
        stop_price_ticks=random.randint(97, 103) if kind in ("STOP", "STOP_LIMIT") else None,
        display_quantity_lots=random.randint(1, quantity) if kind == "LIMIT" and dice > 0.9 else None,
        self_trade_prevention=random.choice((None, "CANCEL_OLDEST", "DECREMENT", "CANCEL_BOTH", "NONE")),
        at_ns=at_ns,
    )
