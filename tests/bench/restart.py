"""Restart after kill -9 with many open orders: seconds until a stage is ready again, and what an order weighs.

    python -m tests.bench.restart [ORDERS [ACCOUNTS]]

The orders rest, spread over a thousand levels on each side of fifty books. Risk and matching are killed one
after the other, and then at once; the seconds count from the kill, with the supervisor's notice and its pause.
"""

import re
import sys
import time
from collections.abc import Iterator, Sequence
from random import Random
from typing import Any, Final

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from infra.bench.command import scratch
from infra.bench.flow import INSTRUMENTS, MID_TICKS, instruments
from infra.bench.load import produce
from infra.bench.meters import ask, resident_bytes
from infra.bench.session import engine_on
from infra.desk import Desk
from infra.engine import Engine
from infra.errors import OperatorError
from infra.processes import wait_until
from infra.tail import consumer_at_end
from schemas import codec
from schemas.commands import DefineAccount, DefineInstrument, Deposit, PlaceOrder
from schemas.envelopes import AccountCommands
from schemas.events import OrderAccepted, OrderRejected
from schemas.partitioner import partition_of
from schemas.reference import Account
from schemas.topics import ACCOUNT_COMMANDS, ACCOUNT_EVENTS, BY_NAME, INBOXES, PartitionCounts

KILLED: Final = ("risk", "matching")
LEVELS: Final = 1_000
DEPOSIT_MINOR: Final = (
    10**12
)  # enough for any, and 100,000 of them fit the int64 of settlement's cash account
ORDERS_PER_RECORD: Final = 200
BEHIND_MAX: Final = 20  # inbox records, two seconds of ticks: the clerk is not busy with the local store
TIMEOUT_S: Final = 600.0
POLL_S: Final = 0.02


class Restart(msgspec.Struct, frozen=True, kw_only=True):
    """By stage: seconds from kill -9 to ready, killed alone (``ready_s``) and all at once, and its memory.

    ``order_bytes`` is memory per open order, ``resident_mb`` that after the restarts.
    """

    orders: int
    accounts: int
    filled_per_s: float
    ready_s: dict[str, float]
    at_once_s: dict[str, float]
    order_bytes: dict[str, float]
    resident_mb: dict[str, float]


def measure(orders: int, accounts: int, **overrides: object) -> Restart:
    """Fills an engine of its own, kills and waits; ``overrides`` are settings."""
    with scratch(**overrides) as (settings, broker), engine_on(settings, broker) as engine:
        names = [f"rest{number:06}" for number in range(accounts)]
        _define(engine, names)
        empty = _resident(engine)
        started = time.monotonic()
        _fill(engine, orders, names)
        took_s = time.monotonic() - started
        _wait_for_checkpoints(engine)
        full = _resident(engine)
        ready_s: dict[str, float] = {}
        for name in KILLED:
            ready_s |= _kill(engine, (name,))
            _wait_for_checkpoints(engine)
        at_once_s = _kill(engine, KILLED)
        return Restart(
            orders=orders,
            accounts=accounts,
            filled_per_s=orders / took_s,
            ready_s=ready_s,
            at_once_s=at_once_s,
            order_bytes={name: (full[name] - empty[name]) / orders for name in KILLED},
            resident_mb={name: size / 2**20 for name, size in _resident(engine).items()},
        )


def _define(engine: Engine, names: list[str]) -> None:
    with Desk(engine.settings.kafka(), _counts(engine), TIMEOUT_S) as desk:
        desk.control([DefineInstrument(command_id=it.symbol, instrument=it) for it in instruments()])
        accounts = (Account(account=name, account_type="MARGIN") for name in names)
        desk.control([DefineAccount(command_id=it.account, account=it) for it in accounts])
        deposits = [
            Deposit(account=name, command_id="deposit", currency="USD", amount_minor=DEPOSIT_MINOR)
            for name in names
        ]
        desk.cash(deposits)


def _fill(engine: Engine, orders: int, names: list[str]) -> None:
    """Returns once every order is accepted."""
    settings = engine.settings
    consumer = consumer_at_end(settings.kafka(), [(ACCOUNT_EVENTS, settings.account_partitions)])
    producer = Producer({**settings.kafka(), "acks": "all", "enable.idempotence": True, "linger.ms": 5})
    for partition, items in _records(orders, names, settings.account_partitions):
        produce(producer, ACCOUNT_COMMANDS, codec.encode(AccountCommands(items=items)), partition)
    producer.flush()
    _await_accepted(consumer, orders)


def _records(orders: int, names: list[str], partitions: int) -> Iterator[tuple[int, tuple[PlaceOrder, ...]]]:
    waiting: list[list[PlaceOrder]] = [[] for _ in range(partitions)]
    chance, now_ns = Random(1), time.time_ns()
    for number in range(orders):
        order = _order(chance, names[number % len(names)], number, now_ns)
        partition = partition_of(order.account, partitions)
        waiting[partition].append(order)
        if len(waiting[partition]) == ORDERS_PER_RECORD:
            yield partition, tuple(waiting[partition])
            waiting[partition] = []
    yield from ((partition, tuple(left)) for partition, left in enumerate(waiting) if left)


def _order(chance: Random, account: str, number: int, now_ns: int) -> PlaceOrder:
    buys = chance.random() < 0.5
    distance = chance.randint(1, LEVELS)
    return PlaceOrder(
        account=account,
        client_order_id=f"order-{number}",
        instrument=f"BENCH{chance.randrange(INSTRUMENTS):02}",
        side="BUY" if buys else "SELL",
        order_type="LIMIT",
        time_in_force="GTC",
        quantity_lots=chance.randint(1, 20),
        price_ticks=MID_TICKS - distance if buys else MID_TICKS + distance,
        at_ns=now_ns,
    )


def _await_accepted(consumer: Consumer, orders: int) -> None:
    accepted, last_at = 0, time.monotonic()
    while accepted < orders:
        for message in consumer.consume(1000, 0.2):
            envelope: Any = codec.decode(message.value())
            for item in envelope.items:
                if type(item) is OrderRejected:
                    raise OperatorError(f"an order was refused: {item.reason}")
                accepted += type(item) is OrderAccepted
            last_at = time.monotonic()
        if time.monotonic() - last_at > TIMEOUT_S:
            raise OperatorError(f"{accepted} of {orders} orders were accepted, and no more came")
    consumer.close()


def _wait_for_checkpoints(engine: Engine) -> None:
    """Waits until changelogs hold all that was read, and the local stores what the changelogs held then."""
    targets = {name: _ends(engine, INBOXES[name]) for name in KILLED}

    def is_kept(behind_max: float) -> bool:
        engine.step()
        return all(
            it["next_offset"] - it["behind_checkpoint"] >= targets[name][it["partition"]]
            and it["behind_checkpoint"] <= behind_max
            for name in KILLED
            for stage in _stages(engine.views[name])
            for it in stage["partitions"]
        )

    kept = wait_until(lambda: is_kept(float("inf")), TIMEOUT_S)
    kept_s = time.time()

    def is_stored() -> bool:
        engine.step()
        return all(_stored_at(engine.views[name], name) > kept_s for name in KILLED)

    stored = kept and wait_until(is_stored, TIMEOUT_S)
    if not (stored and wait_until(lambda: is_kept(BEHIND_MAX), TIMEOUT_S)):
        raise OperatorError("the checkpoints do not come to an end")


def _stored_at(address: str, stage: str) -> float:
    """When the last whole copy to a stage's local stores was begun (UTC, s)."""
    found = re.search(
        rf'^trading_store_timestamp_seconds{{stage="{stage}"}} (\S+)$',
        ask(f"{address}/metrics").decode(),
        re.MULTILINE,
    )
    return float(found[1]) if found else 0.0


def _kill(engine: Engine, names: Sequence[str]) -> dict[str, float]:
    """Seconds to ready by stage."""
    killed = {name: engine.supervisor.pid(name) for name in names}
    started = time.monotonic()
    for name in names:
        engine.supervisor.kill(name)
    ready_s: dict[str, float] = {}
    while len(ready_s) < len(names):
        engine.step()
        for name in names:
            is_new = engine.supervisor.pid(name) not in {None, killed[name]}
            if name not in ready_s and is_new and _is_ready(engine.views[name]):
                ready_s[name] = time.monotonic() - started
        if time.monotonic() - started > TIMEOUT_S:
            raise OperatorError(f"only {list(ready_s)} came back: see {engine.settings.data_folder / 'logs'}")
        time.sleep(POLL_S)
    return ready_s


def _is_ready(address: str) -> bool:
    try:
        ask(f"{address}/health/ready")
    except OSError:  # nobody there yet, or not ready
        return False
    return True


def _stages(address: str) -> list[dict[str, Any]]:
    stages: list[dict[str, Any]] = msgspec.json.decode(ask(f"{address}/stages"))["stages"]
    return stages


def _ends(engine: Engine, topic: str) -> list[int]:
    consumer = Consumer({**engine.settings.kafka(), "group.id": "bench"})
    places = [TopicPartition(topic, it) for it in range(_counts(engine).of(BY_NAME[topic]))]
    ends = [consumer.get_watermark_offsets(place, timeout=30)[1] for place in places]
    consumer.close()
    return ends


def _resident(engine: Engine) -> dict[str, int]:
    pids = {name: engine.supervisor.pid(name) for name in KILLED}
    return {name: resident_bytes(pid) for name, pid in pids.items() if pid is not None}


def _counts(engine: Engine) -> PartitionCounts:
    return PartitionCounts(engine.settings.account_partitions, engine.settings.book_partitions)


def main(orders: str = "1000000", accounts: str = "100000") -> None:
    """Prints what came out."""
    print(measure(int(orders), int(accounts)))


if __name__ == "__main__":
    main(*sys.argv[1:])
