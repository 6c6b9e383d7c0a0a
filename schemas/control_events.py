"""What control sequences to every partition of every inbox, and its answers to operators."""

from schemas.record import Record
from schemas.reference import Account, Instrument, Limits


class InstrumentDefined(Record, frozen=True, gc=False, kw_only=True):
    """An instrument is as given from here on."""

    instrument: Instrument
    at_ns: int


class AccountDefined(Record, frozen=True, gc=False, kw_only=True):
    """An account is as given from here on; goes to the account's own partitions only."""

    account: Account
    at_ns: int


class LimitsChanged(Record, frozen=True, gc=False, kw_only=True):
    """An account's limits are as given from here on; goes to its own partitions only."""

    account: str
    limits: Limits
    at_ns: int


class TradingHalted(Record, frozen=True, gc=False, kw_only=True):
    """An instrument, or (None) all of them, are halted."""

    instrument: str | None
    at_ns: int


class TradingResumed(Record, frozen=True, gc=False, kw_only=True):
    """A halt on exactly this instrument, or (None) on all, is lifted."""

    instrument: str | None
    at_ns: int


class KillActivated(Record, frozen=True, gc=False, kw_only=True):
    """A kill switch is on, for an account, an instrument, or (both None) all."""

    command_id: str
    account: str | None
    instrument: str | None
    allow_reducing: bool
    at_ns: int


class KillLifted(Record, frozen=True, gc=False, kw_only=True):
    """The kill switch of exactly this scope is off."""

    account: str | None
    instrument: str | None
    at_ns: int


class MassCancelOrdered(Record, frozen=True, gc=False, kw_only=True):
    """An operator's mass cancel; every risk partition passes it on for its own accounts."""

    command_id: str
    account: str | None
    instrument: str | None
    side: str | None
    at_ns: int


class MarkSet(Record, frozen=True, gc=False, kw_only=True):
    """An operator or a feed set the mark; matching, which owns marks, tells all."""

    instrument: str
    price_ticks: int
    at_ns: int


class ClockTicked(Record, frozen=True, gc=False, kw_only=True):
    """Engine time has reached ``tick_ns``."""

    tick_ns: int
    at_ns: int


class RulesActivated(Record, frozen=True, gc=False, kw_only=True):
    """This version of the rules holds from here on; a worker that does not know it stops."""

    version: int
    at_ns: int


class CommandApplied(Record, frozen=True, gc=False, kw_only=True):
    """Control's yes to an operator, on ``control-events``."""

    command_id: str
    command: str
    at_ns: int
    possible_resend: bool = False


ControlEvent = (
    InstrumentDefined
    | AccountDefined
    | LimitsChanged
    | TradingHalted
    | TradingResumed
    | KillActivated
    | KillLifted
    | MassCancelOrdered
    | MarkSet
    | ClockTicked
    | RulesActivated
)
