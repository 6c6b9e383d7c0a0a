"""What an auditor reads: who did what to the engine (``audit``), and the seals over the log (``seals``).

Flat records, one type a topic, so that a database takes them as they are. Their keys there are
``(act_id, outcome)`` of an act and ``seal_hash`` of a seal.
"""

from typing import Literal

from schemas.record import Record

ActOutcome = Literal["ASKED", "APPLIED", "REFUSED", "UNKNOWN", "FAILED"]


class Act(Record, frozen=True, gc=False, kw_only=True):
    """What an operator or an administrator did: said before it is done, and again when its outcome is known.

    ``ASKED`` stands in the log before the deed, so a deed without an outcome is one whose end nobody saw;
    ``UNKNOWN``: no answer came in time; ``FAILED``: it was not done. ``details``, ``before`` and ``after`` are
    JSON; before and after are the state of ``target`` where it is known. ``command_id`` names the command that
    did it in the engine's own topics.
    """

    act_id: str
    outcome: ActOutcome
    action: str
    target: str
    operator: str
    os_user: str
    host: str
    program: str
    command_id: str | None
    details: str | None
    before: str | None
    after: str | None
    reason: str | None
    note: str | None
    at_ns: int


class Seal(Record, frozen=True, gc=False, kw_only=True):
    """A signed statement of what one segment of a topic-partition held; hashes and signature in hex.

    Offsets are both inclusive; ``record_count`` is less than their span where transactions left gaps. The times
    are the least and the greatest that the chain had seen by each end. ``previous`` is the ``seal_hash`` of the
    seal ``number - 1``, of zeros before number 0. ``archive`` is where the metadata files of the archive's table lie,
    None without an archive. ``agents/rules/audit.py`` says what is hashed and signed.
    """

    topic: str
    partition: int
    number: int
    first_offset: int
    last_offset: int
    record_count: int
    first_timestamp_ms: int
    last_timestamp_ms: int
    records_hash: str
    fingerprints_hash: str
    previous: str
    seal_hash: str
    key_id: str
    signature: str
    archive: str | None = None


class Fingerprints(Record, frozen=True, gc=False, kw_only=True):
    """The first bytes of each leaf of a seal, by offset: they tell which record of a broken segment it is."""

    topic: str
    partition: int
    number: int
    first_offset: int
    fingerprints: bytes
