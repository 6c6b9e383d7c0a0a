"""A day of a real session, archived, and restored where nobody knew the engine: the same outputs, the same tables."""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec
import pytest
from click.testing import CliRunner

from infra.archive.record_keys import key_of
from infra.archive.state import Day, take_state
from infra.auditor.agreement import entries_of
from infra.auditor.cut import Checkpoint, last_checkpoint
from infra.auditor.log import Log, LogRecord, Place
from infra.cluster import counts_of
from infra.commands.kafka import engine_log
from infra.commands.restore import restore
from infra.engine import Engine
from infra.processes import wait_until
from infra.sealing import keys
from infra.settings import Settings
from infra.topics_admin import wanted
from schemas import codec
from schemas.topics import AUDIT, BY_NAME, INBOXES, ORDER_STATES, ORDERS, inbox_of
from tables.meta import META_KEY, decode_meta, encode_meta
from tests.chaos.harness import Chaos
from tests.unit.infra.archive.archived import Archive, Row

CONTROL: Final = "control"
FOLDS: Final = "intake+risk+matching+settlement"
STATES: Final = "order-states"
TIMEOUT_S: Final = 120
STAGES: Final = (*INBOXES, ORDER_STATES)
LATER_MS: Final = 1_000

Said = dict[tuple[str, int, str, int, int], bytes]
"""Topic, partition, stage, its partition and sequence: the record's bytes."""
StagePlace = tuple[str, int]


class Past(NamedTuple):
    """The first engine, which is gone: its topics, its last tables, its archive and a public key."""

    records: dict[Place, list[LogRecord]]
    tables: dict[StagePlace, dict[bytes, bytes]]
    archive: Archive
    day: str
    middle_ms: int
    public_key: Path


@pytest.fixture(scope="module")
def past(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """A session in whose middle the day began; then the clock stopped, all was folded, and the engine ended."""
    folder = tmp_path_factory.mktemp("first")
    archive = Archive(tmp_path_factory.mktemp("archive"))
    # whenever this runs, that day is not over, and nothing but its end is asked of a day's name
    name = (datetime.now(UTC) + timedelta(days=1)).date().isoformat()
    workers = (CONTROL, FOLDS, STATES)
    with Chaos(folder, 5, workers, account_partitions=2, book_partitions=3) as chaos:
        keys.ensure(chaos.settings)
        with chaos.load():
            chaos.until_said(200)
            start_ms = time.time_ns() // 10**6
            day, signer = Day.of(name)._replace(start_ms=start_ms), keys.private(chaos.settings)
            take_state(chaos.settings, chaos.log, archive.bucket, signer, day, start_ms)
            chaos.until_said(150)
            middle_ms = time.time_ns() // 10**6
            chaos.until_said(150)
        chaos.until_quiet()
        chaos.stop(CONTROL)
        chaos.until(lambda: all_is_folded(chaos.log, chaos.settings, FOLDS), "all is folded")
        for worker in (FOLDS, STATES):
            chaos.stop(worker)
        records = records_of(chaos.log, chaos.settings)
        archive.commit((place, record) for place, of in records.items() for record in of)
        archive.commit(tomorrow(records))
        tables = {
            place: tables_of(chaos.log, chaos.settings, place) for place in stage_places(chaos.settings)
        }
        public_key = keys.key_file(chaos.settings).with_name(keys.PUBLIC)
        return Past(records, tables, archive, name, middle_ms, public_key)


@contextmanager
def engine_in(folder: Path, *workers: str) -> Iterator[Engine]:
    """The engine that was restored into a folder, on free ports."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_CONFIG", str(folder / "trading.toml"))
        settings = Settings.load(
            kafka_bootstrap="127.0.0.1:0", broker_controller_port=0, views_port=0, workers=workers
        )
    with Engine(settings, print) as engine:
        yield engine


def until(engine: Engine, condition: Callable[[], bool], what: str) -> None:
    """Keeps the supervisor going until a condition holds."""

    def holds() -> bool:
        engine.step()
        return condition()

    assert wait_until(holds, TIMEOUT_S), f"{what}: {engine.supervisor.states()}"


def records_of(log: Log, settings: Settings) -> dict[Place, list[LogRecord]]:
    """Everything on the engine's topics."""
    places = [(topic.name, partition) for topic in wanted(settings) for partition in range(topic.partitions)]
    return {place: list(log.read(place, log.bounds(place))) for place in places}


def tomorrow(records: dict[Place, list[LogRecord]]) -> Iterator[Row]:
    """A record in each inbox of a moment after all others: up to there the archive is whole."""
    end_ms = max(record.timestamp_ms for of in records.values() for record in of) + LATER_MS
    for (topic, partition), of in records.items():
        if topic in INBOXES.values():
            yield (topic, partition), LogRecord(of[-1].offset + 1, end_ms, None, b"tomorrow")


def stage_places(settings: Settings) -> list[StagePlace]:
    """Every partition of every stage that has tables."""
    counts = counts_of(settings)
    return [(stage, it) for stage in STAGES for it in range(counts.of(BY_NAME[inbox_of(stage)]))]


def checkpoint_of(log: Log, settings: Settings, place: StagePlace) -> Checkpoint:
    """The last checkpoint of a stage's partition."""
    stage, partition = place
    checkpoint = last_checkpoint(log, f"{settings.env}-{stage}-a-changelog", partition)
    assert checkpoint is not None, place
    return checkpoint


def tables_of(log: Log, settings: Settings, place: StagePlace) -> dict[bytes, bytes]:
    """The committed rows of a stage's partition, and its META but for the name of the restore."""
    entries = entries_of(log, checkpoint_of(log, settings, place), place[1])
    meta = msgspec.structs.replace(decode_meta(entries[META_KEY]), restoration="")
    return entries | {META_KEY: encode_meta(meta)}


def all_is_folded(log: Log, settings: Settings, worker: str) -> bool:
    """Whether the last checkpoint of each stage of a worker, and of order-states, is at the end of its inbox."""
    return all(
        checkpoint_of(log, settings, place).meta.next_offset == log.bounds((inbox_of(place[0]), place[1]))[1]
        for place in stage_places(settings)
        if place[0] in {*worker.split("+"), STATES}
    )


def said_in(records: dict[Place, list[LogRecord]], begins: dict[Place, int] | None = None) -> Said:
    """What stages said from some offsets on, repeats dropped by their origin; they must be the same bytes."""
    said: Said = {}
    for place, of in records.items():
        for record in of:
            origin = getattr(codec.decode(record.value or b""), "origin", None)
            if origin is None or record.value is None or record.offset < (begins or {}).get(place, 0):
                continue
            key = (*place, origin.stage, origin.partition, origin.sequence)
            assert said.setdefault(key, record.value) == record.value, key
    return said


@pytest.fixture(scope="module")
def restored(past: Past, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """What the command made of the bucket alone, in a folder of its own, and what it said."""
    folder = tmp_path_factory.mktemp("again") / "engine"
    result = CliRunner().invoke(restore, [*command(past, folder), "--as-far-as-archived", "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return folder, answer


def command(past: Past, folder: Path) -> list[str]:
    """The command line that restores the day."""
    archive = ["--archive", past.archive.bucket.url, "--public-key", str(past.public_key)]
    return ["--day", past.day, "--to", str(folder), *archive]


def test_live_keys_derive_from_values(past: Past) -> None:
    """Each record of the session has the key that its value gives; a foreign producer's order may have another."""
    kinds = set()
    for (topic, _), of in past.records.items():
        for record in of if topic != ORDERS else ():
            assert key_of(topic, record.value) == record.key, topic
            kinds.add(topic)
    assert kinds >= {*INBOXES.values(), ORDER_STATES, AUDIT}


def test_the_day_ends_where_it_did(past: Past, restored: tuple[Path, dict[str, Any]]) -> None:
    """Folded again with no clock, every stage says the same bytes and has the same rows as the engine that was."""
    folder, answer = restored
    assert answer["waiting"] == 0
    with engine_in(folder, FOLDS, STATES) as engine, engine_log(engine.settings) as log:
        begins = {place: log.bounds(place)[0] for place in past.records}
        until(engine, lambda: all_is_folded(log, engine.settings, FOLDS), "all is folded")
        again = records_of(log, engine.settings)
        inboxes = [place for place in again if place[0] in INBOXES.values()]
        assert all(begins[place] for place in inboxes), "the day began in the middle, or this proves nothing"
        said, before = said_in(again), said_in(past.records)
        assert said.items() <= before.items()
        assert said.keys() >= said_in(past.records, begins).keys()
        folded = [place for place in stage_places(engine.settings) if place[0] != CONTROL]
        for place in folded:
            assert tables_of(log, engine.settings, place) == past.tables[place], place
