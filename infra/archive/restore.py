"""A day brought back from its archive: its topics into an empty broker, its state into the changelogs.

What is written, in this order, so that a restore that was killed is known as one: `restored` with its first word; the
topics, each record with its time, its key, and its first offset in a header; the changelogs, META last; the places
of intake's groups; the last word of `restored`. No stage starts before that.

Inboxes begin where the state goes on, the other topics with the day. All end at one moment, and no later than the
archive knows every inbox: what a stage was told must not be there without what made another say it.
"""

import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import takewhile
from typing import Final, NamedTuple

from agents.stage.config import StageConfig
from agents.stage.kafka_world import changelog_topic
from connectors.views.reference import moment
from infra.archive.bucket import ArchiveError
from infra.archive.in_flight import not_taken
from infra.archive.state import ChangelogState, Day, State, restored_meta, schema_ids
from infra.archive.target import FOR_EVER, Copied, Row, Target
from infra.auditor.log import Log, LogRecord, Place
from infra.settings import Settings
from infra.topics_admin import Wanted, wanted
from infra.worker import stage_config
from infra.workers import FIRST_REPLICA
from schemas.codec.registry import read
from schemas.topics import INBOXES, RESTORED
from tables.checkpointed.restored import begun, told
from tables.meta import META_KEY, encode_meta

Report = Callable[[str], object]
INTAKE: Final = "intake"
NS_PER_MS: Final = 10**6


class Restored(NamedTuple):
    """What a restore has brought back: ``until_ms`` is the moment at which it ends, without that moment."""

    id: str
    records: int
    rows: int
    until_ms: int
    waiting: int  # orders that intake had not taken


def settings_of(state: State, base: Settings) -> Settings:
    """The settings of the engine that a day belongs to, where ``base`` says that it is to live."""
    it = state.manifest
    facts = {
        "env": it.env,
        "epoch": it.epoch,
        "account_partitions": it.account_partitions,
        "book_partitions": it.book_partitions,
        "clients": it.clients,
    }
    return base.model_copy(update=facts)


class Plan(NamedTuple):
    """From which offset on each partition is restored, and the moment at which all end, without that moment."""

    begins: Mapping[Place, int]
    until_ms: int


def plan(log: Log, state: State, settings: Settings, day: Day, *, as_far_as_archived: bool = False) -> Plan:
    """Decides what is restored into the cluster of ``settings`` (see ``settings_of``), and writes nothing anywhere.

    Raises:
        ArchiveError: the archive lacks records, or ends before the day and ``as_far_as_archived`` does not say that
            this is known; or a cluster of one's own is not empty.

    """
    _check_schemas(state)
    if not settings.embedded_broker:
        _demand_empty(Target(settings), state, settings)
    begins = _begins(log, state, wanted(settings))
    return Plan(begins, _end_ms(log, begins, day, as_far_as_archived=as_far_as_archived))


def restore(
    log: Log, state: State, settings: Settings, what: Plan, *, report: Report = lambda _: None
) -> Restored:
    """Brings back what was planned, into the empty cluster of ``settings``.

    Raises:
        ArchiveError: the cluster is not empty, or the archive lacks records in the middle. What was written by then
            is of no use.

    """
    topics = wanted(settings)
    config = stage_config(settings, FIRST_REPLICA, "0")
    target = Target(settings)
    _demand_empty(target, state, settings)

    id_ = uuid.uuid4().hex
    target.make([Wanted(RESTORED, 1, (("cleanup.policy", "delete"), FOR_EVER))])
    target.write((RESTORED, 0), [Row(begun(id_, state.manifest.day, state.bucket.url))])
    target.make(topics)
    copied = _copy(log, target, what, report)
    rows = _states(state, target, config, id_)
    report(f"state: {rows} rows of {len(state.manifest.states)} partitions")
    waiting = _place_intake(log, target, config, what.begins, copied)
    target.stamp_again(topics)
    offsets = {place: it.offsets for place, it in copied.items()}
    target.write((RESTORED, 0), [Row(it) for it in told(id_, offsets)], behind=1)
    return Restored(id_, sum(it.records for it in copied.values()), rows, what.until_ms, waiting)


def _demand_empty(target: Target, state: State, settings: Settings) -> None:
    config = stage_config(settings, FIRST_REPLICA, "0")
    changelogs = {config.changelog(it.stage) for it in state.manifest.states}
    target.demand_empty([*(it.name for it in wanted(settings)), *changelogs])


def _check_schemas(state: State) -> None:
    """Bytes mean what they meant only where each id stands for the same schema."""
    ours = schema_ids(read())
    for id_, schema in state.manifest.schemas.items():
        if ours.get(id_) != schema:
            raise ArchiveError(
                f"the records of {state.manifest.day} may have schema {id_}, {schema}, which here is"
                f" {ours.get(id_, 'unknown')}: restore with the version that wrote them, or a newer one of it"
            )


def _begins(log: Log, state: State, topics: Iterable[Wanted]) -> dict[Place, int]:
    """From which offset on each partition is restored."""
    begins: dict[Place, int] = {}
    days = {(it.topic, it.partition): it.offset for it in state.manifest.begins}
    for topic in topics:
        for partition in range(topic.partitions):
            place = topic.name, partition
            is_kept = FOR_EVER in topic.config  # little, and wanted whole: skips, acts, seals
            begins[place] = log.bounds(place)[0] if is_kept else days.get(place, 0)
    for it in state.manifest.states:
        begins[it.place] = min(begins[it.place], it.next_offset)
    for place, begin in begins.items():
        first, end = log.bounds(place)
        if first > begin and end > first:
            raise ArchiveError(
                f"the archive has {place[0]} {place[1]} from offset {first} on, and the day begins at {begin}: the"
                " records between are lost there; restore a later day"
            )
    return begins


def _end_ms(log: Log, begins: Mapping[Place, int], day: Day, *, as_far_as_archived: bool) -> int:
    """The end of the day, or the moment up to which the archive has every inbox; ticks come to each of them."""
    reached = {
        place: _reached_ms(log, place, begin, day) for place, begin in begins.items() if _is_inbox(place)
    }
    slowest = min(reached, key=lambda place: reached[place])
    if reached[slowest] >= day.end_ms:
        return day.end_ms
    if not as_far_as_archived or not reached[slowest]:
        raise ArchiveError(
            f"the archive has {slowest[0]} {slowest[1]} only up to {moment(reached[slowest] * NS_PER_MS)}: wait until"
            " the day is archived, or restore what there is by --as-far-as-archived"
        )
    return reached[slowest]


def _is_inbox(place: Place) -> bool:
    return place[0] in INBOXES.values()


def _reached_ms(log: Log, place: Place, begin: int, day: Day) -> int:
    latest = 0
    for record in log.read(place, (begin, log.bounds(place)[1])):
        latest = max(latest, record.timestamp_ms)
        if latest >= day.end_ms:
            break
    return latest


def _copy(log: Log, target: Target, what: Plan, report: Report) -> dict[Place, Copied]:
    copied: dict[Place, Copied] = {}
    for place, begin in what.begins.items():
        records = _until(log.read(place, (begin, log.bounds(place)[1])), what.until_ms)
        copied[place] = target.copy(place, begin, records, dense=_is_inbox(place))
        if copied[place].records:
            report(f"{place[0]} {place[1]}: {copied[place].records} records from offset {begin} on")
    return copied


def _until(records: Iterable[LogRecord], until_ms: int) -> Iterator[LogRecord]:
    """What comes before the first record of that time: a log's order counts, not its clocks'."""
    return takewhile(lambda it: it.timestamp_ms < until_ms, records)


def _states(state: State, target: Target, config: StageConfig, id_: str) -> int:
    """The changelogs of replica a; another replica seeds itself from them."""
    rows = 0
    for stage in sorted({it.stage for it in state.manifest.states}):
        target.make_changelog(changelog_topic(config, stage))
    for it in state.manifest.states:
        rows += target.write(
            (config.changelog(it.stage), it.partition), (Row(*change) for change in _entries(state, it, id_))
        )
    return rows


def _entries(state: State, of: ChangelogState, id_: str) -> Iterator[tuple[bytes | None, bytes]]:
    for key, value in state.entries(of):
        yield (encode_meta(restored_meta(of, id_)) if key == META_KEY else value), key


def _place_intake(
    log: Log,
    target: Target,
    config: StageConfig,
    begins: Mapping[Place, int],
    copied: Mapping[Place, Copied],
) -> int:
    """Lets intake go on behind what it had taken, and gives how many orders it had not."""
    places = not_taken(log, {place: (begins[place], it.end) for place, it in copied.items()})
    broker = {place: copied[place].offsets.broker(offset) for place, offset in places.items()}
    target.commit(config.app_id(INTAKE), broker)
    return sum(copied[place].records - offset for place, offset in broker.items())
