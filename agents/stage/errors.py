"""Why a stage stops: each cause is an error class with the exit code that the supervisor acts on."""

import msgspec


class StageError(Exception):
    """A doubt that must end the process before it can commit; names the place where it arose."""

    exit_code = 70

    def __init__(self, reason: str, *, partition: int | None = None, offset: int | None = None) -> None:
        """``reason`` is a sentence with the cause and the operator's next act."""
        super().__init__(reason)
        self.reason, self.partition, self.offset = reason, partition, offset


class RuleFailed(StageError):
    """A rule raised on an item; after three deaths at one offset the supervisor keeps the stage down."""


class OriginBroken(StageError):
    """A gap in an origin's sequence, or the right number with another chain: restarting does not help."""

    exit_code = 71


class StartRefused(StageError):
    """The place from which to go on is not to be trusted: an operator must look."""

    exit_code = 72


class Fenced(StageError):
    """Another worker has taken the partition over: this one leaves, and may start anew."""

    exit_code = 73


class CommitDoubtful(StageError):
    """A checkpoint's transaction timed out or failed: whether it holds is not known, so memory may not go on."""

    exit_code = 74


class DeliveryFailed(StageError):
    """An output was not taken by the broker."""

    exit_code = 75


class StateUnwritable(StageError):
    """The local store refused a write (a full disk, a broken one)."""

    exit_code = 76


class LastWords(msgspec.Struct, frozen=True, kw_only=True):
    """What a dying stage leaves in its data folder for the supervisor, as JSON."""

    stage: str
    exit_code: int
    reason: str
    partition: int | None = None
    offset: int | None = None
