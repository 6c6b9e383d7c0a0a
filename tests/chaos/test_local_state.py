"""The local store lies, is broken, gone or full: the changelog is the truth; without that, nobody starts."""

import shutil
import time
from pathlib import Path

import msgspec
import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from rocksdict import Options, Rdict

from agents.risk import RISK_STAGE
from agents.stage.fold import Fold
from agents.stage.kafka_world import KafkaWorld
from agents.stage.recovery import TOMBSTONES_KEPT_NS, recover
from infra.supervisor import State
from infra.worker import stage_config
from schemas.commands import MassCancel
from tables.checkpointed.rocks import STATE_KEY, RocksStore
from tests.chaos.harness import Chaos
from tests.disks import NEEDS_ROOT, fill, small_disk

pytestmark = pytest.mark.chaos

FOUR_DAYS_NS = 4 * 24 * 3600 * 10**9  # over half of the changelog's delete.retention.ms
STATE_DISK = "48m"
COMPACT_AT_ONCE = {
    "segment.ms": "100",
    "min.cleanable.dirty.ratio": "0.001",
    "delete.retention.ms": "0",
    "max.compaction.lag.ms": "100",
}
COMPACT_LATER = {
    "segment.ms": str(7 * 24 * 3600 * 1000),
    "min.cleanable.dirty.ratio": "0.5",
    "delete.retention.ms": str(TOMBSTONES_KEPT_NS // 10**6),
    "max.compaction.lag.ms": str(2**63 - 1),
}


def assert_store_is_changelog(chaos: Chaos, stage: str) -> None:
    """With its worker stopped, RocksDB holds what the changelog holds, and nothing else."""
    for partition in chaos.partitions(stage):
        store = RocksStore(chaos.state_folder(stage) / str(partition))
        assert dict(store.entries()) == chaos.committed(stage, partition)[1], f"{stage} {partition}"
        store.close()


def set_config(chaos: Chaos, kind: ResourceType, name: str, values: dict[str, str]) -> None:
    """Changes a topic's or the broker's settings while it runs."""
    entries = [ConfigEntry(it, values[it], incremental_operation=AlterConfigOpType.SET) for it in values]
    resource = ConfigResource(kind, name, incremental_configs=entries)
    admin = AdminClient(chaos.settings.kafka())  # by name: its requests die with it
    admin.incremental_alter_configs([resource])[resource].result()


def age(folder: Path) -> None:
    """Writes back the time at which a store was written."""
    store = Rdict(str(folder), Options(raw_mode=True))
    next_offset, written_at_ns = msgspec.msgpack.decode(store[STATE_KEY] or b"", type=tuple[int, int])
    store[STATE_KEY] = msgspec.msgpack.encode((next_offset, written_at_ns - FOUR_DAYS_NS))
    store.close()


def risen(chaos: Chaos, folder: Path, partition: int) -> set[bytes]:
    """The keys that recovery finds in a local store of risk and behind it in the changelog, no worker having it."""
    world = KafkaWorld(RISK_STAGE, stage_config(chaos.settings, "a", "0"))
    store = RocksStore(folder)
    recovered = recover(
        lambda: Fold(RISK_STAGE, chaos.counts, partition),
        None,
        world.changelog(partition),
        store,
        world.inbox(partition),
        time.time_ns(),
    )
    store.close()
    return {key for key, value in recovered.fold.tables.entries() if value is not None}


def restart_over(chaos: Chaos, stage: str) -> None:
    """Starts a worker that was stopped, under load, then stops it and compares its store with the changelog."""
    chaos.start(stage)
    with chaos.load():
        chaos.until_said()
    chaos.audit()
    chaos.stop(stage)
    assert_store_is_changelog(chaos, stage)
    chaos.start(stage)
    chaos.until_ready()


def test_store_is_removed(chaos: Chaos) -> None:
    """With its RocksDB folder deleted after kill -9, a stage is rebuilt from its changelog."""
    with chaos.load():
        chaos.until_said()
        chaos.stop("settlement", 0)
    shutil.rmtree(chaos.state_folder("settlement"))
    restart_over(chaos, "settlement")


def written(chaos: Chaos, files: str) -> list[Path]:
    """The files of a kind in which risk's local stores hold something."""
    return [it for it in chaos.state_folder("risk").rglob(files) if it.exists() and it.stat().st_size]


@pytest.mark.parametrize("files", ["*.sst", "*.log", "MANIFEST-*", "CURRENT"])
def test_store_is_corrupted(chaos: Chaos, files: str) -> None:
    """With bytes flipped in any kind of file, RocksDB is found broken, wiped and rebuilt."""
    with chaos.load():
        chaos.until_said()
        chaos.stop("risk", 0)
    chaos.start("risk")  # what was in the write-ahead log goes into tables at a start
    with chaos.load():
        chaos.until_said()
        chaos.until(lambda: bool(written(chaos, files)), f"{files} are written")
        chaos.stop("risk", 0)
    for path in written(chaos, files):
        content = bytearray(path.read_bytes())
        for _ in range(20):
            content[chaos.chance.randrange(len(content))] ^= 1 << chaos.chance.randrange(8)
        path.write_bytes(content)
    restart_over(chaos, "risk")


def test_partition_comes_back_after_compaction(chaos: Chaos) -> None:
    """A store older than the tombstones that compaction removed is wiped: orders that were cancelled stay dead."""
    changelog = chaos.changelog("risk")
    with chaos.load():
        chaos.until_said(200)
    chaos.until_quiet()
    chaos.stop("risk")
    old = chaos.settings.data_folder / "old-state"
    shutil.copytree(chaos.state_folder("risk"), old)
    before = [chaos.committed("risk", it)[1].keys() for it in chaos.partitions("risk")]
    chaos.start("risk")
    chaos.until_ready()
    with chaos.desk() as desk:
        desk.control([MassCancel(command_id="sweep")])
        assert desk.swept("sweep", None) > 0
    chaos.until_quiet()
    set_config(chaos, ResourceType.BROKER, "1", {"log.cleaner.backoff.ms": "100"})
    set_config(chaos, ResourceType.TOPIC, changelog, COMPACT_AT_ONCE)
    dead = [keys - chaos.committed("risk", it)[1].keys() for it, keys in enumerate(before)]
    assert all(dead)

    def is_compacted() -> bool:
        kept = ({record.key for record in chaos.records(changelog, it)} for it in chaos.partitions("risk"))
        return not any(keys & gone for keys, gone in zip(kept, dead, strict=True))

    chaos.until(is_compacted, "tombstones compacted away")
    set_config(
        chaos, ResourceType.TOPIC, changelog, COMPACT_LATER
    )  # an audit needs what its checkpoint holds
    chaos.stop("risk", 0)
    young = [risen(chaos, old / str(it), it) & gone for it, gone in enumerate(dead)]
    assert all(young), "a store believed to be young must let the dead rise, or this test proves nothing"
    shutil.rmtree(chaos.state_folder("risk"))
    shutil.copytree(old, chaos.state_folder("risk"))
    for partition in chaos.partitions("risk"):
        age(chaos.state_folder("risk") / str(partition))
    restart_over(chaos, "risk")


@NEEDS_ROOT
def test_disk_of_the_state_is_full(chaos: Chaos) -> None:
    """A worker whose state finds no space ends with a line that says so, and comes back when there is some."""
    folder = chaos.state_folder("matching")
    chaos.stop("matching")
    shutil.rmtree(folder)
    folder.mkdir()
    with small_disk(folder, STATE_DISK):
        chaos.start("matching")
        chaos.until_ready()
        told = len(chaos.lines)
        with chaos.load():
            chaos.until_said()

            def is_dead() -> bool:
                fill(folder / "ballast")
                return any("matching died (exit code 76)" in line for line in chaos.lines[told:])

            chaos.until(is_dead, "death for want of space")
            assert any("disk full" in line and str(folder) in line for line in chaos.lines[told:]), (
                chaos.story()
            )
            (folder / "ballast").unlink()
            chaos.until_ready()
            chaos.until_said()
        chaos.audit()
        chaos.stop("matching")
        assert_store_is_changelog(chaos, "matching")
    chaos.start("matching")
    chaos.until_ready()


def test_changelog_is_gone(chaos: Chaos) -> None:
    """A stage with an empty folder and no changelog, which has spoken before, refuses to start and says nothing."""
    chaos.audit()
    chaos.stop("settlement")
    shutil.rmtree(chaos.state_folder("settlement"))
    chaos.delete_topic(chaos.changelog("settlement"))
    said = chaos.end_of("settlement-events")
    chaos.start("settlement")
    chaos.until_down("settlement")
    assert "its start was refused" in chaos.lines[-1]
    assert "its changelog is gone" in chaos.lines[-1]
    assert chaos.end_of("settlement-events") == said
    assert chaos.state("settlement") is State.DOWN
