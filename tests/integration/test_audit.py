"""Seals on a real broker: made by a worker that dies again and again, checked after its files were changed."""

import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import msgspec
import pytest
from aiokafka.record.default_records import DefaultRecordBatch, DefaultRecordBatchBuilder
from click.testing import CliRunner
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from prometheus_client.parser import text_string_to_metric_families

from infra.cli import main
from infra.cluster import engine_log
from infra.engine import Engine
from infra.processes import wait_until
from infra.sealing.keys import generate, key_file, private
from infra.settings import Settings
from schemas import codec
from schemas.audit import Seal
from schemas.topics import MARKET_DATA, SEALS, TRADES
from tests.unit.infra.sealing.sealed_log import signed

TIMEOUT_S = 120
MINUTES = 4
PER_MINUTE = 25
JOURNAL = (SEALS, 0)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A broker and an audit worker whose every life ends by kill -9 before it commits its second seals."""
    settings = Settings.load(
        data_folder=tmp_path_factory.mktemp("audit"),
        kafka_bootstrap="127.0.0.1:0",
        broker_controller_port=0,
        views_port=0,
        account_partitions=1,
        book_partitions=1,
        restart_backoff_ms=0,
        workers=("audit",),
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_CRASH_AT", "before-seals:2")
        with Engine(settings) as engine:
            patch.delenv("TRADING_CRASH_AT")
            for name, value in engine.settings.environment().items():
                patch.setenv(name, value)
            yield engine


@pytest.fixture(scope="module")
def sealed(engine: Engine) -> Engine:
    """Some minutes of trades, the last of which is sealed since the log as a whole is past it."""
    base_ms = (int(time.time()) // 60 - 30) * 60_000
    producer = Producer(engine.settings.kafka(linger_ms=50))
    first_pid = engine.supervisor.pid("audit")
    for number in range(MINUTES * PER_MINUTE):
        at_ms = base_ms + number * 60_000 // PER_MINUTE
        producer.produce(TRADES, f"trade number {number:05}".encode(), None, 0, timestamp=at_ms)
    for later in (10, 12):
        producer.produce(MARKET_DATA, b"later", None, 0, timestamp=base_ms + later * 60_000)
    producer.flush()

    def all_are_sealed() -> bool:
        engine.step()
        seals = [it for it in seals_of(engine) if it.topic == TRADES]
        return bool(seals) and seals[-1].last_offset == MINUTES * PER_MINUTE - 1

    assert wait_until(all_are_sealed, TIMEOUT_S), (engine.settings.data_folder / "logs/audit.log").read_text()
    assert engine.supervisor.pid("audit") != first_pid, "it has died at least once"
    return engine


def seals_of(engine: Engine) -> list[Seal]:
    """All seals, as they stand in the topic."""
    with engine_log(engine.settings) as log:
        found = [codec.decode(it.value or b"") for it in log.read(JOURNAL, log.bounds(JOURNAL))]
    return [it for it in found if isinstance(it, Seal)]


def verified(*words: str) -> tuple[int, Any]:
    """What `trading audit verify` says, and its exit code."""
    result = CliRunner().invoke(main, ["audit", "verify", "--json", *words])
    assert result.exit_code in {0, 1}, result.output
    return result.exit_code, json.loads(result.stdout)


def found(*words: str) -> list[tuple[str, str, int | None, int | None]]:
    """Its findings."""
    return [(it["kind"], it["topic"], it["offset"], it["seal"]) for it in verified(*words)[1]["findings"]]


def test_chain_holds_through_every_death(sealed: Engine) -> None:
    """However often the worker was killed, each record is in one seal, and each seal follows from the one before."""
    numbers = [it.number for it in seals_of(sealed) if it.topic == TRADES]
    assert numbers == list(range(MINUTES))
    code, answer = verified()
    assert (code, answer["ok"], answer["findings"]) == (0, True, [])
    trades = next(it for it in answer["places"] if it["topic"] == TRADES)
    assert (trades["records_checked"], trades["unsealed_records"]) == (MINUTES * PER_MINUTE, 0)
    assert "Every seal holds." in CliRunner().invoke(main, ["audit", "verify"]).stdout


def test_views_tell_the_age_of_each_chain(sealed: Engine) -> None:
    """Prometheus gets the age of each topic-partition's last seal, and how long records wait for one."""
    place = {"topic": TRADES, "partition": "0"}

    def sample(name: str) -> float | None:
        families = text_string_to_metric_families(get(f"{sealed.views['audit']}/metrics"))
        samples = [it for family in families for it in family.samples]
        return next((it.value for it in samples if it.name == name and it.labels == place), None)

    def are_told() -> bool:
        sealed.step()
        return sealed.supervisor.all_ready() and sample("trading_seals") == MINUTES

    assert wait_until(are_told, TIMEOUT_S)
    age_s, waits_s = sample("trading_seal_age_seconds"), sample("trading_unsealed_seconds")
    assert age_s is not None
    assert 25 * 60 < age_s < 60 * 60, "half an hour of log time ago"
    assert waits_s == 0
    stages = json.loads(get(f"{sealed.views['audit']}/stages"))["stages"]
    rows = {(it["topic"], it["partition"]): it for it in stages[0]["partitions"]}
    assert rows[TRADES, 0]["next_offset"] == MINUTES * PER_MINUTE


def get(url: str) -> str:
    """What a view answers; nothing while it is down."""
    try:
        with urlopen(url, timeout=TIMEOUT_S) as answer:  # noqa: S310  (an address of our own, on loopback)
            return str(answer.read().decode())
    except URLError:
        return ""


def test_changes_of_the_brokers_files_are_named(sealed: Engine) -> None:
    """A byte, a dropped record and two swapped ones, written into the log's file with a valid CRC while it is down."""

    def spoil(records: list[StoredRecord]) -> None:
        by_offset = {it.offset: it for it in records}
        records[:] = [it for it in records if it.offset != 60]
        by_offset[10].value = b"trade number 99910"
        by_offset[80].value, by_offset[83].value = by_offset[83].value, by_offset[80].value

    file = sealed.settings.data_folder / "broker" / "kafka" / f"{TRADES}-0" / f"{0:020}.log"
    before = file.read_bytes()
    rewrite(sealed, file, lambda: rebuilt(before, spoil))
    assert sorted(found(), key=str) == [
        ("changed", TRADES, 10, 0),
        ("missing", TRADES, 60, 2),
        ("moved", TRADES, 80, 3),
        ("moved", TRADES, 83, 3),
    ]
    rewrite(sealed, file, lambda: before)
    assert verified()[0] == 0


def test_forged_seal_is_found(sealed: Engine) -> None:
    """A seal of another key is no seal, whatever it says; the right public key alone tells."""
    thief = sealed.settings.model_copy(
        update={"audit_key_file": sealed.settings.data_folder / "thief" / "seal.key"}
    )
    generate(key_file(thief))
    last = [it for it in seals_of(sealed) if it.topic == TRADES][-1]
    forged = signed(
        msgspec.structs.replace(last, number=last.number + 1, first_offset=last.last_offset + 1),
        private(thief),
    )
    producer = Producer(sealed.settings.kafka())
    producer.produce(SEALS, codec.encode(forged), f"{TRADES}/0", 0)
    producer.flush()
    assert found() == [("forged_seal", TRADES, None, MINUTES)]
    of_thief = verified("--public-key", str(key_file(thief).with_name("seal.pub")))[1]
    by_thief = {it["seal"] for it in of_thief["findings"] if it["kind"] == "forged_seal"}
    assert by_thief == set(range(MINUTES)), (
        "to the thief's key all others are forged, and the first record is"
    )


def test_removed_seals_and_records_are_found(sealed: Engine) -> None:
    """Whoever deletes by the broker's own command is found: seals by their numbers, records by their age."""
    forged = ("forged_seal", TRADES, None, MINUTES)  # of the test before
    delete(sealed, (TRADES, 0), PER_MINUTE)
    assert found("--topic", TRADES) == [forged, ("removed_early", TRADES, 0, 0)]
    with engine_log(sealed.settings) as log:
        offsets = [
            it.offset for it in log.read(JOURNAL, log.bounds(JOURNAL)) if (it.key or b"") == b"trades/0"
        ]
    delete(sealed, JOURNAL, offsets[0] + 1)
    assert found("--topic", TRADES) == [forged, ("missing_seal", TRADES, None, 0)]


def delete(engine: Engine, place: tuple[str, int], end: int) -> None:
    """Deletes records by the broker's own command."""
    admin = AdminClient(engine.settings.kafka())  # it must outlive its answer
    admin.delete_records([TopicPartition(*place, end)])[TopicPartition(*place)].result(TIMEOUT_S)


def rewrite(engine: Engine, file: Path, content: Callable[[], bytes]) -> None:
    """Replaces a file of the broker's while the engine is down; indexes are made anew at the start."""
    engine.stop()
    file.write_bytes(content())
    for index in (*file.parent.glob("*.index"), *file.parent.glob("*.timeindex")):
        index.unlink()
    engine.start()


class StoredRecord(msgspec.Struct):
    """A record in a file of the broker's."""

    offset: int
    timestamp_ms: int
    value: bytes


def rebuilt(content: bytes, change: Callable[[list[StoredRecord]], None]) -> bytes:
    """A log file with its records changed: one batch from offset 0, with the CRC that it then needs."""
    epoch, records = content[12:16], list[StoredRecord]()
    while content:
        size = int.from_bytes(content[8:12]) + 12
        batch = DefaultRecordBatch(bytearray(content[:size]))
        records += [StoredRecord(it.offset, it.timestamp, bytes(it.value)) for it in batch]
        content = content[size:]
    change(records)
    builder = DefaultRecordBatchBuilder(
        magic=2,
        compression_type=0,
        is_transactional=0,
        producer_id=-1,
        producer_epoch=-1,
        base_sequence=-1,
        batch_size=1 << 20,
    )
    for it in records:
        assert builder.append(it.offset, it.timestamp_ms, None, it.value, []) is not None, "it is full"
    built = bytearray(builder.build())
    built[12:16] = epoch
    return bytes(built)
