"""What control remembers: reference data, what is halted or killed, the clock, and its answers."""

from schemas.reference import Account, Instrument
from tables.section import Row, Section, Tables


class InstrumentRow(Row, frozen=True, gc=False, array_like=True):
    """An instrument as last defined."""

    instrument: Instrument


class AccountRow(Row, frozen=True, gc=False, array_like=True):
    """An account as last defined, with its limits as last set."""

    account: Account


class SwitchRow(Row, frozen=True, gc=False, array_like=True):
    """A halt or a kill that is on, by the command that turned it on."""

    command_id: str
    allow_reducing: bool


class OutcomeRow(Row, frozen=True, gc=False, array_like=True):
    """The first outcome of a command: ``reason`` is empty where it was applied.

    ``number`` orders the rows by age; ``digest`` stands for the command's content without its time.
    """

    number: int
    at_ns: int
    digest: bytes
    command: str
    reason: str
    detail: str


class EngineRow(Row, frozen=True, gc=False, array_like=True):
    """The last tick (None before the first), the version of the rules, and the next outcome's number."""

    tick_ns: int | None = None
    rules_version: int = 1
    next_number: int = 0


KillKey = tuple[str | None, str | None]
"""Account and instrument; both None is everyone."""

ENGINE = "engine"  # the one key of the section of that name


class ControlTables(Tables):
    """Control's sections."""

    def __init__(self) -> None:
        """Starts empty."""
        super().__init__()
        self.instruments: Section[str, InstrumentRow] = self._section("instruments", 1, str, InstrumentRow)
        self.accounts: Section[str, AccountRow] = self._section("accounts", 2, str, AccountRow)
        self.halts: Section[str | None, SwitchRow] = self._section("halts", 3, str | None, SwitchRow)
        self.kills: Section[KillKey, SwitchRow] = self._section("kills", 4, KillKey, SwitchRow)
        self.outcomes: Section[str, OutcomeRow] = self._section("outcomes", 5, str, OutcomeRow)
        self.engine: Section[str, EngineRow] = self._section("engine", 6, str, EngineRow)
