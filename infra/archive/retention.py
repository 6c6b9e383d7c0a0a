"""The hold: while the archive is behind or has stopped, what it has not yet must not expire in Kafka.

A topic is held by a `retention.ms` of `HELD` and what it was, and released by taking that away again; both are acts in
`audit`. So the topics themselves remember what is held, and what somebody set by hand: a worker that starts anew knows.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from confluent_kafka import KafkaException
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # its stubs do not export what it documents
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    ConfigSource,
    ResourceType,
)

from infra.acts import acting
from infra.archive.progress import TIMEOUT_S, Behind
from infra.errors import OperatorError
from infra.settings import Settings
from infra.sinks.connectors import CONTROL_TOPIC
from infra.topics_admin import wanted

PROGRAM: Final = "trading worker archive"
FOREVER: Final = "-1"
HELD: Final = 2**62  # ms, 146 million years
_RETENTION: Final = "retention.ms"


def retentions(settings: Settings) -> dict[str, str]:
    """The `retention.ms` that each topic has when it is not held; what is kept for good needs no hold."""
    configs = {topic.name: dict(topic.config) for topic in (*wanted(settings), CONTROL_TOPIC)}
    found = {name: config[_RETENTION] for name, config in configs.items() if _RETENTION in config}
    return {name: retention for name, retention in found.items() if retention != FOREVER}


def to_hold(
    found: Iterable[Behind], topics: Iterable[str], hold_after_s: float, *, has_stopped: bool
) -> set[str]:
    """The topics that must not expire now: all where the archive has stopped, else those it is far behind of.

    With any of them goes the control topic: what is written and not yet in the table is named there alone.
    """
    late = {it.topic for it in found if it.behind_s > hold_after_s}
    held = set(topics) if has_stopped else late & set(topics)
    return held | {CONTROL_TOPIC.name} if held else held


def to_release(found: Iterable[Behind], held: Iterable[str], caught_up_s: float) -> set[str]:
    """The held topics that the archive has caught up with; the control topic last of all."""
    late = {it.topic for it in found if it.behind_s > caught_up_s}
    free = set(held) - late
    return free if not late else free - {CONTROL_TOPIC.name}


def in_force(settings: Settings) -> dict[str, str]:
    """What `retention.ms` is now, of the topics that can be held.

    Raises:
        OperatorError: Kafka does not answer.

    """
    return _values(settings, retentions(settings))


def is_held(retention: str) -> bool:
    """Whether a `retention.ms` is a hold, by this worker or another; one that was set to -1 by hand is none."""
    return int(retention) >= HELD


def hold(settings: Settings, topics: set[str], why: str) -> None:
    """Let nothing of some topics expire.

    Raises:
        OperatorError: Kafka does not take it.

    """
    before = {name: value for name, value in _values(settings, topics).items() if 0 <= int(value) < HELD}
    _shift(settings, "HOLD_RETENTION", before, HELD, why)


def release(settings: Settings, topics: set[str], why: str) -> None:
    """Let them expire again as they did before the hold; raises as `hold`."""
    before = {name: value for name, value in _values(settings, topics).items() if is_held(value)}
    _shift(settings, "RELEASE_RETENTION", before, -HELD, why)


def _shift(settings: Settings, action: str, before: Mapping[str, str], by: int, why: str) -> None:
    if not before:
        return
    target = f"topics {', '.join(sorted(before))}"
    after = {name: str(int(value) + by) for name, value in before.items()}
    with acting(settings, action, target, note=why, before=before, program=PROGRAM) as deed:
        _alter(settings, after)
        deed.after = after


def _values(settings: Settings, topics: Iterable[str]) -> dict[str, str]:
    """What `retention.ms` of each topic is; topics that do not exist are left out."""
    admin = AdminClient(settings.kafka() | {"log_level": 0})
    there = _asked(lambda: admin.list_topics(timeout=TIMEOUT_S).topics, settings)
    asked = [ConfigResource(ResourceType.TOPIC, name) for name in topics if name in there]
    answers = admin.describe_configs(asked, request_timeout=TIMEOUT_S) if asked else {}
    return {
        resource.name: _asked(answer.result, settings)[_RETENTION].value
        for resource, answer in answers.items()
    }


def _alter(settings: Settings, values: Mapping[str, str]) -> None:
    admin = AdminClient(settings.kafka() | {"log_level": 0})
    asked = [
        ConfigResource(
            ResourceType.TOPIC,
            name,
            incremental_configs=[
                ConfigEntry(
                    _RETENTION,
                    value,
                    source=ConfigSource.DYNAMIC_TOPIC_CONFIG,
                    incremental_operation=AlterConfigOpType.SET,
                )
            ],
        )
        for name, value in values.items()
    ]
    for answer in admin.incremental_alter_configs(asked, request_timeout=TIMEOUT_S).values():
        _asked(answer.result, settings)


def _asked(ask: Any, settings: Settings) -> Any:
    try:
        return ask()
    except KafkaException as error:
        raise OperatorError(
            f"Kafka at {settings.kafka_bootstrap} does not give or take the retention of topics"
            f" ({error.args[0].str()}): the engine's user needs DescribeConfigs and AlterConfigs there"
        ) from error
