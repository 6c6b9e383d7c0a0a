"""An operator's decision that a sink goes on behind one record, which will then be in no table."""

from infra.acts import acting
from infra.auditor.log import Log, LogRecord, Place
from infra.errors import OperatorError
from infra.settings import Settings
from infra.sinks.connect import Connect
from infra.sinks.probes import sweep
from infra.sinks.standing import failed_record, in_words


class SinkSkipRefusedError(OperatorError):
    """The connector did not fail at that record."""


def skip(
    connect: Connect, log: Log, settings: Settings, name: str, place: Place, offset: int, note: str
) -> LogRecord:
    """Let a failed connector go on behind the record at which it failed, and give that record.

    What it had taken together with it, and not stored, has been stored by the probe that found the record.

    Raises:
        SinkSkipRefusedError: it failed at another record.
        NotLocatedError: it has not failed, or not at a record.
        OperatorError: Connect or Kafka does not answer.

    """
    sweep(connect)
    found, record = failed_record(connect, log, name)
    if (found.place, found.offset) != (place, offset):
        topic, partition = found.place
        raise SinkSkipRefusedError(
            f"connector {name} failed at {topic} {partition} {found.offset}, not at {' '.join(map(str, place))}"
            f" {offset}: nothing was skipped"
        )
    details = {
        "topic": place[0],
        "partition": place[1],
        "offset": offset,
        "reason": found.reason,
        "record": in_words(record),
    }
    before = {"next_offset": offset}
    with acting(
        settings, "SKIP_SINK_RECORD", f"connector {name}", note=note, details=details, before=before
    ) as deed:
        connect.stop(name)
        connect.move(name, {place: offset + 1})
        connect.resume(name)
        deed.after = {"next_offset": offset + 1}
    return record
