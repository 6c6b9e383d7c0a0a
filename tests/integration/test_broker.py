"""The embedded broker: it starts, keeps its state, survives a crash, and says clearly why it cannot run."""

import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from infra.embedded.broker import BrokerError, EmbeddedBroker
from infra.processes import FolderInUseError, PortError
from schemas.maximums import RECORD_BYTES

TOPIC = "kept"


@pytest.fixture(scope="module")
def owned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EmbeddedBroker]:
    """Run a broker that these tests may stop and kill."""
    embedded = EmbeddedBroker(tmp_path_factory.mktemp("owned"))
    embedded.start()
    admin = AdminClient({"bootstrap.servers": embedded.bootstrap})
    admin.create_topics([NewTopic(TOPIC, 1)])[TOPIC].result()
    yield embedded
    embedded.stop()


def produce(bootstrap: str, value: bytes) -> None:
    """Write one record to TOPIC, acknowledged."""
    failed: list[object] = []
    producer = Producer({"bootstrap.servers": bootstrap, "message.max.bytes": RECORD_BYTES})
    producer.produce(TOPIC, value, on_delivery=lambda error, _: failed.append(error) if error else None)
    assert producer.flush(20) == 0
    assert not failed


def read_all(bootstrap: str) -> list[bytes | None]:
    """Read TOPIC from its start to its end."""
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "any", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    _, end = consumer.get_watermark_offsets(TopicPartition(TOPIC, 0), timeout=20)
    values: list[bytes | None] = []
    while len(values) < end:
        values += [message.value() for message in consumer.consume(end, timeout=20)]
    consumer.close()
    return values


def test_records_survive_stop_and_kill(owned: EmbeddedBroker) -> None:
    """What was acknowledged is there after a stop by SIGTERM and after a kill -9, at the same address."""
    produce(owned.bootstrap, b"before stop")
    owned.stop()
    owned.start()
    produce(owned.bootstrap, b"before kill")
    owned.kill()
    owned.start()
    assert read_all(owned.bootstrap)[:2] == [b"before stop", b"before kill"]


def test_largest_record_is_taken(owned: EmbeddedBroker) -> None:
    """A record of nearly the maximum goes through: one that lists the events of many orders."""
    produce(owned.bootstrap, bytes(RECORD_BYTES - 1024))


def test_unknown_topic_is_not_made(owned: EmbeddedBroker) -> None:
    """A mistyped topic is an error, not a new topic."""
    producer = Producer({"bootstrap.servers": owned.bootstrap, "allow.auto.create.topics": True})
    answer = producer.list_topics("mistyped", timeout=20).topics["mistyped"]
    assert answer.error is not None
    assert answer.error.name() == "UNKNOWN_TOPIC_OR_PART"


def test_folder_serves_one_broker(owned: EmbeddedBroker) -> None:
    """A second broker on the same folder is refused, and says who has it."""
    with pytest.raises(FolderInUseError, match="is used by process"):
        EmbeddedBroker(owned.folder).start()


def test_port_in_use_is_said(tmp_path: Path) -> None:
    """A taken port is named at once, with what to set."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(PortError, match=rf"port {port} .* in use.*TRADING_KAFKA_BOOTSTRAP"):
            EmbeddedBroker(tmp_path, port).start()


def test_full_disk_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With less space than is needed the broker does not try, and says which folder."""
    monkeypatch.setattr("infra.embedded.broker.DISK_BYTES_MIN", 2**60)
    with pytest.raises(BrokerError, match=rf"disk of {tmp_path} is full: \d+ MB free"):
        EmbeddedBroker(tmp_path).start()


def test_disk_that_fills_up_is_said(tmp_path: Path) -> None:
    """A broker that Kafka stopped because the disk filled up names the disk, not a Java exception."""
    broker = EmbeddedBroker(tmp_path)
    broker.log.path.write_text("ERROR ...\njava.io.IOException: No space left on device\n\tat ...\n")
    assert "is full: free some space" in broker.why_dead()


def test_broker_that_cannot_start_says_why(tmp_path: Path) -> None:
    """A heap that no JVM takes ends the start with the JVM's own words, not with a timeout."""
    broker = EmbeddedBroker(tmp_path, heap_mb=1)
    with pytest.raises(BrokerError, match=r"[Hh]eap"):
        broker.start()


def test_broker_dies_with_its_owner(tmp_path: Path) -> None:
    """A broker is gone when the process that started it is killed by -9, and the next one can start."""
    script = (
        "import sys; from pathlib import Path; from infra.embedded.broker import EmbeddedBroker\n"
        f"broker = EmbeddedBroker(Path({str(tmp_path)!r})); broker.start()\n"
        "print(broker.pid, broker.port, broker.controller_port, flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as owner:
        assert owner.stdout
        _, port, controller_port = map(int, owner.stdout.readline().split())
        owner.kill()
        owner.wait()
    again = EmbeddedBroker(tmp_path, port, controller_port)
    again.start()
    again.stop()
