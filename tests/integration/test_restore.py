"""A day of a real session, archived, and restored where nobody knew the engine: the same outputs, the same tables."""

import json
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import msgspec
import pytest
from click import ClickException
from click.testing import CliRunner

from infra.acts import acting
from infra.archive.bucket import ArchiveError, Bucket
from infra.archive.daily import DailyState
from infra.archive.record_keys import key_of
from infra.archive.restore import plan, settings_of
from infra.archive.restore import restore as restore_day
from infra.archive.restored_config import write_config
from infra.archive.state import Day, days_with_state, folds_from, read_state, take_state
from infra.archive.target import Target
from infra.auditor.agreement import entries_of
from infra.auditor.cut import Checkpoint, find_cut, last_checkpoint
from infra.auditor.log import AuditError, KafkaLog, Log, LogRecord, Place
from infra.auditor.report import Report
from infra.auditor.run import run
from infra.cli import main
from infra.cluster import counts_of, engine_log
from infra.embedded.broker import EmbeddedBroker
from infra.engine import Engine, EngineError
from infra.processes import wait_until
from infra.sealing import keys
from infra.settings import Settings
from infra.topics_admin import TopicError, refuse_to_archive_a_restored_engine, wanted
from schemas import codec
from schemas.commands import CancelOrder, PlaceOrder
from schemas.events import OrderAccepted
from schemas.ids import place_of
from schemas.maximums import NANOSECONDS_PER_DAY
from schemas.topics import (
    ACCOUNT_COMMANDS,
    ACCOUNT_EVENTS,
    AUDIT,
    BY_NAME,
    INBOXES,
    ORDER_STATES,
    ORDERS,
    SETTLEMENT_EVENTS,
    inbox_of,
)
from tables.meta import META_KEY, decode_meta, encode_meta
from tests.chaos.harness import LOOK_S, Chaos, Flow
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
        with acting(chaos.settings, "NOTE", "engine", note="an act, for its key"):
            pass
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
    """The engine that was restored into a folder, at the ports that its settings give it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TRADING_CONFIG", str(folder / "trading.toml"))
        settings = Settings.load(workers=workers)
    with Engine(settings, print) as engine:
        yield engine


@contextmanager
def log_of(engine: Engine) -> Iterator[KafkaLog]:
    """Its topics, by original offsets."""
    with engine_log(engine.settings) as log:
        yield log


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
    """The committed rows of a stage's partition, and its META but for the name of the restore, and for its place.

    What a stage says again comes into the inboxes again, and is dropped there: they are longer by that.
    """
    entries = entries_of(log, checkpoint_of(log, settings, place), place[1])
    meta = msgspec.structs.replace(decode_meta(entries[META_KEY]), restoration="", next_offset=0)
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
    result = CliRunner().invoke(main, [*command(past, folder), "--as-far-as-archived", "--json"])
    assert result.exit_code == 0, result.output
    answer: dict[str, Any] = json.loads(result.stdout)
    return folder, answer


def command(past: Past, folder: Path) -> list[str]:
    """The command line that restores the day."""
    archive = ["--archive", past.archive.bucket.url, "--public-key", str(past.public_key)]
    return ["archive", "restore", "--day", past.day, "--to", str(folder), *archive]


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
    with engine_in(folder, FOLDS, STATES) as engine, log_of(engine) as log:
        begins = {place: log.bounds(place)[0] for place in past.records}
        until(engine, lambda: all_is_folded(log, engine.settings, FOLDS), "all is folded")
        again = records_of(log, engine.settings)
        for place, of in past.records.items():
            kept = [it for it in of if it.offset >= begins[place]]
            assert unkeyed(again[place][: len(kept)]) == unkeyed(kept), (
                "as they were: offset, time, key and value"
            )
        inboxes = [place for place in again if place[0] in INBOXES.values()]
        assert all(begins[place] for place in inboxes), "the day began in the middle, or this proves nothing"
        said, before = said_in(again), said_in(past.records)
        assert said.items() <= before.items()
        assert said.keys() >= said_in(past.records, begins).keys()
        folded = [place for place in stage_places(engine.settings) if place[0] != CONTROL]
        for place in folded:
            assert tables_of(log, engine.settings, place) == past.tables[place], place


def test_it_goes_on_trading(past: Past, restored: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    """With its clock again the engine takes new orders: ids behind the old ones, trades settled, as a fold says."""
    folder, _ = restored
    old = {it.order_id for it in accepted(past.records)}
    with engine_in(folder, CONTROL, FOLDS, STATES, "audit") as engine, log_of(engine) as log:
        said = log.bounds((SETTLEMENT_EVENTS, 0))[1]
        flow = Flow(engine.settings, 99, "new-")
        try:
            until(engine, lambda: log.bounds((SETTLEMENT_EVENTS, 0))[1] >= said + 100, "new trades settle")
        finally:
            flow.stop()
        until(engine, lambda: is_quiet(log, engine.settings), "quiet")
        now = records_of(log, engine.settings)
        assert_taken_once(now)
        fresh = [it for it in accepted(now) if it.client_order_id.startswith("new-")]
        assert fresh
        assert old.isdisjoint(it.order_id for it in fresh)
        for it in fresh:
            partition, offset, _ = place_of(it.order_id)
            assert offset > past.records[ACCOUNT_COMMANDS, partition][-1].offset
        assert said_in(past.records, begins_of(log, past)).items() <= said_in(now).items()
        report = checked(engine.settings, past)
        assert [(it.name, it.examples) for it in report if it.breaches] == []
        folds = [it for it in report if "equal a fold" in it.name or "equals a fold" in it.name]
        assert len(folds) == 2 * len(INBOXES)
        assert all(it.count and not it.note for it in folds)
        check_daily_state(engine.settings, tmp_path)
        begins = begins_of(log, past)
        for stage in stages_of(engine):
            for it in stage["partitions"]:
                place = it["topic"], it["partition"]
                assert it["end_offset"] >= it["next_offset"] >= begins.get(place, 0), "views count as ids do"


def unkeyed(records: list[LogRecord]) -> list[LogRecord]:
    """Orders came without a key, and come back with their account."""
    is_order = [isinstance(decoded(it), PlaceOrder | CancelOrder) for it in records]
    return [it._replace(key=None) if plain else it for it, plain in zip(records, is_order, strict=True)]


def stages_of(engine: Engine) -> list[dict[str, Any]]:
    """What the views of all workers say of their stages."""
    answers = [json.loads(httpx2.get(f"{url}/stages").text) for url in engine.views.values()]
    stages = [stage for answer in answers for stage in answer["stages"]]
    assert {it["stage"] for it in stages} >= {*STAGES, "intake", "audit"}
    return stages


def check_daily_state(settings: Settings, folder: Path) -> None:
    """The chore takes a day's state once, whoever looks again, and that of the next day when it has come."""
    told = settings.model_copy(update={"archive_url": f"file://{folder}/archive"})
    now_ns = [time.time_ns()]
    chore = DailyState(lambda: now_ns[0])
    assert "the state of" in (chore(told) or "")
    assert chore(told) is DailyState(lambda: now_ns[0])(told) is None
    now_ns[0] += NANOSECONDS_PER_DAY
    assert chore(told) is not None
    assert len(days_with_state(Bucket.of(told))) == 2
    archived = told.model_copy(update={"sinks": True, "archive": True})
    with pytest.raises(TopicError, match=r"was restored.*Set TRADING_ARCHIVE=false"):
        refuse_to_archive_a_restored_engine(archived)


def accepted(records: dict[Place, list[LogRecord]]) -> list[OrderAccepted]:
    """The orders that were accepted."""
    items = (
        item
        for (topic, _), of in records.items()
        for record in (of if topic == ACCOUNT_EVENTS else ())
        for item in getattr(codec.decode(record.value or b""), "items", ())
    )
    return [item for item in items if isinstance(item, OrderAccepted)]


def begins_of(log: Log, past: Past) -> dict[Place, int]:
    """Where each restored partition begins."""
    return {place: log.bounds(place)[0] for place in past.records}


def is_quiet(log: Log, settings: Settings) -> bool:
    """Whether nothing is under way but ticks."""
    try:
        find_cut(log, settings.env, counts_of(settings), LOOK_S)
    except AuditError:
        return False
    return True


def checked(settings: Settings, past: Past) -> Report:
    """`trading check`, whose folds go on from the day's state: every stage's tables and words, byte for byte."""
    trusted = keys.trusted(settings, [past.public_key])
    state = read_state(past.archive.bucket, past.day, trusted)
    return run(settings, timeout_s=TIMEOUT_S, fold_from=partial(folds_from, state))


def test_a_day_that_ends_in_the_middle_is_one_too(past: Past, tmp_path: Path) -> None:
    """Orders were under way when it ended: they are finished, each is taken once, and every check holds."""
    trusted = keys.trusted(Settings.load(), [past.public_key])
    state = read_state(past.archive.bucket, past.day, trusted)
    broker = EmbeddedBroker(tmp_path / "broker")
    broker.start()
    settings = settings_of(state, Settings.load(data_folder=tmp_path, kafka_bootstrap=broker.bootstrap))
    day = Day.of(past.day)._replace(end_ms=past.middle_ms)
    try:
        what = plan(past.archive.log(), state, settings, day)
        done = restore_day(past.archive.log(), state, settings, what, report=print)
        assert done.until_ms == past.middle_ms
        with pytest.raises(
            ArchiveError, match="already and more: a day is restored into an empty cluster only"
        ):
            restore_day(past.archive.log(), state, settings, what)
        with pytest.raises(ArchiveError, match="into an empty cluster only"):
            plan(past.archive.log(), state, settings.model_copy(update={"embedded_broker": False}), day)
    finally:
        broker.stop()
    write_config(tmp_path, settings, state)
    with engine_in(tmp_path, CONTROL, FOLDS, STATES) as engine, log_of(engine) as log:
        until(engine, lambda: is_quiet(log, engine.settings), "quiet")
        report = checked(engine.settings, past)
        assert [(it.name, it.examples) for it in report if it.breaches] == []
        folds = [it for it in report if "equal a fold" in it.name or "equals a fold" in it.name]
        assert len(folds) == 2 * len(INBOXES)
        assert all(it.count and not it.note for it in folds)
        assert_taken_once(records_of(log, engine.settings))


def assert_taken_once(records: dict[Place, list[LogRecord]]) -> None:
    """Each order that is on its topic is one command, those that were under way too."""
    taken = Counter(
        item.client_order_id
        for (topic, _), of in records.items()
        for record in (of if topic == ACCOUNT_COMMANDS else ())
        if getattr(envelope := decoded(record), "origin", "") is None
        for item in envelope.items
        if isinstance(item, PlaceOrder | CancelOrder)
    )
    sent = [decoded(it).client_order_id for (topic, _), of in records.items() if topic == ORDERS for it in of]
    assert sent
    assert {taken[it] for it in sent} == {1}


def decoded(record: LogRecord) -> Any:
    """What a record holds."""
    return codec.decode(record.value or b"")


class Killed(BaseException):
    """Ends a restore where it is, as SIGKILL does but for the broker, which stops."""


def test_a_restore_that_was_killed_is_no_engine(
    past: Past, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All is there but its last word: the folder is refused, and so is the cluster, by commands and by every worker."""
    folder = tmp_path / "engine"

    def kill(*_: object) -> None:
        raise Killed

    monkeypatch.setattr(Target, "stamp_again", kill)
    line = [*command(past, folder), "--as-far-as-archived"]
    with pytest.raises(Killed):
        main(line, standalone_mode=False)
    monkeypatch.undo()
    with pytest.raises(ClickException, match="did not end: remove it"):
        main(line, standalone_mode=False)
    base = Settings.load(data_folder=folder)
    state = read_state(past.archive.bucket, past.day, keys.trusted(base, [past.public_key]))
    write_config(folder, base, state)  # as one who forces it
    with pytest.raises(EngineError, match="stay down"), engine_in(folder, STATES):
        pass
    assert "has begun and not ended" in (folder / "logs" / f"{STATES}.log").read_text()


def test_what_is_no_day_is_refused(past: Past, tmp_path: Path) -> None:
    """A day that is not over, a folder that is used or half restored, another key: a line each, and no engine."""
    refusals = {
        "only up to": [],
        "is not empty": ["full"],
        "did not end": [".restoring"],
    }
    for said, there in refusals.items():
        folder = tmp_path / said.replace(" ", "-")
        folder.mkdir()
        for name in there:
            (folder / name).touch()
        result = CliRunner().invoke(main, command(past, folder))
        assert said in result.output
    other = keys.generate(tmp_path / "other" / "seal.key")
    forged = past._replace(public_key=tmp_path / "other" / "seal.pub")
    result = CliRunner().invoke(main, command(forged, tmp_path / "forged"))
    assert "is signed by key" in result.output
    assert other.key_id not in result.output
