"""The engine's topics on a real broker."""

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource

from infra.settings import Settings
from infra.topics_admin import TopicError, Wanted, ensure, existing, wanted


def test_ensure_makes_what_is_missing_once(broker: str) -> None:
    """Missing topics are made with their partitions and settings; a second call makes none."""
    settings = Settings.load(kafka_bootstrap=broker)
    topics = (
        Wanted("ensure-compacted", 3, (("cleanup.policy", "compact"),)),
        Wanted("ensure-one", 1, (("message.timestamp.type", "LogAppendTime"),)),
    )
    assert set(ensure(settings, topics)) == {"ensure-compacted", "ensure-one"}
    assert ensure(settings, topics) == ()
    assert existing(settings)["ensure-compacted"] == 3
    resource = ConfigResource(ConfigResource.Type.TOPIC, "ensure-one")
    admin = AdminClient(settings.kafka())
    answer = admin.describe_configs([resource])[resource].result()
    assert answer["message.timestamp.type"].value == "LogAppendTime"


def test_other_partition_count_is_refused(broker: str) -> None:
    """A topic with another count of partitions is refused, naming both counts and the variables."""
    settings = Settings.load(kafka_bootstrap=broker)
    ensure(settings, (Wanted("ensure-counted", 2, ()),))
    with pytest.raises(TopicError, match=r"ensure-counted has 2 partitions, the engine wants 4"):
        ensure(settings, (Wanted("ensure-counted", 4, ()),))


def test_every_client_has_a_topic_like_orders() -> None:
    """`orders.CLIENT` has the partitions and the configuration of `orders`; a client named twice has one."""
    topics = {it.name: it for it in wanted(Settings.load(clients=("acme", "b-1", "acme")))}
    own = [name for name in topics if name.startswith("orders.")]
    assert own == ["orders.acme", "orders.b-1"]
    assert {topics[name]._replace(name="orders") for name in own} == {topics["orders"]}
    assert len(topics) == len(wanted(Settings.load())) + 2


def test_engine_topics_follow_the_settings() -> None:
    """Topics keyed by account and by instrument have the counts of the settings, control has one."""
    counts = {t.name: t.partitions for t in wanted(Settings.load(account_partitions=8, book_partitions=2))}
    assert (counts["account-commands"], counts["book-commands"], counts["control"]) == (8, 2, 1)


def test_silent_kafka_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """When nobody answers, the address is named."""
    monkeypatch.setattr("infra.topics_admin.TIMEOUT_S", 1)
    with pytest.raises(TopicError, match=r"Kafka at 127\.0\.0\.1:9 does not answer"):
        existing(Settings.load(kafka_bootstrap="127.0.0.1:9"))
