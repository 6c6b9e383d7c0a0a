"""A worker that comes back to its group at another address.

A static member that is back within its session keeps the client id of its first life, so that others would
look for its views where they were. It has to leave first, which neither client does for a static member.
"""

import logging
from collections.abc import Mapping
from typing import Any, Final

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.protocol.group import LeaveGroupRequest
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

log = logging.getLogger(__name__)

TIMEOUT_S: Final = 10.0
_GROUPS: Final = "__consumer_offsets"


def former_self(kafka: Mapping[str, Any], group: str, instance: str, client_id: str) -> str | None:
    """The member id under which the group still has this instance with another client id, if it has.

    ``kafka`` is librdkafka's; waits. Where Kafka does not say, the worker joins as it is: only its views suffer.
    """
    admin = AdminClient(dict(kafka))  # by name: its requests die with it
    try:
        if _GROUPS not in admin.list_topics(timeout=TIMEOUT_S).topics:
            return None  # a new cluster: to describe a group there takes until the timeout
        members = admin.describe_consumer_groups([group], request_timeout=TIMEOUT_S)[group].result().members
    except KafkaException as error:
        log.warning("%s: whether this worker has moved is not known: %s", group, error.args[0].str())
        return None
    moved = (it.member_id for it in members if it.group_instance_id == instance and it.client_id != client_id)
    return next(moved, None)


async def leave(aiokafka: Mapping[str, Any], group: str, member_id: str) -> None:
    """Takes a member out of its group; ``aiokafka`` is that client's, for any of its clients."""
    admin = AIOKafkaAdminClient(**aiokafka)
    await admin.start()
    try:
        coordinator = await admin.find_coordinator(group)
        await admin._send_request(LeaveGroupRequest(group, member_id), coordinator)  # noqa: SLF001 - it has no call for it
    finally:
        await admin.close()
